// scheduled.js -- a server that is run step by step: a puzzle, in which the reader chooses each step, or a schedule that
// is played.

class ScheduledView {
  constructor(model, command) {
    this.model = model;
    this.command = command;
    this.shown = null;
  }

  get there() {
    return Boolean(this.model.scheduled);
  }

  // Above the source.
  sentence() {
    const { scheduled } = this.model;
    const words = { broken: `A promise is broken: ${scheduled.seen}.`, kept: "Every promise was kept.", strange: "This could not be judged." };
    const over = words[scheduled.end];
    if (scheduled.solved) {
      return scheduled.end === "broken" ? `Solved. ${over}` : "You are right.";
    }
    if (scheduled.goal === undefined) {
      return over ?? `Step ${scheduled.steps.length} of a schedule.`;
    }
    return over ? `${over} u takes back your last choice.` : `Step ${scheduled.steps.length + 1}: choose one.`;
  }

  update() {
    const { scheduled } = this.model;
    document.body.classList.toggle("scheduled", this.there);
    find("#scheduled").hidden = !this.there;
    find("#stage").disabled = this.there || !this.model.live;
    if (!this.there || scheduled === this.shown) {
      return;
    }
    this.shown = scheduled;
    const puzzle = scheduled.goal !== undefined;
    const set = (selector, text) => { find(`#scheduled ${selector}`).textContent = text; };
    set("h2", puzzle ? `${scheduled.name}: ${scheduled.goal}` : "A schedule");
    set(".about", `${scheduled.about[0].toUpperCase()}${scheduled.about.slice(1)}.${puzzle ? " You choose each step." : ""}`);
    find("#scheduled .do").hidden = !puzzle || !this.model.live;
    find("#scheduled .options").replaceChildren(...(scheduled.options ?? []).map((option, index) => this.option(option, index)));
    find("#scheduled .hints").replaceChildren(...(scheduled.hints ?? []).map((hint, index) =>
      element("li", `Hint ${index + 1} of ${scheduled.all_hints}: ${hint}`)));
    set(".lesson", [scheduled.said, scheduled.searching ? "Explore looks for it." : "", scheduled.lesson,
      scheduled.solved && scheduled.choices > 0 ? `You have chosen ${plural(scheduled.choices, "time")}.` : ""].filter(Boolean).join(" "));
    set("h3", scheduled.steps.length > 0 ? "The steps so far, the newest first" : "");
    this.list(".steps", scheduled.steps, true);
    set(".of-solution", scheduled.solution ? "The shortest solution" : "");
    this.list(".solution", scheduled.solution ?? [], false);
  }

  option({ actor, text, place, last }, index) {
    const button = element("button", "", { type: "button", disabled: !this.model.live });
    button.append(element("kbd", index + 1), element("b", ` ${actor} `), element("span", text), element("span", place ? `  ${place}` : "", { className: "place" }),
      element("span", last ? "  went last" : "", { className: "last" }));
    button.addEventListener("click", () => this.command({ do: "choose", which: index }));
    const item = element("li");
    item.append(button);
    return item;
  }

  list(selector, steps, backwards) {
    const list = find(`#scheduled ${selector}`);
    const items = steps.map(({ actor, text, place, preempts }, index) => {
      const item = element("li", `${actor} ${text}`, { value: index + 1, className: preempts ? "preempts" : "", title: preempts ? "the one before could have gone on" : "" });
      item.append(element("span", place ? `  ${place}` : "", { className: "place" }));
      return item;
    });
    list.reversed = backwards;
    list.replaceChildren(...(backwards ? items.reverse() : items));
  }

  get actions() {
    return {
      ...Object.fromEntries([1, 2, 3, 4, 5, 6, 7, 8, 9].map((number) => [`choose-${number}`, () => this.command({ do: "choose", which: number - 1 })])),
      "choose": () => this.command({ do: "choose" }),
      ...Object.fromEntries(["take-back", "restart", "hint", "none", "solution"].map((what) => [what, () => this.command({ do: what })])),
    };
  }
}

// Instead of the other keys.
const scheduled_keys = {
  ...Object.fromEntries([1, 2, 3, 4, 5, 6, 7, 8, 9].map((number) => [String(number), [`choose-${number}`]])),
  "Enter": ["choose"], "u": ["take-back"], "r": ["restart"], "h": ["hint"], "n": ["none"], "s": ["solution"],
};
