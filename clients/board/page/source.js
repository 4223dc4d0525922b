// source.js -- the stage's file, with a dot on the line at which somebody is.

const most_dots = 4;  // of one look on a line; if there are more, a number stands for them

// Enough of C++ to be read: comments, strings, numbers, words of the language.
const token = /(\/\/.*$)|("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|<[a-z_/.]+>(?=\s*$))|\b(\d[\d'a-z]*)\b|\b(alignas|auto|bool|break|case|catch|char|class|co_await|co_return|co_yield|const|constexpr|continue|default|delete|else|enum|explicit|false|final|for|if|inline|int|mutable|namespace|new|noexcept|nullptr|operator|override|private|public|return|sizeof|static|std|struct|switch|template|this|throw|true|try|typename|unsigned|using|virtual|void|while)\b|(^\s*#\w+)/g;
const token_classes = ["comment", "text", "digits", "word", "directive"];

// Where a line of the story can be: what such paragraphs contain is shown from the beginning.
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
    this.folds = [];
    this.top = -1;  // the paragraph in which the conversations are most
    this.list.replaceChildren();
    const lines = (stage?.source ?? "").replace(/\n$/, "").split("\n");
    this.paragraphs = [];
    let paragraph = null;
    lines.forEach((text, index) => {
      const entry = this.row(index + 1, highlighted(text));
      entry.row.dataset.line = index + 1;
      this.rows.push(entry);
      if (text === "" || !paragraph) {
        entry.row.classList.add("blank");
        paragraph = { rows: [], lines: [], text: "", rank: 0, fold: this.row("⋯", element("code")) };
        paragraph.fold.row.classList.add("fold");
        this.paragraphs.push(paragraph);
      }
      paragraph.rows.push(entry.row);
      paragraph.lines.push(index + 1);
      paragraph.text += `${text}\n`;
    });
    for (const paragraph of this.paragraphs) {
      paragraph.telling = telling.test(paragraph.text.replaceAll(/^\s*\/\/.*$/gm, ""));
      this.list.append(paragraph.fold.row, ...paragraph.rows);
    }
    this.rank(new Map());
    this.lay();
    this.lay();
  }

  row(number, code) {
    const row = element("li");
    const dots = element("span", "", { className: "dots" });
    const note = element("span", "", { className: "note" });
    row.append(element("span", number, { className: "number" }), dots, code, note);
    return { row, dots, code, note, shown: "", noted: "", warm: 0 };
  }

  // Which paragraphs are shown: that in which the conversations are most, and as far as there is room for letters
  // that can be read from afar, others of theirs, those of threads, and those to which somebody may come. Of folds
  // beside each other one is enough: it shows who is in any of them.
  lay() {
    if (!this.stage) {
      return;
    }
    const smallest = Math.max(12, window.innerWidth * 0.0098);
    let room = this.list.clientHeight / (smallest * 1.36) - 1;
    const shown = new Set();
    for (const paragraph of [...this.paragraphs].sort((a, b) => b.rank - a.rank)) {
      const size = paragraph.rows.length + 0.5;
      if (this.whole || (paragraph.rank > 0 && (size <= room || shown.size === 0))) {
        shown.add(paragraph);
        room -= size;
      }
    }
    this.folds = [];
    let before = null;
    for (const paragraph of this.paragraphs) {
      const open = shown.has(paragraph);
      paragraph.rows.forEach((row) => { row.hidden = !open; });
      paragraph.fold.row.hidden = open || before !== null;
      if (open) {
        before = null;
      } else if (before) {
        before.lines.push(...paragraph.lines);
      } else {
        before = { entry: paragraph.fold, lines: [...paragraph.lines] };
        this.folds.push(before);
      }
    }
    for (const { entry, lines } of this.folds) {
      entry.code.textContent = `lines ${lines[0]} to ${lines.at(-1)}`;
    }
    this.count = [...shown].reduce((sum, { rows }) => sum + rows.length - 0.5, 0) + this.folds.length + 0.5;
    // As large as it may be.
    const height = this.list.clientHeight / Math.max(this.count, 1);
    const columns = 74;  // what is longer is cut off at the right
    const size = Math.max(Math.min(height / 1.36, this.list.clientWidth / (columns * 0.6 + 8.5), 24), 12);
    this.list.style.fontSize = `${size.toFixed(1)}px`;
  }

  // Laid anew only if somebody has come to a new paragraph, or most are in another one for good.
  rank(visited) {
    const count = ({ lines }, kind) => lines.reduce((sum, line) => sum + (visited.get(line)?.[kind] ?? 0), 0);
    const counts = this.paragraphs.map((paragraph) => count(paragraph, "conversation"));
    const most = Math.max(...counts);
    const top = counts[this.top] >= most / 2 && counts[this.top] > 0 ? this.top : counts.indexOf(most);
    const ranks = this.paragraphs.map((paragraph, index) => {
      const visitors = counts[index] > 0 ? (index === top ? 3 : 2) : count(paragraph, "thread") > 0 ? 1 : 0;
      return visitors || (paragraph.telling ? 0.5 : 0);
    });
    if (ranks.some((rank, index) => rank !== this.paragraphs[index].rank)) {
      this.top = top;
      this.paragraphs.forEach((paragraph, index) => { paragraph.rank = ranks[index]; });
      this.lay();
    }
  }

  update(model) {
    if (!this.stage) {
      return;
    }
    this.rank(model.visited);
    const lineOf = (place) => (model.isMain(place.file) && place.line < this.rows.length ? place.line : 0);
    const onLine = grouped([...model.places.values()].filter((place) => !model.isCarrier(place)), lineOf);
    const elsewhere = [...model.ofKind("thread").filter((place) => model.isCarrier(place) && place.number === 1),
      ...(onLine.get(0) ?? []).filter(({ kind }) => kind !== "worker")];
    for (let line = 1; line < this.rows.length; ++line) {
      this.updateRow(model, this.rows[line], onLine.get(line) ?? [], model.heat.get(line) ?? 0);
    }
    for (const { entry, lines } of this.folds) {
      this.updateRow(model, entry, lines.flatMap((line) => onLine.get(line) ?? []), 0);
    }
    this.updateStrips(model, elsewhere);
  }

  updateRow(model, entry, places, heat) {
    const shown = places.map((place) => `${place.id},${place.state},${place.id === this.selected}`).join(" ");
    if (shown !== entry.shown) {
      entry.shown = shown;
      entry.dots.replaceChildren(...this.dotsFor(model, places));
      entry.row.classList.toggle("runs", places.some(({ state: now }) => ["full", "held"].includes(states[now].shape)));
    }
    const noted = this.noteFor(model, places);
    if (noted !== entry.noted) {
      entry.noted = noted;
      entry.note.textContent = noted;
    }
    const warm = heat > 0 ? Math.min(3, 1 + Math.floor(Math.log10(heat))) : 0;
    if (warm !== entry.warm) {
      entry.warm = warm;
      entry.row.dataset.warm = warm;
    }
  }

  dotsFor(model, places) {
    const groups = grouped(places, (place) => states[place.state].shape);
    return [...groups].flatMap(([shape, group]) =>
      group.length <= most_dots ? group.map((place) => this.dot(model, place)) : [this.crowd(group, shape)]);
  }

  dot(model, place) {
    const name = `${model.nameOf(place)} ${doing(place)}`;
    const square = place.kind === "conversation" ? "" : "square";
    const dot = element("button", model.letterOf(place), {
      type: "button", tabIndex: -1, title: name, className: `dot ${states[place.state].shape} ${square}`,
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
    const groups = grouped(places, (place) => place.state);
    return [...groups.entries()].map(([now, group]) => {
      const longest = model.now - group.reduce((first, { since }) => Math.min(first, since), Infinity);
      const time = longest > 200e3 && groups.size === 1 ? `, ${(longest / 1e6).toFixed(1)} s` : "";
      const brief = groups.size > 1 || group[0].kind === "thread";
      const who = brief ? model.letterOf(group[0]) : model.nameOf(group[0]);
      return group.length === 1 ? `${who} ${doing(group[0])}${time}` : `${group.length} ${states[now].many}${time}`;
    }).join(" · ");
  }

  updateStrips(model, elsewhere) {
    const door = model.atTheDoor;
    const unread = (model.figures.unread ?? []).reduce((sum, [, bytes]) => sum + bytes, 0);
    this.strip("door", door.length === 0 ? [] : [
      element("b", `At the door: ${door.length}`),
      ...door.slice(0, 12).map((client) => this.guest(client)),
      element("span", `connected by the kernel, not accepted${unread > 0 ? `; ${plural(unread, "byte")} not read` : ""}`),
    ]);
    const workers = model.ofKind("worker");
    const line = (worker) => {
      const whom = model.places.get(worker.for);
      return [this.dot(model, worker), element("span", `${doing(worker)}${whom ? ` for ${model.nameOf(whom)}` : ""}`)];
    };
    this.strip("workers", workers.length === 0 ? [] : [element("b", "Workers"), ...workers.slice(0, 8).flatMap(line)]);
    const where = (place) => {
      const whom = model.places.get(place.for);
      const file = model.isMain(place.file) ? "" : model.files.get(place.file);
      return whom && place.kind === "thread" ? `runs ${model.nameOf(whom)}` : `${doing(place)}${file ? ` at ${file}:${place.line}` : ""}`;
    };
    this.strip("elsewhere", elsewhere.slice(0, 5).flatMap((place) => [this.dot(model, place), element("span", where(place))]));
  }

  guest(client) {
    const dot = element("i", client.role === "hand" ? "you" : client.role === "guest" ? "?" : client.number, { className: "dot hollow" });
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

  // So that whoever was chosen, or has just made a step, can be seen.
  show(line) {
    const { row } = this.rows[line] ?? {};
    if (row && !row.hidden) {
      row.scrollIntoView({ block: "nearest" });
    }
  }
}
