"""What scripts/exercise does with the exercises of the pages.

    exercises_test.py BUILD             with a stand-in for the compiler
    exercises_test.py BUILD --answers   builds the answer of each page: it must show what the page shows, and the start must not

The stand-in for the compiler makes a server in Python of the student's files. It serves one client after another if the word
join() is in them.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "shared"))
import exercise  # noqa: E402

BUILD = Path(sys.argv[1]).resolve()
ANSWERS = "--answers" in sys.argv
EXERCISES = exercise.all_exercises()
PATCHES = [one for one in EXERCISES.values() if one.patch]
# What the start shows differs from it in a figure only, or not at all, or not always.
ALIKE = {"02d-2", "04-2", "04b-1", "05-2"}

CMAKE = """#!/usr/bin/env python3
import pathlib, sys
target = sys.argv[-1]
if not target.startswith("exercise_"):
    sys.exit(0)
name = "-".join(target.removeprefix("exercise_").rsplit("_", 1))
folder = pathlib.Path("lab/exercises", name)
text = "".join(path.read_text() for path in sorted(folder.rglob("*.?pp")))
if "NO CODE" in text:
    print(f"{folder.absolute()}/stages/02_threads.cpp:3:5: error: 'NO' was not declared\\n    3 | NO CODE")
    sys.exit(1)
program = pathlib.Path("build/release/lab/exercises", name, "02_threads")
program.parent.mkdir(parents=True, exist_ok=True)
program.write_text(SERVER.replace("ALONE", str(".join()" in text)))
program.chmod(0o755)
"""
SERVER = r"""#!/usr/bin/env python3
import socket, threading
listener = socket.create_server(("127.0.0.1", 25000))
print("02_threads listening on 127.0.0.1:25000", flush=True)
def serve(client):
    with client:
        while client.recv(100):
            client.sendall(b"832040\n")
while True:
    thread = threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True)
    thread.start()
    if ALONE:
        thread.join()
