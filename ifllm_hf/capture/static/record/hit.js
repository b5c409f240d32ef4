// @ts-check
/**
 * From a point on the screen to the character under it, as an offset into the answer's source.
 *
 * An answer is `<div data-response="A">` (itself the element that scrolls); every run of its text is
 * `<span data-s="N">`, N the UTF-16 offset of the run in the Markdown source.
 */

/**
 * @typedef {object} Hit
 * @property {HTMLElement|null} box the answer under the point
 * @property {"A"|"B"|null} response its name
 * @property {number|null} rx px from the left of the answer's content
 * @property {number|null} ry px from the top of the answer's content, scrolled parts included
 * @property {number|null} offset UTF-16 units into the source: the glyph nearest to the point
 * @property {number|null} distance px from the point to that glyph; 0: it is on the glyph
 */

/** @type {Hit} */
const NOTHING = {
  box: null,
  response: null,
  rx: null,
  ry: null,
  offset: null,
  distance: null,
};
const PLAIN = /^[\n\r\t\x20-\x7e]*$/;
/** How many units around a caret may belong to one glyph: a family emoji has eleven. */
const GLYPH_UNITS_MAX = 40;
const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });
const range = document.createRange();

/**
 * Find what is under a point of the viewport.
 * @param {number} x
 * @param {number} y
 * @param {Element|null} under what the browser has found there, where that is known: looking again
 *   costs as much as finding the glyph
 * @returns {Hit}
 */
export function hit(x, y, under = document.elementFromPoint(x, y)) {
  const box = under?.closest("[data-response]");
  if (!(box instanceof HTMLElement)) return NOTHING;
  const edge = box.getBoundingClientRect();
  const glyph = glyphAt(box, x, y);
  return {
    box,
    response: /** @type {"A"|"B"} */ (box.dataset.response),
    rx: x - edge.left - box.clientLeft + box.scrollLeft,
    ry: y - edge.top - box.clientTop + box.scrollTop,
    offset: glyph && glyph.offset,
    distance: glyph && glyph.distance,
  };
}

/**
 * @param {HTMLElement} box
 * @param {number} x
 * @param {number} y
 * @returns {{offset: number, distance: number}|null}
 */
function glyphAt(box, x, y) {
  let [node, unit] = caretAt(x, y);
  let run = runOf(node, box);
  if (!run) {
    // In the gap between two blocks a browser may answer with an element, or with another one's text.
    const nearest = nearestRun(box, x, y);
    if (!nearest) return null;
    [run, node] = nearest;
    unit = -1;
  }
  const text = /** @type {Text} */ (node);
  const before = unitsBefore(text, run) + Number(run.dataset.s);
  const spans = unit < 0 ? allGlyphs(text.data) : glyphsBeside(text.data, unit);
  let best = null;
  for (const [start, end] of spans) {
    const distance = distanceTo(text, start, end, x, y);
    if (distance !== null && (!best || distance < best.distance)) {
      best = { offset: before + start, distance };
      if (distance === 0) break;
    }
  }
  return best;
}

/**
 * @param {number} x
 * @param {number} y
 * @returns {[Node|null, number]}
 */
export function caretAt(x, y) {
  if (document.caretPositionFromPoint) {
    const caret = document.caretPositionFromPoint(x, y);
    return caret ? [caret.offsetNode, caret.offset] : [null, 0];
  }
  const found = document.caretRangeFromPoint?.(x, y); // Safari
  return found ? [found.startContainer, found.startOffset] : [null, 0];
}

/**
 * @param {Node|null} node
 * @param {HTMLElement} box
 * @returns {HTMLElement|null} the run that a text belongs to, if it is one of this answer's
 */
function runOf(node, box) {
  if (!(node instanceof Text)) return null;
  const run = node.parentElement?.closest("[data-s]");
  return run instanceof HTMLElement && box.contains(run) ? run : null;
}

/**
 * @param {Text} text
 * @param {HTMLElement} run
 * @returns {number} units of the run that stand before this text (0 unless somebody split it)
 */
function unitsBefore(text, run) {
  if (run.firstChild === text) return 0;
  range.setStart(run, 0);
  range.setEnd(text, 0);
  return range.toString().length;
}

/**
 * @param {HTMLElement} box
 * @param {number} x
 * @param {number} y
 * @returns {[HTMLElement, Text]|null}
 */
function nearestRun(box, x, y) {
  /** @type {[HTMLElement, Text]|null} */
  let best = null;
  let least = Infinity;
  for (const run of box.querySelectorAll("[data-s]")) {
    if (!(run instanceof HTMLElement) || !(run.firstChild instanceof Text)) continue;
    for (const rect of run.getClientRects()) {
      const distance = distanceToRect(rect, x, y);
      if (rect.width > 0 && distance < least) {
        least = distance;
        best = [run, run.firstChild];
      }
    }
  }
  return best;
}

