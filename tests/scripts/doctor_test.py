"""Whether scripts/doctor says in one line what is missing, and tests are skipped with that line.

For a machine that lacks something, PATH contains a program that fails, or lacks it.
"""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
DOCTOR = ROOT / "scripts/doctor"


def doctor(*arguments, **environment):
    return subprocess.run([DOCTOR, *arguments], capture_output=True, text=True, timeout=60, check=False,
                          env={**os.environ, **environment})


class Doctor(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def lacking(self, program):
        """An environment in which this program exists, and fails."""
        fake = self.folder / program
        fake.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
        fake.chmod(0o755)
        return {"PATH": f"{self.folder}:{os.environ['PATH']}"}

    def test_says_a_line_for_each_thing(self):
        run = doctor()
        self.assertIn(run.returncode, (0, 1), run.stderr)
        self.assertGreater(len(run.stdout.splitlines()), 10)
        for line in run.stdout.splitlines():
            self.assertRegex(line, r"^(ok|but|no)  ? ?\w")
        self.assertEqual(run.stderr, "")

    def test_a_command_is_run_if_nothing_is_missing(self):
        run = doctor("--needs", "cpus", "--", "sh", "-c", "echo ran; exit 3")
        self.assertEqual((run.returncode, run.stdout), (3, "ran\n"))

    def test_a_command_is_skipped_with_the_same_sentence_if_something_is_forbidden(self):
        noted = self.folder / "noted"
        environment = {**self.lacking("strace"), "GROUND_SKIPPED": str(noted)}
        run = doctor("--needs", "ptrace", "--", "echo", "ran", **environment)
        self.assertEqual(run.returncode, 77)
        said = doctor("ptrace", **environment)
        self.assertEqual(said.returncode, 1)
        sentence = said.stdout.removeprefix("no").split(None, 1)[1].strip()
        self.assertEqual(run.stdout, f"skipped: ptrace: {sentence.removeprefix('ptrace').strip()}\n")
        self.assertIn(sentence.removeprefix("ptrace").strip(), noted.read_text(encoding="utf-8"))

    def test_a_mistyped_name_is_refused_and_nothing_is_run(self):
        run = doctor("--needs", "io-uring", "--", "echo", "ran")
        self.assertEqual(run.stdout, "")
        self.assertEqual(run.returncode, 1)
        self.assertRegex(run.stderr, r"^doctor: there is no check 'io-uring'; there are .*io_uring")


if __name__ == "__main__":
    unittest.main()
