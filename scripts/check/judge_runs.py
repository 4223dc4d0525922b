"""What scripts/check/judge-runs does when all is built."""

import argparse
import collections
import contextlib
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "shared"))
import peers  # noqa: E402

BUILD = ROOT / "build" / "release"
JUDGE = BUILD / "clients" / "judge"


class Contestant:
    def __init__(self, name, command, options, peer=None):
        self.name = name
        self.command = command
        self.options = options
        self.peer = peer
        self.verdicts = collections.defaultdict(collections.Counter)  # of each promise
        self.seconds = []
        self.first = []  # until the first verdict

    def judge(self, only):
        """One judgement. Says what it did not like."""
        start = time.monotonic()
        with tempfile.NamedTemporaryFile() as result:
            command = [JUDGE, "--time-limit", "600", "--json", result.name, *only, *self.options, "--", *self.command]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                try:
                    process.stdout.readline()
                    first = time.monotonic() - start
                    process.stdout.read()
                except BaseException:
                    process.terminate()
                    raise
            self.first.append(first)
            self.seconds.append(time.monotonic() - start)
            if process.returncode == 130:
                raise KeyboardInterrupt
            judgement = json.load(result)
        for promise in judgement["promises"]:
            verdict = promise["verdict"]
            self.verdicts[promise["id"]][verdict] += 1
            follows = promise["cause"].startswith("not judged, because")
            told = verdict not in ("pass", "by design", "not applicable", *(["fail"] if self.peer else []))
            if told and not follows:
                print(f"{self.name}: {promise['id']}: {verdict}: {promise['cause']} (slowdown {judgement['slowdown']:.1f})",
                      flush=True)

    def wrong(self):
        """The promises with wrong verdicts."""
        return [name for name, counts in self.verdicts.items()
                if counts["judge's error"] or counts["fail"] and (not self.peer or counts["pass"] + counts["by design"])]

    def summary(self):
        counts = sum(self.verdicts.values(), collections.Counter())
        told = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common() if verdict != "not applicable")
        return (f"{self.name:20} {len(self.seconds):3} judgements; seconds: {statistics.median(self.seconds):.0f}, at most "
                f"{max(self.seconds):.0f}; first verdict: {statistics.median(self.first):.1f}, at most "
                f"{max(self.first):.1f}; {told}")


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


def main():
    parser = argparse.ArgumentParser(prog="scripts/check/judge-runs", description=__doc__)
    parser.add_argument("--runs", type=int, default=50, metavar="N", help="judgements of each (default: 50)")
    parser.add_argument("--load", type=int, default=2 * len(os.sched_getaffinity(0)), metavar="N",
                        help="processes that compute meanwhile (default: two for each CPU)")
    parser.add_argument("--only", metavar="LIST", help="only these promises and groups, as for judge")
    parser.add_argument("names", nargs="*", metavar="NAME", help="a stage or a peer, or a part of its name")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    contestants = chosen(arguments.names)
    with load(arguments.load), contextlib.suppress(KeyboardInterrupt):
        for number in range(arguments.runs):
            for contestant in contestants:
                contestant.judge(["--only", arguments.only] if arguments.only else [])
            print(f"round {number + 1} of {arguments.runs} done", file=sys.stderr, flush=True)
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
