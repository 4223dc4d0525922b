"""Writes the annotated reading of the sources. Run by scripts/annotate, which installs what it needs.

Pygments splits the sources into tokens and Universal Ctags finds the definitions; this program puts
comments beside code, links names to definitions, and shows what scripts/stage-diff says has changed.
The look and the behaviour of the page are in scripts/annotated/.

Every line of a source is in the page once as a line to read: a line of code as it is, a line of
comment without its slashes. tests/annotate holds the page against the sources.
"""

import argparse
import collections
import concurrent.futures
import difflib
import html
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

try:
    from pygments.lexers import CppLexer
    from pygments.token import Token
except ImportError:
    sys.exit("annotate: Pygments is missing; on Debian or Ubuntu: apt-get install python3-pygments")

ROOT = Path(__file__).resolve().parent.parent
PARTS = ROOT / "scripts" / "annotated"
KEYS = ("Changed since", "Buys", "Costs", "Leaves")
# How alike two lines must be to be shown as one that has changed, and not as two. (difflib's ratio.)
ALIKE = 0.5
# Unchanged lines to show around a change.
CONTEXT = 3


class Failed(Exception):
    """There is no page; the text says why."""


# ---- What the sources say


@dataclass
class Word:
    """A token: what it is (a class in page.css, or nothing), its text, and its offset in the file."""

    kind: str
    text: str
    at: int
    is_name: bool = False


@dataclass
class Definition:
    name: str  # "Scheduler::run"
    kind: str
    line: int
    anchor: str = ""

    @property
    def is_type(self):
        return self.kind in ("class", "struct", "typedef", "enum")


@dataclass
class Source:
    path: Path
    lines: list = field(default_factory=list)  # texts; line 1 is lines[0]
    words: list = field(default_factory=list)  # for each line a list of Word
    definitions: list = field(default_factory=list)
    includes: list = field(default_factory=list)  # names of headers in common/
    variables: dict = field(default_factory=dict)  # name: the types that it is declared with

    @property
    def is_stage(self):
        return self.path.parent.name == "stages"

    @property
    def name(self):
        """What it is called in addresses: 02_threads, protocol.hpp."""
        return self.path.stem if self.is_stage else self.path.name

    @property
    def text(self):
        return "".join(line + "\n" for line in self.lines)

    def is_comment(self, number):
        """Whether the line is nothing but a comment, and not the rest of one beside code."""
        text = self.lines[number - 1]
        if not text.lstrip().startswith("//"):
            return False
        before = self.lines[number - 2] if number > 1 else ""
        return "//" not in before or before.find("//") != text.find("//") or self.is_comment(number - 1)


# From the most special to the most general.
WORD_KINDS = (
    (Token.Comment.PreprocFile, "s"),
    (Token.Comment.Preproc, "p"),
    (Token.Comment, "c"),
    (Token.Keyword.Type, "t"),
    (Token.Keyword, "k"),
    (Token.Name.Builtin, "k"),
    (Token.Name.Class, "t"),
    (Token.Literal.String, "s"),
    (Token.Literal.Number, "m"),
)


def split_words(text):
    lines = [[]]
    at = 0
    for token, value in CppLexer(stripnl=False, ensurenl=False).get_tokens(text):
        kind = next((kind for parent, kind in WORD_KINDS if token in parent), "")
        is_name = token in Token.Name or token in Token.Keyword.Type
        for piece in value.splitlines(keepends=True):
            lines[-1].append(Word(kind, piece.rstrip("\n"), at, is_name))
            at += len(piece)
            if piece.endswith("\n"):
                lines.append([])
    return [[word for word in line if word.text] for line in lines[:-1]]


# "Requests requests(rules)", "Pool& pool", "Gil::Thread me(gil)", "const Future<Number> future ="
DECLARATION = re.compile(r"\b(auto|[A-Za-z_][\w:]*)(?:<[^<>;]*>)?[&*]*\s+[&*]?(\w+)\s*(?=[;,(){}=:\[])")
NOT_TYPES = {"return", "co_return", "co_await", "co_yield", "else", "new", "throw", "class", "struct",
             "enum", "namespace", "using", "typename", "explicit", "operator", "friend", "include"}


