// room.js -- the room on the board: how to come in, who is there, and the votes. All of it comes apart from the frames,
// so a recording has no names in it.

const names_in_the_strip = 6;

// How long a phone waits, of two servers for the slower one. null: for none.
function longest(waits) {
  const some = waits.filter((wait) => wait !== null);
  return some.length > 0 ? Math.max(...some) : null;
}

class RoomView {
  constructor(model, command, complain) {
    this.model = model;
    this.command = command;
    this.complain = complain;
    this.phones = [];
    this.question = null;
    this.hands = [];  // those counted here, in this order
    this.big = false;
    this.address = "";
    this.invited = false;  // whether the invitation is shown
    this.which = 0;  // which server's clients are those of this page
    this.came = 0;  // when the last news came
  }

  apply(news) {
    const first = this.address === "" && news.address;
    Object.assign(this, { big: news.big, address: news.address ?? "", qr: news.qr ?? [], question: news.question ?? null });
    this.came = performance.now();
    this.phones = news.phones.map(([clients, name, away, waits]) => ({ client: clients[this.which], name, away, waits: longest(waits) }));
    // Names of clients that have left stay, because their lanes do for a while.
    this.phones.forEach(({ client, name }) => this.model.names.set(client, name));
    if (first && this.phones.length === 0) {
      this.invited = true;
    }
  }

  get there() {
    return this.phones.filter(({ away }) => !away);
  }

  // Those that wait for the server, the longest first.
  get waiting() {
    const passed = performance.now() - this.came;
    return this.phones.filter(({ waits }) => waits !== null)
      .map(({ name, waits }) => ({ name, waits: waits + passed })).sort((a, b) => b.waits - a.waits);
  }

  update() {
    this.showStrip();
    this.showInvitation();
    this.showQuestion();
  }

  showStrip() {
    const strip = find("#room");
    strip.hidden = this.address === "";
    const waiting = this.waiting.filter(({ waits }) => waits > 200);
    const some = waiting.slice(0, names_in_the_strip).map(({ name, waits }) => `${name} ${(waits / 1000).toFixed(1)} s`);
    const rest = waiting.length > some.length ? ` and ${waiting.length - some.length} others` : "";
    const who = waiting.length === 0 ? "none waits" : `${plural(waiting.length, "waits", "wait")}: ${some.join(", ")}${rest}`;
    const text = this.there.length === 0 ? `No phone is here. They come in at ${this.address}`
      : [plural(this.there.length, "phone"), who, this.big ? "big numbers allowed" : ""].filter(Boolean).join(" · ");
    setText("#room", text);
    strip.classList.toggle("waits", waiting.length > 0 && waiting[0].waits > 1000);
    setText("#big .label", this.big ? "forbid big" : "allow big");
    for (const id of ["#big", "#invite"]) {
      find(id).hidden = this.address === "";
    }
  }

  showInvitation() {
    const box = find("#invitation");
    box.hidden = !this.invited || this.address === "" || this.question !== null;
    if (box.hidden) {
      return;
    }
    const code = find("#code");
    if (code.dataset.address !== this.address) {
      code.dataset.address = this.address;
      code.replaceChildren(...this.code());
    }
    setText("#invitation .address", this.address.replace(/\/$/, ""));
    setText("#invitation .count", this.there.length === 0 ? "Open this address on your phone, in the same network." : plural(this.there.length, "phone"));
    const list = find("#invitation ol");
    const shown = this.phones.map(({ name, away }) => `${name}${away ? " (away)" : ""}`);
    if (list.dataset.shown !== shown.join("\n")) {
      list.dataset.shown = shown.join("\n");
      list.replaceChildren(...shown.map((name) => element("li", name)));
    }
  }

