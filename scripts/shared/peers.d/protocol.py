"""What the Python peers have in common: the conversation (docs/protocol.md, by lines), the start and the end.

It is here once, because the peers do not differ in it. Nothing in it waits.
"""

import argparse
import ctypes
import os
import re
import signal
import socket
import sys

MAX_LINE = 100  # bytes
MAX_N = 50


def fib(n):
    return 1 if n <= 2 else fib(n - 1) + fib(n - 2)


def error(reason):
    return b"[Error] %s\n" % reason


def parse(text):
    """A number or, if the line is none, the reply that says why."""
    if not re.fullmatch(rb"[-+]?[0-9]+", text):
        return error(b"not a number, send one like 30")
    if text.startswith(b"-"):
        return error(b"negative number, the smallest is 0")
    n = int(text)
    return n if n <= MAX_N else error(b"number too large, the largest is %d" % MAX_N)


def reply(request):
    return request if isinstance(request, bytes) else b"%d\n" % fib(request)


class Requests:
    """The requests of one connection, in order, from bytes that arrive in any pieces."""

    def __init__(self):
        self.rest = b""
        self.ended = False  # nothing more will come

    def received(self, data):
        """The requests that these bytes complete; b"" is the end of the file."""
        *lines, self.rest = re.split(rb"[\r\n]", self.rest + data)
        if not data or len(self.rest) > MAX_LINE:
            lines.append(self.rest)
            self.ended = True
        for line in lines:
            if len(line) > MAX_LINE:
                self.ended = True
                yield error(b"line longer than %d bytes" % MAX_LINE)
                return
            if line := line.strip():
                yield parse(line)


def end_with(parent):
    """For a child: the kernel kills it when its parent has died."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1: PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)  # the parent had died before


def start():
    """The listening socket, from the command line. Says where it listens, as the stages do."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--port", type=int, default=25000, help="0 picks a free one")
    parser.add_argument("PORT", type=int, nargs="?", help="the same as --port")
    parser.add_argument("--quiet", action="store_true", help="is accepted, because the stages have it")
    arguments = parser.parse_args()
    if arguments.PORT is not None:
        arguments.port = arguments.PORT
    # The kernel ends it. A handler in Python would wait until accept() returns, if the signal came just before accept()
    # began.
    for number in signal.SIGTERM, signal.SIGINT:
        signal.signal(number, signal.SIG_DFL)
    try:
        acceptor = socket.create_server(("127.0.0.1", arguments.port), backlog=4096)
    except OSError as problem:
        sys.exit(f"{parser.prog}: can't listen on port {arguments.port}: {problem.strerror}; try --port 0")
    # Every client's socket inherits it. A reply is a small packet that no client should wait for.
    acceptor.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    print(f"{parser.prog} listening on 127.0.0.1:{acceptor.getsockname()[1]}", flush=True)
    return acceptor
