#!/usr/bin/python3 -B
"""Python with threads that let worker processes compute, as in the talk. Stands for: all cores, at the price of a trip for
each request, small ones included."""

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor

from protocol import Requests, end_with, fib, start


def leave_signals_to(server):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(server)


def reply(request):
    return request if isinstance(request, bytes) else b"%d\n" % pool.submit(fib, request).result()


def handle(client):
    requests = Requests()
    with client:
        try:
            while not requests.ended:
                for request in requests.received(client.recv(4096)):
                    client.sendall(reply(request))
        except ConnectionError:
            pass  # the client has gone


# The first request forks all workers: before there is a socket or another thread of ours.
pool = ProcessPoolExecutor(len(os.sched_getaffinity(0)), multiprocessing.get_context("fork"),
                           leave_signals_to, (os.getpid(),))
pool.submit(fib, 1).result()
acceptor = start()
while True:
    client, _ = acceptor.accept()
    threading.Thread(target=handle, args=(client,), daemon=True).start()
