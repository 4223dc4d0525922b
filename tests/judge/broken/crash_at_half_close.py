"""It crashes if a client half-closes after several requests in one segment."""

import os

from right import Server


class Broken(Server):
    last = 0

    def answer(self, client, requests):
        requests = list(requests)
        if self.last > 1 and not requests:
            os.abort()
        self.last = len(requests)
        super().answer(client, requests)


Broken().serve()
