"""Shared by the programs that measure: the text about the machine, and writing their tables into the page."""

import os
import platform
import re
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "figures.md"


def machine():
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return (f"{model[1] if model else platform.machine()}, {len(os.sched_getaffinity(0))} CPUs, "
            f"Linux {platform.release().split('-')[0]}")


def busy(proc_stat=Path("/proc/stat"), seconds=2.0):
    """How much of the CPUs is used, from 0 to 1, while the caller sleeps."""
    def ticks():
        fields = [int(field) for field in proc_stat.read_text().splitlines()[0].split()[1:9]]
        return sum(fields), fields[3] + fields[4]  # of all, and of those without work

    total, idle = ticks()
    time.sleep(seconds)
    total_then, idle_then = ticks()
    return 1 - (idle_then - idle) / max(1, total_then - total)


def refuse_if_busy(limit=0.1, **where):
    """Ends the program with one line if other programs use the CPUs."""
    if (used := busy(**where)) > limit:
        sys.exit(f"other programs use {used:.0%} of the CPUs: what is recorded now would be false; try again when nothing else runs")


def put_into_page(mark, text, page=PAGE):
    """Writes it between the two comments of that name."""
    before, begin, rest = page.read_text().partition(f"<!-- {mark} -->\n")
    _, end, after = rest.partition(f"<!-- /{mark} -->")
    if not end:
        sys.exit(f"{page.relative_to(ROOT)} has lost its <!-- {mark} --> and <!-- /{mark} --> lines")
    page.write_text(before + begin + "\n" + text + "\n" + end + after)
