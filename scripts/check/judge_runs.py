"""What scripts/check/judge-runs does when all is built."""

import argparse
import collections
import concurrent.futures
import contextlib
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "shared"))
import peers  # noqa: E402

BUILD = ROOT / "build" / "release"
JUDGE = BUILD / "clients" / "judge"


class Contestant:
    """A stage or a peer, and what was said of it. One judgement at a time."""

    def __init__(self, name, command, options, peer=None):
        self.name = name
        self.command = command
        self.options = options
        self.peer = peer
        self.verdicts = collections.defaultdict(collections.Counter)  # of each promise
        self.seconds = []
        self.first = []  # until the first verdict
        self.slowdowns = []

    def judge(self, only, running):
        """One judgement; None if it was interrupted."""
        start = time.monotonic()
        with tempfile.NamedTemporaryFile() as result:
            command = [JUDGE, "--time-limit", "900", "--json", result.name, *only, *self.options, "--", *self.command]
            with running.process(command) as process:
                process.stdout.readline()
                first = time.monotonic() - start
                process.stdout.read()
            if running.stopped or process.returncode in (130, -signal.SIGTERM):
                return None
            judgement = json.load(result)
        return {"name": self.name, "only": only[1:], "first": first, "seconds": time.monotonic() - start,
                "slowdown": judgement["slowdown"],
                "promises": [{key: promise[key] for key in ("id", "verdict", "cause")}
                             for promise in judgement["promises"] if promise["verdict"] != "not applicable"]}

    def add(self, judgement):
        """Says what it does not like about it."""
        self.first.append(judgement["first"])
        self.seconds.append(judgement["seconds"])
        self.slowdowns.append(judgement["slowdown"])
        for promise in judgement["promises"]:
            verdict = promise["verdict"]
            self.verdicts[promise["id"]][verdict] += 1
            follows = promise["cause"].startswith("not judged, because")
            told = verdict not in ("pass", "by design", *(["fail"] if self.peer else []))
            if told and not follows:
                print(f"{self.name}: {promise['id']}: {verdict}: {promise['cause']} (slowdown "
                      f"{judgement['slowdown']:.1f})", flush=True)

    def wrong(self):
        """The promises with wrong verdicts."""
        return [name for name, counts in self.verdicts.items()
                if counts["judge's error"] or counts["fail"] and (not self.peer or counts["pass"] + counts["by design"])]

    def summary(self):
        counts = sum(self.verdicts.values(), collections.Counter())
        told = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
        return (f"{self.name:20} {len(self.seconds):3} judgements; seconds: {statistics.median(self.seconds):.0f}, at most "
                f"{max(self.seconds):.0f}; first verdict: {statistics.median(self.first):.1f}, at most "
                f"{max(self.first):.1f}; slowdown: {statistics.median(self.slowdowns):.1f}, at most "
                f"{max(self.slowdowns):.1f}; {told}")


def all_contestants():
    table = subprocess.run([ROOT / "scripts" / "stages", "--tsv"], capture_output=True, text=True, check=True).stdout
    for line in table.splitlines():
        name, _, model = line.split("\t")[:3]
        program = BUILD / "stages" / name
        if model != "no server" and program.exists():
            yield Contestant(name, [str(program), "--quiet"], ["--as", name, "--framing", "auto"])
    green = BUILD / "stages" / "06c_monkey_patch"
    if green.exists():
        command = [str(green), str(BUILD / "stages" / "02_threads"), "--quiet"]
        yield Contestant(green.name, command, ["--as", "04", "--framing", "auto"])
    for peer in peers.PEERS:
        yield Contestant(peer.name, [peer.program], ["--as", peer.relative] if peer.relative else [], peer)


def chosen(words):
    contestants = list(all_contestants())
    found = []
    for word in words:
        matches = [c for c in contestants if c.name == word] or [c for c in contestants if word in re.split("_", c.name)]
        if not matches:
            sys.exit(f"judge-runs: there is no '{word}'; there are {', '.join(c.name for c in contestants)}")
        found += matches
    found = found or contestants
    able = peers.ready([c.peer for c in found if c.peer])
    return [c for c in found if not c.peer or c.peer in able]


@contextlib.contextmanager
def load(count):
    """That many processes that compute."""
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


class Running:
    """The judges that run now, each on behalf of a thread."""

    def __init__(self):
        self.stopped = False
        self.lock = threading.Lock()
        self.processes = set()

    @contextlib.contextmanager
    def process(self, command):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            with self.lock:
                self.processes.add(process)
                if self.stopped:
                    process.terminate()
            try:
                yield process
            finally:
                process.wait()
                with self.lock:
                    self.processes.remove(process)

    def stop(self):
        with self.lock:
            self.stopped = True
            for process in self.processes:
                process.terminate()


def judge_all(contestants, arguments, kept):
    """Those with the fewest judgements come first. So at any end all have about as many."""
    only = ["--only", arguments.only] if arguments.only else []
    running = Running()
    busy = {}
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as executor:
        try:
            while True:
                waiting = sorted((c for c in contestants if c not in busy.values() and len(c.seconds) < arguments.runs),
                                 key=lambda c: len(c.seconds))
                for contestant in waiting[:arguments.jobs - len(busy)]:
                    busy[executor.submit(contestant.judge, only, running)] = contestant
                if not busy:
                    return
                for future in concurrent.futures.wait(busy, return_when=concurrent.futures.FIRST_COMPLETED).done:
                    contestant = busy.pop(future)
                    judgement = future.result()
                    if judgement is None:
                        raise KeyboardInterrupt
                    contestant.add(judgement)
                    if kept:
                        kept.write(json.dumps(judgement) + "\n")
                        kept.flush()
                    fewest = min(len(c.seconds) for c in contestants)
                    if fewest == len(contestant.seconds) and all(c.seconds for c in contestants):
                        print(f"{fewest} of {arguments.runs} judgements of each", file=sys.stderr, flush=True)
        finally:
            running.stop()


def main():
    cpus = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(prog="scripts/check/judge-runs", description=__doc__)
    parser.add_argument("--runs", type=int, default=50, metavar="N", help="judgements of each (default: 50)")
    parser.add_argument("--load", type=int, default=2 * cpus, metavar="N",
                        help="processes that compute meanwhile (default: two for each CPU)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N",
                        help="so many judges at once, each of which is load for the others (default: 1)")
    parser.add_argument("--keep", metavar="FILE", help="add each judgement to FILE, and count those that it has already")
    parser.add_argument("--only", metavar="LIST", help="only these promises and groups, as for judge")
    parser.add_argument("names", nargs="*", metavar="NAME", help="a stage or a peer, or a part of its name")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    contestants = chosen(arguments.names)
    with contextlib.ExitStack() as stack:
        kept = stack.enter_context(open(arguments.keep, "a+", encoding="utf-8")) if arguments.keep else None
        if kept:
            by_name = {c.name: c for c in contestants}
            kept.seek(0)
            for judgement in map(json.loads, kept):
                if judgement["name"] in by_name and judgement["only"] == ([arguments.only] if arguments.only else []):
                    by_name[judgement["name"]].add(judgement)
        stack.enter_context(load(arguments.load))
        stack.enter_context(contextlib.suppress(KeyboardInterrupt))
        judge_all(contestants, arguments, kept)
    wrong = False
    for contestant in contestants:
        if contestant.seconds and contestant.verdicts:
            print(contestant.summary())
        for promise in contestant.wrong():
            wrong = True
            counts = ", ".join(f"{count} {verdict}" for verdict, count in contestant.verdicts[promise].most_common())
            print(f"    WRONG: {promise}: {counts}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
