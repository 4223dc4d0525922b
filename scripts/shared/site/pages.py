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
sys.path.insert(0, str(ROOT / "scripts" / "check"))
import docs  # noqa: E402
import questions  # noqa: E402
import recordings  # noqa: E402
from sources_pages import read_pages  # noqa: E402

# Which pages stand in the side bar after the stages and primers, and in which order. Those that no list names come last.
SHELVES = {
    "Tools": ["board", "room", "explore", "wrong_turns", "judge", "lab", "peers", "platforms"],
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
        for path in (path for folder in ("pages", "sources", "search") for path in (self.folder / folder).rglob("*")):
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
    raise docs.Problem(f"{name} does not have the lines of '{what}' in one piece")


class Pages:
    def __init__(self, sources):
        self.sources = sources
        self.addresses = {source.path: f"source/{source.name}" for source in sources}
        self.extra = {}  # further files to which pages lead: name and address
        self.shown = {}  # by source: which lines stand on which page
        self.titles = {}
        self.recordings = {}  # by name: how many seconds

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
        # One that is stale is left out.
        text = recordings.MARK.sub(lambda m: self.player(m[2], m[1]) if m[2] in self.recordings else "", text)
        if address in self.recordings:
            player = self.player(address, "minute")
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

    def player(self, name, how):
        return f'<Recording name="{name}" how="{how}" :seconds="{self.recordings[name]}" />'

    @staticmethod
    def front(title, **more):
        """What VitePress should know of a page."""
        matter = {"title": title.replace("`", ""), **more}
        return "---\n" + "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in matter.items()) + "---\n\n"


# ---------------------------------------------------------------------------------------------------
# Sources


def views(name, base, current):
    """Leads from a stage's source to its difference, and back."""
    if not base:
        return ""
    here = ' aria-current="page"'
    return (f'<nav class="views" aria-label="Views of {name}"><a href="./{name}.html"{here * (current == "read")}>Read</a>'
            f'<a href="./{name}.diff.html"{here * (current == "diff")}>Diff to {base}</a></nav>')


def placeholder(kind, address):
    """Stands where the source will be. config.mjs puts it there when the page is finished, so that Vue need not read it."""
    return f'<article class="annotated vp-raw {kind}" data-source="{address}" v-pre></article>\n'


def page_of_source(source, pages):
    links = []
    if source.is_stage:
        links.append(f'<a href="../{source.name}.html">{html.escape(pages.titles[source.name])}</a>: its page')
    for first, last, address in sorted(pages.shown.get(source.path, ())):
        links.append(f'<a href="../{address}.html">{html.escape(pages.titles[address])}</a> shows '
                     f'<a href="#L{first}-L{last}">lines {first} to {last}</a>')
    listed = "".join(f"<li>{link}</li>" for link in dict.fromkeys(links))
    footer = f"<footer><h2>On the pages</h2><ul>{listed}</ul></footer>" if listed else ""
    return source.top + views(source.name, source.base, "read") + source.rows + footer


def page_of_diff(source):
    top, _, patch = source.diff.partition("\x00")
    return top + views(source.name, source.base, "diff") + patch


def overview(sources):
    """The list of all sources."""

    def cards(chosen):
        rows = (f'<li><a href="./{source.name}.html"><code>{source.name}</code></a> <span>{source.line}</span></li>' for source in chosen)
        return f"<ul class=cards>{''.join(rows)}</ul>"

    parts = ["<h1>The sources</h1>", "<p>The comments stand beside their code. A name in the code is a link to its "
             "definition, and a line's number is a link to the line.</p>"]
    for place, chosen in by_place(sources):
        name = "What the stages share: " + f"<code>common/{place}</code>" if chosen[0].path.startswith("common/") else capitalised(place)
        parts.append(f"<h2>{name}</h2>" + cards(chosen))
    return "\n".join(parts)


def by_place(sources):
    places = dict.fromkeys(source.place for source in sources)
    return [(place, [source for source in sources if source.place == place]) for place in places]


def capitalised(text):
    return text[:1].upper() + text[1:]


# ---------------------------------------------------------------------------------------------------
# The side bar


def side_bars(pages):
    def entry(address, text=None, items=None):
        result = {"text": text or pages.titles[address], "link": "/" + address.replace("index", "")}
        return {**result, "items": items, "collapsed": True} if items else result

    rest = [address for address in pages.titles if address != "index"]

    def take(address, **more):
        rest.remove(address)
        return entry(address, **more)

    bars = [{"text": "Start", "items": [entry("index", "What this is"), take("tour"), take("stages")]}]
    rows = [line.split("\t") for line in docs.subprocess.run(
        [ROOT / "scripts" / "stages", "--tsv"], capture_output=True, text=True, check=True).stdout.splitlines()]
    for place in dict.fromkeys(source.place for source in pages.sources if source.is_stage):
        items = []
        for name in (row[0] for row in rows if row[1] == place):
            number = name.split("_")[0]
            deeper = [take(a, text=pages.titles[a].removeprefix("Deeper: ").capitalize())
                      for a in list(rest) if a.startswith(f"deeper/{number}_")]
            items.append(take(name, items=deeper or None))
        bars.append({"text": capitalised(place), "items": items})
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
        if source.base:
            result |= {"items": [{"text": f"since {source.base}", "link": f"/source/{source.name}.diff"}], "collapsed": True}
        return result

    sources = [{"text": "The pages", "items": [{"text": "What this is", "link": "/"}, {"text": "All sources", "link": "/source/"}]}]
    for place, chosen in by_place(pages.sources):
        name = f"common/{place}" if chosen[0].path.startswith("common/") else capitalised(place)
        sources.append({"text": name, "collapsed": False, "items": [source_entry(source) for source in chosen]})
    return {"/source/": sources, "/": bars}


def lay_out(folder):
    site = Site(folder)
    pages = Pages(read_pages(folder / "data"))
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
    wide = {"pageClass": "wide", "aside": False}

    def write_source(kind, address, title, body, **front):
        site.write(f"pages/{address}.md", pages.front(title, **wide, **front) + placeholder(kind, address))
        site.write(f"sources/{address}.html", body)

    for source in pages.sources:
        address = f"source/{source.name}"
        write_source("read", address, source.name, page_of_source(source, pages))
        site.write(f"search/{address}.html", source.search)
        if source.base:  # its lines are found in the sources
            write_source("diff", f"{address}.diff", f"{source.base} to {source.name}", page_of_diff(source), search=False)
    write_source("overview", "source/index", "The sources", overview(pages.sources))
    for name, address in pages.extra.items():
        text = html.escape((ROOT / name).read_text(encoding="utf-8"), quote=False)
        lines = "".join(f"<span id=L{number}>{line}\n</span>" for number, line in enumerate(text.rstrip("\n").split("\n"), 1))
        write_source("plain", address, name, f"<h1>{name}</h1><pre class=plain tabindex=0><code>{lines}</code></pre>", search=False)
    site.write("data/site.json", json.dumps({
        "sidebar": side_bars(pages),
        "sources": pages.addresses,
    }, ensure_ascii=False, indent=1))
    colours, end, look = (SHARED / "annotated" / "code.css").read_text(encoding="utf-8").partition("}\n")
    site.write("data/code.css", f"{colours}{end}.annotated {{\n{look}}}\n")
    site.remove_others()


if __name__ == "__main__":
    try:
        lay_out(Path(sys.argv[1]))
    except (docs.Problem, questions.Wrong) as error:
        sys.exit(f"site: {error}")
