// lanes.js -- time flows from right to left: which dots ran, and which waited for what. Also the rates over time.

const lane_window = 10e6;  // microseconds

function prepared(canvas) {
  const ratio = window.devicePixelRatio;
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

class LanesView {
  constructor(canvas) {
    this.canvas = canvas;
    this.rows = [];  // which dot stands where, for clicks
    this.selected = null;
  }

  // Threads, workers, then clients: first those with something to see.
  order(model) {
    const rank = ({ place }) => {
      const role = place.client?.role;
      return { thread: 0, worker: 1 }[place.kind] ?? { hog: 2, hand: 3, idle: 5 }[role] ?? 4;
    };
    return [...model.lanes.values()]
      .filter((lane) => lane.ended > model.now - lane_window / 2)
      .filter(({ place }) => place.kind !== "thread" || place.number === 1 || !model.isCarrier(place))
      .sort((a, b) => (b.id === this.selected) - (a.id === this.selected) || rank(a) - rank(b) || a.id - b.id);
  }

  update(model) {
    const { context, width, height } = prepared(this.canvas);
    const size = Math.min(Math.max(width / 46, 12), 17);
    const step = size * 1.75;
    const left = size * 7.2;
    const lanes = this.order(model);
    const most = Math.max(1, Math.floor((height - step) / step));
    const shown = lanes.length > most ? lanes.slice(0, most - 1) : lanes;
    const at = (time) => left + (width - left) * (1 - (model.now - time) / lane_window);
    const draw = { context, at, left, width, size, step, colours: this.colours() };
    context.font = `${size}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    this.rows = shown.map((lane, row) => ({ id: lane.id, top: row * step, bottom: (row + 1) * step }));
    this.clock(draw, height);
    this.arrows(draw, model, shown);  // below the blocks, which have words on them
    shown.forEach((lane, row) => this.lane(draw, model, lane, row * step));
    if (shown.length < lanes.length) {
      const rest = lanes.slice(shown.length).filter(({ ended }) => ended === Infinity);
      const running = rest.filter(({ place }) => ["full", "ready"].includes(looks(place).shape)).length;
      context.fillStyle = draw.colours.quiet;
      context.fillText(`and ${rest.length} others: ${running} run or could, ${rest.length - running} wait`, 0, (shown.length + 0.5) * step);
    }
  }

  colours() {
    const names = ["ink", "quiet", "line", "paper", "red", "blue", "green", "sky", "amber", "pink", "violet", "accent"];
    return Object.fromEntries(names.map((name) => [name, css(`--${name}`)]));
  }

  clock({ context, at, left, width, size, colours }, height) {
    context.fillStyle = colours.quiet;
    context.strokeStyle = colours.line;
    context.lineWidth = 1;
    context.textAlign = "right";
    context.fillText("now", width, height - size * 0.7);
    context.textAlign = "center";
    const step = (width - left) / (lane_window / 1e6);
    for (let s = 2; s < 10; s += 2) {
      const x = Math.round(width - s * step) + 0.5;
      context.beginPath();
      context.moveTo(x, 0);
      context.lineTo(x, height - size * 1.5);
      context.stroke();
      context.fillText(`${s} s ago`, x, height - size * 0.7);
    }
    context.textAlign = "left";
  }

  lane(draw, model, lane, top) {
    const { context, at, left, width, size, step, colours } = draw;
    const { place } = lane;
    const middle = top + step / 2;
    const colour = colours[colourOf(place.client).slice(2)];
    if (lane.id === this.selected) {
      context.fillStyle = colours.line;
      context.fillRect(0, top, width, step);
    }
    context.fillStyle = lane.ended === Infinity ? colours.ink : colours.quiet;
    context.fillText(model.nameOf(place), 2, middle, left - size * 0.6);
    const from = model.now - lane_window;
    const { segments } = lane;
    let index = segments.length - 1;
    while (index > 0 && segments[index].since > from) {
      --index;
    }
    for (const { since, until } of lane.starved) {
      const begin = Math.max(at(since), left);
      const end = at(Math.min(until, model.now));
      if (end > begin) {
        this.pale(draw, begin, end - begin, middle, colour);
      }
    }
    let drawn = -1;  // up to there; of those that share a pixel one is enough
    for (; index < segments.length; ++index) {
      const segment = segments[index];
      const begin = Math.max(at(segment.since), left);
      const end = at(Math.min(segments[index + 1]?.since ?? Infinity, lane.ended, model.now));
      const hollow = states[segment.state].shape === "hollow";
      if (end > left && end > drawn && !(hollow && begin < drawn && end < drawn + 1)) {
        drawn = hollow ? drawn : end + 0.4;
        const whom = model.lanes.get(segment.for)?.place.client;  // threads and workers have the client's colour
        const itsColour = place.kind !== "conversation" && whom ? colours[colourOf(whom).slice(2)] : colour;
        this.segment(draw, segment, begin, end, middle, itsColour);
      }
    }
  }

  // It could go on, and waits for its turn.
  pale({ context, size }, x, width, middle, colour) {
    const height = size * 1.1;
    context.globalAlpha = 0.4;
    context.fillStyle = colour;
    context.fillRect(x, middle - height / 2, width, height);
    context.globalAlpha = 1;
  }

  segment(draw, segment, x, end, middle, colour) {
    const { context, size, colours } = draw;
    const { shape } = states[segment.state];
    const width = Math.max(end - x, 1.2);  // what is too short to be seen is drawn, too
    const height = size * 1.1;
    context.fillStyle = colour;
    context.strokeStyle = colour;
    context.lineWidth = 1.5;
    if (shape === "full") {
      context.fillRect(x, middle - height / 2, width, height);
      const text = segment.n > 0 && segment.state === state.computes ? `fib(${segment.n})` : "";
      if (text && context.measureText(text).width < width - 8) {
        context.fillStyle = colours.paper;
        context.fillText(text, x + 4, middle);
      }
    } else if (shape === "held") {
      context.fillStyle = colours.accent;
      context.fillRect(x, middle - height / 4, width, height / 2);
    } else if (shape === "ringed" && width > 3) {
      context.strokeRect(x + 0.75, middle - height / 2 + 0.75, width - 1.5, height - 1.5);
    } else if (shape === "ready") {
      this.pale(draw, x, width, middle, colour);
    } else {
      context.fillStyle = colours.quiet;
      context.fillRect(x, middle - 0.75, width, 1.5);
    }
  }

  // From the conversation to the worker that computes for it, when it begins, and back when it is done. Only if it
  // takes long enough to be seen.
  arrows({ context, at, left, step, colours }, model, shown) {
    const row = new Map(shown.map(({ id }, index) => [id, (index + 0.5) * step]));
    context.strokeStyle = colours.quiet;
    context.lineWidth = 1;
    for (const { id, kind, segments } of shown) {
      if (kind !== "worker") {
        continue;
      }
      segments.forEach((segment, index) => {
        const y = row.get(segment.for);
        const end = segments[index + 1]?.since ?? Infinity;
        if (segment.state !== state.computes || y === undefined || end < model.now - lane_window || at(end) - at(segment.since) < 4) {
          return;
        }
        for (const time of [segment.since, end]) {
          const x = at(time);
          if (x > left && Number.isFinite(x)) {
            context.beginPath();
            context.moveTo(x, y);
            context.lineTo(x, row.get(id));
            context.stroke();
          }
        }
      });
    }
  }

  idAt(y) {
    return this.rows.find(({ top, bottom }) => y >= top && y < bottom)?.id ?? null;
  }
}

// One figure over the last minute. height: gives a value's height, from 0 to 1.
function drawChart(canvas, model, value, title, height) {
  const { context, width, height: full } = prepared(canvas);
  const size = Math.min(Math.max(width / 22, 11), 15);
  const at = (t) => width * (1 - (model.now - t) / 60e6);
  const top = size * 1.6;
  const points = model.history.map((figures) => [at(figures.t), top + (full - top - 2) * (1 - height(value(figures)))]);
  context.font = `${size}px system-ui, sans-serif`;
  context.fillStyle = css("--quiet");
  context.textBaseline = "top";
  context.fillText(title, 2, 2);
  context.strokeStyle = css("--line");
  context.strokeRect(0.5, 0.5, width - 1, full - 1);
  context.strokeStyle = css("--ink");
  context.lineWidth = 2;
  context.lineJoin = "round";
  context.beginPath();
  points.forEach(([x, y], index) => (index === 0 ? context.moveTo(x, y) : context.lineTo(x, y)));
  context.stroke();
}
