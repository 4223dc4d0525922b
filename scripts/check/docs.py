"""Fills and checks the blocks of the documentation. Run by scripts/check/docs, which explains the syntax.

Three parts. Page finds the marked blocks of a Markdown file and puts new contents into them. The
functions named after a marker (source, diff, patch, ...) each say what a block should contain.
Terminal and Session play the `run` blocks: real shells on real pseudo-terminals, one child process
and, where the kernel allows it, one network namespace per page.

No wait here guesses how long something takes. A shell's prompt carries a mark of its own, so the end
of a command is read after all of its output. Other waits are for text that must appear. The deadlines
only end what would never end.
"""

import argparse
import ast
import codecs
import ctypes
import difflib
import fcntl
import functools
import html
import json
import operator
import os
import pty
import re
import select
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import textwrap
import time
import traceback
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "shared"))
import labs  # noqa: E402

PORT = 25000
DEADLINE = 60.0  # seconds for one command, and for one that is marked slow:
SLOW_DEADLINE = 900.0
COLUMNS, ROWS = 100, 40
DIFF_LINES = 14  # how much of a difference a finding shows

# Languages of blocks that need no marker: they are neither our code, nor a command, nor its output.
FREE_LANGUAGES = {"python", "text"}

# How programs of ours, and Python, ask for a line of input.
PROGRAM_PROMPTS = ("> ", ">>> ")
CONTROL_KEYS = {"^C": b"\x03", "^D": b"\x04", "^Z": b"\x1a"}


class Problem(Exception):
    """A block cannot be filled. The text says why, and what to do."""


class Finding:
    def __init__(self, page, line, text, diff=()):
        self.page, self.line, self.text, self.diff = page, line, text, list(diff)

    def __str__(self):
        return "\n".join([f"{self.page}:{self.line}: {self.text}", *(f"    {line}" for line in self.diff)])


# ---------------------------------------------------------------------------------------------------
# Pages and their blocks


class Block:
    """A fenced block: its marker (kind and argument, if it has one) and its contents."""

    def __init__(self, line, kind, argument, language, indent, first, last, patch):
        self.line = line  # of the marker, or of the fence if there is none; counted from 1
        self.kind, self.argument, self.language = kind, argument, language
        self.indent = indent
        self.first, self.last = first, last  # its contents: lines[first:last], counted from 0
        self.patch = patch  # the patch block in whose <details> this one is, if any
        self.contents = []
        self.options = None

    def text(self):
        return "\n".join(self.contents)


MARKER = re.compile(r"\s*<!-- (source|diff|run|patch)\b(?: (.*?))? ?-->\s*$")
RECORDING = re.compile(r"\s*<!-- ([a-z][\w-]*) -->\s*$")
CLAIM = re.compile(r"\s*<!-- holds: ?(.*?) ?-->\s*$")
FENCE = re.compile(r"( *)(```+|~~~+) *([^`\s]*)[^`]*$")
LIST_ITEM = re.compile(r" *(?:[-*+]|\d+[.)]) +")


class Page:
    def __init__(self, path):
        self.path = path
        self.name = os.path.relpath(path, ROOT)
        self.lines = path.read_text(encoding="utf-8").split("\n")
        self.findings = []
        self.blocks = []
        self.claims = []  # comparisons of recorded figures: (line, expression)
        self.recorded = []  # lines of other scripts' recordings: (line, text)
        self.prose = []  # the lines as they are, but empty if they are code or comments
        self.parse()

    def finding(self, line, text, diff=()):
        self.findings.append(Finding(self.name, line, text, diff))

    def parse(self):
        self.prose = list(self.lines)
        marker = None  # (line, kind, argument) of the line before
        patch = None
        item_indent = None  # of the text of the list item that we are in
        at = 0
        while at < len(self.lines):
            line = self.lines[at]
            fence = FENCE.match(line)
            if fence:
                end = self.end_of_fence(at, fence)
                block = self.add_block(at, end, fence, marker, patch)
                if block.kind == "patch":
                    patch = block
                marker = None
                self.prose[at : end + 1] = [""] * (end + 1 - at)
                at = end + 1
                continue
            if marker:
                self.finding(marker[0], f"'{marker[1]}' must stand directly above a fenced block")
                marker = None
            found = MARKER.match(line)
            recording = None if found else RECORDING.match(line)
            claim = CLAIM.match(line)
            if claim:
                self.claims.append((at + 1, claim[1]))
                self.prose[at] = ""
            if found:
                marker = (at + 1, found[1], found[2] or "")
                self.prose[at] = ""
            elif recording and f"<!-- /{recording[1]} -->" in (other.strip() for other in self.lines[at:]):
                at = self.skip_recording(at, recording[1])
                continue
            if "</details>" in line:
                patch = None
            if line.strip():
                item = LIST_ITEM.match(line)
                if item:
                    item_indent = len(item[0])
                elif not line.startswith(" "):
                    item_indent = None
                blank_before = at == 0 or not self.lines[at - 1].strip()
                indent = len(line.expandtabs(4)) - len(line.expandtabs(4).lstrip(" "))
                if blank_before and not item and indent >= 4 + (item_indent or 0):
                    at = self.indented_code(at)
                    continue
            at += 1
        if marker:
            self.finding(marker[0], f"'{marker[1]}' must stand directly above a fenced block")

    def end_of_fence(self, at, fence):
        for end in range(at + 1, len(self.lines)):
            closing = self.lines[end].strip()
            if closing.startswith(fence[2]) and not closing.strip(fence[2][0]):
                return end
        self.finding(at + 1, "this fenced block is never closed")
        return len(self.lines)

    def add_block(self, at, end, fence, marker, patch):
        line, kind, argument = marker or (at + 1, None, "")
        indent = fence[1]
        block = Block(line, kind, argument, fence[3], indent, at + 1, end, patch if kind == "run" else None)
        block.contents = [text.removeprefix(indent) for text in self.lines[at + 1 : end]]
        self.blocks.append(block)
        wanted = {"run": "console", "diff": "diff", "patch": "diff"}.get(kind)
        if wanted and block.language != wanted:
            self.finding(at + 1, f"a block under '{kind}' opens with ```{wanted}")
        if kind is None and block.language not in FREE_LANGUAGES:
            self.finding(
                at + 1,
                f"no marker owns this block ({block.language or 'no language'}): put a marker above it "
                "(source, diff, run or patch; scripts/check/docs --help explains)",
            )
        if kind == "run":
            try:
                block.options = RunOptions(argument)
            except Problem as problem:
                self.finding(line, str(problem))
        return block

    def indented_code(self, at):
        self.finding(at + 1, "an indented code block cannot carry a marker: fence it (scripts/check/docs --help explains)")
        while at < len(self.lines) and (not self.lines[at].strip() or self.lines[at].startswith("    ")):
            self.prose[at] = ""
            at += 1
        return at

    def skip_recording(self, at, name):
        """Another script's recording. Its first line names the command, which has to exist."""
        end = next(i for i in range(at, len(self.lines)) if self.lines[i].strip() == f"<!-- /{name} -->")
        command = next((re.search(r"`([^` ]+)[^`]*`", line) for line in self.lines[at + 1 : end] if line.strip()), None)
        if not command:
            self.finding(at + 2, f"the first line of the recording '{name}' must name its command in `backticks`")
        elif not exists_as_program(command[1]):
            self.finding(at + 2, f"'{name}' was recorded by {command[1]}, which does not exist")
        self.recorded += [(line + 1, self.lines[line]) for line in range(at, end)]
        self.prose[at : end + 1] = [""] * (end + 1 - at)
        return end + 1

    def refill(self, contents):
        """Writes the new contents, a dictionary from block to lines, into the file."""
        lines = list(self.lines)
        for block in sorted(contents, key=lambda b: -b.first):
            lines[block.first : block.last] = [(block.indent + line).rstrip() for line in contents[block]]
        if lines == self.lines:
            return False
        self.path.write_text("\n".join(lines), encoding="utf-8")
        return True


