"""The questions of "Predict", as forms that the site's reader answers before looking.

On a page they are a numbered list. A comment at the end of a question says which answers there are:

    <!-- predict: a refusal | an error | *nothing -->          a choice; the star stands before the right one
    <!-- vote: a refusal | an error | *nothing -->             the same, and a room votes on it, too (docs/room.md)
    <!-- predict: a number of MB from 30 to 80 -->             a number, right if it is between these
    <!-- predict: a line of FILE: FIRST ... LAST: TEXT -->     a line of these, right if it contains TEXT

A question without such a comment takes a sentence, and its reader says whether it was right. The answers stand further below
on the page, folded away, and the fold's summary ends with "(question 2)", "(questions 1 and 3)" or the like.

Such a comment may also stand directly above a fold, on any page. Its form then stands there. These questions have letters.
"""

import json
import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
MARK = re.compile(r"\s*<!-- (?:vote|predict): (.*?) -->", re.DOTALL)
FOLD = re.compile(r"^<details><summary>(.*?)\(questions? ([\d, toand]+)(?:, [^)]*)?\)</summary>$", re.MULTILINE)
ABOVE_FOLD = re.compile(r"^<!-- (?:vote|predict): (.*?) -->\n+(<details><summary>.*?</summary>)$", re.MULTILINE | re.DOTALL)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Wrong(Exception):
    """A comment does not say what it should. The text says which, and why."""


def numbers(text):
    """Which questions "1", "1 and 3", "2 to 4" or "1, 2 and 4" means."""
    if match := re.fullmatch(r"(\d+) to (\d+)", text.strip()):
        return list(range(int(match[1]), int(match[2]) + 1))
    return [int(number) for number in re.findall(r"\d+", text)]


def read_mark(text):
    """What a comment asks for: the properties of the form."""
    text = " ".join(text.split())
    if match := re.fullmatch(r"a number(?: of (.+))? from ([\d.]+) to ([\d.]+)", text):
        return {"kind": "number", "unit": match[1] or "", "from": float(match[2]), "to": float(match[3])}
    if match := re.fullmatch(r"a line of (\S+): (.+?) \.\.\. (.+?): (.+)", text):
        lines = (ROOT / match[1]).read_text(encoding="utf-8").split("\n")
        first = next((i for i, line in enumerate(lines) if match[2] in line), None)
        last = next((i for i, line in enumerate(lines) if first is not None and i >= first and match[3] in line), None)
        if last is None:
            raise Wrong(f"{match[1]} has no lines from '{match[2]}' to '{match[3]}'")
        shown = textwrap.dedent("\n".join(lines[first: last + 1])).split("\n")
        right = [i for i, line in enumerate(shown) if match[4] in line]
        if not right:
            raise Wrong(f"no line of {match[1]} from '{match[2]}' to '{match[3]}' contains '{match[4]}'")
        return {"kind": "line", "file": match[1], "first": first + 1, "answers": shown, "right": right}
    answers = [answer.strip() for answer in text.split("|")]
    right = [i for i, answer in enumerate(answers) if answer.startswith("*")]
    if len(answers) < 2 or len(right) > 1:
        raise Wrong(f"'{text}' needs two answers or more between bars, and a star before the one that is right")
    return {"kind": "choice", "answers": [plain(answer) for answer in answers], "right": right}


def plain(answer):
    return re.sub(r"\]\([^)]*\)|[\[\]`*]", "", answer).strip()


def questions_of(text):
    """The questions in a page's section "Predict": number, text without its comment, and the form's properties."""
    section = re.search(r"^## Predict\n(.*?)(?=^## )", text, re.MULTILINE | re.DOTALL)
    found = []
    for match in re.finditer(r"^(\d+)\. (.*?)(?=^\d+\. |^\S|\Z)", section[1] if section else "", re.MULTILINE | re.DOTALL):
        mark = MARK.search(match[2])
        form = read_mark(mark[1]) if mark else {"kind": "words"}
        found.append((int(match[1]), match, form))
    return section, found


def form_of(number, properties, indent=""):
    listed = json.dumps({"n": number, **properties}, ensure_ascii=False).replace("'", "&#39;")
    return f"\n\n{indent}<Predict :form='{listed}' />\n\n"


def put_forms(text, address):
    """The page with a form for each question, and with a verdict in each fold that has an answer."""
    asked = []
    section, found = questions_of(text)
    if section:
        body = section[1]
        for number, match, properties in reversed(found):
            question = MARK.sub("", match[0]).rstrip()
            body = body[: match.start()] + question + form_of(number, properties, "   ") + body[match.end():]
            asked.insert(0, number)
        text = text[: section.start(1)] + body + text[section.end(1):]
        for fold in FOLD.finditer(text):
            if missing := set(numbers(fold[2])) - set(asked):
                raise Wrong(f"{address}: a fold answers question {missing.pop()}, which does not exist")
        text = FOLD.sub(lambda fold: fold[0] + verdict_of(numbers(fold[2])), text)

    def above(match):
        asked.append(LETTERS[sum(isinstance(n, str) for n in asked)])
        return form_of(asked[-1], read_mark(match[1])).lstrip() + match[2] + verdict_of([asked[-1]])

    text = ABOVE_FOLD.sub(above, text)
    if not asked:
        return text
    listed = json.dumps(asked)
    return f"{text.rstrip()}\n\n<Score :questions='{listed}' />\n"


def verdict_of(of):
    return f"\n\n<Verdict :of='{json.dumps(of)}' />\n"
