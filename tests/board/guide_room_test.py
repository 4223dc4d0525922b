#!/usr/bin/env python3
"""The guide's 45 minutes with the room, played from its own table: the test presses the keys of each step and looks for
what the step promises. The phones speak HTTP; the board's page is in a browser.

The steps are in PLAYED, word for word, so no step can be changed there without a look at this file.
"""

import json
import re
import unittest

from room_test import RoomBoard
from support import Browser, eventually, main_with_browser, rows_below

NAMES = ["Ann", "Ben", "Cleo", "Dan", "Eve"]


def rows():
    """(stage, what to do) of each row that has a stage."""
    for _, stage, do, _ in rows_below("The 45 minutes with the room", "instructors-guide.md", 4):
        if re.fullmatch(r"\d\d[a-z]?", stage):
            yield stage, do


class Lesson:
    """A board, its page on the projector, and the phones of the room."""

    def __init__(self, test, projector, *stages):
        self.test, self.projector = test, projector
        self.two = len(stages) == 2
        self.board = RoomBoard(*stages)
        projector.open(self.board.url)
        self.phones = []
        self.until("the invitation is shown", "!document.getElementById('invitation').hidden")

    def end(self):
        if self.board:
            self.projector.open("about:blank")  # before its board ends
            for phone in self.phones:
                phone.close()
            self.board.__exit__()
            self.board = None

    def join(self):
        self.phones = [self.board.phone(name, number) for number, name in enumerate(NAMES)]
        self.until("all are on the list", f"document.querySelector('#invitation .count').textContent === '{len(NAMES)} phones'")
        self.press("j")
        self.until("the invitation is gone", "document.getElementById('invitation').hidden")

    def look(self, expression):
        return self.projector.look(expression)

    def until(self, what, expression):
        try:
            return eventually(what, lambda: self.look(expression))
        except AssertionError as error:
            raise AssertionError(f"{error}; it says: {self.look('document.body.innerText')}") from None

    def press(self, *keys):
        for key in keys:
            self.projector.press(key)

    def says(self, text):
        self.until(f"it says: {text}", f"document.getElementById('says').textContent.includes({json.dumps(text)})")

    def stage(self, name):
        self.until(f"{name} runs", f"model.stage?.name.startsWith('{name}_') && model.ofKind('thread').length > 0 && !model.ended")
        # Each phone's client has moved there.
        self.until("all are its clients", f"[...model.clients.values()].filter(({{ role, port }}) => role === 'phone' && port !== 0).length === {len(NAMES)}")

    def ask_all(self, but=()):
        for phone in self.phones:
            if phone not in but:
                eventually(f"{phone.name} may ask", lambda phone=phone: phone.ask() == 200)

    def answered(self, phone, server=0):
        """Its clock stands: it has a reply, and waits for none."""
        seen = phone.state()["servers"][server]
        return "waits" not in seen and "reply" in seen

    def waits(self, phone, server=0):
        return "waits" in phone.state()["servers"][server]

    def all_answered(self, but=()):
        for phone in self.phones:
            if phone not in but:
                eventually(f"{phone.name} has a reply", lambda phone=phone: self.answered(phone))

    def vote(self, about):
        """q, a vote from each phone, v and v; then x."""
        self.press("q")
        self.until("it is asked", "!document.getElementById('question').hidden")
        self.test.assertIn(about, self.look("document.querySelector('#question h2').textContent"))
        question = self.phones[0].until(lambda state: state.get("question"))["question"]["serial"]
        for number, phone in enumerate(self.phones):
            self.test.assertEqual(phone.vote(question, number % 3), 200)
        self.until("all votes are counted", f"document.querySelector('#question .next').textContent.startsWith('{len(NAMES)} votes')")
        self.test.assertNotIn("✓", self.look("document.getElementById('question').textContent"))
        self.press("v")
        self.until("the votes are shown", "[...document.querySelectorAll('#question .votes')].map(({ textContent }) => textContent).join().startsWith('2,2,1')")
        self.press("v")
        self.until("the right one is marked", "document.querySelector('#question .right') !== null")
        self.press("x")
        self.until("it is closed", "document.getElementById('question').hidden")

    # ---- The steps

    def all_join_01(self):
        self.join()
        self.ask_all()
        # A dot or two: the others are at the door, and their clocks run.
        self.until("one is served", "model.ofKind('conversation').length === 1")
        self.until("the others are at the door", f"model.atTheDoor.length === {len(NAMES) - 1}")
        self.test.assertEqual(sum(self.waits(phone) for phone in self.phones), len(NAMES) - 1)

    def first_leaves_01(self):
        self.vote("One client is connected to this server and says nothing")
        self.press("ArrowDown")
        served = self.look("model.nameOf(model.places.get(selected))")
        first = next(phone for phone in self.phones if phone.name == served)
        self.test.assertFalse(self.waits(first))
        self.press("l")
        eventually("the next one is served", lambda: any(self.answered(phone) for phone in self.phones if phone is not first))
        self.test.assertEqual(sum(self.waits(phone) for phone in self.phones if phone is not first), len(NAMES) - 2)
        # It may come again.
        self.test.assertEqual(first.join(first.name), 200)

    def all_served_02(self):
        self.press("]")
        self.stage("02")
        self.ask_all(but=[phone for phone in self.phones if self.waits(phone)])
        self.all_answered()
        self.until("a thread for each", f"model.figures.threads === {len(NAMES) + 1}")
        self.vote("Four clients ask for fib(1)")
        self.press("h", "h")
        self.until("both hogs compute", "model.inState('computes').length === 2")
        self.ask_all()
        self.all_answered()

    def turns_02b(self):
        self.press("]")
        self.stage("02b")
        if self.look("[...model.clients.values()].every(({ role }) => role !== 'hog')"):
            self.press("h")
        self.until("a hog computes", "model.inState('computes').length > 0")
        self.ask_all()
        self.all_answered()

    def worker_03(self):
        self.press("]", "]", "]")
        self.stage("03")
        self.press("h")
        self.until("a worker computes", "model.ofKind('worker').some((worker) => worker.state === state.computes)")
        self.ask_all()
        self.all_answered()
        self.press("k")
        self.says("was killed")
        self.ask_all()
        self.all_answered()

    def all_stop_04(self):
        # As the guide has it, the hogs of the steps before are still there. L makes them leave.
        self.press("L")
        self.until("no hog is left", "[...model.clients.values()].every(({ role }) => role !== 'hog')")
        self.press("]")
        self.stage("04")
        self.ask_all()
        self.all_answered()
        self.until("one thread", "model.figures.threads === 1")
        self.vote("Ben asks for fib(46)")
        big, *others = self.phones
        self.test.assertNotEqual(big.ask(big=True), 200)  # not allowed yet
        self.press("b")
        self.until("big numbers are allowed", "document.getElementById('room').textContent.includes('big numbers allowed')")
        eventually("it may ask", lambda: big.ask(big=True) == 200)
        self.says("in the only thread there is")
        self.ask_all(but=[big])
        if self.waits(big):  # on a fast machine it may be over
            self.test.assertTrue(all(self.waits(phone) or not self.waits(big) for phone in others))
        self.all_answered()

    def two_clocks_05(self):
        self.join()
        self.vote("What does Ann see in 04? And in 05")
        self.press("h")
        self.until("04 stands still", self.pane(1, "page.getElementById('says').textContent.includes('in the only thread there is')"))
        self.ask_all()

        def one_clock():
            return any(self.answered(phone, 0) and self.waits(phone, 1) for phone in self.phones)
        eventually("one of two clocks stands", one_clock)

    def next_dot_06(self):
        self.look(self.pane(0, "(page.getElementById('stage').value = '06_async_sockets', page.getElementById('stage').dispatchEvent(new Event('change')))"))
        self.until("06 runs", self.pane(0, "page.title.startsWith('06_async_sockets')"))
        self.until("the hog is there", self.pane(0, "page.body.textContent.includes('hog')"))
        for _ in range(3):
            self.press("c")
        self.press(" ")
        for number in (0, 1):
            self.until("it is paused", self.pane(number, "page.body.dataset.pace === 'paused'"))
        held = "[...page.querySelectorAll('#source .dot.held:not(.square)')]"
        self.until("a dot has stopped", self.pane(0, f"{held}.length > 0"))
        dot = self.look(self.pane(0, f"{held}[0].dataset.id"))
        self.look(self.pane(0, f"{held}[0].dispatchEvent(new PointerEvent('pointerdown', {{ bubbles: true }}))"))
        self.until("it is chosen", self.pane(0, "!page.getElementById('story').hidden"))
        before = self.look(self.pane(0, "page.querySelectorAll('#story ol li').length"))
        self.press("Enter")
        self.until(f"dot {dot} has made a step", self.pane(0, f"page.querySelectorAll('#story ol li').length > {before}"))

    @staticmethod
    def pane(number, expression):
        return f"(() => {{ const page = document.querySelectorAll('iframe')[{number}].contentDocument; return {expression}; }})()"


