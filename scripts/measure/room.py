"""What a room of phones costs the board, beside as many plain clients. Run by scripts/measure/room.

    scripts/measure/room [--phones 200] [--seconds 10] [--rounds 3] [--stage 05] [--board build/release/clients/board]

Two thirds of the phones ask for a number about twice a second, over real HTTP, each from an address of its own. The
others are what a lecture room has, too: a third of them have gone without a word, a third send a byte now and then, and
a third ask and never read. Then as many plain clients, which the board makes itself, do the same to the same stage.

Meanwhile one more client of the server, which belongs to neither, asks for fib(1) again and again: its rate and its latency
say whether the server notices that its clients are phones. It shares a CPU with the server, and the others have the rest.
The two alternate, for as many rounds as you ask for. The last line has the medians, and the ratio of the two.

Prints for each of the two how many frames a second a page is sent, the longest pause between two, the board's CPU and
memory, and the figures of the server. The phones run on the same machine, and use more of it than the board does.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def source(number):
    return f"127.1.{number // 250}.{number % 250 + 1}"


def memory(pid, name="VmRSS"):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(rf"{name}:\s+(\d+) kB", file.read())[1]) / 1024


def cpu(pid):
    """Seconds that the board has used, without the stage."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Http:
    """One connection, as a browser keeps it."""

    def __init__(self, place, number):
        self.place, self.number, self.token = place, number, ""
        self.reader = self.writer = None

    async def request(self, method, path, wish=None):
        kept = self.writer is not None
        try:
            return await self.once(method, path, wish)
        except (OSError, EOFError):
            self.close()
            if not kept:
                raise
        return await self.once(method, path, wish)  # as a browser does if a connection was ended that it had kept

    async def once(self, method, path, wish):
        if self.writer is None:
            host, _, port = self.place.partition(":")
            self.reader, self.writer = await asyncio.open_connection(host, int(port), local_addr=(source(self.number), 0))
        body = json.dumps(wish) if wish is not None else ""
        self.writer.write(f"{method} {path} HTTP/1.1\r\nHost: {self.place}\r\nAuthorization: Phone {self.token}\r\n"
                          f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        size = int(re.search(r"Content-Length: (\d+)", head)[1])
        text = (await self.reader.readexactly(size)).decode()
        if "Connection: close" in head:
            self.close()
        return int(head.split()[1]), text

    def close(self):
        if self.writer:
            self.writer.close()
        self.reader = self.writer = None


async def join(http):
    while True:
        status, text = await http.request("POST", "/join", {"name": f"Phone {http.number}"})
        if status == 200:
            http.token = json.loads(text)["token"]
            return
        await asyncio.sleep(random.uniform(0.5, 1.5))  # too many at once


async def good_phone(place, number, replies):
    """Two connections: one on which a reply is held back, one to ask. Appends the time of each reply."""
    ask, follow = Http(place, number), Http(place, number)
    try:
        await join(ask)
        follow.token = ask.token
        after = 0
        waits = False
        while True:
            if not waits:
                await asyncio.sleep(random.uniform(0.25, 0.75))
                waits = (await ask.request("POST", "/ask", {"big": False}))[0] == 200
                continue
            status, text = await follow.request("GET", f"/state?after={after}")
            if status != 200:
                continue
            state = json.loads(text)
            after = state.get("version", after)
            for server in state.get("servers", []):
                if "waits" not in server and "ms" in server:
                    replies[number].append(server["ms"])
                    waits = False
    except (asyncio.CancelledError, GeneratorExit):
        pass
    finally:
        ask.close()
        follow.close()


async def bad_phone(place, number, kind):
    http = Http(place, number)
    try:
        await join(http)
        if kind == 0:  # gone: the request for its state is never taken back, nor the reply read
            http.writer.write(f"GET /state?after=0 HTTP/1.1\r\nHost: {place}\r\nAuthorization: Phone {http.token}\r\n\r\n".encode())
            await asyncio.sleep(3600)
        while True:
            try:
                if http.writer is None or http.writer.is_closing():
                    raise ConnectionError
                if kind == 1:  # a byte now and then
                    for byte in f"GET /state?after=0 HTTP/1.1\r\nHost: {place}\r\n":
                        if http.writer.is_closing():
                            break
                        http.writer.write(byte.encode())
                        await asyncio.sleep(0.5)
                else:  # asks and never reads
                    http.writer.write(f"GET / HTTP/1.1\r\nHost: {place}\r\n\r\n".encode() * 4)
                    await http.writer.drain()
                    await asyncio.sleep(0.5)
            except OSError:
                http.close()
                await asyncio.sleep(1)
                host, _, port = place.partition(":")
                http.reader, http.writer = await asyncio.open_connection(host, int(port), local_addr=(source(number), 0),
                                                                         limit=1024)
    except (asyncio.CancelledError, GeneratorExit, OSError):
        pass
    finally:
        http.close()


class Board:
    def __init__(self, options, *arguments):
        self.program = subprocess.Popen([options.board, options.stage, "--port", "0", *arguments], stdout=subprocess.PIPE, text=True)
        line = self.program.stdout.readline()
        if "http" not in line:
            sys.exit(f"room: {options.board} does not start")
        self.url = re.search(r"http\S+", line)[0]
        self.place = re.search(r"http://([^/]+)/", self.program.stdout.readline())[1] if "--room" in arguments else ""

    def do(self, **command):
        origin = re.match(r"http://[^/]+", self.url)[0]
        request = urllib.request.Request(self.url + "do", json.dumps(command).encode(),
                                         {"Content-Type": "application/json", "Origin": origin})
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as response:
            response.read()

    def end(self):
        self.program.send_signal(signal.SIGINT)
        return self.program.wait(30)


async def watch(board, seconds):
    """What a page is sent: when the frames came, and the server's figures."""
    host, _, path = board.url.removeprefix("http://").partition("/")
    name, _, port = host.partition(":")
    reader, writer = await asyncio.open_connection(name, int(port), limit=1 << 24)
    writer.write(f"GET /{path}frames HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    begin = time.monotonic()
    used = cpu(board.program.pid)
    last = None
    made, figures = [], []
    bystander = None
    while time.monotonic() < begin + seconds or bystander is None or bystander.is_alive():
        line = await reader.readline()
        if not line.startswith(b"data: {\"t\":"):
            continue
        frame = json.loads(line[6:])
        if last is None:
            last = frame["t"]
        if time.monotonic() - begin > 0.5:  # at first come the seconds before
            made.append(frame["t"] / 1e6)
            if "m" in frame:
                figures.append(frame["m"])
                if bystander is None:
                    replies, mine = multiprocessing.Pipe(False)
                    bystander = multiprocessing.Process(target=ask_again, args=(board.program.pid, frame["m"]["port"], seconds, mine))
                    bystander.start()
    writer.close()
    gaps = [later - earlier for earlier, later in zip(made, made[1:])]
    return {"frames": (len(made) - 1) / (made[-1] - made[0]), "gap": max(gaps), "figures": figures, "bystander": replies.recv(),
            "cpu": (cpu(board.program.pid) - used) / (time.monotonic() - begin)}


def below(pid):
    """A process and its descendants."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8") as file:
                    parents[int(name)] = int(file.read().rpartition(")")[2].split()[1])
            except OSError:
                pass
    found = [pid]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found


def ask_again(board, port, seconds, result):
    """The bystander. Sends its requests per second, and their median in milliseconds."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) > 1:
        for process in below(board):
            for thread in os.listdir(f"/proc/{process}/task"):
                os.sched_setaffinity(int(thread), cpus[1:] if process == board else cpus[:1])
        os.sched_setaffinity(os.getppid(), cpus[1:])
        os.sched_setaffinity(0, cpus[:1])
    times = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        end = time.monotonic() + seconds
        while (begin := time.monotonic()) < end:
            connection.sendall(b"1\n")
            if not connection.recv(100).endswith(b"\n"):
                break
            times.append(time.monotonic() - begin)
    result.send((len(times) / seconds, 1000 * statistics.median(times)))


def report(name, seen, before, board, extra=""):
    rates = [m["rate"] for m in seen["figures"]]
    medians = [m["median"] for m in seen["figures"] if m["rate"] > 0]
    extra = f"{seen['bystander'][0]:6.0f} {seen['bystander'][1]:8.3f} ms  {extra}"
    print(f"{name:14} {seen['frames']:8.1f} {seen['gap'] * 1000:9.0f} ms {100 * seen['cpu']:5.0f} % {before:8.1f} {memory(board.program.pid):8.1f} "
          f"{memory(board.program.pid, 'VmHWM'):8.1f} MB {statistics.mean(rates):8.0f} {statistics.median(medians or [0]):8.2f} ms  {extra}", flush=True)


async def with_phones(options):
    board = Board(options, "--room", "127.0.0.1:0")
    before = memory(board.program.pid)
    replies = {}
    tasks = []
    good = 0
    for number in range(options.phones):
        if number % 3 == 2:
            tasks.append(asyncio.create_task(bad_phone(board.place, number, number // 3 % 3)))
        else:
            replies[number] = []
            good += 1
            tasks.append(asyncio.create_task(good_phone(board.place, number, replies)))
    deadline = time.monotonic() + 120
    while any(not times for times in replies.values()) and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
    for times in replies.values():
        times.clear()
    seen = await watch(board, options.seconds)
    served = sum(bool(times) for times in replies.values())
    report(f"{options.phones} phones", seen, before, board, f"{served} of {good} good phones were served meanwhile")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    grown = memory(board.program.pid, "VmHWM") - before
    status = board.end()
    if grown > options.most_memory:
        print(f"room: the board has grown by {grown:.0f} MB", file=sys.stderr)
    return seen["bystander"], status == 0 and served == good and grown < options.most_memory


async def with_clients(options, count):
    board = Board(options)
    before = memory(board.program.pid)
    board.do(do="client", count=count)
    if options.phones > count:
        board.do(do="idle", count=options.phones - count)
    await asyncio.sleep(3)
    seen = await watch(board, options.seconds)
    report(f"{count} clients", seen, before, board)
    return seen["bystander"], board.end() == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phones", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stage", default="05")
    parser.add_argument("--board", default=str(ROOT / "build/release/clients/board"))
    parser.add_argument("--most-memory", type=float, default=80, metavar="MB",
                        help="it fails if the board grows by more; the film of the last minute alone may have 48 (default: 80)")
    options = parser.parse_args()
    print(f"{'':14} frames/s  longest gap   CPU  memory before, now, most          reqs/s   median    and the one more client", flush=True)
    fine = True
    beside = {"clients": [], "phones": []}
    cpus = os.sched_getaffinity(0)
    for _ in range(options.rounds):
        for kind, run in (("clients", with_clients(options, options.phones - options.phones // 3)), ("phones", with_phones(options))):
            os.sched_setaffinity(0, cpus)
            figures, well = asyncio.run(run)
            beside[kind].append(figures)
            fine = fine and well
    rate, wait = ({kind: statistics.median(figures[index] for figures in rounds) for kind, rounds in beside.items()} for index in (0, 1))
    print(f"the one more client: {rate['phones']:.0f} reqs/sec beside phones, {rate['clients']:.0f} beside clients, ratio {rate['phones'] / rate['clients']:.2f}; "
          f"median {wait['phones']:.3f} ms and {wait['clients']:.3f} ms, ratio {wait['phones'] / wait['clients']:.2f}")
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
