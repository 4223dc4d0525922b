#!/usr/bin/python3 -B
"""Python with a greenlet for each client: the threads of python_threads.py, monkey-patched. Stands for: code that reads as
if it blocked, on one thread."""

from gevent import monkey

monkey.patch_all()

import threading  # noqa: E402 (patched above)

from protocol import Requests, reply, start  # noqa: E402


def handle(client):
    requests = Requests()
    with client:
        try:
            while not requests.ended:
                for request in requests.received(client.recv(4096)):
                    client.sendall(reply(request))
        except ConnectionError:
            pass  # the client has gone


acceptor = start()
while True:
    client, _ = acceptor.accept()
    threading.Thread(target=handle, args=(client,), daemon=True).start()
