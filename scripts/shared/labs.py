"""What a lab is: the section of a stage's page, and the start that a student begins with. Used by lab.py and by the
check of the pages.

The section, "## Build it yourself", has this form. Everything in it is shown to a reader of the page, too:

    the task, in paragraphs
    *Done when these hold, asserted by:* `name of a test`, `another one`
    *In the source:* no `word` in `function()`, no `other word`                   (if the judge can't see the step)
    **A symptom.**                                                                (one of SYMPTOMS)
    <details><summary>A question</summary> ... </details>                         (and so on: all of GRADES)

A start is the stage before, whole and working. So it keeps every promise that the stage
before keeps, and breaks those of the step and no others. Three things come from the stage itself, because they are no
part of the lesson, and without them not even the judge could start it: the head, which is the task in short; the headers
that are included; and the command line, which is the statement with parse_options() in main(). At every definition that
the step changes or adds stands a TODO, with the declaration and the comment that the stage has there. The comment is a
contract. The bodies are what the student writes.
"""

import re
import subprocess
import textwrap

HEADING = "## Build it yourself"
# What may have been seen, in the words of the pages. lab.py says which of them it was.
SYMPTOMS = {
    "step": "It still behaves like the file that you began with.",
    "build": "It does not compile.",
    "hangs": "A reply does not come.",
    "wrong": "A reply is wrong, or in the wrong place.",
    "spins": "It uses a whole CPU and has nothing to do.",
    "gone": "It crashes, or a client loses its connection.",
}
GRADES = ("A question", "The place", "The mechanism", "The lines")
GENERAL = "docs/lab.md"  # has hints for every symptom but "step", for all labs


class Problem(Exception):
    """Something that the user, or the author of a page, has to put right."""


# ---------------------------------------------------------------------------------------------------
# The section of a page


class Section:
    """What stands below the heading. `problems` are what is missing: pairs of a line number and a sentence."""

    def __init__(self, text, heading=HEADING):
        self.task, self.promises, self.absent, self.hints, self.problems = "", [], [], {}, []
        lines = text.split("\n")
        self.first = lines.index(heading) + 1  # the line of the heading, counted from 1
        level = heading.split(" ")[0]
        end = next((at for at in range(self.first, len(lines)) if re.match(rf"#{{1,{len(level)}}} ", lines[at])), len(lines))
        self.parse(lines[self.first : end])

    def parse(self, lines):
        task, symptom, grade, hint, at = [], None, None, [], {}
        names = {words: name for name, words in SYMPTOMS.items()}
        for number, line in enumerate(lines, self.first + 1):
            bold = re.fullmatch(r"\*\*([^*]+)\*\*", line)
            fold = re.fullmatch(r"<details><summary>(.*)</summary>", line)
            if fold:
                grade, hint = fold[1], []
                expected = len(self.hints.get(symptom, {}))
                if symptom is None or expected >= len(GRADES) or grade != GRADES[expected]:
                    self.problem(number, f"'{grade}' is no hint here: a symptom has {', '.join(GRADES)}, in this order")
            elif line == "</details>":
                if symptom is not None:
                    self.hints[symptom][grade] = "\n".join(hint).strip()
                    if not self.hints[symptom][grade]:
                        self.problem(number, f"'{grade}' is empty")
                grade = None
            elif grade is not None:
                hint.append(line)
            elif bold:
                symptom = names.get(bold[1], bold[1])
                self.hints[symptom], at[symptom] = {}, number
            elif symptom is None:
                task.append(line)
        paragraphs = [paragraph.strip() for paragraph in "\n".join(task).split("\n\n") if paragraph.strip()]
        for paragraph in paragraphs:
            flat = " ".join(paragraph.split())
            if flat.startswith("*Done when"):
                self.promises = re.findall(r"`([^`]+)`", flat)
            elif flat.startswith("*In the source:*"):
                self.absent = re.findall(r"no `([^`]+)`(?: in `([^`]+)\(\)`)?", flat)
        self.task = "\n\n".join(p for p in paragraphs if not p.startswith(("*Done when", "*In the source:*")))
        for symptom, hints in self.hints.items():
            if symptom not in SYMPTOMS:
                self.problem(at[symptom], f"'{symptom}' is no symptom; one of: {' '.join(SYMPTOMS.values())}")
            elif len(hints) < len(GRADES):
                self.problem(at[symptom], f"'{SYMPTOMS[symptom]}' lacks a hint: {', '.join(GRADES[len(hints):])}")

    def problem(self, line, text):
        self.problems.append((line, text))


