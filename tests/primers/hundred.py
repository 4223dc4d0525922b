"""A hundred clients at once, of any stage."""

import os
import socket
import sys
import threading

CLIENTS = 100
server = "localhost", int(sys.argv[1])
sockets = [socket.create_connection(server) for _ in range(CLIENTS)]
all_together = threading.Barrier(CLIENTS)
right = []


def fib_fast(n):
    a, b = 1, 1
    for _ in range(n - 1):
        a, b = b, a + b
    return a


def talk(client, n):
    for _ in range(3):
        client.sendall(b"%d\n" % n)
        reply = b""
        while not reply.endswith(b"\n"):
            part = client.recv(100)
            if not part:
                print("the server has gone", file=sys.stderr)
                os._exit(1)  # sys.exit() would end only this thread
            reply += part
        right.append(reply == b"%d\n" % fib_fast(n))
        all_together.wait()
    client.close()


threads = [threading.Thread(target=talk, args=(client, 1 + i % 20)) for i, client in enumerate(sockets)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(CLIENTS, "clients at once,", sum(right), "right replies")
