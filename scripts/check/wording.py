#!/usr/bin/env python3
"""Finds what docs/wording.md says we never write, in comments and prose. Run by scripts/check/lint.

    wording.py [FILE...]          all files of ours, or these

A line for each finding; ends with 1 if there is one. The patterns stand on that page, and only there.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs/wording.md"
ROW = re.compile(r"^\| `(.+)` \| (.+) \|$")
# Where the comment of a line begins, by the name of the file.
COMMENT = {".cpp": "//", ".hpp": "//", ".c": "//", ".go": "//", ".js": "//", ".py": "#", ".sh": "#", ".cmake": "#",
           ".txt": "#", "": "#"}


def patterns():
    text = PAGE.read_text(encoding="utf-8").partition("## What we never write")[2]
    rows = [ROW.match(line) for line in text.splitlines()]
    found = [(re.compile(row[1].replace(r"\|", "|")), row[2]) for row in rows if row]
    assert found, f"{PAGE}: no table under 'What we never write'"
    return found


def prose(path, text):
    """The prose of a file, each line with its number: without code, commands and quotations."""
    if path.suffix == ".md":
        fenced = False
        for number, line in enumerate(text.splitlines(), 1):
            if line.lstrip().startswith("```"):
                fenced = not fenced
            elif not fenced and not line.startswith("<!--"):
                yield number, re.sub(r'`[^`]*`|"[^"]*"', "", line)
    elif (mark := COMMENT.get(path.suffix)) is not None:
        for number, line in enumerate(text.splitlines(), 1):
            before, found, comment = line.partition(mark)
            # In the middle of a line the mark may be part of a string. Then the number of quotes before it is odd.
            if found and before.count('"') % 2 == 0:
                yield number, re.sub(r'`[^`]*`|"[^"]*"', "", comment.strip())


def main(names):
    if not names:
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
        names = listed.stdout.splitlines()
    never = patterns()
    count = 0
    for name in names:
        path = ROOT / name
        if path == PAGE or not path.is_file() or path.suffix not in (*COMMENT, ".md"):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in prose(path, text):
            for pattern, instead in never:
                if match := pattern.search(line):
                    print(f"{name}:{number}: '{match[0].strip()}': {instead}")
                    count += 1
    if count:
        print(f"{count} to be put differently; docs/wording.md says why", file=sys.stderr)
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