def section_of(text):
    """The section of a page, or None. A lab that can't be worked with has problems."""
    if HEADING not in text.split("\n"):
        return None
    section = Section(text)
    if not section.task:
        section.problem(section.first, "the task is missing")
    if not section.promises and not section.absent:
        section.problem(section.first, "how does a student see that it is done? Write: *Done when these hold, asserted by:*")
    if "step" not in section.hints:
        section.problem(section.first, f"hints are missing: **{SYMPTOMS['step']}**")
    return section


def general_section(text):
    """The hints for all labs, on the page of the lab."""
    heading = "## Hints for every lab"
    if heading not in text.split("\n"):
        return None
    section = Section(text, heading)
    for symptom in SYMPTOMS:
        if symptom != "step" and symptom not in section.hints:
            section.problem(section.first, f"hints are missing: **{SYMPTOMS[symptom]}**")
    return section


# ---------------------------------------------------------------------------------------------------
# The start


class Item:
    """A definition: its name, its declaration, the comment above it, and all of its lines."""

    def __init__(self, comment, code, indent):
        self.comment = " ".join(filter(None, (line.strip().removeprefix("//").strip() for line in comment)))
        self.code = code
        self.lines = comment + code
        first = code[0].strip()
        if first.startswith("template"):
            first = code[1].strip()
        self.kind = next((word for word in ("class", "struct", "using") if first.startswith(word + " ")), "function")
        if self.kind == "function":
            match = re.search(r"(operator\S+|~?\w+)\s*(?:\(|\{|=|;)", first)
        else:
            match = re.match(r"\w+ (\w+)", first)
        self.name = match[1] if match else first
        self.indent = indent

    def is_function(self):
        return self.kind == "function" and "(" in self.declaration()[-1] + self.declaration()[0]

    def title(self):
        return f"{self.name}()" if self.is_function() else self.name

    def declaration(self):
        """The lines before the body."""
        lines = []
        for line in self.code:
            before = re.split(r"\s*\{|\s+:\s(?=\w)", line, maxsplit=1)[0] if self.kind != "using" else line
            if before.strip() and before.strip() != "try":
                lines.append(before.strip().rstrip(";"))
            if "{" in line or line.strip() in ("{", "try {") or line.rstrip().endswith(";"):
                break
        return lines

    def members(self):
        """Those of a class."""
        return list(items_of(self.code[1:-1], 4))


def items_of(lines, indent):
    """The definitions at this depth."""
    space = " " * indent
    comment, at = [], 0
    while at < len(lines):
        line = lines[at]
        here = line.startswith(space) and not line.startswith(space + " ")
        if here and line.strip().startswith("//"):
            comment.append(line)
            at += 1
            continue
        word = re.match(r"\w+|~|\[\[", line.strip())
        if not here or not word or re.match(r"(using )?namespace\b|\}|#", line.strip()):
            comment = []
            at += 1
            continue
        begin = at
        opened = False
        while True:
            code = re.sub(r"//.*", "", lines[at]).rstrip()
            opened = opened or "{" in code
            last = lines[at].startswith(space) and not lines[at].startswith(space + " ")
            if not opened and code.endswith(";"):
                break
            if opened and last and re.fullmatch(r"\s*(\}|.*\{.*\})[;,]?", code) and code.count("{") <= code.count("}"):
                break
            at += 1
            if at == len(lines):
                raise Problem(f"the definition '{lines[begin].strip()}' has no end")
        at += 1
        yield Item(comment, lines[begin:at], indent)
        comment = []


