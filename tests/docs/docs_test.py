"""Whether scripts/check/docs.py finds what is stale, and nothing else.

Each test writes a small project of its own: a page that is recorded and is current. Then it is broken in one
place.
"""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import traceback
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS / "check"))
import docs  # noqa: E402

STAGE_1 = """\
#include <cstdio>

namespace {

// Says hello.
void greet()
{
    if (true) {
        std::puts("hello");
    }
}

int answer = 42;

}  // namespace

int main() { greet(); }
"""
STAGE_2 = STAGE_1.replace("hello", "good day")

# A program with a prompt, like nc: answers each line with the same line twice. Ends at end of file or Ctrl-C.
TALKER = """\
#!/usr/bin/env python3
import sys
try:
    while True:
        sys.stdout.write("> ")
        sys.stdout.flush()
        line = sys.stdin.readline()
        if not line:
            break
        print(line.strip() * 2, flush=True)
except KeyboardInterrupt:
    pass
print("bye", flush=True)
"""

# One that goes on until Ctrl-C. Only its first line is known in advance.
SERVER = """\
#!/usr/bin/env bash
trap 'echo stopped; exit 0' INT
echo "ready at $$"
while true; do
    read -r -t 1 </dev/tty && echo "took $REPLY"
done
"""

PAGE = """\
# A page

## See it

<!-- source stages/01_a.cpp: void greet -->
```cpp
```

<!-- source stages/01_a.cpp: int answer -->
```cpp
```

<!-- source stages/01_a.cpp: void greet ... puts -->
```cpp
```

<!-- run -->
```console
$ build/release/hello
$ printf 'one\\ntwo\\n'
```

<!-- run figures -->
```console
$ echo "took 123 us, 02_name and p50"
```

<!-- run talk -->
```console
$ build/release/talker
> ab
> cd
```

<!-- run server figures until=/ready/ -->
```console
$ build/release/server
```

<!-- run talk -->
```console
> ef
^D
$ echo next
```

<!-- run server -->
```console
^C
```

See [the top](#a-page), [the other](other.md#second-one) and [the source](../stages/01_a.cpp).

It greets. *Asserted by:* `it greets` and `it is "polite"
to all`. Like `puts()`.

```python
print("not ours")
```

- item

    of two paragraphs
"""

OTHER = """\
# First one

# Second one

<!-- figures -->
`scripts/measure 3` on this machine:

| a | b |
|---|---|

    not looked at
<!-- /figures -->
"""

TESTS = r"""
TEST_CASE("it greets") {}
TEST_CASE("it is \"polite\" "
          "to all") {}
"""

PATCH = """\
<details><summary>Answer</summary>

<!-- patch -->
```diff
--- a/stages/01_a.cpp
+++ b/stages/01_a.cpp
@@ -6,7 +6,7 @@
 void greet()
 {
     if (true) {
-        std::puts("hello");
+        std::puts("servus");
     }
 }
 
```

<!-- run -->
```console
$ build/release/stages/01_a
servus
```

</details>
"""


# How long a process sleeps that a test looks for. Another run of these tests has another number.
LONG = 100_000_000 + os.getpid()

# Succeeds if a page can have processes of its own.
OWN_PROCESSES = "unshare --user --map-root-user --net --pid --fork --mount-proc true".split()


def sleepers():
    return subprocess.run(["pgrep", "-f", f"^sleep {LONG}"], capture_output=True, check=False).stdout


def status_of(main):
    """What a process returns that runs nothing else."""
    try:
        main()
        return 0
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


