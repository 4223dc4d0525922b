"""The next client is accepted when this one has left, although the server has threads."""

from right import Server


class Broken(Server):
    def accepted(self, client):
        self.talk(client)


Broken().serve()
