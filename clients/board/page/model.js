// model.js -- what the frames say: what is there, where it is, and since when. Knows nothing of the page.

const kept = 20e6;  // microseconds of the past that are kept of each
const most_segments = 12000;

class Model {
  constructor(stages) {
    this.stages = new Map(stages.map((stage) => [stage.name, stage]));
    this.reset(null, 0);
    this.clients = new Map();
    this.ports = new Map();  // by the port of a client's end: the client
    this.names = new Map();  // of the clients that are phones
    this.live = true;  // or out of a recording
  }

  reset(name, run) {
    this.stage = this.stages.get(name) ?? null;
    this.run = run;
    this.places = new Map();
    this.lanes = new Map();  // also those that are gone, for a while
    this.files = new Map();
    this.figures = {};
    this.history = [];  // figures of the last minute
    this.heat = new Map();  // lines: how often each was passed in this frame
    this.visited = new Map();  // lines, ever: how often, and by which
    this.stayed = new Map();  // lines at which one has waited long enough to be seen: which kind
    this.threads = new Map();  // by the kernel's number: its lane
    this.numbers = { thread: 0, worker: 0 };
    this.news = [];
    this.said = [];
    this.options = "";
    this.scheduled = null;  // of a server that is run step by step: what there is to choose from
    this.ended = "";  // how the stage has ended, if it has
    this.lockSeen = false;  // one has waited for the interpreter lock
    this.holders = new Map();  // of those that wait for a Mutex: which one has it
    this.hungry = new Map();  // of conversations with bytes that have not been received: since when
  }

  apply(frame) {
    this.now = frame.t;
    this.heat = new Map();
    if (frame.key && (frame.run !== this.run || (frame.stage ?? null) !== (this.stage?.name ?? null))) {
      this.reset(frame.stage, frame.run);
    }
    this.pace = frame.pace;
    this.slow = frame.slow;
    this.ended = frame.ended ?? "";
    this.options = frame.options ?? this.options;
    this.scheduled = frame.scheduled ?? this.scheduled;
    for (const id of frame.killed ?? []) {
      this.tellOfKilled(id);  // while we still know whose request it had
    }
    for (const [number, name] of frame.files ?? []) {
      this.files.set(number, name);
    }
    this.applyClients(frame);
    if (frame.key) {
      const there = new Set((frame.p ?? []).map(([id]) => id));
      for (const id of this.places.keys()) {
        if (!there.has(id)) {
          this.remove(id, frame.t);
        }
      }
    }
    // The ring tells the story, and the table says how it ends. So new places are entered first, then come the events,
    // then where all are now.
    const places = (frame.p ?? []).map((fields) => this.enter(fields));
    for (const event of frame.e ?? []) {
      this.applyEvent(event);
    }
    for (const [place, where] of places) {
      if (this.places.has(place.id)) {
        this.move(place, where);
      }
    }
    for (const id of frame.x ?? []) {
      this.remove(id, frame.t);
    }
    if (frame.m) {
      this.figures = frame.m;
      this.applyUnread(frame.t);
      this.history.push({ t: frame.t, rate: frame.m.rate, worst: Math.max(frame.m.worst, frame.m.longest) });
      this.history = this.history.filter(({ t }) => t > frame.t - 60e6);
    }
    for (const text of frame.news ?? []) {
      this.news.push({ t: frame.t, text });
    }
    for (const [client, reply, text, ms] of frame.said ?? []) {
      this.said.push({ t: frame.t, client, reply, text, ms });
    }
    for (const place of this.places.values()) {
      if (frame.t - place.since > 300e3 && this.isMain(place.file) && !this.isCarrier(place)) {
        this.stayed.set(place.line, place.kind);
      }
    }
    for (const [id, lane] of this.lanes) {
      if (lane.ended < frame.t - kept) {
        this.lanes.delete(id);
      }
    }
  }

  tellOfKilled(id) {
    const worker = this.places.get(id);
    const whom = worker && worker.state === state.computes ? this.places.get(worker.for) : undefined;
    const loss = whom ? `: the request of ${this.nameOf(whom)}, fib(${worker.n}), fails` : worker ? "; it had no request" : "";
    this.news.push({ t: this.now, text: `${worker ? this.nameOf(worker) : "A worker"} was killed${loss}. Another one takes its place.` });
  }

