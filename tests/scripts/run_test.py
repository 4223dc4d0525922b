"""Every script is run by some test, if only for a second.

    run_test.py BUILD      with the programs of BUILD in place of build/release

A script below scripts/ that no test runs is found. Give it a short run here, or a test of its own.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(sys.argv.pop() if len(sys.argv) > 1 else ROOT / "build" / "release").resolve()
SCRIPTS = {path.name: path for path in sorted((ROOT / "scripts").rglob("*"))
           if path.is_file() and not path.suffix and os.access(path, os.X_OK)}

# Short runs: a script, its options, what it needs besides what every build needs, and what it then prints.
RUNS = [
    ("bench", "--only-perf --rounds 1 --seconds 0.1 --clients 1", (), r"bare client"),
    # With the broker of the test broker.07_coroutines, which runs this, because to start one costs more than all of it.
    ("broker-rate", "--rounds 1 --seconds 1 --clients 4", ("$GROUND_BROKER", "tests/bare/bare_broker"), r"median +bare pair +\d"),
    ("demo", "01 --duration 200ms --big 20", (), r"01_blocking"),
    ("explore", "--only 02d_a_lock --budget 5", ("stages/wrong_turns/02d_a_lock_too_few",), r"02d_a_lock_too_few \| \d+ \| \d+ \| \d+ \("),
    ("gil-and-python", "1 0.2", ("jq",), r"\| CPython threads \| \d"),
    ("hog-chart", "{scratch}/hog.json", (), r"Written: docs/img/hog\.svg"),
    ("judge-runs", "--runs 1 --load 0 --only start 01", (), r"01_blocking +1 judgements.* 1 pass"),
    ("lint", "--quick scripts/{stages}", ("clang-format", "shellcheck"), r"Nothing found"),
    ("memcheck", "01 -- --dt-test-case=right*", ("valgrind",), r"Nothing found"),
    ("monkey-figures", "--rounds 1 --seconds 0.2 --clients 4 --many 50", ("stages/06c_monkey_patch",), r"02_threads"),
    ("peers", "--only python_threads --stages 02_threads --rounds 1 --seconds 0.2", (), r"python_threads"),
    ("robustness", "--last {scratch}/faults", (), r"connection churn +held"),
    ("seams", "0.1", ("tests/bare/seams", "tests/bare/seams_05"), r"\| load\(\) \|[^$]*ratio of neighbouring runs: \d"),
    ("soak", "--minutes 0.02 01", (), r"held +01_blocking"),
    ("stage-diff", "--code-only 01 02", (), r"start_thread"),
    ("stage-trace", "02", (), r"Written: 02_threads\.trace\.json"),
    ("switches", "50 100", ("tests/bare/switches",), r"\| coroutine \|"),
    ("wrong-turn", "02d_a_lock", (), r"Promised: every request"),
]

# Scripts that no test can run.
NOT_HERE = {
    "bare-machine": "makes a machine and tests there, for a quarter of an hour, as root",
    "container": "builds a container and tests in it, for half an hour, as root",
    "live": "begins a tmux session, to be used by hand",
    "minutes": "plays what the test board.minutes plays, and keeps it in docs/",
    "setup": "installs packages",
    "test": "runs this test",
}


def is_there(need):
    if need.startswith("$"):
        return need[1:] in os.environ
    return (BUILD / need).exists() if "/" in need else shutil.which(need, path=f"{os.environ['PATH']}:/usr/sbin")


def tests_that_run():
    """{script: file} as far as a test, or a page that is run by a test, names it."""
    found = {}
    files = [path for path in (ROOT / "tests").rglob("*") if path.suffix in (".py", ".txt", ".cpp", ".hpp", ".sh")]
    for path in [*files, ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        if path == Path(__file__).resolve():
            continue
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".md":  # only what is in the blocks that scripts/check/docs --check plays
            blocks = re.findall(r"^ *<!-- run\b((?:(?!\bslow\b).)*?)-->\n *```console\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
            text = "\n".join(line for _, block in blocks for line in block.splitlines() if line.lstrip().startswith("$ "))
        # scripts/stages, scripts/check/docs, and "scripts" / "check" / "docs"
        for name in re.findall(r"""\bscripts(?:["' ]*/["' ]*[\w-]+)*?["' ]*/["' ]*([\w-]+)(?=["'\s)\]`]|$)""", text):
            found.setdefault(name, path)
    return found


class EveryScript(unittest.TestCase):
    def test_is_run_by_some_test(self):
        known = {name for name, *_ in RUNS} | NOT_HERE.keys() | tests_that_run().keys()
        self.assertEqual(SCRIPTS.keys() - known, set(), "no test runs these: give them a short run in tests/scripts/run_test.py")

    def test_and_every_run_is_of_an_existing_script(self):
        self.assertEqual({name for name, *_ in RUNS} - SCRIPTS.keys(), set())
        self.assertEqual(NOT_HERE.keys() - SCRIPTS.keys(), set())

    def test_says_what_it_does(self):
        for name, path in SCRIPTS.items():
            with self.subTest(name):
                said = subprocess.run([path, "--help"], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
                if name not in NOT_HERE:
                    self.assertEqual(said.returncode, 0, said.stderr)
                    self.assertIn(name, said.stdout)


class ShortRun(unittest.TestCase):
    """In a folder that looks like the root: its build/release is the build, and what is written into docs/ stays there.

    There are spaces in its path.
    """

    @classmethod
    def setUpClass(cls):
        cls.root = Path(tempfile.mkdtemp(prefix="scripts test "))
        cls.addClassCleanup(shutil.rmtree, cls.root)
        for entry in ROOT.iterdir():
            if entry.name not in ("build", "docs", ".git"):
                (cls.root / entry.name).symlink_to(entry)
        shutil.copytree(ROOT / "docs", cls.root / "docs")
        (cls.root / "build").mkdir()
        (cls.root / "build" / "release").symlink_to(BUILD)
        cls.scratch = cls.root / "scratch"
        cls.scratch.mkdir()
        sys.path.insert(0, str(Path(__file__).parent))
        from hog_chart_test import REPORT
        (cls.scratch / "faults").mkdir()
        (cls.scratch / "faults" / "01_blocking").write_text("connection churn\theld\t\t\tits test case\nend\n", encoding="utf-8")
        (cls.scratch / "hog.json").write_text(json.dumps(REPORT), encoding="utf-8")


def short_run(name, options, needs, says):
    def test(self):
        for need in needs:
            if not is_there(need):
                self.skipTest(f"without {need}")
        script = self.root / SCRIPTS[name].relative_to(ROOT)
        words = [word.format(scratch=self.scratch, stages=SCRIPTS["stages"].relative_to(ROOT / "scripts")) for word in options.split()]
        begin = time.monotonic()
        ran = subprocess.run([script, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=self.scratch,
                             timeout=100, check=False, env={**os.environ, "GROUND_BUILT": "yes"})
        print(f"{name}: {time.monotonic() - begin:.1f} s")
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
        self.assertRegex(ran.stdout + ran.stderr, says)
    return test


for run in RUNS:
    setattr(ShortRun, f"test_{run[0].replace('-', '_')}", short_run(*run))

if __name__ == "__main__":
    sys.exit(unittest.main())
