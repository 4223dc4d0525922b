#!/usr/bin/python3 -B
"""Python with a generator for each client, and a scheduler on select(), as in the talk. Stands for: one thread, no
library, nothing hidden."""

from collections import deque
from select import select

from protocol import Requests, error, reply, start

FD_SETSIZE = 1024

tasks = deque()
recv_wait = {}  # a socket -> the task that waits for it
send_wait = {}


def handle(client):
    requests = Requests()
    with client:
        while not requests.ended:
            yield recv_wait, client
            for request in requests.received(client.recv(4096)):
                text = reply(request)
                while text:
                    yield send_wait, client
                    text = text[client.send(text):]


def serve(acceptor):
    while True:
        yield recv_wait, acceptor
        client, _ = acceptor.accept()
        if client.fileno() >= FD_SETSIZE:
            client.send(error(b"server full"))
            client.close()
        else:
            tasks.append(handle(client))


tasks.append(serve(start()))
while True:
    while not tasks:
        can_recv, can_send, _ = select(recv_wait, send_wait, [])
        for socket in can_recv:
            tasks.append(recv_wait.pop(socket))
        for socket in can_send:
            tasks.append(send_wait.pop(socket))
    task = tasks.popleft()
    try:
        waiting, socket = next(task)
        waiting[socket] = task
    except (StopIteration, ConnectionError):
        pass  # the client has gone
