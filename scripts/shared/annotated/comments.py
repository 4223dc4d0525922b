"""Comments as prose: paragraphs, lists and drawings, and the header that opens each file."""

import re
from dataclasses import dataclass

from markup import escape, line_id, quoted
from sources import Failed

KEYS = ("Changed since", "Buys", "Costs", "Leaves")

# Words that may be more than English: an option, a file, a C++ name, a stage.
PROSE_WORD = re.compile(
    r"--[a-z][\w-]*|(?:[\w.]+/)*\w+\.(?:hpp|cpp|md|h|py)\b|[A-Za-z_]\w*(?:::\w+)*(?:<\w*>)?(?:\(\))?|\d\d[a-z]?_\w+")


def format_prose(text, names, starts_sentence=True):
    """A line of a comment, with known names as code and as links."""
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
    """Consecutive lines that are only comment."""

    def __init__(self, source, numbers, names):
        self.source = source
        self.names = names
        self.lines = [(n, source.lines[n - 1].strip()[2:].removeprefix(" ")) for n in numbers]

    def line(self, number, text, anchor=True, starts_sentence=True):
        identity = f" id={quoted(line_id(self.source, number))}" if anchor else ""
        return f"<span{identity} data-l={number}>{format_prose(text, self.names, starts_sentence)}</span>"

    def blocks(self, lines):
        """Paragraphs, lists, and drawings or indented lines, which stay as they are."""
        result = []
        for number, text in lines:
            drawn = text.startswith("    ")
            last = result[-1] if result else ("", [])
            if not text:
                result.append(("", []))  # whatever comes next is a block of its own
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
                body = "\n".join(f"<span id={quoted(line_id(self.source, n))} data-l={n}>{escape(t[4:])}</span>"
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


def is_sentence(text):
    """Whether it begins with a word, and not with a name: "select(2) as ..."."""
    return re.match(r"\w+[ ,:;.]", text) is not None and "_" not in text.split()[0]


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
    kind = "lead sentence" if is_sentence(begin) else "lead"
    heading = (f"<div class=heading><h1><span data-l=1 id={quoted(line_id(source, 1))}>{escape(title)}"
               f"<span class=vh> --</span></span></h1>\n<p class='{kind}'>{lead}</p></div>\n")
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
        rest.append(f"<div class=key-{kind} id={quoted(line_id(source, number))}>"
                    f"<dt data-l={number}>{label}<span class=vh>:</span></dt>\n<dd>{body}</dd></div>")
    rest.append("</dl>")
    base = keys[0][0].removeprefix("Changed since ")
    return Header(heading, "\n".join(rest), tagline, "" if base == "nothing" else base), len(numbers)
