#!/usr/bin/env python3
"""The minute that docs/board.md has for each stage, played from the page's own table: the test presses its keys and
looks for what it promises.

Each sentence of the table is in PROMISES, word for word. So no promise can be written there without a check here.

ONLY=STAGE plays one minute. RECORD=FOLDER also keeps what the board shows, as STAGE.html, and pauses after each key so that
a reader can follow. scripts/measure/minutes does both.
"""

import os
import re
import subprocess
import time
import unittest

from support import BOARD, PATIENCE, Board, Browser, eventually, missing

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
RECORD = os.environ.get("RECORD")
KEYS = {"space": " ", "↓": "ArrowDown", "↑": "ArrowUp"}

# What the sentences need.
HELPERS = """
globalThis.clients = (role = "client") => model.ofKind("conversation").filter(({ client }) => client?.role === role);
globalThis.says = (text) => document.getElementById("says").textContent.includes(text);
globalThis.textAt = ({ line }) => document.querySelector(`#source li[data-line="${line}"] code`).textContent;
globalThis.dots = (look) => [...document.querySelectorAll(`#source .dot.${look}`)];
globalThis.computing = () => model.ofKind("worker").filter((worker) => worker.state === state.computes);
globalThis.before = globalThis.before ?? new Map();
globalThis.remember = () => { before = new Map([...model.places.values()].map((place) => [place.id, { ...place }])); };
globalThis.moved = ({ id, since }) => before.has(id) && since > before.get(id).since;
"""
STOPS = "model.pace === 'paused' && clients().length > 0 && clients().every((place) => place.state === state.held)"
MOVES = f"{STOPS} && moved(model.places.get(selected)) && clients().filter(({{ id }}) => id !== selected).every((place) => !moved(place))"
HOG = "clients('hog').some((hog) => hog.state === state.computes) && dots('full').length > 0"
STARVE = ("clients().length > 15 && clients().every(({ starved }) => starved) && says('sent a request that is not read') && "
          "dots('ready').some((dot) => Number(dot.dataset.count) > 15)")
BUSY = "computing().length === 2 && model.ofKind('worker').length === 2"
AT = "clients().length > 15 && clients().some((place) => place.state === state.receives) && clients().filter((place) => " \
     "place.state === state.receives).every((place) => model.isMain(place.file) && {})"
