"""What scripts/lab does with a student's work and what it says, and whether every lab can be begun.

    lab_test.py BUILD      the starts are compiled with the options of BUILD

Most tests work in a copy of the tree, in which stand-ins play the compiler, the suites and the judge. They look at words
in the student's file: it can be KEPT, or it HANGS, and so on.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "shared"))
import labs  # noqa: E402

BUILD = Path(sys.argv.pop() if Path(sys.argv[-1]).is_dir() else ROOT / "build" / "release").resolve()
LABS = labs.all_labs(ROOT)

CMAKE = """#!/usr/bin/env python3
import pathlib, re, sys
target = sys.argv[-1]
if not target.startswith("lab_"):
    sys.exit(0)
build = "lab-sanitized" if any(word.endswith("lab-sanitized") for word in sys.argv) else "release"
[source] = pathlib.Path("lab", target[4:]).glob("*.cpp")
text = source.read_text()
if "NO CODE" in text:
    print(f"[1/2] Building\\nFAILED: x\\n{source.absolute()}:3:5: error: 'NO' was not declared\\n    3 | NO CODE\\n      | ^~")
    print(f"{source.absolute()}:4:1: error: another one")
    sys.exit(1)
if "UNUSED" in text:
    print(f"{source.absolute()}:9:1: warning: ignoring a value that is nodiscard\\n    9 |   client.send(reply);\\n      |   ^~")
program = pathlib.Path("build", build, "lab", target[4:], source.stem)
program.parent.mkdir(parents=True, exist_ok=True)
program.write_text(text)
"""
# The suites of our stages. They keep what the file says, and break the rest.
SUITE = """#!/usr/bin/env python3
import re, sys
text = open(sys.argv[1]).read()
name = sys.argv[2].partition("=")[2].replace("\\\\,", ",")
with open("asked", "a") as file:
    print(name, file=file)
if "KEPT" in text or f"KEEPS {name}." in text:
    print("[doctest] test cases: 1 | 1 passed")
    sys.exit(0)
print('===\\nx.cpp:1:\\nTEST CASE:  ' + name + '\\n\\nx.cpp:9: ERROR: CHECK( small.ask() == 55 ) is NOT correct!\\n'
      + ('  waited in vain for: a reply\\n  where each process is:\\n  7 (CPU 1 ms): lessons x\\n  R in read()\\n  8 (CPU 2 ms): 02_threads' if "HANGS" in text else '  values: CHECK( 54 == 55 )') + '\\n')
print("[doctest] test cases: 1 | 0 passed | 1 failed")
sys.exit(1)
"""
# As the judge: a line for each promise, details for what is broken, and a report even if it is interrupted.
REPORT = """==7==ERROR: AddressSanitizer: heap-use-after-free on address 0x60 at pc 0x55 bp 0x7f sp 0x7f
READ of size 8 at 0x60 thread T0
    #0 0x55 in std::deque<int>::front() /usr/include/c++/12/deque:9:1
    #1 0x55 in (anonymous namespace)::serve(int) ROOT/lab/02/02_threads.cpp:2:9
    #2 0x55 in main ROOT/lab/02/02_threads.cpp:3:5

0x60 is located 0 bytes inside of 8-byte region
freed by thread T0 here:
    #0 0x55 in operator delete(void*) (/tmp/x+0x1)
    #1 0x55 in main ROOT/lab/02/02_threads.cpp:3:5
"""
JUDGE = f"""#!/usr/bin/env python3
REPORT = {REPORT!r}
""" + """
import json, os, signal, sys, time
arguments = sys.argv[1:]
program = arguments[arguments.index("--") + 1:]
groups = arguments[arguments.index("--only") + 1].split(",")
text = open(program[-1]).read()
sanitizers = dict(one.split("=", 1) for one in os.environ.get("ASAN_OPTIONS", "").split(":") if "=" in one)
if sanitizers:
    with open(sanitizers["log_path"] + ".1", "w") as file:
        file.write(REPORT.replace("ROOT", os.getcwd()))
    sys.exit(1)
with open("asked", "a") as file:
    print("judge", ",".join(groups), file=file)
