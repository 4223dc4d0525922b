"""scripts/demo as a user runs it, but as short as possible."""

import re
import subprocess
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def demo(*words):
    return subprocess.run([ROOT / "scripts/demo", *words], cwd="/", text=True, timeout=100,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


class Demo(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # -r comes twice, because the script has a number of runs of its own. The help shows it with 5.
        cls.run_of_it = demo("02", "-r", "1", "-d", "200ms", "-c", "2", "--big", "20", "--timeout", "60s")

    def test_options_of_compare_win_over_those_of_the_script(self):
        self.assertEqual(self.run_of_it.returncode, 0, self.run_of_it.stderr)
        self.assertIn("one run, 200ms per measurement", self.run_of_it.stdout)

    def test_shows_the_scenarios_and_their_stages(self):
        self.assertRegex(self.run_of_it.stdout, r"(?s)crowd: 2 clients.*\n02_threads .*\nhog: .*\n02_threads ")

    def test_ends_with_things_to_do_that_exist(self):
        rest = self.run_of_it.stdout.partition("Where to go next")[2]
        for word in ("demo.html", "scripts/live", "clients/board", "scripts/stage-diff", "scripts/annotate", "scripts/site", "README.md"):
            self.assertIn(word, rest)
        for path in re.findall(r"^  ([\w./-]+)", rest, re.MULTILINE):
            if path != "build/release/clients/board":  # which CMake can do without
                self.assertTrue((ROOT / path).exists(), path)

    def test_a_mistake_ends_it_at_once(self):
        run = demo("02", "--runs", "none")
        self.assertEqual(run.returncode, 2)
        self.assertEqual(run.stderr, "compare: --runs: 'none' is not a whole number from 1 to 1000; --help lists the options\n")


unittest.main()
