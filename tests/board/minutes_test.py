#!/usr/bin/env python3
"""The minute that docs/board.md has for each stage, played from the page's own table: the test presses its keys and
looks for what it promises. Also what docs/wrong_turns.md says under "On the board".

Each sentence is in PROMISES, word for word. So no promise can be written there without a check here.

ONLY=NAME plays one minute: 04, or the name of a wrong turn. RECORD=FOLDER also keeps what the board shows, as NAME.html, and
pauses after each key so that a reader can follow. scripts/measure/minutes does both.
"""

import os
import re
import shutil
import subprocess
import time
import unittest

from support import BOARD, PATIENCE, Board, Browser, end_all, eventually, main_with_browser, rows_below

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
    "The source is that of 07, and the three hogs wait for results from behind the broker.":
        "model.stage.name.startsWith('07_') && clients('hog').length === 3 && says('3 wait for a result from behind the broker')",
    "Each worker behind the broker has a lane, from its first request on.":
        "model.behindBroker && model.ofKind('worker').length === 2 && model.ofKind('worker').every(({ id, pid }) => pid === 0 && model.lanes.has(id))",
    # Wrong turns
    "The two idle clients have the two places.": "clients('idle').length === 2 && dots('hollow').some((dot) => dot.dataset.state === 'receives')",
    "The third client is at the door, and its request is not read.":
        "model.atTheDoor.length === 1 && document.getElementById('door').textContent.includes('3 bytes not read')",
    "A worker computes for the hog.": "clients('hog').length === 1 && computing().length === 1",
    "The first client leaves, and with it both workers: the hog's request fails, and two new workers begin.":
        "clients().length === 0 && model.ofKind('worker').length === 2 && model.ofKind('worker').every(({ id }) => !before.has(id))",
    "The crowd is served.": "clients().length === 20 && model.figures.rate > 0",
    "The hog waits for its result, and the one thread waits with it.":
        "clients('hog').some((hog) => hog.state === state.awaits) && says('The one thread waits with it')",
    "The clients' dot is dashed: they have sent, and the thread does not read.":
        "clients().every(({ starved }) => starved) && dots('ready').some((dot) => Number(dot.dataset.count) > 15)",
    "Both workers have no work.": "model.ofKind('worker').length === 2 && computing().length === 0",
    "The clients' dots are dashed: their results are there.": "clients().length === 2 && clients().every((place) => place.state === state.ready)",
    "The main thread still waits, because no thread has woken it.":
        "model.ofKind('thread').some(({ number, state: now, since }) => number === 1 && now === state.selects && model.now - since > 2e6)",
    "The first client is served.": "clients().length === 1 && clients()[0].requests > 1",
    "The idle client's dot is full, but the CPU is idle: the only thread waits in the kernel for this client's bytes.":
        "clients('idle').length === 1 && clients('idle')[0].state === state.runs && model.now - clients('idle')[0].since > 2e6 && model.figures.cpu < 20",
    "The newcomer stays at the door.": "model.atTheDoor.length === 1",
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


def phases_of(text):
    """The phases, each with its keys and whether they are pressed again and again."""
    phases = []
    for phase in filter(None, (phase.strip() for phase in text.split(";"))):
        keys = re.match(r"(?:`[^`]+`\s*)+", phase)
        if not keys or phase[keys.end():] not in ("", "again and again"):
            raise AssertionError(f"these are no keys: {phase}")
        phases.append((re.findall(r"`([^`]+)`", keys[0]), phase[keys.end():] != ""))
    return phases


def sentences_of(text):
    return [sentence.strip() for sentence in re.findall(r"[^.]+\.(?=\s|$)", " ".join(text.split()))]


def rows():
    """(stage, phases, sentences) of each row of the table."""
    for stage, do, seen in rows_below("One minute for each stage", "board.md", 3):
        if re.fullmatch(r"\d\d[a-z]?", stage):
            yield stage, phases_of(do), sentences_of(seen)


