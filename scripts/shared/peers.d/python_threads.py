#!/usr/bin/python3 -B
"""Python with a thread for each client, as in the talk. Stands for: what the interpreter's lock makes of threads."""

import threading

from protocol import Requests, reply, start


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
