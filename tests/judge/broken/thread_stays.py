"""The thread of a client that has left waits for ever."""

import threading

from right import Server


class Broken(Server):
    def talk(self, client):
        super().talk(client)
        threading.Event().wait()


Broken().serve()
