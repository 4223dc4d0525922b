"""The recordings of the site, played in a browser. They are pages of their own, so the site need not be made.

    recordings_test.py [-v]                    like any unittest
    ONLY=REGEX recordings_test.py              of all, plays only those whose names match
    PICTURES=FOLDER recordings_test.py         also keeps what each shows at its end, as NAME.png
"""

import os
import re
import shutil
import sys
import tempfile
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests" / "browser"), str(ROOT / "scripts" / "shared" / "site")]
import recordings  # noqa: E402
from browser import PATIENCE, Browser, file_url, missing  # noqa: E402

MOMENTS = 4  # of each recording that are looked at
# What the page says of itself at its end, or each of two beside each other.
SAYS = {"order": ["A promise is broken"], "orders": ["A promise is broken", "Every promise was kept"], "solution": ["Solved. A promise is broken|You are right"]}
SEEK = "(() => { const scrub = document.getElementById('scrub'); scrub.value = scrub.max * %s; scrub.dispatchEvent(new Event('input')); return Number(scrub.value); })()"
# The documents that show a server: this one, or those of both panes.
SHOWN = "[document, ...[...document.querySelectorAll('iframe')].map((frame) => frame.contentDocument)].filter((page) => page.getElementById('says'))"


class Recordings(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="site-recordings-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.browser = Browser(1280, 720)
        cls.addClassCleanup(cls.browser.close)

    def until(self, condition):
        deadline = time.monotonic() + PATIENCE
        while not self.browser.look(condition):
            self.assertLess(time.monotonic(), deadline, f"never: {condition}")
            time.sleep(0.02)

    def play(self, path, how):
        page = self.folder / f"{path.stem}.html"
        page.write_text(recordings.page(path), encoding="utf-8")
        self.browser.complaints = []
        self.browser.open(file_url(page))
        sides = 2 if how == "orders" else 1
        self.until(f"{SHOWN}.length === {sides} && !document.getElementById('player').hidden")
        dots = []
        for moment in range(MOMENTS + 1):
            self.browser.look(SEEK % (moment / MOMENTS))
            self.browser.settle()
            dots.append(self.browser.look(f"{SHOWN}.map((page) => page.querySelectorAll('#source .dot').length)"))
            self.assertFalse(self.browser.look(f"{SHOWN}.some((page) => page.getElementById('says').textContent.startsWith('This page is broken'))"))
        # Each side has shown the server's threads or clients beside their lines, and not always the same.
        for side in zip(*dots):
            self.assertGreater(max(side), 0)
        for side, words in enumerate(SAYS.get(how, ())):
            self.assertRegex(self.browser.look(f"{SHOWN}[{side}].getElementById('says').textContent"), words)
        # At its end "play" begins anew. All that it shows is noted, because a short one may be over before it is looked at.
        self.browser.look("globalThis.noted = []; new MutationObserver(() => noted.push(document.getElementById('scrub-text').textContent))"
                          ".observe(document.getElementById('scrub-text'), { childList: true, characterData: true, subtree: true })")
        self.browser.press(" ")
        self.until("noted.length > 2")
        self.assertRegex(self.browser.look("noted[0]"), "^0.0 of")
        self.browser.press(" ")
        if os.environ.get("PICTURES"):
            self.browser.look(SEEK % 1)
            self.browser.settle()
            self.browser.picture(os.path.join(os.environ["PICTURES"], f"{path.stem}.png"))
        self.assertEqual(self.browser.complaints, [])

    def test_one_of_each_kind(self):
        kinds = {how: name for name, how in recordings.on_pages().items()}
        self.assertEqual(len(kinds), 5)
        for how, name in kinds.items():
            with self.subTest(name):
                self.play(recordings.FOLDER / f"{name}.jsonl", how)

    def test_all(self):
        known = recordings.on_pages()
        for path in recordings.all_of_them():
            if re.search(os.environ.get("ONLY", ""), path.stem):
                with self.subTest(path.stem):
                    self.play(path, known[path.stem])


if __name__ == "__main__":
    if why := missing():
        print(f"skipped: {why}")
        raise SystemExit
    unittest.main()
