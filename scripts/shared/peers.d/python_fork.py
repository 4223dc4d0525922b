#!/usr/bin/python3 -B
"""Python with a process for each client. Stands for: the oldest way around the interpreter's lock, and its price."""

import os
import signal

from protocol import Requests, end_with, reply, start


def handle(client):
    requests = Requests()
    while not requests.ended:
        for request in requests.received(client.recv(4096)):
            client.sendall(reply(request))


def reap(*_):
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass  # there are none left


acceptor = start()
server = os.getpid()
signal.signal(signal.SIGCHLD, reap)
while True:
    client, _ = acceptor.accept()
    if os.fork() == 0:
        end_with(server)
        acceptor.close()
        try:
            handle(client)
        except ConnectionError:
            pass  # the client has gone
        os._exit(0)
    client.close()
