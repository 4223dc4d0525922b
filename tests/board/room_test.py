#!/usr/bin/env python3
"""The room, attacked as a student would: all of it over HTTP, from addresses that are not the instructor's."""

import itertools
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import unittest

from phones import Phone, connect, source
from support import BOARD, PATIENCE, Board, eventually, processes_of


class RoomBoard(Board):
    def __init__(self, *arguments, place="127.0.0.1:0"):
        super().__init__(*arguments, "--room", place)
        line = self.program.stdout.readline()
        self.place = re.search(r"http://([^/]+)/", line)[1]

    def phone(self, name="", number=0):
        phone = Phone(self.place, source(number), PATIENCE)
        if name:
            status = phone.join(name)
            assert status == 200, status
        return phone

    def room(self, condition=lambda _: True):
        """The first news of the room, of those that the board's page gets, for which this holds."""
        def look():
            news = json.loads(self.request("GET", self.path + "frames?after=0")[1])["room"]
            return news if condition(news) else None
        return eventually("the room is as it should be", look)


def listeners(pid):
    """The addresses at which a process and its descendants listen."""
    sockets = set()
    for process in processes_of(pid):
        try:
            for entry in os.scandir(f"/proc/{process}/fd"):
                try:
                    sockets.add(os.readlink(entry.path))
                except OSError:
                    pass
        except OSError:
            pass
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table, encoding="ascii") as file:
            for line in list(file)[1:]:
                fields = line.split()
                if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                    address, port = fields[1].split(":")
                    found.append((".".join(str(byte) for byte in reversed(bytes.fromhex(address))), int(port, 16)))
    return sorted(found)


class Reach(unittest.TestCase):
    """What can be reached from elsewhere."""

    def test_without_a_room_it_listens_on_the_loopback_alone(self):
        with Board("02") as board:
            found = listeners(board.program.pid)
            self.assertEqual({address for address, _ in found}, {"127.0.0.1"})
            self.assertEqual(len(found), 2, "the page and the stage")
            self.assertNotEqual(board.do("big", allowed=True)[0], 200)

    def test_with_a_room_one_port_more_listens_and_only_at_the_rooms_address(self):
        with RoomBoard("02", place="127.0.0.9:0") as board:
            found = listeners(board.program.pid)
            address, _, port = board.place.partition(":")
            self.assertEqual(address, "127.0.0.9")
            self.assertEqual([where for where in found if where[0] != "127.0.0.1"], [(address, int(port))])
            self.assertEqual(len(found), 3)

    def test_a_room_needs_an_address_of_this_machine(self):
        for arguments, why in ((["--room", "192.0.2.77"], "is no address of this machine"), (["--room", "0.0.0.0"], "no address of a machine"),
                               (["--room", "1.2.3.4:99999"], "no port"), (["--room", "1.2.3.400"], "no address of a machine"),
                               (["--in-container", "--room"], "published")):
            done = subprocess.run([BOARD, "02", *arguments], capture_output=True, text=True, timeout=PATIENCE)
            self.assertEqual((done.returncode, done.stdout), (1, ""), arguments)
            self.assertRegex(done.stderr, rf"\Aboard: [^\n]*{why}[^\n]*\n\Z", arguments)


