"""Green threads that wait: two seconds and one second are two seconds in all."""

import time

import gevent


def nap(name, seconds):
    print(name, "falls asleep")
    gevent.sleep(seconds)
    print(name, "wakes up")


def task(number):
    gevent.sleep(0.2)
    print("task", number, "is done")


def say_how_long(start):
    print(f"it took {time.monotonic() - start:.1f} s")


start = time.monotonic()
gevent.joinall([gevent.spawn(nap, "Ann", 2), gevent.spawn(nap, "Ben", 1)])
say_how_long(start)

print("ten, one after the other:")
start = time.monotonic()
for i in range(10):
    task(i)
say_how_long(start)

print("ten at once:")
start = time.monotonic()
gevent.joinall([gevent.spawn(task, i) for i in range(10)])
say_how_long(start)
