"""The commands of scripts/lab, which explains them. labs.py says what a lab is.

Nothing here judges. The judge is a program of its own, and its JSON decides what is said and which hints fit.
"""

import argparse
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import labs  # noqa: E402

ROOT = Path(os.path.abspath(__file__)).parents[2]
BUILD = ROOT / "build" / "release"
SANITIZED = ROOT / "build" / "lab-sanitized"  # without tests, so it is not the folder of the preset
STATE = ".state.json"
LANGUAGES = ("c++", "python")
SUITES = {}  # the name of a test -> the suite that has it
PATIENCE = (5, 20)  # seconds that a suite waits for what must happen, at least and at most
TIME_LIMIT = "300"  # seconds that the judge has for a few groups, on a machine that is busy
FRAMES = 3  # lines of each stack that are shown: the innermost one may be the end of a coroutine
WATCH_SECONDS = 0.3  # between two looks at the file


class Work:
    """What a student has in one folder of lab/."""

    def __init__(self, lab, language="c++"):
        self.lab, self.language = lab, language
        self.name = lab.number if language == "c++" else f"{lab.number}-{language}"
        self.folder = ROOT / "lab" / self.name
        self.source = self.folder / (f"{lab.stage}.cpp" if language == "c++" else "server.py")

    def shown(self):
        return self.source.relative_to(ROOT)

    def state(self):
        try:
            return json.loads((self.folder / STATE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}

    def remember(self, **facts):
        state = {**self.state(), **facts}
        (self.folder / STATE).write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")

    def digest(self):
        """Changes when any of the student's files changes."""
        total = hashlib.sha256()
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and not path.name.startswith(".") and "__pycache__" not in path.parts:
                total.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        return total.hexdigest()

    def command(self):
        if self.language == "python":
            return ["/usr/bin/python3", "-B", str(self.source)]
        return [str(BUILD / "lab" / self.name / self.lab.stage)]  # a suite knows a stage by its name


def begun(every):
    """What has been laid out, the one that was changed last first."""
    found = [Work(lab, language) for lab in every.values() for language in LANGUAGES]
    found = [work for work in found if work.source.exists()]
    return sorted(found, key=lambda work: -max(path.stat().st_mtime for path in (work.source, work.folder)))


def lab_of(name, every):
    by_number = {lab.number: lab for lab in every.values()}
    wanted = name.removesuffix("-python").partition("_")[0]
    wanted = wanted if wanted in by_number else f"0{wanted}"
    if wanted not in by_number:
        raise labs.Problem(f"there is no lab '{name}'; choose one of: {', '.join(by_number)}")
    return by_number[wanted]


def work_of(name, every):
    """The lab that is named or, without a name, the one that was changed last."""
    if name is None:
        work = next(iter(begun(every)), None)
        if work is None:
            raise labs.Problem("you have begun no lab; begin one with, for example: scripts/lab 02")
        return work
    lab = lab_of(name, every)
    works = [work for work in begun(every) if work.lab is lab]
    if name.endswith("-python"):
        works = [work for work in works if work.language == "python"]
    if not works:
        raise labs.Problem(f"lab/{name} is not there; begin it with: scripts/lab {lab.number}")
    return works[0]


# ---------------------------------------------------------------------------------------------------
# What is printed


def width():
    return min(shutil.get_terminal_size((100, 24)).columns, 100)


def say(text, indent=""):
    """A page's paragraphs, for a terminal: wrapped anew, with code as it is, and without links and markers."""
    paragraph, fenced, gap, said = [], False, False, False

    def begin():
        nonlocal gap, said
        if gap and said:
            print()
        gap, said = False, True

    def flush():
        if paragraph:
            begin()
            plain = re.sub(r"\[([^\]]+)\]\(([^)#]*)(?:#[^)]*)?\)", lambda m: link_text(m[1], m[2]), " ".join(paragraph))
            more = "  " if ITEM.match(plain) else ""
            print(textwrap.fill(plain.replace("**", ""), width(), initial_indent=indent, subsequent_indent=indent + more,
                                break_long_words=False, break_on_hyphens=False))
            paragraph.clear()

    for line in text.split("\n"):
        if fenced and not line.startswith("```"):
            print(f"{indent}    {line}".rstrip())
            continue
        if line.startswith(("```", "<!--")) or ITEM.match(line) or not line.strip():
            flush()
        gap = gap or not line.strip()
        if line.startswith("```"):
            fenced = not fenced
            if fenced:
                begin()
        elif line.strip() and not line.startswith("<!--"):
            paragraph.append(line.strip())
    flush()


ITEM = re.compile(r"(?:[-*]|\d\.) ")


def link_text(text, target):
    name = target.rpartition("/")[2]
    return f"{text} (docs/{name})" if name.endswith(".md") and name.partition("_")[0] not in text else text


# ---------------------------------------------------------------------------------------------------
# scripts/lab, scripts/lab 04


def list_labs(every):
    here = {(work.lab.number, work.language): work for work in begun(every)}
    for lab in every.values():
        states = [f"{work.shown()}: {work.state().get('said', 'not checked yet')}"
                  for (number, _), work in here.items() if number == lab.number]
        print(f"  {lab.number:4} {lab.stage:20} from {lab.before:20} {'; '.join(states)}".rstrip())
    print("Begin one with, for example: scripts/lab 02")


def lay_out(lab, language, fresh):
    work = Work(lab, language)
    if work.folder.exists():
        if not fresh:
            raise labs.Problem(f"lab/{work.name} is there already, and is left as it is. Go on with: scripts/lab check {work.name}. "
                               f"To begin again: scripts/lab {lab.number} --fresh, which keeps it as lab/{backup(work).name}")
        old = backup(work)
        work.folder.rename(old)
        print(f"What you had is now in lab/{old.name}.")
    work.folder.mkdir(parents=True)
    if language == "python":
        shutil.copy(ROOT / "scripts/shared/lab.d/server.py", work.source)
        shutil.copy(ROOT / "scripts/shared/peers.d/protocol.py", work.folder)
    else:
        work.source.write_text(lab.start(), encoding="utf-8")
    work.remember(start=work.digest())
    begins = f"as {lab.before}" if language == "c++" else "with one client at a time, in Python"
    print(f"{work.shown()} is yours. It begins {begins}, and is to become {lab.stage}.\n")
    say(lab.section.task)
    print("\nIt is done when these hold, and nothing else is broken:")
    for promise in lab.section.promises:
        say(f"- {promise}", "  ")
    for word, function in lab.section.absent if language == "c++" else ():
        say(f"- in the source: no `{word}`" + (f" in {function}()" if function else ""), "  ")
    print(f"\nThen: scripts/lab check {work.name}   (or, whenever you save: scripts/lab check {work.name} --watch)")


def backup(work):
    number = 1
    while (ROOT / "lab" / f"{work.name}.old-{number}").exists():
        number += 1
    return ROOT / "lab" / f"{work.name}.old-{number}"


# ---------------------------------------------------------------------------------------------------
# scripts/lab check
#
# Two programs judge. The suites that test our own stages know the command line and the log of a stage. So they are asked
# for the promises of the step, as they stand on the page, if the lab is in C++. The judge is asked for everything that any
# server promises, in any language.

# In this order, so that the first cause is found first: the groups of the judge's promises, and the step.
ORDER = {"c++": ("start", "step", "protocol,model", "process,load,faults"),
         "python": ("start", "model", "protocol", "process,load,faults")}


# What a suite says of a server that is gone.
LOST = r"Connection re(?:set|fused)|has closed instead|Broken pipe|has ended|signal \d"


class Finding:
    """A promise, and what was seen of it. The facts have the names of the judge's JSON."""

    def __init__(self, promise, verdict, **facts):
        self.promise, self.verdict = promise, verdict
        self.facts = {"promise": promise, "verdict": verdict, **facts}

    def get(self, key):
        return str(self.facts.get(key) or "")

    def is_kept(self):
        return self.verdict in ("pass", "by design", "not applicable")

    def has_crashed(self):
        """A suite sees only that a connection is lost. The judge sees the signal."""
        return self.verdict == "fail" and (self.get("ended").startswith("signal") or
                                           not self.get("id") and re.search(LOST, self.get("seen")) is not None)

    def say(self):
        """As the judge says what it has found itself."""
        progress()
        print(f"{'FAIL' if self.verdict == 'fail' else self.verdict:14} {self.get('id') or 'step':28} {self.promise}")
        for key, label in (("cause", "cause"), ("seen", "seen"), ("page", "page"), ("again", "again")):
            if self.get(key):
                print(f"    {label:9} " + self.get(key).replace("\n", f"\n{'':14}"), flush=True)


class Result:
    """What a check has found."""

    def __init__(self, work):
        self.work, self.findings, self.errors = work, [], None
        self.digest = work.digest()  # what is judged; it may be saved again meanwhile

    def broken(self):
        """The first broken promise of the step or, if there is none, of the others."""
        step = self.work.lab.section.promises
        found = [finding for finding in self.findings if finding.verdict == "fail"]
        return next((finding for finding in found if finding.promise in step), found[0] if found else None)

    def unknown(self):
        return next((finding for finding in self.findings if finding.verdict in ("unknown", "judge's error")), None)

    def status(self):
        """As the judge's: 0 all kept, 1 broken, 2 unknown, 3 an error of ours."""
        if self.errors is not None or self.broken():
            return 1
        if self.unknown():
            return 3 if self.unknown().verdict == "judge's error" else 2
        return 0 if self.findings else 2


def build(work):
    """Builds what judges, and the student's program. Returns what the compiler says if that fails."""
    suites = {SUITES[promise] for promise in work.lab.section.promises} if work.language == "c++" else set()
    prepare(["judge", *sorted(suites)])
    if work.language != "c++":
        return None
    ran = subprocess.run(["cmake", "--build", BUILD, "--target", f"lab_{work.name}"], cwd=ROOT, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if ran.returncode == 0 and "warning:" in ran.stdout:
        print(first_of("warning:", ran.stdout), flush=True)
    return ran.stdout if ran.returncode != 0 else None


def prepare(targets):
    """Builds what is ours."""
    if not (BUILD / "build.ninja").exists():
        run_quietly(["cmake", "--preset", "release"])
    if not os.environ.get("GROUND_BUILT"):
        run_quietly(["cmake", "--build", BUILD, "--target", *targets])


def run_quietly(command):
    ran = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if ran.returncode != 0:
        raise labs.Problem(f"'{' '.join(map(str, command))}' failed, and not because of your file:\n{ran.stdout[-3000:]}")


def first_of(sign, output):
    """The first message of the compiler's with this sign, and the code that it shows. Others are mostly its consequences."""
    lines = output.split("\n")
    at = next((at for at, line in enumerate(lines) if re.search(sign, line)), None)
    if at is None:
        return "\n".join(lines[-15:])
    end = at + 1
    while end < len(lines) and end < at + 8 and re.match(r"\s", lines[end]):
        end += 1
    return "\n".join(lines[at:end]).replace(f"{ROOT}/", "")


ERROR = r"\berror:|undefined reference"


def ask_judge(work, groups, every):
    """What the judge says about these groups of promises. It tells what is not kept by itself. Then, unless every promise
    is wanted, it is interrupted, and reports what it has judged so far."""
    with tempfile.TemporaryDirectory(prefix="lab.") as scratch:
        report = Path(scratch) / "judge.json"
        command = [BUILD / "clients" / "judge", "--as", work.lab.stage, "--only", groups,
                   "--time-limit", TIME_LIMIT, "--json", report, "--", *work.command()]
        judge = subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT)
        words, quiet = [], True
        try:
            for line in judge.stdout:
                words.append(line)
                if not line.startswith(" "):
                    quiet = not line.startswith(("FAIL ", "unknown ", "judge's error "))
                if not quiet:
                    print(line, end="", flush=True)
                if line.startswith("    again ") and not every:
                    judge.send_signal(signal.SIGINT)
        finally:
            if judge.poll() is None:
                judge.send_signal(signal.SIGINT)
            judge.wait()
            judge.stdout.close()
        try:
            told = json.loads(report.read_text(encoding="utf-8"))["promises"]
        except (OSError, ValueError, KeyError):
            broken = Finding("the judge ends with a report", "judge's error", id="judge", seen="".join(words)[-2000:].strip())
            broken.say()
            return [broken]
    return [Finding(**one) for one in told]


def suite_command(promise, program):
    escaped = promise.replace(",", "\\,")
    return [BUILD / "tests" / SUITES[promise], program, f"--dt-test-case={escaped}"]


def patiences():
    """How long a suite waits in the first run, and in the second. On a busy machine it waits longer at once."""
    busy = os.getloadavg()[0] / (os.cpu_count() or 1)
    return [str(round(min(max(PATIENCE[0] * busy, PATIENCE[0]), PATIENCE[1]))), str(PATIENCE[1])]


def ask_suite(work, promise):
    """What the suite of our own stages says about one promise of the step."""
    command = suite_command(promise, work.command()[0])
    again = shlex.join(str(word).replace(f"{ROOT}/", "") for word in command)
    facts = {"page": f"docs/{work.lab.stage}.md#build-it-yourself", "again": again}
    seen = []
    for patience in patiences():  # a second run, because a machine may be busy once
        ran = subprocess.run([str(word) for word in command], cwd=ROOT, text=True, check=False, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "JUDGE_PATIENCE": patience})
        if not re.search(r"test cases: *1 ", ran.stdout) and ran.returncode == 0:
            return Finding(promise, "judge's error", cause=f"{SUITES[promise]} does not ask {work.lab.stage} for it", **facts)
        if ran.returncode == 0:
            break
        seen.append(what_was_seen(ran.stdout))
    if len(seen) == 1:
        return Finding(promise, "unknown", cause="one of two runs has broken it: is there a race, or was the machine busy?",
                       seen=seen[0], **facts)
    return Finding(promise, "fail", seen=seen[0], **facts) if seen else Finding(promise, "pass", **facts)