/**
 * @param {string} data
 * @param {number} unit
 * @returns {Array<[number, number]>} the glyphs right and left of a caret
 */
export function glyphsBeside(data, unit) {
  const first = Math.max(0, unit - GLYPH_UNITS_MAX);
  const near = data.slice(first, unit + GLYPH_UNITS_MAX);
  /** @type {Array<[number, number]>} */
  const found = [];
  if (PLAIN.test(near)) {
    if (unit < data.length) found.push([unit, unit + 1]);
    if (unit > 0) found.push([unit - 1, unit]);
    return found;
  }
  const segments = graphemes.segment(data);
  for (const at of [unit, unit - 1]) {
    const glyph = segments.containing(at);
    if (glyph) found.push([glyph.index, glyph.index + glyph.segment.length]);
  }
  return found;
}

/**
 * @param {string} data
 * @returns {Array<[number, number]>}
 */
export function allGlyphs(data) {
  return [...graphemes.segment(data)].map(({ index, segment }) => [index, index + segment.length]);
}

/**
 * @param {Text} text
 * @param {number} start
 * @param {number} end
 * @param {number} x
 * @param {number} y
 * @returns {number|null} null for what takes no place on the screen
 */
export function distanceTo(text, start, end, x, y) {
  range.setStart(text, start);
  range.setEnd(text, end);
  let least = null;
  for (const rect of range.getClientRects()) {
    if (rect.width <= 0 || rect.height <= 0) continue;
    const distance = distanceToRect(rect, x, y);
    if (least === null || distance < least) least = distance;
  }
  return least;
}

/**
 * @param {DOMRect} rect
 * @param {number} x
 * @param {number} y
 */
export function distanceToRect(rect, x, y) {
  const dx = Math.max(rect.left - x, 0, x - rect.right);
  const dy = Math.max(rect.top - y, 0, y - rect.bottom);
  return Math.hypot(dx, dy);
}

/**
 * Find the part of an answer that is on the screen.
 * @param {HTMLElement} box an answer
 * @returns {[number, number]|null} first and last offset (inclusive); null: nothing of it is visible
 */
export function visibleOffsets(box) {
  const edge = box.getBoundingClientRect();
  const top = Math.max(edge.top + box.clientTop, 0);
  const bottom = Math.min(edge.top + box.clientTop + box.clientHeight, window.innerHeight);
  if (bottom <= top || edge.right <= 0 || edge.left >= window.innerWidth) return null;
  let first = Infinity;
  let last = -1;
  for (const run of box.querySelectorAll("[data-s]")) {
    const rect = run.getBoundingClientRect();
    const text = run.firstChild;
    if (rect.bottom <= top || rect.top >= bottom || !(text instanceof Text)) continue;
    const offset = Number(/** @type {HTMLElement} */ (run).dataset.s);
    const whole = rect.top >= top && rect.bottom <= bottom;
    const start = whole ? 0 : firstUnit(text, (unit) => unit.bottom > top);
    const end = whole ? text.length : firstUnit(text, (unit) => unit.top >= bottom);
    if (start >= end) continue;
    first = Math.min(first, offset + start);
    last = Math.max(last, offset + end - 1);
  }
  return last < 0 ? null : [first, last];
}

/**
 * @param {Text} text
 * @param {(rect: DOMRect) => boolean} reached true from some unit on: lines only go down
 * @returns {number} the first unit for which it is
 */
function firstUnit(text, reached) {
  let low = 0;
  let high = text.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    range.setStart(text, middle);
    range.setEnd(text, middle + 1);
    if (reached(range.getBoundingClientRect())) high = middle;
    else low = middle + 1;
  }
  return low;
}

/**
 * Find the source offset of a point in the DOM, such as an end of the selection.
 * @param {Node|null} node
 * @param {number} unit
 * @returns {{box: HTMLElement, response: "A"|"B", offset: number}|null}
 */
export function sourceOffset(node, unit) {
  const box = (node instanceof Element ? node : node?.parentElement)?.closest("[data-response]");
  if (!node || !(box instanceof HTMLElement)) return null;
  let text = node;
  if (!(node instanceof Text)) {
    // An end that stands between elements: the first text after it.
    const walker = document.createTreeWalker(box, NodeFilter.SHOW_TEXT);
    walker.currentNode = node.childNodes[unit] ?? node;
    const next = walker.currentNode instanceof Text ? walker.currentNode : walker.nextNode();
    if (!next) return null;
    text = next;
    unit = 0;
  }
  const run = runOf(text, box);
  if (!run) return null;
  const offset = Number(run.dataset.s) + unitsBefore(/** @type {Text} */ (text), run) + unit;
  return { box, response: /** @type {"A"|"B"} */ (box.dataset.response), offset };
}