AWAIT = "model.stage.name.startsWith('06_') && " + AT.format("/co_await/.test(textAt(place))")
PLAIN = "model.stage.name.startsWith('06b_') && " + AT.format("/recv\\(/.test(textAt(place)) && !/co_/.test(textAt(place))")
PROMISES = {
    "One dot waits for bytes.": "clients('idle').length === 1 && dots('hollow').some((dot) => dot.dataset.state === 'receives')",
    "The two other clients are not in the source: they are at the door.":
        "model.atTheDoor.length === 2 && document.getElementById('door').textContent.startsWith('At the door: 2')",
    "One of these two has sent a request.": "document.getElementById('door').textContent.includes('3 bytes not read')",
    "Each client stops at its next step.": f"clients().length === 2 && {STOPS}",
    "The chosen client moves when you say so, and the other client stays: you are the scheduler.": MOVES,
    "Two hogs share one lock: one dot is full, the other dot has a ring.":
        "says('One lock') && dots('full').length === 1 && dots('ringed').length === 1",
    "The hogs take turns.": "clients('hog').every(({ id }) => model.lanes.get(id).segments.filter((segment) => "
                        "segment.state === state.computes).length > 2)",
    "The sentence above says who has the lock.": "says('has the lock')",
    "Each client has a process of its own.": "clients().length === 2 && new Set([...clients(), ...model.ofKind('thread')].map(({ pid }) => pid)).size === 3 && "
                                             "model.figures.processes === 3",
    "The process ends when its client leaves.": "model.figures.processes === 2",
    "Each read and each write of what the clients share is a step, too.": "!model.lockSeen && clients().every(({ state: now }) => now === state.held)",
    "Three dots with a ring are on one line.": "dots('ringed').length === 3 && new Set(dots('ringed').map((dot) => dot.closest('li'))).size === 1",
    "Both workers compute.": BUSY,
    "Both workers compute, and the third hog waits for a worker.":
        f"{BUSY} && clients('hog').length === 3 && clients('hog').every((hog) => hog.state === state.awaits)",
    "The sentence above says whose request was lost.": "says('was killed: the request of hog')",
    "A new worker takes the place of the killed one.": "model.ofKind('worker').length === 2 && model.ofKind('worker').some(({ id }) => !before.has(id))",
    "The hog's dot is full.": HOG,
    "The clients' dot is dashed: they have sent, and the server does not read.": STARVE,
    "Their lanes are pale.": "clients().every(({ id }) => model.lanes.get(id).starved.length > 0)",
    "The main thread's lane has the hog's colour.":
        "clients('hog').some(({ id }) => model.ofKind('thread').some((thread) => model.lanes.get(thread.id).segments.some((segment) => segment.for === id)))",
    "The client stops.": f"clients().length === 1 && {STOPS}",
    "It is chosen.": "model.places.get(selected)?.client?.role === 'client'",
    "The client has a ring: its request is with a worker, and the client can't take a step.":
        "model.places.get(selected).state === state.awaits && dots('ringed').length === 1",
    "The client is dashed: its result is there, but the scheduler has not come to this client yet.":
        "clients()[0].state === state.ready && dots('ready').length === 1",
    "The clients wait at a `co_await`.": AWAIT,
    "The next stage is 06b, and its clients wait at plain calls.": PLAIN,
    "The clients wait at plain calls.": PLAIN,
    "The stage before is 06, and its clients wait at a `co_await`.": AWAIT,
    "The source is that of 02.": "model.stage.name.startsWith('06c_') && document.getElementById('source').textContent.includes('02_threads.cpp')",
    "10 computes for another stage: the board has nothing to show, and says so.": "",
    "A hundred clients are shown as a few numbers.": "clients().length === 100 && document.querySelectorAll('#source .dot').length < 15 && "
                                            "dots('many').some((dot) => Number(dot.dataset.count) > 20)",
    "A note beside the line with `submit` says where clients wait for their results from the pool.":
        "[...document.querySelectorAll('#source li')].some((row) => /submit\\(/.test(row.textContent) && "
        "/wait for this at line/.test(row.querySelector('.note').textContent))",
    "The small number is answered, although no worker is free.":
        f"document.getElementById('said').textContent.startsWith('→ 5 ') && {BUSY}",
    "The picture is that of 07: the source does not show what the loop asks the kernel for.":
        "clients().length === 20 && dots('ringed').length > 0 && dots('ringed').every((dot) => /add_done_callback|lines/.test(dot.closest('li').textContent))",
    "The hog that leaves is gone, although its request was not computed.":
        f"clients('hog').length === 2 && {BUSY} && [...model.lanes.values()].some(({{ place, ended }}) => ended < Infinity && "
        "place.client?.role === 'hog' && place.requests === 0)",
    "Each core has a thread that waits for newcomers.":
        f"model.ofKind('thread').filter(({{ state: now }}) => now === state.accepts || now === state.held || now === state.runs).length === {len(os.sched_getaffinity(0))}",
    "Each client belongs to one of these threads.": "clients().length === 20 && clients().every(({ tid }) => model.ofKind('thread').some((thread) => thread.tid === tid))",
}


def rows():
    """(stage, phases, sentences) of each row. A phase is its keys, and whether they are pressed again and again."""
    with open(os.path.join(ROOT, "docs", "board.md"), encoding="utf-8") as page:
        part = page.read().split("## One minute for each stage")[1].split("\n## ")[0]
    for line in part.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3 and re.fullmatch(r"\d\d[a-z]?", cells[0]):
            phases = []
            for text in filter(None, (phase.strip() for phase in cells[1].split(";"))):
                keys = re.match(r"(?:`[^`]+`\s*)+", text)
                if not keys or text[keys.end():] not in ("", "again and again"):
                    raise AssertionError(f"{cells[0]}: these are no keys: {text}")
                phases.append((re.findall(r"`([^`]+)`", keys[0]), text[keys.end():] != ""))
            yield cells[0], phases, re.findall(r"[^.]+\.(?=\s|$)", cells[2] + " ")


