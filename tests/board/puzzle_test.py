#!/usr/bin/env python3
"""Puzzles on the board: the reader chooses each step. All of them over HTTP, and one with the keys of the page.

RECORD=FOLDER keeps what the board shows, as NAME.html, and pauses before each choice so that a reader can follow.
scripts/measure/minutes does that with the class Recorded.
"""

import json
import os
import subprocess
import tempfile
import time
import unittest

from support import BOARD, PATIENCE, Board, PageTest, eventually, file_url, missing

EXPLORE = os.path.join(os.path.dirname(BOARD), "explore")
RECORD = os.environ.get("RECORD")


def linger(seconds):
    """For the reader of a recording."""
    if RECORD:
        time.sleep(seconds)


def film(name):
    return ["--record", os.path.join(RECORD, f"{name}.html")] if RECORD else []


def schedule_of(puzzle, folder):
    """Who goes when, as explore has found it."""
    file = os.path.join(folder, "schedule")
    what = {"lost-update": ["02d", "--guard", "none"], "torn-pair": ["02d", "--guard", "atomic"],
            "deadlock": ["--wrong", "02d_locks_in_another_order"], "lost-wake-up": ["--wrong", "05_list_before_byte"],
            "stale-flag": ["--wrong", "05_looks_before_it_locks"]}[puzzle]
    story = "same" if puzzle == "torn-pair" else "two"
    done = subprocess.run([EXPLORE, "-q", "--strategy", "bounded", "--budget", "400", "--story", story, "--save", file, *what],
                          capture_output=True, text=True, timeout=580, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    with open(file, encoding="utf-8") as text:
        steps = text.read().split("\n\n", 1)[1].splitlines()
    return [step.partition(":")[0] for step in steps], file


def build_wrong_turns():
    build = os.path.dirname(os.path.dirname(BOARD))
    targets = [f"wrong_turn_{name}" for name in ("02d_locks_in_another_order", "05_list_before_byte", "05_looks_before_it_locks")]
    subprocess.run(["cmake", "--build", build, "--target", *targets], check=True, capture_output=True)


class Puzzle:
    """A board with a puzzle, and what its page would show."""

    def __init__(self, *arguments):
        self.board = Board(*arguments)
        self.state = self.next(lambda _: True)

    def next(self, condition):
        frame = self.board.wait_for("the puzzle is as it should be",
                                    lambda frame: "scheduled" in frame and condition(frame["scheduled"]))
        self.state = frame["scheduled"]
        return self.state

    def do(self, what, **more):
        status, text = self.board.do(what, **more)
        assert status == 200, text

    def choose(self, actor):
        """Says that this one goes next. Returns False if there was nothing to choose."""
        names = [option["actor"] for option in self.state["options"]]
        before = self.state["choices"]
        self.do("choose", which=names.index(actor))
        self.next(lambda state: state["choices"] == before + 1)


class Puzzles(unittest.TestCase):
    def puzzle(self, *arguments):
        puzzle = Puzzle(*arguments)
        self.addCleanup(puzzle.board.__exit__)
        return puzzle

    def solve(self, *names):
        for name in names:
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                actors, _ = schedule_of(name, folder)
                puzzle = self.puzzle("--puzzle", name, *film(name))
                while puzzle.state["end"] == "open":
                    linger(1)
                    puzzle.choose(actors[len(puzzle.state["steps"])])
                linger(3)
                self.assertTrue(puzzle.state["solved"], puzzle.state)
                self.assertEqual(puzzle.state["end"], "broken")
                self.assertTrue(puzzle.state["lesson"])

    def say_that_none_does(self):
        puzzle = self.puzzle("04", "--puzzle", "one-thread", *film("one-thread"))
        while puzzle.state["end"] == "open":
            linger(1)
            puzzle.choose(puzzle.state["options"][0]["actor"])
        self.assertEqual([puzzle.state["end"], puzzle.state["solved"]], ["kept", False])
        linger(2)
        puzzle.do("none")
        puzzle.next(lambda state: state["solved"])
        self.assertEqual(puzzle.state["said"], "You are right.")
        linger(3)


class OverHttp(Puzzles):
    def test_those_of_02d_are_solved_by_the_order_that_explore_finds(self):
        self.solve("lost-update", "torn-pair")

    def test_where_no_order_breaks_it_one_says_so(self):
        self.say_that_none_does()

    def test_undo_replays_what_came_before_and_hints_come_one_by_one(self):
        puzzle = self.puzzle("02d", "--puzzle", "lost-update")
        first = puzzle.state
        puzzle.choose("client 1")
        second = puzzle.state
        puzzle.choose("client 2")
        puzzle.do("take-back")
        puzzle.next(lambda state: state["choices"] == 1)
        self.assertEqual([puzzle.state["steps"], puzzle.state["options"]], [second["steps"], second["options"]])
        puzzle.do("restart")
        puzzle.next(lambda state: state["choices"] == 0)
        self.assertEqual(puzzle.state["options"], first["options"])
        for count in (1, 2, 3, 3):
            puzzle.do("hint")
            puzzle.next(lambda state, count=count: len(state["hints"]) == count)
        puzzle.do("none")
        puzzle.next(lambda state: state["said"] == "There is one.")
        puzzle.do("solution")
        puzzle.next(lambda state: state.get("solution"))
        self.assertIn("writes answered_: 1", [step["text"] for step in puzzle.state["solution"]])
        for command in ({"do": "choose", "which": 99}, {"do": "client"}, {"do": "take-back"}):
            status, text = puzzle.board.post(json.dumps(command))
            self.assertEqual([status, text.count("\n")], [409, 1])

    def test_without_a_choice_the_default_goes_and_keeps_the_promise(self):
        puzzle = self.puzzle("--puzzle", "lost-update")
        while puzzle.state["end"] == "open":
            before = len(puzzle.state["steps"])
            puzzle.do("choose")
            puzzle.next(lambda state, before=before: len(state["steps"]) > before)
        self.assertEqual([puzzle.state["end"], puzzle.state["solved"]], ["kept", False])

    def test_mistakes_are_one_line(self):
        for options, text in ((["--puzzle", "none"], "there is no puzzle 'none'"),
                              (["05", "--puzzle", "lost-update"], "is one of 02d; leave the stage out"),
                              (["--puzzle", "lost-update", "--wrong", "05"], "brings its own server"),
                              (["--play", "/nowhere"], "can't read /nowhere")):
            done = subprocess.run([BOARD, *options], capture_output=True, text=True, timeout=PATIENCE, check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(text, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1)


class OfWrongTurns(Puzzles):
    """The puzzles on stages with a mistake, which are built for this."""

    @classmethod
    def setUpClass(cls):
        build_wrong_turns()

    def test_each_is_solved_by_the_order_that_explore_finds(self):
        self.solve("deadlock", "lost-wake-up", "stale-flag")


class Recorded(Puzzles):
    """The one that ONLY names."""

    def test_its_solution(self):
        build_wrong_turns()
        name = os.environ["ONLY"]
        self.say_that_none_does() if name == "one-thread" else self.solve(name)


@unittest.skipIf(missing(), "there is no browser")
class InABrowser(PageTest):
    def until(self, what, expression):
        return eventually(what, lambda: self.browser.look(expression))

    def test_lost_update_is_solved_key_by_key(self):
        board = Board("02d", "--puzzle", "lost-update")
        self.addCleanup(board.__exit__)
        self.addCleanup(self.browser.call, "Page.navigate", url="about:blank")
        self.browser.open(board.url)
        self.until("there is something to choose", "document.querySelectorAll('#scheduled .options button').length > 1")
        self.assertIn("make the count lie", self.browser.look("document.querySelector('#scheduled h2').textContent"))
        self.assertFalse(self.browser.look("document.getElementById('controls').getClientRects().length > 0"))
        self.browser.press("h")
        self.until("a hint", "document.querySelector('#scheduled .hints').textContent.includes('Hint 1 of 3: Counting up is a read')")
        self.browser.press("u")
        self.until("nothing to take back", "document.getElementById('says').textContent.includes('nothing has been chosen yet')")
        eventually("the browser complains of the status", lambda: self.browser.complaints)
        self.browser.complaints.clear()
        # A thread is stopped before it writes; whatever else is there goes first.
        while self.browser.look("model.scheduled.end") == "open":
            texts = self.browser.look("[...document.querySelectorAll('#scheduled .options button')].map((button) => button.textContent)")
            before = self.browser.look("model.scheduled.choices")
            wanted = next((number for number, text in enumerate(texts, 1) if "writes answered_" not in text), 0)
            self.browser.press(str(wanted) if wanted else "Enter")
            self.until("it has gone", f"model.scheduled.choices === {before + 1} && find('#scheduled .steps').childElementCount === model.scheduled.steps.length")
        self.assertEqual(self.browser.look("model.scheduled.solved"), True)
        self.until("it says so", "document.getElementById('says').textContent.startsWith('Solved. A promise is broken')")
        self.assertIn("What belongs together was not.", self.browser.look("document.querySelector('#scheduled .lesson').textContent"))
        self.browser.press("s")
        self.until("the shortest solution", "document.querySelectorAll('#scheduled .solution .preempts').length === 1")
        self.browser.press("u")
        self.until("the server runs again", "model.scheduled.end === 'open'")

    def test_what_explore_has_found_is_a_page_with_both_orders(self):
        with tempfile.TemporaryDirectory() as folder:
            page = os.path.join(folder, "both.html")
            done = subprocess.run([EXPLORE, "-q", "--strategy", "bounded", "--budget", "400", "--story", "two", "--page", page,
                                   "02d", "--guard", "none"], capture_output=True, text=True, timeout=580, check=False)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.browser.open(file_url(page))
            self.until("both are there", "window.frames.length === 2 && Boolean(player)")
            self.browser.look("player.seek(player.times.length - 1)")
            for index, end in enumerate(("broken", "kept")):
                self.until(f"it ends {end}", f"window.frames[{index}].window.find && "
                           f"panes[{index}].contentDocument.getElementById('says').textContent !== ''")
                self.until(f"it ends {end}", f"panes[{index}].contentDocument.querySelectorAll('#scheduled .steps li').length > 10")
            self.assertIn("A promise is broken", self.browser.look("panes[0].contentDocument.getElementById('says').textContent"))
            self.assertIn("Every promise was kept", self.browser.look("panes[1].contentDocument.getElementById('says').textContent"))


if __name__ == "__main__":
    unittest.main()