class DocsTest(unittest.TestCase):
    def setUp(self):
        self.root = Path(self.enterContext(tempfile.TemporaryDirectory())).resolve()
        self.build = self.root / "elsewhere"
        for name in ("check/docs.py", "stage-diff", "shared/lib.sh", "shared/labs.py", "stages"):
            self.write(f"scripts/{name}", (SCRIPTS / name).read_text(), 0o755)
        self.write("scripts/measure", "#!/bin/sh\n", 0o755)
        self.write("stages/01_a.cpp", STAGE_1)
        self.write("stages/02_b.cpp", STAGE_2)
        self.write("tests/a_test.cpp", TESTS)
        self.write("elsewhere/hello", "#!/bin/sh\necho hello\n", 0o755)
        self.write("elsewhere/talker", TALKER, 0o755)
        self.write("elsewhere/server", SERVER, 0o755)
        self.write("README.md", "# Read me\n")
        self.write("docs/other.md", OTHER)

    def write(self, name, text, mode=0o644):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def read(self, name="docs/page.md"):
        return (self.root / name).read_text()

    def docs(self, *arguments):
        """Runs the tool. Returns its exit status and what it printed.

        In a copy of this process: to start and compile it each time costs more than most pages here."""
        with tempfile.TemporaryFile("w+") as output:
            child = os.fork()
            if child == 0:
                signal.alarm(100)
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
                os.chdir(self.root)
                docs.ROOT = self.root
                sys.argv = ["docs", "--build", str(self.build), *arguments]
                os._exit(status_of(docs.main))
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            output.seek(0)
            return status, output.read()

    def record(self, page, *arguments):
        self.write("docs/page.md", page)
        status, output = self.docs("--record", *arguments)
        self.assertEqual(0, status, output)
        return self.read()

    def assert_current(self, *arguments):
        status, output = self.docs("--check", *arguments)
        self.assertEqual(0, status, output)

    def assert_finding(self, *patterns, arguments=(), count=1):
        """The check fails with this many findings, and each pattern matches its output."""
        status, output = self.docs("--check", *arguments)
        self.assertEqual(1, status, output)
        for pattern in patterns:
            self.assertRegex(output, pattern)
        self.assertIn(f"docs: {count} finding", output)

    def assert_page_finding(self, page, *patterns, arguments=(), count=1):
        self.write("docs/page.md", page)
        self.assert_finding(*patterns, arguments=arguments, count=count)

    def break_page(self, old, new):
        text = self.read()
        self.assertIn(old, text)
        self.write("docs/page.md", text.replace(old, new, 1))

    def break_file(self, name, old, new):
        text = self.read(name)
        self.assertIn(old, text)
        (self.root / name).write_text(text.replace(old, new, 1))


class WholePage(DocsTest):
    def test_a_recorded_page_is_current_and_shows_what_a_reader_would_see(self):
        page = self.record(PAGE)
        self.assert_current()
        blocks = [block.split("\n", 1)[1] for block in re.findall(r"```(\w*\n.*?)```", page, re.DOTALL)]
        self.assertEqual(STAGE_1[STAGE_1.index("// Says") : STAGE_1.index("\nint answer")], blocks[0])
        self.assertEqual("int answer = 42;\n", blocks[1])
        self.assertEqual('void greet()\n{\n    if (true) {\n        std::puts("hello");\n', blocks[2])
        self.assertEqual("$ build/release/hello\nhello\n$ printf 'one\\ntwo\\n'\none\ntwo\n", blocks[3])
        self.assertEqual("$ build/release/talker\n> ab\nabab\n> cd\ncdcd\n", blocks[5])
        self.assertRegex(blocks[6], r"^\$ build/release/server\nready at \d+\n$")
        self.assertEqual("> ef\nefef\n> ^D\nbye\n$ echo next\nnext\n", blocks[7])
        self.assertEqual("^C\nstopped\n", blocks[8])

    def test_recording_again_changes_nothing_but_figures(self):
        page = self.record(PAGE)
        again = self.record(page)
        self.assertEqual(re.sub(r"ready at \d+", "", page), re.sub(r"ready at \d+", "", again))

    def test_what_the_check_runs_leaves_no_trace_in_the_sources(self):
        self.record("<!-- run -->\n```console\n$ echo a >made-here && ls made-here\n```\n")
        self.assert_current()
        self.assertFalse((self.root / "made-here").exists())

    def test_a_page_that_does_not_exist_is_an_error(self):
        status, output = self.docs("--check", "docs/none.md")
        self.assertEqual(1, status)
        self.assertIn("neither a page", output)


