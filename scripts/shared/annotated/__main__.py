"""Writes the annotated reading of the sources. Run by scripts/annotate, which installs what it needs.

Pygments splits the sources into words, and Universal Ctags finds the definitions. The modules here put
comments beside code, link names to definitions, and show the output of scripts/stage-diff.
page.html, page.css and page.js are the page's frame, its look and its behaviour. scripts/site also
makes pages of this, which share code.css: the colours, and the look of comments, code and diffs.

Every line of a source is in the page once as a line to read: a line of code as it is, a line of
comment without its slashes. tests/annotate compares the page with the sources.
"""

import argparse
import os
import re
import signal
import sys
from pathlib import Path

from comments import format_prose, is_sentence
from differences import format_diff
from listing import format_reading
from markup import escape, quoted
from reading import counts, read_all, short, used_by
from sources import ROOT, Failed

PARTS = Path(__file__).resolve().parent


def neighbour(source, word, relation):
    if source is None:
        return "<span></span>"
    return (f"<a rel={relation} class={relation} href={quoted('#' + source.name)}>"
            f"<small>{word}</small> {escape(source.name)}</a>")


def format_article(source, header, size, names, group, diffs, by_name):
    position = group.index(source)
    before = group[position - 1] if position else None
    after = group[position + 1] if position + 1 < len(group) else None
    identity = source.name
    company = [other for other in group if other.place == source.place]
    where = (f"{capitalised(source.place)}: {company.index(source) + 1} of {len(company)}" if source.place else
             f"{source.path.parent.relative_to(ROOT)}/ · {used_by(source, [s for s in by_name.values() if s.is_stage])}")
    outline = "".join(f"<li><a href={quoted('#' + d.anchor)}><code>{escape(d.name)}</code></a></li>"
                      for d in source.definitions
                      if "::" not in d.name and d.kind not in ("member", "variable"))
    views, sections = "", ""
    if header.base:
        old = by_name[header.base]
        views = (f"<nav class=views aria-label='Views of {identity}'><ul>"
                 f"<li><a href=#{identity}>Read</a></li>"
                 f"<li><a href=#{identity}/diff>Diff<span> to {header.base}</span></a></li>"
                 f"<li><a href=#{identity}/diff-code>Diff, code only</a></li></ul></nav>")
        for code_only, view in ((False, "diff"), (True, "diff-code")):
            changes = diffs[source.name, code_only]
            added, removed = counts(changes)
            what = ", code only" if code_only else ""
            sections += (
                f"<section class='view diff' id={identity}/{view}"
                f" aria-label='Diff of {identity} to {header.base}{what}'><div class=bar><h2>{header.base}"
                f" <span aria-hidden=true>→</span><span class=vh>to</span> {identity}{what}</h2>"
                f"<p class=counts><ins>+{added}</ins> <del>−{removed}</del> <span>lines</span></p></div>"
                f"<div class=patch>{format_diff(changes, old, source, code_only)}</div></section>\n")
    if source.is_stage and (ROOT / "docs" / f"{source.name}.md").exists():
        where += f" · more about it in <code>docs/{source.name}.md</code>"
    elif source.place and not source.is_stage:
        where += " · in Python, and what it prints: <code>docs/primers/</code>"
    contents = f"<nav class=outline aria-label='In {identity}'><p>In this file</p><ul>{outline}</ul></nav>"
    return (f"<article id={quoted(identity)} data-kind={'stage' if source.is_stage else 'header' if source.is_header else 'primer'}>\n"
            f"<header class=top><p class=where>{where}</p>{header.title}{header.rest}{views}</header>\n"
            f"<section class='view read' aria-label='{identity}, annotated'>\n"
            f"<div class=rows>{format_reading(source, names, size, contents)}</div></section>\n"
            f"{sections}<nav class=turn aria-label='Before and after {identity}'>"
            f"{neighbour(before, 'Previous', 'prev')}{neighbour(after, 'Next', 'next')}</nav>\n</article>\n")