class Minutes(unittest.TestCase):
    def test_every_stage_has_its_row_and_every_promise_is_checked(self):
        with open(os.path.join(os.path.dirname(BOARD), "..", "stages", "stages.tsv"), encoding="utf-8") as table:
            stages = {line.split("_")[0] for line in table if line.strip()}
        found = list(rows())
        self.assertLessEqual(stages, {stage for stage, _, _ in found})
        self.assertEqual(len(found), len({stage for stage, _, _ in found}))
        said = [sentence.strip() for _, _, sentences in found for sentence in sentences]
        self.assertEqual(set(said), set(PROMISES))
        for stage, phases, sentences in found:
            self.assertGreaterEqual(len(sentences), len(phases), stage)

    def test_what_the_table_promises_is_seen(self):
        with Browser(1600, 1000) as browser:
            for stage, phases, sentences in rows():
                if os.environ.get("ONLY", stage) == stage:
                    with self.subTest(stage=stage):
                        self.play(browser, stage, phases, [sentence.strip() for sentence in sentences])

    def play(self, browser, stage, phases, sentences):
        if not phases:
            done = subprocess.run([BOARD, stage], capture_output=True, text=True, timeout=PATIENCE)
            self.assertEqual(done.returncode, 1)
            self.assertIn("nothing to show", done.stderr)
            return
        if not os.access(self.program(stage), os.X_OK):
            return  # a library that it needs is missing here
        with open(os.path.join(ROOT, self.source(stage)), encoding="utf-8") as file:
            pool = ".pool = true" in file.read()
        film = ["--record", os.path.join(RECORD, f"{stage}.html")] if RECORD else []
        with Board(stage, *film, *(["--", "--workers", "2"] if pool else [])) as board:
            browser.complaints.clear()
            browser.open(board.url)
            try:
                eventually("the stage is there", lambda: browser.look("model.places.size > 0"))
                browser.look(HELPERS)
                for number, (keys, again) in enumerate(phases):
                    browser.look("remember()")
                    seen = sentences[number:] if number == len(phases) - 1 else [sentences[number]]
                    self.press(browser, keys, seen[0] if again else None)
                    for sentence in seen:
                        self.see(browser, stage, sentence)
                    self.linger(2)
                self.assertEqual(browser.complaints, [])
            finally:
                browser.open("about:blank")  # before its board ends

    @staticmethod
    def press(browser, keys, until):
        deadline = time.monotonic() + PATIENCE
        while True:
            for key in keys:
                browser.press(KEYS.get(key, key))
                Minutes.linger(0.7)
            if until is None:
                return
            # Each step is checked at once, because a moment later it may be over.
            before = browser.look("model.now")
            eventually("two frames", lambda: browser.look(f"model.now > {before} + 150e3"))
            if browser.look(PROMISES[until]):
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"{keys} again and again, but never: {until}")

    @staticmethod
    def linger(seconds):
        """For the reader of a recording."""
        if RECORD:
            time.sleep(seconds)

    @staticmethod
    def see(browser, stage, sentence):
        try:
            eventually(sentence, lambda: browser.look(PROMISES[sentence]))
        except AssertionError as error:
            raise AssertionError(f"{stage}: {error}; it shows: {browser.look('document.body.innerText')}") from None

    @staticmethod
    def table():
        with open(os.path.join(os.path.dirname(BOARD), "..", "stages", "stages.tsv"), encoding="utf-8") as table:
            return [line.rstrip("\n").split("\t") for line in table]

    def row_of(self, stage):
        return next(row for row in self.table() if row[0].startswith(stage + "_"))

    def program(self, stage):
        return os.path.join(os.path.dirname(BOARD), "..", "stages", self.row_of(stage)[0])

    def source(self, stage):
        return self.row_of(stage)[5]


if __name__ == "__main__":
    if why := missing():
        print(f"skipped: {why}")
        raise SystemExit
    unittest.main()
