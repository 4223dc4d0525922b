"""Measures every stage beside the bare servers. Run by scripts/measure/bench, which builds them first.

Server and client are pinned to one CPU each, apart. Each measurement starts a fresh server and
loads it with clients/perf, closed loop, fib(1). The contestants take turns. One round measures each
of them once, and the next round goes through them backwards. So a machine that gets slower or faster
during the run affects all of them. The tables show medians over the rounds and, as +-, half the
distance between the extremes. A ratio is the median of the ratios within each round.

The server's CPU time comes from the CPU clock that the kernel keeps for every process (see
clock_getcpuclockid(3)). It counts nanoseconds, while /proc/PID/stat counts ticks of 10 ms. It also
includes threads that have ended, which the sum over /proc/PID/task would lose: 02's threads end
with their clients. All processes of the server are added up, a pool's workers included. The
processes of 02c end with their clients, and for these the kernel has only ticks.

Stages that promise to hold 10,000 clients are also measured with that many, beside bare_epoll. The
figures are the cost of a request for the server, without that of connecting, and the memory for each
client (heaps and stacks, without buffers in the kernel).

All of this is only as good as perf. So perf is measured, too, beside tests/bare_client.cpp, an epoll
loop that only sends, receives and counts. They run one after the other against the same server, and
take turns at being first.
"""

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "shared"))
import recording  # noqa: E402

BIN = ROOT / "build" / "release"
PERF = BIN / "clients" / "perf"
COMPARE = BIN / "clients" / "compare"
BARE_CLIENT = BIN / "tests" / "bare_client"
POOLS = ("processes", "threads", "inline")
BESIDE = " (the other build)"
WATCHED = " (watched)"
GROUPS = ("talk", "around", "beyond", "all")
# Which servers perf and the bare client load, unless --only says otherwise: the fastest ones, with every way of
# waiting. A slower server hides what its client costs.
CHECKED = ("bare_epoll", "02_threads", "04_generators", "07_coroutines inline")


# The yardstick for --many, and where the goals apply.
FEW = 64

# The goals of the stages at FEW clients: the field, the stage (the beginning of its name), the server beside it, the
# factor.
GOALS = (
    ("cpu", r"02_", "bare_threads", "at most 1.10"),
    ("cpu", r"(04|04b)_|(06|07)_.* inline", "bare_epoll", "at most 1.10"),
    ("cpu", r"06b_.* inline", "bare_epoll", "at most 1.15"),
    ("cpu", r"07b_.* processes", "07_coroutines inline", "at most 1.05"),
    ("rate", r"(?!08|09).* processes", "bare_epoll", "at least 0.33"),
    ("rate", r"(08|09)_.* processes", "bare_epoll", "at least 0.55"),
)
# With --many: the CPU per request, relative to FEW clients and to bare_epoll, and the bytes for each client.
GOALS_MANY = ((r"07_", "at most 2"), (r"(08|09)_", "at most 2.2"))
GOALS_MANY_BARE = ((r"04b_", "at most 1.10"),)
GOALS_MEMORY = ((r"06b_", "at most 12,000"), (r"07_", "at most 1,600"), (r"(08|09)_", "at most 2,500"))
GOAL_PERF = "at least 0.95"

# What is known about missed goals, written by hand. A reason is shown only if a goal whose name begins like this is
# missed. So it need not be deleted when a run reaches the goal. If nothing is known, there is no entry.
REASONS = {
    "CPU per request, 07_coroutines inline / bare_epoll":
        "Other recordings gave 0.98, 1.07 and 1.10: recordings differ by more than what is missing here.",
    "perf on 04_generators":
        "Other recordings gave 0.95 to 1.04. A crowd keeps both CPUs full, and whatever else the machine does shows in "
        "the ratio.",
}


class Failed(Exception):
    """A measurement has no result; the text says why."""


