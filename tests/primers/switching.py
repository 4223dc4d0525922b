"""Two functions that switch to each other in the middle."""

from greenlet import greenlet


def one():
    print(12)
    second.switch()
    print(34)


def two():
    print(56)
    first.switch()
    print(78)


first = greenlet(one)
second = greenlet(two)
first.switch()
print("where is 78?")
second.switch()
