"""The commands of scripts/exercise, which explains them.

An exercise is what stands on its page, below "## Break it": a task, and an answer in a fold. If the answer is a patch, the
student gets a copy of each file that it changes. A header in this folder is found before ours, so the rest of the tree stays
as it is. What the page runs behind the patch is what must be seen: the check runs it with the student's program, as the check
of the pages does with the page's answer.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(os.path.abspath(__file__)).parents[2]
sys.path[:0] = [str(ROOT / "scripts" / "shared"), str(ROOT / "scripts" / "check")]
import docs  # noqa: E402
import lab  # noqa: E402
from labs import Problem  # noqa: E402

HEADING = "## Break it"
FOLDER = ROOT / "lab" / "exercises"
DEADLINE = 60.0  # seconds that one command of the page may take here
COMMANDS = ("check", "judge", "hint", "show")


class Exercise:
    """One of a page. `answer` and `hints` are the texts in its folds, `patch` and `blocks` the page's blocks in the answer."""

    def __init__(self, page, number, begin, end):
        self.page, self.number = page, number
        lines = page.lines[begin:end]
        folds = [at for at, line in enumerate(lines) if line.startswith("<details>")]
        ends = [at for at, line in enumerate(lines) if line == "</details>"]
        self.task = "\n".join(lines[: folds[0] if folds else len(lines)]).strip()
        texts = {re.sub(r"<.*?>", "", lines[first]): "\n".join(lines[first + 1 : last]).strip()
                 for first, last in zip(folds, ends)}
        self.answer = next((text for fold, text in texts.items() if fold.startswith("Answer")), "")
        self.hints = [text for fold, text in texts.items() if fold.startswith("Hint")]
        self.title = re.match(r"\*\*\d+\. ([^*]+)\*\*", self.task)[1].rstrip(".")
        blocks = [block for block in page.blocks if begin < block.line <= end]
        self.patch = next((block for block in blocks if block.kind == "patch"), None)
        self.blocks = [block for block in blocks if block.patch is self.patch and self.patch]

    def name(self):
        stem = self.page.path.stem
        return f"{stem if self.page.path.parent.name == 'deeper' else stem.partition('_')[0]}-{self.number}"

    def words(self):
        """As they are typed."""
        return self.name().replace("-", " ")

    def changed(self):
        """The files that the page's answer changes."""
        return re.findall(r"^\+\+\+ b/(\S+)", self.patch.text(), re.MULTILINE) if self.patch else []

    def stage(self):
        """The one that is built: what the answer changes, or what the page then runs."""
        named = re.findall(r"build/release/stages/(\w+)", "\n".join(block.text() for block in self.blocks))
        named += [Path(name).stem for name in self.changed() if name.startswith("stages/")]
        [stage] = set(named)
        return stage

    def files(self):
        return sorted({*self.changed(), f"stages/{self.stage()}.cpp"})

    # The student's folder

    def folder(self):
        return FOLDER / self.name()

    def digest(self):
        return b"\0".join((self.folder() / name).read_bytes() for name in self.files())

    def is_untouched(self):
        return all((self.folder() / name).read_bytes() == (ROOT / name).read_bytes() for name in self.files())

    def program(self):
        return lab.BUILD / "lab" / "exercises" / self.name() / self.stage()


def exercises_of(path):
    page = docs.Page(path)
    if HEADING not in page.lines:
        return []
    first = page.lines.index(HEADING) + 1
    last = next((at for at in range(first, len(page.lines)) if re.match(r"## |---$", page.lines[at])), len(page.lines))
    begins = [at for at in range(first, last) if re.match(r"\*\*\d+\. ", page.prose[at])]
    return [Exercise(page, int(re.match(r"\*\*(\d+)", page.lines[begin])[1]), begin, end)
            for begin, end in zip(begins, [*begins[1:], last])]


def all_exercises():
    """By their names, in the order of the pages."""
    pages = sorted([*(ROOT / "docs").glob("[0-9]*.md"), *(ROOT / "docs" / "deeper").glob("[0-9]*.md")],
                   key=lambda path: path.name)
    return {exercise.name(): exercise for path in pages for exercise in exercises_of(path)}