def read_source(path):
    text = path.read_text(encoding="utf-8")
    if not text.endswith("\n") or "\t" in text or "\r" in text or "/*" in text:
        raise Failed(f"{path}: has tabs, a /* comment or no end to its last line; annotate can't read that")
    source = Source(path, text.splitlines(), split_words(text))
    source.includes = re.findall(r'^#include "common/([^"]+)"', text, re.MULTILINE)
    code = re.sub(r"//.*", "", text)
    for kind, name in DECLARATION.findall(code):
        if kind not in NOT_TYPES:
            source.variables.setdefault(name, set()).add(kind)
    return source


def find_definitions(sources):
    command = ["ctags", "--options=NONE", "--quiet", "--output-format=json", "--fields=+neK", "--sort=no",
               "--language-force=C++", "--kinds-C++=+p", "-o", "-", *(str(s.path) for s in sources)]
    try:
        tags = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise Failed(f"Universal Ctags is missing, or fails ({error}); "
                     "on Debian or Ubuntu: apt-get install universal-ctags") from error
    by_path = {str(source.path): source for source in sources}
    found = collections.defaultdict(list)
    for line in tags.splitlines():
        tag = json.loads(line)
        if tag["kind"] in ("class", "struct", "enum", "typedef", "function", "prototype", "member", "variable"):
            scopes = [s for s in tag.get("scope", "").split("::") if s not in ("", "ground") and "__anon" not in s]
            found[tag["path"]].append(Definition("::".join([*scopes, tag["name"]]), tag["kind"], tag["line"]))
    for path, definitions in found.items():
        source = by_path[path]
        types = {d.name for d in definitions if d.is_type} | {"log_detail", "coroutine_detail"}
        seen = set()
        for definition in sorted(definitions, key=lambda d: d.line):
            scope, _, name = definition.name.rpartition("::")
            # Not lambdas, operators, constructors and destructors; not what is local to a function.
            if not re.fullmatch(r"\w+", name) or name.startswith("__anon") or name == scope.rpartition("::")[2]:
                continue
            if scope and scope not in types or definition.name in seen:
                continue
            seen.add(definition.name)
            definition.anchor = f"{source.name}/{definition.name}"
            source.definitions.append(definition)


class Names:
    """What the names in one source mean."""

    def __init__(self, source, by_name):
        self.source = source
        closure = [source.name]
        for name in closure:
            closure += [n for n in by_name[name].includes if n not in closure]
        self.visible = {}
        for name in reversed(closure):  # so that what is nearer hides what is farther
            for definition in by_name[name].definitions:
                self.visible[definition.name] = definition
        last_names = collections.Counter(d.name.rpartition("::")[2] for d in source.definitions)
        for definition in source.definitions:  # the short names of what is nested, in its own file
            short = definition.name.rpartition("::")[2]
            if definition.is_type and last_names[short] == 1:
                self.visible.setdefault(short, definition)
        self.files = by_name

    def of(self, word):
        """The definition that a word in the code refers to, or None if that is not certain."""
        before = self.source.text[: word.at].rstrip()
        after = self.source.text[word.at + len(word.text):].lstrip()
        name = word.text
        if before.endswith("::"):
            scope = re.search(r"([\w:]*)::$", before)[1]
            return self.visible.get(name if scope == "ground" else f"{scope}::{name}")
        if before.endswith((".", "->")):
            owner = re.search(r"(\w+)(?:\.|->)$", before)
            types = self.source.variables.get(owner[1], set()) if owner else set()
            return self.visible.get(f"{next(iter(types))}::{name}") if len(types) == 1 else None
        definition = self.visible.get(name)
        if definition is None or definition.is_type:
            return definition
        if name in self.source.variables and not (self.source.is_stage and definition.line and
                                                  definition in self.source.definitions):
            return None
        if definition.kind in ("function", "prototype") and (after.startswith(("(", "<")) or "_" in name):
            return definition
        return definition if definition.kind == "variable" else None

    def in_prose(self, text, starts_sentence):
        """The address of what a word of a comment refers to, or None."""
        bare = text.removesuffix("()").removeprefix("common/")
        if bare in self.files:
            return bare
        if bare.removesuffix(".cpp") in self.files:
            return bare.removesuffix(".cpp")
        definition = self.visible.get(bare)
        if definition is None:
            return None
        certain = text.endswith("()") or "_" in text or "::" in text or re.search(r"[a-z][A-Z]", text)
        if certain or (definition.is_type and text[0].isupper() and not starts_sentence):
            return definition.anchor
        return None