def what_was_seen(output):
    """The first failure in the output of a suite: what was checked, the values, and what the student's server does meanwhile."""
    lines = output.split("\n")
    at = next((at for at, line in enumerate(lines) if re.search(r"\bERROR:|waited in vain|has not ended in", line)), None)
    if at is None:
        return "\n".join(line for line in lines if line.strip())[-600:]
    found, ours = [], False  # ours: lines about the suite's own process
    for line in lines[at:]:
        if not line.strip() or line.startswith("===") or len(found) == 6:
            break
        process = re.match(r" *\d+ \(CPU [^)]*\): (\S+)", line)
        ours = process[1].rpartition("/")[2] in SUITES.values() if process else ours
        if not ours and not re.search(r"where each process is|unread at port|^ +and \d+ more", line):
            line = re.sub(r'^watchdog: the test case ".*" has not', "it hangs: it has not", line)
            found.append(re.sub(r"^.*?\bERROR: ", "", line).strip())
    return "\n".join(found)


def in_the_source(work):
    """What the section says about the source: kept or broken."""
    text = work.source.read_text(encoding="utf-8")
    for word, function in work.lab.section.absent:
        promise = f"in the source: no {word}" + (f" in {function}()" if function else "")
        found = re.search(rf"\b{re.escape(word)}\b", labs.code_of(text, function))
        yield Finding(promise, "fail" if found else "pass", page=f"docs/{work.lab.stage}.md#build-it-yourself",
                      seen=f"{work.shown()} still has it. No client notices, but this is the step." if found else "")


