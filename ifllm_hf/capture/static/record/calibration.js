// @ts-check
/**
 * Calibration with nine points and validation with five, as jsPsych does it. Validation also asks
 * whether gaze follows the mouse: while the eyes rest, made-up mouse movements must not move it.
 */

import { h } from "../dom.js";

/** @typedef {import("./gaze.js").Gaze} Gaze */
/** @typedef {{index: number, x: number, y: number}} Point */
/** @typedef {{x: number, y: number}} Place */

const NEAR_PX = 200;
const EDGES = [0.1, 0.5, 0.9];
const NINE = EDGES.flatMap((y) => EDGES.map((x) => [x, y]));
const FIVE = [[0.5, 0.5], [0.1, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.9]];
const MOUSE_EVERY_MS = 20;

/**
 * Let the reader click nine points.
 * @param {HTMLElement} root
 * @param {Gaze} gaze
 * @param {(point: Point) => void} onPoint
 * @throws when there is no camera, or the reader presses Escape
 */
export async function calibrate(root, gaze, onPoint) {
  const screen = overlay(root, "The camera starts …");
  try {
    await gaze.open();
    const often = gaze.pace.clicks === 1 ? "once" : `${gaze.pace.clicks} times`;
    screen.say(`Look at each circle while you press it ${often}. Escape ends it.`);
    for (const [index, place] of NINE.entries()) {
      const at = screen.place(place);
      onPoint({ index, ...at });
      await screen.press(at, gaze.pace.clicks, () => gaze.learn(at.x, at.y));
    }
  } finally {
    screen.close();
  }
}

/**
 * Show five points and measure how far off the gaze is.
 * @param {HTMLElement} root
 * @param {Gaze} gaze
 * @param {"before"|"after"} when
 * @param {(point: Point) => void} onPoint
 * @returns {Promise<object>} a `calibration` record of the schema, without its time
 */
export async function validate(root, gaze, when, onPoint) {
  const screen = overlay(root, "Now only look at each circle, and press nothing.");
  /** @type {Place[]} */
  let samples = [];
  const start = performance.now();
  let all = 0;
  await gaze.start(({ x, y, valid }) => {
    if (valid && x !== null && y !== null) {
      samples.push({ x, y });
      all += 1;
    }
  });
  const look = async () => {
    samples = [];
    await pause(gaze.pace.look_ms);
    return samples;
  };
  const points = [];
  /** @type {number[]} */
  const errors = [];
  let mouse_leak = null;
  try {
    for (const [index, place] of FIVE.entries()) {
      const at = screen.place(place);
      onPoint({ index, ...at });
      screen.show(at);
      await pause(gaze.pace.settle_ms);
      let seen = await look();
      if (index === 0) {
        const [during, mouse] = await withMouse(look);
        seen = [...seen, ...(await look())]; // on either side, so that a slow drift is no leak
        mouse_leak = leak(seen, during, mouse);
      }
      points.push(summary(at, seen));
      errors.push(...seen.map((sample) => distance(sample, at)));
    }
  } finally {
    await gaze.stop();
    screen.close();
  }
  const seconds = (performance.now() - start) / 1000;
  return {
    when,
    provider: gaze.name,
    version: gaze.version,
    mean_px: rounded(mean(errors)),
    median_px: rounded(median(errors)),
    share_within_200_px: share(errors),
    samples_per_s: rounded(all / seconds),
    mouse_leak: mouse_leak === null ? null : Math.round(1000 * mouse_leak) / 1000,
    viewport: [window.innerWidth, window.innerHeight],
    points,
  };
}

/**
 * Look while a made-up mouse moves in a corner. The recorder hears pointer events only.
 * @param {() => Promise<Place[]>} look
 * @returns {Promise<[Place[], Place]>}
 */
