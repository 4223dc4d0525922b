"""Generators that take turns."""

from collections import deque


def say(*words):
    for word in words:
        yield word


def run(ready):
    while ready:
        task = ready.popleft()
        try:
            print(next(task))
            ready.append(task)
        except StopIteration:
            print("(one has ended)")


run(deque([say("1", "2", "3"), say("x", "y"), say("do", "re", "mi", "fa")]))
