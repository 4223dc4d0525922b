#!/usr/bin/env python3
"""The board's page, looked at in a browser while a stage runs."""

import json
import os
import signal
import subprocess
import tempfile
import time
import unittest

from support import BOARD, Board, PageTest, eventually, file_url, main_with_browser

SOURCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "stages")


# Lines with words on top of their code, as far as that is visible.
COVERED = """[...document.querySelectorAll('#source li[data-line]:not([hidden])')].filter((row) => {
    const note = row.querySelector('.note');
    const range = document.createRange();
    range.selectNodeContents(row.querySelector('code'));
    const [words, code] = [note.getBoundingClientRect(), range.getBoundingClientRect()];
    return note.textContent && words.left + 12 < code.right && words.top < code.bottom - 2;
}).map((row) => row.textContent)"""


def line_of(stage, text):
    """The number of the only line of a stage that contains this."""
    with open(os.path.join(SOURCES, stage + ".cpp"), encoding="utf-8") as file:
        found = [number for number, line in enumerate(file, 1) if text in line]
    assert len(found) == 1, (stage, text, found)
    return found[0]


class Page(PageTest):
    def board(self, *arguments):
        board = Board(*arguments)
        self.addCleanup(board.__exit__)
        self.browser.open(board.url)
        self.until("there is a source", "document.querySelectorAll('#source li[data-line]').length > 20")
        # The browser shall complain of what is wrong with the page, not that its board has ended.
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
        """How many dots are on a line."""
        state = f'[data-state="{state}"]' if state else ""
        return f"""[...document.querySelectorAll('#source li[data-line="{line}"] .dot{kind}{state}')]
                   .reduce((sum, dot) => sum + Number(dot.dataset.count ?? 1), 0)"""

    def says(self, text):
        self.until(f"it says: {text}", f"document.getElementById('says').textContent.includes({json.dumps(text)})")

    def test_a_dot_is_on_its_clients_line_and_the_next_client_is_at_the_door(self):
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
        # The first one is chosen and leaves: the server comes to the next one.
        self.browser.click(f'li[data-line="{receiving}"] .dot')
        self.browser.press("l")
        self.until("another one is received from", f"document.querySelector('li[data-line=\"{receiving}\"] .note').textContent.startsWith('idle 2 waits')")
        self.until("one is at the door", "document.getElementById('door').textContent.startsWith('At the door: 1')")

    def test_a_paused_client_makes_a_step_and_the_others_none(self):
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
        # Then the first that can take a step, by the other key.
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
        self.says("One thread: the one that runs stops all others")

    def test_the_page_says_which_client_has_the_lock(self):
        self.board("02d", "--", "--guard", "mutex")
        inside = line_of("02d_shared_state", "answered_.store(")
        for _ in range(3):
            self.browser.press("c")
        clients = "model.ofKind('conversation').filter(({ client }) => client)"
        self.until("three are there", f"{clients}.length === 3 && {clients}.every(({{ requests }}) => requests > 0)")
        self.browser.press(" ")
        self.until("all have stopped", f"{clients}.every(({{ state: now }}) => now === state.held)")
        first, second, third = self.look(f"{clients}.map(({{ id }}) => id)")

        def step(one, what, condition):
            def there():
                if self.look(f"model.places.get({one}).state === state.held && !({condition})"):
                    since = self.look(f"model.places.get({one}).since")
                    self.look(f"command({{ do: 'step', id: {one} }}), 0")
                    self.until("it has made a step", f"model.places.get({one}).since > {since}")
                return self.look(condition)
            eventually(what, there)

        def waits(one):
            return f"model.places.get({one}).state === state.locked"

        def note(one):
            return self.look(f"model.doing(model.places.get({one}))")

        # The first has taken the lock, and stands where it writes. The others come, and wait for the lock.
        step(first, "it is inside", f"model.places.get({first}).line === {inside} && model.places.get({first}).state === state.held")
        self.assertNotIn("lock", note(first))  # no client has asked for it yet
        names = [self.look(f"model.nameOf(model.places.get({one}))") for one in (first, second, third)]
        step(second, "it waits", waits(second))
        self.says(f"{names[1]} waits for the lock, which {names[0]} has")
        self.assertIn("has the lock", note(first))
        step(third, "it waits", waits(third))
        self.until("the note says it", f"[...document.querySelectorAll('#source .note')].some((note) => note.textContent.includes('2 wait for the lock, which {names[0]} has'))")
        # The first releases it. One of the two has it now, and the other one hears of that.
        self.look(f"globalThis.had = [{second}, {third}], 0")
        step(first, "it has released the lock", "had.filter((id) => model.places.get(id).state === state.locked).length === 1")
        holder, waiter = (second, third) if self.look(waits(third)) else (third, second)
        self.says(f"waits for the lock, which {names[1 if holder == second else 2]} has")
        self.assertIn("has the lock", note(holder))
        self.assertNotIn("has the lock", note(first))
        self.assertIn(f"which {names[1 if holder == second else 2]} has", note(waiter))
        self.browser.press(" ")
        self.until("it goes on", "document.body.dataset.pace === 'free'")

    def test_the_slider_sets_slow_motion(self):
        self.board("02")
        for _ in range(4):
            self.browser.press("-")
        self.until("it is slow", "model.pace === 'slow' && model.slow === 50")
        self.until("the slider shows it", "document.getElementById('slow').value === '4'")
        self.browser.press("c")
        self.until("a client or thread runs slowly", "[...model.lanes.values()].some(({ segments }) => segments.some((segment, index) => "
                   "segment.state === state.runs && segments[index + 1]?.since - segment.since > 45000))")
        self.look("document.getElementById('slow').value = 0, document.getElementById('slow').dispatchEvent(new Event('input'))")
        self.until("it is free", "model.pace === 'free'")

    def test_a_killed_worker_is_replaced_on_the_page(self):
        self.board("05")
        self.browser.press("h")
        self.until("a worker computes", "model.ofKind('worker').some((worker) => worker.state === state.computes)")
        self.until("it is said for whom", "document.getElementById('workers').textContent.includes('computes fib(42) for hog 1')")
        waiting = line_of("05_futures", "co_yield FutureDone")
        self.until("the hog waits for it", f"{self.dots(waiting, 'awaits', '.ringed')} === 1")
        before = self.look("model.ofKind('worker').map(({ pid }) => pid)")
        self.browser.press("k")
        self.says("was killed: the request of hog 1, fib(42), fails")
        self.until("there is another one", f"model.ofKind('worker').some(({{ pid }}) => !{before}.includes(pid))")

    def test_the_chosen_worker_is_killed_and_named_as_it_was_shown(self):
        self.board("05", "--", "--workers", "3")
        self.until("there are three", "model.ofKind('worker').length === 3")
        number, identity = self.look("(({ number, id }) => [number, id])(model.ofKind('worker').find(({ number }) => number === 2))")
        self.browser.click(f'#workers .dot[data-id="{identity}"]')
        self.until("its story is told", f"document.querySelector('#story h2').textContent === 'worker {number}'")
        self.browser.press("k")
        self.says(f"worker {number} was killed; it had no request")
        self.until("it is gone", f"!model.places.has({identity}) && model.ofKind('worker').length === 3")
        # The message stays until the next command.
        self.browser.press("i")
        self.until("it does not stay", "!document.getElementById('says').textContent.includes('was killed')")

    def test_a_stage_that_has_ended_is_shown_so_and_can_be_started_again(self):
        board = self.board("04")
        self.browser.press("h")
        self.says("in the only thread there is")
        (stage,) = board.others()
        os.kill(stage, signal.SIGKILL)
        self.says("04_generators has ended: signal 9 (Killed). r starts it again")
        self.until("no dot is left", "document.querySelectorAll('#source .dot').length === 0 && model.places.size === 0")
        self.assertTrue(self.look("document.getElementById('says').classList.contains('alarm')"))
        time.sleep(0.5)
        self.says("has ended")  # and it stays like that
        self.browser.press("r")
        self.says("in the only thread there is")
        self.assertEqual(self.look("model.clients.size"), 1)

    def test_dots_that_can_be_stepped_are_chosen_first_and_the_others_say_why_not(self):
        self.board("02")
        self.browser.press("i")
        self.browser.press("c")
        self.until("both are there", "model.ofKind('conversation').length === 2")
        self.browser.press(" ")
        self.until("the client is stopped", "model.inState('held').length === 1")
        self.browser.press("ArrowDown")
        self.until("it is chosen", "model.places.get(selected)?.client?.role === 'client'")
        self.browser.press("ArrowDown")
        self.until("then the idle one", "model.places.get(selected)?.client?.role === 'idle'")
        self.browser.press("Enter")
        self.says("idle 1 waits for bytes: it is in the kernel, and can't be stepped")
        self.browser.press("ArrowDown")
        self.until("then the main thread", "model.places.get(selected)?.kind === 'thread'")
        self.browser.press("Enter")
        self.says("main thread waits for a newcomer: it is in the kernel")

    def test_words_never_cover_the_code(self):
        for stage, keys in (("04", "wh"), ("05", "chhh"), ("07", "whhh")):
            self.board(stage)
            for key in keys:
                self.browser.press(key)
            self.until("something is said", "[...document.querySelectorAll('#source .note')].filter(({ textContent }) => textContent).length > 1")
            for width, height in ((1600, 1000), (1280, 720), (1024, 700)):
                self.browser.resize(width, height)
                self.until(f"they are beside the code of {stage} at {width}x{height}", COVERED + ".length === 0")
                for _ in range(20):  # whatever is said
                    self.assertEqual(self.look(COVERED), [])
                    time.sleep(0.03)
            self.browser.resize(1280, 720)
            self.browser.open("about:blank")

    def test_the_page_shows_which_client_waits_for_a_worker_and_where_it_has_asked(self):
        asking = line_of("07_coroutines", "pool.submit")
        waiting = line_of("07_coroutines", "add_done_callback")
        self.board("07", "--", "--workers", "1")
        for width, height in ((1280, 720), (1920, 1080)):
            self.browser.resize(width, height)
            for key in "hhc":
                self.browser.press(key)
            self.until("they are on a line that is shown", f"{self.dots(waiting, 'awaits')} > 2 && !document.querySelector('li[data-line=\"{waiting}\"]').hidden")
            self.until("it is said where they have asked", f"/wait for this at line {waiting}/.test(document.querySelector('li[data-line=\"{asking}\"] .note').textContent)")
        self.browser.resize(1280, 720)

    def test_a_starving_client_does_not_look_as_if_it_waited_for_bytes(self):
        self.board("04")
        self.browser.press("w")
        self.until("they are served", "model.figures.rate > 10")
        self.assertEqual(self.look("[...model.lanes.values()].filter(({ starved }) => starved.length > 0).length"), 0)
        receiving = line_of("04_generators", "co_yield ReadReady{client")
        for _ in range(3):  # one after the other, they compute for longer than clients think, however fast the CPU is
            self.browser.press("h")
        # So do the hogs whose turn it is not.
        self.until("all of them starve", "document.querySelector('#source .dot.many.ready')?.dataset.count >= 20")
        self.until("and it is said", f"document.querySelector('li[data-line=\"{receiving}\"] .note').textContent.match(/^2[0-3] have sent, not yet read/)")
        self.until("and drawn", "[...model.lanes.values()].filter(({ starved }) => starved.length > 0).length >= 20")
        for _ in range(3):
            self.browser.press("l")  # a hog
        self.until("they are served again", "model.figures.rate > 10 && document.querySelectorAll('#source .dot.ready').length === 0")
        self.assertEqual(self.look("[...model.lanes.values()].filter(({ starved }) => starved.at(-1)?.until === Infinity).length"), 0)

    def test_the_sentence_about_the_state_does_not_flicker(self):
        self.board("04")
        self.browser.press("h")
        self.says("in the only thread there is")
        # Between one request and the next there is nothing to say, for a moment.
        self.look("globalThis.said = [], new MutationObserver(() => said.push(document.getElementById('says').textContent))"
                  ".observe(document.getElementById('says'), { childList: true }), 0")
        begin = self.look("model.lanes.size")
        self.until("three requests more", "[...model.lanes.values()].find(({ place }) => place.client).place.requests >= 4")
        self.assertEqual(self.look("said.filter((text) => text === '')"), [], begin)

    def test_a_lane_that_is_clicked_is_the_one_that_is_chosen(self):
        self.board("02")
        for _ in range(3):
            self.browser.press("i")
        self.until("all are there", "lanes.rows.length === 4")
        for row in (3, 1):
            name = self.look(f"model.nameOf(model.places.get(lanes.rows[{row}].id))")
            self.look(f"((box, {{ top, bottom }}) => find('#lanes').dispatchEvent(new PointerEvent('pointerdown', {{ clientX: box.x + 20, "
                      f"clientY: box.y + (top + bottom) / 2 }})))(find('#lanes').getBoundingClientRect(), lanes.rows[{row}])")
            self.until("its story is told", f"document.querySelector('#story h2').textContent === {json.dumps(name)}")
            self.browser.press("Escape")
            self.until("no more", "document.getElementById('story').hidden")

    def test_the_page_leaves_the_browsers_own_keys_alone(self):
        self.board("02")
        for held in ("ctrlKey", "altKey", "metaKey"):
            self.look(f"document.dispatchEvent(new KeyboardEvent('keydown', {{ key: 'h', {held}: true }})), 0")
        self.browser.press("i")
        self.until("the idle one alone has come", "[...model.clients.values()].map(({ role }) => role).join() === 'idle'")

    def test_a_long_reply_moves_nothing(self):
        self.board("02")
        where = "JSON.stringify(document.getElementById('source').getBoundingClientRect())"
        before = self.look(where)
        self.browser.press("t")
        self.browser.type("9" * 99 + "x")
        self.browser.press("Enter")
        self.until("there is a reply", "document.getElementById('said').textContent.startsWith('→ [Error]')")
        self.assertEqual(self.look(where), before)
        # It covers nothing: what has no room is cut off.
        self.assertTrue(self.look("find('#said').getBoundingClientRect().right <= find('.hand').getBoundingClientRect().right + 1"))

    def test_in_a_narrow_window_the_parts_are_below_each_other(self):
        self.board("05")
        self.browser.press("w")
        for width in (400, 700, 890):
            self.browser.resize(width, 800)
            self.until("nothing is cut off", "document.documentElement.scrollWidth <= innerWidth")
            self.assertTrue(self.look("document.getElementById('right').getBoundingClientRect().top >= document.getElementById('left').getBoundingClientRect().bottom"))
            self.assertGreater(self.look("document.getElementById('source').clientWidth"), width * 0.85)
            self.assertGreater(self.look("document.getElementById('lanes').clientHeight"), 100)
        self.browser.resize(1280, 720)

    def test_workers_behind_a_broker_are_shown_when_they_have_begun(self):
        self.board("02")
        self.look("""globalThis.other = new Model(stages), other.apply({ t: 1, key: true, run: 1, stage: "07_coroutines", options: "--pool broker",
                     p: [[5, 1, state.awaits, 0, 32, 0, 20, 0, 0, 4000, 1, 1]], pace: "free" }), 0""")
        self.assertIn("1 waits for a result from behind the broker", self.look("other.explanation()"))
        self.assertIn("behind the broker", self.look("(source.updateStrips(other, []), source.strips.workers.textContent)"))
        self.assertTrue(self.look("find('#kill').disabled"))
        self.assertIn("No worker there has begun one", self.look("other.explanation()"))
        self.look("other.apply({ t: 2, pace: 'free', p: [[6, 3, state.computes, 0, 0, 2, 20, 5, 0, 0, 0, 0]] }), 0")
        self.assertIn("1 worker has begun one", self.look("other.explanation()"))
        self.assertRegex(self.look("(source.updateStrips(other, []), source.strips.workers.textContent)"), r"behind the broker.*computes fib\(20\) for guest 5")
        self.assertEqual(self.look("other.workerProcesses"), [])

    def test_the_model_forgets_what_has_gone(self):
        self.board("02")
        self.look("""globalThis.frame = (t, more) => ({ t: t * 1e6, pace: "free", ...more }), globalThis.other = new Model(stages),
                     globalThis.there = (id, t) => [id, 1, state.receives, 0, 26, t * 1e6, 0, 0, 0, 4000 + id, 1, 1], 0""")
        self.look("""other.apply(frame(1, { key: true, run: 1, stage: "02_threads", p: [there(1, 1), there(2, 1)],
                     c: [[1, "client", 4001], [2, "idle", 4002]] })), 0""")
        self.assertEqual(self.look("[other.places.size, other.lanes.size, other.clients.size]"), [2, 2, 2])
        self.look("other.apply(frame(2, { x: [1] })), 0")
        self.assertEqual(self.look("[other.places.size, other.lanes.size]"), [1, 2])  # its lane is still visible
        # A key frame may name fewer clients, because the frames between were lost. Then only these are there.
        self.look("""other.apply(frame(3, { key: true, run: 1, stage: "02_threads", p: [there(2, 1)], c: [[2, "idle", 4002]] })), 0""")
        self.assertEqual(self.look("[...other.clients.keys()]"), [2])
        self.look("other.apply(frame(22.5, {})), 0")
        self.assertEqual(self.look("[...other.lanes.keys()]"), [2])
        for t in range(23, 123):
            self.look(f"other.apply(frame({t}, {{ e: [[2, state.runs, 0, 26, {t}e6, 0, 0, 1], [2, state.receives, 0, 26, {t}.5e6, 0, 0, 1]], m: {{ rate: 1 }} }})), 0")
        self.assertLess(self.look("other.lanes.get(2).segments.length"), 60)  # 25 s, twice a second
        self.assertLess(self.look("other.history.length"), 62)

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
        # Keys that are typed there are no commands of the page.
        self.browser.press("h")
        self.browser.press("Escape")
        self.browser.press("i")
        self.until("an idle one came, and no hog", "[...model.clients.values()].map(({ role }) => role).join() === 'hand,idle'")

    def test_the_page_says_what_is_not_possible(self):
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
        self.until("it is said", f"/\\d wait for bytes/.test(document.querySelector('li[data-line=\"{receiving}\"] .note').textContent)")
        # It can still be used.
        self.browser.press(" ")
        self.until("it is paused", "document.body.dataset.pace === 'paused'")
        # A click on a dot that is still moving would miss it.
        self.until("the dot stands still", "(() => { const { x, y } = document.querySelector('#source .many').getBoundingClientRect();"
                   " const before = window.before; window.before = `${x} ${y}`; return window.before === before; })()")
        self.browser.click("#source .many")
        self.until("a dot is chosen", "!document.getElementById('story').hidden")
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

    def test_every_button_names_its_key(self):
        self.board("02")
        self.assertEqual(self.look("[...document.querySelectorAll('#controls button, header button')]"
                                   ".filter((button) => !button.querySelector('kbd') || !keys[button.dataset.key]).length"), 0)
        self.browser.press("?")
        self.until("there is help", "document.getElementById('help').open")
        self.browser.press("?")
        self.until("and it goes", "!document.getElementById('help').open")

    def test_a_recording_is_played_forwards_and_backwards(self):
        with tempfile.TemporaryDirectory() as directory:
            file = os.path.join(directory, "02.html")
            subprocess.run([BOARD, "02", "--with", "idle,client", "--for", "6", "--record", file], check=True, capture_output=True)
            self.browser.open(file_url(file))
            receiving = line_of("02_threads", "recv(client")
            self.assertTrue(self.look("document.getElementById('controls').hidden"))
            # It opens where there is something to see, and says what can be done with a recording.
            self.assertEqual(self.look("document.querySelectorAll('#source .dot:not(.square)').length"), 2)
            self.browser.press("?")
            self.until("there is help", "document.getElementById('help').open")
            self.assertIn("play, and stop", self.look("document.getElementById('help').innerText"))
            self.assertNotIn("a crowd of 20", self.look("document.getElementById('help').innerText"))
            self.browser.press("?")

            def scrub(share):
                self.look(f"((box) => {{ box.value = Math.round(box.max * {share}); box.dispatchEvent(new Event('input')); }})(document.getElementById('scrub'))")

            scrub(1)
            self.until("at the end they are there", "document.querySelectorAll('#source .dot:not(.square)').length === 2")
            end = self.look("model.now")
            scrub(0)
            self.until("at the beginning they are not", "document.querySelectorAll('#source .dot:not(.square)').length === 0")
            self.says("Space plays")
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

    def test_a_recordings_address_leads_to_a_moment(self):
        with tempfile.TemporaryDirectory() as directory:
            file = os.path.join(directory, "02.html")
            subprocess.run([BOARD, "02", "--with", "idle,client", "--for", "4", "--record", file], check=True, capture_output=True)
            shown = "Math.round((model.now - film[0].t) / 1e4) / 100"  # hundredths of a second
            self.browser.open(file_url(file) + "#t=2.4")
            self.assertAlmostEqual(self.look(shown), 2.4, delta=0.2)
            self.assertTrue(self.look("find('#scrub-text').textContent.startsWith('2.')"))
            # A frame on, the address is that of the frame, and leads to it.
            self.browser.press("ArrowRight")
            self.until("the address follows", f"location.hash === `#t=${{{shown}}}`")
            there, now = self.look("[location.href, model.now]")
            self.look("location.hash = '#t=0.3', 0")
            self.until("it has jumped", f"{shown} < 1")
            self.browser.open("about:blank")
            self.browser.open(there)
            self.assertEqual(self.look("model.now"), now)
            # While it plays, the address stays; when it stops, the address is that of the present.
            self.browser.press(" ")
            self.until("it plays", f"model.now > {now}")
            self.assertEqual(self.look("location.href"), there)
            self.browser.press(" ")
            self.until("it has stopped", f"location.href !== {json.dumps(there)} && location.hash === `#t=${{{shown}}}`")
            # What is no time is no moment, and what is too late is the end.
            for wrong, right in (("#t=", "opening()"), ("#t=-1", "opening()"), ("#t=1e9", "opening()"), ("#t=1<b>", "opening()"), ("#t=999", "film.length - 1")):
                self.browser.open("about:blank")
                self.browser.open(file_url(file) + wrong)
                self.assertTrue(self.look(f"model.now === film[{right}].t"), wrong)
            self.browser.open("about:blank")

    def test_two_recordings_are_played_beside_each_other(self):
        with tempfile.TemporaryDirectory() as directory:
            left, right, both = (os.path.join(directory, name) for name in ("left.html", "right.html", "both.html"))
            for stage, seconds, file in (("04", "6", left), ("05", "4", right)):
                subprocess.run([BOARD, stage, "--with", "hog,client", "--for", seconds, "--record", file], check=True, capture_output=True)
            subprocess.run([BOARD, "--beside", left, right, "--record", both], check=True, capture_output=True)
            self.browser.open(file_url(both) + "#t=3.5")
            pane = "document.querySelectorAll('iframe')[{}].contentWindow.".format
            self.until("both are there", "player !== null")
            for number, stage in enumerate(("04_generators", "05_futures")):
                self.assertEqual(self.look(pane(number) + "stageShown().name"), stage)
                self.assertAlmostEqual(self.look(pane(number) + "moment()"), 3.5, delta=0.2)
                self.until("its source is shown", pane(number) + "document.querySelectorAll('#source li[data-line]').length > 20")
                self.assertTrue(self.look(pane(number) + "document.getElementById('player').hidden"))
            # One clock. The shorter one stays at its end.
            self.look("find('#scrub').value = 0, find('#scrub').dispatchEvent(new Event('input')), 0")
            self.assertEqual(self.look(f"[{pane(0)}moment(), {pane(1)}moment()]"), [0, 0])
            self.browser.press(" ")
            self.until("both play", f"{pane(0)}moment() > 0.3 && {pane(1)}moment() > 0.3")
            self.browser.press(" ")
            self.assertAlmostEqual(self.look(f"{pane(0)}moment() - {pane(1)}moment()"), 0, delta=0.2)
            self.look("find('#scrub').value = find('#scrub').max, find('#scrub').dispatchEvent(new Event('input')), 0")
            ends = self.look(f"[{pane(0)}moment(), {pane(1)}moment()]")
            self.assertGreater(ends[0], 5)
            self.assertLess(ends[1], 5)
            self.until("the address follows", "location.hash === `#t=${Number((player.times.at(-1) / 1e6).toFixed(2))}`")
            # A key that a side got, because something was clicked there, is for both.
            self.browser.press("ArrowLeft")
            self.until("a frame back", f"{pane(0)}moment() < {ends[0]}")
            self.look(pane(1) + "document.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight' })), 0")
            self.until("and forward", f"{pane(0)}moment() === {ends[0]}")
            self.assertEqual(self.look("performance.getEntriesByType('resource').length"), 0)
            for width, height in ((1280, 720), (400, 800)):
                self.browser.resize(width, height)
                self.assertFalse(self.look("document.documentElement.scrollWidth > innerWidth"))
            self.browser.open("about:blank")
            # It is no recording itself, and neither is another file.
            for file in (both, "/dev/null", os.path.join(directory, "none")):
                refused = subprocess.run([BOARD, "--beside", left, file, "--record", os.path.join(directory, "not.html")], capture_output=True, text=True)
                self.assertEqual(refused.returncode, 1, refused)
                self.assertIn(file, refused.stderr)
            self.assertNotIn("not.html", os.listdir(directory))
            refused = subprocess.run([BOARD, "--beside", left, right], capture_output=True, text=True)
            self.assertEqual((refused.returncode, "--record" in refused.stderr), (2, True))

    def test_a_proxy_that_holds_events_back_does_not_blind_the_page(self):
        held = self.browser.call("Page.addScriptToEvaluateOnNewDocument",
                                 source="window.EventSource = class { close() {} addEventListener() {} };")
        self.addCleanup(self.browser.call, "Page.removeScriptToEvaluateOnNewDocument", identifier=held["identifier"])
        board = self.board("02")
        board.do("client")
        self.until("the client is seen", "document.querySelectorAll('#source .dot').length > 0")


if __name__ == "__main__":
    main_with_browser()
