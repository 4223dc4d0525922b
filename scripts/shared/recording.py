"""Shared by the programs that measure: the text about the machine, and writing their tables into the page."""

import os
import platform
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "figures.md"


def machine():
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return (f"{model[1] if model else platform.machine()}, {len(os.sched_getaffinity(0))} CPUs, "
            f"Linux {platform.release().split('-')[0]}")


def put_into_page(mark, text):
    """Writes it between the two comments of that name."""
    before, begin, rest = PAGE.read_text().partition(f"<!-- {mark} -->\n")
    _, end, after = rest.partition(f"<!-- /{mark} -->")
    if not end:
        sys.exit(f"{PAGE.relative_to(ROOT)} has lost its <!-- {mark} --> and <!-- /{mark} --> lines")
    PAGE.write_text(before + begin + "\n" + text + "\n" + end + after)
