// What the views draw with; `h` makes their elements.

export { h } from "../capture/dom.js";

/**
 * Fit a canvas to its CSS size, sharp on every screen.
 * @param {HTMLCanvasElement} canvas
 * @param {number} width CSS px
 * @param {number} height CSS px
 * @returns {CanvasRenderingContext2D} scaled so that units are CSS px
 */
export function fitCanvas(canvas, width, height) {
  const scale = window.devicePixelRatio || 1;
  const [w, hgt] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== w || canvas.height !== hgt) {
    canvas.width = w;
    canvas.height = hgt;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const paper = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  paper.setTransform(scale, 0, 0, scale, 0, 0);
  return paper;
}

/** The colours of page.css as they are now, light or dark. @param {Element} element */
export function colours(element) {
  const style = getComputedStyle(element);
  const named = (/** @type {string} */ name) => style.getPropertyValue(`--ifllm-${name}`).trim();
  return {
    ink: named("ink"),
    soft: named("soft"),
    line: named("line"),
    gaze: named("gaze"),
    mouse: named("mouse"),
    for: named("for"),
    against: named("against"),
    dark: element.closest(".dark") !== null,
  };
}

/** @param {number} ms */
export function clock(ms) {
  const s = Math.floor(ms / 1000);
  return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")}`;
}
