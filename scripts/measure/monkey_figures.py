"""Measures 02_threads under 06c_monkey_patch. Run by scripts/measure/monkey-figures, which builds them first.

CPU per request as scripts/measure/bench measures it: server and client pinned apart, a fresh server for each
measurement, in turns, and ratios within a round. Memory for each client: many clients connect, ask once each and
stay. The server's own memory is that of its heaps and stacks. The kernel's is the growth of kernel stacks, page tables
and slabs (/proc/meminfo), for both ends of each connection. It includes everything else that runs, so nothing else
should run. bare_epoll keeps almost nothing for a client, so it shows the part of the connections themselves.
"""

import argparse
import re
import resource
import socket
import statistics
import sys
import time
from pathlib import Path

import bench

NATIVE = "02_threads"
GREEN = "06c 02_threads"


def contestants():
    stages = bench.BIN / "stages"
    options = ("--port", "0", "--quiet")
    green = bench.Contestant(stages / "06c_monkey_patch", str(stages / NATIVE), *options)
    green.name = GREEN
    return [bench.Contestant(bench.BIN / "tests" / "bare" / "bare_epoll", "0"),
            bench.Contestant(stages / NATIVE, *options), green]


def kernel_memory():
    text = Path("/proc/meminfo").read_text()
    return sum(1024 * int(re.search(rf"^{name}: +(\d+) kB", text, re.M)[1])
               for name in ("Slab", "KernelStack", "PageTables"))


def settled(look):
    """The kernel frees some things later: reads until two values in a row are nearly the same."""
    before = look()
    for _ in range(50):
        time.sleep(0.1)
        after = look()
        if abs(after - before) < 1 << 17:
            break
        before = after
    return after


def measure_memory(one, number, arguments):
    with bench.Server(one, arguments.server_cpu) as server:
        host, port = server.address.rsplit(":", 1)
        pids = bench.process_tree(server.process.pid)
        clients = []

        def connect(count):
            new = [socket.create_connection((host, int(port))) for _ in range(count)]
            clients.extend(new)
            for client in new:
                client.sendall(b"1\n")
            for client in new:
                if client.recv(100) != b"1\n":
                    raise bench.Failed(f"{one.name}: a client was not answered")

        connect(1)
        own, kernel = bench.memory(pids), settled(kernel_memory)
        while len(clients) <= number:
            connect(min(100, number + 1 - len(clients)))
        threads = len(list(Path(f"/proc/{server.process.pid}/task").iterdir()))
        result = {"own": (bench.memory(pids) - own) / number,
                  "kernel": (settled(kernel_memory) - kernel) / number, "threads": threads}
        for client in clients:
            client.close()
    settled(kernel_memory)
    return result


def median(results, name, field):
    return statistics.median(result[name][field] for result in results)


def ratio(results, value):
    values = [value(result[GREEN]) / value(result[NATIVE]) for result in results]
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default 5)")
    parser.add_argument("--seconds", type=float, default=3, help="of each measurement of CPU time (default 3)")
    parser.add_argument("--clients", type=int, default=64, help="for the CPU per request (default 64)")
    parser.add_argument("--many", type=int, default=5000, help="for the memory (default 5000)")
    parser.add_argument("--server-cpu", type=int, default=0)
    parser.add_argument("--client-cpu", type=int, default=1)
    arguments = parser.parse_args()

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < arguments.many + 100:
        sys.exit(f"monkey-figures: ulimit -Hn is {hard}; try --many {hard - 100}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, arguments.many + 100), hard))

    costs, memories = [], []
    try:
        for number in range(arguments.rounds):
            order = contestants() if number % 2 == 0 else contestants()[::-1]
            print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
            costs.append({one.name: bench.measure(one, arguments.clients, arguments, number) for one in order})
            memories.append({one.name: measure_memory(one, arguments.many, arguments) for one in order})
    except bench.Failed as failure:
        sys.exit(f"monkey-figures: {failure}")

    print(f"`scripts/measure/monkey-figures` on: {bench.machine()}. Medians of {arguments.rounds} rounds, ratios within a "
          "round with their extremes.\n")
    print(f"| server | reqs/sec, {arguments.clients} clients | CPU per request | memory for each of "
          f"{arguments.many:,}: its own | the kernel's | together | kernel threads |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for one in contestants():
        own, kernel = (median(memories, one.name, field) for field in ("own", "kernel"))
        print(f"| {one.name} | {median(costs, one.name, 'rate'):,.0f} | {median(costs, one.name, 'cpu') * 1e6:.2f} us "
              f"| {own:,.0f} B | {kernel:,.0f} B | {own + kernel:,.0f} B "
              f"| {median(memories, one.name, 'threads'):,.0f} |")
    print(f"\n| {GREEN} / {NATIVE} | | goal |")
    print("|---|--:|---|")
    print(f"| CPU per request | {ratio(costs, lambda figures: figures['cpu'])} | at most 0.8 |")
    print(f"| memory, the kernel's included | {ratio(memories, lambda figures: figures['own'] + figures['kernel'])} "
          "| at most 0.5 |")


if __name__ == "__main__":
    main()