class Contestant:
    def __init__(self, program, *options, pool="", model="", traits=()):
        self.name = f"{program.name} {pool}".strip()
        self.pool = pool
        self.model = model
        self.traits = traits
        self.command = [str(program), *options] + (["--pool", pool] if pool else [])


def stages(*words):
    """What scripts/stages knows, row by row."""
    table = subprocess.run([ROOT / "scripts" / "stages", "--tsv", *words], capture_output=True, text=True, check=True)
    return [line.split("\t") for line in table.stdout.splitlines()]


def contestants(only, beside=None, watched=False):
    found = [Contestant(BIN / "tests" / "bare" / name, "0") for name in ("bare_epoll", "bare_threads")]
    chosen = set()
    for row in stages():
        name, _, model, _, traits, _ = row
        if model == "no server" or not (BIN / "stages" / name).exists():
            continue
        traits = traits.split(",")
        for pool in POOLS if "pool" in traits else ("",):
            contestant = Contestant(BIN / "stages" / name, "--port", "0", "--quiet", pool=pool, model=model,
                                    traits=traits)
            both = [contestant]
            if beside and (beside / "stages" / name).exists():
                both.append(Contestant(beside / "stages" / name, "--port", "0", "--quiet", pool=pool, model=model,
                                       traits=traits))
                both[1].name += BESIDE
            if watched:
                both.append(Contestant(BIN / "tests" / "bare" / "watched", str(BIN / "stages" / name), "--port", "0",
                                       "--quiet", pool=pool, model=model, traits=traits))
                both[-1].name = contestant.name + WATCHED
            found += both
            if any(name.startswith(word) for word in only):
                chosen.update(both)
    names = {c.name for c in found}
    for word in only:
        if word in GROUPS:
            members = [row[0] for row in stages(word)]
            chosen.update(c for c in found if c.name.split()[0] in members)
        elif not any(name.startswith(word) for name in names):
            sys.exit(f"bench: no stage is called '{word}'; try --only 04,07 or --only talk")
    return [c for c in found if not only or c in chosen or c.name.startswith("bare")]


def process_tree(pid):
    """The process and all of its descendants that are alive."""
    tree = [pid]
    for parent in tree:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            tree += map(int, children.read_text().split())
    return tree


def memory(pids):
    """The bytes of their heaps and stacks; a page that several of them share counts once, divided.

    Without the pages of files: a library's pages count less the more programs use it, perf among them."""
    rollups = (Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids)
    return sum(1024 * int(re.search(r"^Pss_Anon: +(\d+) kB", text, re.M)[1]) for text in rollups)


def cpu_seconds(pids):
    # The id of the clock follows from the process's number, as in clock_getcpuclockid().
    return sum(time.clock_gettime_ns(~pid << 3 | 2) for pid in pids) / 1e9


def cpu_seconds_of_ended_children(pid):
    """For a server with a process for each client, after these have ended: the kernel adds up what they have used."""
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}/task/{pid}/children").read_text():
        if time.monotonic() > deadline:
            raise Failed("processes of clients that are gone stay")
        time.sleep(0.01)
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