  // Dark on white in any colour scheme, with a margin of four: so that a camera finds it.
  code() {
    if (this.qr.length === 0) {
      return [];
    }
    const size = this.qr.length + 8;
    const make = (name, attributes) => {
      const part = document.createElementNS("http://www.w3.org/2000/svg", name);
      Object.entries(attributes).forEach(([key, value]) => part.setAttribute(key, value));
      return part;
    };
    const squares = this.qr.flatMap((row, y) => [...row].map((dark, x) => (dark === "1" ? `M${x + 4} ${y + 4}h1v1h-1z` : "")));
    const svg = make("svg", { viewBox: `0 0 ${size} ${size}`, role: "img", "aria-label": "The address as a QR code" });
    svg.append(make("rect", { width: size, height: size, fill: "#ffffff" }), make("path", { d: squares.join(""), fill: "#000000" }));
    return [svg];
  }

  showQuestion() {
    const box = find("#question");
    const { question } = this;
    box.hidden = !question;
    const shown = JSON.stringify(question);
    if (!question || box.dataset.shown === shown) {
      return;
    }
    box.dataset.shown = shown;
    const open = question.step === "open";
    setText("#question .which", `${question.stage}, question ${question.number} of ${question.of}${question.round > 1 ? `, asked again (${question.round})` : ""}`);
    setText("#question h2", question.text);
    const { counts, before } = question;
    const all = counts?.reduce((sum, votes) => sum + votes, 0) ?? 0;
    const allBefore = before?.reduce((sum, votes) => sum + votes, 0) ?? 0;
    find("#question ol").replaceChildren(...question.answers.map((text, index) => {
      const item = element("li", "", { className: question.right === index ? "right" : "" });
      item.append(element("kbd", index + 1), element("span", text + (question.right === index ? " ✓" : ""), { className: "answer" }));
      if (open) {
        item.append(element("span", question.hands[index] > 0 ? plural(question.hands[index], "hand") : "", { className: "votes" }));
      } else {
        item.append(element("span", counts[index], { className: "votes" }));
        const bars = element("span", "", { className: "bars" });
        if (before) {
          bars.append(this.bar(before[index], allBefore, "before"));
        }
        bars.append(this.bar(counts[index], all, "now"));
        item.append(bars);
      }
      return item;
    }));
    setText("#question .next", {
      open: `${plural(question.votes, "vote")}${this.there.length > 0 ? ` from ${plural(this.there.length, "phone")}` : ""}. v shows them; 1 to ${question.answers.length} count a raised hand, 0 takes the last one back.`,
      shown: "Discuss. a asks again; v says which one is right; or x, and see it run.",
      told: "v or x closes it; q asks the next one.",
    }[question.step]);
  }

  bar(votes, all, name) {
    const bar = element("i", "", { className: `bar ${name}`, title: `${votes} of ${all}` });
    bar.style.width = `${all > 0 ? (100 * votes) / all : 0}%`;
    return bar;
  }

  // What the keys do. command() sends it.
  get actions() {
    const hand = (answer) => {
      this.hands.push(answer);
      this.command({ do: "hand", answer });
    };
    return {
      "invite": () => {
        this.invited = !this.invited;
      },
      "question": () => {
        this.hands = [];
        this.command({ do: "question", stage: this.model.stage?.name ?? "" });
      },
      "vote": () => this.command({ do: { open: "show", shown: "tell" }[this.question?.step] ?? "close" }),
      "again": () => {
        this.hands = [];
        this.command({ do: "again" });
      },
      "close": () => this.command({ do: "close" }),
      "big": () => this.command({ do: "big", allowed: !this.big }),
      "phones-leave": () => this.command({ do: "phone-leaves", all: true }),
      "hand-back": () => {
        if (this.hands.length > 0) {
          this.command({ do: "hand", answer: this.hands.pop(), back: true });
        }
      },
      ...Object.fromEntries([1, 2, 3, 4, 5, 6].map((number) => [`hand-${number}`, () => hand(number - 1)])),
    };
  }
}

const room_keys = {
  "j": ["invite"], "J": ["phones-leave"], "q": ["question"], "v": ["vote"], "a": ["again"], "x": ["close"], "b": ["big"], "0": ["hand-back"],
  ...Object.fromEntries([1, 2, 3, 4, 5, 6].map((number) => [String(number), [`hand-${number}`]])),
};
