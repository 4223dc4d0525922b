// page.js -- shows what compare has measured. All texts of the data are put into the page by textContent, because names
// and last words come from servers of others and may look like markup.
"use strict";

// A chart that is missing without a word could be taken for a result. So every error is shown.
function complain(what) {
  const box = document.getElementById("errors");
  box.hidden = false;
  box.append(element("p", `This page is not complete: ${what}`));
}
window.addEventListener("error", (event) => complain(event.message));
window.addEventListener("unhandledrejection", (event) => complain(event.reason));

// ---- The document

function element(name, text = "", properties = {}) {
  const result = document.createElement(name);
  result.textContent = text;
  return Object.assign(result, properties);
}

function instance(template) {
  return document.getElementById(template).content.firstElementChild.cloneNode(true);
}

// What CSS says at the moment: light or dark, on the screen or on paper.
function css(variable) {
  return getComputedStyle(document.documentElement).getPropertyValue(variable).trim();
}

const number = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });
const small = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 1 });
const seconds = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 2 });
const rateText = (rate) => (rate < 99.5 ? small : number).format(rate);

// ---- Colours

// Okabe and Ito's palette, which people who do not see all colours can tell apart. Grey replaces its yellow, which is
// too faint on white, and the ink replaces its black. The stages of the talk always have the same colours, whatever
// stands beside them. Others use the colours again, with dashed lines.
const palette = ["#e69f00", "#56b4e9", "#009e73", "#d55e00", "#0072b2", "#cc79a7", "ink", "#999999"];
const story = ["01", "02", "02b", "03", "04", "05", "06", "07"];

// The number of a colour for each name.
function coloursOf(names) {
  const taken = new Set();
  let next = palette.length;
  return names.map((name) => {
    const known = story.indexOf(name.split("_")[0]);
    const number = known === -1 || taken.has(known) ? next++ : known;
    taken.add(number);
    return number;
  });
}

function colourOf(stage) {
  const colour = palette[stage.colour % palette.length];
  return colour === "ink" ? css("--ink") : colour;
}

function dashOf(stage) {
  return stage.colour < palette.length ? [] : [6, 4];
}

function swatch(box, stage) {
  const colour = palette[stage.colour % palette.length];
  box.style.background = colour === "ink" ? "var(--ink)" : colour;
}

// The stages of a scenario, as charts need them.
function stagesOf(scenario) {
  const names = scenario.stages.map(({ stage }) => stage);
  const colours = coloursOf(names);
  return scenario.stages.map((stage, index) => ({ ...stage, name: stage.stage, index, colour: colours[index] }));
}

// ---- Tables

function showTable(section, scenario) {
  const [header, ...rows] = scenario.table;
  const table = section.querySelector("table");
  table.caption.textContent = `${scenario.scenario}: ${scenario.title}`;
  section.querySelector(".scroll").setAttribute("aria-label", `Table of ${scenario.scenario}`);
  const titles = table.tHead.insertRow();
  for (const title of header) {
    const cell = element("th", title, { scope: "col" });
    if (title === "") {
      cell.setAttribute("aria-label", "remarks");
    }
    titles.append(cell);
  }
  for (const [name, ...cells] of rows) {
    const row = table.tBodies[0].insertRow();
    row.append(element("th", name, { scope: "row" }));
    cells.forEach((text, column) => {
      const word = column + 1 < cells.length && /^[a-z]/.test(text);
      row.append(element("td", text, { className: word ? "word" : "" }));
    });
  }
  section.querySelector(".notes").append(...scenario.notes.map((note) => element("li", note)));
}

// ---- Charts

const charts = [];

// How high a rate is drawn. Logarithmic from 1 on and linear below, so that 0 has a place, too.
function height(rate, logarithmic) {
  if (!logarithmic) {
    return rate;
  }
  return rate < 1 ? rate : 1 + Math.log10(rate);
}

function rateAt(y, logarithmic) {
  return !logarithmic || y < 1 ? y : 10 ** (y - 1);
}

// A slice has its rate from the end of the slice before until its own end.
function points(timeline, logarithmic) {
  const point = (x, rate) => ({ x, y: height(rate, logarithmic), rate });
  return timeline.length === 0
    ? []
    : [point(0, timeline[0].rate), ...timeline.map((slice) => point(slice.at_s, slice.rate))];
}

