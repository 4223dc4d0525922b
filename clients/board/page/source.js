// source.js -- the stage's file, with dots on the lines at which its conversations and threads are.

const around = 2;  // lines that are shown beside a line with a dot, if there is no room for the paragraph
const most_dots = 4;  // dots of one look on a line; if there are more, a number stands for them

// Enough of C++ to be read: comments, strings, numbers, keywords.
const token = /(\/\/.*$)|("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|<[a-z_/.]+>(?=\s*$))|\b(\d[\d'a-z]*)\b|\b(alignas|auto|bool|break|case|catch|char|class|co_await|co_return|co_yield|const|constexpr|continue|default|delete|else|enum|explicit|false|final|for|if|inline|int|mutable|namespace|new|noexcept|nullptr|operator|override|private|public|return|sizeof|static|std|struct|switch|template|this|throw|true|try|typename|unsigned|using|virtual|void|while)\b|(^\s*#\w+)/g;
const token_classes = ["comment", "text", "digits", "word", "directive"];

// Where a line of the story can be. Paragraphs that contain one are shown from the beginning.
const telling = /\b(recv|try_recv|async_receive|async_read\w*|send|try_send|async_send|async_write|accept|try_accept|async_accept|submit|co_yield|co_await|select|fib|interpret|run_in_pool)\b\s*[({ ]/;

function highlighted(text) {
  const code = element("code");
  let end = 0;
  for (const match of text.matchAll(token)) {
    const kind = match.slice(1).findIndex((group) => group !== undefined);
    code.append(text.slice(end, match.index), element("span", match[0], { className: token_classes[kind] }));
    end = match.index + match[0].length;
  }
  code.append(text.slice(end));
  return code;
}

class SourceView {
  constructor(list, strips) {
    this.list = list;
    this.strips = strips;
    this.whole = false;
    this.selected = null;
    new ResizeObserver(() => requestAnimationFrame(() => this.lay())).observe(list);
  }

  load(stage) {
    this.stage = stage;
    this.rows = [null];  // counted from 1
    this.folds = [];  // those that are shown
    this.spare = [];  // elements for more of them
    this.top = -1;  // the paragraph that most conversations are in
    this.list.replaceChildren();
    const lines = (stage?.source ?? "").replace(/\n$/, "").split("\n");
    this.paragraphs = [];
    let paragraph = null;
    lines.forEach((text, index) => {
      const entry = this.row(index + 1, highlighted(text));
      entry.row.dataset.line = index + 1;
      entry.length = text.length;
      this.rows.push(entry);
      if (text === "" || !paragraph) {
        entry.row.classList.add("blank");
        paragraph = { lines: [], text: "", rank: 0, been: new Set() };
        this.paragraphs.push(paragraph);
      }
      paragraph.lines.push(index + 1);
      paragraph.text += `${text}\n`;
      this.list.append(entry.row);
    });
    for (const paragraph of this.paragraphs) {
      paragraph.telling = telling.test(paragraph.text.replaceAll(/^\s*\/\/.*$/gm, ""));
    }
    this.rank({ visited: new Map(), stayed: new Map() });
    this.lay();
    this.lay();
  }

  row(number, code) {
    const row = element("li");
    const dots = element("span", "", { className: "dots" });
    const note = element("span", "", { className: "note" });
    row.append(element("span", number, { className: "number" }), dots, code, note);
    return { row, dots, code, note, shown: "", noted: "", warm: 0, length: 0, tall: false };
  }

  // Which paragraphs are shown. First the one that most conversations are in. Then those where one has waited, those of
  // other conversations, those of threads, and those that may be reached. There are as many as fit in letters that can
  // be read from afar. If a paragraph no longer fits, only the lines around those where one has waited, or been. Folded
  // lines beside each other share one row, which shows the dots on all of them.
  lay() {
    if (!this.stage) {
      return;
    }
    const smallest = Math.max(12, window.innerWidth * 0.0098);
    let room = this.list.clientHeight / (smallest * 1.36) - 1;
    const shown = new Set();
    const size = (lines) => lines.reduce((sum, line) => sum + this.heightOf(line), 1);
    const take = (lines) => {
      lines.forEach((line) => shown.add(line));
      room -= size(lines);
    };
    for (const { lines, rank, been } of [...this.paragraphs].sort((a, b) => b.rank - a.rank)) {
      const near = lines.filter((line) => [...been].some((other) => Math.abs(other - line) <= around));
      if (this.whole || (rank > 0 && (size(lines) <= room || shown.size === 0))) {
        take(lines);
      } else if (near.length > 0 && size(near) <= room) {
        take(near);
      }
    }
    this.fold(shown);
    this.count = [...shown].reduce((sum, line) => sum + this.heightOf(line), 0.5) + this.folds.length;
    // As large as it may be.
    const height = this.list.clientHeight / Math.max(this.count, 1);
    const columns = 74;  // what is longer is cut off at the right
    const letters = Math.max(Math.min(height / 1.36, this.list.clientWidth / (columns * 0.6 + 8.5), 24), 12);
    this.list.style.fontSize = `${letters.toFixed(1)}px`;
    this.columns = (this.list.clientWidth / letters - 8.4) / 0.602;
  }

  heightOf(line) {
    const { row, tall } = this.rows[line];
    return row.classList.contains("blank") ? 0.5 : tall ? 2 : 1;
  }

  fold(shown) {
    this.spare.push(...this.folds.map(({ entry }) => entry));
    this.folds = [];
    let run = null;
    for (let line = 1; line < this.rows.length; ++line) {
      const { row } = this.rows[line];
      row.hidden = !shown.has(line);
      if (!row.hidden) {
        run = null;
      } else if (run) {
        run.lines.push(line);
      } else {
        const entry = this.spare.shift() ?? this.row("⋯", element("code"));
        entry.row.classList.add("fold");
        row.before(entry.row);
        run = { entry, lines: [line] };
        this.folds.push(run);
      }
    }
    for (const { row } of this.spare) {
      row.remove();
    }
    for (const { entry, lines } of this.folds) {
      const text = lines.length > 1 ? `lines ${lines[0]} to ${lines.at(-1)}` : `line ${lines[0]}`;
      entry.code.textContent = text;
      entry.length = text.length;
    }
  }

  // Laid out again only if a new paragraph was reached, if a dot has stayed at a new line, or if most conversations
  // have moved to another paragraph for good.
  rank(model) {
    const { visited, stayed } = model;
    const count = ({ lines }, kind) => lines.reduce((sum, line) => sum + (visited.get(line)?.[kind] ?? 0), 0);
    const counts = this.paragraphs.map((paragraph) => count(paragraph, "conversation"));
    const most = Math.max(...counts);
    const top = counts[this.top] >= most / 2 && counts[this.top] > 0 ? this.top : counts.indexOf(most);
    let changed = false;
    this.paragraphs.forEach((paragraph, index) => {
      const waits = paragraph.lines.filter((line) => stayed.has(line));
      const been = waits.length > 0 ? waits : paragraph.lines.filter((line) => visited.has(line));
      const rank = counts[index] > 0 && index === top ? 5
        : waits.some((line) => stayed.get(line) === "conversation") ? 4
        : waits.length > 0 ? 3
        : counts[index] > 0 ? 2
        : count(paragraph, "thread") > 0 ? 1
        : paragraph.telling ? 0.5 : 0;
      changed ||= rank !== paragraph.rank || been.length !== paragraph.been.size;
      paragraph.rank = rank;
      paragraph.been = new Set(been);
    });
    if (changed) {
      this.top = top;
      this.lay();
    }
  }

  update(model) {
    if (!this.stage) {
      return;
    }
    this.rank(model);
    const lineOf = (place) => (model.isMain(place.file) && place.line < this.rows.length ? place.line : 0);
    const onLine = grouped([...model.places.values()].filter((place) => !model.isCarrier(place)), lineOf);
    const elsewhere = [...model.ofKind("thread").filter((place) => model.isCarrier(place) && place.number === 1),
      ...(onLine.get(0) ?? []).filter(({ kind }) => kind !== "worker")];
    const far = this.farFrom(model, onLine);
    let grown = false;
    for (let line = 1; line < this.rows.length; ++line) {
      grown = this.updateRow(model, this.rows[line], onLine.get(line) ?? [], model.heat.get(line) ?? 0, far.get(line)) || grown;
    }
    for (const { entry, lines } of this.folds) {
      grown = this.updateRow(model, entry, lines.flatMap((line) => onLine.get(line) ?? []), 0) || grown;
    }
    if (grown) {
      this.lay();
    }
    this.updateStrips(model, elsewhere);
  }

  // Those that wait for a worker, but not at the line that has asked: in a function that was called there (07). The
  // line that has asked then says where.
  farFrom(model, onLine) {
    const far = new Map();
    const paragraphOf = (line) => this.paragraphs.findIndex(({ lines }) => line <= lines.at(-1));
    for (const [line, places] of onLine) {
      const away = places.filter((place) => place.state === state.awaits && place.submitted > 0 && line > 0 &&
        paragraphOf(place.submitted) !== paragraphOf(line));
      for (const [from, group] of grouped(away, ({ submitted }) => submitted)) {
        const who = group.length === 1 ? `${model.nameOf(group[0])} waits` : `${group.length} wait`;
        far.set(from, `${who} for this at line ${line}`);
      }
    }
    return far;
  }

  // Whether it needs more room than before.
  updateRow(model, entry, places, heat, far = "") {
    const shown = places.map((place) => `${place.id},${place.state},${looks(place).shape},${place.id === this.selected}`).join(" ");
    if (shown !== entry.shown) {
      entry.shown = shown;
      entry.dots.replaceChildren(...this.dotsFor(model, places));
      entry.row.classList.toggle("runs", places.some(({ state: now }) => ["full", "held"].includes(states[now].shape)));
    }
    const noted = [this.noteFor(model, places), far].filter(Boolean).join(" · ");
    if (noted !== entry.noted) {
      entry.noted = noted;
      entry.note.textContent = noted;
    }
    const warm = heat > 0 ? Math.min(3, 1 + Math.floor(Math.log10(heat))) : 0;
    if (warm !== entry.warm) {
      entry.warm = warm;
      entry.row.dataset.warm = warm;
    }
    // Words are beside the code, or below it if they have no room there. Once below they stay below, so that nothing
    // jumps.
    const grows = !entry.tall && entry.row.dataset.line && noted !== "" && entry.length + 2 + noted.length > this.columns;
    if (grows) {
      entry.tall = true;
      entry.row.classList.add("tall");
    }
    return grows;
  }

  dotsFor(model, places) {
    const groups = grouped(places, (place) => looks(place).shape);
    return [...groups].flatMap(([shape, group]) =>
      group.length <= most_dots ? group.map((place) => this.dot(model, place)) : [this.crowd(group, shape)]);
  }

  dot(model, place) {
    const name = `${model.nameOf(place)} ${model.doing(place)}`;
    const square = place.kind === "conversation" ? "" : "square";
    const dot = element("button", model.letterOf(place), {
      type: "button", tabIndex: -1, title: name, className: `dot ${looks(model.shownAs(place)).shape} ${square}`,
    });
    dot.classList.toggle("selected", place.id === this.selected);
    dot.dataset.id = place.id;
    dot.dataset.state = states[place.state].name;
    dot.style.setProperty("--colour", `var(${colourOf(place.client)})`);
    return dot;
  }

  crowd(group, shape) {
    const chosen = group.find(({ id }) => id === this.selected);
    const dot = element("button", group.length, { type: "button", tabIndex: -1, className: `dot many ${shape}` });
    dot.classList.toggle("selected", chosen !== undefined);
    dot.dataset.id = (chosen ?? group[0]).id;
    dot.dataset.count = group.length;
    dot.dataset.state = states[group[0].state].name;
    return dot;
  }

  // "hog 4 computes fib(42), 0.7 s", "37 wait for bytes"
  noteFor(model, places) {
    const groups = grouped(places, looks);
    return [...groups.entries()].map(([{ many }, group]) => {
      const longest = model.now - group.reduce((first, { since }) => Math.min(first, since), Infinity);
      const time = longest > 200e3 && groups.size === 1 ? `, ${(longest / 1e6).toFixed(1)} s` : "";
      const brief = groups.size > 1 || group[0].kind === "thread";
      const who = brief ? model.letterOf(group[0]) : model.nameOf(group[0]);
      const holders = new Set(group.map((place) => model.holderFor(place)));
      const holder = group.length > 1 && holders.size === 1 ? [...holders][0] : undefined;
      return group.length === 1 ? `${who} ${model.doing(group[0])}${time}`
        : `${group.length} ${many}${holder ? `, which ${model.nameOf(holder)} has` : ""}${time}`;
    }).join(" · ");
  }

  updateStrips(model, elsewhere) {
    const door = model.atTheDoor;
    const unread = (model.figures.unread ?? []).reduce((sum, [, bytes]) => sum + bytes, 0);
    this.strip("door", door.length === 0 ? [] : [
      element("b", `At the door: ${door.length}`),
      ...door.slice(0, 12).map((client) => this.guest(model, client)),
      element("span", `connected by the kernel, not accepted${unread > 0 ? `; ${plural(unread, "byte")} not read` : ""}`),
    ]);
    const workers = model.ofKind("worker");
    const line = (worker) => {
      const whom = model.places.get(worker.for);
      return [this.dot(model, worker), element("span", `${doing(worker)}${whom ? ` for ${model.nameOf(whom)}` : ""}`)];
    };
    const heading = element("b", model.behindBroker ? "Workers behind the broker" : "Workers");
    const unseen = model.behindBroker ? [heading, element("span", "each is shown from its first request on")] : [];
    this.strip("workers", workers.length === 0 ? unseen : [heading, ...workers.slice(0, 8).flatMap(line)]);
    const where = (place) => {
      const whom = model.places.get(place.for);
      const file = model.isMain(place.file) ? "" : model.files.get(place.file);
      return whom && place.kind === "thread" ? `runs ${model.nameOf(whom)}, which ${doing(whom)}` : `${doing(place)}${file ? ` at ${file}:${place.line}` : ""}`;
    };
    this.strip("elsewhere", elsewhere.slice(0, 5).flatMap((place) => [this.dot(model, place), element("span", where(place))]));
  }

  guest(model, client) {
    const dot = element("i", client.role === "guest" ? "?" : model.letterOf({ client }), { className: "dot hollow", title: model.nameOf({ client }) });
    dot.style.setProperty("--colour", `var(${colourOf(client)})`);
    return dot;
  }

  strip(name, parts) {
    const strip = this.strips[name];
    const shown = parts.map((part) => `${part.className} ${part.dataset.state} ${part.textContent}`).join("|");
    if (strip.dataset.shown !== shown) {
      strip.dataset.shown = shown;
      strip.replaceChildren(...parts);
      strip.hidden = parts.length === 0;
    }
  }

  // So that the dot that was chosen, or has just made a step, can be seen.
  show(line) {
    const { row } = this.rows[line] ?? {};
    if (row && !row.hidden) {
      row.scrollIntoView({ block: "nearest" });
    }
  }
}
