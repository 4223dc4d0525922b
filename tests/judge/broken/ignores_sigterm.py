"""Only SIGKILL ends it."""

import signal

from right import Server


class Broken(Server):
    def start(self):
        acceptor = super().start()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return acceptor


Broken().serve()
