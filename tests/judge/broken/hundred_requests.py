"""After 100 requests it has had enough of a client."""

import right


class Requests(right.protocol.Requests):
    count = 0

    def received(self, data):
        for request in super().received(data):
            self.count += 1
            if self.count > 100:
                self.ended = True
                return
            yield request


right.protocol.Requests = Requests
right.Server().serve()
