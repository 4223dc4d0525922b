"""Whether scripts/stages knows the stages, and whether its check notices what a new one lacks.

The tests work in a copy of the tree, in a path with spaces, and add a stage to it, bit by bit.
"""

import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

SOURCE = """// 99_new.cpp -- something new.
//
// Changed since 07_coroutines: everything.
// Buys:   a test.
// Costs:  nothing.
// Leaves: nothing.

#include "common/compute/pool.hpp"

int main()
{
    // make_pool(...) in a comment is no pool
    exit_on_signals();
}
"""
PAGE = """<!-- stage: beyond the talk; a thread per core -->
# 99: something new

![The picture.](diagrams/99_new.svg)

*Asserted by:* `a test`
"""
ROW = "| [`99_new`](../stages/99_new.cpp) ([page](99_new.md)) | something new | nothing |\n"


class Tree(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="a tree ")
        self.addCleanup(scratch.cleanup)
        self.root = Path(scratch.name)
        for name in ("scripts", "stages", "docs"):
            shutil.copytree(ROOT / name, self.root / name)

    def write(self, name, text):
        (self.root / name).write_text(text, encoding="utf-8")

    def append(self, name, text):
        self.write(name, (self.root / name).read_text(encoding="utf-8") + text)

    def replace(self, name, old, new):
        text = (self.root / name).read_text(encoding="utf-8")
        self.assertIn(old, text)
        self.write(name, text.replace(old, new, 1))

    def stages(self, *arguments):
        done = subprocess.run([self.root / "scripts/stages", *arguments], capture_output=True, text=True, check=False)
        self.assertEqual(done.stderr, "")
        return done.stdout

    def fact(self, name):
        return self.stages("--tsv", name).rstrip("\n").split("\t")

    def findings(self):
        return self.stages("--check").splitlines()

    def assert_finding(self, *parts):
        found = self.findings()
        self.assertTrue(any(all(part in line for part in parts) for line in found), f"{parts} in {found}")

    def add_stage(self):
        """Adds everything that a stage needs."""
        self.write("stages/99_new.cpp", SOURCE)
        self.write("docs/99_new.md", PAGE)
        self.write("docs/diagrams/99_new.dot", "digraph {}\n")
        listed = (self.root / "docs/stages.md").read_text(encoding="utf-8")
        head, found, rest = listed.partition("## Beyond the talk\n")
        if found:
            lines = rest.splitlines(keepends=True)
            last = max(i for i, line in enumerate(lines[:40]) if line.startswith("| [`"))
            self.write("docs/stages.md", head + found + "".join(lines[:last + 1]) + ROW + "".join(lines[last + 1:]))
        else:
            self.append("docs/stages.md", "\n## Beyond the talk\n\n| stage | the idea | what to watch |\n|---|---|---|\n" + ROW)
        self.append("docs/instructors-guide.md", "\n`99_new` is for those who stay.\n")
        self.append("docs/robustness.md", "\n| fault | 99 |\n|---|---|\n")


