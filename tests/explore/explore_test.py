"""explore on the stages and on the wrong turns. Called with the build folder."""

import json
import os
import re
import select
import socket
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "scripts" / "shared"))
import wrong_turns  # noqa: E402

BUILD = Path(sys.argv.pop(1)).resolve()
EXPLORE = BUILD / "clients" / "explore"
PATIENCE = 580  # seconds; only a failure waits so long


def explore(*options, status=None):
    # A busy machine has a run a second. The last budget that is given counts.
    done = subprocess.run([str(EXPLORE), "--budget", "400", *options], capture_output=True, text=True, timeout=PATIENCE, check=False)
    if status is not None and done.returncode != status:
        raise AssertionError(f"explore {' '.join(options)}: status {done.returncode} instead of {status}\n"
                             f"{done.stdout}{done.stderr}")
    return done


def results(*options, status=None):
    return json.loads(explore("--json", "-", *options, status=status).stdout)["stories"]


class Finds(unittest.TestCase):
    """The mistakes of 02d, and nothing where there is none."""

    def test_an_update_that_is_lost(self):
        story = results("--story", "two", "02d", "--guard", "none", status=1)[0]
        found = story["found"]
        self.assertEqual(found["promise"], "every request that was answered is counted")
        self.assertEqual(found["broken_again"], 3)
        self.assertEqual(sum(step["preempts"] for step in found["steps"]), 1)
        self.assertFalse(any(step["preempts"] for step in found["beside"]["steps"][: found["differs_at"]]))

    def test_a_pair_that_does_not_belong_together(self):
        story = results("--story", "same", "02d", "--guard", "atomic", status=1)[0]
        self.assertEqual(story["found"]["promise"], "every reply is right")
        self.assertEqual(story["found"]["broken_again"], 3)

    def test_with_the_lock_there_is_nothing(self):
        report = explore("--budget", "5", "--story", "two", "02d", status=0).stdout
        self.assertIn("every promise was kept", report)
        self.assertRegex(report, "schedules without a pre-emption: (all that there are|not all, the time was over)")
        self.assertIn("an error of depth 2 would have shown", report)

    def test_the_report_says_what_to_know(self):
        report = explore("--story", "two", "02d", "--guard", "none", status=1).stdout
        for text in ("Promised: every request that was answered is counted.", "asked count and got 1 in place of 2",
                     "it breaks 3 times of 3", "The two steps that matter",
                     "client 1, thread 1", "The schedule beside it differs in one choice", "02d_shared_state:"):
            self.assertIn(text, report)
        pair = report.partition("The two steps that matter, in this order:\n\n")[2].splitlines()
        self.assertRegex(pair[0], r"thread 1 reads answered_: 0")
        self.assertRegex(pair[1], r"thread 2 writes answered_: 1")

    def test_a_stage_with_a_pool_and_one_with_one_thread(self):
        for stage in ("03", "04"):
            explore("--budget", "2", "--story", "two", stage, status=0)

    def test_a_client_that_leaves_may_have_its_reply_first(self):
        explore("--budget", "1", "--story", "leaves", "04", status=0)


