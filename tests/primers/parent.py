"""Where a greenlet goes when it ends: to its parent, with what it returns."""

from greenlet import greenlet


def one():
    print(12)
    second.switch()
    print(34)
    return "1 returns"


def two():
    print(56)
    print(78)
    return "2 returns"


def three():
    raise RuntimeError("3 fails")


first = greenlet(one)
second = greenlet(two)
print("main gets:", first.switch())
print("main gets:", first.switch())
print("both have ended:", str(first.dead and second.dead).lower())

try:
    greenlet(three).switch()
except RuntimeError as error:
    print("main catches:", error)
