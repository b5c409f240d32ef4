// A minute of your own mouse over two answers: kept on this page, sent once to be scored.

import { clock, h } from "../dom.js";
import { hit } from "../../capture/record/hit.js";

const LONGEST_MS = 60_000;
const EVERY_MS = 25; // 40 Hz on change
const STILL_MS = 1000; // and once a second where nothing moves
const SIDES = ["A", "B"];

export class MouseMinute {
  /**
   * @param {HTMLElement[]} sheets
   * @param {import("../explore/heat.js").HeatLayer[]} layers
   * @param {(ticks: {t_ms: number[], on: number[], char: number[]}) => void} done
   */
  constructor(sheets, layers, done) {
    this.sheets = sheets;
    this.layers = layers;
    this.done = done;
    this.onstart = () => {};
    this.oncancel = () => {};
    this.timer = 0;
    this.button = h("button", { type: "button", onclick: () => this.press() }, "Record my own mouse");
    this.left = h("span", { class: "ifllm-where", role: "status" });
    this.element = h(
      "div",
      { class: "ifllm-minute" },
      h("div", { class: "ifllm-controls" }, this.button, this.left),
      h(
        "p",
        {},
        "Read both answers with the mouse following your eyes, for up to a minute, then stop. Only where the pointer " +
          "was on the answers is sent, it is scored in memory, and nothing is stored.",
      ),
    );
    this.moved = (/** @type {PointerEvent} */ event) => {
      this.place = [event.clientX, event.clientY];
    };
  }

  press() {
    if (this.timer) this.finish();
    else this.start();
  }

  start() {
    this.onstart();
    this.ticks = { t_ms: [], on: [], char: [] };
    this.place = null;
    this.began = performance.now();
    this.last = { place: null, scroll: "", at: -Infinity };
    document.addEventListener("pointermove", this.moved, { passive: true });
    this.timer = window.setInterval(() => this.sample(), EVERY_MS);
    this.button.textContent = "Stop and score";
    this.left.textContent = "Recording: read the answers below.";
    this.sheets[0].closest(".ifllm-answers")?.scrollIntoView({ block: "nearest" });
  }

  /** Note where the pointer is, if it or the text under it moved, or a second has passed. */
  sample() {
    const t = performance.now() - this.began;
    if (t >= LONGEST_MS || !this.element.isConnected) {
      this.finish();
      return;
    }
    const scroll = this.sheets.map((sheet) => sheet.parentElement?.scrollTop).join() + window.scrollY;
    const still = this.place === this.last.place && scroll === this.last.scroll;
    if (!this.place || (still && t - this.last.at < STILL_MS)) return;
    this.last = { place: this.place, scroll, at: t };
    const { response, offset } = hit(this.place[0], this.place[1]);
    const side = response && offset !== null ? SIDES.indexOf(response) : -1;
    this.ticks.t_ms.push(Math.round(t * 10) / 10);
    this.ticks.on.push(side);
    this.ticks.char.push(side < 0 ? -1 : this.layers[side].codePoint(offset));
  }

  finish() {
    const ticks = this.ticks;
    const t = performance.now() - this.began;
    this.stop();
    if (!this.element.isConnected) return;
    if (!ticks.on.some((side) => side >= 0)) {
      this.left.textContent = "The mouse was never on an answer: nothing to score.";
      this.oncancel();
      return;
    }
    this.left.textContent = `Scoring ${clock(t)} of reading…`;
    this.done(ticks);
  }

  stop() {
    window.clearInterval(this.timer);
    this.timer = 0;
    document.removeEventListener("pointermove", this.moved);
    this.button.textContent = "Record my own mouse";
  }
}
