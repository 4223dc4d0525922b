"""What scripts/measure/bench says under its tables: which goals were missed, and why, if that is known."""

import re
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts" / "measure"))
import bench


def rounds(**figures):
    return [figures] * 3


class Verdict(unittest.TestCase):
    def test_a_goal_that_is_missed_is_named_with_its_figure(self):
        results = {("bare_epoll", 64): rounds(cpu=5e-6, rate=2e5), ("04_generators", 64): rounds(cpu=5.6e-6, rate=1e5)}
        said = "\n".join(bench.verdict(bench.ratio_goals(results, [1, 64])))
        self.assertIn("- missed: CPU per request, 04_generators / bare_epoll, 64 clients (1.12, goal at most 1.10).", said)

    def test_goals_that_are_reached_are_one_line(self):
        results = {("bare_epoll", 64): rounds(cpu=5e-6, rate=2e5), ("04_generators", 64): rounds(cpu=5.5e-6, rate=1e5)}
        self.assertEqual(bench.verdict(bench.ratio_goals(results, [64]))[0], "All goals of this table are reached.")

    def test_a_goal_that_was_not_measured_is_neither(self):
        results = {("bare_epoll", 1): rounds(cpu=5e-6, rate=2e5), ("04_generators", 1): rounds(cpu=9e-6, rate=1e5)}
        self.assertEqual(bench.verdict(bench.ratio_goals(results, [1])), [])

    def test_the_reason_is_named_only_if_a_goal_is_missed(self):
        for reason in bench.REASONS:
            self.assertIn(bench.REASONS[reason], bench.verdict([(reason, 9.0, "at most 1.10")])[0])
            self.assertNotIn(bench.REASONS[reason], bench.verdict([(reason, 1.0, "at most 1.10")])[0])
        self.assertIn("It is not known why.", bench.verdict([("something else", 0.5, "at least 0.95")])[0])

    def test_many_clients_and_perf_have_goals_too(self):
        crowds = {("bare_epoll", 64): rounds(cpu=5e-6, memory=0), ("bare_epoll", 10_000): rounds(cpu=8e-6, memory=288),
                  ("07_coroutines inline", 64): rounds(cpu=5e-6, memory=0),
                  ("07_coroutines inline", 10_000): rounds(cpu=11e-6, memory=1700)}
        said = "\n".join(bench.verdict(bench.many_goals(crowds, 64, 10_000)))
        self.assertIn("07_coroutines inline, 10,000 clients / 64 (2.20, goal at most 2)", said)
        self.assertIn("bytes for each of 10,000, 07_coroutines inline (1,700, goal at most 1,600)", said)
        checks = {("02_threads", 64): [{("perf", "rate"): 90.0, ("bare", "rate"): 100.0}] * 3}
        self.assertIn("perf on 02_threads, 64 clients (0.90, goal at least 0.95)", bench.verdict(bench.check_goals(checks))[0])

    def test_08_and_09_have_goals_of_their_own(self):
        results = {("bare_epoll", 64): rounds(cpu=5e-6, rate=200.0)}
        for name in ("07_coroutines processes", "08_cancellation processes", "09_all_cores processes"):
            results[name, 64] = rounds(cpu=7e-6, rate=100.0)
        said = "\n".join(bench.verdict(bench.ratio_goals(results, [64])))
        for name in ("08_cancellation", "09_all_cores"):
            self.assertIn(f"missed: reqs/sec, {name} processes / bare_epoll, 64 clients (0.50, goal at least 0.55)", said)
        self.assertNotIn("07_coroutines", said)
        crowds = {}
        for name in ("08_cancellation processes", "09_all_cores inline"):
            crowds[name, 64], crowds[name, 10_000] = rounds(cpu=5e-6, memory=0), rounds(cpu=11.5e-6, memory=2600)
        said = "\n".join(bench.verdict(bench.many_goals(crowds, 64, 10_000)))
        for name in ("08_cancellation processes", "09_all_cores inline"):
            self.assertIn(f"CPU per request, {name}, 10,000 clients / 64 (2.30, goal at most 2.2)", said)
            self.assertIn(f"bytes for each of 10,000, {name} (2,600, goal at most 2,500)", said)


class Page(unittest.TestCase):
    """docs/figures.md as it was recorded. A goal that changes is changed there, too."""

    text = (bench.ROOT / "docs" / "figures.md").read_text(encoding="utf-8")
    recording = text[text.index("<!-- bench -->"):text.index("<!-- /bench -->")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in recording.splitlines() if line.startswith("| ")]

    def test_shows_the_goals_of_the_ratios(self):
        shown = {row[0]: row[-1] for row in self.rows if re.match(r"(CPU per request|reqs/sec), \S+.* / \S", row[0])}
        names = {name for row in shown for name in row.split(", ", 1)[1].split(" / ")}
        wanted = {f"{bench.figure_name(field)}, {name} / {yardstick}": goal
                  for field, name, yardstick, goal in bench.ratio_rows([(name, bench.FEW) for name in sorted(names)])}
        self.assertEqual(shown, wanted)

    def test_shows_the_goals_with_many_clients(self):
        begin = next(at for at, row in enumerate(self.rows) if row[0] == "server" and row[-1] == "goal")
        checked = 0
        for name, *_, goal, _, memory_goal in self.rows[begin + 1:]:
            if not re.match(r"(bare|\d\d\w?)_", name):
                break
            self.assertEqual((goal, memory_goal),
                             (bench.goal_of(name, bench.GOALS_MANY), bench.goal_of(name, bench.GOALS_MEMORY)), name)
            checked += 1
        self.assertGreater(checked, 15)

    def test_names_every_goal_that_was_missed(self):
        pairs = re.findall(r" / bare_epoll: ([\d.]+) .*; goal: (at most [\d.]+)\.", self.recording)
        for row in self.rows:
            for at, goal in enumerate(row):
                if re.match(r"at (most|least) [\d.,]+$", goal):
                    # A ratio of stages has its goal for 64 clients, perf for each number of them.
                    cells = row[2:3] if " / " in row[0] else row[1:at] if row[0].startswith("reqs/sec") else row[at - 1:at]
                    pairs += [(re.search(r"([\d.,]+) (?:\(|B )", cell)[1], goal) for cell in cells]
        self.assertGreater(len(pairs), 40)
        missed = sum(not bench.reached(float(figure.replace(",", "")), goal) for figure, goal in pairs)
        self.assertEqual(self.recording.count("- missed: "), missed)


class Recording(unittest.TestCase):
    """A made-up /proc/stat says how busy the machine is."""

    def machine(self, used, idle):
        readings = iter(["cpu 100 0 0 100 0 0 0 0\n", f"cpu {100 + used} 0 0 {100 + idle} 0 0 0 0\n"])

        class Stat:
            def read_text(self):
                return next(readings)

        return {"proc_stat": Stat(), "seconds": 0}

    def test_is_refused_beside_other_programs(self):
        with self.assertRaisesRegex(SystemExit, r"^other programs use 25% of the CPUs: .*try again when nothing else runs$"):
            bench.recording.refuse_if_busy(**self.machine(used=25, idle=75))

    def test_goes_on_when_nothing_else_runs(self):
        bench.recording.refuse_if_busy(**self.machine(used=2, idle=98))


if __name__ == "__main__":
    unittest.main()