class Sources(DocsTest):
    PAGE = "<!-- source stages/01_a.cpp: void greet -->\n```cpp\n```\n"

    def test_a_changed_source_is_found(self):
        self.record(self.PAGE)
        self.break_file("stages/01_a.cpp", '"hello"', '"HELLO"')
        self.assert_finding(r"docs/page\.md:1: .*stale; run: scripts/check/docs --record docs/page.md", '"HELLO"')

    def test_a_block_changed_by_hand_is_found(self):
        self.record(self.PAGE)
        self.break_page("Says hello", "Says nothing")
        self.assert_finding("page.md:1: .*stale")

    def test_an_empty_block_is_found(self):
        self.assert_page_finding(self.PAGE, "page.md:1: .*stale")

    def test_text_that_is_gone_is_found(self):
        self.record(self.PAGE)
        self.break_file("stages/01_a.cpp", "void greet", "void welcome")
        self.assert_finding(r"page.md:1: no line of stages/01_a.cpp contains 'void greet'")

    def test_a_block_goes_to_the_end_of_the_file_if_no_last_line_is_named(self):
        self.record("<!-- source stages/01_a.cpp: void greet ... -->\n```cpp\n```\n")
        self.assert_current()
        self.assertIn((self.root / "stages/01_a.cpp").read_text().rstrip().split("\n")[-1],
                      (self.root / "docs/page.md").read_text())
        self.break_file("stages/01_a.cpp", '"hello"', '"HELLO"')
        self.assert_finding(r"docs/page\.md:1: .*stale")

    def test_a_file_that_is_gone_is_found(self):
        self.assert_page_finding(self.PAGE.replace("01_a", "09_z"), "page.md:1: there is no file stages/09_z.cpp")

    def test_the_end_of_the_lines_must_be_there(self):
        self.assert_page_finding(
            self.PAGE.replace("void greet", "void greet ... no such text"), "contains 'no such text'"
        )


class Differences(DocsTest):
    def test_a_changed_stage_is_found(self):
        page = self.record("<!-- diff 01 02 -->\n```diff\n```\n\n<!-- diff 01 02: puts ... puts -->\n```diff\n```\n")
        self.assertIn('-        std::puts("hello");\n+        std::puts("good day");\n', page)
        self.assertNotIn("index ", page)
        self.assertEqual(2, page.count('+        std::puts("good day");\n'))
        self.assert_current()
        self.break_file("stages/02_b.cpp", '"good day"', '"good evening"')
        self.assert_finding("page.md:1: .*stale", "good evening", count=2)

    def test_a_stage_that_is_gone_is_found(self):
        self.assert_page_finding("<!-- diff 01 05 -->\n```diff\n```\n", "page.md:1: .*no single stage is called '05'")


