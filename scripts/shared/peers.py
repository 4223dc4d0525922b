"""The same server in other languages, beside ours. Run by scripts/peers, which installs and builds what is missing.

Each peer is a program of a few lines in scripts/shared/peers.d that speaks our protocol. compare starts the peers and the
stages beside them, pins them in the same way and gives all of them the same work. That is a crowd, one small client
beside one that asks for big numbers, several big requests at once, and one client beside a thousand silent ones.

--judge asks the judge which of our promises each peer keeps, and makes a table of that (docs/judge.md).

--goals holds one stage against Go's package net, and against Redis: rounds in which the contestants take turns, ratios
within a round, then medians and extremes. Beside Go, server and clients may use all CPUs, and nothing is pinned. Beside
Redis, each has one thread on a CPU of its own.
"""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "shared"))
import recording  # noqa: E402

SOURCES = ROOT / "scripts" / "shared" / "peers.d"
BIN = ROOT / "build" / "release"
PERF = BIN / "clients" / "perf"
COMPARE = BIN / "clients" / "compare"
JUDGE = BIN / "clients" / "judge"
PYTHON = "/usr/bin/python3"  # Debian's own: others do not find its packages
SCENARIOS = "crowd,hog,parallel,idle"
# The stages beside the peers, unless --stages says otherwise: the relatives of each.
STAGES = ("02_threads,02b_threads_gil,02c_fork,03_process_pool,04_generators,04b_callbacks,06b_greenlets,"
          "07_coroutines,09_all_cores")


class Failed(Exception):
    """Something could not be built or measured; the text says why."""


class Peer:
    def __init__(self, source, packages, relative, module="", build=()):
        self.name = Path(source).stem
        self.source = SOURCES / source
        self.packages = packages
        self.relative = relative  # the stage whose model it has
        self.module = module  # modules that Python has to find
        self.build_command = build

    @property
    def stands_for(self):
        text = re.sub(r"\s*(//|\*)\s*", " ", self.source.read_text()[:600]).replace("\n", " ")
        return re.search(r"Stands for: (.*?)\.(?=\s|\"|/)", text)[1]

    @property
    def program(self):
        return str(BIN / "peers" / self.name if self.build_command else self.source)

    def missing(self):
        """Why it can't run here; empty if it can."""
        if self.build_command:
            if not shutil.which(self.build_command[0]):
                return f"there is no {self.build_command[0]}"
            uv = subprocess.run(["cc", "-E", "-include", "uv.h", "-xc", "/dev/null"], capture_output=True, check=False)
            return "there is no uv.h" if "-luv" in self.build_command and uv.returncode else ""
        found = subprocess.run([PYTHON, "-c", f"import {self.module or 'sys'}"], capture_output=True, check=False)
        return "" if found.returncode == 0 else f"{PYTHON} has no {self.module}"

    def build(self):
        """Builds again only if the source is newer."""
        program = Path(self.program)
        if not self.build_command or program.exists() and program.stat().st_mtime > self.source.stat().st_mtime:
            return
        program.parent.mkdir(parents=True, exist_ok=True)
        words = {"SOURCE": str(self.source), "PROGRAM": self.program}
        command = [words.get(word, word) for word in self.build_command]
        environment = {**os.environ, "GO111MODULE": "off", "GOCACHE": str(program.parent / "go-cache")}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(f"{self.name} can't be built: {done.stderr.strip()}")


PEERS = [
    Peer("python_threads.py", ["python3"], "02"),
    Peer("python_fork.py", ["python3"], "02c"),
    Peer("python_generators.py", ["python3"], "04"),
    Peer("python_process_pool.py", ["python3"], "03"),
    Peer("python_asyncio.py", ["python3"], "04"),
    Peer("python_uvloop.py", ["python3", "python3-uvloop"], "04", module="uvloop"),
    Peer("python_gevent.py", ["python3", "python3-gevent"], "04", module="gevent"),
    Peer("go_net.go", ["golang-go"], "", build=("go", "build", "-o", "PROGRAM", "SOURCE")),
    Peer("c_libuv.c", ["libuv1-dev"], "04b", build=("cc", "-O2", "-o", "PROGRAM", "SOURCE", "-luv")),
]


def chosen(only):
    """The peers whose name contains one of the words: go, asyncio."""
    for word in only:
        if not any(word in peer.name for peer in PEERS):
            sys.exit(f"peers: no peer is called '{word}'; there are {', '.join(peer.name for peer in PEERS)}")
    return [peer for peer in PEERS if not only or any(word in peer.name for word in only)]


