"""What the sources say: their lines and words, their definitions, and what the names in them mean."""

import collections
import json
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

ROOT = Path(__file__).resolve().parents[3]


class Failed(Exception):
    """The page can't be written; the text says why."""


def stages_by_place():
    """Where the stages' sources are, in the order in which they are read: {"the talk": [path...], ...}."""
    table = subprocess.run([ROOT / "scripts" / "stages", "--tsv"], capture_output=True, text=True, check=True).stdout
    places = {"the talk": [], "around the talk": [], "beyond the talk": []}
    for line in table.splitlines():
        name, place, *_, source = line.split("\t")
        if Path(source).stem == name:  # not a second program made of the same source
            places.setdefault(place, []).append(ROOT / source)
    return {"no place yet" if place == "?" else place: paths for place, paths in places.items() if paths}


def primers():
    """The small programs, in the order in which the pages of docs/primers.md show them."""
    docs = ROOT / "docs"
    pages = re.findall(r"^- .*\((primers/\w+\.md)\)", (docs / "primers.md").read_text(encoding="utf-8"), re.MULTILINE)
    order = [name for page in pages
             for name in re.findall(r"^## `(\w+)`", (docs / page).read_text(encoding="utf-8"), re.MULTILINE)]
    paths = {path.stem: path for path in sorted((ROOT / "stages" / "primers").glob("*.cpp"))}
    return [paths.pop(name) for name in order if name in paths] + list(paths.values())


@dataclass
class Word:
    """A token: what it is (a class in page.css, or nothing), its text, and its offset in the file."""

    kind: str
    text: str
    at: int
    is_name: bool = False
    is_indent: bool = False


@dataclass
class Definition:
    name: str  # "Scheduler::run"
    kind: str
    line: int
    anchor: str = ""

    @property
    def last_name(self):
        return self.name.rpartition("::")[2]

    @property
    def is_type(self):
        return self.kind in ("class", "struct", "typedef", "enum")

    @property
    def is_function(self):
        return self.kind in ("function", "prototype")


@dataclass(eq=False)
class Source:
    path: Path
    place: str = ""  # of a stage: "the talk"
    lines: list = field(default_factory=list)  # texts; line 1 is lines[0]
    words: list = field(default_factory=list)  # for each line a list of Word
    definitions: list = field(default_factory=list)
    defined: set = field(default_factory=set)  # (line, last name) of all definitions, repeated ones too
    includes: list = field(default_factory=list)  # names of headers in common/
    code: str = ""  # the text with blanks for comments
    variables: dict = field(default_factory=dict)  # name: where, and with which type, it is declared

    @property
    def is_stage(self):
        return self.path.parent.name == "stages"

    @property
    def is_header(self):
        return self.path.suffix == ".hpp"

    @property
    def name(self):
        """What it is called in addresses: 02_threads, protocol.hpp, or countdown.cpp of a primer."""
        return self.path.stem if self.is_stage else self.path.name

    def is_comment(self, number):
        """Whether the line is only a comment, and not the rest of one beside code."""
        text = self.lines[number - 1]
        if not text.lstrip().startswith("//"):
            return False
        before = self.lines[number - 2] if number > 1 else ""
        return "//" not in before or before.find("//") != text.find("//") or self.is_comment(number - 1)


# The most specific come first.
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
        if kind == "k" and text.endswith("::", 0, at):
            kind = ""  # std::thread, which Pygments takes for a keyword
        is_name = token in Token.Name or token in Token.Keyword.Type
        for piece in value.splitlines(keepends=True):
            body = piece.rstrip("\n")
            lines[-1].append(Word(kind, body, at, is_name, not lines[-1] and body.isspace()))
            at += len(piece)
            if piece.endswith("\n"):
                lines.append([])
    return [[word for word in line if word.text] for line in lines[:-1]]


# "Requests requests(rules)", "Pool& pool", "Gil::Thread me(gil)", "const Future<Number> future ="
DECLARATION = re.compile(r"\b(auto|[A-Za-z_][\w:]*)(?:<[^<>;]*>)?[&*]*\s+[&*]?(\w+)\s*(?=[;,(){}=:\[])")
NOT_TYPES = {"return", "co_return", "co_await", "co_yield", "else", "new", "throw", "class", "struct",
             "enum", "namespace", "using", "typename", "explicit", "operator", "friend", "include"}


def read_source(path, place=""):
    text = path.read_text(encoding="utf-8")
    if not text.endswith("\n") or "\t" in text or "\r" in text or "/*" in text:
        raise Failed(f"{path}: has tabs, a /* comment or no end to its last line; annotate can't read that")
    source = Source(path, place, text.splitlines(), split_words(text))
    source.includes = re.findall(r'^#include "common/\w+/([^"]+)"', text, re.MULTILINE)
    source.code = "\n".join("".join(" " * len(word.text) if word.kind == "c" else word.text for word in line)
                            for line in source.words)
    return source