def look_for_line(work, finding):
    """After a crash: breaks the promise once more in a build with the sanitizers, which say where. Tells what they say."""
    if not (shutil.which("clang++") and shutil.which("llvm-symbolizer")):
        print("    line      the packages clang, libclang-rt-dev and llvm are needed to find it")
        return
    progress("a build with sanitizers, to find the line (the first one takes a minute or two)")
    if not (SANITIZED / "build.ninja").exists():
        run_quietly(["cmake", "--preset", "asan-ubsan", "-B", SANITIZED, "-DGROUND_TESTS=OFF"])
    run_quietly(["cmake", "--build", SANITIZED, "--target", f"lab_{work.name}"])
    program = SANITIZED / "lab" / work.name / work.lab.stage
    with tempfile.TemporaryDirectory(prefix="lab.") as scratch:
        options = f"log_path={scratch}/report:handle_abort=1:detect_leaks=0:print_stacktrace=1"
        environment = {**os.environ, "ASAN_OPTIONS": options, "UBSAN_OPTIONS": options, "JUDGE_PATIENCE": patiences()[0]}
        command = [BUILD / "clients" / "judge", "--as", work.lab.stage, "--only", finding.get("id"), "--", program]
        if not finding.get("id"):
            command = suite_command(finding.promise, program)
        subprocess.run([str(word) for word in command], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        reports = sorted(Path(scratch).glob("report*"), key=lambda path: path.stat().st_mtime)
        lines = lines_of_crash(work, reports[0].read_text(encoding="utf-8", errors="replace")) if reports else []
    finding.facts["lines"] = lines
    progress()
    print("\n".join(f"    {'line' if number == 0 else '':9} {line}" for number, line in enumerate(lines)) if lines else
          "    line      not found: a build with sanitizers does not crash here")


def lines_of_crash(work, report):
    """What a report of the sanitizers says, and the innermost lines of the student's file in each of its stacks."""
    what = re.search(r"ERROR: \w+: ([^\n]*?)(?: on (?:unknown )?address\b.*)?$|runtime error: ([^\n]*)", report, re.MULTILINE)
    found = [re.sub(r" \(.*", "", what[1] or what[2])] if what else []
    source = ["", *work.source.read_text(encoding="utf-8").split("\n")]
    frame = re.compile(rf"#\d+ \S+ in (.*?) \S*/{re.escape(str(work.shown()))}:(\d+)")
    heading, shown = "", []  # of this stack
    for line in report.split("\n"):
        begins = re.match(r"freed by|previously allocated by", line)
        if begins:
            heading, shown = f"{begins[0]}: ", []
        match = frame.search(line)
        if match and int(match[2]) < len(source) and match[2] not in shown and len(shown) < FRAMES:
            found.append(f"{'' if shown else heading}{work.shown()}:{match[2]}: {source[int(match[2])].strip()}")
            shown.append(match[2])
    return found


def look(work, every):
    """Builds and judges. Stops at the first broken promise, unless every one of them is wanted."""
    result = Result(work)
    result.errors = build(work)
    if result.errors is not None:
        return result
    for groups in ORDER[work.language]:
        if groups == "step":
            for finding in step_of(work):
                result.findings.append(finding)
                if not finding.is_kept():
                    finding.say()
                    if not every:
                        return result
        else:
            result.findings += ask_judge(work, groups, every)
            if result.status() != 0 and not every:
                return result
    return result


def step_of(work):
    """One finding after the other, as they are asked for."""
    for promise in work.lab.section.promises:
        progress(promise)
        yield ask_suite(work, promise)
    yield from in_the_source(work)


def progress(text=""):
    """What is being asked, on a line that the next one overwrites."""
    if sys.stderr.isatty():
        print(f"\r\33[K{text[: width() - 1]}\r", end="", file=sys.stderr, flush=True)


# What the judge or a suite says about a broken promise -> the symptom. The first one that matches.
SIGNS = (
    ("spins", r"\bprocess/idle\b"),
    ("gone", r"\bprocess/descriptors\b|it crashed|did not start|ended by itself|closed the connection|has closed|has ended|signal \d"),
    ("hangs", r"it hangs|no reply|no further reply|in vain|does not listen|process/sigterm"),
    ("wrong", r"it replied|order|\bprotocol/|\bload/"),
)


def symptom_of(result):
    """One of labs.SYMPTOMS, or None if there is nothing to say."""
    if result.errors is not None:
        return "build"
    broken = result.broken() or result.unknown()
    if not broken or broken.verdict == "judge's error":
        return None
    if result.digest == result.work.state().get("start") or broken.promise.startswith("in the source"):
        return "step"
    words = " ".join(broken.get(key) for key in ("id", "cause", "seen"))
    return next((name for name, sign in SIGNS if re.search(sign, words)), "step")


def check(work, options):
    """One check, or several until a promise is broken. Returns the status."""
    for number in range(1, (options.until_fail or 1) + 1):
        if options.until_fail:
            print(f"Check {number} of {options.until_fail}:", flush=True)
        result = look(work, options.all)
        crash = next((finding for finding in result.findings if finding.has_crashed()), None)
        if crash and work.language == "c++":
            look_for_line(work, crash)
        status = tell(work, result)
        for path, form in ((options.json, as_json), (options.gradescope, as_gradescope)):
            if path:
                path.write_text(json.dumps(form(work, result), indent=1) + "\n", encoding="utf-8")
        if status != 0:
            break
    return status


def tell(work, result):
    """Says what has come of it, and remembers it for hints."""
    progress()
    broken = result.broken() or result.unknown()
    if result.errors is not None:
        print(first_of(ERROR, result.errors))
        said = "it does not compile"
        print(f"{work.shown()} does not compile. This is the first error.")
    elif broken:
        said = f"{'broken' if broken.verdict == 'fail' else broken.verdict}: {broken.promise}"
    elif not result.findings:
        said = "nothing was judged"
        print(said)
    else:
        said = f"all {sum(finding.verdict in ('pass', 'by design') for finding in result.findings)} promises kept"
        print(f"{work.shown()}: {said}. Put it beside {work.lab.stage}: scripts/lab show {work.name}")
    symptom = symptom_of(result)
    work.remember(said=said, symptom=symptom, checked=result.digest, when=time.strftime("%Y-%m-%d %H:%M:%S"))
    if symptom:
        print(f"For a hint: scripts/lab hint {work.name}")
    return result.status()


def as_json(work, result):
    return {"version": 1, "lab": work.name, "stage": work.lab.stage, "status": result.status(),
            "compiles": result.errors is None, "step": work.lab.section.promises,
            "promises": [finding.facts for finding in result.findings]}


def points(work, result):
    """What a program can mark, of the 20 points on the page of the lab: the step, and nothing else broken."""
    step = [*work.lab.section.promises, *(f.promise for f in result.findings if f.promise.startswith("in the source"))]
    verdicts = {finding.promise: finding.verdict for finding in result.findings}
    asked = [promise for promise in step if promise in verdicts] or step
    kept = sum(verdicts.get(promise) == "pass" or verdicts.get(promise) == "by design" for promise in asked)
    others = [finding for finding in result.findings if finding.promise not in step]
    rest = result.errors is None and others and all(finding.verdict != "fail" for finding in others)
    return round(12 * kept / len(asked), 2), 4 if rest else 0


def as_gradescope(work, result):
    """The form of its results.json."""
    step, rest = points(work, result)
    tests = [{"name": f"{finding.promise}", "status": "passed" if finding.is_kept() else "failed",
              "output": finding.get("seen") or finding.get("cause") or finding.verdict} for finding in result.findings]
    return {"score": step + rest, "tests": tests,
            "output": first_of(ERROR, result.errors) if result.errors is not None else f"step: {step} of 12, the rest: {rest} of 4"}


def watch(work, check_it):
    """Checks at once, and again after every change, until Ctrl-C."""
    seen = None
    while True:
        now = work.digest()
        if now != seen:
            seen = now
            print(f"---- {time.strftime('%H:%M:%S')}", flush=True)
            check_it()
            print("Waiting until you save. Ctrl-C ends.", flush=True)
        time.sleep(WATCH_SECONDS)


# ---------------------------------------------------------------------------------------------------
# scripts/lab hint, scripts/lab show


def hints_for(work, symptom):
    """Those of the page or, if it has none for this symptom, those for every lab."""
    if symptom in work.lab.section.hints:
        return work.lab.section.hints[symptom]
    general = labs.general_section((ROOT / labs.GENERAL).read_text(encoding="utf-8"))
    return general.hints[symptom] if general else work.lab.section.hints["step"]


def hint(work):
    state = work.state()
    if "checked" not in state:
        raise labs.Problem(f"a hint is about what was seen, so check first: scripts/lab check {work.name}")
    symptom = state["symptom"]
    if symptom is None:
        print(f"There is no hint for what the last check has said: {state['said']}")
        return
    now = work.digest()
    given = state.get("hints", {})  # symptom -> how many
    number = given.get(symptom, 0)
    last = len(labs.GRADES)
    waits = number > 0 and state.get("hinted") == now
    if not waits and number < last:
        number += 1
    hints = hints_for(work, symptom)
    print(f"{labs.SYMPTOMS[symptom]} Hint {number} of {last}, {labs.GRADES[number - 1].lower()}:\n")
    say(hints[labs.GRADES[number - 1]], "  ")
    work.remember(hints={**given, symptom: number}, hinted=now)
    if number == last:
        print(f"\nThat is all. The stage's own lines: scripts/lab show {work.name}")
    elif waits:
        print("\nThe next hint comes after you have changed something.")
    if state["checked"] != now:
        print(f"(This is about the last check. You have changed the file since then: scripts/lab check {work.name})")


def show(work):
    stage = f"stages/{work.lab.stage}.cpp"
    if work.language != "c++":
        print(f"Another language has other lines. Here is the heart of it, from docs/{work.lab.stage}.md:\n")
        page = (ROOT / "docs" / f"{work.lab.stage}.md").read_text(encoding="utf-8")
        print("\n".join(re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)))
        return
    print(f"-: {stage}   +: {work.shown()}", flush=True)
    subprocess.run(["git", "--no-pager", "diff", "--no-index", "--no-prefix", "--histogram", "--", stage, str(work.shown())],
                   cwd=ROOT, check=False)


