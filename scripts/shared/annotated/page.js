// page.js -- shows one article at a time, in one of its views, and searches all of them. Without it the page shows
// everything, one article below the other.
"use strict";

document.documentElement.classList.add("js");

// ---- What is kept from one visit to the next. If the browser refuses, nothing is kept.

const remembered = {
  get(name) {
    try {
      return localStorage.getItem(`annotated-${name}`) ?? "";
    } catch {
      return "";
    }
  },
  set(name, value) {
    try {
      localStorage.setItem(`annotated-${name}`, value);
    } catch {
      // The choice holds until the page is left.
    }
  },
};

function showTheme(theme) {
  document.documentElement.dataset.theme = theme;
}
showTheme(remembered.get("theme"));

function element(name, text = "", properties = {}) {
  const result = document.createElement(name);
  result.textContent = text;
  return Object.assign(result, properties);
}

document.addEventListener("DOMContentLoaded", () => {
  const home = document.getElementById("home");
  const articles = [...document.querySelectorAll("article")];
  const title = document.title;

  // The header has one row or two. What sticks below it needs its height.
  const header = document.querySelector(".site");
  new ResizeObserver(() => {
    document.documentElement.style.setProperty("--bar", `${header.offsetHeight}px`);
  }).observe(header);

  // ---- Addresses: #02_threads, #02_threads/serve, #02_threads/L42, #02_threads/L42-L50, #02_threads/diff

  function elementsAt(address) {
    const lines = address.match(/^(.*\/L)(\d+)-L(\d+)$/);
    if (lines) {
      const [from, to] = [Number(lines[2]), Number(lines[3])].sort((a, b) => a - b);
      const all = [];
      for (let n = from; n <= Math.min(to, from + 5000); ++n) {
        all.push(document.getElementById(lines[1] + n));
      }
      return all.filter((line) => line !== null);
    }
    const found = document.getElementById(address);
    if (found) {
      return [found];
    }
    // An empty line of a comment is not there. The line before it counts instead.
    const line = address.match(/^(.*\/L)(\d+)$/);
    for (let n = line ? Number(line[2]) - 1 : 0; n > 0; --n) {
      const before = document.getElementById(line[1] + n);
      if (before) {
        return [before];
      }
    }
    const article = document.getElementById(address.split("/")[0]);
    return [article?.matches("article") ? article : home];
  }

  let current = null; // the article, or the overview
  let view = null; // its view that is shown

  function show() {
    const address = decodeURIComponent(location.hash.slice(1));
    if (address === "main" && current) {
      return; // skips to what is there already
    }
    const targets = elementsAt(address || "home");
    const target = targets[0];
    current = target.closest("article") ?? home;
    view = target.closest(".view") ?? current.querySelector(".read");
    for (const part of [home, ...articles]) {
      part.classList.toggle("current", part === current);
    }
    current.classList.toggle("differing", view?.matches(".diff") === true);
    for (const part of current.querySelectorAll(".view")) {
      part.classList.toggle("shown", part === view);
    }
    for (const hit of document.querySelectorAll(".hit")) {
      hit.classList.remove("hit");
    }
    if (/\/L\d+/.test(address)) {
      targets.forEach((line) => line.classList.add("hit"));
    }
    const own = view?.id ? view.id : current.id;
    const tabOf = { header: "common", primer: "primers" }[current.dataset.kind];
    for (const link of document.querySelectorAll(".tabs a, .views a, .home")) {
      const to = link.getAttribute("href").slice(1);
      const here = link.closest(".tabs") ? to === current.id || to === tabOf : to === own;
      here ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
    }
    document.querySelector(".tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
    document.title = current === home ? title : `${own.replace("/", ": ")} · ${title}`;
    if (view?.classList.contains("diff")) {
      showSplit();
    }
    if (history.state?.y !== undefined) {
      scrollTo(0, history.state.y); // back to where it was left
    } else if (target === current || target === view) {
      scrollTo(0, 0);
    } else {
      target.scrollIntoView({ block: target.matches("h2, .key") ? "start" : "center" });
    }
  }

  // Going back leads to the place that was left, not to the place where the article was entered. (Not updated at every
  // step of scrolling, because browsers limit that.)
  let resting = 0;
  const rememberPlace = () => history.replaceState({ y: scrollY }, "");
  history.scrollRestoration = "manual";
  addEventListener("hashchange", () => {
    clearTimeout(resting);
    show();
  });
  addEventListener("scroll", () => {
    clearTimeout(resting);
    resting = setTimeout(rememberPlace, 200);
  }, { passive: true });
  addEventListener("click", (event) => event.target.closest("a") && rememberPlace(), { capture: true });

  // ---- Diffs side by side: the unchanged lines are needed twice

  const wide = matchMedia("(min-width: 66rem)");
  const isSplit = () => (remembered.get("split") || String(wide.matches)) === "true";

  for (const bar of document.querySelectorAll(".diff .bar")) {
    bar.append(element("button", "Side by side", { type: "button" }));
    bar.lastChild.addEventListener("click", toggleSplit);
  }

  function showSplit() {
    const split = isSplit();
    document.documentElement.classList.toggle("split", split);
    for (const button of document.querySelectorAll(".diff .bar button")) {
      button.setAttribute("aria-pressed", split);
    }
    if (split && view?.classList.contains("diff") && !view.querySelector(".twin")) {
      for (const line of view.querySelectorAll(".same > .l")) {
        const twin = line.cloneNode(true);
        twin.classList.add("twin");
        twin.setAttribute("aria-hidden", "true");
        line.after(twin);
      }
    }
  }

  function toggleSplit() {
    remembered.set("split", String(!isSplit()));
    showSplit();
  }
  wide.addEventListener("change", showSplit);
  showSplit();

  // ---- Theme

  const theme = document.getElementById("theme");
  theme.value = remembered.get("theme");
  theme.addEventListener("change", () => {
    remembered.set("theme", theme.value);
    showTheme(theme.value);
  });

  // ---- Search

  const dialog = document.getElementById("search");
  const query = document.getElementById("query");
  const results = document.getElementById("results");
  const found = document.getElementById("found");
  const most = 80;
  let index = null;

  // All definitions, and then all lines.
  function makeIndex() {
    const definitions = [], lines = [];
    for (const article of articles) {
      for (const at of article.querySelectorAll(".code i[id]")) {
        const name = at.id.slice(article.id.length + 1);
        const text = at.closest(".l").textContent.trim();
        definitions.push({ id: at.id, name, at: article.id, text, variable: at.matches(".v") });
      }
      for (const line of article.querySelectorAll(":is(.top, .read) [id*='/L']")) {
        if (/\/L\d+$/.test(line.id)) {
          lines.push({ id: line.id, at: line.id.replace("/L", ":"), text: line.textContent.trim() });
        }
      }
    }
    return { definitions, lines };
  }

  function highlighted(text, words) {
    const code = element("code");
    const pattern = words.map((word) => word.replace(/[^\w\s]/g, "\\$&")).join("|");
    text.split(new RegExp(`(${pattern})`, "i")).forEach((part, i) => {
      code.append(i % 2 ? element("mark", part) : part);
    });
    return code;
  }

  function search() {
    index ??= makeIndex();
    const words = query.value.toLowerCase().split(/\s+/).filter((word) => word !== "");
    results.replaceChildren();
    if (words.length === 0) {
      found.textContent = "Definitions first, then every line of code and comment. Several words: lines with all of them.";
      return;
    }
    const has = (text) => words.every((word) => text.toLowerCase().includes(word));
    const rank = ({ name, variable }) => {
      const last = name.split("::").pop().toLowerCase();
      return (last === words[0] ? 0 : last.startsWith(words[0]) ? 2 : 4) + (variable ? 1 : 0);
    };
    const definitions = index.definitions.filter(({ name }) => has(name)).sort((a, b) => rank(a) - rank(b));
    const lines = index.lines.filter(({ text }) => has(text));
    found.textContent = `${definitions.length} definition${definitions.length === 1 ? "" : "s"}, ` +
      `${lines.length} line${lines.length === 1 ? "" : "s"}` +
      (definitions.length + lines.length > most ? `; the first ${most}` : "");
    for (const hit of [...definitions, ...lines].slice(0, most)) {
      if (hit === definitions[0] || hit === lines[0]) {
        results.append(element("li", hit === lines[0] ? "Lines" : "Definitions", { className: "group" }));
      }
      const link = element("a", "", { href: `#${hit.id}` });
      link.append(element("span", hit.at, { className: "at" }), highlighted(hit.text, words));
      const item = element("li");
      item.append(link);
      results.append(item);
    }
  }

  function openSearch() {
    if (!dialog.open) {
      dialog.showModal();
      search();
    }
    query.select();
  }

  query.addEventListener("input", search);
  document.getElementById("open-search").addEventListener("click", openSearch);
  document.getElementById("close-search").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog || event.target.closest("#results a")) {
      dialog.close();
    }
  });
  dialog.addEventListener("keydown", (event) => {
    const links = [...results.querySelectorAll("a")];
    const at = links.indexOf(document.activeElement);
    if (event.key === "Enter" && document.activeElement === query) {
      event.preventDefault();
      links[0]?.click();
    } else if (event.key === "Escape") {
      event.preventDefault(); // in a search field it would empty the field first
      dialog.close();
    } else if (event.key === "ArrowDown") {
      event.preventDefault();
      links[Math.min(at + 1, links.length - 1)]?.focus();
    } else if (event.key === "ArrowUp" && at >= 0) {
      event.preventDefault();
      (links[at - 1] ?? query).focus();
    }
  });

  // ---- Keys and clicks

  // The other stage's same view, if it has one.
  function turn(relation) {
    rememberPlace();
    const to = current === home ? (relation === "next" ? articles[0] : null)
      : document.getElementById(current.querySelector(`.turn [rel="${relation}"]`)?.hash.slice(1));
    if (to) {
      const wanted = view?.id.replace(/^[^/]*/, to.id);
      location.hash = view?.id && document.getElementById(wanted) ? wanted : to.id;
    } else if (relation === "prev") {
      location.hash = "home";
    }
  }

  function nextView() {
    const links = [...current.querySelectorAll(".views a")];
    const at = links.findIndex((link) => link.hasAttribute("aria-current"));
    links[(at + 1) % links.length]?.click();
  }

  const keys = {
    ArrowLeft: () => turn("prev"),
    ArrowRight: () => turn("next"),
    "/": openSearch,
    d: nextView,
    s: toggleSplit,
  };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, textarea, dialog, pre[tabindex]");
    if (!typing && !event.ctrlKey && !event.altKey && !event.metaKey && keys[event.key]) {
      event.preventDefault();
      keys[event.key]();
    }
  });

  let lastLine = "";
  document.addEventListener("click", (event) => {
    const number = event.target.closest(".code [data-n]");
    if (!number) {
      return;
    }
    const address = number.hash.slice(1);
    const [file, line] = address.split("/");
    if (event.shiftKey && lastLine.startsWith(`${file}/`)) {
      event.preventDefault();
      location.hash = `${lastLine}-${line}`;
    } else {
      lastLine = address;
    }
  });

  show();
});
