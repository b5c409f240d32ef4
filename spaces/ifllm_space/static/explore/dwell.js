// How long each channel rested on each character, up to a moment that can be moved.

/**
 * @typedef {{on: number[], char: number[]}} Channel on: -2 not sampled, -1 off, 0 left, 1 right
 * @typedef {{t_ms: number[], phase: number[], gaze: Channel, mouse: Channel, visible?: number[][][]}} Ticks
 */

export const CHANNELS = /** @type {const} */ (["gaze", "mouse"]);
export const READING = 0;

export class Dwell {
  /**
   * @param {Ticks} ticks
   * @param {number[]} lengths code points of each answer
   * @param {number} capMs the longest time that one tick can stand for
   */
  constructor(ticks, lengths, capMs) {
    this.ticks = ticks;
    this.lengths = lengths;
    this.lasts = Object.fromEntries(CHANNELS.map((c) => [c, lasting(ticks, ticks[c].on, capMs)]));
    /** Ticks before this index are in the sums. */
    this.done = 0;
    /** @type {Record<string, Float32Array[]>} by channel and side: ms per character */
    this.ms = {};
    this.clear();
  }

  clear() {
    this.done = 0;
    for (const c of CHANNELS) this.ms[c] = this.lengths.map((n) => new Float32Array(n));
  }

  /** Sum up all reading before `t`; going back starts again. @param {number} t */
  moveTo(t) {
    const { t_ms: times, phase } = this.ticks;
    if (this.done > 0 && times[this.done - 1] >= t) this.clear();
    while (this.done < times.length && times[this.done] < t) {
      const i = this.done++;
      if (phase[i] !== READING) continue;
      for (const c of CHANNELS) {
        const side = this.ticks[c].on[i];
        const char = this.ticks[c].char[i];
        if (side >= 0 && char >= 0 && char < this.lengths[side]) {
          this.ms[c][side][char] += this.lasts[c][i];
        }
      }
    }
  }
}

/**
 * Time from each tick of a channel to its next one in the same phase, capped.
 * @param {Ticks} ticks @param {number[]} on @param {number} capMs
 */
function lasting(ticks, on, capMs) {
  const lasts = new Float32Array(on.length);
  let last = -1;
  for (let i = 0; i < on.length; i++) {
    if (on[i] === -2) continue;
    if (last >= 0 && ticks.phase[last] === ticks.phase[i]) {
      lasts[last] = Math.min(ticks.t_ms[i] - ticks.t_ms[last], capMs);
    }
    last = i;
  }
  return lasts;
}

/**
 * Smooth along the text as a Gaussian would: three moving means. The sum stays what it was.
 * @param {Float32Array} values @param {number} sigma characters
 */
export function smooth(values, sigma) {
  const radius = Math.max(0, Math.round(Math.sqrt(sigma * sigma + 0.25) - 0.5));
  let from = values;
  for (let pass = 0; pass < 3 && radius > 0; pass++) from = movingShare(from, radius);
  return from;
}

/** Spread every value evenly over its neighbours within the text. */
function movingShare(/** @type {Float32Array} */ values, /** @type {number} */ radius) {
  const n = values.length;
  const share = new Float64Array(n + 1); // differences of the result
  for (let i = 0; i < n; i++) {
    if (values[i] === 0) continue;
    const first = Math.max(0, i - radius);
    const stop = Math.min(n, i + radius + 1);
    const each = values[i] / (stop - first);
    share[first] += each;
    share[stop] -= each;
  }
  const out = new Float32Array(n);
  for (let i = 0, sum = 0; i < n; i++) {
    sum += share[i];
    out[i] = Math.max(0, sum);
  }
  return out;
}
