"""A source to read: rows of comment and code, with links from names to their definitions."""

import re

from comments import Comment
from markup import escape, format_words, line_id, line_number, line_style, quoted, span


def format_line(source, number, names, anchored):
    """A line of code with links: from names to their definitions, and from the number to itself."""
    result = []
    line = source.lines[number - 1]
    plain = []

    def flush():
        result.append(format_words(plain))
        plain.clear()

    for word in source.words[number - 1]:
        header = re.fullmatch(r'"common/\w+/([^"]+)"', word.text)
        if word.kind == "s" and header and header[1] in names.files:
            flush()
            result.append(f"<a href=#{header[1]}>{span('s', word.text)}</a>")
            continue
        if not word.is_name or word.kind == "c":
            plain.append(word)
            continue
        definition = next((d for d in source.definitions if (d.line, d.last_name) == (number, word.text)), None)
        if definition and definition.anchor not in anchored:
            flush()
            anchored.add(definition.anchor)
            kind = "t" if definition.is_type else "d" if definition.is_function else "v"
            result.append(f"<i class={kind} id={quoted(definition.anchor)}>{escape(word.text)}</i>")
            continue
        definition = names.of(word, number)
        if definition is None or (number, word.text) in source.defined:
            plain.append(word)
            continue
        flush()
        kind = "t" if definition.is_type else "f"
        result.append(f"<a class={kind} href={quoted('#' + definition.anchor)}>{escape(word.text)}</a>")
    flush()
    return (f"<span class=l id={quoted(line_id(source, number))}{line_style(line)}>"
            f"{line_number(source, number)}{''.join(result)}\n</span>")


def format_reading(source, names, header_size, contents):
    """Rows of comment and code, side by side. Beside the code before the first comment are the contents."""
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
        left = f"<div class=words>{Comment(source, comment, names).format()}</div>" if comment else contents
        contents = ""
        lines = "".join(format_line(source, n, names, anchored) for n in code)
        right = f"<pre class=code><code>{lines}</code></pre>" if code else ""
        rows.append(f"<div class=row>{left}{right}</div>")
    return "\n".join(rows)
