"""What has changed from one stage to another, as scripts/stage-diff says, line by line."""

import difflib
import re
import subprocess
from dataclasses import dataclass

from markup import format_words, line_number, line_style
from sources import ROOT, Failed

# How alike two lines must be (difflib's ratio) to be shown as one that has changed, and not as two. Reworded prose is
# easier to read without marks.
ALIKE_CODE = 0.5
ALIKE_PROSE = 0.75
# How many unchanged lines to show around a change, and how many more it takes to hide them.
CONTEXT = 3
FEW = 4


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
        """Goes to the next line of the source with this text, with or without a comment after it."""
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
    """Pairs of an old and a new line that are the same line, in order: the best sum of likenesses."""
    def likeness(old, new):
        if not old.strip() or not new.strip():
            return 0
        least = ALIKE_PROSE if old.strip().startswith("//") else ALIKE_CODE
        matcher = difflib.SequenceMatcher(None, old.strip(), new.strip(), autojunk=False)
        if matcher.real_quick_ratio() < least or matcher.quick_ratio() < least:
            return 0
        ratio = matcher.ratio()
        return ratio if ratio >= least else 0

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
    ranges = ([], [])
    for what, a, b, c, d in difflib.SequenceMatcher(None, olds, news, autojunk=False).get_opcodes():
        if what != "equal":
            for side, words, begin, end in ((0, olds, a, b), (1, news, c, d)):
                if begin < end:
                    first, last = sum(map(len, words[:begin])), sum(map(len, words[:end]))
                    gap = len(words[begin - 1]) if begin and words[begin - 1].isspace() else 0
                    if ranges[side] and ranges[side][-1][1] == first - gap:
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
        line_number(s, n) if n else f"<b class={side}></b>"
        for s, n, side in ((old, change.old, "o"), (new, change.new, "n")))
    tag = {"-": "del", "+": "ins", " ": "span"}[change.sign]
    row = f"--r:{change.row}" if change.row else ""
    return f"<{tag} class=l{line_style(line, row)}>{numbers}{body}\n</{tag}>"


def trim(words, code_only):
    """Removes the blanks before a comment that is gone."""
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
        if len(hidden) < FEW:
            result.append(f"<div class=same>{lines(group)}</div>")
            continue
        if head:
            result.append(f"<div class=same>{lines(group[:head])}</div>")
        result.append(f"<details><summary>{len(hidden)} unchanged lines</summary>"
                      f"<div class=same>{lines(hidden)}</div></details>")
        if tail:
            result.append(f"<div class=same>{lines(group[len(group) - tail:])}</div>")
    return "\n".join(result)
