"""The sources as the site shows them: what scripts/annotate has in one page, cut into a page for each source.

That takes seconds, so it is done again only if a source has changed, or the code that does it.
"""

import hashlib
import html
import pickle
import re
import sys
from dataclasses import dataclass
from pathlib import Path

SHARED = Path(__file__).resolve().parents[1]
ROOT = SHARED.parents[1]
sys.path.insert(0, str(SHARED / "annotated"))


@dataclass
class SourcePage:
    name: str
    path: str  # from the repository's root
    place: str  # of a stage: "the talk"; else the folder, or "primers"
    base: str  # the stage that it has changed since
    line: str  # HTML: what it is
    top: str  # HTML: its title, and the rest of its header
    rows: str  # HTML: comments and code
    diff: str  # HTML, or nothing
    search: str  # HTML: what the search looks through

    @property
    def is_stage(self):
        return re.fullmatch(r"stages/\w+\.cpp", self.path) is not None


def read_pages(folder):
    """All of them: those of the stages by place, then the primers, then the headers."""
    kept = folder / "sources.pickle"
    files = sorted([*ROOT.glob("stages/*.cpp"), *ROOT.glob("stages/primers/*.cpp"), *ROOT.glob("common/*/*.?pp"),
                    *ROOT.glob("docs/*.md"), *ROOT.glob("docs/primers/*.md"), *SHARED.glob("annotated/*"), Path(__file__)])
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(ROOT)}\n".encode())
        # Of a page only its place counts, and of the primers' pages the order of the headings.
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        digest.update("\n".join(re.findall(r"<!-- stage:.*|^## .*|^- .*", text, re.MULTILINE)
                                if path.suffix == ".md" else [text]).encode())
    key = digest.hexdigest()
    try:
        known, pages = pickle.loads(kept.read_bytes())
        if known == key:
            return pages
    except (OSError, ValueError, EOFError, AttributeError, ImportError, pickle.UnpicklingError):
        pass
    pages = make_pages()
    folder.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(pickle.dumps((key, pages)))
    return pages


def make_pages():
    from reading import read_all
    from sources import Failed
    try:
        reading = read_all()
    except Failed as error:
        sys.exit(f"site: {error}")
    return [make_page(source, reading) for group in reading.groups for source in group]


def make_page(source, reading):
    from comments import format_prose
    from listing import format_reading
    from reading import used_by
    header, size = reading.tops[source.name]
    names = reading.names[source.name]
    path = str(source.path.relative_to(ROOT))
    where = f"<code>{path}</code>" + (f" · {used_by(source, reading.stages)}" if source.is_header else "")
    outline = "".join(f'<li><a href="#{html.escape(d.anchor)}"><code>{html.escape(d.name)}</code></a></li>'
                      for d in source.definitions if "::" not in d.name and d.kind not in ("member", "variable"))
    contents = f"<nav class=outline aria-label='In {source.name}'><p>In this file</p><ul>{outline}</ul></nav>"
    place = source.place if source.is_stage else "primers" if not source.is_header else source.path.parent.name
    return SourcePage(
        source.name, path, place, header.base,
        relink(format_prose(re.split(r"(?<=\.) ", header.tagline)[0], names), ""),
        relink(f"<header class=top><p class=where>{where}</p>{header.title}{header.rest}</header>", source.name),
        relink(f"<div class=rows>{format_reading(source, names, size, contents)}</div>", source.name),
        make_diff(source, reading) if header.base else "",
        search_text(source))


def make_diff(source, reading):
    from differences import format_diff
    from reading import counts
    base = reading.by_name[reading.tops[source.name][0].base]
    changes = reading.diffs[source.name, False]
    added, removed = counts(changes)
    return (f"<header class=top><h1>{base.name} <span aria-hidden=true>→</span><span class=vh>to</span> {source.name}</h1>"
            f"<p class=counts><ins>+{added}</ins> <del>−{removed}</del> lines</p></header>"
            + "\x00" + relink(f"<div class=patch>{format_diff(changes, base, source, False)}</div>", f"{source.name}.diff"))


def relink(text, here):
    """The addresses of the annotated page, in which all sources are one page: #02_threads/L42, and ids like it."""

    def link(match):
        name, _, rest = html.unescape(match[1].strip('"')).removeprefix("#").partition("/")
        if rest in ("diff", "diff-code"):
            return f'href="./{name}.diff.html"'
        return f'href="{"" if name == here else f"./{name}.html"}{"#" + html.escape(rest) if rest else ""}"'

    text = re.sub(r'href=("#[^"]*"|#[^\s>]+)', link, text)
    return re.sub(r'\bid=("?)' + re.escape(here) + "/", r"id=\1", text)


def search_text(source):
    """What the search looks through: a section for each definition, which begins with the comment above it."""
    starts = {}
    for definition in source.definitions:
        if definition.kind in ("member", "variable") and "::" in definition.name:
            continue
        line = definition.line
        while line > 1 and source.is_comment(line - 1):
            line -= 1
        starts.setdefault(line, (definition.anchor.partition("/")[2], definition.name))
    sections = [("", source.name, [])]
    for number, line in enumerate(source.lines, 1):
        if number in starts:
            sections.append((*starts[number], []))
        sections[-1][2].append(line.strip().removeprefix("//"))
    return "".join(
        f'<h{min(level, 2)}>{html.escape(name)} <a href="#{html.escape(anchor)}"></a></h{min(level, 2)}>'
        f"<p>{html.escape(' '.join(lines))}</p>\n" for level, (anchor, name, lines) in enumerate(sections, 1))
