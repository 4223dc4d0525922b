"""scripts/live, used as by a user: in a terminal, with keys. The terminal is also tmux."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 60  # seconds
# live's stages listen on the default port of perf and nc. Here no other test has it.
ALONE = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]


class Terminal:
    """One in which a command runs, without the user's settings."""

    def __init__(self, columns, rows, *command):
        self.folder = tempfile.TemporaryDirectory(prefix="live-test-")
        self.environment = {**os.environ, "TMUX_TMPDIR": self.folder.name, "TERM": "xterm-256color", "LANG": "C.UTF-8",
                            "LC_ALL": "C.UTF-8", "GROUND_BUILT": "yes"}
        self.environment.pop("TMUX", None)
        words = [*ALONE, "sh", "-c", 'ip link set lo up; "$@"; echo "It has ended with $?"; exec sleep 1000', "sh", *command]
        self.tmux("new-session", "-d", "-x", str(columns), "-y", str(rows), *words, ";", "set-option", "-g", "status", "off")

    def tmux(self, *words):
        return subprocess.run(["tmux", "-L", "outer", "-f", "/dev/null", *words], env=self.environment, text=True,
                              stdout=subprocess.PIPE, timeout=PATIENCE, check=True).stdout

    def screen(self):
        return self.tmux("capture-pane", "-p")

    def wait_for(self, *patterns):
        """Until each of them has been on the screen, in any order. Returns the last screen."""
        end = time.monotonic() + PATIENCE
        while True:
            screen = self.screen()
            patterns = [pattern for pattern in patterns if not re.search(pattern, screen, re.MULTILINE)]
            if not patterns:
                return screen
            if time.monotonic() > end:
                raise AssertionError(f"{patterns} not seen. On the screen:\n{screen}")
            time.sleep(0.1)

    def press(self, *keys):
        self.tmux("send-keys", *keys)

    def close(self):
        subprocess.run(["tmux", "-L", "outer", "kill-server"], env=self.environment, check=False)
        for socket in self.inner_sockets():
            subprocess.run(["tmux", "-S", socket, "kill-server"], env=self.environment, check=False, stderr=subprocess.DEVNULL)
        self.folder.cleanup()

    def inner_sockets(self):
        return list(Path(self.folder.name).glob("tmux-*/ground-live-*"))

    def is_left(self):
        """Whether a session that the script has made is still there."""
        return any(subprocess.run(["tmux", "-S", socket, "list-sessions"], env=self.environment, check=False,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
                   for socket in self.inner_sockets())


class Live(unittest.TestCase):
    def terminal(self, columns, rows, *words):
        terminal = Terminal(columns, rows, str(ROOT / "scripts/live"), *words)
        self.addCleanup(terminal.close)
        return terminal

    def test_80_columns_are_enough(self):
        for rows in (24, 36):
            with self.subTest(rows=rows):
                terminal = self.terminal(80, rows, "02")
                # Whole lines, with their bars: perf has the width of the window.
                terminal.wait_for(r"^\d+ reqs/sec +p50 .* p99 .*[█▏▎▍▌▋▊▉]")
                terminal.wait_for(r"^> *$")
                terminal.press("-l", "30")
                terminal.press("Enter")
                terminal.wait_for(r"^832040   \(")
                terminal.press("C-b", "d")
                terminal.wait_for("It has ended with 0")
                self.assertFalse(terminal.is_left())

    def test_a_wide_window_has_perf_beside_nc(self):
        terminal = self.terminal(120, 40, "02")
        terminal.wait_for(r"^\d+ reqs/sec +p50 .* p99 .*[█▏▎▍▌▋▊▉] *│")
        terminal.wait_for(r"│> *$")

    def test_after_ctrl_c_the_prompt_begins_a_line(self):
        terminal = self.terminal(80, 24, "02")
        terminal.wait_for(r"^> *$")
        terminal.press("C-c")
        terminal.wait_for(r"^> \^C\n\$ *$")
        terminal.press("C-b", "Up")
        terminal.press("C-b", "Up")
        terminal.press("C-c")
        terminal.wait_for(r"^\^C\n\$ *$")

    def test_the_tour_says_what_comes_in_24_rows(self):
        terminal = self.terminal(80, 24, "--tour", "04")
        title = r"^1 of 1: 04_generators$"
        first = terminal.wait_for(r"\[any key\] what will happen")
        self.assertRegex(first, f"(?m){title}")
        # No word is broken: each line of the text ends where a line of the screen does.
        self.assertRegex(first, r"(?m)^generators: they yield .* them when *$")
        self.assertIn("# the server", first)
        # The questions of its page, with the answers, but not yet with the right one.
        terminal.press("x")
        asked = terminal.wait_for(r"\[any key\] who says", "^Ben asks for fib", "^  2  by 02 at once, by 04 after Ben$")
        self.assertNotIn("this one", asked)
        terminal.press("x")
        terminal.wait_for(r"\[any key\] who says", "^Sixteen clients")
        terminal.press("x")
        terminal.wait_for(r"\[any key\] start the server")
        for step in ("one client asks", "another client", "and for a big one"):
            terminal.press("x")
            terminal.wait_for(rf"\[any key\] {step}")
        terminal.press("x")
        # perf's line about the pause soon leaves its few rows.
        terminal.wait_for("no reply for", r"\[any key\] what was the answer")
        terminal.press("x")
        terminal.wait_for(r"\[any key\] go on", "^ *2  by 02 at once, by 04 after Ben  <- this one$")
        terminal.press("x")
        terminal.wait_for(r"\[any key\] end it", title, "^Buys: ", "^Costs: ", "^Leaves: ")
        terminal.press("x")
        terminal.wait_for(r"\[any key\] the end")
        terminal.press("q")
        terminal.wait_for("It has ended with 0")
        self.assertFalse(terminal.is_left())

    def test_a_program_that_is_no_server_is_refused(self):
        terminal = self.terminal(200, 24, "06c")
        terminal.wait_for("live: 06c_monkey_patch can't be shown: that is no server, .*; choose another stage")


if shutil.which("tmux") is None:
    sys.exit("tmux is missing. On Debian or Ubuntu: apt-get install tmux")
unittest.main()
