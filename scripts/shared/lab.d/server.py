#!/usr/bin/python3 -B
"""A server that talks to one client at a time. Its bytes are cut into requests by protocol.py, which needs no change."""

from protocol import Requests, reply, start


def handle(client):
    """The conversation with one client, from its first byte to its last."""
    requests = Requests()
    with client:
        while not requests.ended:
            for request in requests.received(client.recv(4096)):
                client.sendall(reply(request))


def serve(acceptor):
    while True:
        client, _ = acceptor.accept()
        try:
            handle(client)
        except ConnectionError:
            pass  # the client has gone; the next one is waiting


serve(start())