def format_page():
    reading = read_all()
    places, stages, small, headers, by_name = reading.places, reading.stages, reading.small, reading.headers, reading.by_name
    names, tops, diffs = reading.names, reading.tops, reading.diffs
    articles = "".join(
        format_article(source, *tops[source.name], names[source.name], group, diffs, by_name)
        for group in (stages, small, headers) for source in group)
    firsts = {next(s for s in stages if s.place == place) for place in list(places)[1:]}
    tabs = "".join(f"<li{' class=first' * (s in firsts)}><a href=#{s.name} title={quoted(s.name)}><b>{short(s.name)}</b>"
                   f"<span>{escape(s.name.removeprefix(short(s.name)))}</span></a></li>" for s in stages)
    cards = {place: [] for place in places}
    for stage in stages:
        header = tops[stage.name][0]
        change = ""
        if header.base:
            added, removed = counts(diffs[stage.name, True])
            change = (f"<a class=counts href=#{stage.name}/diff-code><ins>+{added}</ins> <del>−{removed}</del> "
                      f"lines of code since {header.base}</a>")
        else:
            change = "<span class=counts>where it begins</span>"
        cards[stage.place].append(f"<li><a href=#{stage.name}><code>{stage.name}</code></a> "
                     f"<p>{format_prose(capitalised(header.tagline), names[stage.name])}</p> {change}</li>")
    shelf = "".join(f"<li><a href=#{s.name}><code>{s.name}</code></a> "
                    f"<p>{format_prose(capitalised(first_sentence(tops[s.name][0].tagline)), names[s.name])}</p> "
                    f"<span class=counts>{used_by(s, stages)}</span></li>" for s in headers)
    programs = "".join(f"<li><a href=#{s.name}><code>{s.name}</code></a> "
                       f"<p>{format_prose(capitalised(tops[s.name][0].tagline), names[s.name])}</p></li>" for s in small)
    parts = {
        "primers": programs,
        "page.css": "".join((PARTS / name).read_text(encoding="utf-8") for name in ("code.css", "page.css")),
        "page.js": (PARTS / "page.js").read_text(encoding="utf-8"),
        "tabs": tabs, "headers": shelf, "articles": articles,
    }
    parts["stages"] = "".join(f"<h3>{escape(capitalised(place))}</h3>\n<ol class=cards>{''.join(items)}</ol>\n"
                              for place, items in cards.items())
    template = (PARTS / "page.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{([\w.]+)\}\}", lambda match: parts[match[1]], template)


def first_sentence(text):
    return re.split(r"(?<=\.) ", text, maxsplit=1)[0]


def capitalised(text):
    return text[:1].upper() + text[1:] if is_sentence(text) else text


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"annotate: {message}; see scripts/annotate --help\n")


def main():
    parser = Parser(prog="annotate", description="Writes the annotated reading of the sources.")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, default=ROOT / "build" / "annotated.html",
                        help="default: build/annotated.html")
    output = parser.parse_args().output
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    interrupted = False
    # A reader who has the page open never sees half of a new one. (But a device is not to be replaced.)
    is_file = output.is_file() or not output.exists()
    temporary = output.with_name(f"{output.name}.{os.getpid()}.part") if is_file else output
    try:
        if output == parser.get_default("output"):
            output.parent.mkdir(exist_ok=True)
        with open(temporary, "w", encoding="utf-8") as file:  # before the work, in case it can't be done
            page = format_page()
            file.write(page)
        if is_file:
            temporary.replace(output)
    except OSError as error:
        sys.exit(f"annotate: can't write '{output}' ({error.strerror}); choose another file with -o")
    except Failed as error:
        sys.exit(f"annotate: {error}")
    except KeyboardInterrupt:
        interrupted = True
    finally:
        if is_file and temporary.exists():
            temporary.unlink()
    if interrupted:
        # Ends by the signal itself, so that a loop in a shell ends, too.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    shown = output.relative_to(Path.cwd()) if output.is_relative_to(Path.cwd()) else output
    print(f"{shown}: {len(page.encode()) / 1000:,.0f} kB; open it in a browser")


if __name__ == "__main__":
    main()
