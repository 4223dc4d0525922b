"""What scripts/measure/hog-chart.py draws, and what it says when it cannot."""

import copy
import json
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

PROGRAM = Path(__file__).resolve().parents[2] / "scripts" / "measure" / "hog-chart.py"
SVG = "{http://www.w3.org/2000/svg}"


def stage(name, before, beside, big):
    """A stage as compare --json has it: four seconds, the second of them beside the hog."""
    rates = [before] * 10 + [beside] * 10 + [before] * 20
    timeline = [{"at_s": (i + 1) / 10, "rate": rate} for i, rate in enumerate(rates)]
    phases = [{"name": name, "begin_s": i, "end_s": i + 1}
              for i, name in enumerate(("before", "hog", "leaving", "after"))]
    figures = {"rate_before": before, "rate_hog": beside, "big_rate": big}
    summary = {key: {"median": value, "low": value, "high": value} for key, value in figures.items()}
    return {"stage": name, "summary": summary,
            "runs": [{"figures": figures, "verdict": "", "timeline": timeline, "phases": phases}]}


REPORT = {
    "date": "2026-11-21T05:00:00Z", "placement": "server on CPU 0, clients on CPU 1", "runs": 1,
    "duration_s": 1, "big": 40, "machine": {"cpu": "Some <CPU> & more", "cpus": 2},
    "scenarios": [{"scenario": "hog", "stages": [
        stage("01_blocking", 18000, 17500, 0), stage("02b_threads_gil", 17000, 200, 6),
        stage("04_generators", 18000, 0, 7)]}],
}


def run(report):
    """The exit status, the complaints, and the picture, if there is one."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "hog.json", Path(folder) / "hog.svg"
        if report is not None:
            source.write_text(json.dumps(report), encoding="utf-8")
        ended = subprocess.run([sys.executable, PROGRAM, source, target], capture_output=True, text=True,
                               check=False, timeout=60)
        picture = ElementTree.parse(target).getroot() if target.exists() else None
        return ended.returncode, ended.stderr, picture


def texts(picture, kind):
    return [t.text for t in picture.iter(SVG + "text") if kind in t.get("class", "").split()]


class HogChart(unittest.TestCase):
    def test_has_a_panel_for_each_stage_in_their_order(self):
        _, _, picture = run(REPORT)
        self.assertEqual(texts(picture, "name"), ["01_blocking", "02b_threads_gil", "04_generators"])
        self.assertEqual(sum(p.get("class", "").endswith("line") for p in picture.iter(SVG + "path")), 3)

    def test_a_stage_that_keeps_less_than_half_looks_different_and_the_words_say_so(self):
        _, _, picture = run(REPORT)
        self.assertEqual(texts(picture, "good"), ["18,000 → 17,500"])
        self.assertEqual(texts(picture, "bad"), ["17,000 → 200", "18,000 → no reply"])

    def test_says_what_became_of_the_hog(self):
        _, _, picture = run(REPORT)
        self.assertIn("the hog waits outside", texts(picture, "note"))
        self.assertIn("the hog: 6.0 big requests/sec", texts(picture, "note"))

    def test_a_rate_of_0_is_drawn_on_the_lowest_line(self):
        _, _, picture = run(REPORT)
        line = [p for p in picture.iter(SVG + "path") if p.get("class", "").endswith("line")][2]
        rules = [p for p in picture.iter(SVG + "path") if p.get("class") == "rule"]
        lowest = max(float(p.get("d")[1:].split("h")[0].split()[1]) for p in rules[6:])
        self.assertEqual(max(float(pair.split()[1]) for pair in line.get("d")[1:].split(" L")), lowest)

    def test_a_stage_that_failed_has_the_word_in_its_panel(self):
        report = copy.deepcopy(REPORT)
        report["scenarios"][0]["stages"][1]["runs"][0]["verdict"] = "died"
        status, _, picture = run(report)
        self.assertEqual(status, 0)
        self.assertIn("died", texts(picture, "note"))

    def test_the_run_with_the_median_is_drawn(self):
        report = copy.deepcopy(REPORT)
        entry = report["scenarios"][0]["stages"][0]
        entry["runs"] = [stage("01_blocking", 18000, rate, 0)["runs"][0] for rate in (90, 17500, 40)]
        _, _, with_three = run(report)
        entry["runs"] = entry["runs"][:1]
        _, _, with_the_median = run(report)
        lines = [[p.get("d") for p in picture.iter(SVG + "path") if p.get("class", "").endswith("line")][0]
                 for picture in (with_three, with_the_median)]
        self.assertEqual(*lines)

    def test_a_file_without_that_scenario_is_refused_in_one_line(self):
        report = copy.deepcopy(REPORT)
        report["scenarios"][0]["scenario"] = "crowd"
        for bad in (report, None):
            status, complaint, picture = run(bad)
            self.assertNotEqual(status, 0)
            self.assertEqual(complaint.count("\n"), 1)
            self.assertTrue(complaint.startswith("hog-chart: "))
            self.assertIsNone(picture)


if __name__ == "__main__":
    unittest.main()
