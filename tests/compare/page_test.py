"""The page of a comparison, looked at in a browser."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "browser"))
from browser import Browser, file_url, missing  # noqa: E402

COMPARE = os.environ["COMPARE"]
SAMPLE_PAGES = os.environ["SAMPLE_PAGES"]

# What a reader of the page sees.
PROBE = """(() => {
  const texts = (root, selector) => [...root.querySelectorAll(selector)].map((e) => e.textContent);
  // Pixels with a colour: those of the curves, for axes and texts are grey.
  const painted = (canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let count = 0;
    for (let i = 0; i < data.length; i += 4) {
      const [r, g, b, alpha] = data.subarray(i, i + 4);
      count += alpha > 200 && Math.max(r, g, b) - Math.min(r, g, b) > 60 ? 1 : 0;
    }
    return count;
  };
  // The colour of the ground in the middle of a phase, just below the upper edge.
  const ground = (chart, name) => {
    const phase = chart.options.plugins.hog.phases.find((phase) => phase.name === name);
    const x = chart.scales.x.getPixelForValue((phase.begin_s + phase.end_s) / 2 + 0.02);
    const y = chart.chartArea.top + 3;
    const scale = chart.currentDevicePixelRatio;
    return [...chart.ctx.getImageData(x * scale, y * scale, 1, 1).data].join();
  };
  const look = (section) => {
    const canvases = [...section.querySelectorAll("canvas")].filter((c) => c.checkVisibility());
    const drawn = canvases.map((canvas) => Chart.getChart(canvas));
    return {
      pixels: canvases.map(painted),
      names: canvases.map((canvas) => canvas.getAttribute("aria-label") ?? ""),
      lowest: drawn.map((c) => Math.min(...c.data.datasets.flatMap((d) => d.data.map((p) => p?.y ?? 0)))),
      bars: drawn.filter((c) => c.config.type === "bar")
        .map((c) => c.data.datasets.map(({ data, texts }) => [data, texts])),
      hog: drawn.filter((c) => c.options.plugins.hog?.phases?.length > 0)
        .map((c) => [ground(c, "before"), ground(c, "hog")]),
    };
  };
  const scenarios = [...document.querySelectorAll(".scenario")].map((section) => {
    const scale = section.querySelector(".scale input:checked")?.value;
    section.querySelector("input[value=linear]").click();
    const linear = look(section);
    section.querySelector("input[value=logarithmic]").click();
    const logarithmic = look(section);
    const legend = [...section.querySelectorAll(".legend [aria-pressed]")];
    legend[0]?.click();
    return {
      title: section.querySelector("h2").textContent,
      panels: texts(section, ".panel .stage"),
      verdicts: texts(section, ".panel .verdict"),
      figures: texts(section, ".panel strong"),
      colours: [...section.querySelectorAll(".panel .swatch")].map((e) => e.style.background),
      rows: [...section.querySelectorAll("tr")].map((row) => texts(row, "th, td")),
      notes: texts(section, ".notes li"),
      legend: legend.map((button) => button.textContent),
      pressed: legend.map((button) => button.getAttribute("aria-pressed")),
      scale, linear, logarithmic,
    };
  });
  const seen = {
    scenarios,
    errors: document.getElementById("errors").textContent,
    stopped: document.getElementById("stopped").checkVisibility(),
    conclusions: texts(document, "#conclusions li"),
    conclusionsFirst: document.getElementById("conclusions")
      .compareDocumentPosition(document.querySelector(".scenario")) === Node.DOCUMENT_POSITION_FOLLOWING,
    stoppedAt: document.getElementById("stopped").textContent,
    method: document.getElementById("method").textContent,
    command: document.getElementById("command").textContent,
    facts: texts(document, "#facts dd"),
    foreign: document.querySelectorAll("img, link, iframe, [src], [onerror]").length,
    requests: performance.getEntriesByType("resource").map((entry) => entry.name),
    wide: document.documentElement.scrollWidth > window.innerWidth,
  };
  return seen;
})()"""


def squeezed(text):
    """Cells of a page as the plain table has them, without blanks."""
    return text.replace("±", "+-").replace(" ", "")


class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(scratch.cleanup)
        cls.directory = Path(scratch.name)
        subprocess.run([SAMPLE_PAGES, cls.directory], check=True)
        cls.browser = Browser(1280, 2000)
        cls.addClassCleanup(cls.browser.close)

    def look_at(self, file):
        self.browser.open(file_url(file))
        self.browser.settle()
        self.assertEqual(self.browser.complaints, [])
        seen = self.browser.look(PROBE)
        self.browser.complaints.clear()  # our own, to read so many pixels
        self.assertEqual(seen["errors"], "")
        self.assertEqual(seen["requests"], [])
        self.assertEqual(seen["foreign"], 0)
        self.assertFalse(seen["wide"])
        return seen

    def sample(self, name):
        return self.look_at(self.directory / f"{name}.html")

    def only_scenario(self, name):
        return self.sample(name)["scenarios"][0]

    def test_a_run_of_compare_can_be_seen(self):
        file = self.directory / "it's a page.html"
        ran = subprocess.run([COMPARE, "02", "04", "--scenario", "hog,crowd", "--duration", "200ms", "--runs", "2",
                              "--big", "25", "--connections", "4", "--html", file], capture_output=True, text=True,
                             stdin=subprocess.DEVNULL, timeout=300, check=False)
        # On a very busy machine a stage may not reply in such a short time. Then the page says so.
        self.assertLessEqual(ran.returncode, 1, ran.stderr)
        seen = self.look_at(file)

        stages = ["02_threads", "04_generators"]
        self.assertEqual(len(seen["scenarios"]), 2)
        table = ""
        for scenario in seen["scenarios"]:
            hog = scenario["title"] == "hog"
            with self.subTest(scenario["title"]):
                self.assertEqual(scenario["panels"], stages)
                self.assertEqual(scenario["verdicts"], [])
                # On the other scale, what a hog leaves of a rate would lie on the zero line.
                self.assertEqual(scenario["scale"], "logarithmic" if hog else "linear")
                for scale in ("linear", "logarithmic"):
                    look = scenario[scale]
                    self.assertEqual(len(look["pixels"]), 3 if hog else 2)  # with the overview
                    for pixels in look["pixels"]:
                        self.assertGreater(pixels, 100)  # a line all the way, however slow the stage was
                    for name in look["names"]:
                        self.assertIn("reqs/sec", name)
                    self.assertEqual(len(look["hog"]), 3 if hog else 0)
                    for before, during in look["hog"]:
                        self.assertNotEqual(before, during)
                self.assertEqual(scenario["legend"], stages if hog else [])
                self.assertEqual(scenario["pressed"], ["false", "true"] if hog else [])
            table += scenario["title"] + "".join(cell for row in scenario["rows"] for cell in row)
            table += "".join(scenario["notes"])
        table += "".join(seen["conclusions"]) + seen["method"]
        # The terminal has the same, and so do the titles of the scenarios, which are captions on the page.
        terminal = "".join(re.sub("^(hog|crowd): .*", r"\1", line) for line in ran.stdout.splitlines())
        self.assertEqual(squeezed(table), squeezed(terminal))
        self.assertIn("--scenario hog,crowd", seen["command"])
        self.assertIn("it'\\''s a page.html", seen["command"])
        self.assertTrue(seen["conclusionsFirst"])
        self.assertEqual(len(seen["facts"]), 2)
        self.assertFalse(seen["stopped"])

    def test_it_fits_on_a_telephone(self):
        self.browser.resize(400, 2000)
        self.addCleanup(self.browser.resize, 1280, 2000)
        self.sample("starved")  # which checks the width

    def test_a_rate_of_0_is_drawn_as_0_on_both_scales(self):
        scenario = self.only_scenario("starved")
        for scale in ("linear", "logarithmic"):
            self.assertEqual(scenario[scale]["lowest"][:2], [0, 0])  # the overview, and 01

    def test_a_stage_that_has_failed_has_a_panel_with_the_word(self):
        scenario = self.only_scenario("with_failures")
        self.assertEqual(scenario["panels"], ["02_threads", "03_process_pool", "04_generators"])
        self.assertEqual(scenario["verdicts"], ["died"])
        self.assertEqual(scenario["figures"], ["9,000", "", "no reply"])
        self.assertEqual(scenario["notes"][0], "03_process_pool died: exit status 3")

    def test_times_are_bars_each_with_its_cell_of_the_table_beside_it(self):
        look = self.only_scenario("times")["linear"]
        self.assertGreater(look["pixels"][0], 1000)
        self.assertEqual(look["bars"], [[[[0.1, 0.1], ["alone: 100 ms", "alone: 100 ms"]],
                                         [[None, 0.2], ["2 at once: 1 of 2 served", "2 at once: 200 ms"]],
                                         [[None, 0.4], ["", "4 at once: 400 ms"]]]])

    def test_the_run_with_the_median_is_the_strong_line(self):
        self.assertIn('"drawn":2', (self.directory / "three_runs.html").read_text())

    def test_a_run_that_has_failed_is_not_the_strong_line_while_there_is_another(self):
        page = (self.directory / "one_failed.html").read_text()
        self.assertFalse('"drawn":0' in page)  # and the message does not contain the whole page

    def test_a_stage_always_has_the_same_colour(self):
        colour = self.only_scenario("alone")["colours"][0]
        together = self.only_scenario("in_company")["colours"]
        self.assertEqual(together[1], colour)
        self.assertEqual(together.count(colour), 1)

    def test_names_and_last_words_are_always_text(self):
        seen = self.sample("hostile")
        shown = "</script><img src=x onerror=alert(1)><!-- <script>{{data}}\uFFFD"
        scenario = seen["scenarios"][0]
        self.assertEqual(scenario["panels"][0], shown)
        self.assertEqual(scenario["rows"][1][0], shown)
        self.assertEqual(scenario["notes"][0], f"unlucky died: {shown}")
        self.assertEqual(seen["command"], f"compare --external '{shown}'")

    def test_ctrl_c_ends_with_the_page_of_what_was_measured(self):
        file = self.directory / "interrupted.html"
        with subprocess.Popen([COMPARE, "02", "--scenario", "solo", "--duration", "200ms", "--runs", "1000", "--html",
                               file], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE) as program:
            self.addCleanup(program.kill)
            said = b""
            while b"[2/" not in said:
                piece = os.read(program.stderr.fileno(), 65536)
                self.assertTrue(piece, said)
                said += piece
            program.send_signal(signal.SIGINT)
            program.communicate(timeout=100)
        self.assertEqual(program.returncode, 130)
        seen = self.look_at(file)
        self.assertTrue(seen["stopped"])
        self.assertEqual(seen["scenarios"][0]["panels"], ["02_threads"])

    def test_it_says_that_a_run_was_stopped_and_what_is_missing(self):
        seen = self.sample("stopped")
        self.assertTrue(seen["stopped"])
        self.assertEqual(seen["stoppedAt"], "Stopped before the end, after 1 of 2 measurements.")
        self.assertEqual(seen["scenarios"][0]["verdicts"], ["not measured"])

    def test_a_file_that_cannot_be_written_is_found_out_before_anything_is_measured(self):
        for file in (f"{self.directory}/", f"{self.directory}/no/such.html", "/proc/such.html", ""):
            with self.subTest(file):
                ran = subprocess.run([COMPARE, "02", "--html", file], capture_output=True, text=True,
                                     stdin=subprocess.DEVNULL, timeout=100, check=False)
                self.assertEqual((ran.returncode, ran.stdout), (2, ""))
                self.assertEqual(ran.stderr, f"compare: can't write '{file}'; choose another file\n")


if __name__ == "__main__":
    if why := missing():
        print(f"skipped: {why}")
        raise SystemExit
    unittest.main()
