"""The site, made and looked at in a browser: every page wide and narrow, light and dark.

    site_test.py [-v] [Site.test_...]      like any unittest
    SITE=DIR site_test.py                  looks at a site that has been made already
    ONLY=REGEX site_test.py                looks only at pages that match

axe, a library that finds what hinders readers with a screen reader or a keyboard, comes with what scripts/site fetches.
"""

import html.parser
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
from urllib.parse import unquote, urldefrag, urljoin

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "browser"))
from browser import PATIENCE, Browser, missing  # noqa: E402

try:
    from selenium.common.exceptions import WebDriverException
except ImportError:  # then all tests are skipped
    WebDriverException = AssertionError

AXE = ROOT / "build" / "site-tools" / "node_modules" / "axe-core" / "axe.min.js"
LOOKING = 600  # seconds: on a busy machine axe takes minutes for a large page
LARGEST_VIEW = 500_000
LARGEST_SITE = 30_000_000

# What sticks out of the window to the right, and is not inside something that scrolls by itself.
STICKS_OUT = """(() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  return [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > width + 1 && e.checkVisibility())
    .slice(0, 5).map((e) => `${e.tagName}.${e.className} ${e.textContent.trim().slice(0, 40)}`);
})()"""

SERIOUS = """axe.run(document, {resultTypes: ["violations"], %s}).then(({violations}) => violations
  .filter(({impact}) => impact === "serious" || impact === "critical")
  .map(({id, nodes}) => `${id}: ${nodes.slice(0, 3).map(({html, any}) => html.slice(0, 140) + " " + (any[0]?.message ?? "")).join(" | ")}`))"""

LOADED = """performance.getEntriesByType("navigation").concat(performance.getEntriesByType("resource"))
  .reduce((sum, {decodedBodySize}) => sum + decodedBodySize, 0)"""


