"""The last line of a client that has half-closed counts only if it has an end."""

import right


class Requests(right.protocol.Requests):
    def received(self, data):
        if not data:
            self.rest = b""
        return super().received(data)


right.protocol.Requests = Requests
right.Server().serve()