# ---- Comments


def escape(text):
    return html.escape(text, quote=False)


def quoted(text):
    """As the value of an attribute: without quotes where HTML allows it, which makes the page smaller."""
    return text if re.fullmatch(r"[^\s\"'=<>`]+", text) else f'"{html.escape(text)}"'


PROSE_WORD = re.compile(r"--[a-z][\w-]*|(?:[\w.]+/)*\w+\.(?:hpp|cpp|md|h|py)\b|[A-Za-z_][\w]*(?:::\w+)*(?:<\w*>)?(?:\(\))?"
                        r"|\d\d[a-z]?_\w+")


def format_prose(text, names, starts_sentence=True):
    """A line of a comment, with names that mean something as code, and as links."""
    result = []
    at = 0
    for match in PROSE_WORD.finditer(text):
        word = match[0]
        before = text[: match.start()].rstrip()
        first = before.endswith((".", ":", "(", "?")) or (not before and starts_sentence)
        address = names.in_prose(word, first)
        is_code = address or word.endswith("()") or "::" in word or word.startswith("--") or (
            "_" in word.strip("_") or word.endswith("_") or re.search(r"\.(hpp|cpp|md|h|py)$", word))
        if not is_code:
            continue
        result.append(escape(text[at: match.start()]))
        code = f"<code>{escape(word)}</code>"
        if address and address != names.source.name:
            code = f"<a href={quoted('#' + address)}>{code}</a>"
        result.append(code)
        at = match.end()
    result.append(escape(text[at:]))
    return "".join(result)


class Comment:
    """A run of lines that are nothing but comment."""

    def __init__(self, source, numbers, names):
        self.source = source
        self.names = names
        self.lines = [(n, source.lines[n - 1].strip()[2:].removeprefix(" ")) for n in numbers]

    def line(self, number, text, anchor=True, starts_sentence=True):
        identity = f" id={quoted(f'{self.source.name}/L{number}')}" if anchor else ""
        return f"<span{identity} data-l={number}>{format_prose(text, self.names, starts_sentence)}</span>"

    def blocks(self, lines):
        """Paragraphs, lists, and what is drawn or indented and stays as it is."""
        result = []
        for number, text in lines:
            drawn = text.startswith("    ")
            last = result[-1] if result else ("", [])
            if not text:
                # In the middle of what is drawn, an empty line is part of it.
                result.append(("", []))
            elif drawn:
                result.append(("pre", [(number, text)])) if last[0] != "pre" else last[1].append((number, text))
            elif text.startswith("- "):
                result.append(("li", [(number, text)]))
            elif last[0] == "li" and text.startswith("  "):
                last[1].append((number, text))
            elif last[0] == "p":
                last[1].append((number, text))
            else:
                result.append(("p", [(number, text)]))
        return [(kind, lines) for kind, lines in result if lines]

    def format(self, lines=None):
        blocks = self.blocks(self.lines if lines is None else lines)
        result = []
        for index, (kind, lines) in enumerate(blocks):
            if kind == "pre":
                body = "\n".join(f"<span id={quoted(f'{self.source.name}/L{n}')} data-l={n}>{escape(t[4:])}</span>"
                                 for n, t in lines)
                result.append(f"<pre tabindex=0>{body}</pre>")
                continue
            ended = True
            texts = []
            for number, text in lines:
                texts.append(self.line(number, text.strip(), starts_sentence=ended))
                ended = text.endswith((".", ":", "?"))
            body = "\n".join(texts)
            if kind == "p":
                result.append(f"<p>{body}</p>")
            else:
                opened = index == 0 or blocks[index - 1][0] != "li"
                closed = index + 1 == len(blocks) or blocks[index + 1][0] != "li"
                body = body.replace(">- ", "><span class=vh>- </span>", 1)
                result.append(f"{'<ul>' if opened else ''}<li>{body}</li>{'</ul>' if closed else ''}")
        return "\n".join(result)


