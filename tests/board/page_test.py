#!/usr/bin/env python3
"""The board's page, looked at in a browser while a stage runs."""

import json
import os
import subprocess
import tempfile
import unittest

from support import BOARD, Board, Browser, eventually, file_url, missing

SOURCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "stages")


def line_of(stage, text):
    """The number of the one line of a stage that has this in it."""
    with open(os.path.join(SOURCES, stage + ".cpp"), encoding="utf-8") as file:
        found = [number for number, line in enumerate(file, 1) if text in line]
    assert len(found) == 1, (stage, text, found)
    return found[0]


class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.browser = Browser()

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()

    def setUp(self):
        self.browser.complaints.clear()

    def tearDown(self):
        self.assertEqual(self.browser.complaints, [])

    def board(self, *arguments):
        board = Board(*arguments)
        self.addCleanup(board.__exit__)
        self.browser.open(board.url)
        self.until("there is a source", "document.querySelectorAll('#source li[data-line]').length > 20")
        # The browser is to complain of what is wrong with the page, not that its board has ended.
        self.addCleanup(self.browser.call, "Page.navigate", url="about:blank")
        return board

    def look(self, expression):
        return self.browser.look(expression)

    def until(self, what, expression):
        try:
            return eventually(what, lambda: self.look(expression))
        except AssertionError as error:
            raise AssertionError(f"{error}; it says: {self.look('document.body.innerText')}") from None

    def dots(self, line, state="", kind=""):
        """How many are on a line."""
        state = f'[data-state="{state}"]' if state else ""
        return f"""[...document.querySelectorAll('#source li[data-line="{line}"] .dot{kind}{state}')]
                   .reduce((sum, dot) => sum + Number(dot.dataset.count ?? 1), 0)"""

    def says(self, text):
        self.until(f"it says: {text}", f"document.getElementById('says').textContent.includes({json.dumps(text)})")

    def test_a_dot_is_on_the_line_at_which_its_client_is_and_the_next_one_is_at_the_door(self):
        self.board("01")
        receiving = line_of("01_blocking", "recv(client")
        accepting = line_of("01_blocking", "handle(listener.accept()")
        self.until("the server accepts", f"{self.dots(accepting, 'accepts', '.square')} === 1")
        self.browser.press("i")
        self.until("an idle client is received from", f"{self.dots(receiving, 'receives', ':not(.square)')} === 1")
        self.assertIn("idle 1 waits for bytes", self.look(f"document.querySelector('li[data-line=\"{receiving}\"] .note').textContent"))
        self.assertTrue(self.look("document.getElementById('door').hidden"))
        self.browser.press("i")
        self.browser.press("i")
        self.until("two are at the door", "document.getElementById('door').textContent.startsWith('At the door: 2')")
        self.says("2 are at the door")
        self.assertEqual(self.look(self.dots(receiving)), 1)
        # The first one is chosen, and let go: the server comes to the next one.
        self.browser.click(f'li[data-line="{receiving}"] .dot')
        self.browser.press("l")
        self.until("another one is received from", f"document.querySelector('li[data-line=\"{receiving}\"] .note').textContent.startsWith('idle 2 waits')")
        self.until("one is at the door", "document.getElementById('door').textContent.startsWith('At the door: 1')")

    def test_who_is_paused_makes_a_step_and_the_others_none(self):
        self.board("02")
        receiving = line_of("02_threads", "recv(client")
        self.browser.press("i")
        self.browser.press("c")
        self.browser.press("c")
        self.until("three are there", f"document.querySelectorAll('#source .dot:not(.square)').length === 3 && {self.dots(receiving)} > 0")
        self.browser.press(" ")
        self.until("it is paused", "document.body.dataset.pace === 'paused'")
        self.assertEqual(self.look("document.getElementById('pace').textContent"), "paused")
        self.until("both clients have come to a stop", "model.inState('held').filter(({ client }) => client?.role === 'client').length === 2")
        self.says("You are the scheduler")
        held = self.look("model.inState('held').filter(({ client }) => client).map(({ id, line, since }) => [id, line, since])")
        chosen, other = held
        self.browser.click(f'#source .dot[data-id="{chosen[0]}"]')
        self.until("its story is told", "!document.getElementById('story').hidden")
        self.assertIn("client", self.look("document.querySelector('#story h2').textContent"))
        self.browser.press("Enter")
        self.until("it has made a step", f"model.places.get({chosen[0]})?.since > {chosen[2]}")
        self.assertEqual(self.look(f"(({{ line, since }}) => [line, since])(model.places.get({other[0]}))"), other[1:])
        self.assertIn("at line", self.look("document.querySelector('#story ol').textContent"))
        # And whoever comes first, by the other key.
        self.browser.press("Escape")
        self.until("the story is closed", "document.getElementById('story').hidden")
        self.browser.press(" ")
        self.until("it goes on", "document.body.dataset.pace === 'free' && model.inState('held').length === 0")

    def test_in_one_thread_a_hog_stops_all_and_the_page_says_so(self):
        self.board("04")
        self.browser.press("w")
        self.browser.press("h")
        self.says("in the only thread there is")
        self.browser.press(" ")
        self.says("One thread: whoever runs stops all")

    def test_slow_motion_is_what_the_slider_says(self):
        self.board("02")
        for _ in range(4):
            self.browser.press("-")
        self.until("it is slow", "model.pace === 'slow' && model.slow === 50")
        self.until("the slider shows it", "document.getElementById('slow').value === '4'")
        self.browser.press("c")
        self.until("somebody runs slowly", "[...model.lanes.values()].some(({ segments }) => segments.some((segment, index) => "
                   "segment.state === state.runs && segments[index + 1]?.since - segment.since > 45000))")
        self.look("document.getElementById('slow').value = 0, document.getElementById('slow').dispatchEvent(new Event('input'))")
        self.until("it is free", "model.pace === 'free'")

    def test_a_worker_that_is_killed_is_replaced_before_our_eyes(self):
        self.board("05")
        self.browser.press("h")
        self.until("a worker computes", "model.ofKind('worker').some((worker) => worker.state === state.computes)")
        self.assertIn("computes fib(42) for hog 1", self.look("document.getElementById('workers').textContent"))
        waiting = line_of("05_futures", "co_yield FutureDone")
        self.until("the hog waits for it", f"{self.dots(waiting, 'awaits', '.ringed')} === 1")
        before = self.look("model.ofKind('worker').map(({ pid }) => pid)")
        self.browser.press("k")
        self.says("was killed")
        self.until("there is another one", f"model.ofKind('worker').some(({{ pid }}) => !{before}.includes(pid))")

    def test_another_stage_takes_over_the_clients(self):
        self.board("02")
        self.browser.press("i")
        self.browser.press("i")
        self.until("they are there", "document.querySelectorAll('#source .dot:not(.square)').length === 2")
        self.look("document.getElementById('stage').value = '05_futures', document.getElementById('stage').dispatchEvent(new Event('change'))")
        waiting = line_of("05_futures", "co_yield ReadReady{client")
        self.until("they are in the other source", f"{self.dots(waiting, 'receives')} === 2")
        self.assertEqual(self.look("document.getElementById('model').textContent"), "one thread for all clients")
        self.browser.press("]")
        self.until("the next one", "model.stage.name === '06_async_sockets'")
        self.browser.press("[")
        self.until("and back", "model.stage.name === '05_futures'")

    def test_a_request_is_typed_and_its_reply_shown(self):
        self.board("07")
        self.browser.press("t")
        self.browser.type("30")
        self.browser.press("Enter")
        self.until("there is a reply", "document.getElementById('said').textContent.startsWith('→ 832040')")
        # What is typed there is no key of the page's.
        self.browser.press("h")
        self.browser.press("Escape")
        self.browser.press("i")
        self.until("an idle one came, and no hog", "[...model.clients.values()].map(({ role }) => role).join() === 'hand,idle'")

    def test_what_is_not_possible_is_said(self):
        self.board("02")
        self.browser.press("k")
        self.says("no worker processes")
        self.browser.complaints[:] = [text for text in self.browser.complaints if "409" not in text]

    def test_a_thousand_clients_are_a_number(self):
        board = self.board("07")
        board.do("client", count=500)
        board.do("idle", count=500)
        self.until("all are there", "model.ofKind('conversation').length === 1000")
        receiving = line_of("07_coroutines", "co_await async_recv")
        self.until("they are gathered", f"{self.dots(receiving, '', '.many')} > 500")
        self.assertLess(self.look("document.querySelectorAll('.dot').length"), 100)
        self.assertLess(self.look("document.querySelectorAll('*').length"), 3000)
        self.assertRegex(self.look("document.querySelector('#source .many').parentElement.parentElement.querySelector('.note').textContent"), r"\d wait for bytes")
        # It can still be used.
        self.browser.press(" ")
        self.until("it is paused", "document.body.dataset.pace === 'paused'")
        self.browser.click("#source .many")
        self.until("somebody is chosen", "!document.getElementById('story').hidden")
        self.browser.press("L")
        self.browser.press(" ")
        self.until("all are gone", "model.ofKind('conversation').length === 0")

    def test_it_fits_on_a_small_projector_and_on_a_large_one(self):
        self.board("05")
        self.browser.press("w")
        for width, height in ((1280, 720), (1920, 1080), (1024, 768)):
            self.browser.resize(width, height)
            for dark in (False, True):
                self.browser.dark(dark)
                self.assertFalse(self.look("document.documentElement.scrollWidth > innerWidth || document.documentElement.scrollHeight > innerHeight"))
                self.assertGreater(self.look("document.getElementById('source').clientHeight"), height / 3)
                self.assertGreaterEqual(self.look("parseFloat(document.getElementById('source').style.fontSize)"), 11)
        self.browser.resize(1280, 720)
        self.browser.dark(False)

    def test_all_that_can_be_done_has_its_key_on_it(self):
        self.board("02")
        self.assertEqual(self.look("[...document.querySelectorAll('#controls button, header button')]"
                                   ".filter((button) => !button.querySelector('kbd') || !keys[button.dataset.key]).length"), 0)
        self.browser.press("?")
        self.until("there is help", "document.getElementById('help').open")
        self.browser.press("?")
        self.until("and it goes", "!document.getElementById('help').open")

    def test_a_recording_is_scrubbed_forth_and_back(self):
        with tempfile.TemporaryDirectory() as directory:
            file = os.path.join(directory, "02.html")
            subprocess.run([BOARD, "02", "--with", "idle,client", "--for", "6", "--record", file], check=True, capture_output=True)
            self.browser.open(file_url(file))
            receiving = line_of("02_threads", "recv(client")
            self.assertTrue(self.look("document.getElementById('controls').hidden"))
            self.assertEqual(self.look(self.dots(receiving)), 0)

            def scrub(share):
                self.look(f"((box) => {{ box.value = Math.round(box.max * {share}); box.dispatchEvent(new Event('input')); }})(document.getElementById('scrub'))")

            scrub(1)
            self.until("at the end they are there", "document.querySelectorAll('#source .dot:not(.square)').length === 2")
            end = self.look("model.now")
            scrub(0)
            self.until("at the beginning they are not", "document.querySelectorAll('#source .dot:not(.square)').length === 0")
            scrub(1)
            self.until("and again", "document.querySelectorAll('#source .dot:not(.square)').length === 2")
            self.assertEqual(self.look("model.now"), end)
            self.browser.press("ArrowLeft")
            self.until("a frame back", f"model.now < {end}")
            scrub(0)
            self.browser.press(" ")
            self.until("it plays", "document.querySelectorAll('#source .dot:not(.square)').length > 0")
            self.browser.press(" ")
            self.assertEqual(self.look("performance.getEntriesByType('resource').length"), 0)
            self.browser.open("about:blank")


if __name__ == "__main__":
    if why := missing():
        print(f"skipped: {why}")
        raise SystemExit
    unittest.main()
