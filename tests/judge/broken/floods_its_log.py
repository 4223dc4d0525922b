"""It writes to its log for ever."""

import sys
import threading

from right import Server


def log():
    while True:
        sys.stderr.write("nothing has happened\n" * 1000)


threading.Thread(target=log, daemon=True).start()
Server().serve()