class Door(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.board = RoomBoard("02")

    @classmethod
    def tearDownClass(cls):
        cls.board.__exit__()

    def test_the_page_is_there_and_may_load_nothing_from_elsewhere(self):
        with self.board.phone() as phone:
            status, text = phone.request("GET", "/")
            self.assertEqual(status, 200)
            policy = phone.headers["Content-Security-Policy"]
            nonce = re.search(r"script-src 'nonce-([0-9a-f]{32})'", policy)[1]
            self.assertTrue(policy.startswith("default-src 'none'"), policy)
            self.assertIn(f'<script nonce="{nonce}">', text)
            self.assertNotIn(nonce, phone.request("GET", "/")[1])
            self.assertNotIn(self.board.path.strip("/"), text, "the board's token")

    def test_nothing_else_is_offered(self):
        token = self.board.path.strip("/")
        with self.board.phone("Eve", 1) as phone:
            for path in (f"/{token}/", f"/{token}/do", f"/{token}/frames", "/do", "/frames", "/frames?after=0", "/phones", "/names", "/..",
                         "//", "/../../etc/passwd", "/join/", "/state/../do", "/%6aoin", "/favicon.ico", "/index.html"):
                for method in ("GET", "POST"):
                    status, _ = phone.request(method, path, "{}" if method == "POST" else None)
                    self.assertEqual(status, 404, (method, path))
            for method, path in (("POST", "/"), ("PUT", "/"), ("DELETE", "/state"), ("OPTIONS", "/join"), ("GET", "/join"), ("GET", "/vote"),
                                 ("GET", "/ask"), ("GET", "/leave"), ("HEAD", "/"), ("TRACE", "/"), ("CONNECT", "/"), ("POST", "/state?after=0")):
                self.assertEqual(phone.request(method, path)[0], 405, (method, path))

    def test_the_boards_commands_are_none_of_the_rooms(self):
        with self.board.phone("Eve", 2) as phone:
            before = self.board.others()
            for path in ("/ask", "/vote", "/join"):
                for command in ({"do": "kill"}, {"do": "stage", "name": "01_blocking"}, {"do": "show"}, {"do": "big", "allowed": True},
                                {"do": "question", "stage": "02_threads"}, {"do": "hog", "count": 100}):
                    phone.request("POST", path, json.dumps(command))
            news = self.board.room()
            self.assertEqual((news["big"], news.get("question")), (False, None))
            self.assertEqual(self.board.others(), before)
            for n in (45, "45", -1, 10 ** 30):
                phone.request("POST", "/ask", json.dumps({"big": n, "n": n, "text": str(n)}))
            state = phone.until(lambda state: "reply" in state["servers"][0])
            self.assertEqual(state["servers"][0]["n"], 20, "a phone does not say which number")

    def test_another_host_gets_nothing(self):
        # The name of another page may have been made to point here after that page was loaded.
        port = self.board.place.partition(":")[2]
        with self.board.phone() as phone:
            for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{int(port) + 1}", f"localhost:{port}", "", None,
                         f"127.0.0.1:{port}.evil", f"127.0.0.1.:{port}", f"user@127.0.0.1:{port}"):
                for path in ("/", "/state?after=0"):
                    self.assertEqual(phone.request("GET", path, headers={"Host": host})[0], 403, host)
                self.assertEqual(phone.request("POST", "/join", '{"name":"x"}', {"Host": host})[0], 403, host)

    def test_the_boards_own_page_refuses_the_rooms_name(self):
        self.assertEqual(self.board.request("GET", headers={"Host": self.board.place})[0], 403)
        self.assertEqual(self.board.post('{"do":"client"}', Origin=f"http://{self.board.place}")[0], 403)

    def test_another_origin_gets_nothing(self):
        with self.board.phone() as phone:
            for origin in ("http://evil.example", "null", f"https://{self.board.place}", "", f"http://{self.board.host}"):
                self.assertEqual(phone.request("POST", "/join", '{"name":"x"}', {"Origin": origin})[0], 403, origin)
                self.assertEqual(phone.request("GET", "/state?after=0", headers={"Origin": origin})[0], 403, origin)
            # A form of another page may omit the origin, but can't send JSON.
            for kind in ("text/plain", "application/x-www-form-urlencoded", "text/plain; application/json", None):
                self.assertEqual(phone.request("POST", "/join", '{"name":"x"}', {"Origin": None, "Content-Type": kind})[0], 415, kind)

    def test_nonsense_is_refused_in_one_line(self):
        with self.board.phone("Eve", 3) as phone:
            for body in ("", "x", "[]", "null", "{", '"a"', "[" * 400, '{"name":'):
                status, why = phone.request("POST", "/join", body)
                self.assertEqual(status, 400, body)
                self.assertRegex(why, r"\A[^\n]+\n\Z", body)
            for name in (5, None, [], {}, "", "  ", "\u202e\u200b"):
                self.assertEqual(phone.request("POST", "/join", json.dumps({"name": name}))[0], 400, name)
            for query in ("", "?", "?after=", "?after=x", "?after=-1", "?after=1x", "?after=99999999999999999999", "?x=1", "?after=1&x=2"):
                self.assertEqual(phone.request("GET", "/state" + query)[0], 400, query)

    def test_another_phones_client_cannot_be_moved(self):
        with self.board.phone("Ann", 4) as ann, self.board.phone("Eve", 5) as eve:
            for token in ("", "Ann", ann.token[:-1], ann.token + "0", ann.token + " 0", "0" * 32, "' or 1"):
                eve.token = token
                self.assertEqual(eve.ask(), 410, token)
                self.assertEqual(eve.leave(), 410, token)
                self.assertEqual(eve.state(), {"status": 410}, token)
            for header in (None, ann.token, f"Bearer {ann.token}", f"phone {ann.token}", "Phone"):
                self.assertEqual(eve.request("POST", "/leave", "{}", {"Authorization": header})[0], 410, header)
            news = self.board.room(lambda news: any(phone[1] == "Ann" for phone in news["phones"]))
            self.assertNotIn(ann.token, json.dumps(news))
            self.assertEqual(ann.state()["name"], "Ann")

    def test_a_name_is_text_wherever_it_is_shown(self):
        name = "</script><b>"
        with self.board.phone(name, 6) as phone:
            self.assertEqual(phone.name, name)
            self.board.room(lambda news: any(phone[1] == name for phone in news["phones"]))
            self.assertEqual(self.board.request("GET")[1].count(name), 0, "names are in no page, only in JSON")
            self.assertEqual(phone.request("GET", "/")[1].count(name), 0)


