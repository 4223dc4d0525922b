"""A server with a thread per client that keeps its promises. The others here break one of its methods each."""

import socket
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "scripts" / "shared" / "peers.d"))
import protocol  # noqa: E402


def fib(n):
    a, b = 0, 1
    for _ in range(max(n, 1)):
        a, b = b, a + b
    return a


class Server:
    def start(self):
        """The listening socket."""
        return protocol.start()

    def compute(self, n):
        return fib(n)

    def reply(self, request):
        return request if isinstance(request, bytes) else b"%d\n" % self.compute(request)

    def answer(self, client, requests):
        """To the requests that one recv() has completed."""
        for request in requests:
            client.sendall(self.reply(request))

    def closes(self, client, requests):
        """The client has half-closed, or has sent a line that is too long."""
        if requests.ended:  # the rest is read, because a close with bytes unread would be a reset
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):
                pass
        client.close()

    def talk(self, client):
        requests = protocol.Requests()
        try:
            while not requests.ended:
                self.answer(client, requests.received(client.recv(65536)))
            self.closes(client, requests)
        except ConnectionError:
            client.close()  # the client has gone

    def accepted(self, client):
        threading.Thread(target=self.talk, args=(client,), daemon=True).start()

    def serve(self):
        acceptor = self.start()
        while True:
            client, _ = acceptor.accept()
            self.accepted(client)


if __name__ == "__main__":
    Server().serve()