class Runs(DocsTest):
    def run_page(self, *lines, options=""):
        options = f" {options}" if options else ""
        return f"<!-- run{options} -->\n```console\n" + "".join(f"{line}\n" for line in lines) + "```\n"

    def test_changed_output_is_found(self):
        self.record(self.run_page("$ build/release/hello"))
        self.break_file("elsewhere/hello", "hello", "welcome")
        self.assert_finding(r"page\.md:1: .*stale", r"-hello", r"\+welcome")

    def test_a_line_too_many_is_found(self):
        self.record(self.run_page("$ build/release/hello"))
        self.break_page("\nhello\n", "\nhello\nhello\n")
        self.assert_finding("page.md:1: .*stale")

    def test_other_figures_are_not_stale(self):
        self.record(self.run_page("$ echo took 1,234.5 us at 0x7f ███▏; echo 10 reqs; echo 11 reqs", options="figures"))
        self.break_page("took 1,234.5 us at 0x7f ███▏\n10 reqs\n", "took 3 ms  at 0xabc █\n10 reqs\n9 reqs\n")
        self.break_page("echo took 1,234.5 us at 0x7f ███▏", "echo took 1,234.5 us at 0x7f ███▏")
        self.assert_current()

    def test_a_program_may_name_its_folder(self):
        self.write("elsewhere/whoami", '#!/bin/sh\nrealpath --relative-to=. "$0"; realpath "$0"\n', 0o755)
        page = self.record(self.run_page("$ build/release/whoami"))
        self.assertIn("$ build/release/whoami\nbuild/release/whoami\nbuild/release/whoami\n", page)

    def test_other_folders_of_this_machine_are_not_shown(self):
        self.write("docs/page.md", self.run_page("$ realpath docs"))
        self.assert_finding("page.md:1: .*only this machine has", count=2)  # and stale

    def test_perf_being_busy_is_not_stale(self):
        self.record(self.run_page("$ printf '  3 requests\\nRequests/sec: 3\\n'", options="figures"))
        self.break_page("\nRequests", "\n  Note: perf itself was busy for 97% of the time: ...\nRequests")
        self.assert_current()

    def test_figures_that_were_measured_beside_other_programs_are_refused(self):
        page = self.run_page("$ printf 'one run. Other\\n    programs kept the CPUs up to 25%% busy\\n'", options="figures")
        self.write("docs/page.md", page)
        status, output = self.docs("--record")
        self.assertEqual(1, status, output)
        self.assertRegex(output, "page.md:1: .*measured beside other programs")
        self.assertEqual(self.read(), page)
        self.break_page("\n```\n", "\none run. Other programs kept the CPUs up to 25% busy\n```\n")
        status, output = self.docs("--check")
        self.assertRegex(output, "page.md:1: .*measured beside other programs")

    def test_the_ranking_may_change(self):
        printed = "01  3 \\n02  4  *\\nBest first: 02 > 01\\n* The client was busy more than 95%%\\nend\\n"
        self.record(self.run_page(f"$ printf '{printed}'", options="figures"))
        self.break_page(
            "02  4  *\nBest first: 02 > 01\n* The client was busy more than 95%\n",
            "02  4\nBest first: 01 ~ 02\nThe runs of a stage spread by up to +-40%: a\n    quieter machine\n",
        )
        self.assert_current()
        self.break_page("\nend\n", "\nthe end\n")
        self.assert_finding("page.md:1: .*stale")

    def test_a_reply_that_ctrl_c_has_overtaken_is_not_stale(self):
        self.record(self.run_page("$ printf '  3 requests\\nRequests/sec: 3\\n'", options="figures"))
        errors = "  Errors: connect 0, read 0, [Error] replies 0, wrong 0, unanswered 1\n"
        self.break_page("\nRequests", f"\n{errors}  Note: 1 request had no reply yet at the end\nRequests")
        self.assert_current()
        self.break_page("wrong 0", "wrong 1")
        self.assert_finding("page.md:1: .*stale")

    def test_how_many_replies_there_were_before_the_end_is_a_figure(self):
        self.record(self.run_page("$ printf 'begin\\n  Stats   Avg\\n'", options="figures"))
        self.break_page("begin\n", "begin\n3 reqs/sec   p50 2 us\n1 s   fib(40) = 102334155\n")
        self.assert_current()
        self.break_page("3 reqs/sec   p50 2 us", "0 reqs/sec   no reply for 1 s")
        self.assert_finding("page.md:1: .*stale")

    def test_what_was_different_only_once_is_not_stale(self):
        self.record(self.run_page("$ build/release/hello"))
        self.write("elsewhere/hello", f"#!/bin/sh\nmkdir {self.root}/once 2>&- && echo unlucky || echo hello\n", 0o755)
        status, output = self.docs("--check")
        self.assertEqual(0, status, output)
        self.assertIn("docs/page.md is run once more", output)

    def test_commands_inherit_no_signals(self):
        none = "0000000000000000"
        self.write(
            "docs/page.md",
            self.run_page(
                "$ grep -E 'Sig(Blk|Ign)' /proc/self/status",
                f"SigBlk: {none}",
                f"SigIgn: {none}",
                "$ (yes; echo $? >&2) | head -n 1",
                "y",
                "141",
            ),
        )
        previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.addCleanup(signal.signal, signal.SIGHUP, previous)
        status, output = self.docs("--check")
        self.assertEqual(0, status, output)

    def test_commands_inherit_no_descriptors(self):
        inherited = fcntl.fcntl(0, fcntl.F_DUPFD, 100)
        self.addCleanup(os.close, inherited)
        self.write("docs/page.md", self.run_page(f"$ test -e /proc/$$/fd/{inherited} || echo closed", "closed"))
        status, output = self.docs("--check")
        self.assertEqual(0, status, output)

    def test_other_words_beside_figures_are_stale(self):
        self.record(self.run_page("$ echo 12 us, p50, 02_threads", options="figures"))
        for old, new in (("\n12 us,", "\n12 requests,"), (" p50, 02_threads\n12", " p50, 02_threads\n\n12")):
            with self.subTest(new):
                page = self.read()
                self.break_page(old, new)
                self.assert_finding("page.md:1: .*stale")
                self.write("docs/page.md", page)

    def test_measurements_are_shorter_in_a_check_but_what_a_page_shows_is_not(self):
        self.write("elsewhere/clients/perf", '#!/bin/sh\necho "$@" >>${0%/*}/../log\necho took 5 s\n', 0o755)
        self.record(self.run_page(
            "$ build/release/clients/perf -c 2 -d 2s -q | cat",
            "$ build/release/clients/perf -q -n 1000000",
            "$ build/release/clients/perf -i 2s -d 3s",
            options="figures"))
        self.assert_current("docs/page.md")
        shorter = "-c 2 -d 500ms -q\n-q -n 100000\n-i 500ms -d 3s\n"
        self.assertEqual("-c 2 -d 2s -q\n-q -n 1000000\n-i 2s -d 3s\n" + shorter, self.read("elsewhere/log"))
        # What may be due to that is run once more, in full.
        self.write("elsewhere/clients/perf", '#!/bin/sh\ncase "$*" in *00ms*) echo nothing;; *) echo took 5 s; esac\n', 0o755)
        status, output = self.docs("--check", "docs/page.md")
        self.assertEqual(0, status, output)
        self.assertIn("is run once more", output)

    def test_figures_in_names_are_compared(self):
        for old, new in (("02_threads", "03_threads"), ("p50", "p99")):
            with self.subTest(old):
                self.record(self.run_page(f"$ echo {old}", options="figures"))
                self.break_page(f"\n{old}", f"\n{new}")
                self.assert_finding("page.md:1: .*stale")

    def test_figures_are_compared_unless_the_marker_says_figures(self):
        self.record(self.run_page("$ echo 12"))
        self.break_page("\n12", "\n13")
        self.assert_finding("page.md:1: .*stale")

    def test_a_command_that_does_not_end_is_found(self):
        self.assert_page_finding(
            self.run_page("$ build/release/server"),
            r"page.md:1: waited 2 s for the end of the command.*not run",
            r"\| ready at",
            arguments=("--deadline", "2"),
        )

    def test_output_that_never_comes_is_found(self):
        self.assert_page_finding(
            self.run_page("$ build/release/server", options="until=/steady/"),
            r"page.md:1: waited 2 s for terminal 'main' to print /steady/",
            arguments=("--deadline", "2"),
        )

    def test_a_command_that_ends_too_early_is_found(self):
        self.assert_page_finding(
            self.run_page("$ build/release/hello", options="until=/listening/"),
            "page.md:1: the command ended without printing anything that matches /listening/",
        )

    def test_what_ignores_ctrl_c_is_found_and_killed(self):
        self.write("elsewhere/deaf", "#!/bin/bash\ntrap '' INT HUP\necho up\nsleep 1000\n", 0o755)
        self.assert_page_finding(
            self.run_page("$ build/release/deaf", "up", options="until=/up/"),
            "page.md:1: Ctrl-C did not end the command in terminal 'main'",
            "page.md:1: left behind and killed: .*deaf",
            "page.md:1: left behind and killed: sleep 1000",
            count=3,
        )

    def test_what_is_left_behind_is_found_and_killed(self):
        self.assert_page_finding(
            self.run_page(f"$ setsid sh -c 'echo $$ >&2; exec sleep {LONG}' & wait", options="figures until=/^[0-9]+/"),
            "page.md:1: left behind and killed: sleep [0-9]+",
            count=2,  # and it has printed something else than nothing
        )
        self.assertEqual(b"", sleepers())

    def test_more_shows_what_has_been_printed_in_the_meantime(self):
        page = self.record(
            self.run_page("$ (read -r line <fifo; echo got $line; sleep 1000)", options="one until=/prepared/").replace(
                "$ (read", "$ mkfifo fifo; echo prepared; (read"
            )
            + "\n"
            + self.run_page(options="one more now")
            + "\n"
            + self.run_page("$ echo it >fifo", options="two")
            + "\n"
            + self.run_page(options="one more until=/got/")
        )
        self.assertIn("```console\n```\n\n<!-- run two -->", page)
        self.assertIn("```console\ngot it\n```", page)
        self.assert_current()

    def test_slow_runs_that_show_nothing_are_found(self):
        self.record(self.run_page("$ build/release/hello | grep -v hello || true", options="slow"))
        self.assert_finding("page.md:1: .*shows nothing")

    def test_slow_runs_are_checked_only_on_request(self):
        self.record(
            self.run_page("$ build/release/server", options="a slow figures until=/ready/")
            + "\n"
            + self.run_page("^C", "$ echo done", options="a")
            + "\n"
            + self.run_page("$ build/release/hello", options="b slow")
        )
        self.assert_current("--slow")
        self.break_page("\nhello\n", "\nwelcome\n")
        self.assert_current()
        self.assert_finding("page.md:.*'run b slow' is stale", arguments=("--slow",))

    def test_a_line_goes_on_behind_a_backslash(self):
        page = self.record(self.run_page("$ printf '%s\\n' a \\", "    b"))
        self.assertIn("\n    b\na\nb\n```", page)
        self.assert_current()

    def test_pages_that_use_the_same_port_do_not_meet(self):
        listen = "import socket, time; s = socket.create_server(('127.0.0.1', 25000))"
        listen += "; print('up', flush=True); time.sleep(99)"
        page = self.run_page(f'$ python3 -c "{listen}"', "up", options="until=/^up/")
        for name in ("page", "page2", "page3"):
            self.write(f"docs/{name}.md", page)
        self.assert_current("--jobs", "3")

    @unittest.skipIf(subprocess.run(OWN_PROCESSES, check=False).returncode, "no namespaces for us here")
    def test_a_page_does_not_see_what_others_have_started(self):
        with subprocess.Popen(["sleep", str(LONG)]) as ours:
            try:
                self.record(self.run_page(f"$ pgrep -fc '^sleep {LONG}'"))
                self.assertIn("\n0\n", self.read())
            finally:
                ours.kill()


