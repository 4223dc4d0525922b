"""Draws the hog scenario of a compare --json report as an SVG. Run by scripts/measure/hog-chart.

Small multiples: a panel for each stage, all with the same axes, so that the eye compares shapes. The
rate is drawn on a logarithmic scale, because a client that falls from 18,000 requests per second to
200 and one that falls to 8 must not look the same. If there are several runs, the one with the median
rate beside the hog is drawn. The figures in words are medians of all runs.

The picture has a background of its own, so that it looks the same on a light and on a dark page. It
has no more columns than a telephone has room for.
"""

import json
import math
import sys
from html import escape

WIDTH, COLUMNS = 640, 2
PANEL_HEIGHT, PLOT_HEIGHT = 142, 84
MARGIN, GUTTER, AXIS = 16, 20, 34
TOP, BOTTOM = 84, 52
LOWEST, HIGHEST = 1, 100_000  # requests per second
TICKS = ((1, "≤1"), (100, "100"), (10_000, "10k"))

INK, FAINT, RULE, PAPER, SHADE = "#1f2933", "#52606d", "#d5dce3", "#ffffff", "#fdecd2"
WELL, BADLY = "#2166ac", "#b2182b"


def fail(reason):
    sys.exit(f"hog-chart: {reason}")


def hog_of(report):
    for scenario in report.get("scenarios", []):
        if scenario["scenario"] == "hog":
            return scenario
    return fail("there is no scenario hog in that file; make one with compare --scenario hog --json=FILE")


def figure(stage, key):
    return stage["summary"].get(key, {}).get("median")


def per_second(rate):
    return "no reply" if not rate else f"{rate:.1f}" if rate < 99.5 else f"{rate:,.0f}"


def drawn_run(stage):
    runs = [run for run in stage["runs"] if not run["verdict"] and run["phases"]]
    runs.sort(key=lambda run: run["figures"].get("rate_hog", 0))
    return runs[(len(runs) - 1) // 2] if runs else None


class Panel:
    def __init__(self, stage, left, top, width):
        self.stage, self.left, self.top, self.width = stage, left, top, width
        self.plot_left, self.plot_top = left + AXIS, top + 36
        self.plot_width = width - AXIS

    def x(self, seconds, length):
        return self.plot_left + self.plot_width * seconds / length

    def y(self, rate):
        share = math.log(max(rate, LOWEST) / LOWEST) / math.log(HIGHEST / LOWEST)
        return self.plot_top + PLOT_HEIGHT * (1 - min(share, 1))

    def lines(self):
        name = escape(self.stage["stage"])
        out = [f'<text class="name" x="{self.left}" y="{self.top + 13}">{name}</text>']
        run = drawn_run(self.stage)
        if run is None:
            verdicts = [r["verdict"] for r in self.stage["runs"] if r["verdict"]] or ["not measured"]
            return out + [f'<text class="note" x="{self.plot_left}" y="{self.top + 30}">'
                          f'{escape(verdicts[0])}</text>']
        phases = {phase["name"]: phase for phase in run["phases"]}
        length = max(phase["end_s"] for phase in run["phases"])
        before, beside = figure(self.stage, "rate_before"), figure(self.stage, "rate_hog") or 0
        fell = bool(before) and beside < before / 2
        out.append(f'<text class="{"bad" if fell else "good"}" x="{self.left + self.width}" y="{self.top + 13}" '
                   f'text-anchor="end">{per_second(before)} → {per_second(beside)}</text>')
        served = figure(self.stage, "big_rate")
        out.append(f'<text class="note" x="{self.left + self.width}" y="{self.top + 29}" text-anchor="end">'
                   + (f"the hog: {served:.1f} big requests/sec" if served else "the hog waits outside") + "</text>")
        hog = phases["hog"]
        left, right = self.x(hog["begin_s"], length), self.x(hog["end_s"], length)
        out.append(f'<rect class="hog" x="{left:.1f}" y="{self.plot_top}" width="{right - left:.1f}" '
                   f'height="{PLOT_HEIGHT}"/>')
        for rate, label in TICKS:
            y = self.y(rate)
            out.append(f'<path class="rule" d="M{self.plot_left} {y:.1f}h{self.plot_width}"/>')
            out.append(f'<text class="tick" x="{self.plot_left - 5}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
        points, previous = [], 0.0
        for part in run["timeline"]:
            middle, previous = (previous + part["at_s"]) / 2, part["at_s"]
            points.append(f'{self.x(min(middle, length), length):.1f} {self.y(part["rate"]):.1f}')
        out.append(f'<path class="{"bad" if fell else "good"} line" d="M{" L".join(points)}"/>')
        return out


def draw(report):
    hog = hog_of(report)
    stages = hog["stages"]
    rows = math.ceil(len(stages) / COLUMNS)
    height = TOP + rows * PANEL_HEIGHT + BOTTOM
    width = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * GUTTER) / COLUMNS
    machine = report["machine"]
    runs = report["runs"]
    said = ", ".join(f'{s["stage"]} from {per_second(figure(s, "rate_before"))} to '
                     f'{per_second(figure(s, "rate_hog"))}' for s in stages)
    foot = [f'{machine["cpu"]}, {machine["cpus"]} CPUs; {report["placement"]}; closed loop;',
            f'{"one run" if runs == 1 else f"medians of {runs} runs"}, {report["duration_s"]:g} s per phase; '
            f'{report["date"][:10]}. Drawn by scripts/measure/hog-chart.']
    shaded = drawn_run(stages[0])
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img" '
        'aria-labelledby="title desc">',
        '<title id="title">One small client, and then a big request beside it</title>',
        f'<desc id="desc">Requests per second of one client, before and beside the hog: {escape(said)}.</desc>',
        '<style>'
        f'text{{font-family:system-ui,"DejaVu Sans",sans-serif;fill:{INK};font-size:15px}}'
        f'.title{{font-size:20px;font-weight:600}}.name{{font-weight:600}}'
        f'.note{{font-size:13px;fill:{FAINT}}}.tick{{font-size:12px;fill:{FAINT}}}'
        f'text.good{{fill:{WELL};font-weight:600}}text.bad{{fill:{BADLY};font-weight:600}}'
        f'.line{{fill:none;stroke-width:2;stroke-linejoin:round}}.line.good{{stroke:{WELL}}}'
        f'.line.bad{{stroke:{BADLY}}}.rule{{stroke:{RULE};stroke-width:1}}.hog{{fill:{SHADE}}}'
        '</style>',
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="{PAPER}" stroke="{RULE}"/>',
        f'<text class="title" x="{MARGIN}" y="34">One small client, requests per second</text>',
        f'<rect class="hog" x="{MARGIN}" y="48" width="18" height="18"/>',
        f'<text class="note" x="{MARGIN + 26}" y="62">meanwhile another client, the hog, asks for '
        f'fib({report["big"]}), again and again</text>' if shaded else "",
    ]
    for number, stage in enumerate(stages):
        row, column = divmod(number, COLUMNS)
        panel = Panel(stage, MARGIN + column * (width + GUTTER), TOP + row * PANEL_HEIGHT, width)
        lines += panel.lines()
    lines += [f'<text class="tick" x="{MARGIN}" y="{height - 28 + 16 * i}">{escape(text)}</text>'
              for i, text in enumerate(foot)]
    return "\n".join(line for line in lines if line) + "\n</svg>\n"


def main():
    source, target = sys.argv[1:]
    try:
        with open(source, encoding="utf-8") as file:
            report = json.load(file)
    except (OSError, ValueError) as error:
        fail(f"can't read {source}: {error}")
    text = draw(report)
    with open(target, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main()
