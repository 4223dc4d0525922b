"""support.py -- a board that runs, and a browser that looks at it: for the tests of the board.

Everything that a test starts ends with it. All waiting is for events, with one generous deadline.
"""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "browser"))
from browser import Browser, end_all, file_url, missing, processes_of  # noqa: E402, F401

PATIENCE = int(os.environ.get("PATIENCE", "60")) * int(os.environ.get("SLOWDOWN", "1"))
BOARD = os.environ["BOARD"]


def rows_below(heading, page, columns):
    """The cells of each row, of a table with so many columns, in that part of a page of docs/."""
    text = (Path(__file__).resolve().parents[2] / "docs" / page).read_text(encoding="utf-8")
    for line in text.split(f"## {heading}")[1].split("\n## ")[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == columns:
            yield cells


def main_with_browser():
    """Runs the tests of the program, or says why they cannot run here: ctest then calls them skipped."""
    if why := missing():
        print(f"skipped: {why}")
    else:
        unittest.main()


def eventually(what, condition, patience=PATIENCE):
    """Returns the value of the condition as soon as it is true."""
    deadline = time.monotonic() + patience
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience} s: {what}")
        time.sleep(0.02)


class PageTest(unittest.TestCase):
    """Has a browser, in which no page may complain of anything."""

    @classmethod
    def setUpClass(cls):
        cls.browser = Browser()

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()

    def setUp(self):
        self.browser.resize(1280, 720)
        self.browser.dark(False)
        self.browser.complaints.clear()

    def tearDown(self):
        self.assertEqual(self.browser.complaints, [])


class Board:
    """A board, in a session of its own, that has printed its address."""

    def __init__(self, *arguments, program=BOARD, environment=()):
        self.program = subprocess.Popen([program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        stdin=subprocess.DEVNULL, start_new_session=True, text=True,
                                        env={**os.environ, **dict(environment)})
        line = self.program.stdout.readline()
        if "://" not in line:
            self.program.wait()
            why = self.program.stderr.read()
            self.program.stdout.close()
            self.program.stderr.close()
            raise AssertionError(f"no address: {line!r} {why!r}")
        self.url = re.search(r"https?://\S+", line)[0]
        self.address = self.url.partition("://")[2]
        self.host = self.address.split("/")[0]
        self.path = self.address[len(self.host):]
        self.port = int(re.search(r":(\d+)$|-(\d+)\.", self.host)[0].strip(":-."))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # As its user ends it, so that a sanitizer can say what it has found.
        if self.program.poll() is None:
            self.program.send_signal(signal.SIGINT)
            self.program.send_signal(signal.SIGCONT)
        try:
            self.program.wait(PATIENCE)
            said = self.program.stderr.read()
            if "Sanitizer" in said or self.program.returncode not in (0, -signal.SIGKILL):
                raise AssertionError(f"it ended with {self.program.returncode}: {said}")
        finally:
            end_all(self.program)
            self.program.stdout.close()
            self.program.stderr.close()

    def others(self):
        """Its descendants: a stage has a group, but no session of its own."""
        return [pid for pid in processes_of(self.program.pid) if pid != self.program.pid]

    def request(self, method, path=None, headers=None, body=None):
        """The status and the text of a response."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.putrequest(method, self.path if path is None else path, skip_host=True)
            for name, value in {"Host": self.host, **(headers or {})}.items():
                if value is not None:
                    connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body.encode() if body is not None else None)
            response = connection.getresponse()
            self.headers = dict(response.getheaders())
            endless = self.headers.get("Content-Type") == "text/event-stream"
            return response.status, "" if endless else response.read().decode()
        finally:
            connection.close()

    def post(self, body, **headers):
        usual = {"Origin": f"http://{self.host}", "Content-Type": "application/json"}
        return self.request("POST", self.path + "do", {**usual, **headers}, body)

    def do(self, what, **more):
        """A command as the page sends it."""
        return self.post(json.dumps({"do": what, **more}))

    def frames(self):
        """What a page is sent, frame by frame."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", self.path + "frames", headers={"Host": self.host})
            response = connection.getresponse()
            assert response.status == 200, response.status
            kind = b""
            while line := response.readline():
                if line.startswith(b"event: "):
                    kind = line[7:].strip()  # "room": what is new there is no frame
                elif line.startswith(b"data: ") and not kind:
                    yield json.loads(line[6:])
                elif line == b"\n":
                    kind = b""
        finally:
            connection.close()

    def wait_for(self, what, condition):
        """The first frame for which this holds."""
        deadline = time.monotonic() + PATIENCE
        for frame in self.frames():
            if condition(frame):
                return frame
            if time.monotonic() > deadline:
                break
        raise AssertionError(f"no frame in which {what}")

    def stage_port(self, name="", run=1):
        """The port of the running stage, or of the stage that is started as number `run`."""
        return self.run(run, lambda frame: (frame["stage"] or "").startswith(name) and frame["m"].get("port"))["m"]["port"]

    def run(self, number, condition=lambda _: True):
        """A key frame of the stage that was started as number `number`."""
        return self.wait_for(f"run {number} is as it should be", lambda frame: frame.get("key") and frame["run"] >= number
                             and condition(frame))


class Client:
    """A client of a stage, on a plain socket."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.file = self.socket.makefile("rw", newline="\n")

    def ask(self, text):
        self.file.write(text + "\n")
        self.file.flush()
        return self.file.readline().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()