class Comparisons(DocsTest):
    """Prose that compares figures, under a `holds` marker."""

    TABLE = "stage  alone  hog ±3%   p50\n02_a   8,490  200 ±6%  73 us\n02_b   9,000  4       1.2 ms\n"

    def page(self, claim, table=TABLE):
        return f"<!-- run figures -->\n```console\n$ cat table\n{table}```\n\n<!-- holds: {claim} -->\nIt falls.\n"

    def assert_holds(self, claim):
        self.write("table", self.TABLE)
        self.write("docs/page.md", self.page(claim))
        self.assert_current()

    def test_a_comparison_that_holds_is_no_finding(self):
        self.assert_holds('"02_a"[2] > 10 * "02_b"[2] and "02_a"[1] < "02_b"[1]')

    def test_times_with_different_units_are_compared_in_seconds(self):
        self.assert_holds('10 < "02_b"[3] / "02_a"[3] < 20')

    def test_numbers_in_names_and_spreads_are_no_figures(self):
        self.assert_holds('8490 <= "02_a"[1] <= 8490 and 200 <= "02_a"[2] <= 200')

    def test_a_comparison_that_no_longer_holds_is_found_with_its_figures(self):
        self.write("table", self.TABLE)
        self.assert_page_finding(self.page('"02_a"[2] > 100 * "02_b"[2]'), r"page.md:9: 'holds': this is not so: .*200, 4")

    def test_recording_figures_that_contradict_the_prose_is_refused(self):
        self.write("table", self.TABLE.replace("200", "20"))
        self.write("docs/page.md", self.page('"02_a"[2] > 10 * "02_b"[2]'))
        status, output = self.docs("--record")
        self.assertEqual(1, status, output)
        self.assertRegex(output, "page.md:9: 'holds': this is not so")

    def test_the_line_before_the_last_can_be_named(self):
        self.write("table", "Requests/sec: 300\nRequests/sec: 100\n")
        claim = '"Requests/sec:"[1, 2] > 2 * "Requests/sec:"[1]'
        self.write("docs/page.md", self.page(claim, "Requests/sec: 300\nRequests/sec: 100\n"))
        self.assert_current()

    def test_the_recordings_of_other_scripts_count(self):
        recording = "<!-- figures -->\n`scripts/measure`:\n\n| a | b |\n|---|--:|\n| x_1 | 7 |\n<!-- /figures -->\n"
        self.write("docs/page.md", f'{recording}\n<!-- holds: "x_1"[1] > 6 -->\nIt is more.\n')
        self.assert_current()

    def test_only_lines_above_count(self):
        self.write("table", self.TABLE)
        page = '<!-- holds: "02_a"[1] > 1 -->\nIt is more.\n\n' + self.page("1 > 0")
        self.assert_page_finding(page, "page.md:1: 'holds': of the recorded lines above, 0 have '02_a'")

    def test_figures_in_commands_do_not_count(self):
        page = "<!-- run -->\n```console\n$ echo x_1 4 | \\\n    sed 's/4/9/'\nx_1 9\n$ : x_1 5\n```\n\n<!-- holds: \"x_1\"[1] > 8 -->\nMore.\n"
        self.write("docs/page.md", page)
        self.assert_current()

    def test_a_figure_that_is_not_there_is_found(self):
        self.write("table", self.TABLE)
        self.assert_page_finding(self.page('"02_a"[9] > 1'), "'holds': the line with '02_a' has only 3 figures")

    def test_what_is_no_comparison_is_found(self):
        self.write("table", self.TABLE)
        for claim in ('"02_a"[1]', '"02_a"[1] >', '"02_a"[0] > 1', 'open("x") > 1', '"02_a" > 1', '"02_a"[1] == 1'):
            with self.subTest(claim):
                self.assert_page_finding(self.page(claim), "'holds': write a comparison")


