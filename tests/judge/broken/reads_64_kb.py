"""Of each client it reads 64 kB, and then nothing more."""

import threading

import right


class Requests(right.protocol.Requests):
    size = 0

    def received(self, data):
        self.size += len(data)
        if self.size > 65536:
            threading.Event().wait()
        return super().received(data)


right.protocol.Requests = Requests
right.Server().serve()
