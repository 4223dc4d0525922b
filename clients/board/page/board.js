// board.js -- the page: frames come in, from the board or out of this file, and are shown. Buttons and keys become
// commands. All text is put into the page as text, not as HTML.

const paces = [0, 5, 10, 20, 50, 100, 200, 300, 500, 1000, 2000];  // milliseconds of a step
const story_length = 40;

// One of two pages side by side is a pane, in a page that has the buttons and the room for both. If they are recordings,
// that page has these, too.
const pane = document.body.dataset.pane;
const outer = pane === "" ? null : window.parent;
const { stages, frames: film } = outer?.recordings?.[pane] ??
  { stages: JSON.parse(find("#stages").textContent), frames: JSON.parse(find("#frames").textContent || "null") };
const model = new Model(stages);
const source = new SourceView(find("#source"), { door: find("#door"), workers: find("#workers"), elsewhere: find("#elsewhere") });
const lanes = new LanesView(find("#lanes"));

const room = new RoomView(model, command, complain);
const scheduled = new ScheduledView(model, command);

if (outer) {
  document.body.classList.add("pane");
  room.which = Number(pane);
}
window.stageShown = () => model.stage;
function hear(news) {
  room.apply(news);
  if (outer && room.which === 0) {
    window.heard = news;  // for a page around this one that is loaded later
    outer.roomNews?.(news);
  }
}

let selected = null;  // whose story is shown: an id
let complaint = { text: "", until: 0 };

function complain(text) {
  complaint = { text, until: performance.now() + 5000 };
  draw();
}
window.addEventListener("error", (event) => complain(`This page is broken: ${event.message}`));

// ---- Showing

let drawing = false;
function draw() {
  if (!drawing) {
    drawing = true;
    requestAnimationFrame(() => {
      drawing = false;
      show();
    });
  }
}

function show() {
  if (source.stage !== model.stage) {
    source.load(model.stage);
    select(null);
    find("#stage").value = model.stage?.name ?? "";
    document.title = model.stage ? `${model.stage.name} · board` : "Board";
  }
  source.selected = lanes.selected = selected;
  source.update(model);
  lanes.update(model);
  showPace();
  showFigures();
  showStory();
  showSaid();
  setText("#model", [model.stage?.model, model.options].filter(Boolean).join(" · "));
  find("#kill").disabled = model.workerProcesses.length === 0;
  showSentence();
  room.update();
  scheduled.update();
}

// Complaints and news, for some seconds or until the next command. Otherwise the sentence about the present state.
let seen = 0;  // news up to then: model.now
function showSentence() {
  const alarm = performance.now() < complaint.until;
  const news = model.news.at(-1);
  const fresh = news && news.t > seen && news.t <= model.now && model.now - news.t < 5e6;
  const text = alarm ? complaint.text : fresh ? news.text : calm(scheduled.there ? scheduled.sentence() : model.explanation());
  setText("#says", text);
  find("#says").title = text;
  find("#says").classList.toggle("alarm", alarm || Boolean(fresh) || model.ended !== "");
}

// The state changes many times a second. A sentence stays long enough to be read, and a moment longer than it is true,
// because there is none between one request and the next. Its numbers change sooner. Where time has been stopped, or
// jumps, it changes at once.
let sentence = { text: "", kind: "", run: null, since: 0, true: 0 };  // since when it is shown, when it was true last
function calm(text) {
  const kind = text.replaceAll(/\d+/g, "#");
  const run = `${model.run} ${model.pace} ${model.ended}`;
  const now = performance.now();
  const atOnce = film || run !== sentence.run || model.pace !== "free" || sentence.text === "";
  if (atOnce || (kind !== sentence.kind && now - (text === "" ? sentence.true : sentence.since) > 1200)) {
    sentence = { text, kind, run, since: now, true: now };
  } else if (kind === sentence.kind) {
    sentence.true = now;
    if (now - sentence.since > 300 && text !== sentence.text) {
      sentence.text = text;
      sentence.since = now;
    }
  }
  return sentence.text;
}

function setText(selector, text) {
  const box = find(selector);
  if (box.textContent !== text) {
    box.textContent = text;
  }
}

function showPace() {
  const { pace } = model;
  document.body.dataset.pace = pace;
  setText("#pace", pace === "paused" ? "paused" : pace === "slow" ? `slow: ${model.slow} ms a step` : "");
  setText("#pause .label", pace === "paused" ? "go on" : "pause");
  find("#step").disabled = pace !== "paused";
  const slow = find("#slow");
  if (document.activeElement !== slow) {
    slow.value = Math.max(0, paces.findIndex((ms) => ms >= model.slow));
  }
  setText("#slow-text", pace === "slow" ? `${model.slow} ms` : "off");
}