class Links(html.parser.HTMLParser):
    """The anchors of a page, and where it leads."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.targets = set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if attrs.get("id"):
            self.anchors.add(attrs["id"])
        for name in ("href", "src"):
            if attrs.get(name) and tag != "link":
                self.targets.append(attrs[name])


class Findings(list):
    """Says at once what it is told: on a busy machine the pages take an hour."""

    def append(self, finding):
        print(finding, file=sys.stderr, flush=True)
        super().append(finding)

    def extend(self, findings):
        for finding in findings:
            self.append(finding)


class Site(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if why := missing():
            raise unittest.SkipTest(why)
        if os.environ.get("SITE"):
            cls.folder = Path(os.environ["SITE"]).resolve()
        else:
            directory = tempfile.mkdtemp(prefix="site-test-")
            cls.addClassCleanup(shutil.rmtree, directory)
            cls.folder = Path(directory) / "site"
            made = subprocess.run([ROOT / "scripts" / "site", "--out", cls.folder], capture_output=True, text=True,
                                  stdin=subprocess.DEVNULL, check=False, timeout=900)
            if made.returncode != 0:
                raise AssertionError(f"scripts/site failed: {made.stdout}{made.stderr}")
        cls.pages = sorted(str(path.relative_to(cls.folder)) for path in cls.folder.rglob("*.html")
                           if "recordings" not in path.parts and path.name != "404.html"
                           and re.search(os.environ.get("ONLY", ""), str(path.relative_to(cls.folder))))
        server = subprocess.Popen([sys.executable, ROOT / "scripts/shared/site/serve.py", cls.folder, "/", "0"],
                                  stdout=subprocess.PIPE, text=True)
        cls.addClassCleanup(server.wait)
        cls.addClassCleanup(server.stdout.close)
        cls.addClassCleanup(server.terminate)
        cls.address = server.stdout.readline().split()[0]
        cls.browser = Browser(1280, 720, "--hide-scrollbars", note_requests=True)
        cls.addClassCleanup(cls.browser.close)
        cls.browser.driver.set_page_load_timeout(LOOKING)
        cls.browser.driver.set_script_timeout(LOOKING)
        cls.axe = AXE.read_text(encoding="utf-8")

    def open(self, page, width=1280):
        self.browser.resize(width, 720)
        self.browser.open(self.address + page)
        self.until("document.querySelector('#app')?.__vue_app__ !== undefined")  # it is alive
        self.browser.settle()

    def until(self, condition):
        """Waits for it, on whatever page the browser is by then."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                if self.browser.look(condition):
                    return
            except (AssertionError, WebDriverException):  # there is no page at the moment
                pass
            if time.monotonic() > deadline:
                raise AssertionError(f"never: {condition}; the page is {self.browser.look('location.href')}")
            time.sleep(0.02)

    def test_every_page_wide_and_narrow_light_and_dark(self):
        findings = Findings()
        for page in self.pages:
            self.browser.dark(False)
            self.browser.complaints = []
            self.open(page)
            if (size := self.browser.look(LOADED)) > LARGEST_VIEW:
                findings.append(f"{page}: its first view needs {size / 1000:.0f} kB")
            self.browser.look("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
            self.browser.look(self.axe + ";0")
            for width in (1280, 360):
                self.browser.resize(width, 720)
                for dark in (False, True):
                    self.browser.dark(dark)
                    self.until(f"document.documentElement.classList.contains('dark') === {json.dumps(dark)}")
                    self.browser.settle()
                    how = f"{page} at {width} px, {'dark' if dark else 'light'}"
                    if out := self.browser.look(STICKS_OUT):
                        findings.append(f"{how}: sticks out: {out}")
                    # All rules once. In the dark only colours differ, and in a narrow window all but colours.
                    rules = {(1280, False): "rules: {}", (1280, True): 'runOnly: ["color-contrast"]',
                             (360, False): 'rules: {"color-contrast": {enabled: false}}'}.get((width, dark))
                    if rules:
                        findings.extend(f"{how}: {violation}" for violation in self.browser.look(SERIOUS % rules))
            findings.extend(f"{page}: {complaint}" for complaint in self.browser.complaints)
        self.assertEqual(findings, [], "\n" + "\n".join(findings))

    def test_it_asks_no_other_machine_for_anything(self):
        self.browser.requests = []
        self.open("index.html")
        self.assertEqual([url for url in self.browser.requests if not url.startswith((self.address, "data:", "blob:"))], [])

    def test_the_whole_site_is_small(self):
        size = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        self.assertLess(size, LARGEST_SITE)

    def test_all_links_lead_somewhere(self):
        links = {page: Links(self.folder / page) for page in self.pages}
        broken = []
        for page, found in links.items():
            for target in found.targets:
                address, anchor = urldefrag(urljoin("/" + page, target))
                if re.match(r"[a-z]+:", address):
                    continue
                name = unquote(address).removeprefix("/")
                name += "index.html" if name == "" or name.endswith("/") else ""
                path = self.folder / name
                if not path.suffix or not path.exists():
                    path, name = self.folder / f"{name}.html", f"{name}.html"
                if not path.is_file():
                    broken.append(f"{page}: {target}")
                elif name in links and anchor:
                    # A script finds lines: of an empty line of a comment, the line before. The forms have their names from scripts.
                    made = anchor.startswith(("answer-", "predict-")) or re.fullmatch(r"L\d+(-L\d+)?", anchor) and "L1" in links[name].anchors
                    if not made and unquote(anchor) not in links[name].anchors:
                        broken.append(f"{page}: {target}")
        self.assertEqual(broken, [], "\n" + "\n".join(broken))

    def test_the_search_opens_by_key_and_finds_pages_and_sources(self):
        self.open("index.html")
        for words, expected in (("half-close", "glossary"), ("recv_wait_", "source/04_generators"), ("backlog", "01_backlog")):
            self.browser.press("/")
            self.until("document.querySelector('.VPLocalSearchBox input') !== null")
            self.browser.look("document.querySelector('.VPLocalSearchBox input').select()")
            self.browser.type(words)
            self.until(f"[...document.querySelectorAll('.VPLocalSearchBox a.result')].some((a) => a.href.includes({json.dumps(expected)}))")
            self.browser.press("Escape")
            self.until("document.querySelector('.VPLocalSearchBox') === null")

    def test_a_block_of_source_leads_to_its_lines_and_they_lead_back(self):
        self.open("04_generators.html")
        link = self.browser.look("document.querySelector('.from a[href*=\"source/04_generators\"]').getAttribute('href')")
        self.browser.look("document.querySelector('.from a[href*=\"source/04_generators\"]').click()")
        self.until("document.querySelectorAll('.annotated .hit').length > 0")
        first, last = map(int, re.search(r"#L(\d+)-L(\d+)$", link).groups())
        lines = (ROOT / "stages/04_generators.cpp").read_text().split("\n")[first - 1: last]
        shown = self.browser.look("[...document.querySelectorAll('.code .hit')].map((line) => line.textContent.trimEnd())")
        self.assertEqual(shown, [line for line in lines if not line.strip().startswith("//")])
        self.assertTrue(self.browser.look("document.querySelector('.annotated footer a[href$=\"04_generators.html\"]') !== null"))

    def test_a_recording_plays_in_its_page(self):
        for page, name, panes in (("04_generators.html", "04_generators", 0), ("wrong_turns.html", "06b_greenlet_blocks", 0),
                                  ("wrong_turns.html", "02d_a_lock_too_few", 2), ("explore.html", "deadlock", 0)):
            self.open(page)
            self.browser.look("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
            figure = f"[...document.querySelectorAll('.play')].find((figure) => figure.querySelector('a[href$=\"/{name}.html\"]'))"
            self.assertTrue(self.browser.look(f"{figure}.querySelector('iframe') === null"), name)
            self.browser.look(f"{figure}.querySelector('button').click()")
            shown = f"{figure}.querySelector('iframe').contentDocument"
            self.until(f"{shown}.getElementById('player')?.hidden === false && {shown}.querySelectorAll('iframe').length === {panes}")
            self.browser.look(f"{shown}.querySelector('[data-act=forth]').click()")
            self.until(f"/ of [1-9][0-9.]* s/.test({shown}.getElementById('scrub-text').textContent)")
            if panes == 2:  # they stand beside each other, and make room for the page again
                left, right = self.browser.look(f"[...{shown}.querySelectorAll('iframe')].map((pane) => pane.getBoundingClientRect().left)")
                self.assertGreater(right, left)
                self.browser.look(f"{figure}.querySelector('dialog button').click()")
                self.until(f"{figure}.querySelector('dialog') === null")

    def test_a_prediction_by_keyboard(self):
        self.open("01_blocking.html")
        self.browser.look("localStorage.clear()")
        self.open("01_blocking.html")
        self.assertFalse(self.browser.look("document.querySelector('.verdict').closest('details').open"))
        self.browser.look("document.querySelector('#predict-1 input').focus()")
        self.browser.press(" ")
        right = self.browser.look("[...document.querySelectorAll('#predict-1 label')].findIndex((l) => l.textContent.trim() === 'nothing')")
        for _ in range(right):
            self.browser.press("ArrowDown")
        self.browser.press("Enter")
        self.until("document.querySelector('#predict-1 .said') !== null")
        self.assertIn("nothing", self.browser.look("document.querySelector('#predict-1 .said').textContent"))
        self.assertTrue(self.browser.look("document.querySelector('.verdict').closest('details').open"))
        self.assertIn("Right", self.browser.look("document.querySelector('.verdict').textContent"))
        self.assertIn("1 of 3 right", self.browser.look("document.querySelector('.score').textContent"))
        # It is kept, and can be forgotten.
        self.open("01_blocking.html")
        self.until("document.querySelector('.score') !== null")
        self.browser.look("document.querySelector('.score button').click()")
        self.until("document.querySelector('.score') === null && document.querySelector('#predict-1 fieldset') !== null")


if __name__ == "__main__":
    unittest.main()