@dataclass
class Header:
    """The comment that opens a file: its title and, in a stage, the four keys."""

    title: str
    rest: str  # HTML: what follows the title
    tagline: str  # text
    base: str = ""  # of a stage: what it has changed since


def read_header(source, names):
    numbers = []
    for number in range(1, len(source.lines) + 1):
        if not source.is_comment(number):
            break
        numbers.append(number)
    comment = Comment(source, numbers, names)
    first = comment.lines[0][1] if numbers else ""
    title, dashes, begin = first.partition(" -- ")
    if not dashes or title != source.path.name:
        raise Failed(f"{source.path}: the first line should be '// {source.path.name} -- what it is'")
    end = next((i for i, (_, text) in enumerate(comment.lines) if not text), len(comment.lines))
    paragraph = comment.lines[1:end]
    tagline = " ".join([begin, *(text for _, text in paragraph)])
    lead = "\n".join([comment.line(1, begin, anchor=False)] +
                     [comment.line(n, text, starts_sentence=False) for n, text in paragraph])
    heading = (f"<h1><span data-l=1 id={quoted(source.name + '/L1')}>{escape(title)}"
               f"<span class=vh> --</span></span></h1>\n<p class=lead>{lead}</p>\n")
    if not source.is_stage:
        return Header(heading, comment.format(comment.lines[end:]), tagline), len(numbers)
    keys = []
    for number, text in comment.lines[end + 1:]:
        match = re.match(r"(Changed since \w+|Buys|Costs|Leaves): +(.*)", text)
        if match:
            keys.append((match[1], number, [(number, match[2])]))
        elif keys and text:
            keys[-1][2].append((number, text.strip()))
    if [re.sub(r"^(Changed since) .*", r"\1", key) for key, _, _ in keys] != list(KEYS):
        raise Failed(f"{source.path}: the header needs, in this order: {', '.join(KEYS)}")
    rest = ["<dl class=keys>"]
    for key, number, lines in keys:
        label = format_prose(key, names) if " " in key else escape(key)
        kind = key.split()[0].lower()
        body = "\n".join(comment.line(n, text, anchor=i > 0) for i, (n, text) in enumerate(lines))
        rest.append(f"<div class=key-{kind} id={quoted(f'{source.name}/L{number}')}>"
                    f"<dt data-l={number}>{label}<span class=vh>:</span></dt>\n<dd>{body}</dd></div>")
    rest.append("</dl>")
    base = keys[0][0].removeprefix("Changed since ")
    return Header(heading, "\n".join(rest), tagline, "" if base == "nothing" else base), len(numbers)


# ---- Code


def span(kind, text):
    return f"<i class={kind}>{escape(text)}</i>" if kind else escape(text)


def format_words(words, marks=()):
    """A line of code; marks are the ranges of columns that differ from another line."""
    result = []
    column = 0
    pending = None  # neighbours of one kind go into one element

    def flush():
        nonlocal pending
        if pending:
            kind, text, marked = pending
            result.append(f"<mark>{span(kind, text)}</mark>" if marked else span(kind, text))
        pending = None

    for word in words:
        cuts = {0, len(word.text)}
        for begin, end in marks:
            cuts |= {c - column for c in (begin, end) if 0 < c - column < len(word.text)}
        cuts = sorted(cuts)
        for begin, end in zip(cuts, cuts[1:]):
            marked = any(b <= column + begin and column + end <= e for b, e in marks)
            piece = word.text[begin:end]
            if pending and pending[2] == marked and (pending[0] == word.kind or piece.isspace()):
                pending = (pending[0], pending[1] + piece, marked)
            else:
                flush()
                pending = (word.kind, piece, marked)
        column += len(word.text)
    flush()
    # <mark>s that touch become one.
    return "".join(result).replace("</mark><mark>", "")