  // Bytes that two looks have seen. A server that reads would have received them between the two.
  applyUnread(t) {
    const unread = new Set((this.figures.unread ?? []).map(([port]) => port));
    const hungry = new Map();
    for (const place of this.ofKind("conversation")) {
      const there = unread.has(place.peer);
      const since = this.hungry.get(place.id);
      if (there) {
        hungry.set(place.id, since ?? t);
      }
      const before = place.starved;
      place.starved = there && since !== undefined;
      const marks = this.lanes.get(place.id).starved;
      if (place.starved && !before) {
        marks.push({ since, until: Infinity });
      } else if (before && !place.starved) {
        marks.at(-1).until = t;
      }
    }
    this.hungry = hungry;
  }

  applyClients(frame) {
    if (frame.key) {  // it names all
      const there = new Set((frame.c ?? []).map(([number]) => number));
      for (const number of this.clients.keys()) {
        if (!there.has(number)) {
          this.clients.delete(number);
        }
      }
    }
    for (const [number, role, port] of frame.c ?? []) {
      const client = this.clients.get(number) ?? { number, role };
      if (client.port) {
        this.ports.delete(client.port);
      }
      client.port = port;
      this.clients.set(number, client);
      if (port !== 0) {
        this.ports.set(port, client);
      }
    }
    for (const number of frame.cx ?? []) {
      this.clients.delete(number);  // its port stays known: the server may not have noticed yet
    }
  }

  enter([id, kind, now, file, line, since, n, other, requests, peer, pid, tid]) {
    let place = this.places.get(id);
    if (!place) {
      if (now === state.locked && other !== 0) {
        this.holders.set(id, other);  // it has waited since before this page looked
      }
      place = { id, kind: kinds[kind], since: -Infinity };
      if (place.kind in this.numbers) {
        place.number = ++this.numbers[place.kind];
      }
      this.places.set(id, place);
      this.lanes.set(id, { id, kind: place.kind, segments: [], starved: [], ended: Infinity, place });
    }
    Object.assign(place, { requests, peer, pid, tid, for: other, client: this.ports.get(peer) ?? place.client });
    if (place.kind === "thread") {
      this.threads.set(tid, this.lanes.get(id));
    }
    return [place, { state: now, file, line, since, n, for: other }];
  }

  applyEvent([id, now, file, line, at, n, other, tid]) {
    if (this.isMain(file) && line > 0) {
      this.heat.set(line, (this.heat.get(line) ?? 0) + 1);
    }
    const place = this.places.get(id);
    if (!place) {
      return;
    }
    if (now === state.gone) {
      this.remove(id, at);
    } else {
      this.pass(place, now, other);
      if (now === state.runs && n > 0 && this.isMain(file)) {
        place.submitted = line;
      }
      this.lockSeen ||= now === state.locked && !other;  // of a Mutex the holder is known
      this.move(place, { state: now, file, line, since: at, n, for: other });
      this.carry(place, tid, at);
    }
  }

  // A waiter hears which one has the lock when it begins to wait. If another waiter gets the lock first, that one has it.
  pass(place, now, other) {
    const before = this.holders.get(place.id);
    if (now === state.locked && other !== 0) {
      this.holders.set(place.id, other);
    } else if (before !== undefined && now !== state.locked) {
      this.holders.delete(place.id);
      for (const [waiter, holder] of this.holders) {
        if (holder === before) {
          this.holders.set(waiter, place.id);
        }
      }
    }
  }

  // A thread that runs a conversation does what that does, until one of the two says something else.
  carry(place, tid, at) {
    const lane = this.threads.get(tid);
    if (place.kind === "conversation" && lane && place.state !== state.ready) {
      const full = ["full", "held"].includes(states[place.state].shape);
      this.append(lane.segments, { state: full ? place.state : state.selects, since: at, n: place.n, for: full ? place.id : 0 });
    }
  }

  append(segments, segment) {
    const last = segments.at(-1);
    if (last && last.state === segment.state && last.for === segment.for && last.line === segment.line) {
      return;
    }
    segments.push(segment);
    if (segments.length > 1.25 * most_segments || segments[0].since < this.now - 1.25 * kept) {
      const old = segments.findIndex(({ since }) => since > this.now - kept);
      segments.splice(0, Math.max(old - 1, segments.length - most_segments, 0));
    }
  }

