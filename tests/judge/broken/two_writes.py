"""The number and its line end are sent apart."""

from right import Server


class Broken(Server):
    def answer(self, client, requests):
        for request in requests:
            client.sendall(self.reply(request)[:-1])
            client.sendall(b"\n")


Broken().serve()
