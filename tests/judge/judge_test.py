"""The judge on servers that keep their promises, and on servers with one fault each. Called with the build folder."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = Path(sys.argv.pop(1)).resolve()
JUDGE = BUILD / "clients" / "judge"
PYTHON = [sys.executable, "-B"]
PATIENCE = 1100  # seconds; only a failure waits so long


def broken(name):
    return [*PYTHON, str(HERE / "broken" / f"{name}.py"), "--port", "{port}"]


def stage(name):
    return [str(BUILD / "stages" / name), "--quiet"]


def judge(*options, of=(), status=None):
    command = [str(JUDGE), "--time-limit", "1000", *options, *(["--", *of] if of else [])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if status is not None and done.returncode != status:
        raise AssertionError(f"{command}: status {done.returncode} instead of {status}\n{done.stdout}{done.stderr}")
    return done


def results(*options, of=(), status=None):
    """The judgement as --json has it."""
    return json.loads(judge(*options, "--json", "-", of=of, status=status).stdout)


def verdicts(judgement):
    return {promise["id"]: promise["verdict"] for promise in judgement["promises"]}


def first_failure(judgement):
    return next((p for p in judgement["promises"] if p["verdict"] == "fail"), None)


class Broken(unittest.TestCase):
    """The first promise that is called broken is the one that the fault breaks."""

    def check(self, name, promise, *causes, only, options=(), runs=3):
        judgement = results("--only", only, *options, of=broken(name), status=1)
        failure = first_failure(judgement)
        self.assertEqual(failure["id"], promise, judgement["promises"])
        for cause in causes:
            self.assertIn(cause, failure["cause"])
        self.assertEqual((failure["runs"], failure["failed_runs"]), (runs, runs))
        return failure

    def test_a_server_that_keeps_its_promises(self):
        judgement = results("--as", "02", "--only", "start,protocol,process,load,model", of=broken("right"), status=0)
        self.assertEqual(judgement["summary"]["fail"] + judgement["summary"]["unknown"], 0)
        self.assertGreater(judgement["summary"]["pass"], 25)

    def test_it_dies_at_start(self):
        failure = self.check("dies_at_start", "start/replies", "it did not start", "exit status 1", only="start,protocol")
        self.assertIn("AttributeError", failure["stderr"])

    def test_it_does_not_listen(self):
        self.check("does_not_listen", "start/replies", "it does not listen on port", only="start,protocol",
                   options=("--start", "0.5"))

    def test_two_replies_for_one_line(self):
        failure = self.check("two_replies", "protocol/reply-per-line", 'it replied "55" instead of "6765"',
                             only="start,protocol")
        self.assertEqual(failure["sent"], "20\n")

    def test_lines_that_end_in_crlf(self):
        self.check("crlf", "start/replies", r'it replied "55\r" instead of "55"', only="start,protocol")

    def test_no_reply_to_what_is_no_number(self):
        failure = self.check("no_error", "protocol/errors", "no reply", only="start,protocol/right-answers,protocol/errors")
        self.assertEqual(failure["sent"], "hello\n")

    def test_a_buffer_that_all_clients_share(self):
        self.check("one_buffer", "protocol/own-lines", only="start,protocol/one-after-another,protocol/own-lines")

    def test_it_closes_after_100_requests(self):
        self.check("hundred_requests", "protocol/pipelining", "closed the connection instead of replying",
                   only="start,protocol/one-after-another,protocol/order,protocol/pipelining")

    def test_it_reads_64_kb_of_a_client_and_no_more(self):
        self.check("reads_64_kb", "protocol/endless-stream", "no further reply",
                   only="start,protocol/pipelining,protocol/endless-stream")

    def test_two_writes_for_one_reply(self):
        self.check("two_writes", "protocol/one-write", only="start,protocol/reply-per-line,protocol/one-write")

    def test_replies_out_of_order(self):
        self.check("out_of_order", "protocol/order", "it replied", only="start,protocol/order,protocol/pipelining")

    def test_a_crash_at_half_close(self):
        self.check("crash_at_half_close", "protocol/half-close", "it crashed: signal 6",
                   only="start,protocol/order,protocol/half-close,protocol/blank-lines")

    def test_the_last_line_without_an_end_is_lost(self):
        self.check("no_last_line", "protocol/unterminated-last-line",
                   only="start,protocol/half-close,protocol/unterminated-last-line")

    def test_numbers_of_32_bits(self):
        self.check("thirty_two_bits", "protocol/large-numbers", 'it replied "-1323752223" instead of "2971215073"',
                   only="start,protocol/right-answers,protocol/large-numbers")

    def test_a_lost_reply(self):
        self.check("loses_a_reply", "load/every-reply", "of 8", only="start,protocol/half-close,load")

    def test_a_deadlock_of_two_workers(self):
        self.check("pool_deadlock", "load/every-reply", "of 8", only="start,protocol/half-close,load")

    def test_a_busy_loop(self):
        self.check("busy_loop", "process/idle", "ms of CPU time", only="start,process/idle", runs=1,
                   options=("--until-fail", "1"))

    def test_a_busy_loop_that_begins_when_a_client_half_closes(self):
        self.check("spins_after_half_close", "process/idle", "ms of CPU time", only="start,process/idle", runs=1,
                   options=("--until-fail", "1"))

    def test_sigpipe_ends_it(self):
        self.check("sigpipe", "faults/close-with-replies-owed", "it crashed: signal 13",
                   only="start,faults/close-with-replies-owed,faults/churn")

    def test_half_a_line_is_lost(self):
        self.check("loses_half_a_line", "protocol/waits-for-line-end", only="start,protocol")

    def test_an_endless_log(self):
        failure = self.check("floods_its_log", "process/idle", "ms of CPU time", only="start,process/idle", runs=1,
                             options=("--until-fail", "1"))
        self.assertLess(len(failure["stderr"]), 100_000)

    def test_a_descriptor_leaks(self):
        self.check("descriptor_leak", "process/descriptors", "descriptors open", only="start,process,faults/reset-at-once")

    def test_children_are_not_waited_for(self):
        self.check("zombies", "process/left-behind", "zombies", only="start,process")

    def test_memory_leaks(self):
        self.check("keeps_requests", "process/memory", "MB more than 20000 requests before",
                   only="start,process/idle,process/memory")

    def test_threads_stay(self):
        self.check("thread_stays", "process/left-behind", "threads", only="start,process/descriptors,process/left-behind")

    def test_sigterm_is_ignored(self):
        self.check("ignores_sigterm", "process/sigterm", only="start,process/sigterm")

    def test_a_process_is_left_after_sigterm(self):
        self.check("child_stays", "process/sigterm", "1 of the processes", only="start,process/sigterm")

    def test_threads_are_counted_and_not_called_a_reply(self):
        for model, promise, cause in (("04", "model/one-thread", "it had 12 threads with 11 clients, and 2 with one"),
                                      ("02c", "model/process-per-client", "it had 0 processes beside the first one, and 1 clients")):
            failure = self.check("right", promise, cause, only=f"start,{promise}", options=("--as", model))
            self.assertNotIn("replied", failure["cause"])

    def test_only_one_client_is_accepted(self):
        self.check("blocked_accept", "model/idle-client", "no reply", only="start,model/idle-client", options=("--as", "02"))


class Right(unittest.TestCase):
    """What keeps its promises is not called broken."""

    def test_the_stages(self):
        for name in ("01_blocking", "02_threads", "02c_fork", "03_process_pool", "09_all_cores"):
            with self.subTest(name):
                judgement = results("--as", name, "--only", "start,protocol/half-close,process/sigterm,model",
                                    of=stage(name), status=0)
                self.assertEqual(judgement["summary"]["fail"] + judgement["summary"]["unknown"], 0)

    def test_a_stage_with_a_flaw(self):
        judgement = results("--as", "04", "--framing", "auto", "--only", "start,protocol/talks-clients,model,faults",
                            of=stage("04_generators"), status=0)
        self.assertEqual(verdicts(judgement)["model/big-request-delays"], "by design")
        self.assertEqual(verdicts(judgement)["model/big-request"], "not applicable")
        self.assertEqual(verdicts(judgement)["protocol/talks-clients"], "pass")

    def test_a_peer(self):
        peer = ROOT / "scripts" / "shared" / "peers.d" / "python_threads.py"
        results("--as", "02", "--only", "start,protocol/half-close,protocol/pipelining,load,model,process",
                of=["/usr/bin/python3", "-B", str(peer)], status=0)

    def test_a_stage_of_another_model_breaks_its_promises(self):
        judgement = results("--as", "02", "--only", "start,model/idle-client", of=stage("01_blocking"), status=1)
        self.assertEqual(first_failure(judgement)["id"], "model/idle-client")


class Order(unittest.TestCase):
    """Where a promise is a matter of chance, explore chooses the order."""

    CHANCE = ("--only", "start,load", "--time-limit", "1000")

    def lost(self, *of, model, only="start,load", promise="load/every-reply"):
        failure = first_failure(results("--as", model, "--only", only, of=of, status=1))
        self.assertEqual(failure["id"], promise)
        self.assertIn("in one order of threads and clients, ", failure["cause"])
        return failure

    def test_an_update_that_is_lost(self):
        failure = self.lost(*stage("02d_shared_state"), "--guard", "none", model="02d")
        self.assertEqual(failure["expected"], "every request that was answered is counted")
        first, second = failure["order"]["steps"]
        self.assertRegex(first, r"^thread 1 reads answered_: 0, 02d_shared_state:\d+ \(step \d+\)$")
        self.assertRegex(second, r"^thread 2 writes answered_: 1, ")
        # The same order, played once, breaks the same promise.
        played = subprocess.run([BUILD / "clients" / "explore", "--story", failure["order"]["story"], "--order",
                                 failure["order"]["actors"], "--as", "02d", "--", *stage("02d_shared_state"), "--guard", "none"],
                                capture_output=True, text=True, timeout=PATIENCE, check=False)
        self.assertEqual(played.returncode, 1, played.stderr)
        self.assertIn(failure["expected"], played.stdout)

    def test_the_text_says_how_to_play_it_again(self):
        done = judge("--as", "02d", "--only", "start,load", of=[*stage("02d_shared_state"), "--guard", "none"], status=1)
        self.assertRegex(done.stdout, r"    order     thread 1 reads answered_: 0, [^\n]*, then\n              thread 2 writes answered_")
        self.assertRegex(done.stdout, r"    again     explore --story two --order 'client [^']*' --as 02d -- ")
        self.assertRegex(done.stdout, r"    runs      \d of \d broken; in this order 3 of 3")

    def test_a_script_that_starts_the_server_is_judged_without(self):
        command = ["sh", "-c", f"exec {' '.join(stage('02d_shared_state'))} --guard none --port $PORT"]
        self.assertFalse(any("order" in one for one in results("--as", "02d", "--only", "start,load", of=command)["promises"]))

    def test_a_server_that_sleeps_is_not_called_broken(self):
        judgement = results("--as", "02", *self.CHANCE, of=[BUILD / "tests" / "judge" / "sleeps_before_replies", "--quiet"])
        self.assertEqual(verdicts(judgement), {"start/replies": "pass", "load/every-reply": "pass"})

    def test_what_keeps_its_promises_in_every_order(self):
        for name in ("01_blocking", "02d_shared_state", "05_futures"):
            for options in (["--as", name], []):
                with self.subTest(name, options=options):
                    results(*options, *self.CHANCE, of=stage(name), status=0)


class WrongTurns(unittest.TestCase):
    """On request, because they have to be built: those that are a matter of order."""

    def test_each_one(self):
        subprocess.run(["cmake", "--build", str(BUILD), "--target", "wrong_turns"], check=True, capture_output=True)
        for line in (BUILD / "stages" / "wrong_turns" / "wrong_turns.tsv").read_text(encoding="utf-8").splitlines():
            name, model, _, story, _ = line.split("\t")
            if story not in ("two", "same", "leaves"):
                continue
            promise = "faults/close-with-replies-owed" if story == "leaves" else "load/every-reply"
            with self.subTest(name):
                program = BUILD / "stages" / "wrong_turns" / name
                failure = first_failure(results("--as", model, "--only", promise, of=[program, "--quiet"], status=1))
                self.assertIn("order", failure)


class Running(unittest.TestCase):
    def test_a_server_that_runs_already(self):
        server = subprocess.Popen([*stage("02_threads"), "--port", "0"], stdout=subprocess.PIPE, text=True)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        self.addCleanup(server.stdout.close)
        address = server.stdout.readline().split()[-1]
        judgement = results("--connect", address, "--only", "start,protocol/byte-by-byte,protocol/half-close,process/idle",
                            status=0)
        self.assertEqual(verdicts(judgement)["process/idle"], "not applicable")
        self.assertEqual(verdicts(judgement)["protocol/byte-by-byte"], "pass")

    def test_no_server_there(self):
        with socket.socket() as taken:  # so that no other program listens there meanwhile
            taken.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            failure = first_failure(results("--connect", address, "--only", "start", status=1))
        self.assertIn("Connection refused", failure["cause"])


class CommandLine(unittest.TestCase):
    def test_mistakes_are_errors(self):
        for options, words in ((["--only", "protocol/half-closed"], "no promise 'protocol/half-closed'"),
                               (["--onyl", "protocol"], "did you mean --only?"),
                               (["--as", "99"], "there is no stage '99'"),
                               (["--baseline", "/no/such/file"], "can't read /no/such/file"),
                               (["--until-fail", "0"], "--until-fail")):
            with self.subTest(options):
                done = judge(*options, of=["true"], status=3)
                self.assertIn(words, done.stderr)
                self.assertEqual(done.stdout, "")
        self.assertIn("which server?", judge(status=3).stderr)
        self.assertIn("leave out the command", judge("--connect", "25000", of=["true"], status=3).stderr)
        self.assertIn("is not HOST:PORT", judge("--connect", "localhost:http", status=3).stderr)

    def test_nothing_judged_is_not_success(self):
        done = judge("--only", "model", of=stage("01_blocking"), status=2)
        self.assertIn("0 promises kept", done.stdout)

    def test_a_command_that_is_no_program(self):
        done = judge("--only", "start,protocol/order", of=["/no/such/program"], status=1)
        self.assertIn("exit status 127", done.stdout)

    def test_the_list_has_ids_promises_and_pages_that_exist(self):
        lines = judge("--list", status=0).stdout.splitlines()
        ids = [line.split()[0] for line in lines[::2]]
        self.assertEqual(len(set(ids)), len(ids))
        self.assertEqual(ids[:2], ["start/replies", "protocol/reply-per-line"])
        for line in lines[1::2]:
            page, _, section = line.strip().split(";")[0].partition("#")
            text = (ROOT / page).read_text(encoding="utf-8")
            headings = [heading.lstrip("# ").lower() for heading in text.splitlines() if heading.startswith("#")]
            slugs = ["".join(c for c in heading if c.isalnum() or c in " -_").replace(" ", "-") for heading in headings]
            self.assertIn(section, ["", *slugs], line)

    def test_the_text_says_how_to_see_it_again(self):
        done = judge("--only", "start,protocol/large-numbers", of=broken("thirty_two_bits"), status=1)
        self.assertIn("FAIL           protocol/large-numbers", done.stdout)
        self.assertIn("page      docs/protocol.md#requests-and-replies", done.stdout)
        self.assertIn("again     judge --only protocol/large-numbers -- ", done.stdout)
        self.assertIn("1 promises kept, 1 broken", done.stdout)


class Files(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.path = Path(cls.folder.name)
        judge("--only", "start,protocol/large-numbers,process/sigterm", "--json", cls.path / "json", "--junit",
              cls.path / "junit", "--gradescope", cls.path / "gradescope", of=broken("thirty_two_bits"), status=1)

    def test_json(self):
        judgement = json.loads((self.path / "json").read_text())
        self.assertEqual((judgement["schema"], judgement["version"]), ("ground-judge", 1))
        for key in "id promise verdict seen expected help page runs failed_runs seconds".split():
            self.assertIn(key, judgement["promises"][0])
        self.assertEqual(first_failure(judgement)["expected"], "2971215073")

    def test_junit(self):
        suite = ElementTree.parse(self.path / "junit").getroot()
        self.assertEqual((suite.get("tests"), suite.get("failures"), suite.get("errors")), ("3", "1", "0"))
        [failure] = suite.findall("testcase/failure")
        self.assertIn("instead of", failure.get("message"))

    def test_gradescope(self):
        tests = json.loads((self.path / "gradescope").read_text())["tests"]
        self.assertEqual([test["score"] for test in tests], [1, 0, 1])
        self.assertIn("2971215073", tests[1]["output"])

    def test_a_baseline_is_what_may_fail(self):
        for baseline in (self.path / "json", self.path / "ids"):
            (self.path / "ids").write_text("# known\nprotocol/large-numbers\nprocess/sigterm  # it is kept\n")
            done = judge("--only", "start,protocol/large-numbers,process/sigterm", "--baseline", baseline,
                         of=broken("thirty_two_bits"), status=0)
            self.assertIn("1 known to be broken", done.stdout)
        self.assertIn("process/sigterm is kept: take it out of the baseline", done.stdout)
        (self.path / "ids").write_text("protocol/no-such-id\n")
        judge("--baseline", self.path / "ids", of=stage("01_blocking"), status=3)


class Repeated(unittest.TestCase):
    def test_until_fail_stops_at_the_first_broken_run(self):
        judgement = results("--until-fail", "20", "--only", "protocol/large-numbers", of=broken("thirty_two_bits"), status=1)
        self.assertEqual(first_failure(judgement)["runs"], 1)
        judgement = results("--until-fail", "3", "--only", "start", of=stage("01_blocking"), status=0)
        self.assertEqual(judgement["promises"][0]["runs"], 3)


class End(unittest.TestCase):
    def test_ctrl_c_leaves_nothing_behind(self):
        with tempfile.TemporaryDirectory() as folder:
            mark = Path(folder) / "mark"
            server = [*PYTHON, str(HERE / "broken" / "leaves_children.py"), str(mark)]
            process = subprocess.Popen([JUDGE, "--only", "start", "--", *server], stdout=subprocess.PIPE, text=True,
                                       start_new_session=True)
            deadline = time.monotonic() + PATIENCE
            while not mark.exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            os.killpg(process.pid, signal.SIGINT)
            said, _ = process.communicate(timeout=PATIENCE)
            self.assertEqual(process.returncode, 130)
            self.assertIn("Interrupted", said)
            self.assertEqual(self.processes_with(str(mark)), [])

    @staticmethod
    def processes_with(word):
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if word in path.read_text():
                    found.append(path.parent.name)
            except OSError:
                pass  # it has just ended
        return found


if __name__ == "__main__":
    unittest.main()