def existing(stages):
    """The stages whose names begin with these words, and the words without a stage."""
    names = sorted(source.stem for source in ROOT.glob("stages/[0-9]*.cpp"))
    found, lacking = [], []
    for word in stages:
        matches = [n for n in names if n == word] or [n for n in names if n.startswith(word + "_")]
        found += matches
        lacking += [] if matches else [word]
    return found, lacking


def versions(peers):
    """The versions of what runs the peers."""
    def first_line(*command):
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split("\n")[0].strip()

    def package(name):
        return f"{name} {first_line('dpkg-query', '-W', '-f', '${Version}', name)}"

    found = []
    for peer in peers:
        if not peer.build_command:
            found.append(first_line(PYTHON, "--version"))
            found += [package(name) for name in peer.packages if name != "python3"]
        elif peer.build_command[0] == "go":
            found.append(first_line("go", "version").removeprefix("go version "))
        else:
            found += [package(name) for name in peer.packages]
    return ", ".join(dict.fromkeys(found))


# --- The table ---------------------------------------------------------------------------------------

def ready(peers):
    """The peers that can run here. Prints why the others can't."""
    able = []
    for peer in peers:
        if why := peer.missing():
            print(f"peers: {peer.name} is left out: {why}", file=sys.stderr)
            continue
        peer.build()
        able.append(peer)
    return able


def compare(peers, stages, arguments):
    programs = [os.path.relpath(peer.program, ROOT) for peer in peers]
    command = [str(COMPARE.relative_to(ROOT)), *stages, *programs, "--scenario", SCENARIOS, "--markdown",
               "--big", str(arguments.big), "--runs", str(arguments.rounds), "--duration", f"{arguments.seconds:g}s"]
    if arguments.html:
        command += ["--html", str(Path(arguments.html).absolute())]
    run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if run.returncode == 130:
        sys.exit(130)
    # A peer that fails is a result: its row says so. Without a table there is no result.
    if not run.stdout.strip():
        raise Failed(f"compare has failed (exit status {run.returncode}); see above")
    *tables, how = [part for part in run.stdout.strip().split("\n\n") if not part.startswith("- ")]
    words = " ".join(["scripts/peers", *(a for a in sys.argv[1:] if a != "--record")])
    return "\n\n".join([f"`{words}` on: {recording.machine()}; {versions(peers)}; {how}", *tables]) + "\n"


# --- The promises ------------------------------------------------------------------------------------

CELLS = {"pass": "kept", "fail": "broken", "by design": "by design", "not applicable": "-", "unknown": "unknown",
         "judge's error": "error"}


def judged(peer):
    """What the judge says of it."""
    print(f"peers: judging {peer.name}", file=sys.stderr, flush=True)
    like = ["--as", peer.relative] if peer.relative else []
    run = subprocess.run([JUDGE, *like, "--time-limit", "600", "--json", "-", "--", peer.program],
                         stdout=subprocess.PIPE, text=True, check=False)
    if run.returncode == 130:
        sys.exit(130)
    if not run.stdout:
        raise Failed(f"the judge has failed at {peer.name} (exit status {run.returncode}); see above")
    return json.loads(run.stdout)


def cell(promise):
    follows = promise["cause"].startswith("not judged, because")
    return "not judged" if follows else CELLS[promise["verdict"]]


def promises_table(peers):
    judgements = {peer: judged(peer) for peer in peers}
    rows = {}
    causes = []
    for peer, judgement in judgements.items():
        for promise in judgement["promises"]:
            rows.setdefault(promise["id"], {})[peer] = promise
            if cell(promise) in ("broken", "unknown", "error"):
                causes.append(f"- `{peer.name}`, `{promise['id']}`: {promise['cause']}.")
    lines = [f"| promise | {' | '.join(peer.name.replace('_', ' ') for peer in peers)} |", "|---|" + "---|" * len(peers)]
    for name, of_peers in rows.items():
        cells = [cell(of_peers[peer]) for peer in peers]
        if set(cells) != {"-"}:
            lines.append(f"| `{name}` | {' | '.join(cells)} |")
    models = ", ".join(f"{peer.name} as {peer.relative}" for peer in peers if peer.relative)
    without = ", ".join(peer.name for peer in peers if not peer.relative)
    command = " ".join(["scripts/peers", *(a for a in sys.argv[1:] if a != "--record")])
    head = f"`{command}` with {versions(peers)}; {models}{f'; {without} without a model' if without else ''}."
    return "\n".join([head, "", *lines, *([""] if causes else []), *causes]) + "\n"


# --- The goals ---------------------------------------------------------------------------------------

@contextmanager
def running(command):
    """A server and its address; leaves nothing behind."""
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = server.stdout.readline()
        if " listening on " not in line:
            server.kill()
            raise Failed(f"{command[-1]} does not start: {server.communicate()[1].strip() or line.strip()}")
        yield line.split()[-1]
    finally:
        server.terminate()
        try:
            server.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            server.kill()
            server.communicate()


