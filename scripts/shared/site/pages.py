"""Lays out what VitePress makes the site of. Run by scripts/site.

    pages.py FOLDER

README.md and docs/ become pages, with few changes: links lead to pages of the site, a block of source names its lines,
and a question of "Predict" can be answered. Each source becomes a page, with its comments beside its code, as
scripts/annotate shows it. A file is written only if it changes, so that what is kept from the last time stays valid.
"""

import html
import json
import re
import sys
from pathlib import Path

SHARED = Path(__file__).resolve().parents[1]
ROOT = SHARED.parents[1]
sys.path[:0] = [str(SHARED / "annotated"), str(ROOT / "scripts" / "check")]
import docs  # noqa: E402
import questions  # noqa: E402
import recordings  # noqa: E402
from comments import format_prose  # noqa: E402
from differences import format_diff  # noqa: E402
from listing import format_reading  # noqa: E402
from reading import counts, read_all, used_by  # noqa: E402
from sources import Failed  # noqa: E402

# Which pages stand in the side bar after the stages and primers, and in which order. Those that no list names come last.
SHELVES = {
    "Tools": ["tour", "stages", "board", "judge", "lab", "peers", "platforms"],
    "To look up": ["which_server", "protocol", "robustness", "measuring", "figures", "faq", "glossary", "further-reading"],
    "To teach": ["instructors-guide", "deeper/lab_answers"],
    "How it is made": ["architecture"],
}


class Site:
    """The files that the site is made of. Whatever else is in the folders of pages is removed at the end."""

    def __init__(self, folder):
        self.folder = folder
        self.written = set()

    def write(self, name, text):
        path = self.folder / name
        self.written.add(path)
        data = text if isinstance(text, bytes) else text.encode()
        if not path.is_file() or path.read_bytes() != data:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def remove_others(self):
        for path in (self.folder / "pages").rglob("*"):
            if path.is_file() and path not in self.written:
                path.unlink()


# ---------------------------------------------------------------------------------------------------
# Pages


def title_of(text):
    return re.search(r"^# (.*)$", text, re.MULTILINE)[1]


def lines_of_block(argument):
    """Where in its file a block of source is: the file, its first line and its last."""
    name, _, what = argument.partition(": ")
    shown = docs.source(argument)
    lines = (ROOT / name).read_text(encoding="utf-8").rstrip("\n").split("\n")
    wanted = [line.strip() for line in shown]
    at = docs.line_with(lines, what.partition(" ...")[0].strip(), 0, name)
    for begin in range(at, -1, -1):  # a comment above a definition is part of the block
        if [line.strip() for line in lines[begin: begin + len(wanted)]] == wanted:
            return name, begin + 1, begin + len(wanted)
    raise Failed(f"{name} does not have the lines of '{what}' in one piece")