def exists_as_program(path):
    """Whether a reader who has built everything can run it."""
    name = Path(path).name
    if path.startswith("build/"):
        return any(any((ROOT / folder).rglob(f"{name}.cpp")) for folder in ("stages", "clients"))
    return (ROOT / path).is_file()


# ---------------------------------------------------------------------------------------------------
# What is taken from the sources


def source(argument):
    """The lines that `FILE: TEXT`, `FILE: FIRST ... LAST` or `FILE: FIRST ...` names."""
    name, colon, what = argument.partition(": ")
    if not colon or not what.strip():
        raise Problem("write: <!-- source FILE: TEXT --> or <!-- source FILE: FIRST ... LAST -->")
    path = ROOT / name.strip()
    if not path.is_file():
        raise Problem(f"there is no file {name.strip()}")
    lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    first, dots, last = (part.strip() for part in what.partition(" ..."))
    begin = line_with(lines, first, 0, name)
    if dots and not last:
        end = len(lines) - 1
    elif dots:
        end = line_with(lines, last, begin, name)
    else:
        end = end_of_definition(lines, begin)
        begin = begin_of_comment(lines, begin)
    return textwrap.dedent("\n".join(lines[begin : end + 1])).split("\n")


def line_with(lines, text, start, name):
    for at in range(start, len(lines)):
        if text in lines[at]:
            return at
    raise Problem(f"no line of {name} contains '{text}'; name another")


def begin_of_comment(lines, at):
    indent = re.match(r" *", lines[at])[0]
    above = re.compile(re.escape(indent) + r"(//|#(?!include|pragma|if|e|define)|template <|\[\[)")
    while at > 0 and above.match(lines[at - 1]):
        at -= 1
    return at


def end_of_definition(lines, begin):
    indent = re.match(r" *", lines[begin])[0]
    closing = re.compile(re.escape(indent) + r"\}[;,)]*\s*(//.*)?$")
    opened = 0
    for at in range(begin, len(lines)):
        if opened and closing.match(lines[at]):
            return at
        code = re.sub(r"//.*", "", lines[at])
        opened += code.count("{")
        if opened == 0 and code.rstrip().endswith(";"):
            return at
        if at == begin and opened and opened == code.count("}"):
            return at
    raise Problem(f"the definition that begins with '{lines[begin].strip()}' has no end; write FIRST ... LAST")


@functools.lru_cache(maxsize=None)
def stage_diff(one, other):
    ran = subprocess.run(
        [ROOT / "scripts" / "stage-diff", "--code-only", one, other], capture_output=True, text=True, check=False
    )
    if ran.returncode != 0:
        raise Problem(ran.stderr.strip() or f"stage-diff {one} {other} failed")
    header = re.compile(r"diff --git |index [0-9a-f]+\.\.|--- stages/|\+\+\+ stages/")
    return [line.rstrip() for line in ran.stdout.rstrip("\n").split("\n") if not header.match(line)]


def diff(argument):
    stages, colon, what = argument.partition(":")
    if len(stages.split()) != 2:
        raise Problem("write: <!-- diff 01 02 --> or <!-- diff 01 02: FROM ... TO -->")
    lines = stage_diff(*stages.split())
    if not colon:
        return lines
    first, dots, last = (part.strip() for part in what.partition(" ... "))
    if not dots:
        raise Problem("write: <!-- diff 01 02: FROM ... TO -->")
    name = f"stage-diff --code-only {stages.strip()}"
    begin = line_with(lines, first, 0, name)
    return lines[begin : line_with(lines, last, begin + 1, name) + 1]