class File:
    """A stage's source in its parts."""

    def __init__(self, text):
        lines = text.rstrip("\n").split("\n")
        blank = lines.index("")
        self.head = lines[:blank]
        self.body_at = next(at for at, line in enumerate(lines) if line.startswith("using namespace"))
        self.includes = [line for line in lines[blank : self.body_at] if line.startswith("#include")]
        self.body = lines[self.body_at :]
        self.items = list(items_of(self.body, 0))


def matched(ours, theirs):
    """Pairs of the definitions of two files, in the order of `theirs`: (ours or None, theirs or None)."""
    left = list(ours)
    pairs = {}
    for same in (lambda a, b: a.lines == b.lines, lambda a, b: a.name == b.name and a.kind == b.kind):
        for item in theirs:
            if item not in pairs:
                found = next((other for other in left if same(other, item)), None)
                if found:
                    pairs[item] = found
                    left.remove(found)
    return [(pairs.get(item), item) for item in theirs] + [(item, None) for item in left]


def comment_lines(text, first="// ", further="// "):
    return textwrap.wrap(text, 98, initial_indent=first, subsequent_indent=further, break_long_words=False)


def listed(words):
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def contract(item, before=None, depth=4):
    """The declaration and the comment of a definition, as a comment. Not the comment if it stands there already."""
    *first, last = item.declaration()
    indent = f"//{' ' * depth}"
    if item.kind == "function" and not (first and first[0].startswith("template")):
        first, last = [], " ".join([*first, last])
    lines = [f"{indent}{line}" for line in first] + comment_lines(last, indent, f"{indent}    ")
    if item.comment and (before is None or item.comment != before.comment):
        lines += comment_lines(item.comment, f"{indent}    ", f"{indent}    ")
    return lines


def todo_changed(before, item, stage):
    """The TODO above a definition that the step changes."""
    lines = [f"// TODO {item.title()} changes in {stage}:"]
    if item.kind == "class":
        # The functions that the class had not, or not so. Its data is left to the student.
        if item.comment != before.comment:
            lines += comment_lines(item.comment, "//    ", "//    ")
        new = [theirs for ours, theirs in matched(before.members(), item.members())
               if theirs and theirs.is_function() and (ours is None or ours.lines != theirs.lines)]
        return lines + [line for member in new for line in contract(member)]
    if item.name == "main":
        return [f"// TODO main() changes in {stage}."]
    return lines + contract(item, before)


def todo_new(items, stage):
    lines = comment_lines(f"TODO {listed([item.title() for item in items])}: new in {stage}.")
    for item in items:
        lines += contract(item)
        if item.kind == "class":
            functions = [member for member in item.members() if member.is_function()]
            public = item.code.index("  private:") if "  private:" in item.code else len(item.code)
            text = "\n".join(item.code[:public])
            lines += [line for member in functions if "\n".join(member.code) in text
                      for line in contract(member, depth=8)]
    return lines


COMMAND_LINE = re.compile(r"^    (?:const )?Options options = parse_options\(.*?;\n", re.MULTILINE | re.DOTALL)


def without_command_line(item):
    return COMMAND_LINE.sub("", "\n".join(item.code))