"""


class Tree(unittest.TestCase):
    """A copy of the tree, with its own build/release."""

    def setUp(self):
        self.root = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="exercises-test-"))).resolve()
        for name in ("scripts", "stages", "docs", "common"):
            shutil.copytree(ROOT / name, self.root / name)
        compiler = CMAKE.replace("import pathlib", f"SERVER = {SERVER!r}\nimport pathlib")
        for name, text in (("bin/cmake", compiler), ("build/release/build.ninja", "")):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text)
            (self.root / name).chmod(0o755)
        (self.root / "build/release/clients").symlink_to(BUILD / "clients")
        (self.root / "build/release/stages").mkdir()
        self.environment = {**os.environ, "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}", "GROUND_BUILT": "yes"}

    def exercise(self, *words, status=0):
        done = subprocess.run([self.root / "scripts" / "exercise", *words], capture_output=True, text=True, check=False,
                              env=self.environment, cwd=self.root, timeout=200)
        self.assertEqual(status, done.returncode, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def header(self):
        return self.root / "lab/exercises/02-1/common/server/start_thread.hpp"

    def answer(self):
        self.header().write_text(self.header().read_text().replace("detach()", "join()"))


class LayingOut(Tree):
    def test_the_task_comes_from_the_page_with_the_files_that_the_answer_changes(self):
        said = " ".join(self.exercise("02", "1").split())
        self.assertIn("1. One word. In `common/server/start_thread.hpp` replace `detach()` by `join()`", said)
        self.assertNotIn("with a detour", said)  # the answer
        self.assertEqual((ROOT / "common/server/start_thread.hpp").read_text(), self.header().read_text())
        self.assertTrue((self.root / "lab/exercises/02-1/stages/02_threads.cpp").exists())

    def test_work_is_never_overwritten_and_fresh_keeps_it(self):
        self.exercise("2", "1")
        self.answer()
        self.assertIn("lab/exercises/02-1 is there already", self.exercise("02", "1", status=2))
        self.assertIn("lab/exercises/02-1.old-1", self.exercise("02", "1", "--fresh"))
        self.assertNotIn("join()", self.header().read_text())
        self.assertIn("join()", (self.root / "lab/exercises/02-1.old-1/common/server/start_thread.hpp").read_text())

    def test_an_exercise_without_a_patch_is_told(self):
        self.assertIn("Room for how many?", self.exercise("01", "3"))
        self.assertIn("do it as its page says", self.exercise("check", "01", "3", status=2))
        self.assertIn("drops the client's first packet", self.exercise("show", "01", "3"))
        self.assertFalse((self.root / "lab").exists())

    def test_mistakes_are_said_in_one_line(self):
        for words, says in ((("02", "7"), "choose one of: 02 1, 02 2, 02 3"), (("77", "1"), "scripts/exercise lists all"),
                            (("02",), "choose one of: 02 1"), (("check",), "you have begun no exercise"),
                            (("check", "02", "1"), "lab/exercises/02-1 is not there"), (("02", "1", "--watch"), "belongs to check")):
            with self.subTest(words):
                self.assertIn(says, self.exercise(*words, status=2))

    def test_all_are_listed(self):
        self.exercise("02", "1")
        said = self.exercise()
        self.assertRegex(said, r"02 1 +One word   lab/exercises/02-1")
        for one in EXERCISES.values():
            self.assertRegex(said, rf"{one.words()} +(- )?{re.escape(one.title)}")


class Checking(Tree):
    def test_what_the_page_runs_is_run_with_the_students_program(self):
        self.exercise("02", "1")
        said = self.exercise("check", status=1)
        self.assertIn("You have changed nothing yet", said)
        self.assertIn("    832040\n", said)
        self.assertNotIn("timed out", said)  # what the page shows is not given away
        self.answer()
        said = self.exercise("check")
        self.assertIn("    nc: timed out: nothing happened for 1.00 s", said)
        self.assertIn("This is what the page's answer shows, too", said)

    def test_what_does_not_compile_is_told_by_its_first_error(self):
        self.exercise("02", "1")
        self.header().write_text("NO CODE")
        self.assertIn("lab/exercises/02-1/stages/02_threads.cpp:3:5: error: 'NO' was not declared", self.exercise("check", status=1))

    def test_it_checks_when_a_file_is_saved(self):
        self.exercise("02", "1")
        watching = subprocess.Popen([self.root / "scripts" / "exercise", "check", "--watch"], stdout=subprocess.PIPE, text=True,
                                    env=self.environment, cwd=self.root)
        self.addCleanup(watching.stdout.close)
        watchdog = threading.Timer(200, watching.kill)
        watchdog.start()
        self.addCleanup(watchdog.cancel)
        for text in ("832040", "Waiting until you save", "does not compile"):
            if text == "does not compile":
                self.header().write_text("NO CODE")
            self.assertTrue(any(text in line for line in watching.stdout), text)
        watching.send_signal(signal.SIGINT)
        self.assertEqual(130, watching.wait(200))


class Showing(Tree):
    def test_the_answer_of_the_page_stands_beside_yours(self):
        self.exercise("02", "1")
        said = self.exercise("show")
        self.assertIn("You have built 01", said)
        self.assertIn("\n-        }).join();\n+        }).detach();", said)
        self.answer()
        said = self.exercise("show")
        self.assertNotIn("\n-        }).join();", said)
        self.assertIn("Yours is the same", said)

    def test_a_hint_is_shown_if_the_page_has_one(self):
        self.assertIn("A deadlock needs two things", self.exercise("hint", "05", "2"))
        self.assertIn("no hint", self.exercise("hint", "02", "1"))


class Pages(unittest.TestCase):
    def test_each_exercise_has_an_answer_and_each_patch_something_to_see(self):
        for one in EXERCISES.values():
            with self.subTest(one.name()):
                self.assertTrue(one.answer)
                if one.patch:
                    self.assertTrue(one.blocks, "the page runs nothing with this answer")
                    self.assertTrue((ROOT / "stages" / f"{one.stage()}.cpp").exists())
        numbers = {}
        for one in EXERCISES.values():
            numbers.setdefault(one.page.name, []).append(one.number)
        for page, found in numbers.items():
            self.assertEqual(list(range(1, len(found) + 1)), found, page)


class Answers(unittest.TestCase):
    """In one copy of the tree, which is built as far as an answer needs it."""

    def test_the_answers_show_what_their_pages_show_and_the_starts_do_not(self):
        with tempfile.TemporaryDirectory(prefix="answers-test-") as folder:
            root = Path(folder).resolve() / "tree"
            left_out = {".git", "build", "lab"}  # here only: there is also tests/lab
            shutil.copytree(ROOT, root, symlinks=True, ignore=lambda folder, _: left_out if Path(folder) == ROOT else ())
            environment = {**os.environ, "GIT_CEILING_DIRECTORIES": folder}

            def run(*words):
                return subprocess.run([root / "scripts/exercise", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                      text=True, check=False, env=environment, cwd=root, timeout=3000)

            for one in PATCHES:
                if not (BUILD / "stages" / one.stage()).exists():
                    continue
                with self.subTest(one.name()):
                    words = one.words().split()
                    self.assertEqual(0, run(*words).returncode)
                    if one.name() not in ALIKE:
                        # What is shown after two seconds differs only if the server had a CPU meanwhile.
                        tries = (run("check", *words) for _ in range(3))
                        done = next((done for done in tries if done.returncode == 1), None)
                        self.assertTrue(done, "it shows what the page's answer shows")
                    exercise.apply(one.patch, root / "lab/exercises" / one.name())
                    done = run("check", *words)
                    self.assertEqual(0, done.returncode, done.stdout)


if __name__ == "__main__":
    if ANSWERS:
        del Tree, LayingOut, Checking, Showing, Pages
    else:
        del Answers
    unittest.main(argv=sys.argv[:1], verbosity=2 if ANSWERS else 1)