def format_line(source, number, names, anchored):
    """A line of code with links: of names to their definitions, and of the number to itself."""
    result = []
    line = source.lines[number - 1]
    plain = []

    def flush():
        result.append(format_words(plain))
        plain.clear()

    for word in source.words[number - 1]:
        header = re.fullmatch(r'"common/([^"]+)"', word.text)
        if word.kind == "s" and header and header[1] in names.files:
            flush()
            result.append(f"<a href=#{header[1]}>{span('s', word.text)}</a>")
            continue
        if not word.is_name or word.kind == "c":
            plain.append(word)
            continue
        definition = next((d for d in source.definitions
                           if d.line == number and d.name.rpartition("::")[2] == word.text), None)
        if definition and definition.anchor not in anchored:
            flush()
            anchored.add(definition.anchor)
            kind = "t" if definition.is_type else "d"
            result.append(f"<i class={kind} id={quoted(definition.anchor)}>{escape(word.text)}</i>")
            continue
        definition = names.of(word)
        if definition is None or (definition in source.definitions and definition.line == number):
            plain.append(word)
            continue
        flush()
        kind = "t" if definition.is_type else "f"
        result.append(f"<a class={kind} href={quoted('#' + definition.anchor)}>{escape(word.text)}</a>")
    flush()
    indent = len(line) - len(line.lstrip())
    return code_line(f"{source.name}/L{number}", number, indent, "".join(result))


def code_line(identity, number, indent, body):
    return (f"<span class=l id={quoted(identity)} style=--i:{indent}>"
            f"<a href={quoted('#' + identity)} data-n={number} tabindex=-1 aria-hidden=true></a>{body}\n</span>")


def format_reading(source, names, header_size):
    """Rows of comment and code, side by side."""
    rows = []
    number = header_size + 1
    anchored = set()
    while number <= len(source.lines):
        comment, code = [], []
        while number <= len(source.lines) and source.is_comment(number):
            comment.append(number)
            number += 1
        while number <= len(source.lines) and not source.is_comment(number):
            code.append(number)
            number += 1
        left = f"<div class=words>{Comment(source, comment, names).format()}</div>" if comment else ""
        lines = "".join(format_line(source, n, names, anchored) for n in code)
        right = f"<pre class=code><code>{lines}</code></pre>" if code else ""
        rows.append(f"<div class=row>{left}{right}</div>")
    return "\n".join(rows)


# ---- Differences


@dataclass
class Change:
    sign: str  # " ", "-" or "+"
    old: int = 0
    new: int = 0
    row: int = 0  # within its group, in the view side by side
    marks: tuple = ()


def stage_diff(old, new, code_only):
    """What scripts/stage-diff says, as a list of Changes, with the numbers of the sources' lines."""
    command = [ROOT / "scripts" / "stage-diff", *(["--code-only"] if code_only else []), old.name, new.name,
               "--unified=1000000", "--no-color", "--no-ext-diff"]
    run = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if run.returncode != 0:
        raise Failed(f"scripts/stage-diff {old.name} {new.name} failed: {run.stderr.strip() or run.stdout.strip()}")
    body = run.stdout.split("\n@@ ", 1)[-1].splitlines()[1:] if "\n@@ " in run.stdout else []
    at = {"old": 0, "new": 0}
    sources = {"old": old, "new": new}

    def advance(side, text):
        """To the next line of the source that has this text, with a comment behind it or not."""
        source = sources[side]
        while at[side] < len(source.lines):
            at[side] += 1
            if shown_text(source, at[side], code_only) == text:
                return at[side]
            if not code_only:
                break
        raise Failed(f"scripts/stage-diff shows a line that {source.path} does not have: {text}")

    changes = []
    for line in body:
        sign, text = line[:1], line[1:]
        if sign not in (" ", "-", "+"):
            break
        changes.append(Change(sign, advance("old", text) if sign in " -" else 0,
                              advance("new", text) if sign in " +" else 0))
    return changes


def shown_words(source, number, code_only):
    words = source.words[number - 1]
    return [word for word in words if word.kind != "c"] if code_only else words


