"""Every peer of scripts/peers that can run here behaves like the stages in a conversation, and at its end."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parents[2]
specification = importlib.util.spec_from_file_location("peers", ROOT / "scripts" / "shared" / "peers.py")
peers = importlib.util.module_from_spec(specification)
specification.loader.exec_module(peers)

PATIENCE = 60  # seconds; only a failure waits so long


def processes_of(session):
    """The processes of a session, except zombies."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _, _, sid = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            except OSError:
                continue  # it has just ended
            if int(sid) == session and state != "Z":
                found.append(int(entry.name))
    return found


class Running:
    """A peer that listens, in a session of its own."""

    def __init__(self, peer):
        self.process = subprocess.Popen([peer.program, "--port", "0", "--quiet"], start_new_session=True, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        line = self.process.stdout.readline()
        if " listening on 127.0.0.1:" not in line:
            self.process.kill()
            raise AssertionError(f"{peer.name} says {line!r}, {self.process.communicate()[1]!r}")
        self.port = int(line.rsplit(":", 1)[1])

    def stop(self):
        for pid in processes_of(self.process.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.communicate()

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def said_to(self, *segments):
        """All that a client receives if it sends this and half-closes."""
        with self.connect() as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for segment in segments:
                client.sendall(segment)
            client.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: client.recv(4096), b""))


def conformance(peer):
    class Conformance(unittest.TestCase):
        @classmethod
        def setUpClass(cls):
            if why := peer.missing():
                raise unittest.SkipTest(f"{peer.name}: {why}")
            peer.build()

        def setUp(self):
            self.server = Running(peer)
            self.addCleanup(self.server.stop)

        def test_the_right_number(self):
            with self.server.connect() as client:
                for n, fib in (b"1", b"1"), (b"2", b"1"), (b"0", b"1"), (b"10", b"55"), (b" +20\t", b"6765"):
                    client.sendall(n + b"\n")
                    self.assertEqual(client.makefile("rb").readline(), fib + b"\n")

        def test_an_error_and_the_connection_stays_open(self):
            expected = {b"x": b"not a number, send one like 30", b"1 2": b"not a number, send one like 30",
                        b"+": b"not a number, send one like 30", b"-1": b"negative number, the smallest is 0",
                        b"51": b"number too large, the largest is 50",
                        b"9" * 40: b"number too large, the largest is 50"}
            with self.server.connect() as client:
                replies = client.makefile("rb")
                for request, reason in expected.items():
                    client.sendall(request + b"\n")
                    self.assertEqual(replies.readline(), b"[Error] " + reason + b"\n")
                client.sendall(b"10\n")
                self.assertEqual(replies.readline(), b"55\n")

        def test_several_requests_in_one_segment(self):
            self.assertEqual(self.server.said_to(b"1\n10\nx\r\n\n \n20\r11\n"),
                             b"1\n55\n[Error] not a number, send one like 30\n6765\n89\n")
            self.assertEqual(self.server.said_to(b"10\n" * 5000), b"55\n" * 5000)

        def test_a_request_in_several_segments(self):
            with self.server.connect() as client:
                replies = client.makefile("rb")
                client.sendall(b"5\n2")
                self.assertEqual(replies.readline(), b"5\n")  # so the server has had the 2 as well
                client.sendall(b"0\n")
                self.assertEqual(replies.readline(), b"6765\n")

        def test_a_half_close_and_a_last_line_without_end(self):
            self.assertEqual(self.server.said_to(b"10\n20"), b"55\n6765\n")
            self.assertEqual(self.server.said_to(b""), b"")

        def test_a_line_that_is_too_long(self):
            with self.server.connect() as client:
                client.sendall(b"1" * 101)
                self.assertEqual(client.makefile("rb").read(), b"[Error] line longer than 100 bytes\n")
            self.assertEqual(self.server.said_to(b" " * 99 + b"5\n"), b"5\n")

        def test_many_clients(self):
            clients = [self.server.connect() for _ in range(100)]
            try:
                for _ in range(3):
                    for client in clients:
                        client.sendall(b"10\n")
                    for client in reversed(clients):
                        self.assertEqual(client.recv(100), b"55\n")
            finally:
                for client in clients:
                    client.close()
            self.assertEqual(self.server.said_to(b"10\n"), b"55\n")

        def test_a_client_that_resets_does_not_affect_the_others(self):
            with self.server.connect() as other:
                for _ in range(20):
                    with self.server.connect() as client:
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                        client.sendall(b"20\n20\n2")
                # A client that comes later is accepted later: by then the server has dealt with the others.
                for _ in range(3):
                    self.assertEqual(self.server.said_to(b"10\n"), b"55\n")
                    other.sendall(b"10\n")
                    self.assertEqual(other.recv(100), b"55\n")

        def end_with(self, number):
            with self.server.connect() as idle, self.server.connect() as busy:
                for client in idle, busy:
                    client.sendall(b"10\n")
                    self.assertEqual(client.recv(100), b"55\n")
                self.server.process.send_signal(number)
                self.assertIn(self.server.process.wait(PATIENCE), (0, -number))
                deadline = time.monotonic() + PATIENCE
                while processes_of(self.server.process.pid) and time.monotonic() < deadline:
                    time.sleep(0.01)  # nothing tells when a killed process that isn't ours has gone
                self.assertEqual(processes_of(self.server.process.pid), [])
            self.assertEqual(self.server.process.communicate()[1], "")

        def test_sigterm_ends_it_with_clients_connected_and_leaves_nothing_behind(self):
            self.end_with(signal.SIGTERM)

        def test_sigint_does_so_too(self):
            self.end_with(signal.SIGINT)

    Conformance.__name__ = Conformance.__qualname__ = peer.name
    return Conformance


