"""02_threads in Python, as small as in the talk. 02b_threads_gil is compared with it.

Prints `threads.py listening on 127.0.0.1:PORT` when it can be connected to; the port is a free one.
"""

import socket
import threading


def fib(n):
    return 1 if n <= 2 else fib(n - 1) + fib(n - 2)


def handle(client):
    with client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while request := client.recv(100):
            client.sendall(b"%d\n" % fib(int(request)))


def serve():
    with socket.create_server(("127.0.0.1", 0)) as acceptor:
        print(f"threads.py listening on 127.0.0.1:{acceptor.getsockname()[1]}", flush=True)
        while True:
            client, _ = acceptor.accept()
            threading.Thread(target=handle, args=(client,), daemon=True).start()


serve()