class Server:
    """A running server on one CPU; leaves nothing behind."""

    def __init__(self, contestant, cpu):
        self.name = contestant.name
        self.process = subprocess.Popen(
            ["taskset", "-c", str(cpu), *contestant.command],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            line = self.process.stdout.readline()
        except BaseException:
            self.process.kill()
            raise
        if " listening on " not in line:
            reason = self.process.communicate()[1]
            raise Failed(f"{contestant.name} does not start: {reason.strip() or line.strip()}")
        self.address = line.split()[-1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.communicate(timeout=3)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()


def drive(client, seconds, cpu):
    """Runs a load generator to its end. Returns its stdout and stderr."""
    load = subprocess.Popen(["taskset", "-c", str(cpu), *map(str, client)],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        return load.communicate(timeout=seconds + 30)
    except subprocess.TimeoutExpired:
        raise Failed(f"{client[0].name} does not come to its end") from None
    finally:
        if load.poll() is None:
            load.kill()
            load.wait()


def drive_perf(server, clients, seconds, cpu, *options):
    said, complaint = drive([PERF, server.address, "-c", clients, "-d", f"{int(seconds * 1000)}ms",
                             "--fib", "1", "-q", "--json", *options], seconds, cpu)
    try:
        result = json.loads(said)
    except ValueError:
        raise Failed(f"{server.name}, {clients} clients: {complaint.strip()}") from None
    # 01 leaves all clients except one without a reply. That is its lesson, and no error.
    broken = {k: v for k, v in result["errors"].items() if v and k != "unanswered"}
    if broken or not result["requests"]:
        raise Failed(f"{server.name}, {clients} clients: errors {broken}, {result['requests']} requests")
    return result


def measure(contestant, clients, arguments, _):
    """One measurement: the rate, the server's CPU seconds per request, the client's share of its CPU."""
    with Server(contestant, arguments.server_cpu) as server:
        pids = process_tree(server.process.pid)
        before = cpu_seconds(pids)
        result = drive_perf(server, clients, arguments.seconds, arguments.client_cpu)
        after = cpu_seconds(pids)
        if contestant.model == "a process per client":
            after += cpu_seconds_of_ended_children(server.process.pid)
        return {"rate": result["rate"], "cpu": (after - before) / result["requests"],
                "client_busy": result["client_cpu_s"] / arguments.seconds}


def measure_many(contestant, clients, arguments, _):
    """The server's CPU seconds per request once all are connected, and its memory per client."""
    with Server(contestant, arguments.server_cpu) as server:
        pids = process_tree(server.process.pid)
        drive_perf(server, 1, 0.2, arguments.client_cpu)  # the memory for the first client is not the crowd's
        alone = memory(pids)
        slices = 10
        load = subprocess.Popen(
            ["taskset", "-c", str(arguments.client_cpu), PERF, server.address, "-c", str(clients), "--json",
             "-i", f"{int(arguments.seconds * 1000 / slices)}ms", "-d", f"{int(arguments.seconds * 1000)}ms"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            # A line shows that an interval is over. The first begins when all are connected. It is left out, because
            # the kernel connects more of them than the server has accepted by then.
            moments, crowd, said = [], alone, []
            for line in load.stderr:
                said.append(line.strip())
                if " reqs/sec " in line and len(moments) < slices - 1:  # with the last they leave
                    moments.append(cpu_seconds(pids))
                    crowd = memory(pids)
            intervals = json.loads(load.stdout.read())["intervals"][1:len(moments)]
        except ValueError:
            raise Failed(f"{server.name}, {clients} clients: {said[-1] if said else 'no figures'}") from None
        finally:
            load.kill()
            load.communicate()
        requests = sum(interval["requests"] for interval in intervals)
        if not requests or any(interval["errors"] for interval in intervals):
            raise Failed(f"{server.name}, {clients} clients: {requests} requests, or errors")
        return {"cpu": (moments[-1] - moments[0]) / requests, "memory": (crowd - alone) / clients}


def check_perf(contestant, clients, arguments, number):
    """perf and the bare client against one server: the rate of each, and p50 and p99 in microseconds."""
    def perf(server):
        # The bare client also leaves out its first 100 ms.
        result = drive_perf(server, clients, arguments.seconds, arguments.client_cpu, "-w", "100ms")
        return [result["rate"], result["latency_us"]["p50"], result["latency_us"]["p99"]]

    def bare(server):
        port = server.address.split(":")[-1]
        said, complaint = drive([BARE_CLIENT, port, clients, arguments.seconds],
                                arguments.seconds, arguments.client_cpu)
        figures = [float(word) for word in said.split()]
        if len(figures) != 3 or not figures[0]:
            raise Failed(f"{server.name}, {clients} clients: {complaint.strip() or 'no replies'}")
        return figures

    result = {}
    with Server(contestant, arguments.server_cpu) as server:
        for client in (perf, bare) if number % 2 else (bare, perf):
            for field, figure in zip(("rate", "p50", "p99"), client(server)):
                result[client.__name__, field] = figure
    return result


# --- The tables --------------------------------------------------------------------------------------

def spread(values):
    middle = statistics.median(values)
    return (max(values) - min(values)) / 2 / middle if middle else 0


def figures_table(results, field, clients, form):
    lines = ["| server | " + " | ".join(f"{c} client{'s' * (c > 1)}" for c in clients) + " |",
             "|---|" + "--:|" * len(clients)]
    for name in dict.fromkeys(name for name, _ in results):
        cells = []
        for count in clients:
            rounds = [m for m in results.get((name, count), []) if m]
            if not rounds:
                cells.append("failed")
                continue
            values = [m[field] for m in rounds]
            limited = field == "rate" and statistics.median(m["client_busy"] for m in rounds) > 0.95
            cells.append(f"{form(statistics.median(values))} ±{spread(values):.0%}{' *' * limited}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def ratios(results, field, name, yardstick, count):
    pairs = zip(results.get((name, count), []), results.get((yardstick, count), []))
    return [a[field] / b[field] for a, b in pairs if a and b]


def reached(value, goal):
    """Whether a goal such as "at most 1.10" is reached. The value is rounded as it is shown, because that counts."""
    bound, value = float(goal.split()[-1].replace(",", "")), round(value, 2)
    return value <= bound if goal.startswith("at most") else value >= bound


def goal_of(name, goals):
    return next((goal for who, goal in goals if re.match(who, name)), "")


def verdict(goals):
    """The text under a table: which of its goals, (name, value, goal), were missed, and the reason if it is known."""
    if not goals:
        return []
    missed = [(name, value, goal) for name, value, goal in goals if not reached(value, goal)]
    if not missed:
        return ["All goals of this table are reached.", ""]
    lines = []
    for name, value, goal in missed:
        why = next((reason for begin, reason in REASONS.items() if name.startswith(begin)), "It is not known why.")
        lines.append(f"- missed: {name} ({value:,.{2 * (value < 100)}f}, goal {goal}). {why}")
    return [*lines, ""]


def ratio_rows(results):
    names = dict.fromkeys(name for name, _ in results)
    rows = [(field, name, yardstick, goal) for field, who, yardstick, goal in GOALS for name in names
            if re.match(who, name) and not name.endswith((BESIDE, WATCHED)) and yardstick in names]
    rows += [(field, name, name + BESIDE, "") for field in ("cpu", "rate") for name in names if name + BESIDE in names]
    return rows + [(field, name + WATCHED, name, "") for field in ("cpu", "rate") for name in names
                   if name + WATCHED in names]


def figure_name(field):
    return "CPU per request" if field == "cpu" else "reqs/sec"


def ratio_goals(results, clients):
    goals = []
    for field, name, yardstick, goal in ratio_rows(results) if FEW in clients else ():
        values = ratios(results, field, name, yardstick, FEW)
        if values and goal:
            goals.append((f"{figure_name(field)}, {name} / {yardstick}, {FEW} clients", statistics.median(values), goal))
    return goals


def check_goals(checks):
    goals = []
    for (name, count), rounds in checks.items():
        values = [m["perf", "rate"] / m["bare", "rate"] for m in rounds if m]
        if values:
            goals.append((f"perf on {name}, {count:,} client{'s' * (count > 1)}", statistics.median(values), GOAL_PERF))
    return goals


def many_goals(crowds, few, many):
    goals = []
    for name in dict.fromkeys(name for name, _ in crowds if not name.startswith("bare")):
        pairs = zip(crowds.get((name, many), []), crowds.get((name, few), []))
        values = [x["cpu"] / y["cpu"] for x, y in pairs if x and y]
        each = [m["memory"] for m in crowds.get((name, many), []) if m]
        beside = ratios(crowds, "cpu", name, "bare_epoll", many)
        goals += [(what, statistics.median(figures), goal) for what, figures, goal in (
            (f"CPU per request, {name}, {many:,} clients / {few:,}", values, goal_of(name, GOALS_MANY)),
            (f"CPU per request, {name} / bare_epoll, {many:,} clients", beside, goal_of(name, GOALS_MANY_BARE)),
            (f"bytes for each of {many:,}, {name}", each, goal_of(name, GOALS_MEMORY))) if figures and goal]
    return goals


def ratio_table(results, clients):
    lines = ["| ratio | " + " | ".join(f"{c} client{'s' * (c > 1)}" for c in clients)
             + " | goal at 64 clients |", "|---|" + "--:|" * len(clients) + "---|"]
    for field, name, yardstick, goal in ratio_rows(results):
        cells = []
        for count in clients:
            values = ratios(results, field, name, yardstick, count)
            cells.append(f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
                         if values else "failed")
        lines.append(f"| {figure_name(field)}, {name} / {yardstick} | " + " | ".join(cells) + f" | {goal} |")
    return lines


def check_table(checks, clients):
    lines = ["| perf / bare client | " + " | ".join(f"{c} client{'s' * (c > 1)}" for c in clients)
             + " | goal |", "|---|" + "--:|" * len(clients) + "---|"]
    for name in dict.fromkeys(name for name, _ in checks):
        for field, unit, goal in (("rate", "reqs/sec", GOAL_PERF), ("p50", "p50 in us", "the same"),
                                  ("p99", "p99 in us", "the same")):
            cells = []
            for count in clients:
                rounds = [m for m in checks.get((name, count), []) if m]
                if not rounds:
                    cells.append("failed")
                    continue
                perf, bare = (statistics.median(m[client, field] for m in rounds) for client in ("perf", "bare"))
                cells.append(f"{perf:,.0f} / {bare:,.0f}")
                if field == "rate":
                    values = [m["perf", field] / m["bare", field] for m in rounds]
                    cells[-1] += f": {statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
            lines.append(f"| {unit}, {name} | " + " | ".join(cells) + f" | {goal} |")
    return lines


def many_table(results, few, many):
    lines = [f"| server | CPU per request, {few:,} clients | {many:,} clients | ratio | goal | memory each | goal |",
             "|---|--:|--:|--:|---|--:|---|"]
    for name in dict.fromkeys(name for name, _ in results):
        a, b = ([m for m in results.get((name, count), []) if m] for count in (few, many))
        if not a or not b:
            lines.append(f"| {name} | failed | | | | | |")
            continue
        costs = [f"{statistics.median(m['cpu'] for m in rounds) * 1e6:.2f} us "
                 f"±{spread([m['cpu'] for m in rounds]):.0%}" for rounds in (a, b)]
        pairs = zip(results[name, many], results[name, few])
        values = [x["cpu"] / y["cpu"] for x, y in pairs if x and y] or [0]
        each = [m["memory"] for m in b]
        goals = goal_of(name, GOALS_MANY), goal_of(name, GOALS_MEMORY)
        lines.append(f"| {name} | {' | '.join(costs)} | {statistics.median(values):.2f} "
                     f"({min(values):.2f} to {max(values):.2f}) | {goals[0]} | {statistics.median(each):,.0f} B "
                     f"±{spread(each):.0%} | {goals[1]} |")
    return lines


def machine():
    compiler = subprocess.run(["g++", "-dumpfullversion"], capture_output=True, text=True).stdout.strip()
    return f"{recording.machine()}, GCC {compiler}, Release build"


def report(results, checks, crowds, arguments, rounds):
    command = " ".join(["scripts/measure/bench", *(a for a in sys.argv[1:] if a != "--record")])
    lines = [f"`{command}` on: {machine()}. Server on CPU {arguments.server_cpu}, client on CPU "
             f"{arguments.client_cpu}; closed loop, fib(1); medians of {rounds} interleaved rounds of "
             f"{arguments.seconds:g} s each, ± half the distance between the extremes.", ""]
    if results:
        lines += ["Requests per second:", "",
                  *figures_table(results, "rate", arguments.clients, lambda v: f"{v:,.0f}"), "",
                  "Server CPU per request in microseconds, all of its processes together:", "",
                  *figures_table(results, "cpu", arguments.clients, lambda v: f"{v * 1e6:.2f}"), "",
                  "Ratios within a round (median, and extremes):", "",
                  *ratio_table(results, arguments.clients), "", *verdict(ratio_goals(results, arguments.clients))]
    if any(" *" in line for line in lines):
        lines += ["\\* The client was busy more than 95% of the time: the server may be capable of more.", ""]
    if crowds:
        lines += [f"Beside {FEW} clients {arguments.many:,}, all of them asking: the server's CPU per request and, for "
                  "each of so many clients, its memory:", "", *many_table(crowds, FEW, arguments.many), ""]
        for name in dict.fromkeys(name for name, _ in crowds if goal_of(name, GOALS_MANY_BARE)):
            values = ratios(crowds, "cpu", name, "bare_epoll", arguments.many)
            if values:
                lines += [f"CPU per request with {arguments.many:,} clients, {name} / bare_epoll: "
                          f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f}); goal: "
                          f"{goal_of(name, GOALS_MANY_BARE)}.", ""]
        lines += verdict(many_goals(crowds, FEW, arguments.many))
    if not checks:
        return "\n".join(lines)
    lines += ["perf beside an epoll client that does nothing else, against the same running server (ratio within "
              "a round: median, and extremes):", "",
              *check_table(checks, arguments.clients), "", *verdict(check_goals(checks)),
              "A crowd keeps both CPUs busy: a request waits for the server or, its reply there, for the client. Only "
              "the first is latency, so a client that is a few per cent slower can show a somewhat shorter one."]
    return "\n".join(lines) + "\n"


# compare's tables for the hog and for idle connections, without its conclusions.
def compare_report():
    command = [str(COMPARE.relative_to(ROOT)), "--scenario", "hog,idle", "--markdown"]
    run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if run.returncode != 0:
        sys.exit(f"bench: compare has failed (exit status {run.returncode}); see above")
    *tables, how = [part for part in run.stdout.strip().split("\n\n") if not part.startswith("- ")]
    return "\n\n".join([f"`{' '.join(command)}` on: {machine()}; {how}", *tables]) + "\n"


# --- The run -----------------------------------------------------------------------------------------

def numbers(text):
    return sorted({int(word) for word in text.split(",")})


def parse_arguments():
    parser = argparse.ArgumentParser(
        prog="scripts/measure/bench", formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3 rounds of half a second")
    parser.add_argument("--only", metavar="STAGES", help="for example 04,07 or talk: only these, and the bare servers")
    parser.add_argument("--beside", metavar="DIR", type=Path,
                        help="also the stages of another build, for example ../before/build/release, and the ratios to it")
    parser.add_argument("--watched", action="store_true",
                        help="also the stages while somebody watches them, and the ratios to themselves")
    parser.add_argument("--clients", metavar="LIST", type=numbers, default=[1, 64, 512],
                        help="numbers of clients (default: 1,64,512)")
    parser.add_argument("--many", metavar="N", type=int, default=10_000,
                        help="also so many clients, where a stage means to hold them (default: 10000; 0: without that)")
    parser.add_argument("--only-many", action="store_true", help="only that")
    parser.add_argument("--rounds", metavar="N", type=int, help="default: 7")
    parser.add_argument("--seconds", metavar="S", type=float, help="per measurement (default: 1)")
    parser.add_argument("--only-perf", action="store_true", help="only perf beside the bare client")
    parser.add_argument("--only-compare", action="store_true",
                        help="only compare's tables of a hog and of idle connections, for docs/figures.md")
    parser.add_argument("--record", action="store_true",
                        help="also put the tables into docs/figures.md, and then compare's")
    arguments = parser.parse_args()
    if arguments.record and (arguments.only_perf or arguments.only_many):
        parser.error("docs/figures.md shows all tables; leave out --only-perf and --only-many, or --record")
    if arguments.only_perf + arguments.only_many + arguments.only_compare > 1:
        parser.error("each --only leaves nothing of the others; choose one of them")
    if arguments.many and not FEW < arguments.many <= 100_000:
        parser.error(f"--many is held against {FEW} clients; choose more than that, up to 100000")
    if (arguments.beside or arguments.watched) and arguments.record:
        parser.error("docs/figures.md speaks of one build, unwatched; leave out --beside and --watched, or --record")
    if arguments.record:
        recording.refuse_if_busy()
    arguments.rounds = arguments.rounds or (3 if arguments.quick else 7)
    arguments.seconds = arguments.seconds or (0.5 if arguments.quick else 1)
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        parser.exit(1, "bench: two CPUs are needed, one for the server and one for the client\n")
    arguments.server_cpu, arguments.client_cpu = cpus[0], cpus[-1]
    return arguments


def progress(done, total, text, started):
    left = (time.monotonic() - started) / done * (total - done) if done else 0
    if sys.stderr.isatty():
        end = f", {left:.0f} s to go" if done else ""
        print(f"\r\033[K[{done}/{total}] {text}{end}", end="", file=sys.stderr, flush=True)


def show_compare(record):
    try:
        text = compare_report()
    except KeyboardInterrupt:
        sys.exit(130)  # compare has had the signal, too, and cleans up
    print(text, end="")
    if record:
        recording.put_into_page("compare", text)


def main():
    arguments = parse_arguments()
    if arguments.only_compare:
        show_compare(arguments.record)
        return
    field = contestants(arguments.only.split(",") if arguments.only else [], arguments.beside,
                        arguments.watched)
    checked = [c for c in field if c.name in CHECKED or
               arguments.only and c.pool in ("", "inline") and not c.name.endswith(WATCHED)]
    # For both: (name, clients) -> one measurement for each round, None if it failed
    results, checks, crowds = {}, {}, {}
    jobs = []
    if not arguments.only_perf and not arguments.only_many:
        jobs += [(measure, c, results, arguments.clients) for c in field]
    if not arguments.only_many:
        jobs += [(check_perf, c, checks, arguments.clients) for c in checked]
    crowded = [c for c in field if c.name == "bare_epoll" or "many" in c.traits]
    if len(crowded) > 1 and arguments.many and not arguments.only_perf:
        jobs += [(measure_many, c, crowds, (FEW, arguments.many)) for c in crowded]
    total = arguments.rounds * sum(len(counts) for *_, counts in jobs)
    started = time.monotonic()
    done = rounds = 0
    failures = []
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for number in range(1, arguments.rounds + 1):
            this_round = []
            for job, contestant, table, counts in jobs if number % 2 else reversed(jobs):
                for count in counts:
                    progress(done, total, f"round {number}: {contestant.name}, {count} clients", started)
                    try:
                        measurement = job(contestant, count, arguments, number)
                    except Failed as failure:
                        failures.append(str(failure))
                        measurement = None
                    this_round.append((table, (contestant.name, count), measurement))
                    done += 1
            for table, key, measurement in this_round:
                table.setdefault(key, []).append(measurement)
            rounds = number
            if not sys.stderr.isatty():
                print(f"round {number} of {arguments.rounds} done", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("\nStopped before the end: whole rounds only.", file=sys.stderr)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    for failure in dict.fromkeys(failures):
        print(f"bench: {failure}", file=sys.stderr)
    if rounds:
        text = report(results, checks, crowds, arguments, rounds)
        print(text, end="")
        if arguments.record and rounds == arguments.rounds and not failures:
            recording.put_into_page("bench", text)
            show_compare(record=True)
    if failures or rounds < arguments.rounds:
        sys.exit(1)


if __name__ == "__main__":
    main()