  // In slow motion, a place that takes a step is held for as long as the step is to last. It counts as running.
  move(place, where) {
    if (where.since < place.since) {
      return;
    }
    if (where.state === state.held && this.pace === "slow") {
      where.state = state.runs;
    }
    const { segments } = this.lanes.get(place.id);
    if (where.since > place.since || where.state !== place.state) {
      this.append(segments, { ...where });
    } else if (segments.length > 0) {
      Object.assign(segments.at(-1), { line: where.line, file: where.file });
    }
    Object.assign(place, where);
    if (this.isMain(where.file) && where.line > 0) {
      const visits = this.visited.get(where.line) ?? { conversation: 0, thread: 0, worker: 0 };
      ++visits[place.kind];
      this.visited.set(where.line, visits);
    }
  }

  remove(id, at) {
    const lane = this.lanes.get(id);
    if (lane) {
      lane.ended = Math.min(lane.ended, at);
      if (lane.starved.at(-1)?.until > at) {
        lane.starved.at(-1).until = at;
      }
    }
    this.places.delete(id);
    this.holders.delete(id);
  }

  // The conversation or thread that has the lock which this one waits for, if that is known.
  holderFor(place) {
    const holder = place.state === state.locked ? this.places.get(this.holders.get(place.id)) : undefined;
    return holder === undefined || holder.state === state.locked ? undefined : holder;
  }

  hasLock(place) {
    return [...this.holders].some(([waiter, holder]) => holder === place.id && this.places.get(waiter)?.state === state.locked) &&
      place.state !== state.locked;
  }

  // What it does, in words.
  doing(place) {
    const holder = this.holderFor(place);
    return doing(place) + (holder ? `, which ${this.nameOf(holder)} has` : this.hasLock(place) ? ", and has the lock" : "");
  }

  isMain(file) {
    return this.stage !== null && this.files.get(file) === this.stage.file;
  }

  nameOf(place) {
    if (place.client) {
      const { role, number } = place.client;
      return role === "hand" ? "you" : this.names.get(number) ?? `${role} ${number}`;
    }
    if (place.kind === "conversation") {
      return `guest ${place.id}`;
    }
    return place.kind === "thread" && place.number === 1 ? "main thread" : `${place.kind} ${place.number}`;
  }

  // For a dot, which has little room.
  letterOf(place) {
    if (place.client) {
      const { role, number } = place.client;
      const name = this.names.get(number);
      return role === "hand" ? "you" : name ? name.split(" ").slice(0, 3).map((word) => [...word][0]).join("") : String(number);
    }
    return { thread: `T${place.number}`, worker: `W${place.number}` }[place.kind] ?? "?";
  }

  ofKind(kind) {
    return [...this.places.values()].filter((place) => place.kind === kind);
  }

  inState(...names) {
    const wanted = new Set(names.map((name) => state[name]));
    return [...this.places.values()].filter((place) => wanted.has(place.state));
  }

  // A thread with nothing to show but the conversation that it runs.
  isCarrier(place) {
    return place.kind === "thread" && (this.places.has(place.for) || (place.number > 1 && /^a (thread|process) per client/.test(this.stage?.model ?? "")));
  }

  // A thread that runs a conversation does what that does.
  shownAs(place) {
    return (place.kind === "thread" && this.places.get(place.for)) || place;
  }

  get behindBroker() {
    return /--pool[ =]broker/.test(this.options);
  }

  // The workers that are processes: a thread can't be killed alone, nor can a program behind the broker (0).
  get workerProcesses() {
    const main = this.ofKind("thread").find(({ number }) => number === 1);
    return this.ofKind("worker").filter(({ pid }) => pid !== main?.pid && pid !== 0);
  }

  get oneThread() {
    return /^one (thread|client)/.test(this.stage?.model ?? "");
  }

  // Connections that the kernel has made and the server has not accepted.
  get atTheDoor() {
    return (this.figures.door ?? []).map((port) => this.ports.get(port) ?? { role: "guest", number: port });
  }

  unreadOf(place) {
    return (this.figures.unread ?? []).find(([port]) => port === place.peer)?.[1] ?? 0;
  }

