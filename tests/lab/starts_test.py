"""Whether the start of each lab breaks the promises of its step and no others, and whether the stage keeps all of them.

    starts_test.py BUILD [LAB...]

On request, because nine programs are compiled and the tests of a stage are run against each of them. The tests are those
of the suites that ask every stage, conformance and lessons; of the others, those that a page names.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "shared"))
from lab import PATIENCE  # noqa: E402
import labs  # noqa: E402

BUILD = Path(sys.argv[1]).resolve()
CHOSEN = sys.argv[2:]
SUITES = labs.suites(ROOT)


def run(*command, **options):
    return subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          stdin=subprocess.DEVNULL, check=False, **options)


def is_broken(program, name):
    """Whether this program fails the test, twice, because a machine may be busy once. One test at a time, because one that
    hangs ends its suite."""
    escaped = name.replace(",", "\\,")
    command = (BUILD / "tests" / SUITES[name], program, f"--dt-test-case={escaped}")
    return all(run(*command, timeout=300, env={**os.environ, "JUDGE_PATIENCE": patience}).returncode != 0 for patience in PATIENCE)


def broken_by(program, suites):
    """The names of the tests of these suites that this program does not pass."""
    return {name for name, suite in SUITES.items() if suite in suites and is_broken(program, name)}


class Starts(unittest.TestCase):
    def judge(self, program, lab, expected):
        """Of what any server promises, the program breaks what the step is about, and nothing else."""
        if not JUDGE.exists():
            return
        with tempfile.NamedTemporaryFile(suffix=".json") as report:
            ran = run(JUDGE, "--as", lab.stage, "--only", "start,protocol,model,process", "--time-limit", "1500",
                      "--json", report.name, "--", program, timeout=1600)
            told = json.loads(Path(report.name).read_text(encoding="utf-8"))["promises"]
        self.assertEqual(expected, {one["id"] for one in told if one["verdict"] in ("fail", "unknown", "judge's error")}, ran.stdout)


# The judge asks any server. So of a step it sees only what clients, or the number of threads, show.
JUDGE = BUILD / "clients" / "judge"
SEEN_BY_THE_JUDGE = {
    "02": {"model/idle-client", "model/big-request", "model/thread-per-client"},
    "04": {"model/one-thread", "model/big-request-delays"},
    "05": {"model/big-request"},
}


def test_of(lab):
    def test(self):
        with tempfile.TemporaryDirectory(prefix="starts.") as folder:
            source = Path(folder) / f"{lab.stage}.cpp"
            source.write_text(lab.start(), encoding="utf-8")
            program = build(lab.stage, source, Path(folder))
            shutil.copy(BUILD / "stages" / "stages.tsv", folder)  # a message names stages
            step = set(lab.section.promises)
            broken = broken_by(program, ("conformance", "lessons"))
            broken |= {name for name in step if is_broken(program, name)}
            self.assertEqual(step, broken)
            self.judge(program, lab, expected=SEEN_BY_THE_JUDGE.get(lab.number, set()))
        stage = BUILD / "stages" / lab.stage
        self.assertEqual(set(), {name for name in step if is_broken(stage, name)})
        self.judge(stage, lab, expected=set())
    return test


def build(stage, source, folder):
    """Compiles and links this source as CMake does for the stage."""
    commands = run("ninja", "-C", BUILD, "-t", "commands", f"stages/{stage}").stdout.splitlines()
    objects = folder / "objects"
    objects.mkdir()
    for command in commands[-3:]:
        if f"/stages/{stage}.cpp" in command:
            command = re.sub(r" -o \S+", f" -o {objects / 'start.o'}", command)
            command = re.sub(r"-c \S+", f"-c {source}", command).replace("-O3", "-O1")
        elif f"-o stages/{stage}" in command:
            command = re.sub(r"\S*CMakeFiles/\S+/" + stage + r"\.cpp\.o", str(objects / "start.o"), command)
            command = command.replace(f"-o stages/{stage}", f"-o {folder / stage}")
        else:
            continue
        ran = run("sh", "-c", command, cwd=BUILD)
        if ran.returncode != 0:
            raise AssertionError(ran.stdout[-3000:])
    return folder / stage


if __name__ == "__main__":
    if not shutil.which("ninja"):
        sys.exit("starts_test: ninja is missing")
    for lab in labs.all_labs(ROOT).values():
        if (BUILD / "stages" / lab.stage).exists() and (not CHOSEN or lab.number in CHOSEN):
            setattr(Starts, f"test_{lab.number}", test_of(lab))
    unittest.main(argv=sys.argv[:1], verbosity=2)
