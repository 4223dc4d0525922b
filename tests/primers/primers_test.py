"""Runs a primer and the Python beside it, and compares what they print, line for line.

    primers_test.py NAME PROGRAM [STAGE]

Both get the same input and, if they talk to a stage, the port of the same one. Before that they get the port of a
server that ends each connection at once, and have to end, too. Times have to be nearly the same, because they differ a
little. Of a count it matters only whether it is zero, one or more.
"""

import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
PYTHON = "/usr/bin/python3"  # Debian's own, which has Debian's greenlet and gevent
NEEDS = re.compile(r"^(?:import|from) (greenlet|gevent)\b", re.MULTILINE)
SKIPPED = 77
DEADLINE = 60  # seconds; each takes a few
DEADLINE_TO_GIVE_UP = 20

# How far apart two times may be, in seconds. Times that the primers distinguish are a second apart or more.
NEARLY = 0.45
TIME = re.compile(r"\b\d+\.\d+ s\b")
COUNT = re.compile(r"\b(\d[\d,]*) times\b")


def lines_of(text):
    """What was printed, without figures, and the times."""
    count = COUNT.sub(lambda match: ("many" if int(match[1].replace(",", "")) > 1 else match[1]) + " times", text)
    times = [float(match.split()[0]) for match in TIME.findall(text)]
    return TIME.sub("_ s", count).splitlines(), times


def compare(cpp, python):
    """The differences, as a text; empty if there are none."""
    (cpp_lines, cpp_times), (python_lines, python_times) = lines_of(cpp), lines_of(python)
    for number in range(max(len(cpp_lines), len(python_lines))):
        ours = cpp_lines[number] if number < len(cpp_lines) else "(nothing)"
        theirs = python_lines[number] if number < len(python_lines) else "(nothing)"
        if ours != theirs:
            return f"line {number + 1} is\n    {ours}\nin C++, and in Python\n    {theirs}"
    for ours, theirs in zip(cpp_times, python_times):
        if abs(ours - theirs) > NEARLY:
            return f"it took {ours} s in C++, and {theirs} s in Python"
    return ""


def run(commands, script=b""):
    """Their output; they run at the same time."""
    running = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
               for command in commands]
    texts = []
    for program in running:
        out, err = program.communicate(script, timeout=DEADLINE)
        if program.returncode != 0 or err:
            raise SystemExit(f"{program.args} ended with {program.returncode}:\n{out.decode()}\n{err.decode()}")
        texts.append(out.decode())
    return texts


def run_on_terminal(command, keys):
    """The same on a terminal. Keys are pairs: when the first has appeared in new output, press the second."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(command[0], command)
    signal.alarm(DEADLINE)
    seen, at = "", 0
    try:
        while True:
            while keys and keys[0][0] in seen[at:]:
                at = seen.index(keys[0][0], at) + len(keys[0][0])
                os.write(terminal, keys[0][1])
                keys = keys[1:]
            piece = os.read(terminal, 1000)
            if not piece:
                break
            seen += piece.decode()
    except OSError:
        pass  # what a terminal sends at its end on Linux
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    signal.alarm(0)
    if status != 0 or keys:
        raise SystemExit(f"{command} ended with {status}, before {keys}:\n{seen}")
    return seen.replace("\r\n", "\n").replace("^C", "")  # the echo, which the terminal puts where it likes


# The stage that a primer talks to is started for it. (All of it in this test: a reader of a primer types the command.)
def start(stage):
    server = subprocess.Popen([stage, "--port", "0", "--quiet"], stdout=subprocess.PIPE, text=True)
    return server, server.stdout.readline().rsplit(":", 1)[1].strip()


class Deaf:
    """A server that ends its side of every connection at once, and reads until the client has gone."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port = str(self.listener.getsockname()[1])
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        clients = []
        while True:
            client, _ = self.listener.accept()
            client.shutdown(socket.SHUT_WR)
            clients.append(client)


def check_gives_up(command, must_say_so):
    """Throws if the program waits for more from a server that has ended the connection."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=DEADLINE_TO_GIVE_UP, check=False)
    except subprocess.TimeoutExpired:
        raise SystemExit(f"{command} does not notice that the server has gone") from None
    if must_say_so and (done.returncode == 0 or not done.stderr):
        raise SystemExit(f"{command} ended with {done.returncode} when the server had gone:\n{done.stderr.decode()}")


def outputs(name, commands):
    """What was done, and the results in C++ and in Python."""
    if name == "console":
        keys = [("command: ", b"hello\n"), ("command: ", b"quit\n"), ("sure? ", b"n"),
                ("command: ", b"quit\n"), ("sure? ", b"y")]
        yield "from a script", run(commands, b"hello\nquit\nnbye\nquit\ny")
        yield "from a script that ends", run(commands, b"hello\nqu")
        yield "on a terminal", [run_on_terminal(command, keys) for command in commands]
    elif name == "ctrl_c":
        yield "on a terminal", [run_on_terminal(command, [("short is done", b"\x03")]) for command in commands]
    else:
        yield "run", run(commands)


def main():
    name, program, *stage = sys.argv[1:]
    python = HERE / f"{name}.py"
    needed = NEEDS.findall(python.read_text(encoding="utf-8"))
    if needed and subprocess.run([PYTHON, "-c", f"import {needed[0]}"], stderr=subprocess.DEVNULL, check=False).returncode:
        print(f"skipped: apt-get install python3-{needed[0]}")
        return SKIPPED
    if stage:
        deaf = Deaf()
        check_gives_up([program, deaf.port], True)
        check_gives_up([PYTHON, str(python), deaf.port], False)
    server, port = start(stage[0]) if stage else (None, None)
    arguments = [port] if port else []
    commands = [[program, *arguments], [PYTHON, str(python), *arguments]]
    try:
        # Once more if it differs, because on a very busy machine one of the two may be late.
        for _ in range(2):
            differences = []
            for what, texts in outputs(name, commands):
                print(texts[0])
                if difference := compare(*texts):
                    differences.append(f"{what}: {difference}")
            if not differences:
                return 0
    finally:
        if server:
            server.terminate()
            server.wait()
    print("\n".join(differences))
    return 1


sys.exit(main())