// The time of the hog: shaded below the curves, and above them its effect on the stage.
const hog = {
  id: "hog",
  beforeDatasetsDraw(chart, _arguments, { phases }) {
    const { ctx, chartArea: area, scales: { x } } = chart;
    ctx.save();
    ctx.textAlign = "center";
    ctx.font = "14px system-ui, sans-serif";
    for (const phase of phases.filter(({ name }) => name === "hog" || name === "leaving")) {
      const left = x.getPixelForValue(phase.begin_s);
      const width = Math.min(x.getPixelForValue(phase.end_s), area.right) - left;
      ctx.globalAlpha = phase.name === "hog" ? 1 : 0.4;
      ctx.fillStyle = css("--shade");
      ctx.fillRect(left, area.top, width, area.height);
      ctx.globalAlpha = 1;
      ctx.fillStyle = css("--quiet");
      if (ctx.measureText(phase.name).width + 6 < width) {
        ctx.fillText(phase.name, left + width / 2, area.top + 16);
      }
    }
    ctx.restore();
  },
  afterDatasetsDraw(chart, _arguments, { phases, word }) {
    const { ctx, chartArea: area, scales: { x } } = chart;
    const phase = phases.find(({ name }) => name === "hog");
    if (phase === undefined || word === "") {
      return;
    }
    const at = [x.getPixelForValue((phase.begin_s + phase.end_s) / 2), area.top + area.height / 2];
    ctx.save();
    ctx.textAlign = "center";
    ctx.font = "bold 16px system-ui, sans-serif";
    ctx.lineJoin = "round";
    ctx.lineWidth = 4;
    ctx.strokeStyle = css("--paper");
    ctx.strokeText(word, ...at);
    ctx.fillStyle = css("--alarm");
    ctx.fillText(word, ...at);
    ctx.restore();
  },
};

function options(view, { title, phases, word }) {
  const text = { color: () => css("--quiet"), font: { size: 14 } };
  const lines = { color: () => css("--line"), borderColor: () => css("--line") };
  return {
    animation: false,
    maintainAspectRatio: false,
    responsive: true,
    interaction: { mode: "index", intersect: false },
    elements: { point: { radius: 0, hitRadius: 6 } },
    plugins: {
      legend: { display: false },
      hog: { phases, word },
      tooltip: { callbacks: {
        title: ([item]) => `until ${item.raw.x.toFixed(2)} s`,
        label: ({ dataset, raw }) => `${dataset.label}: ${rateText(raw.rate)} reqs/sec`,
        labelColor: ({ dataset }) => {
          const colour = dataset.borderColor();
          return { borderColor: colour, backgroundColor: colour };
        },
      } },
    },
    scales: {
      x: {
        type: "linear", min: 0, max: view.end, grid: { ...lines, drawOnChartArea: false },
        ticks: { ...text, maxRotation: 0, maxTicksLimit: 9, callback: (value) => `${seconds.format(value)} s` },
      },
      y: {
        min: 0, grid: lines,
        title: { ...text, display: title, text: "reqs/sec" },
        ticks: { ...text, maxTicksLimit: title ? 9 : 5,
                 callback: (y) => rateText(rateAt(y, view.logarithmic)) },
        // The same axes for all panels of a scenario, so that they can be compared.
        afterDataLimits: (axis) => {
          axis.max = Math.max(height(view.top, view.logarithmic), 1);
          axis.max = view.logarithmic ? Math.ceil(axis.max) : axis.max * 1.05;
        },
        afterBuildTicks: (axis) => {
          if (view.logarithmic) {
            axis.ticks = Array.from({ length: axis.max + 1 }, (_, value) => ({ value }));
          }
        },
      },
    },
  };
}

// A run of a stage as a curve. The strong one is the run to look at; the others show the spread.
function curve(label, stage, run, view, { strong = true, filled = false }) {
  const faint = strong ? "" : "55";
  return {
    label,
    timeline: run.timeline,
    data: points(run.timeline, view.logarithmic),
    stepped: "after",
    fill: filled && strong ? "origin" : false,
    backgroundColor: () => `${colourOf(stage)}40`,
    borderColor: () => `${colourOf(stage)}${faint}`,
    borderDash: dashOf(stage),
    borderWidth: strong ? 2 : 1,
    order: strong ? 0 : 1,
  };
}

// What the table says about a stage, as a sentence for people who do not see the chart.
function description(scenario, stage) {
  const header = scenario.table[0];
  const cells = scenario.table[stage.index + 1];
  const parts = cells.slice(1).map((text, i) => `${header[i + 1]} ${text}`.trim());
  return `${stage.name}: ${parts.filter((part) => part !== "" && !part.endsWith(" -")).join(", ")}`;
}

function addChart(canvas, view, datasets, chartOptions) {
  const chart = new Chart(canvas, { type: "line", data: { datasets }, options: chartOptions, plugins: [hog] });
  charts.push(chart);
  view.charts.push(chart);
}

