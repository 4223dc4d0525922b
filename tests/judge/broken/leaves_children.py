"""It never listens, ignores SIGTERM, and has children that do so too, each in a session of its own."""

import os
import signal
import sys
import time

signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        time.sleep(1000)
with open(sys.argv[1], "w", encoding="utf-8") as mark:
    mark.write("all are there")
time.sleep(1000)
