#!/usr/bin/env python3
"""The board's side of HTTP: which requests it accepts, and what it leaves behind."""

import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

from support import BOARD, PATIENCE, Board, Client, eventually, processes_of


class Access(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.board = Board("02")

    @classmethod
    def tearDownClass(cls):
        cls.board.__exit__()

    def test_the_page_is_there_and_may_load_nothing_from_elsewhere(self):
        status, text = self.board.request("GET")
        self.assertEqual(status, 200)
        self.assertIn("<title>Board</title>", text)
        policy = self.board.headers["Content-Security-Policy"]
        self.assertTrue(policy.startswith("default-src 'none'"), policy)
        self.assertNotIn("unsafe", policy)
        nonce = re.search(r"script-src 'nonce-([0-9a-f]{32})'", policy)[1]
        self.assertIn(f'<script nonce="{nonce}">', text)
        again = self.board.request("GET")[1]
        self.assertNotIn(nonce, again)
        self.assertEqual(self.board.headers["Cache-Control"], "no-store")
        self.assertEqual(self.board.headers["Referrer-Policy"], "no-referrer")

    def test_without_the_right_token_there_is_nothing(self):
        token = self.board.path.strip("/")
        self.assertRegex(token, r"\A[0-9a-f]{32}\Z")
        other = token[:-1] + ("0" if token[-1] != "0" else "1")
        for path in ("/", f"/{other}/", f"/{token[:-1]}/", f"/{token}0/", f"//{token}/", f"/{other}/frames",
                     f"/{token}", "/favicon.ico", f"/{token}/../{token}/x", f"/{token}/page/../../etc/passwd"):
            self.assertEqual(self.board.request("GET", path)[0], 404, path)
        self.assertEqual(self.board.request("POST", f"/{other}/do", {"Origin": f"http://{self.board.host}",
                         "Content-Type": "application/json"}, '{"do":"client"}')[0], 404)

    def test_another_host_gets_nothing(self):
        port = self.board.port
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port + 1}", f"127.0.0.1.evil:{port}", "", None):
            self.assertEqual(self.board.request("GET", headers={"Host": host})[0], 403, host)
        self.assertEqual(self.board.request("GET", headers={"Host": f"localhost:{port}"})[0], 200)

    def test_another_origin_gets_nothing(self):
        for origin in ("http://evil.example", "null", f"https://{self.board.host}", f"http://localhost:{self.board.port}"):
            self.assertEqual(self.board.request("GET", self.board.path + "frames", {"Origin": origin})[0], 403, origin)
            self.assertEqual(self.board.post('{"do":"client"}', Origin=origin)[0], 403, origin)
        # A form of another page may omit the origin, but can't send JSON.
        self.assertEqual(self.board.post('{"do":"client"}', Origin=None)[0], 403)
        self.assertEqual(self.board.post('{"do":"client"}', **{"Content-Type": "text/plain"})[0], 415)

    def test_each_address_takes_only_its_one_method(self):
        for method, what in (("POST", ""), ("PUT", ""), ("DELETE", ""), ("HEAD", ""), ("OPTIONS", ""), ("POST", "frames"),
                             ("GET", "do"), ("PUT", "do"), ("PATCH", "do")):
            status, _ = self.board.request(method, self.board.path + what, {"Origin": f"http://{self.board.host}"})
            self.assertEqual(status, 405, (method, what))

    def test_no_second_board_shares_its_port(self):
        done = subprocess.run([BOARD, "01", "--for", "1", "--port", str(self.board.port)], capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("in use", done.stderr)

    def test_it_listens_on_the_loopback_alone(self):
        with open("/proc/net/tcp", encoding="ascii") as file:
            local = [line.split()[1] for line in file if line.split()[3] == "0A"]
        self.assertIn(f"0100007F:{self.board.port:04X}", local)
        self.assertNotIn(f"00000000:{self.board.port:04X}", local)


class Forwarded(unittest.TestCase):
    """A board behind a port that is forwarded: from a container, from a code space, by a proxy that holds events back."""

    def test_a_code_space_reaches_it_by_its_exact_name(self):
        space = {"CODESPACE_NAME": "fuzzy-spoon", "GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN": "app.example"}
        with Board("02", environment=space) as board:
            name = f"fuzzy-spoon-{board.port}.app.example"
            self.assertEqual(board.host, name)
            self.assertTrue(board.url.startswith(f"https://{name}/"), board.url)
            command = '{"do":"pause"}'
            for host in (name, f"localhost:{board.port}", f"127.0.0.1:{board.port}"):
                self.assertEqual(board.request("GET", headers={"Host": host})[0], 200, host)
                self.assertEqual(board.post(command, Host=host, Origin=f"https://{name}")[0], 200, host)
            for other in (f"evil-{name}", f"{name}.evil", f"fuzzy-spoon-{board.port + 1}.app.example", "app.example"):
                self.assertEqual(board.request("GET", headers={"Host": other})[0], 403, other)
                self.assertEqual(board.post(command, Origin=f"https://{other}")[0], 403, other)
            self.assertEqual(board.request("GET", "/")[0], 404, "the token is needed there, too")

    def test_in_a_container_it_listens_for_the_port_that_is_published(self):
        with Board("02", "--in-container", "--port", "0") as board:
            with open("/proc/net/tcp", encoding="ascii") as file:
                local = [line.split()[1] for line in file if line.split()[3] == "0A"]
            self.assertIn(f"00000000:{board.port:04X}", local)
            self.assertEqual(board.request("GET")[0], 200)
            self.assertEqual(board.request("GET", headers={"Host": f"192.0.2.1:{board.port}"})[0], 403)

    def test_frames_can_be_asked_for(self):
        with Board("02") as board:
            last = 0
            for _ in range(3):
                status, text = board.request("GET", f"{board.path}frames?after={last}")
                self.assertEqual(status, 200)
                answer = json.loads(text)
                self.assertGreater(answer["last"], last)
                self.assertGreaterEqual(len(answer["frames"]), 1)
                last = answer["last"]
            for after in ("x", "-1", "", "1e3"):
                self.assertEqual(board.request("GET", f"{board.path}frames?after={after}")[0], 400, after)


class Commands(unittest.TestCase):
    def test_nonsense_is_refused_in_one_line(self):
        with Board("02") as board:
            for body in ("", "x", "[]", '"go"', "{", "null", "17"):
                self.assertEqual(board.post(body)[0], 400, body)
            for command in ({}, {"do": 5}, {"do": "format"}, {"do": "slow"}, {"do": "slow", "ms": -1}, {"do": "slow", "ms": 1e9},
                            {"do": "client", "count": 0}, {"do": "client", "count": "all"}, {"do": "hog", "count": 1001},
                            {"do": "leave", "client": 7}, {"do": "leave", "client": "x"}, {"do": "leave"},
                            {"do": "step"}, {"do": "ask"}, {"do": "ask", "text": "1\n2"}, {"do": "ask", "text": "9" * 201},
                            {"do": "kill"}, {"do": "kill", "id": 1}, {"do": "kill", "id": "x"}, {"do": "stage"}):
                status, why = board.post(json.dumps(command))
                self.assertEqual(status, 409, command)
                self.assertRegex(why, r"\A[^\n]+\n\Z", command)
            self.assertEqual(board.do("pause")[0], 200)
            for more in ({"id": "x"}, {"id": -1}, {"id": 4294967295}, {"id": 1e300}):
                self.assertEqual(board.do("step", **more)[0], 409, more)
            self.assertIn(board.post(json.dumps({"do": "x" * 5000}))[0], (400, 413))
            self.assertEqual(board.do("go")[0], 200)

    def test_no_program_is_started_except_a_stage_of_the_list(self):
        with Board("02") as board:
            before = board.others()
            for name in ("/bin/sh", "../../../../bin/sh", "02_threads;id", "$(id)", "compare", "", "02"):
                status, why = board.do("stage", name=name)
                self.assertEqual((status, why), (409, "there is no such stage\n"), name)
            self.assertEqual(board.others(), before)

    def test_viewers_are_told_which_clients_come_and_go(self):
        with Board("02") as board:
            frames = board.frames()
            self.assertTrue(next(frames)["key"])
            self.assertEqual(board.do("client")[0], 200)
            there = next(client for frame in frames for client in frame.get("c", []) if client[2] != 0)
            self.assertEqual(there[:2], [1, "client"])
            next(frame for frame in frames if frame.get("m", {}).get("rate", 0) > 0)
            # The server knows the same client by the port of its end.
            board.wait_for("it is in the table", lambda frame: any(
                place[1] == 1 and place[9] == there[2] for place in frame.get("p", [])))
            self.assertEqual(board.do("leave", client=1)[0], 200)
            next(frame for frame in frames if 1 in frame.get("cx", []))
            frames.close()

    def test_a_request_by_hand_gets_its_reply(self):
        with Board("02") as board:
            frames = board.frames()
            self.assertEqual(board.do("ask", text="30")[0], 200)
            said = []
            while len(said) < 2:
                said += next(frames).get("said", [])
            self.assertEqual([line[1:3] for line in said], [[False, "30"], [True, "832040"]])
            frames.close()

    def test_there_are_never_more_than_a_thousand_clients(self):
        with Board("07") as board:
            self.assertEqual(board.do("idle", count=999)[0], 200)
            self.assertEqual(board.do("idle")[0], 200)
            self.assertEqual(board.do("client")[0], 409)
            self.assertEqual(board.do("ask", text="1")[0], 409)
            board.wait_for("all are accepted", lambda frame: frame.get("key") and len(
                [place for place in frame.get("p", []) if place[1] == 1]) == 1000)
            self.assertEqual(board.do("leave", all=True)[0], 200)
            board.wait_for("all are gone", lambda frame: frame.get("key") and not any(
                place[1] == 1 for place in frame.get("p", [])))

    def test_another_stage_has_the_same_clients(self):
        with Board("02") as board:
            board.do("client", count=3)
            first = board.stage_port()
            self.assertEqual(board.do("stage", name="04_generators")[0], 200)
            frame = board.wait_for("they have come over", lambda frame: frame.get("key")
                                   and frame["stage"] == "04_generators" and len(frame.get("c", [])) == 3
                                   and all(client[2] for client in frame["c"]))
            self.assertEqual([client[0] for client in frame["c"]], [1, 2, 3])
            with self.assertRaises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", first))

    def test_a_stage_has_its_options_whenever_it_is_chosen(self):
        with Board("05", "--", "--pool", "threads") as board:
            self.assertEqual(board.run(1)["options"], "--pool threads")
            board.do("stage", name="02_threads")
            self.assertEqual(board.run(2)["options"], "")
            board.do("stage", name="05_futures")
            self.assertEqual(board.run(3)["options"], "--pool threads")
            (stage,) = board.others()  # with processes there would be more
            with open(f"/proc/{stage}/cmdline", encoding="utf-8") as file:
                self.assertIn("--pool\0threads\0", file.read())
            board.do("restart")
            self.assertEqual(board.run(4)["options"], "--pool threads")
            eventually("another process", lambda: board.others() not in ([stage], []))

    def test_the_chosen_worker_is_killed(self):
        with Board("05", "--", "--workers", "3") as board:
            board.do("hog", count=4)
            workers = board.wait_for("all of them compute", lambda frame: frame.get("key") and len(
                [place for place in frame.get("p", []) if place[1:3] == [3, 2]]) == 3)["p"]
            workers = [place for place in workers if place[1] == 3]
            frames = board.frames()
            chosen = max(workers)  # not the first
            self.assertEqual(board.do("kill", id=chosen[0]), (200, "done\n"))
            told = next(frame for frame in frames if "killed" in frame)
            self.assertEqual(told["killed"], [chosen[0]])
            frames.close()
            eventually("it is gone", lambda: chosen[10] not in board.others())
            self.assertTrue({place[10] for place in workers} - {chosen[10]} <= set(board.others()))
            self.assertEqual(board.do("kill", id=chosen[0])[0], 409)  # it has gone

    def test_a_worker_that_is_a_thread_cannot_be_killed(self):
        with Board("05", "--", "--pool", "threads") as board:
            self.assertEqual(board.do("kill"), (409, "the workers here are threads: none can be killed alone\n"))

    def test_if_a_frame_is_too_large_it_has_the_last_events_of_each(self):
        with Board("01") as board, Client(board.stage_port()) as client:
            frames = board.frames()
            client.file.write("1\n" * 20_000)  # a few events for each
            client.file.flush()
            thinned = next(frame for frame in frames if "thinned" in frame)
            self.assertLessEqual(len(thinned["e"]), 1500)
            self.assertGreater(len(thinned["e"]), 500)
            times = [event[4] for event in thinned["e"]]
            self.assertGreater(min(times[-100:]), thinned["t"] - 1_000_000)
            self.assertEqual({client.file.readline() for _ in range(20_000)}, {"1\n"})
            frames.close()

    def test_the_output_of_a_stage_before_it_listened_is_not_the_cause_of_its_end(self):
        with tempfile.TemporaryDirectory() as directory:
            with Board("99", "--", "1", program=board_beside(directory, os.environ["LIAR"])) as board:
                self.assertEqual(board.do("pause")[0], 200)
                board.wait_for("it is paused", lambda frame: frame["pace"] == "paused")
                (stage,) = board.others()
                os.kill(stage, signal.SIGKILL)
                ended = board.wait_for("it is told", lambda frame: "ended" in frame)
                self.assertEqual((ended["ended"], ended["pace"]), ("signal 9 (Killed)", "free"))
                board.do("restart")
                (stage,) = eventually("another one", board.others)
                os.kill(stage, signal.SIGTERM)
                board.wait_for("its own words are", lambda frame: frame.get("ended") == "exit status 3: liar: I was told to end")

    def test_a_process_that_is_not_below_the_stage_is_never_killed(self):
        bystander = subprocess.Popen(["sleep", "1000"])
        self.addCleanup(bystander.wait)
        self.addCleanup(bystander.kill)
        with tempfile.TemporaryDirectory() as directory:
            with Board("99", "--", str(bystander.pid), program=board_beside(directory, os.environ["LIAR"])) as board:
                board.wait_for("it has a worker", lambda frame: any(place[1] == 3 for place in frame.get("p", [])))
                self.assertEqual(board.do("kill")[0], 409)
                self.assertEqual(board.do("kill", id=7)[0], 409)
            self.assertIsNone(bystander.poll())

    def test_without_a_choice_a_worker_that_computes_is_killed(self):
        with Board("05", "--", "--workers", "8") as board:
            computes = lambda frame: [place[0] for place in frame.get("p", []) if place[1] == 3 and place[2] == 2]
            self.assertEqual(board.do("ask", text="50")[0], 200)  # half a minute of computing
            workers = board.wait_for("one computes", computes)
            self.assertEqual(board.do("kill"), (200, "done\n"))
            told = board.wait_for("it is told", lambda frame: "killed" in frame)
            self.assertEqual(told["killed"], computes(workers))

    def test_only_a_worker_can_be_killed(self):
        with Board("05") as board:
            self.assertEqual(board.do("ask", text="30")[0], 200)
            workers = board.wait_for("there are workers", lambda frame: frame.get("key") and any(
                place[1] == 3 for place in frame.get("p", [])))
            pids = {place[10] for place in workers["p"] if place[1] == 3}
            self.assertTrue(pids <= set(board.others()))
            self.assertEqual(board.do("kill"), (200, "done\n"))
            board.wait_for("it is told", lambda frame: "killed" in frame)
            eventually("it is gone", lambda: not pids <= set(board.others()))
            with Client(board.stage_port()) as client:
                self.assertEqual(client.ask("20"), "6765")

    def test_it_says_that_a_stage_has_ended_and_another_one_can_be_chosen(self):
        with Board("01") as board:
            (stage,) = board.others()
            with Client(board.stage_port()) as client:  # its log would say so, and that is no cause
                self.assertEqual(client.ask("20"), "6765")
                os.kill(stage, signal.SIGKILL)
                ended = board.wait_for("it is told", lambda frame: frame.get("key") and "ended" in frame)
            self.assertEqual(ended["ended"], "signal 9 (Killed)")
            self.assertEqual(ended.get("p", []), [])  # whatever the memory says
            self.assertNotIn("port", ended.get("m", {}))
            self.assertEqual(board.do("pause"), (409, "no stage is running; r starts it again\n"))
            self.assertEqual(board.do("restart")[0], 200)
            with Client(board.stage_port("01_blocking", run=2)) as client:
                self.assertEqual(client.ask("20"), "6765")
            self.assertEqual(board.do("stage", name="02_threads")[0], 200)
            with Client(board.stage_port("02_threads")) as client:
                self.assertEqual(client.ask("20"), "6765")

    def test_the_number_of_viewers_is_limited(self):
        with Board("01") as board:
            watching = []
            for _ in range(16):
                frames = board.frames()
                next(frames)
                watching.append(frames)
            self.assertEqual(board.request("GET", board.path + "frames")[0], 503)
            self.assertEqual(board.do("client")[0], 200)  # commands have threads of their own
            for frames in watching:
                frames.close()
            eventually("there is room again", lambda: self.can_watch(board))

    @staticmethod
    def can_watch(board):
        try:
            frames = board.frames()
            next(frames)
            frames.close()
            return True
        except AssertionError:
            return False


class Bounds(unittest.TestCase):
    """None of these clients needs the token."""

    def connect(self, board):
        connection = socket.create_connection(("127.0.0.1", board.port), timeout=PATIENCE)
        self.addCleanup(connection.close)
        return connection

    def feed(self, connection, pieces):
        """Sends until the other side refuses more."""
        deadline = time.monotonic() + PATIENCE
        try:
            for piece in pieces:
                connection.sendall(piece)
                self.assertLess(time.monotonic(), deadline, "it takes whatever comes")
        except (BrokenPipeError, ConnectionResetError):
            pass

    def test_a_byte_now_and_then_does_not_keep_it_from_ending(self):
        with Board("01") as board:
            connection = self.connect(board)
            connection.sendall(b"GET /aaaa")
            stopped = threading.Event()

            def trickle():
                try:
                    while not stopped.wait(0.2):
                        connection.sendall(b"a")
                except OSError:
                    pass

            feeder = threading.Thread(target=trickle)
            feeder.start()
            try:
                board.request("GET")  # the page is served beside that one
                board.program.send_signal(signal.SIGINT)
                self.assertEqual(board.program.wait(PATIENCE), 0)
            finally:
                stopped.set()
                feeder.join()

    def test_a_connection_without_a_request_is_shut_down_and_a_viewer_is_not(self):
        with Board("01") as board:
            frames = board.frames()
            next(frames)
            slow = self.connect(board)

            def bytes_without_an_end():
                while True:
                    yield b"a"
                    time.sleep(0.1)

            self.feed(slow, itertools.chain([b"GET /"], bytes_without_an_end()))
            self.assertEqual(board.do("client")[0], 200)  # what comes now has not been sent before
            next(frame for frame in frames if frame.get("c"))
            frames.close()

    def test_neither_an_endless_line_nor_endless_headers_fill_its_memory(self):
        with Board("01") as board:
            def memory():
                with open(f"/proc/{board.program.pid}/status", encoding="ascii") as file:
                    return int(re.search(r"VmHWM:\s+(\d+) kB", file.read())[1])

            board.request("GET")
            before = memory()
            for begin, piece in ((b"GET /", b"a" * 65536), (b"GET / HTTP/1.1\r\n", b"x: " + b"a" * 1000 + b"\r\n")):
                self.feed(self.connect(board), itertools.chain([begin], itertools.repeat(piece)))
            self.assertLess(memory() - before, 60_000)  # kB
            self.assertEqual(board.request("GET")[0], 200)


def board_beside(directory, program):
    """A board whose only stage is this program, 99_liar."""
    for folder in ("clients", "stages"):
        os.mkdir(os.path.join(directory, folder))
    shutil.copy(program, os.path.join(directory, "stages", "99_liar"))
    with open(os.path.join(directory, "stages", "stages.tsv"), "w", encoding="utf-8") as table:
        table.write("99_liar\tthe talk\ta thread per client\t-\t-\tstages/99_liar.cpp\n")
    return shutil.copy(BOARD, os.path.join(directory, "clients", "board"))


class Several(unittest.TestCase):
    """Two servers beside each other, and a server that is none of ours."""

    def test_each_of_two_has_a_page_and_gets_its_own_commands(self):
        with Board("02", "05") as board:
            status, text = board.request("GET")
            self.assertEqual(status, 200)
            self.assertIn('<iframe src="0/"', text)
            self.assertIn("frame-src 'self'", board.headers["Content-Security-Policy"])
            self.assertIn("frame-ancestors 'none'", board.headers["Content-Security-Policy"])
            for number in "01":
                self.assertEqual(board.request("GET", f"{board.path}{number}/")[0], 200)
                self.assertIn("frame-ancestors 'self'", board.headers["Content-Security-Policy"])
                self.assertEqual(board.headers["X-Frame-Options"], "SAMEORIGIN")
            for path in ("2/", "2/frames", "00/", "0", "-/", "0/0/", "0/1/frames"):
                self.assertEqual(board.request("GET", board.path + path)[0], 404, path)
            self.assertEqual(board.do("client")[0], 409, "which of them?")
            usual = {"Origin": f"http://{board.host}", "Content-Type": "application/json"}
            self.assertEqual(board.request("POST", board.path + "1/do", usual, '{"do":"client","count":3}')[0], 200)

            def clients(number):
                text = board.request("GET", f"{board.path}{number}/frames?after=0")[1]
                return max(frame["m"]["clients"] for frame in json.loads(text)["frames"] if "m" in frame)

            eventually("the right one has them", lambda: clients(1) == 3)
            self.assertEqual(clients(0), 0)

    def test_a_program_of_ones_own_is_shown_with_its_own_source(self):
        stage = os.path.join(os.path.dirname(os.path.dirname(BOARD)), "stages", "02_threads")
        with tempfile.TemporaryDirectory() as directory:
            shutil.copy(stage, os.path.join(directory, "02_threads"))
            for path in (directory, os.path.join(directory, "02_threads")):
                with Board("--program", path) as board:
                    text = board.request("GET")[1]
                    stages = {stage["name"]: stage for stage in json.loads(re.search(r'id="stages">(.*?)</script>', text, re.DOTALL)[1])}
                    mine = stages["yours: 02_threads"]
                    self.assertEqual(mine["file"], "stages/02_threads.cpp")
                    self.assertEqual(mine["source"], stages["02_threads"]["source"])
                    board.wait_for("it is watched", lambda frame: frame.get("stage") == "yours: 02_threads" and frame.get("p"))
                    with Client(board.stage_port("yours")) as client:
                        self.assertEqual(client.ask("20"), "6765")

    def test_a_program_that_cannot_be_watched_is_refused(self):
        with tempfile.TemporaryDirectory() as directory:
            program = os.path.join(directory, "server")
            with open(program, "w", encoding="utf-8") as script:
                script.write("#!/bin/sh\necho 'listening on 127.0.0.1:1'\nexec sleep 60\n")
            os.chmod(program, 0o755)
            done = subprocess.run([BOARD, "--program", program], capture_output=True, text=True, timeout=PATIENCE)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn("not built on common/", done.stderr)


class Endings(unittest.TestCase):
    def started(self, *arguments):
        board = Board(*arguments)
        self.addCleanup(board.__exit__)
        return board

    def gone(self, board):
        eventually("no process is left", lambda: not processes_of(board.program.pid))

    def test_ctrl_c_leaves_nothing_behind(self):
        board = self.started("05")
        board.do("client", count=5)
        board.do("hog")
        board.do("pause")
        frames = board.frames()
        next(frames)
        os.killpg(board.program.pid, signal.SIGINT)  # as a terminal does
        self.assertEqual(board.program.wait(PATIENCE), 0)
        self.gone(board)
        for _ in frames:  # a page that watches has reached its end
            pass

    def test_nor_does_a_board_that_is_killed(self):
        board = self.started("03")
        board.do("hog", count=2)
        self.assertGreater(len(board.others()), 1)
        board.do("pause")
        board.program.kill()
        self.gone(board)

    def test_a_stage_that_is_paused_goes_on_when_its_board_is_stopped(self):
        for stage in ("01", "02", "04", "07"):
            with self.subTest(stage=stage), Board(stage) as board:
                port = board.stage_port()
                self.assertEqual(board.do("pause")[0], 200)
                with Client(port) as client:
                    client.file.write("20\n")
                    client.file.flush()
                    client.socket.settimeout(0.5)  # in which all others would be answered
                    with self.assertRaises(TimeoutError):
                        client.socket.recv(1)
                    client.socket.settimeout(PATIENCE)
                    os.kill(board.program.pid, signal.SIGSTOP)
                    self.assertEqual(client.socket.recv(100), b"6765\n")
                os.kill(board.program.pid, signal.SIGCONT)

    def test_a_recording_is_a_page_of_its_own(self):
        with tempfile.TemporaryDirectory() as directory:
            file = os.path.join(directory, "it's a page.html")
            done = subprocess.run([BOARD, "02", "--with", "client,2*idle", "--for", "4", "--record", file], capture_output=True,
                                  text=True, timeout=PATIENCE)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn(file, done.stdout)
            with open(file, encoding="utf-8") as page:
                text = page.read()
        frames = json.loads(re.search(r'id="frames">(.*?)</script>', text, re.DOTALL)[1])
        self.assertTrue(frames[0]["key"])
        self.assertEqual(frames[-1]["pace"], "free")
        numbers = {client[0] for frame in frames for client in frame.get("c", [])}
        self.assertEqual(numbers, {1, 2, 3})
        stages = json.loads(re.search(r'id="stages">(.*?)</script>', text, re.DOTALL)[1])
        self.assertEqual([stage["name"] for stage in stages], ["02_threads"])
        self.assertIn("connect-src 'none'", text)

    def test_a_mistake_gets_one_line(self):
        for arguments, status in ((["nosuch"], 1), (["10"], 1), (["02", "03", "04"], 2), (["02", "--program", "/no/such/program"], 1), (["--program", "/bin"], 1), (["02", "03", "--program", "/bin/true"], 2), (["02", "03", "--record", "x.html"], 2), (["02", "--guard", "none"], 2), (["0"], 1), (["--for", "soon"], 2), (["--with", "wolf"], 2), (["--with", "0*hog"], 2),
                                  (["--record", "/no/such/file.html", "02"], 1), (["02", "--", "--no-such-option"], 1), (["--port", "70000"], 2)):
            done = subprocess.run([BOARD, *arguments], capture_output=True, text=True, timeout=PATIENCE)
            self.assertEqual(done.returncode, status, (arguments, done))
            self.assertRegex(done.stderr, r"\Aboard: [^\n]+\n\Z", arguments)
            self.assertEqual(done.stdout, "", arguments)

    def test_a_stages_option_without_the_dashes_gets_a_hint(self):
        done = subprocess.run([BOARD, "05", "--pool", "threads"], capture_output=True, text=True, timeout=PATIENCE)
        self.assertIn("board 05 -- --pool threads", done.stderr)


if __name__ == "__main__":
    unittest.main()