  // What a new viewer needs to know, in one sentence or two.
  explanation() {
    if (this.ended !== "") {
      return `${this.stage?.name ?? "The stage"} has ended: ${this.ended}.${this.live ? " r starts it again." : ""}`;
    }
    const name = (place) => this.nameOf(place);
    const held = this.inState("held");
    const door = this.atTheDoor.length;
    const computing = this.inState("computes").filter((place) => place.kind !== "worker");
    const computed = computing.find((place) => this.now - place.since > 150e3);
    const own = held.filter((place) => place.kind !== "worker");
    if (this.pace === "paused" && this.oneThread && own.length < 2) {  // green threads (06c) stop each by itself
      const who = own.length === 1 ? `: now ${name(own[0])}` : computing.length === 1 ? `: ${name(computing[0])}, still on its way` : "";
      return `Paused. One thread: the one that runs stops all others. Only one can move${who}` +
        (held.length > own.length ? ", and a worker." : ".") + (door > 0 ? ` At the door: ${door}.` : "");
    }
    if (this.pace === "paused") {
      return held.length === 0
        ? "Paused. None has stopped yet, because all of them wait. Type a request: t."
        : `Paused. ${plural(held.length, "has", "have")} stopped${held.length > 1 ? ", each by itself" : ""}: ` +
          `choose with ↓, step with Enter. You are the scheduler.${this.lockSeen ? this.holder(computing) : this.mutexHolder()}`;
    }
    if (computed && this.oneThread) {
      const unread = (this.figures.unread ?? []).length;
      return `${name(computed)} computes fib(${computed.n}), in the only thread there is. No other moves` +
        (unread > 0 ? `; ${plural(unread, "has", "have")} sent a request that is not read.` : ".");
    }
    if (door > 0 && this.oneThread) {
      return `${plural(door, "is", "are")} at the door: connected by the kernel, and not accepted. They may send, but the server does not read.`;
    }
    const locked = this.inState("locked");
    if (locked.length > 0) {
      const known = locked.map((place) => this.holderFor(place)).find(Boolean) ??
        (this.lockSeen && computing.length === 1 ? computing[0] : undefined);
      return `One lock: ${plural(locked.length, "waits", "wait")} for it, whatever the processors do.${known ? ` ${name(known)} has it.` : ""}`;
    }
    const awaiting = this.inState("awaits");
    if (awaiting.length > 0 && this.behindBroker) {
      const begun = this.ofKind("worker").filter((worker) => worker.state === state.computes).length;
      return `${plural(awaiting.length, "waits", "wait")} for a result from behind the broker. ` +
        (begun === 0 ? "No worker there has begun one." : `${plural(begun, "worker has", "workers have")} begun one.`);
    }
    const free = this.ofKind("worker").filter((worker) => worker.state !== state.computes).length;
    if (awaiting.length > 0 && this.ofKind("worker").length > 0) {
      const stuck = this.ofKind("thread").some((thread) => this.places.get(thread.for)?.state === state.awaits);
      const thread = !this.oneThread ? "" : stuck ? " The one thread waits with it, so no other client moves."
        : " The one thread is free: it waits for sockets and results.";
      return `${free === 0 ? "All workers compute. " : ""}${plural(awaiting.length, "waits", "wait")} for a result.${thread}`;
    }
    if (computing.length > 1) {
      return `${computing.length} compute at the same time, each in a thread of its own.`;
    }
    if (this.clients.size > 0) {
      return "";
    }
    return this.live ? "There are no clients. Press c for one. All keys: ?" : "There are no clients. Space plays the recording.";
  }

  // Of a Mutex. Its holder may be stopped, and then a step of the holder is what others need.
  mutexHolder() {
    const waiter = this.inState("locked").find((place) => this.holderFor(place));
    return waiter ? ` ${this.nameOf(waiter)} ${this.doing(waiter)}.` : "";
  }

  // Of the interpreter lock, while the server is paused. Its holder is not stopped, because then all would be.
  holder(computing) {
    return computing.length > 0 ? ` ${this.nameOf(computing[0])} has the lock, and keeps it until it is done.`
      : " No client has the lock: the next one that is stepped takes it.";
  }
}