PLAYED = {
    "All join, and press the button once. `j` closes the invitation. The board has a dot or two: where are the others?": Lesson.all_join_01,
    "`q`, vote. One student stays connected, the others press. `l` with that dot chosen.": Lesson.first_leaves_01,
    "`]`, all press again. `q` (four clients), vote, then `h` `h` and press.": Lesson.all_served_02,
    "`]`; first `h`, then press. In the terminal: `perf` beside a hog.": Lesson.turns_02b,
    "`]` `]` `]`; `h`, then press, then `k`.": Lesson.worker_03,
    "`L`, and `]`; press: one thread, all served. `q`, vote. Then `b`, and one student presses fib(42).": Lesson.all_stop_04,
    "End the board. `board 05 04 --room`: they join again; `j`; `q`, vote, `v`; `h`, and press.": Lesson.two_clocks_05,
    "Choose 06 on the left, `c` `c` `c`, pause with `space`; a student says which dot goes next.": Lesson.next_dot_06,
}


class Guide(unittest.TestCase):
    def test_every_step_is_played_and_its_promise_seen(self):
        steps = list(rows())
        self.assertEqual([do for _, do in steps], list(PLAYED))
        with Browser(1920, 1080) as projector:
            lesson = Lesson(self, projector, "01")
            try:
                for stage, do in steps:
                    if do.startswith("End the board."):
                        lesson.end()
                        lesson = Lesson(self, projector, *re.search(r"`board (\S+) (\S+) --room`", do).groups())
                    with self.subTest(step=f"{stage}: {do}"):
                        PLAYED[do](lesson)
                self.assertEqual(projector.complaints, [])
            finally:
                lesson.end()


if __name__ == "__main__":
    main_with_browser()