@contextmanager
def redis(cpu):
    """A Redis of our own, which stores nothing; its port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        ["taskset", "-c", str(cpu), "redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "",
         "--appendonly", "no", "--io-threads", "1", "--daemonize", "no", "--dir", "/tmp"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        said = []
        for line in server.stdout:
            said.append(line.strip())
            if "Ready to accept connections" in line:
                break
        else:
            raise Failed(f"redis-server does not start: {said[-1] if said else 'it says nothing'}")
        yield port
    finally:
        server.terminate()
        server.communicate()


def perf(address, seconds, *options, before=()):
    run = subprocess.run([*before, PERF, address, "-d", f"{int(seconds * 1000)}ms", "-w", "300ms", "-q", "--json", *options],
                         capture_output=True, text=True, timeout=seconds + 60, check=False)
    try:
        report = json.loads(run.stdout)
    except ValueError:
        raise Failed(f"perf at {address}: {run.stderr.strip()}") from None
    # If some of 9,000 had no reply within a second, that is slow, but no error.
    if any(count for kind, count in report["errors"].items() if kind != "unanswered") or not report["requests"]:
        raise Failed(f"perf at {address}: {'; '.join(report['failures'])}")
    return report["rate"]


def redis_benchmark(port, seconds, before):
    def once(requests):
        run = subprocess.run([*before, "redis-benchmark", "-p", str(port), "-t", "ping_inline", "-P", "64",
                              "-n", str(requests), "--csv"],
                             capture_output=True, text=True, timeout=seconds * 20 + 60, check=False)
        rates = re.findall(r'^"PING_INLINE","([0-9.]+)"', run.stdout, re.M)
        if not rates:
            raise Failed(f"redis-benchmark: {run.stderr.strip() or run.stdout.strip()}")
        return float(rates[0])

    return once(int(once(100_000) * seconds))  # it counts requests, not seconds


def measure_goals(stage, go, arguments):
    """For each goal, the rates of both contestants in each round."""
    cpus = sorted(os.sched_getaffinity(0))
    server_cpu, client_cpu = cpus[0], cpus[-1]
    program = str(BIN / "stages" / stage)
    usage = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    ours = [program, "--port", "0", "--quiet", *(["--pool", "inline"] if "--pool" in usage else [])]
    theirs = [go.program, "--port", "0", "--quiet"] if go else None
    one_thread = [*ours, *(["--threads", "1"] if "--threads" in usage else [])]
    on = [["taskset", "-c", str(cpu)] for cpu in (server_cpu, client_cpu)]
    seconds = arguments.seconds
    results = {}
    for number in range(arguments.rounds):
        for clients in (64, 9000) if theirs else ():
            threads = str(len(cpus))
            pair = {}
            for who, command in (("ours", ours), ("theirs", theirs))[::1 if number % 2 else -1]:
                with running(command) as address:
                    pair[who] = perf(address, seconds, "-c", str(clients), "-t", threads)
            results.setdefault((f"{stage} / go_net, {clients:,} clients, all CPUs for both sides", "at least 1.2"),
                               []).append(pair)
        if shutil.which("redis-benchmark"):
            pair = {}

            def stage_with_pipeline():
                with running([*on[0], *one_thread]) as address:
                    pair["ours"] = perf(address, seconds, "-c", "50", "-P", "64", before=on[1])

            def redis_with_pipeline():
                with redis(server_cpu) as port:
                    pair["theirs"] = redis_benchmark(port, seconds, on[1])

            for job in (stage_with_pipeline, redis_with_pipeline)[::1 if number % 2 else -1]:
                job()
            results.setdefault((f"{stage} by perf -P 64 / Redis by redis-benchmark -t ping_inline -P 64, "
                                "50 clients, a thread each", "at least 2"), []).append(pair)
        print(f"round {number + 1} of {arguments.rounds} done", file=sys.stderr, flush=True)
    return results


def goals_table(results):
    def figures(values):
        return f"{statistics.median(values):,.0f}"

    lines = ["| what | reqs/sec, ours | theirs | ratio | goal |", "|---|--:|--:|--:|---|"]
    for (what, goal), rounds in results.items():
        ratios = [pair["ours"] / pair["theirs"] for pair in rounds]
        lines.append(f"| {what} | {figures([p['ours'] for p in rounds])} | {figures([p['theirs'] for p in rounds])} | "
                     f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) | {goal} |")
    return lines


def goals(arguments):
    found, _ = existing([arguments.stage])
    if not found:
        print(f"peers: there is no stage {arguments.stage}, so its goals are skipped", file=sys.stderr)
        return None
    go = next((peer for peer in ready(chosen(["go"]))), None)
    if not shutil.which("redis-benchmark"):
        print("peers: Redis is left out: there is no redis-benchmark", file=sys.stderr)
    results = measure_goals(found[0], go, arguments)
    command = " ".join(["scripts/peers", *(a for a in sys.argv[1:] if a != "--record")])
    redis_version = f", redis {version[0]}" if (version := re.findall(r"v=(\S+)", subprocess.run(
        ["redis-server", "--version"], capture_output=True, text=True, check=False).stdout
        if shutil.which("redis-server") else "")) else ""
    head = (f"`{command}` on: {recording.machine()}; {versions([go]) if go else 'no Go'}{redis_version}; closed loop; medians of "
            f"{arguments.rounds} interleaved rounds of {arguments.seconds:g} s each; ratios within a round: median and "
            "extremes.")
    return "\n".join([head, "", *goals_table(results)]) + "\n"


# --- The run -----------------------------------------------------------------------------------------

def words(text):
    return [word for word in text.split(",") if word]


def parse_arguments():
    parser = argparse.ArgumentParser(
        prog="scripts/peers", formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    parser.add_argument("--list", action="store_true", help="says which peers there are, and which can run here")
    parser.add_argument("--only", metavar="LIST", type=words, default=[],
                        help="for example go,asyncio: only peers with these words in their names")
    parser.add_argument("--stages", metavar="LIST", type=words, default=words(STAGES),
                        help=f"the stages beside them (default: {STAGES}, those of them that there are)")
    parser.add_argument("--html", metavar="FILE", help="also compare's page with charts")
    parser.add_argument("--big", metavar="N", type=int, default=33,
                        help="what a big request asks for (default: 33, which Python can do in a second)")
    parser.add_argument("--judge", action="store_true", help="which promises the peers keep instead of how fast they are")
    parser.add_argument("--goals", action="store_true", help="holds one stage against Go and Redis instead")
    parser.add_argument("--stage", metavar="NAME", default="09_all_cores", help="which one (default: 09_all_cores)")
    parser.add_argument("--rounds", metavar="N", type=int, help="default: 3, with --goals 7")
    parser.add_argument("--seconds", metavar="S", type=float, default=1, help="per measurement (default: 1)")
    parser.add_argument("--record", action="store_true", help="also put the table into docs/figures.md (--judge: docs/judge.md)")
    parser.add_argument("--needs", action="store_true", help=argparse.SUPPRESS)  # see scripts/peers
    arguments = parser.parse_args()
    if arguments.goals and (arguments.only or arguments.html):
        parser.error("--goals has its own contestants and no page; leave out --only and --html")
    if arguments.record and arguments.only:
        parser.error("the page shows all peers; leave out --only, or --record")
    if arguments.judge and (arguments.goals or arguments.html):
        parser.error("--judge measures nothing; leave out --goals and --html")
    if arguments.record:
        recording.refuse_if_busy()
    if not 1 <= arguments.big <= 50:
        parser.error("--big is a number that the servers accept: 1 to 50")
    arguments.rounds = arguments.rounds or (7 if arguments.goals else 3)
    return arguments


def print_needs(arguments):
    if arguments.list:
        return
    if arguments.goals:
        stages, _ = existing([arguments.stage])
        packages = ["golang-go", "redis-server", "redis-tools"] if stages else []
    else:
        stages = ["judge", "promises"] if arguments.judge else existing(arguments.stages)[0]
        packages = [package for peer in chosen(arguments.only) for package in peer.packages]
    print("\n".join([*dict.fromkeys(packages), "--", *stages]))


def print_list():
    for peer in PEERS:
        why = peer.missing()
        print(f"{peer.name:22}{peer.stands_for}{f' (not here: {why})' if why else ''}")


def main():
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if arguments.needs:
        print_needs(arguments)
        return
    if arguments.list:
        print_list()
        return
    try:
        if arguments.goals:
            mark, text = "peer-goals", goals(arguments)
            if text is None:
                return
        elif arguments.judge:
            mark, text = "promises", promises_table(ready(chosen(arguments.only)))
        else:
            stages, _ = existing(arguments.stages)
            mark, text = "peers", compare(ready(chosen(arguments.only)), stages, arguments)
    except Failed as failure:
        sys.exit(f"peers: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)  # the started programs have had the signal, too, or were ended
    print(text, end="")
    if arguments.record:
        recording.put_into_page(mark, text, ROOT / "docs" / "judge.md" if arguments.judge else recording.PAGE)


if __name__ == "__main__":
    main()
