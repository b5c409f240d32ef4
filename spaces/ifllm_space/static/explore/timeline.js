// Where in the answers gaze and mouse were over time: a lane per answer, the phases below.

import { clock, colours, fitCanvas } from "../dom.js";

/** @typedef {import("./dwell.js").Ticks} Ticks */

const LEFT = 58; // room for the names of the lanes and of their ends
const GAP = 8;
const PHASE = 18;
const AXIS = 34;
const TIME = "time since the answers appeared (min:s)";
const PHASE_NAMES = ["reading", "rating", "after"];
const STEPS_S = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600];

export class Timeline {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Ticks} ticks
   * @param {{name: string, length: number}[]} lanes
   */
  constructor(canvas, ticks, lanes) {
    this.canvas = canvas;
    this.ticks = ticks;
    this.lanes = lanes;
    this.end = Math.max(1, ticks.t_ms.at(-1) ?? 1);
    this.behind = document.createElement("canvas"); // all but the moment shown
    this.errorChars = 0;
    this.shown = { gaze: true, mouse: true };
  }

  layout() {
    this.width = this.canvas.parentElement?.clientWidth ?? 300;
    this.lane = this.width < 500 ? 72 : 96;
    this.height = this.lanes.length * (this.lane + GAP) + PHASE + AXIS;
    this.drawBehind();
  }

  x(/** @type {number} */ t) {
    return LEFT + (t / this.end) * (this.width - LEFT - 6);
  }

  /** The time at a horizontal place. @param {number} x */
  time(x) {
    return Math.min(1, Math.max(0, (x - LEFT) / (this.width - LEFT - 6))) * this.end;
  }

  drawBehind() {
    const ink = colours(this.canvas);
    const paper = fitCanvas(this.behind, this.width, this.height);
    paper.clearRect(0, 0, this.width, this.height);
    paper.font = "12px system-ui, sans-serif";
    paper.textBaseline = "middle";
    this.lanes.forEach((lane, side) => {
      const top = side * (this.lane + GAP);
      paper.globalAlpha = 1;
      paper.strokeStyle = ink.line;
      paper.lineWidth = 1;
      paper.strokeRect(LEFT - 0.5, top + 0.5, this.width - LEFT - 5, this.lane - 1);
      paper.fillStyle = ink.ink;
      paper.font = "600 14px system-ui, sans-serif";
      paper.fillText(lane.name, 4, top + this.lane / 2);
      this.drawEnds(paper, top, ink);
      paper.save();
      paper.beginPath();
      paper.rect(LEFT, top, this.width - LEFT - 6, this.lane);
      paper.clip();
      this.drawVisible(paper, side, top, ink.ink);
      if (this.shown.gaze) this.drawGaze(paper, side, top, ink.gaze);
      if (this.shown.mouse) this.drawMouse(paper, side, top, ink.mouse);
      paper.restore();
    });
    this.drawPhases(paper, this.lanes.length * (this.lane + GAP), ink);
    this.drawAxis(paper, ink);
  }

  /** A lane goes down from the start of an answer to its end. */
  drawEnds(
    /** @type {CanvasRenderingContext2D} */ paper,
    /** @type {number} */ top,
    /** @type {ReturnType<typeof colours>} */ ink,
  ) {
    paper.font = "11px system-ui, sans-serif";
    paper.fillStyle = ink.soft;
    paper.textAlign = "right";
    paper.fillText("start", LEFT - 5, top + 8);
    paper.fillText("end", LEFT - 5, top + this.lane - 8);
    paper.textAlign = "left";
  }

  y(/** @type {number} */ side, /** @type {number} */ top, /** @type {number} */ char) {
    return top + 2 + (char / Math.max(1, this.lanes[side].length)) * (this.lane - 4);
  }

  /** The part of the answer that was on screen, each until the next. */
  drawVisible(
    /** @type {CanvasRenderingContext2D} */ paper,
    /** @type {number} */ side,
    /** @type {number} */ top,
    /** @type {string} */ colour,
  ) {
    const ranges = this.ticks.visible?.[side] ?? [];
    paper.fillStyle = colour;
    paper.globalAlpha = 0.08;
    ranges.forEach(([tick, first, end], i) => {
      const from = this.x(this.ticks.t_ms[tick]);
      const to = i + 1 < ranges.length ? this.x(this.ticks.t_ms[ranges[i + 1][0]]) : this.x(this.end);
      const y = this.y(side, top, first);
      paper.fillRect(from, y, to - from, this.y(side, top, end) - y);
    });
  }

  drawGaze(
    /** @type {CanvasRenderingContext2D} */ paper,
    /** @type {number} */ side,
    /** @type {number} */ top,
    /** @type {string} */ colour,
  ) {
    const { t_ms: t, gaze } = this.ticks;
    const reach = (this.errorChars / Math.max(1, this.lanes[side].length)) * (this.lane - 4);
    paper.fillStyle = colour;
    for (let i = 0; i < t.length; i++) {
      if (gaze.on[i] !== side) continue;
      const [x, y] = [this.x(t[i]), this.y(side, top, gaze.char[i])];
      if (reach > 1) {
        paper.globalAlpha = 0.07;
        paper.fillRect(x - 1, y - reach, 2, 2 * reach);
      }
      paper.globalAlpha = 0.9;
      paper.fillRect(x - 1, y - 1, 2, 2);
    }
  }

  drawMouse(
    /** @type {CanvasRenderingContext2D} */ paper,
    /** @type {number} */ side,
    /** @type {number} */ top,
    /** @type {string} */ colour,
  ) {
    const { t_ms: t, mouse } = this.ticks;
    paper.globalAlpha = 1;
    paper.strokeStyle = colour;
    paper.lineWidth = 2;
    paper.lineJoin = "round";
    paper.beginPath();
    let drawing = false;
    for (let i = 0; i < t.length; i++) {
      if (mouse.on[i] === -2) continue;
      if (mouse.on[i] !== side) {
        drawing = false;
        continue;
      }
      const [x, y] = [this.x(t[i]), this.y(side, top, mouse.char[i])];
      if (drawing) paper.lineTo(x, y);
      else paper.moveTo(x - 1, y); // a single tick is seen as well
      paper.lineTo(x, y);
      drawing = true;
    }
    paper.stroke();
  }

  drawPhases(
    /** @type {CanvasRenderingContext2D} */ paper,
    /** @type {number} */ top,
    /** @type {ReturnType<typeof colours>} */ ink,
  ) {
    const { t_ms: t, phase } = this.ticks;
    paper.font = "11px system-ui, sans-serif";
    for (let first = 0, i = 1; i <= phase.length; i++) {
      if (i < phase.length && phase[i] === phase[first]) continue;
      const from = this.x(t[first]);
      const to = this.x(i < t.length ? t[i] : this.end);
      paper.fillStyle = ink.ink;
      paper.globalAlpha = [0.1, 0.3, 0.2][phase[first]];
      paper.fillRect(from, top, Math.max(1, to - from), PHASE - 3);
      const name = PHASE_NAMES[phase[first]];
      if (paper.measureText(name).width + 8 < to - from) {
        paper.globalAlpha = 1;
        paper.fillText(name, from + 4, top + PHASE / 2 - 1);
      }
      first = i;
    }
  }

  drawAxis(
    /** @type {CanvasRenderingContext2D} */ paper,
    /** @type {ReturnType<typeof colours>} */ ink,
  ) {
    const least = (50 / (this.width - LEFT)) * this.end; // no two numbers touch
    const step = 1000 * (STEPS_S.find((s) => s * 1000 >= least) ?? 1200);
    paper.globalAlpha = 1;
    paper.fillStyle = ink.soft;
    paper.font = "11px system-ui, sans-serif";
    for (let t = 0; t <= this.end; t += step) {
      const name = clock(t);
      const x = Math.min(this.x(t), this.width - paper.measureText(name).width - 2);
      paper.fillText(name, x, this.height - AXIS + 8);
    }
    paper.fillText(TIME, LEFT, this.height - 8);
  }

  /** Draw the whole with a line at the moment shown. @param {number} t */
  paint(t) {
    const paper = fitCanvas(this.canvas, this.width, this.height);
    paper.clearRect(0, 0, this.width, this.height);
    if (this.behind.width > 0 && this.behind.height > 0) {
      paper.drawImage(this.behind, 0, 0, this.width, this.height);
    }
    paper.strokeStyle = colours(this.canvas).ink;
    paper.lineWidth = 1.5;
    paper.beginPath();
    paper.moveTo(this.x(t), 0);
    paper.lineTo(this.x(t), this.height - AXIS);
    paper.stroke();
  }
}
