"""Recordings of the board, for the site's pages: docs/recordings/NAME.jsonl.

    recordings.py keep FILE.html NAME      takes the frames out of what `board --record` or `explore --page` has written
    recordings.py list [NAME...]           what the pages show, with how it is made, or those that have or begin with these names

NAME is a stage, a wrong turn or a puzzle. The first line has the lines of the sources that the frames speak of, to find them
again when they have moved, and to tell when they have changed. If there are two orders beside each other, it also says how many
frames the left one has. Each other line is a frame. The page around them, of clients/board/page, is added when the site is made.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
LONGEST_GAP = 1.2  # seconds between two frames: more looks as if the recording were broken
LATEST_BEGINNING = 3  # the board keeps the last minute only
MOST_EVENTS = 60  # of a frame: what glows on the board's page, and fills its lanes
FOLDER = ROOT / "docs" / "recordings"
PAGE = ROOT / "clients" / "board" / "page"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import wrong_turns  # noqa: E402


def stages():
    """What scripts/stages knows, by name: model and source."""
    rows = subprocess.run([ROOT / "scripts" / "stages", "--tsv"], capture_output=True, text=True, check=True).stdout
    known = {name: (model, source) for name, _, model, _, _, source in (row.split("\t") for row in rows.splitlines())}
    # Under 06c the board shows the program that runs there (clients/shared/catalogue.cpp).
    known["06c_monkey_patch"] = ("one thread for all clients", known["02_threads"][1])
    # A wrong turn is made of its patch when it is built; in a recording it stands beside the patch.
    return known | {turn.name: (known[turn.stage][0], f"stages/wrong_turns/{turn.name}.cpp") for turn in wrong_turns.all_of_them()}


def text_of(source):
    path = ROOT / source
    if path.parent == wrong_turns.FOLDER:
        path = path.with_suffix(".patch")
        return wrong_turns.WrongTurn(path).applied() if path.is_file() else ""
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def numbers_in(frame, files):
    """Where in a frame the number of a line is: (source, its container, its place in it). `files`: of the frames before, too.
    (clients/board/session.cpp and scheduled.cpp write frames.)"""
    files.update(dict(frame.get("files", ())))
    for entries, at in ((frame.get("p", ()), 3), (frame.get("e", ()), 2)):
        for entry in entries:
            yield files.get(entry[at], ""), entry, at + 1
    stems = {Path(source).stem: source for source in files.values()}
    for steps in ("steps", "options", "solution"):
        for step in frame.get("scheduled", {}).get(steps, ()):
            stem, colon, _ = step["place"].partition(":")
            if colon:
                yield stems.get(stem, ""), step, "place"


def number_at(container, at):
    return int(container[at].partition(":")[2]) if at == "place" else container[at]


def put_number(container, at, number):
    container[at] = f"{container[at].partition(':')[0]}:{number}" if at == "place" else number


def lines_of(films):
    """Which lines of stages the frames speak of: {source: {number: text}}."""
    used = {}
    for frames in films:
        files = {}
        for frame in map(json.loads, frames):
            for source, container, at in numbers_in(frame, files):
                number = number_at(container, at)
                if source.startswith("stages/") and number > 0:
                    used.setdefault(source, set()).add(number)
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


def shorten(frames):
    """A schedule's frame has all steps so far; of these it keeps what is new: how many are as before, and the others."""
    before = []
    for frame in map(json.loads, frames):
        if "scheduled" in frame:
            steps = frame["scheduled"]["steps"]
            same = next((at for at, (old, new) in enumerate(zip(before, steps)) if old != new), min(len(before), len(steps)))
            frame["scheduled"]["steps"] = [same, *steps[same:]]
            before = steps
        yield dump(frame)


def lengthen(frames):
    before = []
    for frame in map(json.loads, frames):
        if "scheduled" in frame:
            same, *others = frame["scheduled"]["steps"]
            before = frame["scheduled"]["steps"] = before[:same] + others
        yield dump(frame)


def films_in(text):
    """The frames of a page: of one recording, or of two beside each other."""
    if found := re.search(r'<script type="application/json" id="recordings">(.*?)</script>', text, re.DOTALL):
        return [[dump(frame) for frame in film["frames"]] for film in json.loads(found[1])]
    frames = re.search(r'<script type="application/json" id="frames">\[(.*?)\]</script>', text, re.DOTALL)[1]
    return [[frame.replace("\\u003c", "<") for frame in frames.split(",\n")]]


def dump(frame):
    return json.dumps(frame, separators=(",", ":"), ensure_ascii=False)


def faults(films):
    """What a busy machine does to a recording."""
    for film in films:
        times = [json.loads(frame)["t"] / 1e6 for frame in film]
        gap = max(later - before for before, later in zip(times, times[1:]))
        if times[0] > LATEST_BEGINNING:
            yield f"its first {times[0]:.0f} s are missing"
        if gap > LONGEST_GAP:
            yield f"for {gap:.1f} s there is no frame"


