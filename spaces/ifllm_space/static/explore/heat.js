// Heat under a text, character by character, on a canvas behind it.
// One canvas behind the text, which stays selectable; a repaint costs milliseconds.

import { colours, fitCanvas } from "../dom.js";

const LEVELS = 12;

/**
 * Where a character is drawn. A browser may give the first one of a wrapped line a second rectangle
 * without width, at the end of the line before: the bounding box would then be two lines high.
 * @param {Range} range
 */
function placeOf(range) {
  const all = [...range.getClientRects()];
  return all.find((rect) => rect.width > 0) ?? all.at(-1) ?? range.getBoundingClientRect();
}

export class HeatLayer {
  /**
   * @param {HTMLElement} sheet positioned element that holds the canvas and the text
   * @param {string} text as stored: offsets point into it
   * @param {string} [html] the same rendered by markdown_source.py; without it the text as it is
   */
  constructor(sheet, text, html) {
    this.sheet = sheet;
    this.canvas = document.createElement("canvas");
    this.canvas.className = "ifllm-heat";
    this.canvas.setAttribute("aria-hidden", "true");
    this.words = document.createElement("div");
    this.words.className = "ifllm-text";
    // How hit.js finds characters: runs of text that know their place in the source.
    if (html) {
      this.words.classList.add("ifllm-markdown");
      this.words.innerHTML = html; // written by markdown_source.py from a short list of tags
    } else {
      const run = document.createElement("span");
      run.dataset.s = "0";
      run.append(text);
      this.words.append(run);
    }
    sheet.append(this.canvas, this.words);
    /** UTF-16 offset of every code point. */
    this.starts = [];
    for (let at = 0; at < text.length; at += text.codePointAt(at) > 0xffff ? 2 : 1) {
      this.starts.push(at);
    }
    this.starts.push(text.length);
    /** Where a code point is shown: text node and UTF-16 units in it; marks of Markdown are not. */
    this.glyphs = /** @type {([Text, number, number]|undefined)[]} */ (Array(this.length));
    for (const run of this.words.querySelectorAll("[data-s]")) this.addRun(run);
    this.size = [0, 0];
  }

  get length() {
    return this.starts.length - 1;
  }

  addRun(/** @type {Element} */ run) {
    const node = run.firstChild;
    if (!(node instanceof Text)) return;
    const from = Number(/** @type {HTMLElement} */ (run).dataset.s);
    const stop = from + node.length;
    for (let i = this.codePoint(from); i < this.length && this.starts[i] < stop; i++) {
      if (this.starts[i] < from) continue;
      const end = Math.min(this.starts[i + 1], stop);
      this.glyphs[i] = [node, this.starts[i] - from, end - from];
    }
  }

  /** Find where every character is; again after each change of width. */
  layout() {
    const n = this.length;
    const origin = this.sheet.getBoundingClientRect();
    this.box = new Float32Array(4 * n); // left, top, right, bottom; no width where it is not shown
    const range = document.createRange();
    for (let i = 0; i < n; i++) {
      const glyph = this.glyphs[i];
      if (!glyph) continue;
      range.setStart(glyph[0], glyph[1]);
      range.setEnd(glyph[0], glyph[2]);
      const rect = placeOf(range);
      this.box[4 * i] = rect.left - origin.left;
      this.box[4 * i + 1] = rect.top - origin.top;
      this.box[4 * i + 2] = rect.right - origin.left;
      this.box[4 * i + 3] = rect.bottom - origin.top;
    }
    this.size = [this.sheet.clientWidth, this.sheet.scrollHeight];
  }

  /**
   * @param {{gaze: Float32Array|null, mouse: Float32Array|null}} heat from 0 to 1 per character
   * @param {{gaze: {from: number, to: number}|null, mouse: number|null}} [now] where they are
   */
  paint(heat, now = { gaze: null, mouse: null }) {
    const ink = colours(this.sheet);
    const paper = fitCanvas(this.canvas, this.size[0], this.size[1]);
    paper.clearRect(0, 0, this.size[0], this.size[1]);
    if (now.gaze) {
      paper.fillStyle = ink.gaze;
      paper.globalAlpha = 0.22;
      this.stripes(paper, now.gaze.from, now.gaze.to, 0, 0);
    }
    if (heat.gaze) {
      paper.fillStyle = ink.gaze;
      this.runs(heat.gaze, (first, stop, level) => {
        paper.globalAlpha = (ink.dark ? 0.5 : 0.6) * level;
        this.stripes(paper, first, stop, 0, 0);
      });
    }
    if (heat.mouse) {
      paper.fillStyle = ink.mouse;
      this.runs(heat.mouse, (first, stop, level) => {
        paper.globalAlpha = 0.4 + 0.6 * level;
        this.stripes(paper, first, stop, 1 + 3 * level, 1);
      });
    }
    if (now.mouse !== null) this.ring(paper, now.mouse, ink.mouse);
    paper.globalAlpha = 1;
  }