class Files(unittest.TestCase):
    """A schedule is saved, played, and refused if it no longer fits."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.file = Path(self.folder.name) / "lost.schedule"
        explore("--story", "two", "--save", str(self.file), "02d", "--guard", "none", status=1)

    def test_it_breaks_again_when_it_is_played(self):
        report = explore("--play", str(self.file), status=1).stdout
        self.assertIn("A promise is broken.", report)

    def test_a_source_that_has_changed_is_refused(self):
        text = self.file.read_text(encoding="utf-8")
        lines = [line + "x" if line.startswith("source:") else line for line in text.splitlines()]
        self.file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        problem = explore("--play", str(self.file), status=3).stderr
        self.assertIn("stages/02d_shared_state.cpp has changed since", problem)
        self.assertEqual(problem.count("\n"), 1)

    def test_a_step_that_comes_to_another_line_is_refused(self):
        text = self.file.read_text(encoding="utf-8")
        self.file.write_text(text.replace("reads answered_: 0", "reads answered_: 9", 1), encoding="utf-8")
        self.assertIn("should come to 'reads answered_: 9", explore("--play", str(self.file), status=3).stderr)

    def test_edited_so_that_the_threads_take_turns_it_keeps_the_promise(self):
        head = self.file.read_text(encoding="utf-8").split("\n\n")[0]
        self.file.write_text(head + "\n\nclient 1\nthread 1\n", encoding="utf-8")
        self.assertIn("Every promise was kept.", explore("--play", str(self.file), status=0).stdout)


class CommandLine(unittest.TestCase):
    """Mistakes are answered in one line."""

    def test_mistakes(self):
        for options, text in ((["77"], "no stage has the name '77'"), ([], "which stage?"),
                              (["--story", "nine", "02"], "there is no story 'nine'"),
                              (["--wrong", "none"], "there is no wrong turn 'none'"),
                              (["--play", "/nowhere"], "can't read /nowhere"),
                              (["02", "--no-such-option"], "does not start")):
            problem = explore(*options, status=3).stderr
            self.assertIn(text, problem)
            self.assertEqual(problem.count("\n"), 1, problem)

    def test_stories_are_listed(self):
        self.assertIn("two clients ask for one number each", explore("--list", "02", status=0).stdout)


def solve(name, *lines):
    """Plays a puzzle key by key. Returns the exit status and what was on the screen."""
    done = subprocess.run([str(EXPLORE), "--puzzle", name], input="".join(line + "\n" for line in lines),
                          capture_output=True, text=True, timeout=PATIENCE, check=False)
    return done.returncode, done.stdout + done.stderr


class Puzzles(unittest.TestCase):
    """The reader is the scheduler."""

    def play(self, name, wanted):
        """Chooses by name at each step; returns the keys that were typed, and the screen."""
        keys = []
        while True:
            status, screen = solve(name, *keys)
            if status == 0 or not screen.endswith("> "):
                return status, keys, screen
            options = dict(re.findall(r"^  (\d+)  (.+?)(?:   <- went last)?$", screen[screen.rindex("step "):], re.M))
            keys.append(wanted(options))

    def test_lost_update_is_solved_by_stopping_a_thread_before_it_writes(self):
        def wanted(options):
            for key, text in options.items():  # whatever is not the first thread's write
                if "writes answered_" not in text:
                    return key
            return ""

        status, keys, screen = self.play("lost-update", wanted)
        self.assertEqual(status, 0, screen)
        self.assertIn("Solved. Each read and each write was atomic.", screen)

    def test_undo_replays_what_came_before(self):
        status, screen = solve("lost-update", "1", "u", "1", "q")
        self.assertEqual(status, 1)
        self.assertEqual(screen.count("step 1\n"), 2)
        self.assertEqual(screen.count("step 2\n"), 2)

    def test_hints_and_mistakes(self):
        status, screen = solve("lost-update", "h", "77", "n", "q")
        self.assertEqual(status, 1)
        for text in ("Counting up is a read and a write", "'77' is no choice", "There is one."):
            self.assertIn(text, screen)

    def test_where_no_order_breaks_it_one_says_so(self):
        status, screen = solve("one-thread", "n")
        self.assertEqual(status, 0)
        self.assertIn("You are right.", screen)

    def test_the_end_of_the_input_ends_it(self):
        self.assertEqual(solve("lost-update")[0], 1)

    def test_there_are_six(self):
        self.assertEqual(len(explore("--puzzles", status=0).stdout.splitlines()), 6)


class Applies(unittest.TestCase):
    """Each wrong turn has a head and fits its stage as it is now."""

    def test_each_one(self):
        turns = wrong_turns.all_of_them()
        self.assertGreaterEqual(len(turns), 12)
        for turn in turns:
            with self.subTest(turn.name):
                self.assertNotEqual(turn.applied(), turn.stage_source().read_text(encoding="utf-8"))
                self.assertTrue(turn.name.startswith(turn.stage.split("_")[0] + "_"), turn.stage)
                self.assertTrue(turn.story or turn.head.get("try"), "neither a story nor something to try")
                self.assertTrue(turn.story or turn.name in SYMPTOMS, "no test shows its symptom")


    def test_the_page_shows_each_of_them_as_it_is(self):
        page = (ROOT / "docs" / "wrong_turns.md").read_text(encoding="utf-8")
        for turn in wrong_turns.all_of_them():
            with self.subTest(turn.name):
                self.assertIn(f"### {turn.name}\n", page)
                self.assertIn(f"```diff\n{turn.diff.rstrip(chr(10))}\n```", page)


class Running:
    """A server, and clients of it."""

    def __init__(self, program, *options):
        self.command = [str(program), "--port", "0", "--quiet", *options]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.port = int(re.search(r"127\.0\.0\.1:(\d+)", self.process.stdout.readline())[1])
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def client(self, text=""):
        client = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        client.sendall(text.encode())
        return client


def replies_within(client, seconds):
    return bool(select.select([client], [], [], seconds)[0])


# What is seen of the wrong turns that explore can't find. Each returns whether the server has the symptom. A symptom that
# is the lack of a reply is believed after some seconds; the reply itself may take a minute.

def stops_beside_a_big_request(program, patience):
    with Running(program) as server, server.client("50\n"), server.client() as small:
        for _ in range(20):  # the first may come before the server has begun with the big one
            small.sendall(b"1\n")
            if not replies_within(small, patience):
                return True
            small.recv(100)
        return False


def is_stopped_by_a_silent_client(program, patience):
    with Running(program) as server, server.client(), server.client("1\n") as second:
        return not replies_within(second, patience)


def takes_whatever_a_client_sends(program, patience):
    limit = 48_000_000
    with Running(program) as server, server.client() as client:
        client.setblocking(False)
        sent = 0
        while sent < limit and select.select([], [client], [], 3)[1]:
            sent += client.send(b"90\n" * 10_000)
        return sent >= limit


def stands_still_with_many_clients(program, patience):
    with Running(program) as server:
        load = subprocess.run([str(BUILD / "clients" / "perf"), "-d", "5s", "-c", "500", "-q", f"127.0.0.1:{server.port}"],
                              capture_output=True, text=True, timeout=PATIENCE, check=False)
        with server.client("1\n") as client:
            return load.returncode != 0 and not replies_within(client, patience)


def fails_beside_a_client_that_leaves(program, patience):
    for _ in range(5):  # the first may be gone before the other's request is with a worker
        with Running(program) as server, server.client() as first:
            first.sendall(b"1\n")
            first.recv(100)  # its thread has begun before the other client comes
            with server.client("1\n44\n") as second:  # the last takes seconds
                second.settimeout(PATIENCE)
                replies = second.recv(100)
                first.close()
                while replies.count(b"\n") < 2:
                    replies += second.recv(100)
                if replies != b"1\n701408733\n":
                    return True
    return False


def loses_the_request_of_a_killed_worker(program, patience):
    """Asks the test of the promise, with this worker beside the server."""
    with tempfile.TemporaryDirectory() as folder:
        for name, path in (("07_coroutines", BUILD / "stages" / "07_coroutines"), ("10_worker", program)):
            (Path(folder) / name).symlink_to(path)
        done = subprocess.run([sys.executable, ROOT / "scripts" / "shared" / "broker.py", "--or-skip", "--",
                               BUILD / "tests" / "broker" / "broker_test", Path(folder) / "07_coroutines", "--pool", "broker",
                               "--dt-test-case=broker: a request whose worker is killed once is computed by another"],
                              capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode == 77 or "No such file" in done.stderr:
        raise unittest.SkipTest("there is no broker")
    if not re.search(r"test cases: +1 ", done.stdout):
        raise AssertionError(f"not one test: {done.stdout}{done.stderr}")
    return done.returncode != 0


SYMPTOMS = {
    "03_pool_after_threads": fails_beside_a_client_that_leaves,
    "04b_reads_without_end": takes_whatever_a_client_sends,
    "05_poke_for_every_result": stands_still_with_many_clients,
    "05_waits_in_the_loop": stops_beside_a_big_request,
    "06b_greenlet_blocks": is_stopped_by_a_silent_client,
    "10_acknowledged_too_early": loses_the_request_of_a_killed_worker,
}


class WrongTurns(unittest.TestCase):
    """With it the symptom, without it not."""

    @classmethod
    def setUpClass(cls):
        subprocess.run(["cmake", "--build", str(BUILD), "--target", "wrong_turns"], check=True, capture_output=True)

    def test_explore_finds_those_that_are_a_matter_of_order(self):
        only = os.environ.get("ONLY", "")
        for name in [turn.name for turn in wrong_turns.all_of_them() if turn.story and turn.name.startswith(only)]:
            with self.subTest(name):
                found = results("--budget", "540", "--wrong", name, status=1)[0]["found"]
                self.assertEqual(found["broken_again"], 3)
                self.assertLess(found["after_runs"], 5_000)  # within a minute, where a run takes some milliseconds


    def test_the_others_show_what_their_heads_say_and_the_stages_do_not(self):
        for turn in wrong_turns.all_of_them():
            if turn.story:
                continue
            symptom = SYMPTOMS[turn.name]
            with self.subTest(turn.name):
                self.assertTrue(symptom(BUILD / "stages" / "wrong_turns" / turn.name, 6))
                self.assertFalse(symptom(BUILD / "stages" / turn.stage, 60))


class Stages(unittest.TestCase):
    """On the stages as they are it finds nothing."""

    def test_each_one(self):
        for line in (BUILD / "stages" / "stages.tsv").read_text(encoding="utf-8").splitlines():
            stage, _, model, *_ = line.split("\t")
            if model == "no server":
                continue
            with self.subTest(stage):
                explore("--budget", os.environ.get("BUDGET", "20"), stage, status=0)


if __name__ == "__main__":
    unittest.main()