class Playing(unittest.TestCase):
    def test_a_phone_is_a_client_of_the_server(self):
        with RoomBoard("02") as board, board.phone("Ann", 1) as ann:
            number = ann.state()["servers"][0]["client"]
            frame = board.wait_for("its client is there", lambda frame: any(
                client[:2] == [number, "phone"] and client[2] for client in frame.get("c", [])))
            self.assertTrue(frame)
            self.assertEqual(ann.ask(), 200)
            state = ann.until(lambda state: "reply" in state["servers"][0])["servers"][0]
            self.assertEqual((state["name"], state["reply"], state["n"]), ("02_threads", "6765", 20))
            self.assertGreater(state["ms"], 0)
            self.assertEqual(ann.leave(), 200)
            board.wait_for("it has left", lambda frame: number in frame.get("cx", []))
            self.assertEqual(ann.state(), {"status": 410})

    def test_it_waits_while_the_server_does_not_come_to_it(self):
        with RoomBoard("01", "--with", "idle") as board:
            board.wait_for("the idle one is there", lambda frame: any(place[1] == 1 for place in frame.get("p", [])))
            with board.phone("Ann", 1) as ann:
                self.assertEqual(ann.ask(), 200)
                board.room(lambda news: news["phones"] and (news["phones"][0][3][0] or 0) > 300)
                self.assertEqual(ann.ask(), 409, "one request at a time")
                self.assertIn("waits", ann.state()["servers"][0])
                board.do("leave")  # the idle one
                state = ann.until(lambda state: "reply" in state["servers"][0])["servers"][0]
                self.assertEqual(state["reply"], "6765")
                self.assertGreater(state["ms"], 300)

    def test_big_ones_are_for_when_the_instructor_says_so(self):
        with RoomBoard("05") as board, board.phone("Ann", 1) as ann:
            self.assertEqual((ann.state()["big"], ann.ask(big=True)), (False, 403))
            self.assertEqual(board.do("big", allowed=True)[0], 200)
            ann.until(lambda state: state["big"])
            time.sleep(0.3)  # a phone's requests are that far apart
            self.assertEqual(ann.ask(big=True), 200)
            state = ann.until(lambda state: "reply" in state["servers"][0])["servers"][0]
            self.assertEqual((state["reply"], state["n"]), ("267914296", 42))

    def test_a_server_that_is_restarted_owes_nothing(self):
        with RoomBoard("01", "--with", "idle") as board:
            board.wait_for("the idle one is there", lambda frame: any(place[1] == 1 for place in frame.get("p", [])))
            with board.phone("Ann", 1) as ann:
                ann.ask()
                board.room(lambda news: news["phones"] and news["phones"][0][3][0])
                self.assertEqual(board.do("stage", name="02_threads")[0], 200)
                state = ann.until(lambda state: state["servers"][0]["name"] == "02_threads" and "waits" not in state["servers"][0])
                time.sleep(0.3)
                self.assertEqual(ann.ask(), 200)
                ann.until(lambda state: state["servers"][0].get("reply") == "6765")

    def test_votes_are_hidden_until_they_are_shown_and_each_phone_has_one(self):
        with RoomBoard("02") as board, board.phone("Ann", 1) as ann, board.phone("Ben", 2) as ben:
            self.assertEqual(board.do("question", stage="02_threads")[0], 200)
            question = ann.until(lambda state: "question" in state)["question"]
            serial = question["serial"]
            for answer in (0, 1, 1, 1, 0, 1):
                self.assertEqual(ann.vote(serial, answer), 200)
            self.assertEqual(ben.vote(serial, 1), 200)
            self.assertIn(ben.vote(serial, len(question["answers"])), (400,))
            self.assertEqual(ben.vote(serial + 1, 1), 409)
            news = board.room(lambda news: news["question"]["votes"] == 2)
            self.assertNotIn("counts", json.dumps([news, ann.state(), ben.state()]))
            self.assertNotIn("right", json.dumps([news, ann.state(), ben.state()]))
            self.assertEqual(board.do("show")[0], 200)
            shown = ann.until(lambda state: "counts" in state.get("question", {}))["question"]
            self.assertEqual(shown["counts"][:2], [0, 2])
            self.assertEqual(ann.vote(serial, 0), 409)
            # A second round is another question, and a phone that has left has no vote in it.
            self.assertEqual(board.do("again")[0], 200)
            self.assertEqual(ben.vote(serial, 1), 409)
            token = ben.token
            self.assertEqual(ben.vote(serial + 1, 1), 200)
            self.assertEqual(ben.leave(), 200)
            self.assertEqual(ben.join("Ben"), 200)
            for stale in (token, token.upper()):
                with Phone(board.place, ben.source) as eve:
                    eve.token = stale
                    self.assertEqual((eve.vote(serial + 1, 0), eve.ask(), eve.leave(), eve.state()), (410, 410, 410, {"status": 410}))
            self.assertEqual(board.room()["question"]["votes"], 0)
            for answer in (1.0, "1", -1, [1], True, None, {}, 2 ** 64):
                self.assertEqual(ann.vote(serial + 1, answer), 400, answer)
                self.assertEqual(ann.vote(answer, 1), 409, answer)
            self.assertEqual(board.do("close")[0], 200)
            ann.until(lambda state: "question" not in state)


