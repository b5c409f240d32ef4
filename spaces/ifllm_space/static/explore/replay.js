// A turn on its answers and its timeline, at any moment: play, speed, seek.

import { Dwell, smooth } from "./dwell.js";
import { HeatLayer } from "./heat.js";
import { Timeline } from "./timeline.js";
import { clock, h } from "../dom.js";

const CLOSE = 3; // characters: the pointer has a tip
const SPEEDS = [0.5, 1, 2, 4, 8, 16];
const STEP_MS = 100; // of the slider
const NAMES = ["A", "B"];
const PHASES = ["reading", "rating", "after the rating"];

let replays = 0;

/** What a reader chose on this page goes on to the next turn. */
const chosen = { speed: 4, gaze: true, mouse: true, error: 1 };

export class Replay {
  /**
   * @param {{answers: {text: string, html?: string}[], ticks: import("./dwell.js").Ticks, tick_cap_ms: number,
   *   gaze_error: {px: number, lines: number, chars: number}[]}} view
   * @param {HTMLElement[]} sheets where each answer's text goes
   * @param {(t: number) => void} [moved] is told the moment shown
   */
  constructor(view, sheets, moved = () => {}) {
    this.view = view;
    this.moved = moved;
    this.layers = view.answers.map((answer, side) => new HeatLayer(sheets[side], answer.text, answer.html));
    this.sheets = sheets;
    const lengths = this.layers.map((layer) => layer.length);
    this.dwell = new Dwell(view.ticks, lengths, view.tick_cap_ms);
    this.end = view.ticks.t_ms.at(-1) ?? 0;
    this.t = this.end;
    this.playing = false;
    /** What the texts show: heat, nothing, or parts that moved a score. @type {string|number[][]} */
    this.shows = "heat";
    this.onlayout = () => {};
    this.id = `ifllm-replay-${++replays}`;
    const canvas = document.createElement("canvas");
    this.timeline = new Timeline(
      canvas,
      view.ticks,
      lengths.map((length, side) => ({ name: NAMES[side], length })),
    );
    this.element = this.build(canvas);
    this.observer = new ResizeObserver(() => this.layout());
    this.themes = new MutationObserver(() => this.layout());
  }

  /** Begin to live; call it when the elements are in the page. */
  attach() {
    this.observer.observe(this.sheets[0]);
    this.themes.observe(document.body, { attributes: true, attributeFilter: ["class"] });
    this.layout();
  }

  close() {
    this.pause();
    this.observer.disconnect();
    this.themes.disconnect();
  }

