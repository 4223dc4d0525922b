"""A queue of messages and a handler for each kind."""

from collections import deque

messages = deque([("key", "a"), ("click", "open"), ("key", "b"), ("click", "close")])
is_open = True


def key(letter):
    print("key", letter)


def click(button):
    print("click on", button)
    messages.append(("read" if button == "open" else "closed", "poem.txt"))


def read(file):
    print(file, "has been read")


def closed(file):
    global is_open
    print(file, "has been closed")
    is_open = False


handlers = {"key": key, "click": click, "read": read, "closed": closed}
while is_open:
    kind, what = messages.popleft()
    handlers[kind](what)
