"""All conversations keep what is not yet a line in the same place."""

import right

rest = b""


class Requests(right.protocol.Requests):
    def received(self, data):
        global rest
        self.rest = rest
        requests = list(super().received(data))
        rest = self.rest
        return requests


right.protocol.Requests = Requests
right.Server().serve()
