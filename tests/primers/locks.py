"""Green threads that wait for each other: a lock, a semaphore, an event."""

import gevent
from gevent.event import Event
from gevent.lock import BoundedSemaphore, RLock

lock = RLock()


def write(name):
    with lock:
        print(name, "begins a sentence")
        gevent.sleep(0.05)
        print(name, "ends it")


gevent.joinall([gevent.spawn(write, "Ann"), gevent.spawn(write, "Ben")])

seats = BoundedSemaphore(2)
seated = most = 0


def eat():
    global seated, most
    with seats:
        seated += 1
        most = max(most, seated)
        gevent.sleep(0.05)
        seated -= 1


guests = [gevent.spawn(eat) for _ in range(5)]
gevent.joinall(guests)
print(len(guests), "guests, at most", most, "at the table")

start = Event()


def run(name):
    start.wait()
    print(name, "runs")


runners = [gevent.spawn(run, "Ann"), gevent.spawn(run, "Ben")]
gevent.sleep(0.05)
print("ready, steady")
start.set()
gevent.joinall(runners)