def shown_text(source, number, code_only):
    text = "".join(word.text for word in shown_words(source, number, code_only))
    return text.rstrip() if code_only else text


def align(olds, news):
    """Pairs of lines that are one line before and after, in order: the best sum of likenesses."""
    def likeness(old, new):
        if not old.strip() or not new.strip():
            return 0
        matcher = difflib.SequenceMatcher(None, old.strip(), new.strip(), autojunk=False)
        if matcher.real_quick_ratio() < ALIKE or matcher.quick_ratio() < ALIKE:
            return 0
        ratio = matcher.ratio()
        return ratio if ratio >= ALIKE else 0

    best = [[(0.0, ())] * (len(news) + 1) for _ in range(len(olds) + 1)]
    for i, old in enumerate(olds, 1):
        for j, new in enumerate(news, 1):
            best[i][j] = max(best[i - 1][j], best[i][j - 1], key=lambda entry: entry[0])
            alike = likeness(old, new)
            if alike and best[i - 1][j - 1][0] + alike > best[i][j][0]:
                best[i][j] = (best[i - 1][j - 1][0] + alike, (*best[i - 1][j - 1][1], (i - 1, j - 1)))
    return best[-1][-1][1]


def differing(old, new):
    """The ranges of columns in which two lines differ, by words."""
    split = re.compile(r"\w+|\s+|[^\w\s]")
    olds, news = split.findall(old), split.findall(new)

    def columns(words, begin, end):
        return sum(map(len, words[:begin])), sum(map(len, words[:end]))

    ranges = ([], [])
    for what, a, b, c, d in difflib.SequenceMatcher(None, olds, news, autojunk=False).get_opcodes():
        if what != "equal":
            for side, words, begin, end in ((0, olds, a, b), (1, news, c, d)):
                if begin < end:
                    first, last = columns(words, begin, end)
                    if ranges[side] and words[begin - 1].isspace() and ranges[side][-1][1] == first - len(words[begin - 1]):
                        first = ranges[side].pop()[0]  # two that only a blank divides
                    ranges[side].append((first, last))
    return ranges


def arrange(group, old, new, code_only):
    """Gives the changes of a group their rows side by side, and marks what differs within a line."""
    removed = [c for c in group if c.sign == "-"]
    added = [c for c in group if c.sign == "+"]
    olds = [shown_text(old, c.old, code_only) for c in removed]
    news = [shown_text(new, c.new, code_only) for c in added]
    row, i, j = 0, 0, 0
    for a, b in (*align(olds, news), (len(removed), len(added))):
        for side, begin, end in ((removed, i, a), (added, j, b)):
            for offset in range(begin, end):
                side[offset].row = row + offset - begin + 1
        row += max(a - i, b - j)
        if a < len(removed) and b < len(added):
            row += 1
            removed[a].row = added[b].row = row
            removed[a].marks, added[b].marks = differing(olds[a], news[b])
        i, j = a + 1, b + 1


def format_change(change, old, new, code_only):
    source, number = (old, change.old) if change.sign == "-" else (new, change.new)
    line = source.lines[number - 1]
    body = format_words(trim(shown_words(source, number, code_only), code_only), change.marks)
    numbers = "".join(
        f"<a href={quoted(f'#{s.name}/L{n}')} data-n={n} tabindex=-1 aria-hidden=true></a>" if n else
        f"<b class={side}></b>" for s, n, side in ((old, change.old, "o"), (new, change.new, "n")))
    tag = {"-": "del", "+": "ins", " ": "span"}[change.sign]
    indent = len(line) - len(line.lstrip())
    row = f";--r:{change.row}" if change.row else ""
    return f"<{tag} class=l style=--i:{indent}{row}>{numbers}{body}\n</{tag}>"


def trim(words, code_only):
    """Without the blanks that stood before a comment that is gone."""
    words = list(words)
    while code_only and words and words[-1].text.isspace():
        words.pop()
    return words


