"""A thread spins for ever once a client has half-closed."""

import threading

from right import Server


def spin():
    while True:
        pass


class Broken(Server):
    spins = False

    def closes(self, client, requests):
        super().closes(client, requests)
        if not self.spins:
            self.spins = True
            threading.Thread(target=spin, daemon=True).start()


Broken().serve()
