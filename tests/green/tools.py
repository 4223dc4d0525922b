"""A Python program with threads, for tests/green. It knows nothing of green ones."""

import concurrent.futures
import multiprocessing
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time


def locks():
    count = 0
    lock = threading.Lock()

    def add():
        nonlocal count
        for _ in range(100):
            with lock:
                before = count
                time.sleep(0)
                count = before + 1

    threads = [threading.Thread(target=add) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count == 1000
    assert not threading.Lock().acquire() is False
    taken = threading.Lock()
    taken.acquire()
    assert not taken.acquire(timeout=0.02)


def queues():
    numbers, squares = queue.Queue(maxsize=3), queue.Queue()

    def square():
        while (number := numbers.get()) is not None:
            squares.put(number * number)

    threads = [threading.Thread(target=square) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in [*range(100), *[None] * 4]:
        numbers.put(number)
    for thread in threads:
        thread.join()
    assert sorted(squares.get() for _ in range(100)) == [n * n for n in range(100)]


def events():
    order = []
    event, barrier = threading.Event(), threading.Barrier(3)

    def wait(name):
        event.wait()
        barrier.wait()
        order.append(name)

    threads = [threading.Thread(target=wait, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    assert not event.wait(0.02)
    assert not order
    event.set()
    for thread in threads:
        thread.join()
    assert sorted(order) == ["a", "b", "c"]


def locals_of_threads():
    local = threading.local()
    seen = []

    def use(number):
        local.number = number
        time.sleep(0.01)
        seen.append(local.number)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == list(range(10))


def executor():
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        started = time.monotonic()
        assert list(pool.map(lambda n: time.sleep(0.1) or n, range(5))) == [0, 1, 2, 3, 4]
        assert time.monotonic() - started < 0.45


def sockets():
    ours, theirs = socket.socketpair()
    ours.settimeout(0.02)
    try:
        ours.recv(1)
        raise AssertionError
    except TimeoutError:
        pass
    ours.settimeout(None)
    data = b"x" * 1_000_000
    sender = threading.Thread(target=theirs.sendall, args=(data,))
    sender.start()
    got = b""
    while len(got) < len(data):
        got += ours.recv(65536)
    sender.join()
    assert got == data


def signals():
    seen = []
    signal.signal(signal.SIGUSR1, lambda *_: seen.append(True))
    threading.Timer(0.05, lambda: signal.raise_signal(signal.SIGUSR1)).start()
    ours, theirs = socket.socketpair()
    threading.Timer(0.15, lambda: theirs.send(b"x")).start()
    assert ours.recv(1) == b"x"
    assert seen


def children():
    others = threading.Thread(target=time.sleep, args=(0.1,))
    others.start()
    assert subprocess.run(["sh", "-c", "echo $LD_PRELOAD; cat"], input=b"hello", capture_output=True).stdout == b"\nhello"
    others.join()


def square(number):
    return number * number


def processes():
    # Their queues have locks and semaphores that processes share.
    with multiprocessing.Pool(3) as pool:
        assert pool.map(square, range(10)) == [n * n for n in range(10)]
        pool.close()
        pool.join()
    with multiprocessing.Pool(2) as pool:
        assert pool.apply_async(square, (7,)).get() == 49


def recursion():
    # Through C each time, so it needs a stack as large as a kernel thread's.
    seen = []

    def down(depth):
        return 0 if depth == 0 else sorted([depth], key=lambda _: down(depth - 1))

    def fall():
        try:
            down(10_000)
        except RecursionError:
            seen.append(True)

    thread = threading.Thread(target=fall)
    thread.start()
    thread.join()
    assert seen


def backlog():
    with tempfile.TemporaryDirectory() as folder:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(folder + "/socket")
        listener.listen(0)

        def send():
            client = socket.socket(socket.AF_UNIX)
            client.connect(folder + "/socket")
            client.sendall(b"x")
            client.close()

        clients = [threading.Thread(target=send) for _ in range(4)]
        for client in clients:
            client.start()
        for _ in clients:
            connection, _ = listener.accept()
            assert connection.recv(1) == b"x"
            connection.close()
        for client in clients:
            client.join()
        listener.close()


for test in (locks, queues, events, locals_of_threads, executor, sockets, signals, children, processes, recursion, backlog):
    test()
waiting = threading.Event()
threads = [threading.Thread(target=waiting.wait) for _ in range(10)]
for thread in threads:
    thread.start()
with open("/proc/self/status") as status:
    number = next(line.split()[1] for line in status if line.startswith("Threads:"))
waiting.set()
print(f"all is well, with {number} kernel thread{'' if number == '1' else 's'}")
sys.exit(0)