def start_of(stage, stage_text, before, before_text, folder):
    """The file that a student begins with."""
    goal, begin = File(stage_text), File(before_text)
    above, after = {}, {}  # an item of the stage before -> lines of comment before and behind it
    previous, new = None, []

    def place(items):
        if items and previous is not None:
            after.setdefault(previous, []).extend(["", *todo_new(items, stage)])
        elif items:
            above.setdefault(begin.items[0], []).extend([*todo_new(items, stage), ""])

    gone = []
    for ours, theirs in matched(begin.items, goal.items):
        if theirs is None:
            gone.append(ours)
            continue
        if ours is None:
            new.append(theirs)
            continue
        place(new)
        new = []
        if without_command_line(ours) != without_command_line(theirs):
            above.setdefault(ours, []).extend(todo_changed(ours, theirs, stage))
        previous = ours if ours.name != "main" else previous
    place(new)
    for item in gone:
        if begin.items.index(item) == 0 or begin.items[begin.items.index(item) - 1] not in gone:
            names = []
            for other in begin.items[begin.items.index(item) :]:
                if other not in gone:
                    break
                names.append(other.title())
            above[item] = [*above.get(item, []), *comment_lines(f"TODO {stage} no longer has {listed(names)}.")]

    body, at = [], 0
    for item in begin.items:
        while begin.body[at : at + len(item.lines)] != item.lines:
            body.append(begin.body[at])
            at += 1
        todo = above.get(item, [])
        # A TODO is no part of a comment that it stands above, nor of another TODO.
        body += [""] if todo and body and body[-1] else []
        body += [*todo, *([""] if todo and todo[-1] and item.comment else []), *item.lines, *after.get(item, [])]
        at += len(item.lines)
    body += begin.body[at:]
    text = "\n".join(body) + "\n"
    command_line = COMMAND_LINE.search(stage_text)
    if command_line:
        text = COMMAND_LINE.sub(lambda _: command_line[0], text, count=1)
    return "\n".join([*head(goal.head, stage, before, folder), "", *includes(goal.includes, begin.includes), "", text])


def head(lines, stage, before, folder):
    tagline = lines[0].partition(" -- ")[2]
    return [
        *comment_lines(f"{folder}: to become {stage}, {tagline}"),
        "//",
        *comment_lines(f"It begins as {before}, with the command line of {stage}, and it works. A TODO stands where the step "
                       f"changes something. docs/{stage}.md has the task. scripts/lab check says what is missing."),
        *lines[1:],
    ]


def includes(*lists):
    """The headers of all these lists in the order of the stages: ours, Asio's, the library's."""
    every = sorted({line for lines in lists for line in lines})
    groups = [[line for line in every if line.startswith('#include "')],
              [line for line in every if line.startswith("#include <asio")],
              [line for line in every if line.startswith("#include <") and not line.startswith("#include <asio")]]
    return "\n\n".join("\n".join(group) for group in groups if group).split("\n")


# ---------------------------------------------------------------------------------------------------
# The labs of a tree


class Lab:
    def __init__(self, root, stage, before, section):
        self.root, self.stage, self.before, self.section = root, stage, before, section
        self.number = stage.partition("_")[0]

    def start(self, folder="lab"):
        read = lambda name: (self.root / "stages" / f"{name}.cpp").read_text(encoding="utf-8")  # noqa: E731
        return start_of(self.stage, read(self.stage), self.before, read(self.before), f"{folder}/{self.number}")


def all_labs(root):
    """Every lab, by the name of its stage. The table of scripts/stages says which stage comes before."""
    ran = subprocess.run([root / "scripts" / "stages", "--tsv"], capture_output=True, text=True, check=True)
    found = {}
    for row in ran.stdout.splitlines():
        name, _, _, since, *_ = row.split("\t")
        page = root / "docs" / f"{name}.md"
        section = section_of(page.read_text(encoding="utf-8")) if page.exists() else None
        if section:
            found[name] = Lab(root, name, since, section)
    return found


def suites(root):
    """For each test of our own stages, the suite that has it."""
    string = r'"(?:\\.|[^"\\])*"'
    case = re.compile(rf"\bTEST_CASE\(\s*((?:{string}\s*)+)")
    found = {}
    for path in [*(root / "tests").glob("*.cpp"), *(root / "tests" / "faults").glob("*.cpp")]:
        suite = "faults" if path.parent.name == "faults" else path.stem
        for match in case.finditer(path.read_text(encoding="utf-8")):
            name = "".join(part[1:-1] for part in re.findall(string, match[1])).replace('\\"', '"')
            found.setdefault(name, suite)
    return found


def code_of(text, function=None):
    """The code without comments, of the whole file or of one function in it."""
    if function:
        items = [item for item in items_of(text.split("\n"), 0) if item.name == function]
        text = "\n".join(line for item in items for line in item.code)
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)
