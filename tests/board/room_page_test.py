#!/usr/bin/env python3
"""The room in two browsers: the board's page at the width of a projector, and a phone's at the width of a phone. Then
two servers side by side."""

import json
import os
import re
import subprocess
import unittest
from types import SimpleNamespace

from room_test import RoomBoard
from support import BOARD, PATIENCE, Board, Browser, eventually, main_with_browser

WIDER = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


class Pages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.projector = Browser(1920, 1080)
        cls.phone = Browser(360, 740)

    @classmethod
    def tearDownClass(cls):
        cls.projector.close()
        cls.phone.close()

    def setUp(self):
        for browser in (self.projector, self.phone):
            browser.complaints.clear()

    def board(self, *arguments, kind=RoomBoard):
        board = kind(*arguments)
        self.addCleanup(board.__exit__)
        self.projector.open(board.url)
        for browser in (self.projector, self.phone):
            self.addCleanup(browser.call, "Page.navigate", url="about:blank")
        return board

    def until(self, browser, what, expression):
        try:
            return eventually(what, lambda: browser.look(expression))
        except AssertionError as error:
            raise AssertionError(f"{error}; it says: {browser.look('document.body.innerText')}") from None

    def join(self, board, name):
        self.phone.open(f"http://{board.place}/")
        self.phone.look("sessionStorage.clear()")
        self.phone.open(f"http://{board.place}/")
        self.phone.look(f"document.getElementById('name').value = {json.dumps(name)}")
        self.phone.click("#join button")
        self.until(self.phone, "the phone is in the room", "!document.getElementById('room').hidden")

    def fits(self):
        self.assertFalse(self.phone.look(WIDER))
        self.assertEqual((self.projector.complaints, self.phone.complaints), ([], []))

    def test_a_phone_comes_in_asks_and_waits(self):
        board = self.board("01")
        self.until(self.projector, "the invitation is shown", "!document.getElementById('invitation').hidden")
        self.assertIn(board.place, self.projector.look("document.querySelector('#invitation .address')?.textContent"))
        self.assertGreater(self.projector.look("document.querySelector('#code').childElementCount"), 0)
        self.projector.press("i")
        self.until(self.projector, "the idle one is served", "model.ofKind('conversation').length === 1")
        name = "<img src=x onerror=alert(1)>"[:20]
        self.join(board, name)
        self.until(self.projector, "it is on the list", f"document.querySelector('#invitation ol')?.textContent === {json.dumps(name)}")
        self.assertEqual(self.projector.look("document.querySelectorAll('#invitation img, #room img').length"), 0)
        self.projector.press("j")
        self.until(self.projector, "the source is shown", "document.getElementById('invitation').hidden")
        self.phone.click("#small")
        self.until(self.phone, "its clock runs", "parseFloat(document.querySelector('.waits .clock')?.textContent) > 0.5")
        self.until(self.projector, "the board says who waits", f"document.getElementById('room').textContent.includes({json.dumps(name)})")
        self.assertTrue(self.phone.look("document.getElementById('small').disabled"))
        self.fits()
        self.projector.press("l")  # the idle client, not the phone
        self.until(self.phone, "it has its reply", "document.querySelector('.server')?.textContent.includes('fib(20) = 6765')")
        self.assertFalse(self.phone.look("document.getElementById('small').disabled"))
        self.until(self.projector, "its dot has its name", f"[...document.querySelectorAll('#source .note')].some((note) => note.textContent.includes({json.dumps(name)}))")
        # The page is loaded again: the same client.
        client = self.phone.look("state.servers[0].client")
        self.phone.call("Page.reload")
        self.until(self.phone, "it is still in the room", "typeof state !== 'undefined' && state !== null")
        self.assertEqual(self.phone.look("state.servers[0].client"), client)
        self.phone.click("#leave")
        self.until(self.phone, "it has left", "!document.getElementById('join').hidden")
        self.until(self.projector, "its client, too", "model.clients.size === 0")
        self.fits()

    def test_a_name_as_wide_as_it_may_be_moves_nothing_else(self):
        board = self.board("02")
        for name in ("\ufdfd" * 20, "\u05d0\u202e" + "\u05b0" * 18):
            self.join(board, name)
            self.until(self.projector, "it is on the list", "document.querySelectorAll('#invitation li').length === 1")
            self.assertFalse(self.projector.look(WIDER))
            self.fits()
            self.phone.click("#leave")
            self.until(self.projector, "it is not", "document.querySelectorAll('#invitation li').length === 0")

    def test_without_a_server_a_phone_only_votes(self):
        program = subprocess.Popen([os.path.join(os.path.dirname(BOARD), "votes"), "127.0.0.1:0"], text=True,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for end in (program.stdout.close, program.wait, program.stdin.close):
            self.addCleanup(end)
        place = re.search(r"http://([^/]+)/", program.stdout.readline())[1]
        while program.stdout.readline().strip():
            pass  # the QR code

        def command(text):
            program.stdin.write(text + "\n")
            program.stdin.flush()
            return program.stdout.readline().strip()

        self.join(SimpleNamespace(place=place), "Ann")
        self.addCleanup(self.phone.call, "Page.navigate", url="about:blank")
        self.until(self.phone, "it waits for a question", "document.getElementById('question').textContent.includes('The next question comes here')")
        self.assertTrue(self.phone.look("document.getElementById('ask').hidden"))
        self.assertEqual(command("ask 04_generators 1"), "")
        self.until(self.phone, "it is asked", "document.querySelectorAll('#answers button').length === 3")
        self.phone.click("#answers button:nth-child(2)")
        eventually("the vote is counted", lambda: command("count") == "1 1")
        self.assertEqual(command("hand 3"), "")
        self.assertEqual(command("show"), "0 1 1")
        self.until(self.phone, "the votes are shown", "document.querySelectorAll('#answers .bar').length === 3")
        self.fits()
        self.assertEqual(command("close"), "")
        self.until(self.phone, "it waits again", "document.querySelectorAll('#answers button').length === 0")
        for wrong in ("ask 04_generators 9", "ask 99 1", "hand 1", "show", "shut", "ask", ""):
            self.assertRegex(command(wrong), "^(there|the page|no question) ")

    def test_a_question_is_asked_voted_on_shown_and_answered(self):
        board = self.board("04")
        self.until(self.projector, "there is a source", "document.querySelectorAll('#source li[data-line]').length > 20")
        self.join(board, "Ann")
        self.projector.press("q")
        self.until(self.projector, "it is asked", "!document.getElementById('question').hidden")
        self.until(self.phone, "it is on the phone", "document.querySelectorAll('#answers button').length === 3")
        self.phone.click("#answers button:nth-child(1)")
        self.phone.click("#answers button:nth-child(2)")
        self.until(self.projector, "a vote is counted", "document.querySelector('#question .next')?.textContent.startsWith('1 vote from 1 phone')")
        for key in "330":
            self.projector.press(key)
        self.until(self.projector, "a hand, too", "document.querySelector('#question .next')?.textContent.startsWith('2 votes')")
        self.assertNotIn("✓", self.projector.look("document.getElementById('question').textContent") + self.phone.look("document.getElementById('question').textContent"))
        self.assertEqual(self.phone.look("document.querySelectorAll('#answers .bar').length"), 0)
        self.projector.press("v")
        self.until(self.projector, "the votes are shown", "[...document.querySelectorAll('#question .votes')].map((votes) => votes.textContent).join() === '0,1,1'")
        self.until(self.phone, "on the phone, too", "document.querySelectorAll('#answers .bar').length === 3")
        self.projector.press("v")
        self.until(self.projector, "the right one is marked", "document.querySelector('#question .right')?.textContent.includes('by 04 after Ben')")
        self.until(self.phone, "on the phone, too", "document.querySelector('#answers .right') !== null")
        self.fits()
        self.projector.press("v")
        self.until(self.projector, "it is closed", "document.getElementById('question').hidden")
        self.until(self.phone, "on the phone, too", "document.getElementById('question').hidden")

    def test_without_a_room_hands_are_counted_by_keys(self):
        self.board("02", kind=Board)
        self.until(self.projector, "there is a source", "document.querySelectorAll('#source li[data-line]').length > 20")
        self.assertTrue(self.projector.look("document.getElementById('room').hidden && document.getElementById('invite').hidden"))
        for key in "q1122":
            self.projector.press(key)
        self.until(self.projector, "hands are counted", "document.querySelector('#question .next')?.textContent.startsWith('4 votes.')")
        self.projector.press("v")
        self.until(self.projector, "they are shown", "document.querySelectorAll('#question .bar').length === 3")
        self.projector.press("a")
        self.until(self.projector, "it is asked again", "document.querySelector('#question .next')?.textContent.startsWith('0 votes.')")
        self.projector.press("2")
        self.until(self.projector, "a hand", "document.querySelector('#question .next')?.textContent.startsWith('1 vote.')")
        self.projector.press("v")
        self.until(self.projector, "both rounds are shown", "document.querySelectorAll('#question .bar').length === 6")
        self.projector.press("x")
        self.until(self.projector, "it is closed", "document.getElementById('question').hidden")
        self.assertEqual(self.projector.complaints, [])

    def pane(self, number, expression):
        return f"(() => {{ const page = document.querySelectorAll('iframe')[{number}].contentDocument; return {expression}; }})()"

    def test_two_servers_have_the_same_clients_and_the_same_hog(self):
        board = self.board("04", "05")
        for number, name in ((0, "04_generators"), (1, "05_futures")):
            self.until(self.projector, f"{name} is shown", self.pane(number, f"page.title.startsWith('{name}') && page.querySelectorAll('#source li[data-line]').length > 20"))
        self.join(board, "Ann")
        self.until(self.phone, "it is a client of both", "document.querySelectorAll('.server').length === 2")
        self.projector.press("j")
        self.projector.press("h")
        for number in (0, 1):
            self.until(self.projector, "a hog is there", self.pane(number, "page.body.textContent.includes('hog 2')"))
        self.until(self.projector, "the left one stands still", self.pane(0, "page.getElementById('says').textContent.includes('in the only thread there is')"))
        self.phone.click("#small")
        self.until(self.phone, "05 answers, and 04 does not", "state.servers[1].reply === '6765' && state.servers[0].waits !== undefined")
        self.until(self.projector, "the phone has its name on both", self.pane(1, "page.body.textContent.includes('Ann')"))
        self.fits()
        # Keys that are pressed in one of the two pages are for both.
        self.projector.click("iframe:last-of-type")
        self.projector.press("q")
        self.until(self.projector, "the left one's question", "document.querySelector('#question .which')?.textContent.startsWith('04_generators')")
        self.projector.press("x")
        self.projector.press(" ")
        for number in (0, 1):
            self.until(self.projector, "it is paused", self.pane(number, "page.body.dataset.pace === 'paused'"))


if __name__ == "__main__":
    main_with_browser()