def named(words, every):
    """The one that is named or, without a name, the one that was changed last."""
    if not words:
        begun = [exercise for exercise in every.values() if exercise.patch and exercise.folder().exists()]
        if not begun:
            raise Problem("you have begun no exercise; begin one with, for example: scripts/exercise 02 1")
        return max(begun, key=lambda one: max((one.folder() / name).stat().st_mtime for name in [*one.files(), ""]))
    pages = {name.rpartition("-")[0] for name in every}
    page = next((one for one in (words[0], f"0{words[0]}", words[0].partition("_")[0]) if one in pages), None)
    if page is None:
        raise Problem(f"page '{words[0]}' has no exercise; scripts/exercise lists all")
    if len(words) == 2 and f"{page}-{words[1]}" in every:
        return every[f"{page}-{words[1]}"]
    choice = [one.words() for one in every.values() if one.name().rpartition("-")[0] == page]
    raise Problem(f"there is no exercise '{' '.join(words)}'; choose one of: {', '.join(choice)}")


def of_the_student(words, every):
    exercise = named(words, every)
    if not exercise.patch:
        raise Problem(f"nothing is laid out for exercise {exercise.words()}: do it as its page says. The answer: "
                      f"scripts/exercise show {exercise.words()}")
    if not exercise.folder().exists():
        raise Problem(f"{shown(exercise.folder())} is not there; begin it with: scripts/exercise {exercise.words()}")
    return exercise


def shown(path):
    return path.relative_to(ROOT)


# ---------------------------------------------------------------------------------------------------


def list_all(every):
    for exercise in every.values():
        begun = f"   {shown(exercise.folder())}" if exercise.patch and exercise.folder().exists() else ""
        print(f"  {exercise.words():12} {'' if exercise.patch else '-':1} {exercise.title}{begun}")
    print("-: nothing is laid out for it; do it as its page says.\nBegin one with, for example: scripts/exercise 02 1")


def lay_out(exercise, fresh):
    folder = exercise.folder()
    if exercise.patch and folder.exists():
        number = 1
        while folder.with_name(f"{folder.name}.old-{number}").exists():
            number += 1
        old = folder.with_name(f"{folder.name}.old-{number}")
        if not fresh:
            raise Problem(f"{shown(folder)} is there already, and is left as it is. Go on with: scripts/exercise check "
                          f"{exercise.words()}. To begin again: scripts/exercise {exercise.words()} --fresh, which keeps it as {shown(old)}")
        folder.rename(old)
        print(f"What you had is now in {shown(old)}.")
    lab.say(exercise.task)
    if exercise.patch:
        for name in exercise.files():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        print("\nYours to change:")
        for name in exercise.files():
            print(f"  {shown(folder / name)}")
        print(f"Write down what you expect. Then: scripts/exercise check {exercise.words()}")
    else:
        print(f"\nNothing is laid out for this one. Write down your answer, then: scripts/exercise show {exercise.words()}")


