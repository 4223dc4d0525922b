// beside.js -- one player for two recordings. Each is the board's page, in a frame. The clock of both begins when they do.

window.recordings = JSON.parse(find("#recordings").textContent);  // the frames take theirs from here
const pane = JSON.parse(find("#pane").textContent);
const panes = [...document.querySelectorAll("iframe")];
document.title = window.recordings.map(({ stages }) => stages[0]?.name).join(" · ");

const player_keys = { " ": "play", "ArrowLeft": "back", "ArrowRight": "forth" };
let player = null;

// Also called by a frame in which something was clicked, because keys go there from then on.
function pressed(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.key === "?" || !player) {
    return;
  }
  const action = player_keys[event.key];
  if (["ArrowUp", "ArrowDown"].includes(event.key)) {
    event.preventDefault();
  }
  if (action) {
    event.preventDefault();
    player.actions[action]();
  } else {
    panes.forEach((frame) => frame.contentWindow.press(event.key));
  }
}
document.addEventListener("keydown", pressed);

function begin() {
  const films = panes.map((frame) => frame.contentWindow.film_shown);
  const times = [...new Set(films.flatMap(({ times }) => times))].sort((a, b) => a - b);
  player = new Player(times, (time) => films.forEach((film) => film.seek(time)));
  for (const button of document.querySelectorAll("[data-act]")) {
    const key = { " ": "space", ArrowLeft: "←", ArrowRight: "→" }[button.dataset.key];
    button.replaceChildren(element("span", button.textContent, { className: "label" }), element("kbd", key));
    button.addEventListener("click", () => {
      player.actions[button.dataset.act]();
      button.blur();
    });
  }
  const opening = Math.max(...films.map(({ opening }) => opening));
  player.open(times.indexOf(opening));
}

Promise.all(panes.map((frame, index) => new Promise((resolve) => {
  frame.addEventListener("load", resolve, { once: true });
  frame.srcdoc = pane.replace('data-pane=""', `data-pane="${index}"`);
}))).then(begin);
