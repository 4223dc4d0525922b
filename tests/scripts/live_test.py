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
PATIENCE = int(os.environ.get("PATIENCE", "60"))  # seconds
# live's stages listen on the default port of perf and nc. Here no other test has it. A kernel may refuse an ordinary user
# a network of its own, and always does so in a chroot. Then ctest sees to it that the tests take turns.
OWN = "--net" if os.geteuid() == 0 else "--net --user --map-root-user"
ALONE = ["unshare", *OWN.split(), "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
ENTER = ["nsenter", "--net"] if os.geteuid() == 0 else ["nsenter", "--user", "--preserve-credentials", "--net"]
if subprocess.run([*ALONE, "true"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode != 0:
    ALONE = []

# Two phones that join, vote for the second answer, and print the votes when they are shown.
PHONES = """
import sys
sys.path.insert(0, sys.argv[1])
from phones import Phone, source
phones = [Phone(sys.argv[2], source(number)) for number in range(2)]
for phone in phones:
    assert phone.join("Ann") == 200
assert phones[0].ask() == 409, "there is no server to ask"
question = phones[0].until(lambda state: "question" in state)["question"]
for phone in phones:
    assert phone.vote(question["serial"], 1) == 200
print(phones[0].until(lambda state: "counts" in state["question"])["question"]["counts"])
"""


class Terminal:
    """One in which a command runs, without the user's settings."""

    def __init__(self, columns, rows, *command):
        self.folder = tempfile.TemporaryDirectory(prefix="live-test-")
        self.environment = {**os.environ, "TMUX_TMPDIR": self.folder.name, "TERM": "xterm-256color", "LANG": "C.UTF-8",
                            "LC_ALL": "C.UTF-8", "GROUND_BUILT": "yes"}
        self.environment.pop("TMUX", None)
        words = [*ALONE, "sh", "-c", '"$@"; echo "It has ended with $?"; exec sleep 1000', "sh", *command]
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
        self.only()  # the next test may need the port
        self.folder.cleanup()

    def enter(self, *command):
        """Starts a program in the network of this terminal."""
        enter = [*ENTER, "--target", self.tmux("display-message", "-p", "#{pane_pid}").strip()] if ALONE else []
        return subprocess.Popen([*enter, *command], stdout=subprocess.PIPE, text=True)

    def programs(self):
        """The names of the programs that were started in this terminal, by whatever they have inherited."""
        mark = f"TMUX_TMPDIR={self.folder.name}".encode()
        names = []
        for process in filter(str.isdigit, os.listdir("/proc")):
            try:
                if mark in Path(f"/proc/{process}/environ").read_bytes().split(b"\0"):
                    names.append(Path(f"/proc/{process}/comm").read_text(encoding="utf-8").strip())
            except OSError:
                pass  # it has ended, or is another user's
        return sorted(names)

    def only(self, *names):
        """Whether, in the end, there are no other programs than these."""
        end = time.monotonic() + PATIENCE
        while self.programs() != sorted(names) and time.monotonic() < end:
            time.sleep(0.05)
        return self.programs() == sorted(names)

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

    def room(self, stage):
        """A tour that waits for phones, and its place."""
        terminal = self.terminal(80, 24, "--tour", "--room", "127.0.0.1:8081", stage)
        shown = terminal.wait_for(r"^Phones come in at http://127.0.0.1:8081/$", r"\[any key\] begin: 0 phones are here")
        self.assertIn("votes", terminal.programs())
        # The QR code is there as a whole. Only its lines have these characters.
        self.assertGreaterEqual(len(re.findall("(?m)^.*▀▀▀▀▀▀▀.*▀▀▀▀▀▀▀", shown)), 1, shown)
        return terminal

    def leaves_nothing(self, terminal):
        terminal.wait_for("It has ended with 0")
        self.assertFalse(terminal.is_left())
        self.assertTrue(terminal.only("sleep", "tmux: server"), terminal.programs())

    def test_the_tour_asks_the_phones(self):
        terminal = self.room("04")
        phones = terminal.enter(sys.executable, "-B", "-c", PHONES, str(ROOT / "tests/board"), "127.0.0.1:8081")
        self.addCleanup(phones.stdout.close)
        self.addCleanup(phones.kill)
        terminal.wait_for(r"\[any key\] begin: 2 phones are here")
        terminal.press("x")
        terminal.wait_for(r"\[any key\] what will happen", "phones come in at http://127.0.0.1:8081/")
        terminal.press("x")
        asked = terminal.wait_for(r"\[any key\] show the votes \(2, with 2 phones\)", "^  2  by 02 at once, by 04 after Ben *$")
        self.assertNotIn("this one", asked)
        terminal.press("3")
        terminal.wait_for(r"\[any key\] show the votes \(3, with 2 phones\)")
        terminal.press("x")
        terminal.wait_for(r"\[any key\] go on", "^  1  at once, by both - 0$", "^  2  by 02 at once, by 04 after Ben - 2$",
                          "^  3  after Ben, by both - 1$")
        self.assertEqual(phones.communicate(timeout=PATIENCE)[0], "[0, 2, 1]\n")
        terminal.press("x")
        terminal.wait_for(r"\[any key\] show the votes", "^Sixteen clients")
        terminal.press("x")
        terminal.wait_for(r"\[any key\] go on", "^  3  about the same - 0$")
        for step in ("start the server", "one client asks", "another client", "and for a big one", "what was the answer"):
            terminal.press("x")
            terminal.wait_for(rf"\[any key\] {step}")
        terminal.press("x")
        terminal.wait_for(r"\[any key\] go on", "^ *2  by 02 at once, by 04 after Ben - 2  <- this one$")
        terminal.press("q")
        self.leaves_nothing(terminal)

    def test_ctrl_c_ends_the_room(self):
        terminal = self.room("01")
        terminal.press("C-c")
        terminal.wait_for("# the server", "# you: type a number")  # the tour's pane has gone
        terminal.press("C-b", "d")
        self.leaves_nothing(terminal)

    def test_a_room_that_cannot_be_opened_is_refused(self):
        terminal = self.terminal(200, 24, "--tour", "--room", "192.0.2.77", "01")
        terminal.wait_for("^votes: 192.0.2.77 is no address of this machine; .* lists them$", "It has ended with 1")

    def test_a_program_that_is_no_server_is_refused(self):
        terminal = self.terminal(200, 24, "06c")
        terminal.wait_for("live: 06c_monkey_patch can't be shown: that is no server, .*; choose another stage")


if shutil.which("tmux") is None:
    sys.exit("tmux is missing. On Debian or Ubuntu: apt-get install tmux")
unittest.main()
