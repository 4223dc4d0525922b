"""Prints the results of the fault tests: a table of stages and faults, and the reasons.

    robustness.py [--markdown] DIRECTORY RUN...

Every run of the faults suite (tests/faults) against a stage has left a file in the directory, with a
line for each test case: fault, outcome, reason, figure, name. A RUN is the name of such a file: the
stage and, where there is one, the pool: 03_process_pool.threads. Ends with 1 if a run or a cell is
missing or a test has failed.

There is a table for each place of stages (scripts/stages), because a single one would be too wide to
read. The reasons come once, below them.
"""

import argparse
import subprocess
import sys
from pathlib import Path

# If a cell has several test cases, the first of these outcomes counts.
OUTCOMES = ["FAILED", "by design", "refused", "held", "not applicable"]


def read_run(path):
    """The cells of one run: {fault: (outcome, [reason...], figure)}, or None if it has not ended."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    if not lines or lines[-1] != "end":
        return None
    tests = {}
    for line in lines[:-1]:
        fault, outcome, reason, figure, name = line.split("\t")
        if outcome not in OUTCOMES:
            outcome = "FAILED"
            reason = "gives no verdict"
        if outcome == "FAILED":
            reason = f"\"{name}\": {reason or 'see the log of the tests'}"
        tests.setdefault(fault, []).append((outcome, reason, figure))
    cells = {}
    for fault, seen in tests.items():
        outcome = min((test[0] for test in seen), key=OUTCOMES.index)
        reasons = dict.fromkeys(test[1] for test in seen if test[0] == outcome and test[1])
        figure = next((test[2] for test in seen if test[2]), "")
        cells[fault] = (outcome, list(reasons), figure)
    return cells


def names(runs, of_interest):
    """A short name for a set of runs: if all pools of a stage are in it, only the stage."""
    stages = {}
    for run in runs:
        stage, _, pool = run.partition(".")
        stages.setdefault(stage, []).append((run, pool))
    words = []
    for stage, pools in stages.items():
        short = stage.partition("_")[0]
        chosen = [pool for run, pool in pools if run in of_interest]
        if len(chosen) == len(pools):
            words.append(short)
        elif chosen:
            words.append(f"{short} {'/'.join(chosen)}")
    return ", ".join(words)


def places():
    """{"the talk": [stage...], ...} of all stages; empty if they are unknown."""
    program = Path(__file__).resolve().parents[1] / "stages"
    found = {"the talk": [], "around the talk": [], "beyond the talk": []}
    for line in subprocess.run([program, "--tsv"], capture_output=True, text=True, check=True).stdout.splitlines():
        name, place = line.split("\t")[:2]
        found.setdefault(place, []).append(name)
    return found


def divide(header, rows, stages):
    """The table divided into one for each place with stages in it: (place, header, rows)."""
    tables = []
    for place, names in places().items():
        columns = [i + 1 for i, stage in enumerate(stages) if stage in names]
        if columns:
            tables.append((place, [header[0]] + [header[i] for i in columns],
                           [[row[0]] + [row[i] for i in columns] for row in rows]))
    return tables


def build(runs):
    """Stages, header, rows and notes of the table, and what is wrong with it."""
    faults = list(dict.fromkeys(fault for cells in runs.values() if cells for fault in cells))
    stages = list(dict.fromkeys(run.partition(".")[0] for run in runs))
    header = ["fault"] + [stage.partition("_")[0] for stage in stages]
    rows, notes, wrong = [], [], []
    for run, cells in runs.items():
        if cells is None:
            wrong.append(f"{run}: the run is missing, or did not end")
    for fault in faults:
        row = [fault]
        why, figures = {}, {}
        for stage in stages:
            outcomes = {}
            for run, cells in runs.items():
                if run.partition(".")[0] != stage:
                    continue
                if cells is None or fault not in cells:
                    outcomes.setdefault("MISSING", []).append(run)
                    if cells is not None:
                        wrong.append(f"{run}: nothing about '{fault}'")
                    continue
                outcome, reasons, figure = cells[fault]
                outcomes.setdefault(outcome, []).append(run)
                for reason in reasons:
                    why.setdefault((outcome, reason), set()).add(run)
                if outcome == "FAILED":
                    wrong.append(f"{run}: {fault}: {'; '.join(reasons)}")
                if figure:
                    number, unit = figure.split()
                    figures.setdefault(unit, []).append(int(number))
            if len(outcomes) > 1:
                outcomes.pop("not applicable", None)  # the notes say where it applies
            row.append(" / ".join("-" if outcome == "not applicable" else outcome for outcome in outcomes))
        rows.append(row)
        said = [f"{outcome} in {names(runs, where)}: {reason}"
                for (outcome, reason), where in why.items() if outcome != "not applicable"]
        if figures:
            said.append("measured: " + "; ".join(f"{min(numbers)} to {max(numbers)} {unit}"
                                                 for unit, numbers in figures.items()))
        if said:
            notes.append((fault, said))
    return stages, header, rows, notes, wrong


def as_text(tables, notes):
    lines = []
    for place, header, rows in tables:
        widths = [max(len(row[i]) for row in [header] + rows) for i in range(len(header))]
        lines += [f"{place[0].upper()}{place[1:]}", ""]
        cells = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in [header] + rows]
        lines += [cells[0], "  ".join("-" * width for width in widths), *cells[1:], ""]
    for fault, said in notes:
        lines.append(f"{fault}:")
        lines += [f"    {words}" for words in said]
    return "\n".join(lines)


def as_markdown(tables, notes):
    lines = []
    for place, header, rows in tables:
        lines += [f"**{place[0].upper()}{place[1:]}**", ""]
        lines += ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
        lines += ["| " + " | ".join(row) + " |" for row in rows]
        lines.append("")
    lines += [f"- **{fault}**: {'; '.join(said)}." for fault, said in notes]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("directory", type=Path)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    arguments = parser.parse_args()
    runs = {run: read_run(arguments.directory / run) for run in arguments.runs}
    stages, header, rows, notes, wrong = build(runs)
    print((as_markdown if arguments.markdown else as_text)(divide(header, rows, stages), notes))
    for line in wrong:
        print(f"robustness: {line}", file=sys.stderr)
    sys.exit(1 if wrong else 0)


main()