  build(/** @type {HTMLCanvasElement} */ canvas) {
    canvas.className = "ifllm-timeline";
    canvas.setAttribute("role", "img");
    canvas.setAttribute(
      "aria-label",
      "Timeline: position in each answer over time, gaze in orange, mouse in blue. " +
        "The slider below moves through it.",
    );
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.seek(this.timeline.time(event.offsetX));
    });
    canvas.addEventListener("pointermove", (event) => {
      if (event.buttons & 1) this.seek(this.timeline.time(event.offsetX));
    });
    this.button = h("button", { type: "button", class: "ifllm-play", onclick: () => this.toggle() });
    this.slider = /** @type {HTMLInputElement} */ (
      h("input", {
        type: "range",
        min: 0,
        max: STEP_MS * Math.max(1, Math.ceil(this.end / STEP_MS)),
        step: STEP_MS,
        "aria-label": "Moment",
        oninput: () => this.seek(Number(this.slider.value)),
      })
    );
    this.where = h("span", { class: "ifllm-where" });
    this.speed = this.speedChoice();
    this.label();
    /** What plays, and what says where it is; a view may set it apart from the rest. */
    this.bar = h("div", { class: "ifllm-controls" }, this.button, this.slider, this.where);
    /** What is drawn, and in which colour: the legend of it all. */
    this.channels = [this.channelChoice("gaze", "Gaze"), this.channelChoice("mouse", "Mouse")];
    return h(
      "div",
      { class: "ifllm-replay" },
      h("div", { class: "ifllm-canvas" }, canvas),
      this.bar,
      h("div", { class: "ifllm-controls" }, ...this.channels, this.speed, this.errorChoice()),
    );
  }

  speedChoice() {
    return this.choice(
      "Speed",
      SPEEDS.map((speed) => [speed, `${speed}×`]),
      chosen.speed,
      (value) => (chosen.speed = value),
    );
  }

  errorChoice() {
    const errors = this.view.gaze_error;
    return this.choice(
      "Gaze drawn",
      [
        [-1, "as recorded"],
        ...errors.map((e, i) => [i, `± ${e.px} px`]),
      ],
      chosen.error,
      (value) => {
        chosen.error = value;
        this.layout();
      },
    );
  }

  choice(
    /** @type {string} */ name,
    /** @type {(string|number)[][]} */ options,
    /** @type {number} */ value,
    /** @type {(value: number) => void} */ changed,
  ) {
    const id = `${this.id}-${name.toLowerCase().replace(" ", "-")}`;
    const select = /** @type {HTMLSelectElement} */ (
      h(
        "select",
        { id, onchange: () => changed(Number(select.value)) },
        ...options.map(([v, text]) => h("option", { value: v, selected: v === value }, `${text}`)),
      )
    );
    return h("span", { class: "ifllm-choice" }, h("label", { for: id }, name), select);
  }

  channelChoice(/** @type {"gaze"|"mouse"} */ channel, /** @type {string} */ name) {
    const box = /** @type {HTMLInputElement} */ (
      h("input", {
        type: "checkbox",
        checked: chosen[channel],
        onchange: () => {
          chosen[channel] = box.checked;
          this.layout();
        },
      })
    );
    return h(
      "label",
      { class: "ifllm-choice" },
      box,
      h("span", { class: `ifllm-swatch ifllm-${channel}`, "aria-hidden": "true" }),
      name,
    );
  }

  get errorChars() {
    return chosen.error < 0 ? 0 : this.view.gaze_error[chosen.error].chars;
  }

  /** Measure again, and paint. */
  layout() {
    if (this.sheets[0].clientWidth === 0) return;
    for (const layer of this.layers) layer.layout();
    if (this.element.isConnected) {
      this.timeline.errorChars = this.errorChars;
      this.timeline.shown = { gaze: chosen.gaze, mouse: chosen.mouse };
      this.timeline.layout();
    }
    this.onlayout();
    this.dwell.moveTo(this.end + 1);
    this.full = { gaze: this.peak("gaze"), mouse: this.peak("mouse") };
    this.paint();
  }

  peak(/** @type {"gaze"|"mouse"} */ channel) {
    let most = 0;
    for (const values of this.smoothed(channel)) for (const v of values) if (v > most) most = v;
    return most;
  }

  smoothed(/** @type {"gaze"|"mouse"} */ channel) {
    const sigma = channel === "gaze" ? Math.max(CLOSE, this.errorChars) : CLOSE;
    return this.dwell.ms[channel].map((values) => smooth(values, sigma));
  }

  /** Show a moment. @param {number} t */
  seek(t) {
    this.t = Math.min(this.end, Math.max(0, t));
    this.paint();
  }

  paint() {
    const atEnd = this.t >= this.end;
    this.dwell.moveTo(atEnd ? this.end + 1 : this.t);
    const here = { gaze: this.at("gaze"), mouse: this.at("mouse") };
    if (this.shows === "heat") this.paintHeat(here, atEnd);
    else this.paintParts(this.shows === "nothing" ? [] : this.shows);
    if (this.element.isConnected) this.timeline.paint(this.t);
    this.say(here, atEnd);
    this.moved(this.t);
  }

  paintHeat(
    /** @type {Record<"gaze"|"mouse", {on: number, char: number}>} */ here,
    /** @type {boolean} */ atEnd,
  ) {
    const gaze = chosen.gaze ? this.smoothed("gaze") : null;
    const mouse = chosen.mouse ? this.smoothed("mouse") : null;
    this.layers.forEach((layer, side) => {
      const look = !atEnd && chosen.gaze && here.gaze.on === side ? here.gaze.char : null;
      const tip = !atEnd && chosen.mouse && here.mouse.on === side ? here.mouse.char : null;
      const reach = Math.max(2, this.errorChars);
      layer.paint(
        {
          gaze: gaze && scaled(gaze[side], this.full.gaze),
          mouse: mouse && scaled(mouse[side], this.full.mouse),
        },
        { gaze: look === null ? null : { from: look - reach, to: look + reach }, mouse: tip },
      );
      if (this.playing && (tip ?? look) !== null) this.keepInView(side, tip ?? look ?? 0);
    });
  }

  /** @param {number[][]} parts side, first character, past the last, change of P(B preferred) */
  paintParts(parts) {
    const most = Math.max(...parts.map((part) => Math.abs(part[3])), 1e-9);
    this.layers.forEach((layer, side) => {
      const own = parts.filter((part) => part[0] === side);
      const gain = (/** @type {number} */ change) => (side === 1 ? change : -change);
      layer.paintParts(
        own.map(([, start, stop, change]) => ({ start, stop, gain: gain(change) })),
        most,
      );
    });
  }

  /** Choose what the texts show. @param {string|number[][]} what */
  show(what) {
    this.shows = what;
    if (this.layers[0].box) this.paint();
  }

  /** Where a channel was last seen before the moment. */
  at(/** @type {"gaze"|"mouse"} */ channel) {
    const { on, char } = this.view.ticks[channel];
    for (let i = this.dwell.done - 1; i >= 0; i--) {
      if (on[i] !== -2) return { on: on[i], char: char[i] };
    }
    return { on: -2, char: -1 };
  }

  say(/** @type {{gaze: {on: number}, mouse: {on: number}}} */ here, /** @type {boolean} */ atEnd) {
    const phase = this.view.ticks.phase[Math.max(0, this.dwell.done - 1)];
    const place = (/** @type {number} */ on) =>
      on === -2 ? "not recorded" : on < 0 ? "on no answer" : `on ${NAMES[on]}`;
    const time = `${clock(this.t)} of ${clock(this.end)}`;
    this.where.textContent = atEnd
      ? `${time}: the whole turn`
      : `${time}, ${PHASES[phase] ?? ""}: gaze ${place(here.gaze.on)}, mouse ${place(here.mouse.on)}`;
    this.slider.value = atEnd ? this.slider.max : String(this.t);
    this.slider.setAttribute("aria-valuetext", this.where.textContent);
  }

  keepInView(/** @type {number} */ side, /** @type {number} */ char) {
    const scroller = this.sheets[side].parentElement;
    if (!scroller) return;
    const top = this.layers[side].top(char);
    const { scrollTop, clientHeight } = scroller;
    if (top < scrollTop + 30 || top > scrollTop + clientHeight - 60) {
      scroller.scrollTop = top - clientHeight / 2;
    }
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  /** Play from the start, once, in about `seconds`; whatever the visitor does ends it. */
  playByItself(/** @type {number} */ seconds) {
    const fast = SPEEDS.find((speed) => this.end / speed <= seconds * 1000);
    chosen.speed = fast ?? SPEEDS[SPEEDS.length - 1];
    const select = this.speed.querySelector("select");
    if (select) select.value = String(chosen.speed);
    const kinds = ["pointerdown", "keydown", "wheel"];
    const stop = (/** @type {Event} */ event) => {
      for (const kind of kinds) removeEventListener(kind, stop, true);
      // The button itself says Pause, and does it.
      if (!(event.target instanceof Node && this.button.contains(event.target))) this.pause();
    };
    for (const kind of kinds) addEventListener(kind, stop, { capture: true, passive: true });
    this.play();
  }

  play() {
    if (this.t >= this.end) this.t = 0;
    this.playing = true;
    this.label();
    let last = performance.now();
    const frame = (/** @type {number} */ now) => {
      if (!this.playing) return;
      this.seek(this.t + Math.max(0, now - last) * chosen.speed);
      last = now;
      if (this.t >= this.end || !this.element.isConnected) this.pause();
      else requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  pause() {
    this.playing = false;
    this.label();
  }

  label() {
    this.button.textContent = this.playing ? "Pause" : "Play";
    this.button.classList.toggle("ifllm-playing", this.playing);
  }
}

/** The eye sees small amounts better by their square root. */
function scaled(/** @type {Float32Array} */ values, /** @type {number} */ most) {
  return most > 0 ? values.map((v) => Math.sqrt(v / most)) : values;
}
