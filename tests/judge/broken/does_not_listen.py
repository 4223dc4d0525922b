"""It sleeps instead."""

import time

while True:
    time.sleep(1)