function showFigures() {
  const m = model.figures;
  const figures = [  // value, name, and what it counts if that is not clear
    [m.rate ?? 0, "reqs/sec"], [milliseconds(m.median ?? 0), "median wait"], [milliseconds(m.worst ?? 0), "worst wait"],
    [m.longest > 100 ? milliseconds(m.longest) : "–", "longest now"],
    [model.atTheDoor.length, "at the door"], [(m.unread ?? []).reduce((sum, [, bytes]) => sum + bytes, 0), "bytes unread"], [m.threads ?? 0, "threads", "of all these processes; one of the server's is for the results of its workers"],
    [m.processes ?? 0, "processes", "the server, its workers, and with a pool one more: the process that forks them"], [m.descriptors ?? 0, "descriptors"], [`${m.cpu ?? 0} %`, "CPU"],
  ];
  const box = find("#figures");
  if (box.childElementCount !== figures.length) {
    box.replaceChildren(...figures.map(() => element("div")));
    for (const cell of box.children) {
      cell.append(element("b"), element("span"));
    }
  }
  figures.forEach(([value, what, meaning = ""], index) => {
    const [number, label] = box.children[index].children;
    number.textContent = value;
    label.textContent = what;
    box.children[index].title = meaning;
  });
  const most = Math.max(10, ...model.history.map(({ rate }) => rate));
  drawChart(find("#rate"), model, ({ rate }) => rate, `reqs/sec, up to ${most}`, (rate) => rate / most);
  // From a tenth of a millisecond to ten seconds: each power of ten has the same height.
  drawChart(find("#latency"), model, ({ worst }) => worst, "worst wait: 0.1 ms to 10 s",
    (worst) => Math.min(1, Math.max(0, (Math.log10(Math.max(worst, 0.1)) + 1) / 5)));
}

function showStory() {
  const lane = model.lanes.get(selected);
  find("#story").hidden = !lane;
  if (!lane) {
    return;
  }
  const { place } = lane;
  const there = model.places.get(selected);
  setText("#story h2", model.nameOf(place));
  const unread = model.unreadOf(place);
  const facts = [
    there ? `${model.doing(place)}${place.line ? ` at line ${place.line}` : ""}` : "is gone",
    place.kind === "conversation" ? `${plural(place.requests, "request")} answered` : "",
    unread > 0 ? `${plural(unread, "byte")} not read` : "",
    place.pid === 0 ? "a program of its own"
      : `last run by thread ${place.tid}${place.tid === place.pid ? "" : ` of process ${place.pid}`}`,
  ];
  setText("#story .now", facts.filter(Boolean).join(" · "));
  const lines = lane.segments.slice(-story_length).map((segment, index, all) => {
    const end = Math.min(all[index + 1]?.since ?? Infinity, lane.ended, model.now);
    const where = segment.line > 0 ? ` at line ${segment.line}` : "";
    return `${doing(segment)}${where}, ${duration(end - segment.since)}`;
  }).reverse();
  const list = find("#story ol");
  while (list.childElementCount > lines.length) {
    list.lastElementChild.remove();
  }
  lines.forEach((text, index) => {
    const item = list.children[index] ?? list.appendChild(element("li"));
    if (item.textContent !== text) {
      item.textContent = text;
    }
  });
}

function showSaid() {
  const last = model.said.at(-1);
  const text = !last ? "" : last.reply ? `→ ${last.text}  ${last.ms > 0 ? milliseconds(last.ms) : ""}` : `${last.text} …`;
  setText("#said", text);
  find("#said").title = text;  // a long one is cut off
}

// ---- Choosing a dot

function select(id) {
  selected = id;
  const place = model.places.get(id);
  if (place) {
    source.show(place.line);
  }
  draw();
}

// Those that can be stepped come first, then the clients.
function selectNext(step) {
  const rank = (id) => {
    const { state: now, kind } = model.places.get(id);
    return now === state.held ? 0 : kinds.indexOf(kind);
  };
  const ids = lanes.order(model).map(({ id }) => id).filter((id) => model.places.has(id))
    .sort((a, b) => rank(a) - rank(b) || a - b);
  const index = ids.indexOf(selected);
  select(ids[(index + step + ids.length + (index === -1 && step < 0 ? 1 : 0)) % ids.length] ?? null);
}