class Markers(DocsTest):
    def test_blocks_without_a_marker_are_found(self):
        for page in (
            "```cpp\nint a;\n```\n",
            "```\na\n```\n",
            "```console\n$ ls\n```\n",
            "- a\n\n  ```sh\n  ls\n  ```\n",
        ):
            with self.subTest(page):
                self.assert_page_finding(page, r"page.md:\d: no marker owns this block")

    def test_indented_code_is_found(self):
        for page in ("Text\n\n    code\n\n    more code\n\nText\n", "- item\n\n        code in it\n"):
            with self.subTest(page):
                self.assert_page_finding(page, "page.md:3: an indented code block")

    def test_a_marker_without_a_block_is_found(self):
        self.assert_page_finding("<!-- run -->\n\n```text\na\n```\n", "page.md:1: 'run' must stand directly above")

    def test_an_option_that_does_not_exist_is_found(self):
        self.assert_page_finding("<!-- run a Figures -->\n```console\n$ true\n```\n", "page.md:1: .*write run")

    def test_a_block_without_an_end_is_found(self):
        self.assert_page_finding("```text\na\n", "page.md:1: this fenced block is never closed")

    def test_a_recording_by_a_script_that_is_gone_is_found(self):
        self.write("docs/page.md", "A page\n")
        self.assert_current()
        (self.root / "scripts/measure").unlink()
        self.assert_finding("other.md:6: 'figures' was recorded by scripts/measure, which does not exist")


