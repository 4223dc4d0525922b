// player.js -- plays a recording, or two beside each other. Its times are microseconds since the recording began.

// While the recording stands still, the page's address leads to the moment that it shows: #t=12.4 is 12.4 seconds.
class Player {
  constructor(times, show) {
    this.times = times;  // at which something changes, in order
    this.show = show;
    this.position = -1;
    this.playing = null;  // a timer
    this.noting = null;  // another one
    find("#player").hidden = false;
    find("#scrub").max = times.length - 1;
    find("#scrub").addEventListener("input", (event) => this.go(Number(event.target.value)));
    window.addEventListener("hashchange", () => {
      const index = this.linked();
      if (index !== null) {
        this.play(false);
        this.seek(index);
      }
    });
    this.actions = {
      play: () => this.play(this.playing === null),
      back: () => this.go(this.position - 1),
      forth: () => this.go(this.position + 1),
    };
  }

  // At the moment that the address names, if it names one.
  open(otherwise) {
    this.seek(this.linked() ?? otherwise);
  }

  // Where a user wants it: from now on it stands still there.
  go(index) {
    this.play(false);
    this.seek(index);
    this.note();
  }

  seek(index) {
    this.position = Math.min(Math.max(Math.round(index), 0), this.times.length - 1);
    find("#scrub").value = this.position;
    const seconds = (time) => (time / 1e6).toFixed(1);
    find("#scrub-text").textContent = `${seconds(this.times[this.position])} of ${seconds(this.times.at(-1))} s`;
    this.show(this.times[this.position]);
  }

  play(on) {
    const played = this.playing !== null;
    clearInterval(this.playing);
    this.playing = null;
    (find("#play .label") ?? find("#play")).textContent = on ? "stop" : "play";
    if (!on) {
      if (played) {
        this.note();
      }
      return;
    }
    if (this.position === this.times.length - 1) {
      this.seek(0);
    }
    const begin = performance.now() - this.times[this.position] / 1000;
    this.playing = setInterval(() => {
      let next = this.position;
      while (next + 1 < this.times.length && this.times[next + 1] / 1000 <= performance.now() - begin) {
        ++next;
      }
      if (next !== this.position) {
        this.seek(next);
      }
      if (next === this.times.length - 1) {
        this.play(false);
      }
    }, 50);
  }

  // Not for each step of a slider: browsers allow few changes of an address in a short time.
  note() {
    clearTimeout(this.noting);
    this.noting = setTimeout(() => history.replaceState(null, "", `#t=${Number((this.times[this.position] / 1e6).toFixed(2))}`), 150);
  }

  // The index of the moment that is nearest.
  linked() {
    const found = /^#t=(\d+(?:\.\d+)?)$/.exec(location.hash);
    if (!found) {
      return null;
    }
    const wanted = Number(found[1]) * 1e6;
    const later = this.times.findIndex((time) => time >= wanted);
    const index = later === -1 ? this.times.length - 1 : later;
    return index > 0 && wanted - this.times[index - 1] < this.times[index] - wanted ? index - 1 : index;
  }
}