function stepChosen() {
  const place = model.places.get(selected);
  if (!place) {
    complain("None is chosen: press ↓, or click a dot.");
  } else if (model.pace === "paused" && place.state !== state.held) {
    const why = {
      computes: "it stops when it has computed", runs: "it stops by itself",
      awaits: "it can be stepped when it has the result: step the worker", locked: "it can be stepped when it has the lock",
      ready: "its thread can be stepped, and then runs it",
    };
    const shown = model.shownAs(place);
    complain(`${model.nameOf(place)} ${doing(shown)}: ${why[states[shown.state].name] ?? "it is in the kernel, and can't be stepped until the kernel wakes it"}.`);
  } else {
    command({ do: "step", id: selected });
  }
}

// ---- Commands

// One after the other, so that the last one wins.
let sent = Promise.resolve();
function command(what) {
  seen = model.now;
  complaint.until = 0;
  sent = sent.then(() => post(what));
}

// Both count from what was asked for last: the frames that show it have not come yet.
let turned = { name: "", until: 0 };
function changeStage(step) {
  const now = performance.now() < turned.until ? turned.name : model.stage?.name;
  const next = stages[stages.findIndex(({ name }) => name === now) + step];
  if (next) {
    turned = { name: next.name, until: performance.now() + 5000 };
    command({ do: "stage", name: next.name });
  }
}

let asked = { ms: 0, until: 0 };
function slower(step) {
  const now = performance.now() < asked.until ? asked.ms : model.slow;
  const index = Math.max(0, paces.findIndex((ms) => ms >= now)) + step;
  asked = { ms: paces[Math.min(Math.max(index, 0), paces.length - 1)], until: performance.now() + 500 };
  command({ do: "slow", ms: asked.ms });
}

const live = {
  "pause": () => command({ do: model.pace === "paused" ? "go" : "pause" }),
  "step": () => command({ do: "step" }),
  "step-one": stepChosen,
  "client": () => command({ do: "client" }),
  "crowd": () => command({ do: "client", count: 20 }),
  "hog": () => command({ do: "hog" }),
  "idle": () => command({ do: "idle" }),
  "leave": () => {
    const client = model.lanes.get(selected)?.place.client;
    if (client && model.names.has(client.number)) {
      command({ do: "phone-leaves", client: client.number });
    } else {
      command(client && model.clients.has(client.number) ? { do: "leave", client: client.number } : { do: "leave" });
    }
  },
  "leave-all": () => command({ do: "leave", all: true }),
  "kill": () => command(model.places.get(selected)?.kind === "worker" ? { do: "kill", id: selected } : { do: "kill" }),
  "restart": () => command({ do: "restart" }),
  "before": () => changeStage(-1),
  "after": () => changeStage(1),
  "slower": () => slower(1),
  "faster": () => slower(-1),
  "type": () => find("#ask").focus(),
};

const looking = {
  "help": () => (find("#help").open ? find("#help").close() : find("#help").showModal()),
  "unselect": () => select(null),
  "up": () => selectNext(-1),
  "down": () => selectNext(1),
  "whole": () => {
    source.whole = !source.whole;
    source.lay();
  },
};

const keys = {
  " ": ["pause", "play"], "s": ["step"], "Enter": ["step-one"], "c": ["client"], "w": ["crowd"], "h": ["hog"], "i": ["idle"],
  "l": ["leave"], "L": ["leave-all"], "k": ["kill"], "r": ["restart"], "[": ["before"], "]": ["after"], "-": ["slower"], "+": ["faster"], "=": ["faster"],
  "t": ["type"], "?": ["help"], "Escape": ["unselect"], "ArrowUp": ["up"], "ArrowDown": ["down"], "f": ["whole"],
  "ArrowLeft": ["back"], "ArrowRight": ["forth"], ...room_keys,
};

function enable(actions) {
  for (const button of document.querySelectorAll("[data-act]")) {
    const key = { " ": "space", Enter: "⏎", Escape: "Esc", ArrowLeft: "←", ArrowRight: "→" }[button.dataset.key] ?? button.dataset.key;
    const label = element("span", button.textContent, { className: "label" });
    button.replaceChildren(...(button.textContent === key ? [] : [label]), element("kbd", key));
    button.addEventListener("click", () => {
      actions[button.dataset.act]?.();
      button.blur();  // the keys belong to the page
    });
  }
  document.addEventListener("keydown", (event) => {
    const typing = event.target instanceof HTMLInputElement && event.target.type === "text";
    if (event.ctrlKey || event.altKey || event.metaKey || (typing && event.key !== "Escape")) {
      return;
    }
    if (typing) {
      event.target.blur();
      return;
    }
    if (outer) {
      outer.pressed(event);  // which gives it to both
    } else if (press(event.key)) {
      event.preventDefault();
    }
  });
  function press(pressed) {
    const action = ((scheduled.there && scheduled_keys[pressed]) || keys[pressed] || []).find((name) => actions[name]);
    if (!action || (find("#help").open && action !== "help")) {
      return false;
    }
    actions[action]();
    return true;
  }
  window.press = press;
  // The dots are drawn again all the time. When the mouse is released, another element may be there.
  find("#left").addEventListener("pointerdown", (event) => {
    const dot = event.target.closest("[data-id]");
    if (dot) {
      select(Number(dot.dataset.id));
    } else if (event.target.closest(".fold")) {
      looking.whole();
    }
  });
  find("#lanes").addEventListener("pointerdown", (event) => select(lanes.idAt(event.offsetY)));
}