class Claims(DocsTest):
    def test_a_lab_without_all_of_its_hints_is_found(self):
        hints = "".join(f"<details><summary>{grade}</summary>\n\nLook.\n\n</details>\n\n"
                        for grade in ("A question", "The place", "The mechanism", "The lines"))
        page = ("# A\n\n## Build it yourself\n\nBuild it.\n\n*Done when these hold, asserted by:* `it greets`.\n\n"
                f"**It still behaves like the file that you began with.**\n\n{hints}## Next\n")
        self.record(page)
        self.assert_current()
        self.break_page("The mechanism", "The lines")
        self.assert_finding("page.md:23: 'The lines' is no hint here", "page.md:9: .* lacks a hint: The lines", count=2)
        self.record(page)
        self.break_page("**It still behaves like the file that you began with.**", "**It is slow.**")
        self.assert_finding("page.md:9: 'It is slow.' is no symptom", "page.md:3: hints are missing", count=2)
        self.record(page)
        self.break_page("*Done when", "Done when")
        self.assert_finding("page.md:3: how does a student see that it is done", count=1)

    def test_a_test_that_does_not_exist_is_found(self):
        self.assert_page_finding(
            "It greets. *Asserted by:* `it greets`, `it is polite\nto nobody`.\n",
            "page.md:1: there is no test 'it is polite to nobody'",
        )

    def test_a_claim_names_a_test(self):
        self.assert_page_finding("It greets. *Asserted by:* the tests.\n", "page.md:1: 'asserted by' names no test")

    def test_a_renamed_test_is_found(self):
        self.record("It greets. *Asserted by:* `it greets`.\n")
        self.assert_current()
        self.break_file("tests/a_test.cpp", "it greets", "it greets all")
        self.assert_finding("page.md:1: there is no test 'it greets'; is it 'it greets all'")


