"""If a packet ends in the middle of a line, and a complete line is before it, the half is lost."""

import right  # which says where protocol is
import protocol


class Requests(protocol.Requests):
    def received(self, data):
        found = list(super().received(data))
        if found and not self.ended:
            self.rest = b""
        return found


class Broken(right.Server):
    def talk(self, client):
        requests = Requests()
        try:
            while not requests.ended:
                self.answer(client, requests.received(client.recv(65536)))
            self.closes(client, requests)
        except ConnectionError:
            client.close()


Broken().serve()