async function withMouse(look) {
  const corner = { x: 0.05 * window.innerWidth, y: 0.95 * window.innerHeight };
  const timer = setInterval(() => {
    const at = { clientX: corner.x + 9 * Math.random(), clientY: corner.y, bubbles: true };
    document.dispatchEvent(new MouseEvent("mousemove", at));
  }, MOUSE_EVERY_MS);
  const seen = await look();
  clearInterval(timer);
  return [seen, corner];
}

/**
 * Return by which share of the way to the mouse the gaze moved with it; 0 is none.
 * @param {Place[]} without
 * @param {Place[]} during
 * @param {Place} mouse
 */
function leak(without, during, mouse) {
  if (!without.length || !during.length) return null;
  const [a, b] = [centre(without), centre(during)];
  const way = { x: mouse.x - a.x, y: mouse.y - a.y };
  const length = way.x ** 2 + way.y ** 2;
  const share = length ? ((b.x - a.x) * way.x + (b.y - a.y) * way.y) / length : 0;
  return Math.max(-10, Math.min(10, share));
}

/** @param {Place} at @param {Place[]} seen */
function summary(at, seen) {
  if (!seen.length) return { ...at, n: 0 };
  const middle = centre(seen);
  const errors = seen.map((sample) => distance(sample, at));
  return {
    ...at,
    n: seen.length,
    dx: rounded(middle.x - at.x),
    dy: rounded(middle.y - at.y),
    rms_px: rounded(Math.sqrt(mean(seen.map((s) => distance(s, middle) ** 2)) ?? 0)),
    mean_px: rounded(mean(errors)),
    share_within_200_px: share(errors),
  };
}

/** @param {HTMLElement} root @param {string} text */
function overlay(root, text) {
  const said = h("p", { role: "status" }, text);
  const layer = h("div", { class: "ifllm-targets" }, said);
  root.append(layer);
  const stopped = new AbortController();
  /** @type {(reason: Error) => void} */
  let give_up = () => {};
  const listener = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Escape") give_up(new Error("stopped by the reader"));
  };
  document.addEventListener("keydown", listener, { signal: stopped.signal });
  const target = (/** @type {Place} */ at, /** @type {Record<string, unknown>} */ more = {}) => {
    layer.querySelector(".ifllm-target")?.remove();
    const style = `left:${at.x}px;top:${at.y}px`;
    const circle = h("button", { type: "button", class: "ifllm-target", style, ...more }, "●");
    layer.append(circle);
    return circle;
  };
  return {
    /** @param {string} words */
    say: (words) => (said.textContent = words),
    /** @param {number[]} share of the window */
    place: ([x, y]) => ({ x: Math.round(x * window.innerWidth), y: Math.round(y * window.innerHeight) }),
    /** @param {Place} at */
    show: (at) => void target(at, { "aria-label": "look here", tabindex: -1 }),
    /** @param {Place} at @param {number} times @param {() => void} act */
    press: (at, times, act) =>
      new Promise((resolve, reject) => {
        give_up = reject;
        let left = times;
        const onclick = () => {
          act();
          left -= 1;
          if (left <= 0) resolve(undefined);
        };
        target(at, { onclick, "aria-label": "look here and press" }).focus();
      }),
    close: () => {
      stopped.abort();
      layer.remove();
    },
  };
}

/** @param {number} ms */
function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** @param {Place[]} places */
function centre(places) {
  return { x: mean(places.map((p) => p.x)) ?? 0, y: mean(places.map((p) => p.y)) ?? 0 };
}

/** @param {Place} a @param {Place} b */
function distance(a, b) {
  return Math.hypot(a.x - b.x, a.y - b.y);
}

/** @param {number[]} values */
function mean(values) {
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
}

/** @param {number[]} values */
function median(values) {
  return values.length ? [...values].sort((a, b) => a - b)[values.length >> 1] : null;
}

/** @param {number[]} errors */
function share(errors) {
  const within = mean(errors.map((error) => Number(error <= NEAR_PX)));
  return within === null ? null : Math.round(1000 * within) / 1000;
}

/** @param {number|null} value */
function rounded(value) {
  return value === null ? null : Math.round(10 * value) / 10;
}