# ---------------------------------------------------------------------------------------------------


def parse(arguments):
    parser = argparse.ArgumentParser(prog="lab", usage="scripts/lab --help says how")
    parser.add_argument("what", nargs="?")
    parser.add_argument("name", nargs="?")
    parser.add_argument("--lang", choices=LANGUAGES, default="c++")
    for flag in ("--fresh", "--watch", "--all"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--until-fail", type=int, choices=range(1, 1_000_001), metavar="N")
    for form in ("--json", "--gradescope"):
        parser.add_argument(form, type=lambda name: Path(name).absolute())
    options = parser.parse_args(arguments)
    checks = options.what == "check"
    lays_out = options.what is not None and options.what not in ("check", "hint", "show")
    if lays_out and options.name:
        parser.error(f"'{options.what}' is no command; they are: check, hint, show")
    if not checks and (options.watch or options.until_fail or options.json or options.gradescope or options.all):
        parser.error("--watch, --until-fail, --json, --gradescope and --all belong to check")
    if not lays_out and (options.fresh or options.lang != "c++"):
        parser.error("--fresh and --lang belong to: scripts/lab NUMBER")
    return options


def main(arguments):
    options = parse(arguments)
    every = labs.all_labs(ROOT)
    SUITES.update(labs.suites(ROOT))
    if options.what is None:
        list_labs(every)
    elif options.what == "check":
        work = work_of(options.name, every)
        return watch(work, lambda: check(work, options)) if options.watch else check(work, options)
    elif options.what == "hint":
        hint(work_of(options.name, every))
    elif options.what == "show":
        show(work_of(options.name, every))
    else:
        lay_out(lab_of(options.what, every), options.lang, options.fresh)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except labs.Problem as problem:
        print(f"lab: {problem}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