def format_diff(changes, old, new, code_only):
    groups = []
    for change in changes:
        kind = "same" if change.sign == " " else "changed"
        if not groups or groups[-1][0] != kind:
            groups.append((kind, []))
        groups[-1][1].append(change)
    result = []

    def lines(group):
        return "".join(format_change(c, old, new, code_only) for c in group)

    for index, (kind, group) in enumerate(groups):
        if kind == "changed":
            arrange(group, old, new, code_only)
            result.append(f"<div class=changed>{lines(group)}</div>")
            continue
        head = 0 if index == 0 else CONTEXT
        tail = 0 if index + 1 == len(groups) else CONTEXT
        hidden = group[head: len(group) - tail]
        if len(hidden) < 4:
            result.append(f"<div class=same>{lines(group)}</div>")
            continue
        if head:
            result.append(f"<div class=same>{lines(group[:head])}</div>")
        result.append(f"<details><summary>{len(hidden)} unchanged lines</summary>"
                      f"<div class=same>{lines(hidden)}</div></details>")
        if tail:
            result.append(f"<div class=same>{lines(group[len(group) - tail:])}</div>")
    return "\n".join(result)


# ---- The page


def plural(count, word):
    return f"{count} {word}{'' if count == 1 else 's'}"


def counts(changes):
    return sum(c.sign == "+" for c in changes), sum(c.sign == "-" for c in changes)


def order_of_headers(stages, by_name):
    """In the order in which a reader of the stages meets them; last what no stage includes itself."""
    order = []
    for stage in stages:
        order += [name for name in stage.includes if name not in order]
    rest = sorted(name for name, source in by_name.items() if not source.is_stage and name not in order)
    return [by_name[name] for name in order + rest]


def short(name):
    return name.split("_")[0]


def used_by(header, stages, by_name):
    users = [short(stage.name) for stage in stages if header.name in stage.includes]
    if len(users) == len(stages):
        return "used by every stage"
    if users:
        return "used by " + ", ".join(users)
    through = sorted(name for name, s in by_name.items() if header.name in s.includes)
    return "used by " + ", ".join(through) if through else "used behind pool.hpp, by make_pool()"


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
    where = (f"Stage {position + 1} of {len(group)}" if source.is_stage else
             f"common/ · {used_by(source, [s for s in by_name.values() if s.is_stage], by_name)}")
    outline = "".join(f"<li><a href={quoted('#' + d.anchor)}><code>{escape(d.name)}</code></a></li>"
                      for d in source.definitions
                      if "::" not in d.name and d.kind not in ("member", "variable"))
    views, sections = "", ""
    if header.base:
        old = by_name[header.base]
        views = (f"<nav class=views aria-label='Views of {identity}'><ul>"
                 f"<li><a href=#{identity}>Read</a></li>"
                 f"<li><a href=#{identity}/diff>Diff to {header.base}</a></li>"
                 f"<li><a href=#{identity}/diff-code>Diff, code only</a></li></ul></nav>")
        for code_only, view in ((False, "diff"), (True, "diff-code")):
            changes = diffs[source.name, code_only]
            added, removed = counts(changes)
            what = ", code only" if code_only else ""
            sections += (
                f"<section class='view diff' id={identity}/{view} aria-label='Diff of {identity} to {header.base}{what}'>"
                f"<div class=bar><h2>{header.base} <span aria-hidden=true>→</span><span class=vh>to</span> {identity}{what}</h2>"
                f"<p class=counts><ins>+{added}</ins> <del>−{removed}</del> <span>lines</span></p></div>"
                f"<div class=patch>{format_diff(changes, old, source, code_only)}</div></section>\n")
    page = ROOT / "docs" / f"{source.name}.md"
    more = f"<p class=more>More about it in <code>docs/{page.name}</code>.</p>" if source.is_stage and page.exists() else ""
    contents = f"<nav class=outline aria-label='In {identity}'><ul>{outline}</ul></nav>" if outline else ""
    return (f"<article id={quoted(identity)} data-kind={'stage' if source.is_stage else 'header'}>\n"
            f"<header class=top><p class=where>{where}</p>{header.title}{header.rest}{more}{views}</header>\n"
            f"<section class='view read' aria-label='{identity}, annotated'>{contents}\n"
            f"<div class=rows>{format_reading(source, names, size)}</div></section>\n"
            f"{sections}<nav class=turn aria-label='Before and after {identity}'>"
            f"{neighbour(before, 'Previous', 'prev')}{neighbour(after, 'Next', 'next')}</nav>\n</article>\n")