  /**
   * Colour stretches by what they do for their answer.
   * @param {{start: number, stop: number, gain: number}[]} parts gain: above 0 speaks for the answer
   * @param {number} most the largest gain or loss of all answers
   */
  paintParts(parts, most) {
    const ink = colours(this.sheet);
    const paper = fitCanvas(this.canvas, this.size[0], this.size[1]);
    paper.clearRect(0, 0, this.size[0], this.size[1]);
    for (const { start, stop, gain } of parts) {
      const level = Math.sqrt(Math.abs(gain) / most);
      if (!(level > 0.35)) continue; // below an eighth of the most: noise
      paper.fillStyle = gain > 0 ? ink.for : ink.against;
      paper.globalAlpha = 0.4 * level;
      this.stripes(paper, start, stop, 0, 0);
      if (gain < 0) {
        // A line as well: not all eyes tell these colours apart.
        paper.globalAlpha = 1;
        this.stripes(paper, start, stop, 2, 0);
      }
    }
    paper.globalAlpha = 1;
  }

  /** The code point that holds a UTF-16 unit. @param {number} unit */
  codePoint(unit) {
    let low = 0;
    let high = this.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle] <= unit) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Where a character is, for scrolling to it. @param {number} char */
  top(char) {
    return this.box ? this.box[4 * this.shown(char) + 1] : 0;
  }

  /** The last character up to this one that is on the page. @param {number} char */
  shown(char) {
    while (char > 0 && this.box && this.box[4 * char + 2] <= this.box[4 * char]) char--;
    return char;
  }

  /** Call `draw` for every run of equal level. */
  runs(
    /** @type {Float32Array} */ values,
    /** @type {(first: number, stop: number, level: number) => void} */ draw,
  ) {
    let first = 0;
    let level = 0;
    for (let i = 0; i <= values.length; i++) {
      // Never 0 but for nothing at all: a short look is still a look.
      const here = i < values.length ? Math.ceil(Math.min(1, values[i]) * LEVELS - 0.2) : -1;
      if (here === level) continue;
      if (level > 0) draw(first, i, level / LEVELS);
      first = i;
      level = here;
    }
  }

  /** Fill the characters from `first` to `stop`, one rectangle per line of text. */
  stripes(
    /** @type {CanvasRenderingContext2D} */ paper,
    /** @type {number} */ first,
    /** @type {number} */ stop,
    /** @type {number} */ thickness,
    /** @type {number} */ below,
  ) {
    const box = this.box;
    if (!box) return;
    let left = 0;
    let right = -1;
    let top = 0;
    let bottom = 0;
    const flush = () => {
      if (right <= left) return;
      if (thickness > 0) paper.fillRect(left, bottom + below, right - left, thickness);
      else paper.fillRect(left, top - 1, right - left, bottom - top + 2);
    };
    for (let i = Math.max(0, first); i < Math.min(stop, this.length); i++) {
      if (box[4 * i + 2] <= box[4 * i]) continue; // a line break takes no room
      if (right > left && Math.abs(box[4 * i + 3] - bottom) < 3) {
        right = Math.max(right, box[4 * i + 2]);
      } else {
        flush();
        [left, top, right, bottom] = box.subarray(4 * i, 4 * i + 4);
      }
    }
    flush();
  }

  ring(
    /** @type {CanvasRenderingContext2D} */ paper,
    /** @type {number} */ char,
    /** @type {string} */ colour,
  ) {
    if (!this.box || char >= this.length) return;
    const at = 4 * this.shown(char);
    const [left, top, right, bottom] = this.box.subarray(at, at + 4);
    paper.globalAlpha = 1;
    paper.strokeStyle = colour;
    paper.lineWidth = 2.5;
    paper.beginPath();
    paper.arc((left + right) / 2, (top + bottom) / 2, 11, 0, 2 * Math.PI);
    paper.stroke();
  }
}