def keep(path, name):
    films = [[re.sub(r'"[^"]*/stages/wrong_turns/(\w+\.cpp)"', r'"stages/wrong_turns/\1"', thin(frame)) for frame in frames]
             for frames in films_in(Path(path).read_text(encoding="utf-8"))]
    if problems := list(faults(films)):
        sys.exit(f"recordings.py: {name} was not kept: {', '.join(problems)}. Record it anew when nothing else runs")
    head = {"lines": lines_of(films), **({"left": len(films[0])} if len(films) == 2 else {})}
    FOLDER.mkdir(exist_ok=True)
    target = FOLDER / f"{name}.jsonl"
    kept = [frame for frames in films for frame in shorten(frames)]
    target.write_text("\n".join([json.dumps(head, ensure_ascii=False), *kept]) + "\n", encoding="utf-8")
    print(f"{target.relative_to(ROOT)}: {seconds(target)} s, {target.stat().st_size / 1000:.0f} kB")


# How a recording is made (scripts/measure/minutes), written on a page as <!-- recording HOW NAME -->:
#   keys      pressed on the board, as the page says
#   orders    of explore: the one that breaks the promise, and the one beside it
#   order     of explore, where none beside it keeps the promise
#   solution  of a puzzle
# A stage's minute needs no such line: its place is on the stage's page.
MARK = re.compile(r"^<!-- recording (keys|orders?|solution) ([\w-]+) -->$", re.MULTILINE)


def on_pages():
    """By name: how it is made."""
    stages_shown = [name for name in stages() if (ROOT / "docs" / f"{name}.md").is_file()]
    marks = [mark for page in ("wrong_turns", "explore") for mark in MARK.findall((ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8"))]
    return {**{name: "minute" for name in stages_shown}, **{name: how for how, name in marks}}


def chosen(names):
    known = on_pages()
    for wanted in names or known:
        found = [name for name in known if name == wanted] or [name for name in known if name.startswith(f"{wanted}_")] or \
            [name for name in known if name.startswith(wanted)]
        if len(found) != 1:
            sys.exit(f"recordings.py: no single recording is called '{wanted}'; there are: {', '.join(known)}")
        yield known[found[0]], found[0]


def all_of_them():
    return sorted(FOLDER.glob("*.jsonl"))


def read(path):
    """The lines of its sources, and its films: one, or two beside each other."""
    first, *frames = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    head = json.loads(first)
    films = [frames[: head["left"]], frames[head["left"]:]] if "left" in head else [frames]
    return head["lines"], [list(lengthen(film)) for film in films]


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
    return [source for source, known in read(path)[0].items() if moves(source, known) is None]


def films_of(path):
    """Its frames, with the numbers that the lines have now."""
    sources, films = read(path)
    moved = {source: moves(source, known) or {} for source, known in sources.items()}
    if all(then == now for lines in moved.values() for then, now in lines.items()):
        return films
    return [with_numbers(frames, moved) for frames in films]


def with_numbers(frames, moved):
    files, result = {}, []
    for frame in map(json.loads, frames):
        for source, container, at in numbers_in(frame, files):
            number = number_at(container, at)
            put_number(container, at, moved.get(source, {}).get(number, number))
        result.append(dump(frame))
    return result


def fill(template, parts):
    return re.sub(r"\{\{([\w.]+)\}\}",
                  lambda m: parts[m[1]] if m[1] in parts else (PAGE / m[1]).read_text(encoding="utf-8"),
                  (PAGE / template).read_text(encoding="utf-8"))


def for_script(text):
    return text.replace("<", "\\u003c")


def page(path):
    """The board's page with these frames, as `board --record` writes it, or with two beside each other."""
    known = stages()

    def recording(frames):
        shown = {stage for frame in frames for stage in re.findall(r'"stage":"(\w+)"', frame)}
        entries = [{"name": name, "model": model, "file": source, "source": text_of(source)}
                   for name, (model, source) in known.items() if name in shown]
        return for_script(json.dumps(entries, ensure_ascii=False)), for_script("[" + ",\n".join(frames) + "]")

    common = {"nonce": "recorded", "pane": "",
              "policy": "default-src 'none'; style-src 'nonce-recorded'; script-src 'nonce-recorded'; connect-src 'none'; "
                        "base-uri 'none'; form-action 'none'"}
    films = [recording(frames) for frames in films_of(path)]
    if len(films) == 1:
        return fill("board.html", {**common, "stages": films[0][0], "frames": films[0][1]})
    pane = fill("board.html", {**common, "stages": "null", "frames": ""})
    sides = [f'{{"stages":{entries},"frames":{frames}}}' for entries, frames in films]
    return fill("beside.html", {**common, "pane": for_script(json.dumps(pane, ensure_ascii=False)), "left": sides[0], "right": sides[1]})


def seconds(path):
    """How long it plays. Both of two begin at the same time."""
    films = [[json.loads(frames[at])["t"] for at in (0, -1)] for frames in read(path)[1]]
    return round(max(end - begin for begin, end in films) / 1e6)


if __name__ == "__main__":
    if sys.argv[1] == "keep":
        keep(sys.argv[2], sys.argv[3])
    else:
        for line in chosen(sys.argv[2:]):
            print(*line)
