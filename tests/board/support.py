"""support.py -- a board that runs, and a browser that looks at it: for the tests of the board.

Whatever a test starts ends with it. All waiting is for events, with one generous deadline.
"""

import base64
import fcntl
import http.client
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse

PATIENCE = int(os.environ.get("PATIENCE", "60")) * int(os.environ.get("SLOWDOWN", "1"))
BOARD = os.environ["BOARD"]


def eventually(what, condition, patience=PATIENCE):
    """Returns what the condition gives as soon as that is true."""
    deadline = time.monotonic() + patience
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience} s: {what}")
        time.sleep(0.02)


def processes_of(session):
    """All that are alive in a session, by process number."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z" and int(fields[3]) == session:
            found.append(int(entry))
    return found


def end_all(program):
    """What is left of its session."""
    for pid in processes_of(program.pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    program.wait()


class Board:
    """A board, in a session of its own, that has said where it is."""

    def __init__(self, *arguments, program=BOARD):
        self.program = subprocess.Popen([program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        stdin=subprocess.DEVNULL, start_new_session=True, text=True)
        line = self.program.stdout.readline()
        if "http://" not in line:
            self.program.wait()
            why = self.program.stderr.read()
            self.program.stdout.close()
            self.program.stderr.close()
            raise AssertionError(f"no address: {line!r} {why!r}")
        self.address = line.split("http://")[1].split()[0]
        self.url = f"http://{self.address}"
        self.host = self.address.split("/")[0]
        self.path = self.address[len(self.host):]
        self.port = int(self.host.split(":")[1])

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
        """What it has started, and what that has started: a stage has a group, but no session of its own."""
        return [pid for pid in processes_of(self.program.pid) if pid != self.program.pid]

    def request(self, method, path=None, headers=None, body=None):
        """Status and text of a response."""
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
            while line := response.readline():
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])
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
        """Where the stage that runs, or that is going to run as the so manieth, listens."""
        return self.run(run, lambda frame: (frame["stage"] or "").startswith(name) and frame["m"].get("port"))["m"]["port"]

    def run(self, number, condition=lambda _: True):
        """A frame that says all of the stage that was started as the so manieth."""
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


def above_4(ends):
    """The same pipe, with numbers that are not those which the browser expects its own at."""
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in ends]
    for fd in ends:
        os.close(fd)
    return moved


class Browser:
    """Chromium, without a window, spoken to through its debugging pipe."""

    def __init__(self, width=1280, height=720):
        self.directory = tempfile.mkdtemp()
        theirs_in, ours_out = above_4(os.pipe())
        ours_in, theirs_out = above_4(os.pipe())

        def take_pipes():
            os.dup2(theirs_in, 3)
            os.dup2(theirs_out, 4)

        self.program = subprocess.Popen(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--disable-dev-shm-usage", "--remote-debugging-pipe",
             f"--user-data-dir={self.directory}", "about:blank"],
            close_fds=False, preexec_fn=take_pipes, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(theirs_in)
        os.close(theirs_out)
        self.to = os.fdopen(ours_out, "wb")
        self.back = os.fdopen(ours_in, "rb")
        self.numbers = itertools.count(1)
        self.buffer = b""
        self.complaints = []
        self.session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.resize(width, height)

    def resize(self, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        end_all(self.program)
        self.to.close()
        self.back.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def message(self):
        while b"\0" not in self.buffer:
            piece = self.back.read1(65536)
            if not piece:
                raise AssertionError("the browser has ended")
            self.buffer += piece
        text, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, **parameters):
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.to.write(json.dumps(message).encode() + b"\0")
        self.to.flush()
        while True:
            answer = self.message()
            if answer.get("method") == "Runtime.exceptionThrown":
                self.complaints.append(answer["params"]["exceptionDetails"].get("exception", {}).get("description", "?"))
            if answer.get("method") == "Log.entryAdded" and answer["params"]["entry"]["level"] == "error":
                self.complaints.append(answer["params"]["entry"]["text"])
            if answer.get("id") == number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                return answer["result"]

    def open(self, url):
        self.call("Page.navigate", url=url)
        eventually("the page is there", lambda: self.look("document.readyState") == "complete"
                   and self.look("location.href") == url)

    def look(self, expression):
        """The value of an expression in the page. (const and let of its script can be seen.)"""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise AssertionError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def press(self, key):
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def click(self, selector):
        """As a mouse does, in the middle of it."""
        x, y = self.look(f"(() => {{ const box = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
                         " return [box.x + box.width / 2, box.y + box.height / 2]; })()")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def dark(self, dark=True):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def picture(self, file):
        with open(file, "wb") as out:
            out.write(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


def file_url(path):
    return "file://" + urllib.parse.quote(path)
