// words.js -- what states are called, and how they look. The order is that of observe::State and observe::Kind.

const kinds = ["nobody", "conversation", "thread", "worker"];

// shape: full runs, hollow waits for the network, ringed waits for a worker or the lock, ready waits for its turn. one,
// many: what it does, in words.
const states = [
  { name: "gone", shape: "hollow", one: "is gone", many: "are gone" },
  { name: "runs", shape: "full", one: "runs", many: "run" },
  { name: "computes", shape: "full", one: "computes", many: "compute" },
  { name: "ready", shape: "ready", one: "could go on", many: "could go on" },
  { name: "accepts", shape: "hollow", one: "waits for a newcomer", many: "wait for newcomers" },
  { name: "receives", shape: "hollow", one: "waits for bytes", many: "wait for bytes" },
  { name: "sends", shape: "hollow", one: "waits for room to send", many: "wait for room to send" },
  { name: "awaits", shape: "ringed", one: "waits for a worker", many: "wait for a worker" },
  { name: "locked", shape: "ringed", one: "waits for the lock", many: "wait for the lock" },
  { name: "selects", shape: "hollow", one: "waits for any socket", many: "wait for any socket" },
  { name: "idles", shape: "hollow", one: "has no work", many: "have no work" },
  { name: "sleeps", shape: "hollow", one: "sleeps", many: "sleep" },
  { name: "held", shape: "held", one: "is stopped", many: "are stopped" },
];
const state = Object.fromEntries(states.map(({ name }, number) => [name, number]));

// The look of a conversation whose bytes have come and are not received.
const starved = { name: "receives", shape: "ready", one: "has sent, not yet read", many: "have sent, not yet read" };

// The look and the words of a place.
function looks(place) {
  return place.starved && place.state === state.receives ? starved : states[place.state];
}

function doing(place) {
  const words = looks(place).one;
  if (place.state === state.computes) {
    return `computes fib(${place.n})`;
  }
  return place.state === state.awaits && place.n > 0 ? `waits for fib(${place.n})` : words;
}

// Microseconds, for people.
function duration(time) {
  if (time < 1000) {
    return `${Math.max(0, Math.round(time))} µs`;
  }
  return time < 1e6 ? `${(time / 1000).toFixed(time < 1e4 ? 1 : 0)} ms` : `${(time / 1e6).toFixed(1)} s`;
}

function milliseconds(time) {
  return duration(time * 1000);
}

// Things with the same key, together.
function grouped(things, keyOf) {
  const groups = new Map();
  for (const thing of things) {
    const key = keyOf(thing);
    const group = groups.get(key);
    if (group) {
      group.push(thing);
    } else {
      groups.set(key, [thing]);
    }
  }
  return groups;
}

function plural(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`;
}

// Puts nothing but text into the document.
function element(name, text = "", properties = {}) {
  const result = document.createElement(name);
  result.textContent = text;
  return Object.assign(result, properties);
}

const find = (selector) => document.querySelector(selector);

function css(variable) {
  return getComputedStyle(document.documentElement).getPropertyValue(variable).trim();
}

// A client keeps its colour; hogs share theirs.
const colours = ["--blue", "--green", "--sky", "--amber", "--pink"];

function colourOf(client) {
  if (!client) {
    return "--ink";
  }
  return { hog: "--red", idle: "--quiet", hand: "--violet" }[client.role] ?? colours[client.number % colours.length];
}
