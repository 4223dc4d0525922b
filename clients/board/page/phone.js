// phone.js -- one client, with a person behind it. All text is put into the page as text, not as HTML.

const find = (selector) => document.querySelector(selector);
const store = "room";  // what this tab remembers, so that a reload is no new client
let me = null;  // { token, name }
let state = null;
let came = 0;  // when that was
let asking = false;

try {
  me = JSON.parse(sessionStorage.getItem(store));
} catch {
  me = null;
}

function remember(who) {
  me = who;
  try {
    if (who) {
      sessionStorage.setItem(store, JSON.stringify(who));
    } else {
      sessionStorage.removeItem(store);
    }
  } catch {
    // Without a memory it works until the page is loaded again.
  }
}

function element(name, text = "", className = "") {
  const result = document.createElement(name);
  result.textContent = text;
  result.className = className;
  return result;
}

let silence = null;
function say(text) {
  find("#says").textContent = text;
  find("#says").hidden = text === "";
  clearTimeout(silence);
  silence = setTimeout(() => say(""), 4000);
}

function duration(ms) {
  return ms < 10 ? `${ms.toFixed(1)} ms` : ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

// ---- To the board

async function send(path, wish) {
  const headers = { "Content-Type": "application/json" };
  if (me) {
    headers.Authorization = `Phone ${me.token}`;
  }
  const response = await fetch(path, { method: "POST", headers, body: JSON.stringify(wish) });
  if (!response.ok) {
    throw Object.assign(new Error((await response.text()).trim()), { status: response.status });
  }
  return response.json();
}

let following = new AbortController();  // of the request whose reply is held back
function forgotten() {
  following.abort();
  find("#name").value = me?.name ?? find("#name").value;
  remember(null);
  state = null;
  show();
}

async function post(path, wish) {
  try {
    await send(path, wish);
  } catch (error) {
    if (error.status === 410) {
      forgotten();
    }
    say(error.status ? error.message : "The board does not answer.");
  }
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// The reply comes as soon as there is something new.
async function follow() {
  const mine = me;
  let failures = 0;
  for (let after = 0; me && me === mine;) {
    try {
      const request = new AbortController();
      following = request;
      const limit = setTimeout(() => request.abort(), 20000);
      const response = await fetch(`state?after=${after}`, { headers: { Authorization: `Phone ${mine.token}` }, signal: request.signal });
      if (me !== mine) {
        return;
      }
      if (response.status === 410) {
        forgotten();
        say("You are no longer in the room. Join again.");
        return;
      }
      if (!response.ok) {
        throw new Error(response.status);
      }
      const news = await response.json();
      clearTimeout(limit);
      if (failures > 0) {
        say("");
      }
      failures = 0;
      if (news.version) {
        after = news.version;
        state = news;
        came = performance.now();
        show();
      }
    } catch {
      if (me !== mine) {
        return;
      }
      failures += 1;
      say("The board does not answer.");
      // Not all phones at the same moment.
      await pause(Math.min(8000, 500 * 2 ** failures) * (0.5 + Math.random() / 2));
    }
  }
}

// ---- Shown

function show() {
  find("#join").hidden = me !== null;
  find("#room").hidden = me === null || state === null;
  if (!me || !state) {
    return;
  }
  find("#me").textContent = state.name;
  showServers();
  showQuestion(state.question);
  const waits = asking || state.servers.every((server) => server.waits !== undefined);
  find("#small").textContent = `ask for fib(${state.small})`;
  find("#small").disabled = waits;
  find("#large").textContent = `ask for fib(${state.large})`;
  find("#large").hidden = !state.big;
  find("#large").disabled = waits;
  find("#ask").hidden = state.servers.length === 0;  // they only vote
}

function showServers() {
  find("#servers").replaceChildren(...state.servers.map((server) => {
    const waits = server.waits !== undefined;
    const box = element("div", "", waits ? "server waits" : "server");
    const clock = element("div", "–", "clock");
    const line = element("div", "you are connected; ask", "quiet");
    if (server.client === 0) {
      line.textContent = "you are not connected";
    } else if (waits) {
      clock.dataset.since = came - server.waits;
      line.textContent = `you wait for fib(${server.n})`;
    } else if (server.reply !== undefined) {
      clock.textContent = duration(server.ms);
      line.textContent = /^\d+$/.test(server.reply) ? `fib(${server.n}) = ${server.reply}` : server.reply;
    }
    box.append(element("div", `client ${server.client} of ${server.name}`, "quiet"), clock, line);
    return box;
  }));
  tick();
}

function tick() {
  for (const clock of document.querySelectorAll(".clock[data-since]")) {
    clock.textContent = `${((performance.now() - clock.dataset.since) / 1000).toFixed(1)} s`;
  }
}

function showQuestion(question) {
  find("#question").hidden = !question && state.servers.length > 0;
  if (!question) {
    find("#question h2").textContent = "";
    find("#answers").replaceChildren();
    find("#question .quiet").textContent = "The next question comes here.";
    return;
  }
  const open = question.step === "open";
  find("#question h2").textContent = question.text;
  const most = Math.max(1, ...(question.counts ?? []));
  find("#answers").replaceChildren(...question.answers.map((text, index) => {
    const button = element("button", text);
    button.type = "button";
    button.disabled = !open;
    button.setAttribute("aria-pressed", String(question.mine === index));
    button.classList.toggle("mine", question.mine === index);
    button.classList.toggle("right", question.right === index);
    if (question.right === index) {
      button.textContent += " ✓";
    }
    if (!open) {
      const votes = question.counts[index];
      button.textContent += ` – ${votes}`;
      const bar = element("i", "", "bar");
      bar.style.width = `${(100 * votes) / most}%`;
      button.append(bar);
    }
    button.addEventListener("click", () => {
      question.mine = index;
      showQuestion(question);
      post("vote", { question: question.serial, answer: index });
    });
    return button;
  }));
  find("#question .quiet").textContent = !open ? "" : question.mine === undefined ? "Choose one. The votes are shown later."
    : "You can still change it.";
}

// ---- What one can do

find("#join").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = find("#join button");
  button.disabled = true;
  try {
    remember(await send("join", { name: find("#name").value }));
    say("");
    follow();
  } catch (error) {
    say(error.status ? error.message : "The board does not answer.");
  }
  button.disabled = false;
});

async function ask(big) {
  asking = true;
  show();
  await post("ask", { big });
  asking = false;
  show();
}
find("#small").addEventListener("click", () => ask(false));
find("#large").addEventListener("click", () => ask(true));
find("#leave").addEventListener("click", async () => {
  following.abort();  // first: otherwise its reply is an error, because the phone has left
  const leaving = send("leave", {}).catch(() => {});
  forgotten();
  await leaving;
});

setInterval(tick, 100);
show();
if (me) {
  follow();
}