def build(exercise):
    """Returns what the compiler says if the student's files do not compile."""
    lab.prepare([exercise.stage(), "nc", "perf"])
    ran = subprocess.run(["cmake", "--build", lab.BUILD, "--target", f"exercise_{exercise.name().replace('-', '_')}"], cwd=ROOT,
                         text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return ran.stdout if ran.returncode != 0 else None


def overlay(exercise, scratch):
    """What looks like build/release, with the student's program in place of the stage."""
    release = scratch / "release"
    (release / "stages").mkdir(parents=True)
    for source, folder in ((lab.BUILD, release), (lab.BUILD / "stages", release / "stages")):
        for entry in source.iterdir():
            if entry.name not in ("stages", exercise.stage()):
                (folder / entry.name).symlink_to(entry)
    (release / "stages" / exercise.stage()).symlink_to(exercise.program())
    return release


def check(exercise):
    """Runs what the page runs. Returns 0 if it shows what the page's answer shows, and 1 if not."""
    errors = build(exercise)
    if errors is not None:
        print(lab.first_of(lab.ERROR, errors))
        print("It does not compile. This is the first error.")
        return 1
    if exercise.is_untouched():
        print("You have changed nothing yet. This is what the start shows:")
    terminals = {}
    for block in exercise.blocks:
        terminals.setdefault(block.options.terminal, []).append(block)
    with tempfile.TemporaryDirectory(prefix="exercise.") as folder:
        scratch = Path(folder).resolve()
        unit = docs.Unit(exercise.page, exercise.blocks, exercise.patch)
        unit.build = overlay(exercise, scratch)
        [(seen, problems)] = docs.play_units([unit], True, DEADLINE, 1, scratch).values()
    broken = []
    for block in exercise.blocks:
        if block.line not in seen:
            continue
        print(f"{block.options.terminal}:")
        print("\n".join(f"    {line}" for line in seen[block.line]))
        old, new = docs.both_shapes(block, seen[block.line])
        if old != new:
            broken.append(block)
    for _, text, *more in problems:
        print("\n".join([text, *(f"    {line}" for line in (more[0] if more else ()))]))
    if broken or problems:
        print(f"\nThe page's answer shows something else. It is in the answer's fold on the page, and said by: "
              f"scripts/exercise show {exercise.words()}")
        return 1
    print(f"\nThis is what the page's answer shows, too. Put both side by side: scripts/exercise show {exercise.words()}")
    return 0


def judge(exercise):
    errors = build(exercise)
    if errors is not None:
        print(lab.first_of(lab.ERROR, errors))
        return 1
    lab.prepare(["judge"])
    command = [lab.BUILD / "clients" / "judge", "--as", exercise.stage(), "--time-limit", lab.TIME_LIMIT, "--", exercise.program()]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def hint(exercise):
    if not exercise.hints:
        print("The page has no hint for this one.")
    for text in exercise.hints:
        lab.say(text)


def show(exercise):
    """The page's answer. The patch in it is put beside the student's files, not above them."""
    begun = exercise.patch and exercise.folder().exists()
    text = exercise.answer
    if begun:
        text = re.sub(r"<!-- patch -->\n```diff\n.*?\n```\n?", "", text, flags=re.DOTALL)
    lab.say(text)
    if not begun:
        return
    print("\n-: the page's answer   +: yours", flush=True)
    differ = False
    with tempfile.TemporaryDirectory(prefix="exercise.") as folder:
        for name in exercise.files():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, path)
        apply(exercise.patch, folder)
        for name in exercise.files():
            differ |= subprocess.run(["git", "--no-pager", "diff", "--no-index", "--histogram", "--", Path(folder) / name,
                                      exercise.folder() / name], cwd=ROOT, check=False).returncode != 0
    if not differ:
        print("Yours is the same, line by line.")


def apply(patch, folder):
    subprocess.run(["git", "apply", "-"], input=patch.text() + "\n", text=True, cwd=folder, check=True,
                   env={**os.environ, "GIT_CEILING_DIRECTORIES": str(Path(folder).parent)})


def parse(arguments):
    parser = argparse.ArgumentParser(prog="exercise", usage="scripts/exercise --help says how")
    parser.add_argument("words", nargs="*")
    for flag in ("--fresh", "--watch"):
        parser.add_argument(flag, action="store_true")
    options = parser.parse_args(arguments)
    options.command = options.words.pop(0) if options.words and options.words[0] in COMMANDS else None
    if options.watch and options.command != "check":
        parser.error("--watch belongs to check")
    if options.fresh and (options.command or not options.words):
        parser.error("--fresh belongs to: scripts/exercise PAGE NUMBER")
    return options


def main(arguments):
    options = parse(arguments)
    every = all_exercises()
    if options.command is None and not options.words:
        list_all(every)
    elif options.command is None:
        lay_out(named(options.words, every), options.fresh)
    elif options.command == "check":
        exercise = of_the_student(options.words, every)
        return lab.watch(exercise, lambda: check(exercise)) if options.watch else check(exercise)
    elif options.command == "judge":
        return judge(of_the_student(options.words, every))
    else:
        {"hint": hint, "show": show}[options.command](named(options.words, every))
    return 0


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, docs.interrupt)  # what was started for a check is ended
    try:
        sys.exit(main(sys.argv[1:]))
    except Problem as problem:
        print(f"exercise: {problem}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
