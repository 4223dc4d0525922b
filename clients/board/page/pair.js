// pair.js -- one row of buttons and one room for two servers. A key goes to both pages, and each of them tells its own
// server.

const panes = [...document.querySelectorAll("iframe")];
const stub = { names: new Map(), get stage() { return panes[0].contentWindow.stageShown?.() ?? null; } };
let silent = null;

function complain(text) {
  find("#says").textContent = text;
  find("#says").classList.add("alarm");
  find("#says").hidden = false;
  clearTimeout(silent);
  silent = setTimeout(() => { find("#says").hidden = true; }, 5000);
}

function setText(selector, text) {
  const box = find(selector);
  if (box.textContent !== text) {
    box.textContent = text;
  }
}

const room = new RoomView(stub, post, complain);

// The left page passes on what it hears of the room.
function roomNews(news) {
  room.apply(news);
}

if (panes[0].contentWindow.heard) {
  roomNews(panes[0].contentWindow.heard);
}

function press(key) {
  const action = room_keys[key]?.[0];
  if (action) {
    room.actions[action]();
  } else {
    panes.forEach((pane) => pane.contentWindow.press?.(key));
  }
}

for (const button of document.querySelectorAll("[data-act]")) {
  const key = { " ": "space" }[button.dataset.key] ?? button.dataset.key;
  button.replaceChildren(element("span", button.textContent, { className: "label" }), element("kbd", key));
  button.addEventListener("click", () => {
    press(button.dataset.act);
    button.blur();
  });
}
// Also called by a page in which something was clicked, because keys go there from then on.
function pressed(event) {
  if (!event.ctrlKey && !event.altKey && !event.metaKey && event.key !== "?") {
    if ([" ", "ArrowUp", "ArrowDown", "Enter"].includes(event.key)) {
      event.preventDefault();
    }
    press(event.key);
  }
}
document.addEventListener("keydown", pressed);
setInterval(() => room.update(), 100);
