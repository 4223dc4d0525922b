"""It has a helper process that SIGTERM does not reach."""

import os
import signal

from right import Server


class Broken(Server):
    def start(self):
        acceptor = super().start()
        if os.fork() == 0:
            acceptor.close()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                signal.pause()
        return acceptor


Broken().serve()
