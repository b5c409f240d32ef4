// The reward with behaviour over the reading: where it would stand, had reading ended there.

import { colours, fitCanvas, h } from "../dom.js";

const LEFT = 34; // as the timeline above it
const HEIGHT = 130;
const BARS = 34; // the moments below the curve

export class Course {
  /** @param {any} view of score_view.py */
  constructor(view) {
    const behavior = view.rewards.behavior;
    this.t = behavior.over_time.t_ms;
    this.p = behavior.over_time.chance;
    this.moments = behavior.moments;
    this.text = view.rewards.text;
    this.end = Math.max(1, view.ticks.t_ms.at(-1) ?? 1);
    this.most = Math.max(...this.moments.map((m) => Math.abs(m.change)), 1e-9);
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute(
      "aria-label",
      `Chance of B over the reading: from ${pct(this.p[0])} after the first moments to ${pct(this.p.at(-1))} at its end. ` +
        "Bars below show how much each moment moved it.",
    );
    this.element = h(
      "div",
      { class: "ifllm-replay ifllm-course" },
      h("h3", {}, "Length and behaviour, had reading ended earlier"),
      h("div", { class: "ifllm-canvas" }, this.canvas),
      h(
        "p",
        {},
        "Line: chance of B. Dashed: words alone. Bars: how much each moment moves the chance at the end, up for B, down for A.",
      ),
    );
  }

  layout() {
    this.width = this.canvas.parentElement?.clientWidth ?? 300;
  }

  x(/** @type {number} */ t) {
    return LEFT + (t / this.end) * (this.width - LEFT - 6);
  }

  y(/** @type {number} */ p) {
    return 4 + (1 - p) * (HEIGHT - BARS - 8);
  }

  /** The chance as it stood at a moment. @param {number} t */
  at(t) {
    let p = this.p[0];
    for (let i = 0; i < this.t.length && this.t[i] <= t; i++) p = this.p[i];
    return p;
  }

  /** @param {number} t the moment shown */
  paint(t) {
    if (!this.width) return;
    const ink = colours(this.canvas);
    const paper = fitCanvas(this.canvas, this.width, HEIGHT);
    paper.clearRect(0, 0, this.width, HEIGHT);
    paper.font = "11px system-ui, sans-serif";
    paper.textBaseline = "middle";
    paper.fillStyle = ink.soft;
    paper.strokeStyle = ink.line;
    paper.lineWidth = 1;
    for (const [p, name] of [[1, "B"], [0.5, "½"], [0, "A"]]) {
      const y = this.y(p);
      paper.fillText(name, 12, Math.max(8, y));
      paper.globalAlpha = 0.5;
      line(paper, LEFT, y, this.width - 6, y);
      paper.globalAlpha = 1;
    }
    paper.setLineDash([5, 4]);
    paper.strokeStyle = ink.ink;
    line(paper, LEFT, this.y(this.text), this.width - 6, this.y(this.text));
    paper.setLineDash([]);
    this.bars(paper, ink);
    paper.strokeStyle = ink.mouse;
    paper.lineWidth = 2.5;
    paper.beginPath();
    this.t.forEach((time, i) => paper.lineTo(this.x(time), this.y(this.p[i])));
    paper.stroke();
    paper.strokeStyle = ink.ink;
    paper.lineWidth = 1.5;
    line(paper, this.x(t), 0, this.x(t), HEIGHT);
  }

  bars(/** @type {CanvasRenderingContext2D} */ paper, /** @type {any} */ ink) {
    const middle = HEIGHT - BARS / 2;
    for (const moment of this.moments) {
      const height = (moment.change / this.most) * (BARS / 2 - 2);
      const [from, to] = [this.x(moment.from_ms), this.x(moment.to_ms)];
      paper.fillStyle = moment.change > 0 ? ink.for : ink.against;
      paper.fillRect(from, middle - Math.max(0, height), Math.max(1, to - from - 1), Math.abs(height));
    }
    paper.strokeStyle = ink.line;
    line(paper, LEFT, middle, this.width - 6, middle);
  }
}

function line(paper, x0, y0, x1, y1) {
  paper.beginPath();
  paper.moveTo(x0, y0);
  paper.lineTo(x1, y1);
  paper.stroke();
}

function pct(/** @type {number} */ p) {
  return `${Math.round(100 * p)} %`;
}