every = [
    ("start/replies", "it starts, listens and replies", "DEAD", "it did not start: it ended with signal 6", "fail"),
    ("protocol/order", "replies come in order", "MIXED", 'it replied "1" instead of "2"', "fail"),
    ("model/one", "several at once", "ALONE", "no reply", "fail"),
    ("process/idle", "an idle server takes no CPU time", "SPINS", "0.9 s of 1 s", "fail"),
    ("load/every-reply", "no reply is lost", "LOSES", "no further reply", "fail"),
    ("faults/reset", "a reset is forgotten", "RARELY", "one of three runs broke it", "unknown"),
]
told = []
def report(*_):
    with open(arguments[arguments.index("--json") + 1], "w") as file:
        json.dump({"schema": "ground-judge", "version": 1, "promises": told}, file)
    sys.exit(any(one["verdict"] == "fail" for one in told))
signal.signal(signal.SIGINT, report)
for name, promise, word, cause, bad in every:
    if name.partition("/")[0] in groups:
        verdict = bad if word in text else "pass"
        told.append({"id": name, "promise": promise, "verdict": verdict, "cause": cause if verdict != "pass" else "",
                     "ended": "signal 6 (Aborted)" if verdict == "fail" and word == "DEAD" else ""})
        print(f"{verdict.replace('fail', 'FAIL'):14} {name:28} {promise}", flush=True)
        if verdict == "fail":
            print(f"    cause     {cause}\\n    again     judge --only {name}", flush=True)
            time.sleep(0.5)
