"""Recordings of the board, for the site's pages: docs/recordings/NAME.jsonl.

    recordings.py keep FILE.html NAME      takes the frames out of what `board --record` has written

NAME is a stage or a wrong turn. The first line has the lines of the sources that the frames speak of, to find them again when
they have moved, and to tell when they have changed. Each other line is a frame. The page around them, of clients/board/page, is
added when the site is made.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
MOST_EVENTS = 60  # of a frame: what glows on the board's page, and fills its lanes
FOLDER = ROOT / "docs" / "recordings"
PAGE = ROOT / "clients" / "board" / "page"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import wrong_turns  # noqa: E402


def stages():
    """What scripts/stages knows, by name: model and source."""
    rows = subprocess.run([ROOT / "scripts" / "stages", "--tsv"], capture_output=True, text=True, check=True).stdout
    known = {name: (model, source) for name, _, model, _, _, source in (row.split("\t") for row in rows.splitlines())}
    # A wrong turn is made of its patch when it is built; in a recording it stands beside the patch.
    return known | {turn.name: (known[turn.stage][0], f"stages/wrong_turns/{turn.name}.cpp") for turn in wrong_turns.all_of_them()}


def text_of(source):
    path = ROOT / source
    if path.parent == wrong_turns.FOLDER:
        path = path.with_suffix(".patch")
        return wrong_turns.WrongTurn(path).applied() if path.is_file() else ""
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def lines_of(frames):
    """Which lines of stages the frames speak of: {source: {number: text}}. (clients/board/session.cpp writes frames.)"""
    files, used = {}, {}
    for frame in map(json.loads, frames):
        files.update(dict(frame.get("files", ())))
        for file, line in [(p[3], p[4]) for p in frame.get("p", ())] + [(e[2], e[3]) for e in frame.get("e", ())]:
            if files.get(file, "").startswith("stages/") and line > 0:
                used.setdefault(files[file], set()).add(line)
    texts = {}
    for source, numbers in sorted(used.items()):
        lines = text_of(source).split("\n")
        texts[source] = {str(number): lines[number - 1].strip() for number in sorted(numbers)}
    return texts


def thin(frame):
    """A frame with fewer events, the last ones of each client and thread: as clients/board/session.cpp does with far more."""
    known = json.loads(frame)
    events = known.get("e", [])
    if len(events) <= MOST_EVENTS:
        return frame
    share = max(1, MOST_EVENTS // len({event[0] for event in events}))
    seen, left = {}, []
    for event in reversed(events):
        seen[event[0]] = seen.get(event[0], 0) + 1
        if seen[event[0]] <= share:
            left.insert(0, event)
    return json.dumps({**known, "e": left}, separators=(",", ":"), ensure_ascii=False)


def keep(path, name):
    text = Path(path).read_text(encoding="utf-8")
    frames = re.search(r'<script type="application/json" id="frames">\[(.*?)\]</script>', text, re.DOTALL)[1].split(",\n")
    frames = [thin(frame.replace("\\u003c", "<")) for frame in frames]
    frames = [re.sub(r'"[^"]*/stages/wrong_turns/(\w+\.cpp)"', r'"stages/wrong_turns/\1"', frame) for frame in frames]
    head = {"lines": lines_of(frames)}
    FOLDER.mkdir(exist_ok=True)
    target = FOLDER / f"{name}.jsonl"
    target.write_text("\n".join([json.dumps(head, ensure_ascii=False), *frames]) + "\n", encoding="utf-8")
    seconds = (json.loads(frames[-1])["t"] - json.loads(frames[0])["t"]) / 1e6
    print(f"{target.relative_to(ROOT)}: {seconds:.0f} s, {target.stat().st_size / 1000:.0f} kB")


def all_of_them():
    return sorted(FOLDER.glob("*.jsonl"))


def head_of(path):
    return json.loads(path.read_text(encoding="utf-8").partition("\n")[0])["lines"]


def moves(source, known):
    """Where the lines are now: {number then: number now}; None if one of them has changed. They keep their order, and of
    several with the same text the one counts that has moved as far as the line before it."""
    lines = [line.strip() for line in text_of(source).split("\n")]
    found, last, shift = {}, 0, 0
    for then, text in sorted((int(number), text) for number, text in known.items()):
        places = [number for number, line in enumerate(lines, 1) if line == text and number > last]
        if not places:
            return None
        last = min(places, key=lambda number: abs(number - then - shift))
        shift = last - then
        found[then] = last
    return found


def stale(path):
    """Which of its sources have other lines now."""
    return [source for source, known in head_of(path).items() if moves(source, known) is None]


def frames_of(path):
    """Its frames, with the numbers that the lines have now."""
    frames = path.read_text(encoding="utf-8").rstrip("\n").split("\n")[1:]
    moved = {source: moves(source, known) or {} for source, known in head_of(path).items()}
    if all(then == now for lines in moved.values() for then, now in lines.items()):
        return frames
    files, result = {}, []
    for frame in map(json.loads, frames):
        files.update(dict(frame.get("files", ())))
        for entries, at in ((frame.get("p", ()), 3), (frame.get("e", ()), 2)):
            for entry in entries:
                entry[at + 1] = moved.get(files.get(entry[at]), {}).get(entry[at + 1], entry[at + 1])
        result.append(json.dumps(frame, separators=(",", ":"), ensure_ascii=False))
    return result


def page(path):
    """The board's page with these frames, as `board --record` writes it."""
    frames = frames_of(path)
    shown = {stage for frame in frames for stage in re.findall(r'"stage":"(\w+)"', frame)}
    entries = [{"name": name, "model": model, "file": source, "source": text_of(source)}
               for name, (model, source) in stages().items() if name in shown]
    parts = {"nonce": "recorded", "pane": "", "stages": json.dumps(entries, ensure_ascii=False).replace("<", "\\u003c"),
             "frames": "[" + ",\n".join(frames).replace("<", "\\u003c") + "]",
             "policy": "default-src 'none'; style-src 'nonce-recorded'; script-src 'nonce-recorded'; connect-src 'none'; "
                       "base-uri 'none'; form-action 'none'"}
    text = (PAGE / "board.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{([\w.]+)\}\}",
                  lambda m: parts[m[1]] if m[1] in parts else (PAGE / m[1]).read_text(encoding="utf-8"), text)


def seconds(path):
    frames = path.read_text(encoding="utf-8").rstrip("\n").split("\n")[1:]
    return round((json.loads(frames[-1])["t"] - json.loads(frames[0])["t"]) / 1e6)


if __name__ == "__main__":
    keep(sys.argv[2], sys.argv[3])
