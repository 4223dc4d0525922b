"""It asks again and again whether there is a client."""

from right import Server


class Broken(Server):
    def serve(self):
        acceptor = self.start()
        acceptor.setblocking(False)
        while True:
            try:
                client, _ = acceptor.accept()
            except BlockingIOError:
                continue
            client.setblocking(True)
            self.accepted(client)


Broken().serve()