def wrong_turns():
    """The same of each wrong turn that is seen on the board."""
    with open(os.path.join(ROOT, "docs", "wrong_turns.md"), encoding="utf-8") as page:
        for section in page.read().split("\n### ")[1:]:
            if found := re.search(r"^\*\*On the board\.\*\* Press ((?:`[^`]+`[ ;\n]*)+)\. (.*?)\n\n", section, re.MULTILINE | re.DOTALL):
                yield section.partition("\n")[0], phases_of(found[1]), sentences_of(found[2])


class Broker:
    """One of our own, with two workers."""

    def __enter__(self):
        build = os.path.join(os.path.dirname(BOARD), "..")
        self.program = subprocess.Popen([os.path.join(ROOT, "scripts", "broker"), "--workers", "2", "--build", build],
                                        stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, start_new_session=True)
        for line in self.program.stdout:
            if found := re.search(r"export (GROUND_BROKER)=(\S+)", line):
                return [found.groups()]
        raise AssertionError("the broker has not started")

    def __exit__(self, *_):
        self.program.terminate()
        self.program.wait(PATIENCE)
        end_all(self.program)
        self.program.stdout.close()


class Playing(unittest.TestCase):
    """Plays one minute."""

    def play(self, browser, name, what, phases, sentences, options=(), environment=()):
        with open(os.path.join(ROOT, self.source(name.partition("_")[0])), encoding="utf-8") as file:
            options = [*options, *(["--workers", "2"] if ".pool = true" in file.read() else [])]
        film = ["--record", os.path.join(RECORD, f"{name}.html")] if RECORD else []
        with Board(*what, *film, *(["--", *options] if options else []), environment=environment) as board:
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
                        self.see(browser, name, sentence)
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
                Playing.linger(0.7)
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


class Minutes(Playing):
    def test_every_stage_has_its_row_and_every_promise_is_checked(self):
        with open(os.path.join(os.path.dirname(BOARD), "..", "stages", "stages.tsv"), encoding="utf-8") as table:
            stages = {line.split("_")[0] for line in table if line.strip()}
        found = list(rows())
        self.assertLessEqual(stages, {stage for stage, _, _ in found})
        self.assertEqual(len(found), len({stage for stage, _, _ in found}))
        found += wrong_turns()
        said = [sentence for _, _, sentences in found for sentence in sentences]
        self.assertEqual(set(said), set(PROMISES))
        for stage, phases, sentences in found:
            self.assertGreaterEqual(len(sentences), len(phases), stage)

    def test_what_the_table_promises_is_seen(self):
        with Browser(1600, 1000) as browser:
            for stage, phases, sentences in rows():
                if os.environ.get("ONLY", stage) == stage:
                    with self.subTest(stage=stage):
                        self.play_stage(browser, stage, phases, sentences)

    def play_stage(self, browser, stage, phases, sentences):
        if not os.access(self.program(stage), os.X_OK):
            return  # a library that it needs is missing here
        if stage != "10":
            self.play(browser, stage, [stage], phases, sentences)
            return
        done = subprocess.run([BOARD, stage], capture_output=True, text=True, timeout=PATIENCE, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("nothing to show", done.stderr)
        if shutil.which("rabbitmqctl", path="/usr/sbin:/usr/bin:/sbin:/bin"):
            with Broker() as environment:
                self.play(browser, stage, ["07"], phases, sentences, options=["--pool", "broker"], environment=environment)


class OfWrongTurns(Playing):
    """Those of the stages with a mistake, which are built for this."""

    def test_what_their_page_promises_is_seen(self):
        wanted = [row for row in wrong_turns() if os.environ.get("ONLY", row[0]) == row[0]]
        targets = [f"wrong_turn_{name}" for name, _, _ in wanted]
        subprocess.run(["cmake", "--build", os.path.join(os.path.dirname(BOARD), ".."), "--target", *targets], check=True, capture_output=True)
        with Browser(1600, 1000) as browser:
            for name, phases, sentences in wanted:
                with self.subTest(name):
                    self.play(browser, name, ["--wrong", name], phases, sentences)


if __name__ == "__main__":
    main_with_browser()