class Check(Tree):
    def test_a_file_alone_lacks_everything_else(self):
        before = self.findings()
        self.write("stages/99_new.cpp", SOURCE)
        found = [line for line in self.findings() if line not in before]
        self.assertEqual([line.split(":")[0] for line in found],
                         ["docs/99_new.md", "docs/instructors-guide.md", "docs/robustness.md"])

    def test_a_stage_with_all_it_needs_lacks_nothing(self):
        before = self.findings()
        self.add_stage()
        self.assertEqual(self.findings(), before)

    def test_notices_a_page_without_its_first_line(self):
        self.add_stage()
        self.replace("docs/99_new.md", PAGE.splitlines()[0], "")
        self.assert_finding("docs/99_new.md", "place")
        self.assert_finding("docs/99_new.md", "who talks to a client")

    def test_notices_unknown_words(self):
        self.add_stage()
        self.replace("docs/99_new.md", "beyond the talk", "behind it")
        self.assert_finding("docs/99_new.md", "place")
        self.replace("docs/99_new.md", "a thread per core", "a thread per moon")
        self.assert_finding("docs/99_new.md", "who talks to a client")

    def test_notices_what_the_head_lacks(self):
        self.add_stage()
        for old, new, expected in (("// Buys:   a test.\n", "", "keys"),
                                   ("// Buys:   a test.\n// Costs:  nothing.\n", "// Costs:  nothing.\n// Buys:   a test.\n", "order"),
                                   ("07_coroutines:", "77_coroutines:", "no such stage"),
                                   ("// 99_new.cpp --", "// 98_new.cpp --", "begin with")):
            self.write("stages/99_new.cpp", SOURCE)
            self.replace("stages/99_new.cpp", old, new)
            self.assert_finding("stages/99_new.cpp", expected)

    def test_notices_a_picture_that_is_missing_or_not_shown(self):
        self.add_stage()
        self.replace("docs/99_new.md", "(diagrams/99_new.svg)", "(diagrams/98_new.svg)")
        self.assert_finding("docs/99_new.md", "does not show")
        (self.root / "docs/diagrams/99_new.dot").unlink()
        self.assert_finding("docs/diagrams/99_new.dot", "is missing")

    def test_notices_a_row_that_is_missing_or_in_the_wrong_table_or_leads_elsewhere(self):
        self.add_stage()
        self.replace("docs/stages.md", "(99_new.md)", "(98_new.md)")
        self.assert_finding("docs/stages.md", "does not lead to")
        self.replace("docs/stages.md", "(98_new.md)", "(99_new.md)")
        self.replace("docs/99_new.md", "beyond the talk", "the talk")
        self.assert_finding("docs/stages.md", "no row below '## The talk'")

    def test_notices_a_guide_and_a_table_of_faults_without_it(self):
        self.add_stage()
        self.replace("docs/instructors-guide.md", "`99_new`", "It")
        self.assert_finding("docs/instructors-guide.md", "99_new")
        self.replace("docs/robustness.md", "| fault | 99 |", "| fault | 98 |")
        self.assert_finding("docs/robustness.md", "99_new")

    def test_notices_what_is_left_of_a_stage_that_has_gone(self):
        self.add_stage()
        (self.root / "stages/99_new.cpp").unlink()
        self.assert_finding("docs/99_new.md", "no stages/99_new.cpp")
        self.assert_finding("docs/stages.md", "99_new, which is no stage")


class Table(Tree):
    def test_takes_place_and_model_from_the_page_and_the_rest_from_the_source(self):
        self.add_stage()
        self.assertEqual(self.fact("99"), ["99_new", "beyond the talk", "a thread per core", "07_coroutines", "-",
                                           "stages/99_new.cpp"])
        self.replace("stages/99_new.cpp", "    exit_on_signals();\n",
                     "    const auto pool = make_pool(options);\n    warn_of_limit(options, 10'000);\n")
        self.assertEqual(set(self.fact("99")[4].split(",")), {"pool", "many", "finishes"})

    def test_knows_a_second_program_made_of_the_same_source(self):
        self.write("docs/07z_other.md", PAGE.replace("a thread per core", "one thread for all clients; built from 07_coroutines"))
        self.assertEqual(self.fact("07z"), ["07z_other", "beyond the talk", "one thread for all clients", "07_coroutines",
                                            self.fact("07_coroutines")[4], "stages/07_coroutines.cpp"])

    def test_says_what_it_does_not_know(self):
        self.write("stages/99_new.cpp", SOURCE)
        self.assertEqual(self.fact("99")[1:3], ["?", "?"])

    def test_names_the_stages_of_a_group(self):
        self.add_stage()
        self.assertIn("99_new", self.stages("--names", "beyond").split())
        self.assertNotIn("99_new", self.stages("--names", "talk").split())
        self.assertEqual(self.stages("--names", "all"), self.stages("--names"))


if __name__ == "__main__":
    unittest.main()