class Links(DocsTest):
    def test_links_that_lead_nowhere_are_found(self):
        for link, said in (
            ("[a](none.md)", "no such file"),
            ("![a](none.svg)", "no such file"),
            ('<img src="none.png" alt="a">', "no such file"),
            ("[a]: none.md", "no such file"),
            ("[a](other.md#second)", "no heading there has that name; is it #second-one"),
            ("[a](#none)", "no heading there has that name"),
            ("[a](../stages/01_a.cpp#L3)", "lines move"),
            ("[a](../../..)", "no such file"),
        ):
            with self.subTest(link):
                self.assert_page_finding(f"# Page\n\n{link}\n", f"page.md:3: link .*{said}")

    def test_links_in_code_and_to_other_sites_are_ignored(self):
        self.write("docs/page.md", "`[a](none.md)`, [b](https://example.com/none#x)\n\n```text\n[c](none)\n```\n")
        self.assert_current()


@unittest.skipUnless(shutil.which("dot"), "Graphviz is not installed")
class Diagrams(DocsTest):
    def test_a_changed_diagram_is_found(self):
        self.write("docs/diagrams/a.dot", "digraph { client -> server }\n")
        self.assert_finding("docs/diagrams/a.dot:1: a.svg is not what this draws")
        status, output = self.docs("--record", "docs/diagrams/a.dot")
        self.assertEqual(0, status, output)
        self.assert_current()
        self.break_file("docs/diagrams/a.dot", "server", "waiter")
        self.assert_finding("docs/diagrams/a.dot:1: a.svg is not what this draws; run: scripts/check/docs --record")

    def test_a_diagram_that_cannot_be_drawn_is_found(self):
        self.write("docs/diagrams/a.dot", "digraph { client -> \n")
        self.assert_finding("docs/diagrams/a.dot:1: dot says: .*syntax error")

    def test_a_picture_that_no_script_draws_is_found(self):
        self.write("docs/diagrams/b.svg", "<svg/>\n")
        self.assert_finding("docs/diagrams/b.svg:1: no .dot draws this picture")


class Exercises(DocsTest):
    def setUp(self):
        super().setUp()
        self.write(
            "CMakeLists.txt",
            textwrap.dedent(
                """\
                cmake_minimum_required(VERSION 3.25)
                project(fixture LANGUAGES CXX)
                add_executable(01_a stages/01_a.cpp)
                set_target_properties(01_a PROPERTIES RUNTIME_OUTPUT_DIRECTORY stages)
                """
            ),
        )
        self.write("CMakePresets.json", (SCRIPTS.parent / "CMakePresets.json").read_text())

    def test_an_answer_is_built_and_run_only_on_request(self):
        self.write("docs/page.md", PATCH)
        self.assert_current()
        self.assert_current("--slow")
        self.assertIn("hello", self.read("stages/01_a.cpp"))
        self.break_page("\nservus\n", "\nhello\n")
        self.assert_current()
        self.assert_finding("page.md:18: 'run' is stale", r"\+servus", arguments=("--slow",))

    def test_an_answer_that_does_not_compile_is_found(self):
        self.assert_page_finding(
            PATCH.replace('+        std::puts("servus");', "+        puts(servus);"),
            "page.md:3: the answer: 'cmake --build .*' failed",
            arguments=("--slow",),
        )

    def test_an_answer_that_no_longer_applies_is_found(self):
        self.break_file("stages/01_a.cpp", '"hello"', '"HELLO"')
        self.assert_page_finding(PATCH, "page.md:3: the patch no longer applies")


class Interrupted(DocsTest):
    def test_ctrl_c_ends_what_the_page_has_started(self):
        self.write("docs/page.md", f"<!-- run -->\n```console\n$ : >begun; sleep {LONG}\n```\n")
        scratch = self.root / "scratch"
        scratch.mkdir()
        interrupted = subprocess.Popen(
            [sys.executable, self.root / "scripts/check/docs.py", "--check", "--build", self.build],
            env={**os.environ, "TMPDIR": str(scratch)},
            cwd=self.root,
            start_new_session=True,
        )
        end = time.monotonic() + 60
        while not list(scratch.glob("*/root.*/begun")):
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)
        os.killpg(interrupted.pid, 2)
        self.assertEqual(130, interrupted.wait(60))
        self.assertEqual(b"", sleepers())
        self.assertEqual([], list(scratch.iterdir()))


if __name__ == "__main__":
    unittest.main()