for each in peers.PEERS:
    globals()[each.name] = conformance(each)
del each


class Script(unittest.TestCase):
    def run_script(self, *arguments):
        return subprocess.run([peers.PYTHON, ROOT / "scripts" / "shared" / "peers.py", *arguments], capture_output=True, text=True,
                              check=False)

    def test_every_program_in_the_folder_is_a_peer(self):
        programs = {path.name for path in peers.SOURCES.iterdir() if path.is_file()} - {"protocol.py"}
        self.assertEqual(programs, {peer.source.name for peer in peers.PEERS})

    def test_the_list_names_every_peer_and_what_it_stands_for(self):
        lines = self.run_script("--list").stdout.splitlines()
        self.assertEqual([line.split()[0] for line in lines], [peer.name for peer in peers.PEERS])
        for peer in peers.PEERS:
            self.assertGreater(len(peer.stands_for), 20)

    def test_the_page_names_every_peer(self):
        page = (ROOT / "docs" / "peers.md").read_text()
        for peer in peers.PEERS:
            self.assertIn(f"| [`{peer.name}`](../scripts/shared/peers.d/{peer.source.name}) |", page)

    def test_only_takes_words_of_names(self):
        self.assertEqual([peer.name for peer in peers.chosen(["go", "asyncio"])], ["python_asyncio", "go_net"])
        run = self.run_script("--only", "cobol")
        self.assertEqual(run.returncode, 1)
        self.assertEqual(run.stderr.count("\n"), 1)
        self.assertIn("python_asyncio, ", run.stderr)

    def test_packages_are_asked_for_only_when_wanted(self):
        self.assertNotIn("golang", self.run_script("--needs", "--only", "asyncio").stdout)
        self.assertIn("golang-go\n", self.run_script("--needs", "--only", "go", "--stages", "02").stdout)
        self.assertTrue(self.run_script("--needs", "--only", "go", "--stages", "02").stdout.endswith("--\n02_threads\n"))
        self.assertEqual(self.run_script("--needs", "--list").stdout, "")

    def test_goals_of_a_stage_that_does_not_exist_are_skipped(self):
        run = self.run_script("--goals", "--stage", "99_none")
        self.assertEqual((run.returncode, run.stdout), (0, ""))
        self.assertEqual(run.stderr, "peers: there is no stage 99_none, so its goals are skipped\n")

    def test_ratios_are_taken_within_a_round(self):
        rounds = [{"ours": 10, "theirs": 10}, {"ours": 400, "theirs": 100}, {"ours": 4, "theirs": 2}]
        self.assertEqual(peers.goals_table({("a / b", "at least 1"): rounds})[-1],
                         "| a / b | 10 | 10 | 2.00 (1.00 to 4.00) | at least 1 |")


if __name__ == "__main__":
    unittest.main()
