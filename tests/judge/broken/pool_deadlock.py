"""Two workers need two locks, and take them in different orders."""

import threading

from right import Server

locks = threading.Lock(), threading.Lock()
turn = threading.local()
numbers = iter(range(1_000_000))


class Broken(Server):
    def talk(self, client):
        turn.first = next(numbers) % 2
        super().talk(client)

    def compute(self, n):
        with locks[turn.first]:
            # Long enough for another client to take the other one.
            threading.Event().wait(0.0002)
            with locks[1 - turn.first]:
                return super().compute(n)


Broken().serve()
