"""Says what a stage still lacks, a line for each finding. Run by scripts/stages --check.

A stage is a file and a page. A few other places that are written by hand name all stages, and this checks them.
Ends with 1 if anything is missing.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parents[2])
LIST = "docs/stages.md"
# The heading there above the rows of a place's stages.
HEADINGS = {"the talk": "## The talk", "around the talk": "## Around the talk", "beyond the talk": "## Beyond the talk"}
MODELS = ("one client at a time", "a thread per client", "a process per client", "one thread for all clients",
          "a thread per core", "no server")
KEYS = ("Changed since", "Buys:", "Costs:", "Leaves:")
ROW = re.compile(r"\| \[`(\w+)`\]\(([^)]*)\) \(\[page\]\(([^)]*)\)\) \|")


def read(path):
    path = ROOT / path
    return path.read_text(encoding="utf-8") if path.exists() else ""


def table():
    rows = subprocess.run([ROOT / "scripts" / "stages", "--tsv"], capture_output=True, text=True, check=True).stdout
    return [row.split("\t") for row in rows.splitlines()]


def section(text, heading):
    """The text between a heading and the next one of any level."""
    match = re.search(rf"^{re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    return match[1] if match else ""


def check_head(name, names):
    """The four keys, in their order, and a predecessor that exists."""
    path = f"stages/{name}.cpp"
    head = []
    for line in read(path).splitlines():
        if not line.startswith("//"):
            break
        head.append(line)
    if not head or not re.match(rf"// {name}\.cpp -- \S", head[0]):
        yield f"{path}: begin with: // {name}.cpp -- what it is, in a line"
    found = [key for line in head for key in KEYS if line.startswith(f"// {key}")]
    if found != list(KEYS):
        yield f"{path}: the head needs the keys Changed since, Buys, Costs, Leaves, each once and in this order"
    since = next((re.match(r"// Changed since (\w+)", line) for line in head if line.startswith("// Changed since")), None)
    if since and since[1] not in (*names, "nothing"):
        yield f"{path}: changed since {since[1]}, but there is no such stage"


def check_page(name, place, model):
    path = f"docs/{name}.md"
    page = read(path)
    if not page:
        yield f"{path}: is missing; its first line is, for example: <!-- stage: around the talk; a thread per client -->"
        return
    if place not in HEADINGS:
        yield f"{path}: the first line does not say its place, {', '.join(HEADINGS)}: see scripts/stages --help"
    if model not in MODELS:
        yield f"{path}: the first line does not say who talks to a client, {', '.join(MODELS)}: see scripts/stages --help"
    if "Asserted by" not in page:
        yield f"{path}: no claim is followed by the name of the test that asserts it (*Asserted by:* ...)"
    if not (ROOT / f"docs/diagrams/{name}.dot").exists():
        yield f"docs/diagrams/{name}.dot: is missing; every page has a picture"
    elif f"(diagrams/{name}.svg)" not in page:
        yield f"{path}: does not show its picture, diagrams/{name}.svg"


def check_places(name, place, source, model):
    """The texts that speak of every stage."""
    listed = read(LIST)
    if place in HEADINGS:
        rows = {row[0]: row for row in ROW.findall(section(listed, HEADINGS[place]))}
        expected = (name, f"../{source}", f"{name}.md")
        if name not in rows:
            yield (f"{LIST}: no row below '{HEADINGS[place]}'; it begins: "
                   f"| [`{name}`](../{source}) ([page]({name}.md)) |")
        elif rows[name] != expected:
            yield f"{LIST}: the row of {name} does not lead to {source} and docs/{name}.md"
    if name not in read("docs/instructors-guide.md"):
        yield f"docs/instructors-guide.md: never speaks of {name}; who would show it, and for how long?"
    columns = {cell.strip() for line in read("docs/robustness.md").splitlines() if line.startswith("| fault |")
               for cell in line.split("|")}
    if model != "no server" and name.partition("_")[0] not in columns:
        yield f"docs/robustness.md: no column for {name}; run scripts/check/robustness --markdown"


def check():
    stages = table()
    names = {row[0] for row in stages}
    for name, place, model, _, _, source in stages:
        if Path(source).stem == name:
            yield from check_head(name, names)
        elif not (ROOT / source).exists():
            yield f"docs/{name}.md: built from {Path(source).stem}, but there is no {source}"
        yield from check_page(name, place, model)
        yield from check_places(name, place, source, model)
    for page in sorted((ROOT / "docs").glob("[0-9]*_*.md")):
        if page.stem not in names:
            yield f"docs/{page.name}: there is no stages/{page.stem}.cpp"
    for row in ROW.findall(read(LIST)):
        if row[0] not in names:
            yield f"{LIST}: has a row for {row[0]}, which is no stage"


findings = list(check())
for finding in findings:
    print(finding)
sys.exit(1 if findings else 0)