function showPanel(parent, scenario, stage, view) {
  const panel = instance("panel-template");
  const cells = scenario.table[stage.index + 1];
  const shown = stage.runs.find((run) => run.verdict === "");
  swatch(panel.querySelector(".swatch"), stage);
  panel.querySelector(".stage").textContent = stage.name;
  panel.querySelector(".remarks").textContent = cells.at(-1);
  parent.append(panel);
  const canvas = panel.querySelector("canvas");
  if (stage.drawn === null) {
    canvas.replaceWith(element("p", cells[1], { className: "verdict" }));
    return;
  }
  canvas.setAttribute("aria-label", `reqs/sec over time. ${description(scenario, stage)}`);
  const strong = stage.runs[stage.drawn];
  const word = shown ? cells[scenario.ranked] : cells[1];
  panel.querySelector(".column").textContent = shown ? scenario.table[0][scenario.ranked] : "";
  panel.querySelector("strong").textContent = word;
  addChart(canvas, view,
    stage.runs.map((run, i) => curve(`run ${i + 1}`, stage, run, view, { strong: run === strong, filled: true })),
    options(view, {
      title: false, phases: strong.phases, word: /^[a-z]/.test(word) ? word : "",
    }));
}

function showOverview(figure, scenario, stages, view) {
  figure.hidden = false;
  figure.querySelector("figcaption").textContent =
    "All stages in one picture: requests per second over the seconds of the run. " +
    "Shaded: the hog is there. Lightly shaded: it sends no more requests, but its last one may still be running.";
  const canvas = figure.querySelector("canvas");
  canvas.setAttribute("aria-label", `reqs/sec of all stages over time. ${
    stages.map((stage) => description(scenario, stage)).join(". ")}`);
  const drawn = stages.filter((stage) => stage.drawn !== null);
  const strong = (stage) => stage.runs[stage.drawn];
  addChart(canvas, view, drawn.map((stage) => curve(stage.name, stage, strong(stage), view, {})),
    options(view, {
      title: true, phases: strong(drawn[0]).phases, word: "",
    }));
  const chart = view.charts.at(-1);
  const legend = figure.querySelector(".legend");
  const buttons = drawn.map((stage, index) => {
    const button = element("button", "", { type: "button" });
    const box = element("span", "", { className: "swatch" });
    swatch(box, stage);
    button.append(box, element("span", stage.name, { className: "stage" }));
    button.addEventListener("click", () => show(index, !chart.isDatasetVisible(index)));
    return button;
  });
  function show(index, visible) {
    chart.setDatasetVisibility(index, visible);
    chart.update();
    buttons[index].setAttribute("aria-pressed", visible);
  }
  buttons.forEach((_, index) => show(index, true));
  legend.prepend(...buttons);
  legend.querySelector(".all").onclick = () => buttons.forEach((_, index) => show(index, true));
  legend.querySelector(".none").onclick = () => buttons.forEach((_, index) => show(index, false));
}

function showPictures(section, scenario) {
  const stages = stagesOf(scenario);
  const slices = stages.flatMap((stage) => stage.runs.flatMap((run) => run.timeline));
  const most = (key) => slices.reduce((result, slice) => Math.max(result, slice[key]), 0);
  if (slices.length === 0) {
    return;
  }
  // A hog may leave a hundredth of a rate, or a ten-thousandth. On a linear scale both lie on the zero line.
  const collapses = stages.some((stage) => stage.runs.some((run) => run.phases.some(({ name }) => name === "hog")));
  const view = {
    logarithmic: collapses,
    top: most("rate"),
    end: most("at_s"),
    charts: [],
  };
  section.querySelector(".pictures").hidden = false;
  const runs = Math.max(...stages.map((stage) => stage.runs.length));
  const ranked = scenario.table[0][scenario.ranked];
  section.querySelector(".about").textContent =
    "A panel for each stage: requests per second over the seconds of the run, all with the same axes." +
    (runs > 1 ? ` The strong line is the run nearest to the median of “${ranked}”, the faint ones are the others.` : "");
  if (collapses) {
    showOverview(section.querySelector(".overview"), scenario, stages, view);
  }
  for (const stage of stages) {
    showPanel(section.querySelector(".panels"), scenario, stage, view);
  }
  for (const choice of section.querySelectorAll(".scale input")) {
    choice.name = `scale-${scenario.scenario}`;
    choice.checked = view.logarithmic === (choice.value === "logarithmic");
    choice.addEventListener("change", () => {
      view.logarithmic = choice.value === "logarithmic";
      for (const chart of view.charts) {
        for (const dataset of chart.data.datasets) {
          dataset.data = points(dataset.timeline, view.logarithmic);
        }
        chart.update();
      }
    });
  }
}

