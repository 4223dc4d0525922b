"""A generator inside a generator."""


def recv(client, size):
    yield f"bytes from {client}"
    if size == 0:
        raise RuntimeError(f"{client} has left")
    return size


def handle(client):
    some = yield from recv(client, 3)
    more = yield from recv(client, 4)
    print("handle: got", some + more, "bytes")
    try:
        yield from recv(client, 0)
    except RuntimeError as error:
        print("handle:", error)
    yield "room to send a farewell"


for wait in handle("Ann"):
    print("main: it waits for", wait)
print("main: it has ended")
