"""Whether scripts/check/robustness.py notices every way in which a fault test can fail, or be missing."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

PROGRAM = Path(__file__).resolve().parents[2] / "scripts" / "check" / "robustness.py"
HELD = "a reset\theld\t\t\ta client resets\n"


class Table(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def table(self, runs):
        """Its exit status, stdout and stderr, for results {run: text}; None: the run has left no file."""
        for run, text in runs.items():
            if text is not None:
                (self.folder / run).write_text(text, encoding="utf-8")
        ran = subprocess.run([sys.executable, PROGRAM, self.folder, *runs], capture_output=True, text=True, check=False)
        return ran.returncode, ran.stdout, ran.stderr

    def test_all_is_well(self):
        status, out, err = self.table({"01_blocking": HELD + "end\n", "02_threads": HELD + "end\n"})
        self.assertEqual((status, err), (0, ""))
        self.assertRegex(out, r"a reset +held +held")

    def test_a_failed_test_is_named(self):
        status, _, err = self.table({"01_blocking": "a reset\tFAILED\tit hangs\t\ta client resets\nend\n"})
        self.assertEqual((status, err), (1, 'robustness: 01_blocking: a reset: "a client resets": it hangs\n'))

    def test_of_several_tests_of_a_fault_the_worst_counts(self):
        one_fails = HELD + "a reset\tFAILED\t\t\tanother resets\n" + HELD
        status, out, err = self.table({"01_blocking": one_fails + "end\n"})
        self.assertEqual(status, 1)
        self.assertRegex(out, r"a reset +FAILED")
        self.assertIn('"another resets": see the log of the tests', err)

    def test_a_run_that_was_cut_off_is_missing(self):
        for text in (HELD, "", None):
            status, out, err = self.table({"01_blocking": text, "02_threads": HELD + "end\n"})
            self.assertEqual((status, err), (1, "robustness: 01_blocking: the run is missing, or did not end\n"))
            self.assertRegex(out, r"a reset +MISSING +held")

    def test_a_stage_in_which_a_fault_was_not_tested_is_missing(self):
        status, _, err = self.table({"01_blocking": HELD + "end\n", "02_threads": "end\n"})
        self.assertEqual((status, err), (1, "robustness: 02_threads: nothing about 'a reset'\n"))

    def test_an_unknown_outcome_is_a_failure(self):
        status, _, err = self.table({"01_blocking": "a reset\tfine\t\t\ta client resets\nend\n"})
        self.assertEqual((status, err), (1, 'robustness: 01_blocking: a reset: "a client resets": gives no verdict\n'))

    def test_pools_that_differ_are_both_shown(self):
        by_design = "a reset\tby design\tone process\t\ta client resets\n"
        status, out, _ = self.table({"03_process_pool.processes": HELD + "end\n", "03_process_pool.threads": by_design + "end\n"})
        self.assertEqual(status, 0)
        self.assertRegex(out, r"a reset +held / by design")
        self.assertIn("by design in 03 threads: one process", out)


if __name__ == "__main__":
    unittest.main()
