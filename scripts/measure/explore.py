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
NOT_FOUND = "<!-- what scripts/measure/explore --stages has not found -->\n"
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


def grouped(counts):
    """Schedules with so many pre-emptions, and whether these are all that there are."""
    number, complete = counts
    return f"{number:,}, all" if complete else f"{number:,}" if number else "-"


def certainty(story, depth):
    """How likely an error of this depth would have shown, at least: search.cpp says how."""
    once = 1 / (max(story["actors"], 1) * max(story["most_steps"], 1) ** (depth - 1))
    share = 1 - (1 - once) ** story[f"priorities_{depth}"]
    return "more than 99.99%" if share > 0.9999 else f"{int(share * 1000) / 10:.1f}%" if share > 0.99 else f"{int(share * 100)}%"


def not_found(files):
    """A table of what `explore --json FILE STAGE` has tried without finding anything."""
    rows = [["stage", "story", "seconds", "no pre-emption", "one", "two", "by priorities", "depth 2", "depth 3"],
            ["---", "---", *["--:"] * 7]]
    for name in files:
        report = json.loads(Path(name).read_text(encoding="utf-8"))
        if report.get("format") != "explore 1":
            sys.exit(f"measure/explore: {name} is no file of explore --json")
        for story in report["stories"]:
            which = " ".join([report["stage"], *report["options"]])
            if "found" in story:
                sys.exit(f"measure/explore: {name}: in {which}, story {story['story']}, a promise is broken")
            kinds = zip((story[f"{kind}_preemption{end}"] for kind, end in (("without", ""), ("one", ""), ("two", "s"))), story["complete"])
            rows.append([which, story["story"], f"{story['seconds']:.0f}", *map(grouped, kinds),
                         f"{story['priorities_2'] + story['priorities_3']:,}", certainty(story, 2), certainty(story, 3)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def put(table, begin):
    """Between this line of the page and the next end."""
    text = PAGE.read_text(encoding="utf-8")
    before, found, rest = text.partition(begin)
    if not found:
        sys.exit(f"measure/explore: {PAGE} has no line {begin}")
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{begin}\n{table}\n{END}{after}", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(prog="scripts/measure/explore")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--budget", type=float, default=60)
    parser.add_argument("--only", default="")
    parser.add_argument("--stages", nargs="+", metavar="FILE")
    options = parser.parse_args()
    if options.stages:
        table = not_found(options.stages)
        print(table)
        if options.record:
            put(table, NOT_FOUND)
        return
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
        put(table, BEGIN)


if __name__ == "__main__":
    main()