class Bounds(unittest.TestCase):
    def test_thousands_of_joins_fill_neither_the_room_nor_the_memory(self):
        with RoomBoard("02") as board, board.phone("Ann", 9) as ann:
            statuses = []
            ann.close()  # a connection that is not used is ended
            with Phone(board.place, source(1)) as phone:
                for _ in range(1000):
                    try:
                        statuses.append(phone.join("x"))
                    except OSError:
                        statuses.append(0)
            # Four at a time: one that has been silent for 20 s gives its place.
            self.assertEqual(len([phone for phone in board.room()["phones"] if phone[1].startswith("x")]), 4)
            self.assertGreater(statuses.count(429), 700)
            self.assertLessEqual(set(statuses), {200, 429, 0})
            # Others can still join, but only so many in a second.
            joined, end = 0, time.monotonic() + PATIENCE
            for number in itertools.cycle(range(10, 260)):
                with Phone(board.place, source(number)) as phone:
                    joined += phone.join("x") == 200
                if joined > 10 or time.monotonic() > end:
                    break
            self.assertLessEqual(len(board.room()["phones"]), 300)
            self.assertEqual(ann.state()["name"], "Ann", "its place was not taken")
            self.assertGreater(joined, 10)

    def test_an_address_that_joins_and_leaves_again_and_again_keeps_no_other_out(self):
        with RoomBoard("02") as board:
            statuses, over = [], threading.Event()

            def come_and_go():
                with Phone(board.place, source(1)) as phone:
                    while not over.is_set():
                        try:
                            statuses.append(phone.join("x"))
                            phone.leave()
                        except OSError:
                            pass

            began = time.monotonic()
            feeders = [threading.Thread(target=come_and_go) for _ in range(4)]
            for feeder in feeders:
                feeder.start()
            try:
                eventually("it has had its share", lambda: 429 in statuses)
                for number in range(10, 30):  # within what may come at once
                    with Phone(board.place, source(number)) as phone:
                        self.assertEqual(phone.join("Ann"), 200)
            finally:
                over.set()
                for feeder in feeders:
                    feeder.join()
            self.assertLess(statuses.count(200), 20 + (time.monotonic() - began))  # 8 at once, then one a second

    def test_a_few_addresses_cannot_take_all_connections(self):
        with RoomBoard("02") as board:
            held = []
            try:
                for number in range(70):
                    with Phone(board.place, source(number)) as phone:
                        eventually("it is in", lambda phone=phone: phone.join("x") == 200)
                        for _ in range(15):
                            held.append(connect(board.place, phone.source))
                            held[-1].sendall(f"GET /state?after=0 HTTP/1.1\r\nHost: {board.place}\r\n"
                                             f"Authorization: Phone {phone.token}\r\n\r\n".encode() * 4)  # and reads none of them
                for number in range(100, 110):
                    with board.phone(number=number) as ann:
                        eventually("she is in", lambda ann=ann: ann.join("Ann") == 200)
                        self.assertEqual(ann.ask(), 200)
                        ann.until(lambda state: "reply" in state["servers"][0])
            finally:
                for connection in held:
                    connection.close()

    def test_slow_ones_are_ended_and_delay_no_other(self):
        with RoomBoard("02") as board:
            slow = [connect(board.place, source(number)) for number in range(40) for _ in range(10)]
            try:
                for index, connection in enumerate(slow):
                    connection.sendall((b"", b"G", b"GET / HTTP/1.1\r\nHost: ", b"POST /join HTTP/1.1\r\nContent-Length: 500\r\n\r\n{")[index % 4])
                with board.phone("Ann", 200) as ann:
                    begin = time.monotonic()
                    ann.ask()
                    ann.until(lambda state: "reply" in state["servers"][0])
                    self.assertLess(time.monotonic() - begin, 4, "no slow one has been ended by then")
                stopped = threading.Event()

                def trickle():
                    while not stopped.wait(0.5):
                        for connection in slow[1::4]:
                            try:
                                connection.sendall(b"a")
                            except OSError:
                                pass

                feeder = threading.Thread(target=trickle)
                feeder.start()
                try:
                    for connection in slow:
                        connection.settimeout(PATIENCE)
                        try:
                            self.assertEqual(connection.recv(100), b"")
                        except ConnectionError:
                            pass
                finally:
                    stopped.set()
                    feeder.join()
            finally:
                for connection in slow:
                    connection.close()

    def test_one_address_has_a_share_of_the_connections(self):
        with RoomBoard("02") as board:
            many = []
            try:
                for _ in range(200):
                    many.append(connect(board.place, source(1)))
                ended = 0
                for connection in many:
                    connection.settimeout(0.01 if ended >= 184 else PATIENCE)
                # All but 16 are ended at once; nothing is sent to them.
                def over():
                    count = 0
                    for connection in many:
                        connection.setblocking(False)
                        try:
                            count += connection.recv(1) == b""
                        except BlockingIOError:
                            pass
                        except OSError:
                            count += 1
                    return count >= 184
                eventually("the others are ended", over)
                with board.phone("Ann", 2) as ann:
                    self.assertEqual(ann.ask(), 200)
            finally:
                for connection in many:
                    connection.close()

    def test_huge_heads_and_bodies_are_refused_and_take_no_memory(self):
        with RoomBoard("02") as board:
            def memory():
                with open(f"/proc/{board.program.pid}/status", encoding="ascii") as file:
                    return int(re.search(r"VmHWM:\s+(\d+) kB", file.read())[1])

            with board.phone("Ann", 1):
                pass
            before = memory()
            head = f"POST /join HTTP/1.1\r\nHost: {board.place}\r\n".encode()
            for begin, piece, status in ((b"GET /", b"a" * 65536, b"431"), (head, b"x: " + b"a" * 1000 + b"\r\n", b"431"),
                                         (head + b"Content-Length: 100000000\r\n\r\n", b"a" * 65536, b"413"),
                                         (head + b"Transfer-Encoding: chunked\r\n\r\n", b"ffff\r\n" + b"a" * 65535 + b"\r\n", b"501")):
                for number in range(8):
                    with connect(board.place, source(number)) as connection:
                        try:
                            connection.sendall(begin)
                            for _ in range(26_000_000 // len(piece)):
                                connection.sendall(piece)
                        except OSError:
                            pass  # it has been told, and was not interested
                        else:
                            self.fail("it took 26 MB")
                with connect(board.place, source(20)) as connection:
                    connection.sendall(begin + piece * (8 if len(piece) < 5000 else 1))
                    self.assertIn(status, connection.recv(200).split(b"\r\n")[0])
            self.assertLess(memory() - before, 20_000)  # kB
            self.assertEqual(board.request("GET")[0], 200)

    def test_a_flood_of_requests_is_answered_with_no(self):
        with RoomBoard("02") as board, board.phone("Ann", 1) as ann, Phone(board.place, source(2)) as eve:
            statuses = []
            for _ in range(600):
                try:
                    statuses.append(eve.request("GET", "/")[0])
                except OSError:
                    statuses.append(0)
            self.assertIn(429, statuses)
            self.assertEqual(ann.ask(), 200)


class Endings(unittest.TestCase):
    def test_ctrl_c_leaves_nothing_behind(self):
        board = RoomBoard("04")
        self.addCleanup(board.__exit__)
        phones = [board.phone(f"p{number}", number) for number in range(20)]
        waiting = []
        for phone in phones:
            state = phone.state()
            connection = connect(board.place, phone.source)
            connection.sendall(f"GET /state?after={state['version']} HTTP/1.1\r\nHost: {board.place}\r\n"
                               f"Authorization: Phone {phone.token}\r\n\r\n".encode())
            waiting.append(connection)
        waiting.append(connect(board.place, source(99)))  # has said nothing
        os.killpg(board.program.pid, signal.SIGINT)
        self.assertEqual(board.program.wait(PATIENCE), 0)
        eventually("no process is left", lambda: not processes_of(board.program.pid))
        for connection in waiting:
            try:
                while connection.recv(1000):
                    pass
            except ConnectionError:
                pass
            connection.close()
        with self.assertRaises(ConnectionRefusedError):
            connect(board.place)
        for phone in phones:
            phone.close()

    def test_a_recording_has_no_names(self):
        import tempfile
        with tempfile.TemporaryDirectory() as directory:
            file = os.path.join(directory, "room.html")
            with RoomBoard("02", "--record", file) as board:
                with board.phone("Zaphod", 1) as phone:
                    phone.ask()
                    board.room(lambda news: news["phones"])
                    board.run(1)
            with open(file, encoding="utf-8") as page:
                text = page.read()
        self.assertIn('"phone"', text)
        self.assertNotIn("Zaphod", text)


if __name__ == "__main__":
    unittest.main()