class Pages:
    def __init__(self, reading):
        self.reading = reading
        self.addresses = {str(source.path.relative_to(ROOT)): f"source/{source.name}" for source in reading.by_name.values()}
        self.extra = {}  # further files to which pages lead: name and address
        self.shown = {}  # by source: which lines stand on which page
        self.titles = {}
        self.recordings = {}  # by stage: how many seconds

    def read(self):
        """All pages: the address, and the file."""
        paths = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs").glob("*/*.md"))]
        for path in paths:
            address = "index" if path.name == "README.md" else str(path.relative_to(ROOT / "docs").with_suffix(""))
            self.titles[address] = title_of(path.read_text(encoding="utf-8"))
            yield address, path

    def address(self, path):
        """Where on the site a file of the repository is; None if it is not there."""
        name = str(path.relative_to(ROOT))
        if name == "README.md":
            return "index.md"
        if path.suffix == ".md":
            return str(path.relative_to(ROOT / "docs"))
        if path.suffix == ".svg":
            return str(path.relative_to(ROOT / "docs"))
        if name in self.addresses:
            return self.addresses[name] + ".md"
        if path.is_file():
            self.extra[name] = "source/" + name.replace("/", "_")
            return self.extra[name] + ".md"
        return None

    def link(self, page, target, text, picture):
        if re.match(r"[a-z][a-z+.-]*:|#", target):
            return None
        name, hash_, anchor = target.partition("#")
        address = self.address((page.parent / name).resolve())
        if address is None:
            return text
        return f"{picture}[{text}](/{address}{hash_}{anchor})"

    def convert(self, address, path):
        page = docs.Page(path)
        text = "\n".join(page.lines)
        # A link may be broken over two lines, so the text is looked at as a whole, while code is hidden.
        hidden = []

        def hide(match):
            hidden.append(match[0])
            return f"\x00{len(hidden) - 1}\x00"

        text = re.sub(r"^( *)(```+).*?^\1\2\n", hide, text, flags=re.DOTALL | re.MULTILINE)
        text = re.sub(r"(`+)(?:(?!\1).)+\1", hide, text, flags=re.DOTALL)
        text = re.sub(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)",
                      lambda m: self.link(path, m[3], m[2], m[1]) or m[0], text)
        text = questions.put_forms(text, address)
        if address in self.recordings:
            player = f'<Recording name="{address}" :seconds="{self.recordings[address]}" />'
            # Where the page speaks of the board; otherwise before the exercises, when the reader has seen the rest.
            if re.search(r"^\*\*On the board\.\*\*", text, re.MULTILINE):
                text = re.sub(r"^(\*\*On the board\.\*\*.*?)(?=\n\n)", lambda m: f"{m[1]}\n\n{player}", text, count=1,
                              flags=re.DOTALL | re.MULTILINE)
            else:
                text = re.sub(r"^## Break it$", f"{player}\n\n## Break it", text, count=1, flags=re.MULTILINE)
        while "\x00" in text:
            text = re.sub("\x00(\\d+)\x00", lambda m: hidden[int(m[1])], text)
        # Each block of a source says from which lines it is.
        for block in page.blocks:
            if block.kind == "source" and block.contents:
                name, first, last = lines_of_block(block.argument)
                target = self.addresses.get(name) or self.address(ROOT / name).removesuffix(".md")
                marker = f"<!-- source {block.argument} -->\n{block.indent}```cpp\n"
                text = text.replace(marker, f"<!-- -->\n{block.indent}```cpp from={target}:{name}:{first}-{last}\n", 1)
                self.shown.setdefault(name, []).append((first, last, address))
        return text

    @staticmethod
    def front(title, **more):
        """What VitePress should know of a page."""
        matter = {"title": title.replace("`", ""), **more}
        return "---\n" + "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in matter.items()) + "---\n\n"


# ---------------------------------------------------------------------------------------------------
# Sources


def relink(text, here):
    """The addresses of the annotated page, in which all sources are one page: #02_threads/L42, and ids like it."""

    def link(match):
        name, _, rest = html.unescape(match[1].strip('"')).partition("/")
        if rest in ("diff", "diff-code"):
            return f'href="./{name}.diff.html"'
        return f'href="{"" if name == here else f"./{name}.html"}{"#" + html.escape(rest) if rest else ""}"'

    text = re.sub(r'href=("#[^"]*"|#[^\s>]+)', link, text)
    return re.sub(r'\bid=("?)' + re.escape(here) + "/", r"id=\1", text)


def views(name, base, current):
    """Leads from a stage's source to its difference, and back."""
    if not base:
        return ""
    here = ' aria-current="page"'
    return (f'<nav class="views" aria-label="Views of {name}"><a href="./{name}.html"{here * (current == "read")}>Read</a>'
            f'<a href="./{name}.diff.html"{here * (current == "diff")}>Diff to {base}</a></nav>')


def wrap(kind, body):
    """HTML as it is: neither Markdown nor Vue looks into it. (Markdown ends HTML at an empty line.)"""
    return f'<article class="annotated vp-raw {kind}" v-pre>\n' + re.sub(r"\n{2,}", "\n", body) + "\n</article>\n"


def page_of_source(source, pages, size):
    reading = pages.reading
    header, _ = reading.tops[source.name]
    path = str(source.path.relative_to(ROOT))
    where = f"<code>{path}</code>"
    if source.is_header:
        where += " · " + used_by(source, reading.stages)
    links = []
    if source.is_stage:
        links.append(f'<a href="../{source.name}.html">The page of {source.name}</a>')
    for first, last, address in sorted(pages.shown.get(path, ())):
        if address != source.name:
            links.append(f'<a href="../{address}.html">{html.escape(pages.titles[address])}</a> shows '
                         f'<a href="#L{first}">line {first}</a>')
    links = list(dict.fromkeys(links))
    outline = "".join(f'<li><a href="#{html.escape(d.anchor)}"><code>{html.escape(d.name)}</code></a></li>'
                      for d in source.definitions if "::" not in d.name and d.kind not in ("member", "variable"))
    contents = f"<nav class=outline aria-label='In {source.name}'><p>In this file</p><ul>{outline}</ul></nav>"
    body = (f"<header class=top><p class=where>{where}</p>{header.title}{header.rest}</header>"
            f"{views(source.name, header.base, 'read')}"
            f"<div class=rows>{format_reading(source, reading.names[source.name], size, contents)}</div>")
    body = relink(body, source.name)
    if links:
        body += f"<footer><h2>On the pages</h2><ul>{''.join(f'<li>{link}</li>' for link in links)}</ul></footer>"
    return wrap("source", body)


def page_of_diff(source, pages):
    reading = pages.reading
    base = reading.tops[source.name][0].base
    old = reading.by_name[base]
    changes = reading.diffs[source.name, False]
    added, removed = counts(changes)
    body = (f"<header class=top><h1>{base} <span aria-hidden=true>→</span><span class=vh>to</span> {source.name}</h1>"
            f"<p class=counts><ins>+{added}</ins> <del>−{removed}</del> lines</p></header>"
            f"{views(source.name, base, 'diff')}<div class=patch>{format_diff(changes, old, source, False)}</div>")
    return wrap("diff", relink(body, f"{source.name}.diff"))


def search_text(source, header):
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


def overview(reading):
    """The list of all sources."""

    def cards(sources):
        rows = []
        for source in sources:
            header = reading.tops[source.name][0]
            line = relink(format_prose(re.split(r"(?<=\.) ", header.tagline)[0], reading.names[source.name]), "")
            rows.append(f'<li><a href="./{source.name}.html"><code>{source.name}</code></a> <span>{line}</span></li>')
        return f"<ul class=cards>{''.join(rows)}</ul>"

    parts = ["<h1>The sources</h1>", "<p>The comments stand beside their code. Names in the code are links to their "
             "definitions, and so is each line's number to the line.</p>"]
    for place in reading.places:
        parts.append(f"<h2>{place[:1].upper() + place[1:]}</h2>" + cards([s for s in reading.stages if s.place == place]))
    parts.append("<h2>The primers</h2>" + cards(reading.small))
    parts.append("<h2>What they share: <code>common/</code></h2>" + cards(reading.headers))
    return wrap("overview", "\n".join(parts))


# ---------------------------------------------------------------------------------------------------
# The side bar


def side_bars(pages, reading):
    def entry(address, text=None, items=None):
        result = {"text": text or pages.titles[address], "link": "/" + address.replace("index", "")}
        return {**result, "items": items, "collapsed": True} if items else result

    rest = [address for address in pages.titles if address != "index"]

    def take(address, **more):
        rest.remove(address)
        return entry(address, **more)

    bars = [{"text": "Start", "items": [entry("index", "What this is")]}]
    rows = [line.split("\t") for line in docs.subprocess.run(
        [ROOT / "scripts" / "stages", "--tsv"], capture_output=True, text=True, check=True).stdout.splitlines()]
    for place in reading.places:
        items = []
        for name in (row[0] for row in rows if row[1] == place):
            number = name.split("_")[0]
            deeper = [take(a, text=pages.titles[a].removeprefix("Deeper: ").capitalize())
                      for a in list(rest) if a.startswith(f"deeper/{number}_")]
            items.append(take(name, items=deeper or None))
        bars.append({"text": place[:1].upper() + place[1:], "items": items})
    order = re.findall(r"^- .*\((primers/\w+)\.md\)", (ROOT / "docs/primers.md").read_text(encoding="utf-8"), re.MULTILINE)
    bars.append({"text": "Primers", "collapsed": False, "items": [
        take(a, text=None if a == "primers" else pages.titles[a].removeprefix("Primers: ").capitalize())
        for a in ("primers", *order)]})
    for shelf, addresses in SHELVES.items():
        bars.append({"text": shelf, "collapsed": False, "items": [take(a) for a in addresses if a in rest]})
    bars[-1]["items"] += [take(a, text=pages.titles[a].removeprefix("Deeper: ").capitalize()) for a in list(rest)]
    bars.append({"text": "Sources", "items": [{"text": "All sources, annotated", "link": "/source/"}]})

    def source_entry(source):
        result = {"text": source.name, "link": f"/source/{source.name}"}
        if reading.tops[source.name][0].base:
            result["items"] = [{"text": f"since {reading.tops[source.name][0].base}", "link": f"/source/{source.name}.diff"}]
            result["collapsed"] = True
        return result

    sources = [{"text": "The pages", "items": [{"text": "What this is", "link": "/"}, {"text": "All sources", "link": "/source/"}]}]
    for place in reading.places:
        sources.append({"text": place[:1].upper() + place[1:], "items": [source_entry(s) for s in reading.stages if s.place == place]})
    sources.append({"text": "Primers", "collapsed": False, "items": [source_entry(s) for s in reading.small]})
    for folder in dict.fromkeys(s.path.parent.name for s in reading.headers):
        sources.append({"text": f"common/{folder}", "collapsed": False,
                        "items": [source_entry(s) for s in reading.headers if s.path.parent.name == folder]})
    return {"/source/": sources, "/": bars}


def lay_out(folder):
    site = Site(folder)
    reading = read_all()
    pages = Pages(reading)
    found = list(pages.read())
    for path in recordings.all_of_them():
        if changed := recordings.stale(path):
            print(f"{path.relative_to(ROOT)} is left out, because {changed[0]} has changed: scripts/measure/minutes {path.stem}")
            continue
        pages.recordings[path.stem] = recordings.seconds(path)
        site.write(f"pages/public/recordings/{path.stem}.html", recordings.page(path))
    for address, path in found:
        text = pages.convert(address, path)
        site.write(f"pages/{address}.md", pages.front(pages.titles[address]) + text)
    for path in (*ROOT.glob("docs/img/*.svg"), *ROOT.glob("docs/diagrams/*.svg")):
        site.write(f"pages/{path.relative_to(ROOT / 'docs')}", path.read_bytes())
    for group in reading.groups:
        for source in group:
            header, size = reading.tops[source.name]
            address = f"source/{source.name}"
            front = {"pageClass": "wide", "aside": False}
            site.write(f"pages/{address}.md", pages.front(source.name, **front) + page_of_source(source, pages, size))
            site.write(f"search/{address}.html", search_text(source, header))
            if header.base:
                front["search"] = False  # its lines are found in the sources
                site.write(f"pages/{address}.diff.md", pages.front(f"{header.base} to {source.name}", **front)
                           + page_of_diff(source, pages))
    site.write("pages/source/index.md", pages.front("The sources", pageClass="wide", aside=False) + overview(reading))
    for name, address in pages.extra.items():
        text = (ROOT / name).read_text(encoding="utf-8").rstrip("\n")
        language = {".py": "python", ".cpp": "cpp"}.get(Path(name).suffix, "text")
        site.write(f"pages/{address}.md", pages.front(name) + f"# {name}\n\n```{language}\n{text}\n```\n")
    site.write("data/site.json", json.dumps({
        "sidebar": side_bars(pages, reading),
        "sources": pages.addresses,
    }, ensure_ascii=False, indent=1))
    colours, end, look = (SHARED / "annotated" / "code.css").read_text(encoding="utf-8").partition("}\n")
    site.write("data/code.css", f"{colours}{end}.annotated {{\n{look}}}\n")
    site.remove_others()


if __name__ == "__main__":
    try:
        lay_out(Path(sys.argv[1]))
    except (Failed, docs.Problem, questions.Wrong) as error:
        sys.exit(f"site: {error}")