def format_page():
    sources = [read_source(path) for path in (*sorted(ROOT.glob("stages/[0-9]*.cpp")),
                                              *sorted(ROOT.glob("common/*.hpp")))]
    find_definitions(sources)
    by_name = {source.name: source for source in sources}
    stages = [source for source in sources if source.is_stage]
    headers = order_of_headers(stages, by_name)
    names = {source.name: Names(source, by_name) for source in sources}
    tops = {source.name: read_header(source, names[source.name]) for source in sources}
    wanted = []
    for stage in stages:
        base = tops[stage.name][0].base
        if base and base not in by_name:
            raise Failed(f"{stage.path}: changed since '{base}', but there is no such stage")
        wanted += [(stage.name, by_name[base], stage, code_only) for code_only in (False, True) if base]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as executor:
        jobs = {(name, code_only): executor.submit(stage_diff, old, new, code_only)
                for name, old, new, code_only in wanted}
        diffs = {key: job.result() for key, job in jobs.items()}

    articles = "".join(
        format_article(source, *tops[source.name], names[source.name], group, diffs, by_name)
        for group in (stages, headers) for source in group)
    tabs = "".join(f"<li><a href=#{s.name} title={quoted(s.name)}><b>{short(s.name)}</b>"
                   f"<span>{escape(s.name.removeprefix(short(s.name)))}</span></a></li>" for s in stages)
    cards = []
    for stage in stages:
        header = tops[stage.name][0]
        change = ""
        if header.base:
            added, removed = counts(diffs[stage.name, True])
            change = (f"<a class=counts href=#{stage.name}/diff-code><ins>+{added}</ins> <del>−{removed}</del> "
                      f"lines of code since {header.base}</a>")
        else:
            change = "<span class=counts>where it begins</span>"
        cards.append(f"<li><a href=#{stage.name}><code>{stage.name}</code></a> "
                     f"<p>{format_prose(sentence(header.tagline), names[stage.name])}</p> {change}</li>")
    shelf = "".join(f"<li><a href=#{s.name}><code>{s.name}</code></a> "
                    f"<p>{format_prose(sentence(first_sentence(tops[s.name][0].tagline)), names[s.name])}</p> "
                    f"<span class=counts>{used_by(s, stages, by_name)}</span></li>" for s in headers)
    parts = {
        "page.css": (PARTS / "page.css").read_text(encoding="utf-8"),
        "page.js": (PARTS / "page.js").read_text(encoding="utf-8"),
        "tabs": tabs, "stages": "".join(cards), "headers": shelf, "articles": articles,
    }
    template = (PARTS / "page.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{([\w.]+)\}\}", lambda match: parts[match[1]], template)


def first_sentence(text):
    return re.split(r"(?<=\.) ", text, maxsplit=1)[0]


def sentence(text):
    return text[:1].upper() + text[1:]


def main():
    parser = argparse.ArgumentParser(prog="annotate", description="Writes the annotated reading of the sources.")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, default=ROOT / "build" / "annotated.html",
                        help="default: build/annotated.html")
    output = parser.parse_args().output
    temporary = output.with_name(f"{output.name}.{os.getpid()}.part")
    try:
        page = format_page()
        if output == parser.get_default("output"):
            output.parent.mkdir(exist_ok=True)
        # Whoever has it open never sees half a page.
        temporary.write_text(page, encoding="utf-8")
        temporary.replace(output)
    except OSError as error:
        sys.exit(f"annotate: can't write '{output}' ({error.strerror}); choose another file with -o")
    except Failed as error:
        sys.exit(f"annotate: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        temporary.unlink(missing_ok=True)
    size = output.stat().st_size / 1000
    shown = output.relative_to(Path.cwd()) if output.is_relative_to(Path.cwd()) else output
    print(f"{shown}: {size:,.0f} kB; open it in a browser")


if __name__ == "__main__":
    main()
