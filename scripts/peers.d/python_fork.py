#!/usr/bin/python3 -B
"""Python with a process for each client. Stands for: the oldest way around the interpreter's lock, and its price."""

import os
import signal

from protocol import Requests, children, reply, start


def handle(client):
    requests = Requests()
    while not requests.ended:
        for request in requests.received(client.recv(4096)):
            client.sendall(reply(request))


# Called between any two steps of the program, of this function as well.
def reap(*_):
    try:
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            children.discard(pid)
    except ChildProcessError:
        pass  # there are none left


acceptor = start()
signal.signal(signal.SIGCHLD, reap)
while True:
    client, _ = acceptor.accept()
    # A child that ends at once must not be reaped before it is in the set.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT})
    if (pid := os.fork()) == 0:
        for number in signal.SIGCHLD, signal.SIGTERM, signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        acceptor.close()
        try:
            handle(client)
        except ConnectionError:
            pass  # the client has gone
        os._exit(0)
    children.add(pid)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    client.close()