report()
"""


class Tree(unittest.TestCase):
    def setUp(self):
        self.root = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="lab test "))).resolve()
        for name in ("scripts", "stages", "docs"):
            shutil.copytree(ROOT / name, self.root / name)
        (self.root / "tests").symlink_to(ROOT / "tests")
        for name, text in (("bin/cmake", CMAKE), ("build/release/build.ninja", ""), ("build/release/clients/judge", JUDGE),
                           *((f"build/release/tests/{suite}", SUITE) for suite in ("lessons", "faults", "conformance"))):
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755)
        self.environment = {**os.environ, "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}", "GROUND_BUILT": "yes"}

    def lab(self, *words, status=0):
        done = subprocess.run([self.root / "scripts" / "lab", *words], capture_output=True, text=True, check=False,
                              env=self.environment, cwd=self.root, timeout=200)
        self.assertEqual(status, done.returncode, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def source(self, name="02", stage="02_threads"):
        return self.root / "lab" / name / f"{stage}.cpp"

    def add(self, text, **which):
        with self.source(**which).open("a") as file:
            file.write(text + "\n")

    def asked(self):
        """Which promises were asked for since the last call, and which groups of them."""
        path = self.root / "asked"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines


class LayingOut(Tree):
    def test_it_says_where_the_start_is_what_to_build_and_when_it_is_done(self):
        said = " ".join(self.lab("04").split())
        self.assertIn("lab/04/04_generators.cpp is yours. It begins as 03_process_pool", said)
        self.assertIn("Write a server with one thread for all clients", said)
        for promise in LABS["04_generators"].section.promises:
            self.assertIn(f"- {promise}", said)
        self.assertIn("scripts/lab check 04", said)

    def test_work_is_never_overwritten_and_fresh_keeps_it(self):
        self.lab("02")
        self.add("// my work")
        said = self.lab("02", status=2)
        self.assertIn("lab/02 is there already", said)
        self.assertIn("my work", self.source().read_text())
        self.assertIn("lab/02.old-1", self.lab("02", "--fresh"))
        self.assertNotIn("my work", self.source().read_text())
        self.lab("02", "--fresh")
        self.assertIn("my work", (self.root / "lab/02.old-1/02_threads.cpp").read_text())
        self.assertTrue((self.root / "lab/02.old-2").is_dir())

    def test_labs_are_listed_with_what_was_seen(self):
        self.lab("02")
        self.assertRegex(self.lab(), r"02 +02_threads +from 01_blocking +lab/02/02_threads.cpp: not checked yet")
        self.add("KEPT")
        self.lab("check")
        said = self.lab()
        self.assertRegex(said, r"02 .*: all \d+ promises kept")
        for lab in LABS.values():
            self.assertRegex(said, rf"\b{lab.number} +{lab.stage}")

    def test_mistakes_are_said_in_one_line(self):
        for words, says in ((("77",), "there is no lab '77'"), (("check",), "you have begun no lab"),
                            (("check", "05"), "lab/05 is not there"), (("hint",), "you have begun no lab"),
                            (("02", "--watch"), "belong to check"), (("check", "--fresh"), "belong to"),
                            (("chekc", "02"), "'chekc' is no command"), (("02", "--wach"), "--wach")):
            with self.subTest(words):
                said = self.lab(*words, status=2)
                self.assertIn(says, said)
        self.assertFalse((self.root / "lab").exists())


class Checking(Tree):
    def test_a_start_breaks_the_first_promise_of_its_step_and_no_more_is_asked(self):
        self.lab("02")
        first = LABS["02_threads"].section.promises[0]
        said = self.lab("check", status=1)
        self.assertRegex(said, rf"FAIL +step +{first}")
        self.assertRegex(said, r" seen +CHECK\( small.ask\(\) == 55 \) is NOT correct")
        self.assertIn("    again     build/release/tests/lessons build/release/lab/02/02_threads", said)
        self.assertEqual(["judge start", first, first], self.asked())  # what is broken is asked for once more

    def test_promises_are_asked_in_the_order_in_which_causes_are_found(self):
        self.lab("04")
        self.add("KEPT", name="04", stage="04_generators")
        self.assertRegex(self.lab("check", "04"), r"all \d+ promises kept")
        self.assertEqual(["judge start", *LABS["04_generators"].section.promises, "judge protocol,model", "judge process,load,faults"],
                         self.asked())

    def test_a_promise_that_any_server_makes_is_judged_too(self):
        self.lab("02")
        self.add("KEPT, but MIXED")
        said = self.lab("check", status=1)
        self.assertIn("protocol/order               replies come in order\n    cause     it replied \"1\" instead of \"2\"", said)
        self.assertNotIn("several at once", said)  # the judge was interrupted
        self.assertNotIn("judge process,load,faults", self.asked())

    def test_all_does_not_stop(self):
        self.lab("02")
        self.add("MIXED SPINS")
        said = self.lab("check", "--all", status=1)
        self.assertEqual(len(LABS["02_threads"].section.promises) + 2, said.count("FAIL "))

    def test_what_does_not_compile_is_told_by_its_first_error(self):
        self.lab("02")
        self.add("NO CODE")
        said = self.lab("check", status=1)
        self.assertIn("lab/02/02_threads.cpp:3:5: error: 'NO' was not declared", said)
        self.assertIn("NO CODE", said)
        self.assertNotIn("another one", said)
        self.assertNotIn(str(self.root), said)
        self.assertEqual([], self.asked())

    def test_a_warning_is_shown_although_it_compiles(self):
        self.lab("02")
        self.add("KEPT UNUSED")
        self.assertIn("lab/02/02_threads.cpp:9:1: warning: ignoring a value that is nodiscard\n    9 |", self.lab("check"))

    def test_the_line_of_a_crash_is_found_by_a_build_with_sanitizers(self):
        self.lab("02")
        self.source().write_text("// DEAD\nqueue.front();\nqueue.pop_front();\n")
        for name in ("clang++", "llvm-symbolizer"):
            (self.root / "bin" / name).write_text("#!/bin/sh\n")
            (self.root / "bin" / name).chmod(0o755)
        said = self.lab("check", "--json", "r.json", status=1)
        lines = ["heap-use-after-free", "lab/02/02_threads.cpp:2: queue.front();", "lab/02/02_threads.cpp:3: queue.pop_front();",
                 "freed by: lab/02/02_threads.cpp:3: queue.pop_front();"]
        self.assertRegex(said, r"\n    line +" + r"\n +".join(map(re.escape, lines)) + "\n")
        [crash] = [one for one in json.loads((self.root / "r.json").read_text())["promises"] if one["verdict"] == "fail"]
        self.assertEqual(lines, crash["lines"])

    def test_what_is_not_certain_is_not_called_broken(self):
        self.lab("02")
        self.add("KEPT RARELY")
        said = self.lab("check", status=2)
        self.assertRegex(said, r"unknown +faults/reset +a reset is forgotten")

    def test_a_step_that_clients_do_not_see_is_looked_for_in_the_source(self):
        self.lab("06")
        which = {"name": "06", "stage": "06_async_sockets"}
        said = self.lab("check", "06", status=1)
        self.assertRegex(said, "FAIL +step +in the source: no co_yield")
        self.source(**which).write_text(self.source(**which).read_text().replace("co_yield", "co_await"))
        self.assertRegex(self.lab("check", "06", status=1), r"FAIL +step +in the source: no ReadReady in handle\(\)")
        stage = (self.root / "stages/06_async_sockets.cpp").read_text()
        self.source(**which).write_text(stage + "// co_yield\n")  # a comment is no code
        self.assertRegex(self.lab("check", "06"), r"all \d+ promises kept")

    def test_until_fail_checks_again_and_again(self):
        self.lab("02")
        self.add("KEPT")
        self.assertIn("Check 3 of 3", self.lab("check", "--until-fail", "3"))
        self.assertEqual(3, self.asked().count("judge start"))
        self.add("LOSES")
        said = self.lab("check", "--until-fail", "3", status=1)
        self.assertNotIn("Check 2", said)

    def test_a_judge_that_says_nothing_is_an_error_and_no_pass(self):
        (self.root / "build/release/clients/judge").write_text("#!/bin/sh\necho 'judge: out of order'\nexit 0\n")
        self.lab("02")
        self.add("KEPT")
        self.assertIn("out of order", self.lab("check", status=3))

    def test_a_suite_that_does_not_ask_is_an_error_and_no_pass(self):
        (self.root / "build/release/tests/lessons").write_text("#!/bin/sh\necho '[doctest] test cases: 0 | 0 passed'\nexit 0\n")
        self.lab("02")
        self.add("KEPT")
        self.assertIn("does not ask 02_threads for it", self.lab("check", status=3))

    def test_a_promise_that_was_broken_once_of_twice_is_unknown(self):
        (self.root / "build/release/tests/lessons").write_text(
            "#!/bin/sh\n[ -e once ] && { echo 'test cases: 1 | 1 passed'; exit 0; }\n: >once\necho 'x: ERROR: CHECK( no )'; exit 1\n")
        self.lab("02")
        self.assertRegex(self.lab("check", status=2), "unknown +step +an idle client does not delay another")

    def test_the_lab_that_was_changed_last_is_meant(self):
        self.lab("02")
        self.lab("04")
        os.utime(self.source(), (1, 1))
        os.utime(self.source().parent, (1, 1))
        self.assertIn("lab/04", self.lab("check", status=1))
        os.utime(self.source())
        later = self.source().stat().st_mtime + 10
        os.utime(self.source(), (later, later))
        self.assertIn("lab/02", self.lab("check", status=1))


class Watching(Tree):
    def test_it_checks_when_the_file_is_saved_and_ends_with_ctrl_c(self):
        self.lab("02")
        watching = subprocess.Popen([self.root / "scripts" / "lab", "check", "--watch"], stdout=subprocess.PIPE, text=True,
                                    env=self.environment, cwd=self.root, start_new_session=True)
        self.addCleanup(watching.stdout.close)
        watchdog = threading.Timer(200, watching.kill)
        watchdog.start()
        self.addCleanup(watchdog.cancel)

        def read_until(text):
            for line in watching.stdout:
                if text in line:
                    return
            self.fail(f"it has ended without: {text}")

        read_until("an idle client does not delay another")
        read_until("Waiting until you save")
        self.add("NO CODE")
        read_until("does not compile")
        read_until("Waiting until you save")
        self.source().write_text("KEPT")
        read_until("promises kept")
        os.killpg(watching.pid, signal.SIGINT)
        self.assertEqual(130, watching.wait(200))


class Hints(Tree):
    def test_the_next_one_comes_only_after_a_change(self):
        self.lab("02")
        self.assertIn("check first", self.lab("hint", status=2))
        self.lab("check", status=1)
        step = LABS["02_threads"].section.hints["step"]
        words = {grade: " ".join(text.split())[:25].replace("`", "") for grade, text in step.items()}
        for number, grade in enumerate(labs.GRADES, 1):
            with self.subTest(grade):
                for _ in range(2):
                    said = self.lab("hint").replace("`", "")
                    self.assertIn(f"Hint {number} of 4, {grade.lower()}", said)
                    if grade != "The lines":
                        self.assertIn(words[grade], " ".join(said.split()))
            self.assertIn("That is all" if number == 4 else "after you have changed something", said)
            self.add("// another try")
        self.assertIn("start_thread(handle, listener.accept(), rules);", said)
        self.assertIn("Hint 4 of 4", self.lab("hint"))
        self.assertIn("You have changed the file since then", self.lab("hint"))

    def test_they_are_about_what_was_seen(self):
        self.lab("02")
        self.source().write_text("HANGS")
        self.assertRegex(self.lab("check", status=1), r"\n +waited in vain for: a reply\n +8 \(CPU 2 ms\): 02_threads\n +page")
        for words, symptom in (("HANGS", "hangs"), ("KEPT MIXED", "wrong"), ("KEPT SPINS", "spins"), ("DEAD", "gone"),
                               ("NO CODE", "build"), ("WITHOUT EFFECT", "step")):
            with self.subTest(words):
                self.source().write_text(words)
                self.lab("check", status=1)
                self.assertIn(f"{labs.SYMPTOMS[symptom]} Hint 1 of 4", self.lab("hint"))
        self.source().write_text("KEPT")
        self.lab("check")
        self.assertRegex(self.lab("hint"), r"no hint for what the last check has said: all \d+ promises kept")


class Showing(Tree):
    def test_the_lines_of_the_stage_stand_beside_those_of_the_student(self):
        self.lab("02")
        said = self.lab("show")
        self.assertIn("\n-        start_thread(handle, listener.accept(), rules);", said)
        self.assertIn("\n+        handle(listener.accept(), rules);", said)


class Marking(Tree):
    def test_a_grader_gets_every_promise_and_the_points(self):
        self.lab("02")
        first = LABS["02_threads"].section.promises[0]
        self.add(f"KEEPS {first}.")
        self.lab("check", "--all", "--json", "r.json", "--gradescope", "g.json", status=1)
        report = json.loads((self.root / "r.json").read_text())
        self.assertEqual((1, "02", 1, True), (report["version"], report["lab"], report["status"], report["compiles"]))
        verdicts = {one["promise"]: one["verdict"] for one in report["promises"]}
        self.assertEqual("pass", verdicts[first])
        self.assertEqual(3, list(verdicts.values()).count("fail"))
        grade = json.loads((self.root / "g.json").read_text())
        self.assertEqual(12 / 4 + 4, grade["score"])
        self.assertIn({"name": first, "status": "passed", "output": "pass"}, grade["tests"])
        self.add("KEPT MIXED")
        self.lab("check", "--all", "--gradescope", "g.json", status=1)
        self.assertEqual(12, json.loads((self.root / "g.json").read_text())["score"])
        self.source().write_text("KEPT RARELY")
        self.lab("check", "--all", "--gradescope", "g.json", status=2)
        unknown = json.loads((self.root / "g.json").read_text())["tests"][-1]
        self.assertEqual(("a reset is forgotten", "failed", "one of three runs broke it"),
                         (unknown["name"], unknown["status"], unknown["output"]))
        self.add("NO CODE")
        self.lab("check", "--all", "--gradescope", "g.json", status=1)
        grade = json.loads((self.root / "g.json").read_text())
        self.assertEqual(0, grade["score"])
        self.assertIn("error", grade["output"])


class InPython(Tree):
    def test_it_begins_with_a_server_that_the_judge_can_start(self):
        said = self.lab("04", "--lang", "python")
        self.assertIn("lab/04-python/server.py is yours", said)
        said = self.lab("check", "04-python")
        self.assertRegex(said, r"all \d+ promises kept")
        self.assertEqual(["judge start", "judge model", "judge protocol", "judge process,load,faults"], self.asked())
        with (self.root / "lab/04-python/server.py").open("a") as file:
            file.write("# ALONE\n")
        self.assertRegex(self.lab("check", status=1), r"FAIL +model/one +several at once")
        self.assertIn("A reply does not come", self.lab("hint"))
        self.assertIn("select.select", self.lab("show"))

    def test_the_server_serves_one_client_after_the_other(self):
        self.lab("04", "--lang", "python")
        server = subprocess.Popen([sys.executable, "-B", self.root / "lab/04-python/server.py", "--port", "0"],
                                  stdout=subprocess.PIPE, text=True)
        self.addCleanup(server.stdout.close)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        port = int(re.search(r"listening on [\d.]+:(\d+)", server.stdout.readline())[1])
        import socket
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
                client.sendall(b"10\nten\n")
                client.shutdown(socket.SHUT_WR)
                self.assertEqual(b"55\n[Error] not a number, send one like 30\n", client.makefile("rb").read())


class Starts(unittest.TestCase):
    def test_each_page_has_what_its_lab_needs(self):
        self.assertEqual(9, len(LABS))
        for lab in LABS.values():
            self.assertEqual([], lab.section.problems, lab.stage)
        page = (ROOT / labs.GENERAL).read_text(encoding="utf-8")
        self.assertEqual([], labs.general_section(page).problems)
        for lab in LABS.values():
            self.assertIn(f"| [{lab.number}]({lab.stage}.md#build-it-yourself) |", page)

    def test_a_start_is_the_stage_before_and_says_where_the_step_is(self):
        for lab in LABS.values():
            with self.subTest(lab.stage):
                start = lab.start()
                before = labs.File((ROOT / "stages" / f"{lab.before}.cpp").read_text(encoding="utf-8"))
                stage = labs.File((ROOT / "stages" / f"{lab.stage}.cpp").read_text(encoding="utf-8"))
                for item in before.items:
                    if item.name != "main":
                        self.assertIn("\n".join(item.lines), start)
                same = {"\n".join(item.code) for item in before.items}
                for item in stage.items:
                    if "\n".join(item.code) not in same and item.name != "main":
                        self.assertRegex(start, rf"// TODO .*\b{item.name}\b")
                self.assertLess(max(map(len, start.splitlines())), 101)

    def test_all_of_them_compile(self):
        """All in one source, each in a namespace of its own, because the headers take nearly all of the time."""
        commands = json.loads((BUILD / "compile_commands.json").read_text())
        built = {Path(one["file"]).stem: one for one in commands if "/stages/" in one["file"]}
        usable = [lab for lab in LABS.values() if lab.stage in built]
        command = built["06b_greenlets" if "06b_greenlets" in built else "07_coroutines"]
        words = re.sub(r" -o \S+ -c \S+| -O\d| -D_FORTIFY_SOURCE=\d| -g\S*", " ", command["command"]).split()
        words = [word for word in words if word != "ccache" and not word.endswith("/ccache")]
        headers, bodies = set(), []
        for lab in usable:
            lines = lab.start().splitlines()
            headers |= {line for line in lines if line.startswith("#include")}
            body = "\n".join(line for line in lines if not line.startswith("#include"))
            bodies.append(f'#line 1 "{lab.stage}"\nnamespace lab_{lab.number} {{\n{body}\n}}\n')
        # Only the one global main() may end without a return.
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "starts.cpp"
            source.write_text("\n".join([*sorted(headers), *bodies]))
            ran = subprocess.run([*words, "-O0", "-Werror", "-Wno-return-type", "-fsyntax-only", source], cwd=command["directory"], capture_output=True,
                                 text=True, check=False, timeout=110)
        self.assertEqual(0, ran.returncode, ran.stderr[:4000])


if __name__ == "__main__":
    unittest.main()
