"""Counts the schedules that it takes to break each wrong turn. Run by scripts/measure/explore, which builds them first.

Three ways: explore as it is, explore with a random choice at every step (the median of five seeds), and perf with four
clients and pipelined requests for as long as explore may take. perf finds a wrong reply and a reply that does not come;
if the server counts its requests, the count is compared as well.
"""

import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "shared"))
import wrong_turns  # noqa: E402

BIN = ROOT / "build" / "release"
PAGE = ROOT / "docs" / "explore.md"
BEGIN, END = "<!-- the table of scripts/measure/explore -->\n", "<!-- its end -->\n"
SEEDS = 5


def explored(turn, budget, *options):
    command = [BIN / "clients" / "explore", "-q", "--json", "-", "--budget", str(budget), "--wrong", turn.name, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        sys.exit(f"measure/explore: {done.stderr or done.stdout}")
    return json.loads(done.stdout)["stories"][0]


def ask(port, text):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(text.encode())
        client.shutdown(socket.SHUT_WR)
        reply = b""
        while chunk := client.recv(4096):
            reply += chunk
        return reply.decode().strip()


def under_load(turn, budget):
    """How long it takes until perf, second after second, notices something; None if it does not."""
    options = turn.options.split() + (["--pool", "threads", "--workers", "1"] if turn.stage.startswith(("05", "06")) else [])
    program = BIN / "stages" / "wrong_turns" / turn.name
    with subprocess.Popen([program, "--port", "0", "--quiet", *options], stdout=subprocess.PIPE, text=True) as server:
        try:
            port = int(re.search(r"127\.0\.0\.1:(\d+)", server.stdout.readline())[1])
            begin, answered = time.monotonic(), 0
            while time.monotonic() - begin < budget:
                load = subprocess.run([BIN / "clients" / "perf", "-d", "1s", "-c", "4", "-P", "16", "--fib", "3:50,4:50",
                                       "-q", "--json", f"127.0.0.1:{port}"],
                                      capture_output=True, text=True, check=False)
                if load.returncode != 0:
                    return time.monotonic() - begin
                if turn.stage.startswith("02d"):
                    # What was in flight at the end was counted, and perhaps not read.
                    answered += json.loads(load.stdout)["requests"] if load.stdout.startswith("{") else 0
                    if int(ask(port, "count\n")) < answered:
                        return time.monotonic() - begin
            return None
        finally:
            server.kill()


def seconds(time_taken):
    return f"{time_taken:.1f} s" if time_taken < 10 else f"{time_taken:.0f} s"


def row_of(turn, budget):
    story = explored(turn, budget)
    found = story.get("found")
    rate = story["schedules"] / max(story["seconds"], 0.001)
    by_explore = f"{found['after_runs']} ({seconds(found['after_seconds'])})" if found else "not found"
    steps = len(found["steps"]) if found else story["most_steps"]
    at_random = []
    for seed in range(1, SEEDS + 1):
        other = explored(turn, budget, "--strategy", "random", "--seed", str(seed)).get("found")
        at_random.append(other["after_runs"] if other else float("inf"))
    median = statistics.median(at_random)
    loaded = under_load(turn, budget)
    return [turn.name, f"{rate:.0f}", str(steps), by_explore, "not found" if median == float("inf") else f"{median:.0f}",
            "not found" if loaded is None else seconds(loaded)]


def main():
    parser = argparse.ArgumentParser(prog="scripts/measure/explore")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--budget", type=float, default=60)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    if options.record and options.only:
        parser.error("--record needs the whole table")
    load = os.getloadavg()[0]
    rows = [["wrong turn", "schedules a second", "steps", "explore: found in run", "at random: in run",
             "perf: noticed after"], ["---", "--:", "--:", "--:", "--:", "--:"]]
    for turn in wrong_turns.all_of_them():
        if turn.story and turn.name.startswith(options.only):
            rows.append(row_of(turn, options.budget))
            print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    busy = f"The machine was busy: its load was {load:.0f} before the measurement. " if load > 1 else ""
    table += f"\n{busy}At most {options.budget:.0f} s for each. At random: the median of {SEEDS} seeds.\n"
    print(table)
    if options.record:
        text = PAGE.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        _, _, after = rest.partition(END)
        PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
