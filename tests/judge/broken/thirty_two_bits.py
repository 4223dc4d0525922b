"""The numbers are those of an int of 32 bits."""

from right import Server


class Broken(Server):
    def compute(self, n):
        number = super().compute(n) % 2**32
        return number - 2**32 if number >= 2**31 else number


Broken().serve()
