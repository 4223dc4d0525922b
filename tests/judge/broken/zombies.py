"""Each client has a process, for whose end the server does not wait."""

import os

from right import Server


class Broken(Server):
    def accepted(self, client):
        if os.fork() == 0:
            self.talk(client)
            os._exit(0)
        client.close()


Broken().serve()