def find_definitions(sources):
    command = ["ctags", "--options=NONE", "--quiet", "--output-format=json", "--fields=+neK", "--sort=no",
               "--language-force=C++", "--kinds-C++=+p", "-o", "-", *(str(source.path) for source in sources)]
    try:
        tags = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise Failed(f"Universal Ctags is missing, or fails ({error}); "
                     "on Debian or Ubuntu: apt-get install universal-ctags") from error
    by_path = {str(source.path): source for source in sources}
    found = collections.defaultdict(list)
    namespaces = set()
    for line in tags.splitlines():
        tag = json.loads(line)
        if tag["kind"] == "namespace":
            namespaces.add(tag["name"])
        elif tag["kind"] in ("class", "struct", "enum", "typedef", "function", "prototype", "member", "variable"):
            scopes = [s for s in tag.get("scope", "").split("::") if s not in ("", "ground") and "__anon" not in s]
            found[tag["path"]].append(Definition("::".join([*scopes, tag["name"]]), tag["kind"], tag["line"]))
    for path, definitions in found.items():
        source = by_path[path]
        types = {d.name for d in definitions if d.is_type} | namespaces
        seen = set()
        for definition in sorted(definitions, key=lambda d: d.line):
            scope, _, name = definition.name.rpartition("::")
            # Not lambdas, operators, constructors and destructors, nor names that are local to a function.
            if not re.fullmatch(r"\w+", name) or name.startswith("__anon") or name == scope.rpartition("::")[2]:
                continue
            if scope and scope not in types or definition.name in seen:
                continue
            seen.add(definition.name)
            definition.anchor = f"{source.name}/{definition.name}"
            source.definitions.append(definition)
        source.defined = {(d.line, d.last_name) for d in definitions}
        functions = {(d.line, d.last_name) for d in definitions if d.is_function}
        for number, line in enumerate(source.code.split("\n"), 1):
            for kind, name in DECLARATION.findall(line):
                if kind not in NOT_TYPES and (number, name) not in functions:
                    source.variables.setdefault(name, []).append((number, kind))


def template_parameters(source):
    """Where a type's name is the parameter of a template: pairs of line and name."""
    result = set()
    lines = source.code.split("\n")
    for begin, line in enumerate(lines):
        if line.lstrip().startswith("template <"):
            indent = line[: len(line) - len(line.lstrip())]
            end = next((i for i in range(begin, len(lines))
                        if re.match(indent + r"(\}|\S.*[;}]$)", lines[i].rstrip())), len(lines) - 1)
            for name in re.findall(r"(?:typename|class)(?:\.\.\.)? (\w+)(?=[,>])", line):
                result |= {(number + 1, name) for number in range(begin, end + 1)}
    return result


class Names:
    """What the names in one source mean."""

    def __init__(self, source, by_name):
        self.source = source
        closure = [source.name]
        for name in closure:
            closure += [n for n in by_name[name].includes if n not in closure]
        self.visible = {}
        for name in reversed(closure):  # so that the nearer one hides the farther one
            for definition in by_name[name].definitions:
                self.visible[definition.name] = definition
        # Nested names, by their last part: if only one has it, its own file may mean that one.
        last_names = collections.Counter(d.last_name for d in source.definitions)
        self.own = {d.last_name: d for d in source.definitions
                    if (d.is_type or d.is_function) and last_names[d.last_name] == 1}
        self.parameters = template_parameters(source)
        self.files = by_name

    def of(self, word, number):
        """The definition that a word in the code refers to, or None if that is not certain."""
        before = self.source.code[: word.at].rstrip()
        after = self.source.code[word.at + len(word.text):].lstrip()
        name = word.text
        if (number, name) in self.parameters:
            return None
        if before.endswith("::"):
            scope = re.search(r"([\w:]*)::$", before)[1]
            return self.visible.get(name if scope == "ground" else f"{scope}::{name}")
        if before.endswith((".", "->")):
            owner = re.search(r"(\w+)(?:\.|->)$", before)
            kind = self.type_of(owner[1], number) if owner else ""
            return self.visible.get(f"{kind}::{name}")
        definition = self.visible.get(name) or self.own.get(name)
        if definition is None or definition.is_type:
            return definition
        if name in self.source.variables:
            return None
        if definition.is_function and (after.startswith(("(", "<")) or "_" in name):
            return definition
        return definition if definition.kind == "variable" else None

    def type_of(self, variable, number):
        """The type of its last declaration or, for a member that is declared below, of the next."""
        declared = self.source.variables.get(variable, [])
        before = [kind for line, kind in declared if line <= number]
        if before:
            return before[-1]
        return declared[0][1] if len({kind for _, kind in declared}) == 1 else ""

    def in_prose(self, text, starts_sentence):
        """The address of what a word of a comment refers to, or None."""
        bare = re.sub(r"^common/(\w+/)?", "", text.removesuffix("()"))
        if bare in self.files:
            return bare
        if bare.removesuffix(".cpp") in self.files:
            return bare.removesuffix(".cpp")
        definition = self.own.get(bare) or self.visible.get(bare)
        if definition is None:
            return None
        certain = text.endswith("()") or "_" in text or "::" in text or re.search(r"[a-z][A-Z]", text)
        if certain or (definition.is_type and text[0].isupper() and not starts_sentence):
            return definition.anchor
        return None