// ---- From the board, as it happens

function watch() {
  find("#stage").append(...stages.map(({ name }) => element("option", name)));
  find("#stage").addEventListener("change", (event) => {
    command({ do: "stage", name: event.target.value });
    event.target.blur();
  });
  find("#slow").addEventListener("input", (event) => command({ do: "slow", ms: paces[event.target.value] }));
  find("#slow").addEventListener("change", (event) => event.target.blur());
  find("#ask").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.value.trim() !== "") {
      command({ do: "ask", text: event.target.value.trim() });
      event.target.value = "";
    }
  });
  receive();
  enable(outer ? { ...live, ...looking } : { ...live, ...looking, ...room.actions, ...scheduled.actions });
}

// Frames come as server-sent events. If a proxy holds these back, the page asks for frames instead.
function receive() {
  const gone = () => complain("The board has ended, or does not answer.");
  const stream = new EventSource("frames");
  const held = setTimeout(async () => {
    stream.close();
    for (let after = 0; ;) {
      try {
        const { last, frames, room: news } = await (await fetch(`frames?after=${after}`)).json();
        after = last;
        frames.forEach((frame) => model.apply(frame));
        hear(news);
        draw();
      } catch {
        gone();
        await new Promise((resolve) => setTimeout(resolve, 1000));
      }
    }
  }, 3000);
  stream.onmessage = (event) => {
    clearTimeout(held);
    model.apply(JSON.parse(event.data));
    draw();
  };
  stream.addEventListener("room", (event) => hear(JSON.parse(event.data)));
  stream.onerror = gone;
}

// ---- Out of this file: played forwards and backwards

function replay() {
  find("#controls").hidden = true;
  find("#for-room").hidden = true;
  find("#stage").disabled = true;  // first: otherwise Chromium may cut the name off
  find("#stage").replaceChildren(...stages.map(({ name }) => element("option", name)));
  find("#story .do button").hidden = true;
  find("#keys").hidden = true;
  find("#player-keys").hidden = false;
  model.live = false;
  let position = -1;

  function seek(target) {
    if (target === position) {
      return;
    }
    let first = position + 1;
    if (target < first || target > first + 200) {
      first = target;
      while (first > 0 && !(film[first].key && film[first].t < film[target].t - lane_window)) {
        --first;
      }
      model.reset(null, 0);
      model.clients.clear();
      model.ports.clear();
    }
    for (let i = first; i <= target; ++i) {
      model.apply(film[i]);
    }
    position = target;
    draw();
  }

  const times = film.map(({ t }) => t - film[0].t);
  if (outer) {  // which has the player of both
    const upTo = (time) => Math.max(0, times.findLastIndex((other) => other <= time));
    window.film_shown = { times, seek: (time) => seek(upTo(time)), opening: times[opening()] };
    window.moment = () => times[position] / 1e6;  // in seconds
    enable(looking);
    return;
  }
  const index = new Map(times.map((time, number) => [time, number]));
  const player = new Player(times, (time) => seek(index.get(time)));
  enable({ ...looking, ...player.actions });
  player.open(opening());
}

// A recording is opened at the moment when all clients have come, so that there is something to see.
function opening() {
  const there = new Set();
  let most = 0;
  let best = 0;
  film.forEach((frame, index) => {
    if (frame.key) {
      there.clear();
    }
    (frame.p ?? []).filter(([, kind]) => kinds[kind] === "conversation").forEach(([id]) => there.add(id));
    (frame.x ?? []).forEach((id) => there.delete(id));
    if (there.size > most) {
      most = there.size;
      best = index;
    }
  });
  const later = film.findIndex(({ t }) => t > film[best].t + 1e6);  // a moment after that they do something
  return most === 0 ? 0 : later === -1 ? best : later;
}

if (film) {
  replay();
} else {
  watch();
}
