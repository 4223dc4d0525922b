"""A note of each request is kept for ever."""

from right import Server

notes = []


class Broken(Server):
    def compute(self, n):
        notes.append(f"{n} was asked for; " * 200)
        return super().compute(n)


Broken().serve()
