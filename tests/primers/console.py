"""A program that reads keys in a loop, turned inside out: it is called for each key."""

import os
import sys
import termios

from greenlet import getcurrent, greenlet


def read_next_char():
    return getcurrent().parent.switch()


def commands():
    while True:
        print("command: ", end="")
        line = ""
        while not line.endswith("\n"):
            line += read_next_char()
        if line == "quit\n":
            print("Are you sure? ", end="")
            sure = read_next_char() == "y"
            print()
            if sure:
                return
            continue
        print(f"{len(line)} keys: {line}", end="")


def each_key(terminal):
    before = termios.tcgetattr(terminal)
    wanted = termios.tcgetattr(terminal)
    wanted[3] &= ~(termios.ICANON | termios.ECHOCTL)
    termios.tcsetattr(terminal, termios.TCSANOW, wanted)
    return before


before = each_key(0) if os.isatty(0) else None
program = greenlet(commands)
program.switch()
while not program.dead:
    sys.stdout.flush()
    key = os.read(0, 1)
    if not key:
        break
    program.switch(key.decode())
if before:
    termios.tcsetattr(0, termios.TCSANOW, before)