def check_patch(block):
    ran = subprocess.run(
        ["git", "apply", "--check", "-"],
        input=block.text() + "\n",
        cwd=ROOT,
        # Without this, git would take our files for part of a repository that happens to lie above them.
        env={**os.environ, "GIT_CEILING_DIRECTORIES": str(ROOT.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode != 0:
        raise Problem(f"the patch no longer applies ({first_line(ran.stderr)}): write it anew")


def first_line(text):
    return (text.strip().split("\n") or [""])[0]


# ---------------------------------------------------------------------------------------------------
# What is said about tests


@functools.lru_cache(maxsize=None)
def test_names():
    string = r'"(?:\\.|[^"\\])*"'
    case = re.compile(rf"\bTEST_CASE(?:_\w+)?\(\s*(?:\w+\s*,\s*)?((?:{string}\s*)+)")
    names = set()
    for path in ROOT.glob("tests/**/*.cpp"):
        for match in case.finditer(path.read_text(encoding="utf-8")):
            names.add("".join(part[1:-1] for part in re.findall(string, match[1])).replace('\\"', '"'))
    return names


def check_assertions(page):
    for at, line in enumerate(page.prose):
        if not re.search(r"\basserted by\b", line, re.IGNORECASE):
            continue
        end = at + 1
        while end < len(page.prose) and page.prose[end].strip() and not LIST_ITEM.match(page.prose[end]):
            end += 1
        paragraph = "\n".join(page.prose[at:end])
        claim = re.split(r"asserted by:?\*?:?", paragraph, maxsplit=1, flags=re.IGNORECASE)[1]
        claim = re.split(r"(?<=`)\.(?=\s|$)", claim)[0]  # behind the full stop there is other text
        found = list(re.finditer(r"`([^`]+)`", claim))
        if not found:
            page.finding(at + 1, "'asserted by' names no test (in `backticks`, a TEST_CASE's whole name)")
        for name in found:
            wanted = " ".join(name[1].split())
            if wanted not in test_names():
                near = difflib.get_close_matches(wanted, test_names(), 1)
                hint = f"; is it '{near[0]}'?" if near else ""
                line_number = at + 1 + claim[: name.start()].count("\n")
                page.finding(line_number, f"there is no test '{wanted}'{hint}")


# ---------------------------------------------------------------------------------------------------
# Prose that compares figures


UNITS = {
    **{"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0},
    **{"B": 1.0, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30},
    **{"k": 1e3, "M": 1e6},
}
# A number with its unit. Not one in a name (02_threads, p50), and not a spread (±6%).
FIGURE = re.compile(
    r"(?<![A-Za-z_#\d.,±/-])(\d[\d,]*(?:\.\d+)?)(?![\d,]*(?:\.\d+)?[a-z]*_)"
    rf"(?: ?({'|'.join(sorted(UNITS, key=len, reverse=True))})(?![\w/]))?"
)


def figures_of(line):
    """The figures of a recorded line, in seconds, bytes or as they are."""
    return [float(number.replace(",", "")) * UNITS.get(unit, 1.0) for number, unit in FIGURE.findall(line)]


class Claim:
    """An expression such as "02_threads"[2] > 10 * "02b_threads_gil"[2], and the recorded lines above it."""

    ARITHMETIC = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
    COMPARISONS = {ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge}
    HINT = (
        'write a comparison: "TEXT"[N] is the N-th figure of the last line above with TEXT, "TEXT"[N, 2] that of the line '
        "with TEXT before it"
    )

    def __init__(self, lines):
        self.lines = lines
        self.used = []  # what was looked up, for the finding

    def check(self, expression):
        try:
            tree = ast.parse(expression, mode="eval").body
        except SyntaxError:
            raise Problem(self.HINT) from None
        if not self.holds(tree):
            raise Problem(f"this is not so: {expression} (recorded: {', '.join(self.used)})")

    def holds(self, node):
        if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
            return all([self.holds(part) for part in node.values])
        if not isinstance(node, ast.Compare):
            raise Problem(self.HINT)
        values = [self.value(part) for part in (node.left, *node.comparators)]
        tests = [self.COMPARISONS.get(type(sign)) for sign in node.ops]
        if None in tests:
            raise Problem(self.HINT)
        return all(test(left, right) for test, left, right in zip(tests, values, values[1:]))

    def value(self, node):
        if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
            return node.value
        if isinstance(node, ast.BinOp) and type(node.op) in self.ARITHMETIC:
            try:
                return self.ARITHMETIC[type(node.op)](self.value(node.left), self.value(node.right))
            except ZeroDivisionError:
                raise Problem("a figure is 0, and is divided by") from None
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Constant):
            index = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            numbers = [part.value for part in index if isinstance(part, ast.Constant) and isinstance(part.value, int)]
            if isinstance(node.value.value, str) and len(numbers) == len(index) <= 2 and min(numbers) >= 1:
                return self.figure(node.value.value, *numbers)
        raise Problem(self.HINT)

    def figure(self, text, number, last=1):
        word = re.compile(rf"(?:^|[\s|]){re.escape(text)}(?=[\s|]|$)")
        found = [figures_of(line) for line in self.lines if word.search(line)]
        found = [figures for figures in found if figures]
        if len(found) < last:
            raise Problem(f"of the recorded lines above, {len(found)} have '{text}' and a figure")
        if len(found[-last]) < number:
            raise Problem(f"the line with '{text}' has only {len(found[-last])} figures")
        self.used.append(f"{found[-last][number - 1]:g}")
        return found[-last][number - 1]


def output_of(block):
    """The lines of a run block that no reader types: (line, text)."""
    typed = False
    for at, text in enumerate(block.contents):
        typed = text.startswith("$ ") or (typed and block.contents[at - 1].endswith("\\"))
        if not typed:
            yield block.first + 1 + at, text


def check_claims(page):
    recorded = sorted([*page.recorded, *(line for block in page.blocks if block.kind == "run" for line in output_of(block))])
    for line, expression in page.claims:
        try:
            Claim([text for at, text in recorded if at < line]).check(expression)
        except Problem as problem:
            page.finding(line, f"'holds': {problem}")


# ---------------------------------------------------------------------------------------------------
# Links


def slug(heading):
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    text = re.sub(r"<[^>]+>", "", text).replace("`", "").replace("*", "")
    text = html.unescape(text).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


@functools.lru_cache(maxsize=None)
def anchors(path):
    page = Page(path)
    found, seen = set(), {}
    for line in page.prose:
        heading = re.match(r"#{1,6} +(.*?)(?: +#+)?$", line)
        if heading:
            name = slug(heading[1])
            count = seen.get(name, 0)
            seen[name] = count + 1
            found.add(f"{name}-{count}" if count else name)
        found.update(re.findall(r"<\w+ [^>]*\b(?:id|name)=\"([^\"]+)\"", line))
    return found


LINK = re.compile(
    r"\]\(\s*<?([^)\s>]*)>?(?:\s+\"[^\"]*\")?\s*\)|<(?:a|img)\b[^>]*?\b(?:href|src)=\"([^\"]*)\"|^\[[^\]]+\]:\s+(\S+)"
)


def check_slow(page):
    """Slow blocks do not run in every check. But if nothing is shown, it was never recorded, or the command is wrong."""
    for block in page.blocks:
        commands = "\n".join(block.contents).replace("\\\n", "").split("\n")
        last = commands[-1]
        if block.options and block.options.slow and last.startswith("$ ") and not re.search(r"[>&]", last):
            page.finding(block.line, f"'{last[2:]}' shows nothing; run: scripts/check/docs --record {page.name}")


def check_lab(page):
    """What scripts/lab takes from a page: the task, and every symptom with all of its hints."""
    read = labs.general_section if page.name == labs.GENERAL else labs.section_of
    section = read("\n".join(page.lines))
    for line, text in section.problems if section else ():
        page.finding(line, text)


def check_links(page):
    for at, line in enumerate(page.prose):
        text = re.sub(r"(`+)(?:(?!\1).)*\1", "``", line)
        for match in LINK.finditer(text):
            target = next((group for group in match.groups() if group is not None), "")
            problem = broken_link(page, target)
            if problem:
                page.finding(at + 1, f"link '{target}': {problem}")


def broken_link(page, target):
    if re.match(r"[a-z][a-z+.-]*:", target, re.IGNORECASE):
        return None  # another site: whether it exists is not checked, because no test needs the network
    if not target:
        return "it leads nowhere"
    name, _, anchor = target.partition("#")
    path = (page.path.parent / unquote(name)).resolve() if name else page.path
    if not path.is_relative_to(ROOT) or not path.exists():
        return "there is no such file"
    if path.is_relative_to(ROOT / "build"):
        return "build/ is not in the repository"
    if not anchor:
        return None
    if path.suffix != ".md":
        return "lines move: link to the file without #"
    if anchor not in anchors(path):
        near = difflib.get_close_matches(anchor, anchors(path), 1)
        return "no heading there has that name" + (f"; is it #{near[0]}?" if near else "")
    return None


# ---------------------------------------------------------------------------------------------------
# Diagrams


class Graphviz:
    """Graphviz with nothing but its own layout and its own table of letter widths.

    Otherwise it would ask the fonts of this machine how wide a text is, and draw another picture on
    the next machine. A file beside the plugins lists them, so it gets a folder that contains only
    these.
    """

    def __init__(self, scratch):
        self.folder = scratch / "graphviz"
        self.folder.mkdir()
        plugins = [*Path("/usr/lib").glob("*/graphviz/libgvplugin_*.so.*"), *Path("/usr/lib/graphviz").glob("*.so.*")]
        wanted = re.compile(r"libgvplugin_(core|dot_layout|neato_layout)\.so\.\d+$")
        for plugin in plugins:
            if wanted.match(plugin.name):
                (self.folder / plugin.name).symlink_to(plugin)
        self.environment = {**os.environ, "GVBINDIR": str(self.folder), "LC_ALL": "C.UTF-8"}
        self.run("-c")

    def run(self, *arguments):
        try:
            ran = subprocess.run(
                ["dot", *arguments], env=self.environment, capture_output=True, text=True, check=False, timeout=DEADLINE
            )
        except FileNotFoundError:
            raise Problem("dot is missing; run scripts/setup") from None
        # The person who looks at the picture checks whether a text fits into its shape, with the browser's fonts.
        told = [line for line in ran.stderr.split("\n") if line and "size too small for label" not in line]
        if ran.returncode != 0 or told:
            raise Problem(f"dot says: {told[0] if told else ran.returncode}")
        return ran.stdout

    def svg(self, path):
        # The version of Graphviz would be a difference that no reader sees.
        return re.sub(r"<!-- Generated by graphviz.*?-->\n", "", self.run("-Tsvg", str(path)), flags=re.DOTALL)


def diagrams(paths, record, scratch):
    findings = []
    if not paths:
        return findings
    graphviz = Graphviz(scratch)
    for path in paths:
        name, drawn = os.path.relpath(path, ROOT), path.with_suffix(".svg")
        try:
            wanted = graphviz.svg(path)
        except Problem as problem:
            findings.append(Finding(name, 1, str(problem)))
            continue
        if record:
            if not drawn.exists() or drawn.read_text(encoding="utf-8") != wanted:
                drawn.write_text(wanted, encoding="utf-8")
                print(f"{os.path.relpath(drawn, ROOT)}: drawn")
        elif not drawn.exists() or drawn.read_text(encoding="utf-8") != wanted:
            findings.append(
                Finding(name, 1, f"{drawn.name} is not what this draws; run: scripts/check/docs --record {name}")
            )
    return findings


# ---------------------------------------------------------------------------------------------------
# Terminals


class RunOptions:
    """The options in <!-- run ... -->."""

    def __init__(self, argument):
        self.until = None
        match = re.search(r"(?:^| )until=/((?:\\.|[^/\\])*)/(?= |$)", argument)
        if match:
            try:
                self.until = re.compile(match[1].replace("\\/", "/"), re.MULTILINE)
            except re.error as error:
                raise Problem(f"until=/{match[1]}/ is no regular expression: {error}") from None
            argument = argument[: match.start()] + argument[match.end() :]
        words = argument.split()
        self.figures, self.slow, self.more, self.now = (word in words for word in ("figures", "slow", "more", "now"))
        names = [word for word in words if word not in ("figures", "slow", "more", "now")]
        if len(names) > 1 or any(not re.fullmatch(r"[a-z][\w-]*", name) for name in names):
            raise Problem(f"'run {argument}': write run [TERMINAL] [figures] [slow] [until=/REGEX/] [more [now]]")
        self.terminal = names[0] if names else "main"


def written_out(text):
    """What a screen shows after this text: carriage returns, cursor movements and erasing done."""
    lines, row, column = [[]], 0, 0
    for token in re.finditer(r"\x1b\[([?\d;]*)([A-Za-z])|\x1b\][^\x07]*\x07|\x1b.|[\s\S]", text):
        parameter, final = token[1], token[2]
        count = int(parameter) if parameter and parameter.isdigit() else None
        if final is None and token[0].startswith("\x1b"):
            continue
        if final == "A":
            row = max(0, row - (count or 1))
        elif final == "B":
            row += count or 1
        elif final == "C":
            column += count or 1
        elif final == "D":
            column = max(0, column - (count or 1))
        elif final == "G":
            column = (count or 1) - 1
        elif final == "K":
            del lines[row][column if not count else 0 :]
        elif final == "J" and not count:
            del lines[row][column:], lines[row + 1 :]
        elif final is not None:
            pass
        elif token[0] == "\n":
            row, column = row + 1, 0
        elif token[0] == "\r":
            column = 0
        elif token[0] == "\b":
            column = max(0, column - 1)
        elif token[0] == "\t":
            column += 8 - column % 8
        elif token[0] >= " ":
            line = lines[row]
            line.extend(" " * (column - len(line)))
            line[column : column + 1] = token[0]
            column += 1
        while row >= len(lines):
            lines.append([])
    return ["".join(line).rstrip() for line in lines]


class Terminal:
    """A shell on a pseudo-terminal, and all that it has printed.

    The shell's prompt is PROMPT: the exit status between two record separators, which nothing else
    prints. Shown to a reader it is "$ ".
    """

    PROMPT = re.compile("\x1e(\\d+)\x1e")

    def __init__(self, name, folder, environment):
        self.name = name
        self.text = ""  # without colours; line ends are \n
        self.shown = 0  # the page's blocks have shown it up to here
        self.mark = 0  # where the last input that was typed begins
        self.idle = True  # whether the shell waits for a command
        self.closed = False
        self.undecoded = codecs.getincrementaldecoder("utf-8")("replace")
        self.held = ""  # the beginning of an escape sequence, or a \r, whose end has not arrived
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                self.become_shell(folder, environment)
            finally:
                os._exit(127)

    @staticmethod
    def become_shell(folder, environment):
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        settings = termios.tcgetattr(0)
        # Ctrl-C would otherwise throw away output that is on its way to the screen.
        settings[3] |= termios.NOFLSH
        termios.tcsetattr(0, termios.TCSANOW, settings)
        os.chdir(folder)
        # A reader's shell inherits none of the descriptors that are open here. Nor does it inherit signals that are
        # blocked or ignored (Python ignores SIGPIPE).
        os.closerange(3, 1024)
        for name in ("SIGHUP", "SIGINT", "SIGQUIT", "SIGPIPE", "SIGTERM", "SIGXFSZ"):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        shell = ["bash", "--norc", "--noprofile", "--noediting", "-i", "+H"]
        os.execvpe("bash", shell, {**environment, "PS1": r"\036$?\036", "PS2": ""})

    def read(self):
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # EIO: the other end is closed
            data = b""
        if not data:
            self.closed = True
            return
        text = self.held + self.undecoded.decode(data)
        held = re.search(r"(?:\x1b(?:\[[?\d;]*)?|\r)\Z", text)
        self.held = held[0] if held else ""
        text = text[: len(text) - len(self.held)]
        self.text += re.sub(r"\x1b\[[\d;]*m|\x1b\[\?\d+[hl]", "", text).replace("\r\n", "\n")

    def type(self, data):
        os.write(self.fd, data)

    def prompt_after(self, position):
        return self.PROMPT.search(self.text, position)

    def program_prompt(self):
        """Where the last line begins, if it is one in which a program asks for input."""
        begin = self.text.rfind("\n") + 1
        return begin if not self.held and self.text[begin:] in PROGRAM_PROMPTS else None

    def rendered(self, begin, end):
        text = self.PROMPT.sub("\n$ ", self.text[begin:end])
        # Two line ends where there was already one. The text that a key is shown as stands alone.
        text = re.sub(r"(^|\n)\n\$ ", r"\1$ ", text)
        text = re.sub("\x1d\n?", "\n", text)
        lines = written_out(text)
        while lines and not lines[-1]:
            lines.pop()
        while lines and not lines[0]:
            lines.pop(0)
        return lines


class Session:
    """Plays the run blocks of one page, top to bottom, each in its terminal."""

    def __init__(self, folder, environment, deadline, brief=False):
        self.folder, self.environment, self.deadline = folder, environment, deadline
        self.brief = brief  # whether measurements may be shorter than shown
        self.terminals = {}

    # Waiting

    def wait(self, what, condition, deadline):
        """Reads from all terminals until condition() is true, and returns its value."""
        end = time.monotonic() + deadline
        while True:
            result = condition()
            if result:
                return result
            left = end - time.monotonic()
            open_ones = {t.fd: t for t in self.terminals.values() if not t.closed}
            ready = select.select(list(open_ones), [], [], max(left, 0))[0] if open_ones else []
            if not ready:
                raise Problem(f"waited {deadline:.0f} s for {what}")
            for fd in ready:
                open_ones[fd].read()

    def read_what_is_there(self):
        """Reads what has arrived, and no more."""
        while True:
            open_ones = {t.fd: t for t in self.terminals.values() if not t.closed}
            ready = select.select(list(open_ones), [], [], 0)[0] if open_ones else []
            if not ready:
                return
            for fd in ready:
                open_ones[fd].read()

    def at_rest(self, terminal):
        """Whether a program waits for input there: (end of output, is it the shell), or None."""
        if terminal.closed:
            raise Problem(f"the shell of terminal '{terminal.name}' has ended")
        prompt = terminal.prompt_after(terminal.mark)
        if prompt:
            return prompt.start(), True
        begin = terminal.program_prompt()
        return (begin, False) if begin is not None and begin >= terminal.mark else None

    def wait_for_rest(self, terminal, deadline):
        end, terminal.idle = self.wait(
            f"the end of the command in terminal '{terminal.name}' (does it need until=/REGEX/ or ^C?)",
            lambda: self.at_rest(terminal),
            deadline,
        )
        return end

    def wait_for_match(self, terminal, regex, begin, deadline):
        """Waits for a whole line that matches, and returns where it ends."""

        def matched():
            limit = terminal.prompt_after(terminal.mark)
            text = terminal.text[: limit.start()] if limit else terminal.text
            match = regex.search(text, begin)
            if match:
                end = text.find("\n", max(match.end() - 1, begin))
                if end >= 0:
                    return end + 1
                rest = self.at_rest(terminal)
                if rest:
                    return rest[0]
            elif limit:
                raise Problem(f"the command ended without printing anything that matches /{regex.pattern}/")
            return None

        end = self.wait(f"terminal '{terminal.name}' to print /{regex.pattern}/", matched, deadline)
        prompt = terminal.prompt_after(terminal.mark)
        terminal.idle = bool(prompt and prompt.start() <= end)
        return end

    # Typing

    def terminal(self, name):
        if name not in self.terminals:
            terminal = Terminal(name, self.folder, self.environment)
            self.terminals[name] = terminal
            prompt = self.wait("the shell's first prompt", lambda: terminal.prompt_after(0), DEADLINE)
            terminal.shown = terminal.mark = prompt.start()
        return self.terminals[name]

    def type_command(self, terminal, command, deadline, typed=None):
        """Types the command, or another one in its place. The terminal then shows this one."""
        if not terminal.idle:
            self.wait(
                f"the command in terminal '{terminal.name}' to end (does it need ^C?)",
                lambda: terminal.prompt_after(terminal.mark),
                deadline,
            )
        # Everything before this prompt belongs to commands that have ended.
        terminal.mark = list(terminal.PROMPT.finditer(terminal.text))[-1].end()
        terminal.idle = False
        typed = typed or command
        terminal.type(typed.encode() + b"\n")
        echo = typed + "\n"
        self.wait("the echo of a command", lambda: len(terminal.text) >= terminal.mark + len(echo), DEADLINE)
        if not terminal.text.startswith(echo, terminal.mark):
            raise Problem(f"typed '{typed}', and the terminal showed something else")
        rest = terminal.text[terminal.mark + len(echo):]
        terminal.text = terminal.text[: terminal.mark] + command + "\n" + rest
        terminal.mark += len(command) + 1

    def type_line(self, terminal, line):
        begin = terminal.program_prompt()
        terminal.mark = len(terminal.text)
        terminal.type(line.encode() + b"\n")
        self.wait("the echo of a line", lambda: "\n" in terminal.text[terminal.mark :], DEADLINE)
        terminal.mark = terminal.text.index("\n", terminal.mark) + 1
        return begin

    def type_key(self, terminal, key, deadline):
        before = len(terminal.text)
        terminal.mark = before
        terminal.type(CONTROL_KEYS[key])
        if key == "^D":  # the only one that a terminal does not show
            terminal.text += key
        else:

            def shown():
                return key in terminal.text[before:] or terminal.prompt_after(before)

            self.wait(f"the echo of {key}", shown, deadline)
            if key not in terminal.text[before:]:
                terminal.text = terminal.text[:before] + key + terminal.text[before:]
        at = terminal.text.index(key, before)
        line = terminal.text[terminal.text.rfind("\n", 0, at) + 1 : at]
        lead = "" if line == "" or line in PROGRAM_PROMPTS else "\n"
        terminal.text = terminal.text[:at] + lead + key + "\x1d" + terminal.text[at + len(key) :]

    # Blocks

    def play(self, block):
        """Types what the block says and returns what the terminal shows, as lines."""
        options = block.options
        deadline = SLOW_DEADLINE if options.slow else self.deadline
        terminal = self.terminal(options.terminal)
        begin = terminal.shown
        if options.more:
            end = self.play_more(terminal, options, deadline)
        else:
            end = self.play_inputs(terminal, block.contents, options, deadline)
        terminal.shown = end
        return terminal.rendered(begin, end)

    def play_more(self, terminal, options, deadline):
        if options.until:
            return self.wait_for_match(terminal, options.until, terminal.shown, deadline)
        if options.now:
            self.read_what_is_there()
            return terminal.text.rfind("\n") + 1
        return self.wait_for_rest(terminal, deadline)

    def play_inputs(self, terminal, lines, options, deadline):
        at, end, fresh = 0, None, False  # fresh: a command was typed, and its output was not waited for
        while True:
            key, at = next_input(lines, at, terminal)
            if key is None:
                break
            if key in CONTROL_KEYS:
                if fresh:
                    self.wait("the command's first output", lambda: terminal.text[terminal.mark :], deadline)
                self.type_key(terminal, key, deadline)
                end, fresh = self.wait_for_rest(terminal, deadline), False
                continue
            if key.startswith("$ "):
                brief = self.brief and options.figures
                self.type_command(terminal, key[2:], deadline, shortened(key[2:]) if brief else None)
                search_from = terminal.mark
            else:
                search_from = self.type_line(terminal, key)
            upcoming = next((line for line in lines[at:] if is_input(line)), None)
            is_last = not any(line.startswith(("$ ", *PROGRAM_PROMPTS)) for line in lines[at:])
            if options.until and is_last:
                end = self.wait_for_match(terminal, options.until, search_from, deadline)
            elif control_key(upcoming) and key.startswith("$ "):
                fresh = True
            else:
                end = self.wait_for_rest(terminal, deadline)
        if end is None:
            raise Problem("nothing to type: begin a line with '$ ' and a command, or write 'more'")
        return end

    # The end

    def close(self):
        """Ends what still runs, with Ctrl-C and the shells' exit. Returns what did not end."""
        stubborn = []
        for terminal in self.terminals.values():
            if terminal.closed:
                continue
            try:
                if not terminal.prompt_after(terminal.mark):
                    terminal.type(CONTROL_KEYS["^C"])
                    self.wait("", lambda t=terminal: t.closed or t.prompt_after(t.mark), 10)
            except Problem:
                stubborn.append(f"Ctrl-C did not end the command in terminal '{terminal.name}'")
        for terminal in self.terminals.values():
            os.close(terminal.fd)  # which sends a SIGHUP to what is left
            terminal.closed = True
        return stubborn


MEASURES = re.compile(r"(?<=build/release/clients/perf )[^|;&>]*")


def shortened(command):
    """The same command with shorter measurements by perf, because a check compares no figures.

    Without -q, perf prints a line for each interval. There the length of the run decides what the page shows, so only
    the intervals are shorter."""

    def shorter(perf):
        quiet = re.search(r"(^| )-q\b", perf[0])
        length = r"(?<=-d )(\d+)s\b" if quiet else r"(?<=-i )(\d+)s\b"
        options = re.sub(length, lambda seconds: f"{250 * int(seconds[1])}ms", perf[0])
        return re.sub(r"(?<=-n )(\d{6,})\b", lambda count: f"{int(count[1]) // 10}", options) if quiet else options

    return MEASURES.sub(shorter, command)


def is_input(line):
    return line.startswith(("$ ", *PROGRAM_PROMPTS)) or control_key(line)


def control_key(line):
    if line is None:
        return None
    for prompt in ("", *PROGRAM_PROMPTS):
        if line.startswith(prompt) and line[len(prompt) :] in CONTROL_KEYS:
            return line[len(prompt) :]
    return None


def next_input(lines, at, terminal):
    """The next thing to type: ("$ command" or a key or a line, position behind it), or (None, ...)."""
    while at < len(lines):
        line = lines[at]
        at += 1
        if line.startswith("$ "):
            while line.endswith("\\") and at < len(lines):
                line += "\n" + lines[at]
                at += 1
            return line, at
        if terminal.idle:
            continue
        key = control_key(line)
        if key:
            return key, at
        if terminal.program_prompt() is not None:
            for prompt in PROGRAM_PROMPTS:
                if line.startswith(prompt):
                    return line[len(prompt) :], at
    return None, at


# ---------------------------------------------------------------------------------------------------
# Comparing


# perf adds this to its report if it was short of CPU, or if its end (Ctrl-C or -d) came between a request and its
# reply.
UNLUCKY = re.compile(
    r" *(Errors: (\D+ 0, )+unanswered \d+|Note: (perf itself was busy .*|\d+ requests? had no reply yet at the end))$"
)


def shape(lines):
    """Recorded lines without their figures, which change from run to run."""
    text = "\n".join(line for line in lines if not UNLUCKY.match(line))
    # What was under way at the end differs from run to run. So does which clients a server has seen leave by then.
    text = re.sub(r"^(\^C)\n(?:.*(?:reqs/sec|fib\(\d+\) =).*\n)+\n?", r"\1\n", text, flags=re.M)
    text = re.sub(r"^(?:.*(?:reqs/sec +p50|fib\(\d+\) =).*\n)+(?=\^C$|  Stats )", "", text, flags=re.M)
    text = re.sub(r"^Closed [\d.:]+\n", "", text, flags=re.M)
    text = re.sub(r"\brequest in\b", "requests in", text)
    # compare concludes this from figures: which stage was the fastest, whether the client was the limit, how much runs
    # differed.
    text = re.sub(r"^Best first: .*(\n    .*)*", "Best first: #", text, flags=re.M)
    text = re.sub(r" +\*$|^\* The client was busy .*\n", "", text, flags=re.M)
    text = re.sub(r", in single runs [\d.]+% to [\d.]+%", "", text)
    text = re.sub(r"^The runs of a stage spread by .*(\n    .*)*\n", "", text, flags=re.M)
    text = re.sub(r", data=(\{[^}]*\}|0x[0-9a-f]+|\d+)(?=\})", "", text)  # each strace has its own form of it
    text = re.sub(r"(Peer Address:Port) +Process$", r"\1", text, flags=re.M)  # newer versions of ss leave it out
    text = re.sub(r"\b0x[0-9a-fA-F]+\b", "#", text)
    # Not figures in names: 02_threads, p50.
    text = re.sub(r"(?<![A-Za-z_#\d])\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?(?![\d,]*(?:\.\d+)?[a-z]*_)", "#", text)
    text = re.sub(r"[-+]#", "#", text)
    text = re.sub(r"# ?(?:ns|us|µs|ms|s|min|m|h)\b", "# s", text)
    text = re.sub(r"# ?(?:[kKMG]i?)?B\b", "# B", text)
    text = re.sub(r"# ?[kKMG]\b", "#", text)
    text = re.sub(r"[-─═]{3,}", "---", text)
    text = re.sub(r" *[▁▂▃▄▅▆▇█▉▊▋▌▍▎▏]+", "", text)  # bars
    squeezed = [" ".join(line.split()) for line in text.split("\n")]
    # Several lines of the same form are one: how many lines perf prints meanwhile is a figure, too.
    return [line for at, line in enumerate(squeezed) if at == 0 or line != squeezed[at - 1] or not line]


def difference(old, new):
    lines = list(difflib.unified_diff(old, new, "shown", "now", n=1, lineterm=""))[2:]
    return lines if len(lines) <= DIFF_LINES else [*lines[:DIFF_LINES], "..."]


# ---------------------------------------------------------------------------------------------------
# Running pages


LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x10000000, 0x20000000, 0x40000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def called(result, what):
    if result == -1:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def own_network(others=0):
    """Gives this process a loopback interface of its own, where every port is free, and other namespaces."""
    uid, gid = os.geteuid(), os.getegid()
    if LIBC.unshare(CLONE_NEWNET | others) == -1:
        called(LIBC.unshare(CLONE_NEWUSER | CLONE_NEWNET | others), "unshare")
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1", encoding="ascii")
    get_flags, set_flags, up = 0x8913, 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(any_socket, get_flags, request))[1]
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sH14x", b"lo", flags | up))


def own_network_and_processes():
    """As own_network(); then goes on in a child that sees (with pgrep, say) what it has started, and nothing else."""
    own_network(CLONE_NEWPID | CLONE_NEWNS)
    child = os.fork()
    if child != 0:
        wait_in_place_of(child)
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    called(LIBC.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "mount /")
    called(LIBC.mount(b"proc", b"/proc", b"proc", 0, None), "mount /proc")


def wait_in_place_of(child):
    """Ends as the child does. Passes on the signals that this process gets."""
    while True:
        try:
            os._exit(0 if os.waitpid(child, 0)[1] == 0 else 1)
        except KeyboardInterrupt:
            os.kill(child, signal.SIGTERM)


def namespaces():
    """Which of the two functions above works here. Containers often allow none, or no /proc of their own."""
    for enter in (own_network_and_processes, own_network):
        child = os.fork()
        if child == 0:
            try:
                enter()
                os._exit(0)
            except OSError:
                os._exit(1)
        if os.waitpid(child, 0)[1] == 0:
            return enter
    return None


def port_is_free():
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", PORT))
        except OSError:
            return False
    return True


def descendants():
    """Our descendants, also those whose parents have ended, without zombies."""
    found = []
    pending = [os.getpid()]
    while pending:
        for children in Path(f"/proc/{pending.pop()}/task").glob("*/children"):
            try:
                pids = [int(pid) for pid in children.read_text(encoding="ascii").split()]
            except OSError:
                continue
            found += pids
            pending += pids
    return found


def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0] != 0:
            pass
    except ChildProcessError:
        pass


def name_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def end_descendants(grace=5.0):
    """All should have ended. Waits for those that are ending, kills the rest and names it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    end = time.monotonic() + grace
    while descendants() and time.monotonic() < end:
        # We are not notified when a process ends that is not our child (yet), so look again.
        reap()
        signal.sigtimedwait([signal.SIGCHLD], 0.05)
    left = [(pid, name_of(pid)) for pid in descendants()]
    for pid, _ in left:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    while descendants():
        try:
            os.wait()
        except ChildProcessError:
            break
    return [f"left behind and killed: {name or pid}" for pid, name in left]


class Unit:
    """Run blocks that are played together: a page's, or those of an exercise's answer."""

    def __init__(self, page, blocks, patch=None):
        self.page, self.blocks, self.patch = page, blocks, patch
        self.folder = None
        self.tree = ROOT
        self.build = None


def make_folder(unit, scratch):
    """A folder that looks like the repository's root, in which build/release is the build to use."""
    folder = Path(tempfile.mkdtemp(prefix="root.", dir=scratch))
    for entry in unit.tree.iterdir():
        if entry.name != "build":
            (folder / entry.name).symlink_to(entry)
    (folder / "build").mkdir()
    (folder / "build" / "release").symlink_to(unit.build)
    unit.folder = folder


def with_usual_paths(unit, line):
    """The line as in a root where build/release is no link, because a program that names its own folder resolves it."""
    real = os.path.realpath(unit.build)
    return line.replace(os.path.relpath(real, unit.folder), "build/release").replace(real, "build/release")


def play_unit(unit, slow, deadline, brief):
    """Plays a unit's blocks in this process. Returns what each block shows, and what went wrong."""
    kept = {name: os.environ[name] for name in ("PATH", "USER", "LOGNAME", "TMPDIR") if name in os.environ}
    environment = {
        **kept,
        "HOME": str(unit.folder),
        "LC_ALL": "C.UTF-8",
        "TERM": "dumb",
        "PAGER": "cat",
        "GIT_PAGER": "cat",
        "PYTHONDONTWRITEBYTECODE": "1",
        "GROUND_BUILT": "yes",  # the scripts then take build/release as it is
    }
    session = Session(unit.folder, environment, deadline, brief)
    shown, problems = {}, []
    skipped = set()  # terminals in which a block that was left out has left something running
    block = None
    try:
        for block in unit.blocks:
            name = block.options.terminal
            if block.options.slow and not slow:
                skipped.add(name)
                continue
            if name in skipped:
                if not any(line.startswith("$ ") for line in block.contents):
                    continue
                skipped.discard(name)
                if not block.contents[0].startswith("$ "):
                    continue
            lines = [with_usual_paths(unit, line) for line in session.play(block)]
            if any(str(folder) in line for line in lines for folder in (unit.folder, ROOT)):
                problems.append((block.line, "the output names a folder that only this machine has"))
            shown[block.line] = lines
    except Problem as problem:
        seen = []
        if block.options.terminal in session.terminals:
            terminal = session.terminals[block.options.terminal]
            seen = terminal.rendered(terminal.shown, len(terminal.text))[-DIFF_LINES:]
        told = f"{problem}; this and the page's later blocks were not run"
        problems.append((block.line, told, [f"| {line}" for line in seen]))
    except OSError as error:
        problems.append((block.line, f"{error}"))
    problems += [(block.line if block else 1, text) for text in session.close()]
    problems += [(block.line if block else 1, text) for text in end_descendants()]
    return shown, problems


def interrupt(_number, _frame):
    """Ctrl-C or SIGTERM: begins to clean up. A second signal must not disturb that."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def start_unit(unit, slow, deadline, brief, enter, scratch):
    """Plays a unit in a child process. Returns the child and the file in which it leaves its result."""
    result = Path(tempfile.mkstemp(prefix="result.", dir=scratch)[1])
    child = os.fork()
    if child != 0:
        return child, result
    try:
        if enter:
            enter()
        # A process that has lost its parent becomes our child, and is waited for at once, because some pages watch it
        # go.
        LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        signal.signal(signal.SIGCHLD, lambda number, frame: reap())
        shown, problems = play_unit(unit, slow, deadline, brief)
        result.write_text(json.dumps({"shown": list(shown.items()), "problems": problems}), encoding="utf-8")
        os._exit(0)
    except KeyboardInterrupt:
        pass
    except BaseException:  # a mistake of ours
        traceback.print_exc()
    finally:
        end_descendants(grace=0)
        os._exit(1)


def play_units(units, slow, deadline, jobs, scratch, brief=False):
    """Returns per unit what its blocks show, and what went wrong: (line, text, ...) each. See shortened() for brief."""
    enter = namespaces()
    if not enter:
        jobs = 1
        if not port_is_free():
            sys.exit(f"docs: port {PORT} is taken; end what listens there (ss -ltnp shows it)")
    waiting, running, results = list(units), {}, {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                unit = waiting.pop(0)
                make_folder(unit, scratch)
                child, result = start_unit(unit, slow, deadline, brief, enter, scratch)
                running[child] = (unit, result)
            child, status = os.wait()
            if child not in running:
                continue
            unit, result = running.pop(child)
            if status != 0:
                results[unit] = {}, [(1, "the page could not be run to its end")]
                continue
            told = json.loads(result.read_text(encoding="utf-8"))
            results[unit] = dict(told["shown"]), told["problems"]
    except KeyboardInterrupt:
        for child in running:
            os.kill(child, signal.SIGTERM)
        for child in running:
            os.waitpid(child, 0)  # a child takes this as Ctrl-C, and ends what it has started
        raise
    return results


# ---------------------------------------------------------------------------------------------------
# Exercises: answers that are patches


class Workshop:
    """A copy of the sources, to which one answer after another is applied and then removed.

    It is built once. Each answer then costs only what it changes.
    """

    def __init__(self, scratch):
        self.tree = scratch / "answers"
        shutil.copytree(ROOT, self.tree, symlinks=True, ignore=shutil.ignore_patterns(".git", "build"))
        self.environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(scratch)}
        self.run(["cmake", "--preset", "release", "-DGROUND_TESTS=OFF"])

    def run(self, command, given=None):
        ran = subprocess.run(
            command,
            input=given,
            cwd=self.tree,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if ran.returncode != 0:
            lines = ran.stdout.strip().split("\n")
            errors = [line for line in lines if "error" in line.lower()] or lines
            raise Problem("\n".join([f"'{shlex.join(command)}' failed", *(line[:160] for line in errors[:4])]))

    def apply(self, unit):
        """Afterwards the unit is ready to be played."""
        self.run(["git", "apply", "-"], unit.patch.text() + "\n")
        # The programs that its run blocks use, and the files that it changes.
        text = "\n".join(line for block in unit.blocks for line in block.contents)
        targets = re.findall(r"build/release/(?:stages|clients)/(\w+)", text)
        targets += re.findall(r"^\+\+\+ b/(?:stages|clients)/(\w+)\.cpp", unit.patch.text(), re.MULTILINE)
        self.run(["cmake", "--build", "build/release", "--target", *(sorted(set(targets)) or ["all"])])
        unit.tree, unit.build = self.tree, self.tree / "build" / "release"

    def take_back(self, unit):
        self.run(["git", "apply", "-R", "-"], unit.patch.text() + "\n")


def play_answers(units, deadline, scratch):
    """As play_units(), for those that belong to a patch."""
    results = {}
    workshop = None
    for unit in units:
        try:
            check_patch(unit.patch)
        except Problem:
            continue  # which has been reported already
        try:
            workshop = workshop or Workshop(scratch)
            try:
                workshop.apply(unit)
                results.update(play_units([unit] if unit.blocks else [], True, deadline, 1, scratch))
            finally:
                workshop.take_back(unit)
        except Problem as problem:
            text, *more = str(problem).split("\n")
            unit.page.finding(unit.patch.line, f"the answer: {text}", more)
    return results


# ---------------------------------------------------------------------------------------------------


def fill(page, block, contents):
    """Fills the blocks that are taken from the sources."""
    try:
        if block.kind == "source":
            contents[block] = source(block.argument)
        elif block.kind == "diff":
            contents[block] = diff(block.argument)
        elif block.kind == "patch":
            check_patch(block)
    except Problem as problem:
        page.finding(block.line, str(problem))


def units_of(page):
    """The run blocks, in the groups in which they are played."""
    found = [Unit(page, [block for block in page.blocks if block.options and not block.patch])]
    for patch in page.blocks:
        if patch.kind == "patch":
            found.append(Unit(page, [b for b in page.blocks if b.options and b.patch is patch], patch))
    return [unit for unit in found if unit.blocks or unit.patch]


def both_shapes(block, lines):
    """What the page shows and what is current, in the form in which they are compared."""
    old, new = block.contents, lines
    if block.options and block.options.figures:
        old, new = shape(old), shape(new)
    return [line.rstrip() for line in old], [line.rstrip() for line in new]


def stale(page, block, lines):
    """A finding, or None if the page is current."""
    old, new = both_shapes(block, lines)
    if old == new:
        return None
    what = f"'{block.kind} {block.argument}'".replace(" '", "'")
    return Finding(page.name, block.line, f"{what} is stale; run: scripts/check/docs --record {page.name}", difference(old, new))


# What compare says under figures that were not measured alone.
# compare may break the line within it.
BUSY = re.compile(r"Other\s+programs\s+kept\s+the\s+CPUs")


def busy(page, block):
    text = "its figures were measured beside other programs; record them when nothing else runs"
    return Finding(page.name, block.line, text)


def deviations(unit, shown, problems):
    """Findings: where the output of a played unit differs from its page."""
    found = [stale(unit.page, block, shown[block.line]) for block in unit.blocks if block.line in shown]
    return [finding for finding in found if finding] + [Finding(unit.page.name, *problem) for problem in problems]


def main():
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    parser = argparse.ArgumentParser(prog="docs", add_help=False)
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--check", action="store_true")
    mode.add_argument("--record", action="store_true")
    parser.add_argument("--slow", action=argparse.BooleanOptionalAction)
    parser.add_argument("--sources", action="store_true")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "release")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--deadline", type=float, default=DEADLINE)
    parser.add_argument("pages", nargs="*", metavar="PAGE")
    options = parser.parse_args()
    slow = options.record if options.slow is None else options.slow

    names = [Path(name).resolve() for name in options.pages]
    for path in names:
        if not path.is_file() or path.suffix not in (".md", ".dot"):
            sys.exit(f"docs: {path} is neither a page (.md) nor a diagram (.dot)")
        if not path.is_relative_to(ROOT):
            sys.exit(f"docs: {path} is not in {ROOT}")
    orphans = []
    if not names:
        names = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("docs/**/*.dot")])
        drawn = sorted((ROOT / "docs" / "diagrams").glob("*.svg"))
        orphans = [path for path in drawn if not path.with_suffix(".dot").exists()]

    with tempfile.TemporaryDirectory(prefix="docs.") as folder:
        scratch = Path(folder).resolve()
        findings = diagrams([path for path in names if path.suffix == ".dot"], options.record, scratch)
        findings += [Finding(os.path.relpath(path, ROOT), 1, "no .dot draws this picture") for path in orphans]
        pages = [Page(path) for path in names if path.suffix == ".md"]
        contents = {page: {} for page in pages}
        units = []
        for page in pages:
            check_assertions(page)
            check_links(page)
            check_lab(page)
            if options.check:
                check_claims(page)
                check_slow(page)
            for block in page.blocks:
                fill(page, block, contents[page])
            if options.check:
                page.findings += [busy(page, block) for block in page.blocks if BUSY.search(block.text())]
            if not options.sources:
                units += units_of(page)
        for unit in units:
            unit.build = options.build.resolve()
        # Two pages must not be measured at the same time.
        jobs = 1 if options.record else options.jobs
        brief = options.check and not slow
        results = play_units([unit for unit in units if not unit.patch], slow, options.deadline, jobs, scratch, brief)
        if slow:
            results.update(play_answers([unit for unit in units if unit.patch], options.deadline, scratch))
        if options.check:
            # On a busy machine it may differ once which of two processes was first. A page that is stale stays so. So
            # each page gets a second chance, alone, and that is reported.
            again = []
            for unit, result in results.items():
                found = [] if unit.patch else deviations(unit, *result)
                if found:
                    again.append(unit)
                    print(f"docs: {unit.page.name} is run once more: it was not as shown", *found, sep="\n", file=sys.stderr)
            results.update(play_units(again, slow, options.deadline, 1, scratch))
        for unit, (shown, problems) in results.items():
            for block in unit.blocks:
                if options.record and BUSY.search("\n".join(shown.get(block.line, []))):
                    unit.page.findings.append(busy(unit.page, block))
                elif block.line in shown:
                    contents[unit.page][block] = shown[block.line]
            for line, text, *more in problems:
                unit.page.finding(line, text, *more)
    for page in pages:
        if options.check:
            found = [stale(page, block, lines) for block, lines in contents[page].items()]
            page.findings += [finding for finding in found if finding]
        else:
            if page.refill(contents[page]):
                print(f"{page.name}: recorded")
            now = Page(page.path)
            now.findings.clear()  # those of page are reported
            check_claims(now)
            page.findings += now.findings
        findings += sorted(page.findings, key=lambda finding: finding.line)
    for finding in findings:
        print(finding)
    if findings:
        sys.exit(f"docs: {len(findings)} finding{'s' if len(findings) > 1 else ''}")
    if options.check:
        count = sum(len(done) for done in contents.values())
        print(f"docs: {len(names)} pages and diagrams, {count} blocks compared: all as shown")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
