"""A queue with room for two, and a pool for three: a producer that is too fast waits."""

import time

import gevent
from gevent.pool import Pool
from gevent.queue import Queue

queue = Queue(2)


def produce():
    for i in range(1, 6):
        queue.put(i)
        print("put", i)


def consume():
    for _ in range(5):
        print("got", queue.get())
        gevent.sleep(0.05)


gevent.joinall([gevent.spawn(produce), gevent.spawn(consume)])


def task(number):
    print("task", number, "begins")
    gevent.sleep(0.5)


pool = Pool(3)
start = time.monotonic()
for i in range(7):
    pool.spawn(task, i)
pool.join()
print(f"seven, three at a time: {time.monotonic() - start:.1f} s")
