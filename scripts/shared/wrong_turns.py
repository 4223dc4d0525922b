"""The wrong turns: patches on stages in stages/wrong_turns, each with a head that says what goes wrong.

A head is a title and then keys, each with its text on the same line and on indented lines after it:

    05_poke_forgotten: no poke

    stage: 05_futures
    promise: every request is answered
    breaks: sometimes
    symptom: A client waits for ever, and no thread computes.
    tried: ...        the mend that people try first
    why-not: ...      why it is none
    mend: ...         the one that does help
    story: two        for explore; without it, explore can't find this one

Run as a program it is called by CMake, and by scripts/wrong-turn:

    wrong_turns.py --tsv                 a line for each: name, stage, options, story
    wrong_turns.py --apply PATCH OUTPUT  the stage's source with the mistake in it
    wrong_turns.py --list                for people
    wrong_turns.py --renew               writes all patches anew, here and on their page, if lines around them have moved
    wrong_turns.py --name BEGINNING, --stage NAME, --head NAME, --show NAME
"""

import difflib
import re
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "stages" / "wrong_turns"
PAGE = ROOT / "docs" / "wrong_turns.md"
NEEDED = ("stage", "promise", "breaks", "symptom", "tried", "why-not", "mend")
OPTIONAL = ("options", "story", "try")


class WrongTurnError(Exception):
    """A patch that is not as it should be: one line that says why."""


class WrongTurn:
    """One of the patches."""

    def __init__(self, path):
        self.path, self.name = path, path.stem
        text = path.read_text(encoding="utf-8")
        head, found, diff = text.partition("\n--- a/")
        if not found:
            raise WrongTurnError(f"{path.name}: it has no diff")
        self.diff = "--- a/" + diff
        first, _, rest = head.partition("\n")
        name, _, self.title = first.partition(": ")
        if name != self.name or not self.title:
            raise WrongTurnError(f"{path.name}: the first line is not '{self.name}: what the mistake is'")
        self.head = {}
        key = None
        for line in rest.splitlines():
            entry = re.match(r"([a-z-]+): (.+)", line)
            if entry:
                key = entry[1]
                self.head[key] = entry[2]
            elif line.startswith("  ") and key:
                self.head[key] += " " + line.strip()
            elif line.strip():
                raise WrongTurnError(f"{path.name}: '{line}' is no line of a head")
        missing = [key for key in NEEDED if key not in self.head]
        unknown = [key for key in self.head if key not in NEEDED + OPTIONAL]
        if missing or unknown:
            raise WrongTurnError(f"{path.name}: the head lacks {', '.join(missing) or 'nothing'} and has "
                                 f"{', '.join(unknown) or 'nothing'} that is unknown")
        if self.head["breaks"] not in ("always", "sometimes"):
            raise WrongTurnError(f"{path.name}: it breaks always or sometimes, not '{self.head['breaks']}'")

    def __getattr__(self, key):
        return self.__dict__["head"].get(key.replace("_", "-"), "")

    def stage_source(self):
        return ROOT / "stages" / f"{self.stage}.cpp"

    def applied(self):
        """The stage's source with the mistake in it."""
        lines = self.stage_source().read_text(encoding="utf-8").split("\n")
        return "\n".join(apply(self.diff, lines, self.path.name))


def apply(diff, lines, name):
    """Applies a unified diff of one file. A hunk may have moved; its lines must be as they were."""
    hunks = re.split(r"^@@ -(\d+)[^\n]*\n", diff, flags=re.MULTILINE)[1:]
    moved = 0
    for number, body in zip(hunks[::2], hunks[1::2]):
        rows = [row for row in body.split("\n") if row[:1] in (" ", "+", "-") or row == ""]
        while rows and rows[-1] == "":
            rows.pop()
        before = [row[1:] for row in rows if row[:1] in ("", " ", "-")]
        after = [row[1:] for row in rows if row[:1] in ("", " ", "+")]
        expected = int(number) - 1 + moved
        places = [at for at in range(len(lines)) if lines[at:at + len(before)] == before]
        if not places:
            raise WrongTurnError(f"{name} no longer applies: these lines have changed: {before[0].strip()} ...")
        at = min(places, key=lambda place: abs(place - expected))
        lines[at:at + len(before)] = after
        moved += len(after) - len(before)
    return lines


def all_of_them():
    return [WrongTurn(path) for path in sorted(FOLDER.glob("*.patch"))]


def find(name):
    """The wrong turn with this name, or the only one whose name begins like this."""
    turns = all_of_them()
    fitting = [turn for turn in turns if turn.name == name] or [turn for turn in turns if turn.name.startswith(name)]
    if len(fitting) != 1:
        names = ", ".join(turn.name for turn in (fitting or turns))
        raise WrongTurnError(f"{'more than one wrong turn begins like' if fitting else 'there is no wrong turn'} "
                             f"'{name}'; there are: {names}")
    return fitting[0]


def renew():
    """A patch whose own lines are as they were still applies; this makes its line numbers and context right again."""
    page = PAGE.read_text(encoding="utf-8")
    for turn in all_of_them():
        name = f"stages/{turn.stage}.cpp"
        before, after = (text.splitlines() for text in (turn.stage_source().read_text(encoding="utf-8"), turn.applied()))
        diff = "\n".join(difflib.unified_diff(before, after, f"a/{name}", f"b/{name}", lineterm="")) + "\n"
        text = turn.path.read_text(encoding="utf-8")
        turn.path.write_text(text[: -len(turn.diff)] + diff, encoding="utf-8")
        page = page.replace(turn.diff, diff)
    PAGE.write_text(page, encoding="utf-8")


def paragraph(label, text):
    return textwrap.fill(f"{label} {text}", width=100, initial_indent="  ", subsequent_indent="    ")


def head_of(turn):
    """What you see, without the mistake."""
    found = f"scripts/wrong-turn {turn.name} --explore" if turn.story else turn.head.get("try", "")
    lines = [f"{turn.name}, a wrong turn on {turn.stage}", "",
             paragraph("Promised:", turn.promise + "."), paragraph(f"Broken {turn.breaks}:", turn.symptom)]
    return "\n".join([*lines, "", f"  See it:  {found}", f"  Then look for the line:  scripts/wrong-turn {turn.name} --run"])


def shown(turn):
    """The mistake itself."""
    return "\n".join([f"{turn.name}: {turn.title}", "", turn.diff.rstrip("\n"), "",
                      paragraph("Tried first:", turn.tried), paragraph("But:", turn.why_not),
                      paragraph("The mend:", turn.mend)])


def main(arguments):
    if arguments == ["--tsv"]:
        for turn in all_of_them():
            print("\t".join([turn.name, turn.stage, turn.options or "-", turn.story or "-"]))
    elif len(arguments) == 3 and arguments[0] == "--apply":
        Path(arguments[2]).write_text(WrongTurn(Path(arguments[1])).applied(), encoding="utf-8")
    elif arguments == ["--renew"]:
        renew()
    elif arguments == ["--list"]:
        for turn in all_of_them():
            print(f"{turn.name:<30} {turn.breaks}: {turn.promise}")
    elif len(arguments) == 2 and arguments[0] in ("--name", "--stage", "--head", "--show"):
        turn = find(arguments[1])
        print({"--name": turn.name, "--stage": turn.stage, "--head": head_of(turn), "--show": shown(turn)}[arguments[0]])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except WrongTurnError as problem:
        sys.exit(f"wrong_turns.py: {problem}")
