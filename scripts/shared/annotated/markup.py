"""The parts of the page's HTML."""

import html
import re


def escape(text):
    return html.escape(text, quote=False)


def quoted(text):
    """As the value of an attribute: without quotes where HTML allows it, which makes the page smaller."""
    return text if re.fullmatch(r"[^\s\"'=<>`]+", text) else f'"{html.escape(text)}"'


def line_id(source, number):
    return f"{source.name}/L{number}"


def line_number(source, number):
    """A link from a line's number to the line. page.css shows the number: it is no part of the text."""
    return (f"<a href={quoted('#' + line_id(source, number))} data-n={number}"
            " tabindex=-1 aria-hidden=true></a>")


def line_style(line, more=""):
    """The style with which page.css wraps a long line below its own beginning."""
    indent = len(line) - len(line.lstrip())
    style = (f"--i:{indent};" if indent else "") + more
    return f" style={style}" if style else ""


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
        if word.is_indent:  # that a line has moved to the right is not worth a mark
            result.append(f"<i class=w>{word.text}</i>")
            column += len(word.text)
            continue
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