// Beside each bar what the table says, also where there is no bar: "1 of 2 served".
const labels = {
  id: "labels",
  afterDatasetsDraw(chart) {
    const { ctx, scales: { x } } = chart;
    ctx.save();
    ctx.fillStyle = css("--ink");
    ctx.font = "14px system-ui, sans-serif";
    ctx.textBaseline = "middle";
    ctx.lineJoin = "round";
    ctx.lineWidth = 3;
    ctx.strokeStyle = css("--paper");
    chart.data.datasets.forEach((dataset, i) => chart.getDatasetMeta(i).data.forEach((bar, stage) => {
      const at = [x.getPixelForValue(dataset.data[stage] ?? 0) + 5, bar.y];
      ctx.strokeText(dataset.texts[stage], ...at);
      ctx.fillText(dataset.texts[stage], ...at);
    }));
    ctx.restore();
  },
};

// For a scenario of times: a group of bars for each stage.
function showBars(figure, scenario) {
  if (scenario.times.length === 0) {
    return;
  }
  figure.hidden = false;
  const [header, ...rows] = scenario.table;
  const stages = stagesOf(scenario);
  const shades = ["ff", "aa", "66"];
  const datasets = scenario.times.map(({ key, column }, i) => ({
    data: stages.map((stage) => (key in stage.summary ? stage.summary[key].median / 1e6 : null)),
    texts: rows.map((cells) => (cells[column] === "-" ? "" : `${header[column]}: ${cells[column]}`)),
    backgroundColor: ({ dataIndex }) => `${colourOf(stages[dataIndex])}${shades[i % shades.length]}`,
    barPercentage: 0.95,
    categoryPercentage: 0.85,
  }));
  const plot = figure.querySelector(".plot");
  plot.style.height = `${stages.length * datasets.length * 1.05 + 3}rem`;
  const canvas = figure.querySelector("canvas");
  canvas.setAttribute("aria-label", `Times. ${stages.map((stage) => description(scenario, stage)).join(". ")}`);
  const text = { color: () => css("--quiet"), font: { size: 14 } };
  const lines = { color: () => css("--line"), borderColor: () => css("--line") };
  charts.push(new Chart(canvas, {
    type: "bar",
    data: { labels: stages.map(({ name }) => name), datasets },
    options: {
      animation: false, events: [], indexAxis: "y", maintainAspectRatio: false, responsive: true,
      layout: { padding: { right: 170 } },
      plugins: { legend: { display: false } },
      scales: {
        x: { min: 0, grid: lines, ticks: { ...text, maxRotation: 0, maxTicksLimit: 7, callback: (value) => `${seconds.format(value)} s` } },
        y: { grid: { ...lines, display: false }, ticks: { ...text, color: () => css("--ink") } },
      },
    },
    plugins: [labels],
  }));
}

// ---- All of it

function showRun(report) {
  const day = report.date.slice(0, 10);
  document.title = `Stages compared, ${day}`;
  document.getElementById("date").textContent = day;
  document.getElementById("method").textContent = report.method;
  document.getElementById("stopped").hidden = report.complete;
  document.getElementById("stopped").textContent = report.how_far;
  document.getElementById("command").textContent = report.command;
  document.getElementById("shown").hidden = report.conclusions.length === 0;
  document.getElementById("conclusions").append(...report.conclusions.map((text) => element("li", text)));
  const facts = document.getElementById("facts");
  for (const [name, value] of Object.entries(report.facts)) {
    facts.append(element("dt", name), element("dd", value));
  }
}

document.addEventListener("DOMContentLoaded", () => {
  const report = JSON.parse(document.getElementById("data").textContent);
  showRun(report);
  const sections = report.scenarios.map((scenario) => {
    const section = instance("scenario-template");
    section.id = scenario.scenario;
    section.querySelector("h2").textContent = scenario.scenario;
    section.querySelector(".title").textContent = scenario.title;
    showTable(section, scenario);
    const entry = element("li");
    entry.append(element("a", scenario.scenario, { href: `#${scenario.scenario}` }));
    document.getElementById("contents").append(entry);
    return section;
  });
  document.getElementById("scenarios").append(...sections);
  // Last, so that the tables are there even if Chart.js fails.
  report.scenarios.forEach((scenario, i) => {
    showPictures(sections[i], scenario);
    showBars(sections[i].querySelector(".bars"), scenario);
  });
});

// On paper, and when the screen turns dark or light, the charts change their colours, too.
function redraw(printing) {
  document.documentElement.classList.toggle("printing", printing);
  charts.forEach((chart) => {
    chart.options.devicePixelRatio = printing ? 2 : window.devicePixelRatio;
    chart.resize();
    chart.update();
  });
}
window.addEventListener("beforeprint", () => redraw(true));
window.addEventListener("afterprint", () => redraw(false));
// At this event, the charts have their sizes on paper already.
window.matchMedia("print").addEventListener("change", (event) => redraw(event.matches));
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw(false));
