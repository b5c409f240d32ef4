// @ts-check
/**
 * Places on the screen and in the text of a message: the character under a point, and the part that
 * is visible where everything around it that scrolls may cut it off.
 */

import { allGlyphs, caretAt, distanceTo, distanceToRect, glyphsBeside } from "../record/hit.js";

/** @typedef {import("./page_text.js").PageText} PageText */
/** @typedef {{left: number, top: number, right: number, bottom: number}} Area */

const BLANK = /\s/;
const range = document.createRange();

/**
 * Find the character of a message nearest to a point.
 * @param {PageText} text
 * @param {number} x
 * @param {number} y
 * @returns {{offset: number, distance: number}|null}
 */
export function characterAt(text, x, y) {
  let [node, unit] = caretAt(x, y);
  if (!node || !text.byNode.has(node)) {
    node = nearestNode(text, x, y);
    unit = -1;
  }
  if (!(node instanceof Text)) return null;
  let best = null;
  for (const [start, end] of unit < 0 ? allGlyphs(node.data) : glyphsBeside(node.data, unit)) {
    const distance = distanceTo(node, start, end, x, y);
    if (distance === null || (best && distance >= best.distance)) continue;
    best = { offset: /** @type {number} */ (text.offset(node, start)), distance };
    if (distance === 0) break;
  }
  return best;
}

/**
 * In a gap between blocks a browser may answer with an element, or with another one's text.
 * @param {PageText} text
 * @param {number} x
 * @param {number} y
 * @returns {Text|null}
 */
function nearestNode(text, x, y) {
  let best = null;
  let least = Infinity;
  for (const { node } of text.pieces) {
    range.selectNodeContents(node);
    for (const rect of range.getClientRects()) {
      const distance = distanceToRect(rect, x, y);
      if (rect.width > 0 && distance < least) {
        least = distance;
        best = node;
      }
    }
  }
  return best;
}

/** What is cut off by whom, looked up once for as long as nothing on the page changes. */
export class Clips {
  constructor() {
    /** @type {WeakMap<Element, Element[]>} what around an element cuts off what lies outside of it */
    this.around = new WeakMap();
  }

  /**
   * @param {Element} element
   * @returns {Area} where its content can be seen
   */
  area(element) {
    const area = { left: 0, top: 0, right: window.innerWidth, bottom: window.innerHeight };
    for (const clipper of this.#clippers(element)) intersect(area, inside(clipper));
    return area;
  }

  /** @param {Element} element @returns {Element[]} */
  #clippers(element) {
    const known = this.around.get(element);
    if (known) return known;
    const parent = element.parentElement;
    // What the page's own two elements cut off is the window.
    const further = parent && parent !== document.body ? this.#clippers(parent) : [];
    const { display, overflowX, overflowY } = getComputedStyle(element);
    const cuts = !/^(inline|contents)$/.test(display) && (overflowX !== "visible" || overflowY !== "visible");
    const found = cuts ? [element, ...further] : further;
    this.around.set(element, found);
    return found;
  }
}

/**
 * Find the part of a message that is on the screen.
 * @param {PageText} text
 * @param {Clips} clips
 * @returns {[number, number]|null} first and last offset (inclusive); null: nothing of it is visible
 */
export function visiblePart(text, clips) {
  if (!overlaps(text.root.getBoundingClientRect(), clips.area(text.root))) return null;
  /** @type {Map<Element|null, Area>} */
  const areas = new Map();
  let first = null;
  let last = null;
  for (const piece of text.pieces) {
    const parent = piece.node.parentElement;
    let area = areas.get(parent);
    if (!area) areas.set(parent, (area = clips.area(parent ?? text.root)));
    range.selectNodeContents(piece.node);
    const rect = range.getBoundingClientRect();
    if (!overlaps(rect, area)) continue;
    const whole = contains(area, rect);
    const from = whole ? 0 : edgeUnit(piece.node, area, 1);
    if (from === null) continue;
    first ??= text.offset(piece.node, from);
    const until = whole ? piece.units : edgeUnit(piece.node, area, -1);
    last = whole ? piece.start + piece.units - 1 : text.offset(piece.node, until ?? from);
  }
  return first === null || last === null ? null : [first, last];
}

/**
 * @param {Text} node
 * @param {Area} area
 * @param {1|-1} step from the first unit on, or back from the last
 * @returns {number|null} the first unit met that is not blank and can be seen
 */
function edgeUnit(node, area, step) {
  const { data } = node;
  // Lines only go down: everything before some unit is above, everything behind another is below.
  const edge = firstUnit(node, (rect) => (step > 0 ? rect.bottom > area.top : rect.top >= area.bottom));
  for (let unit = step > 0 ? edge : edge - 1; unit >= 0 && unit < data.length; unit += step) {
    if (BLANK.test(data[unit])) continue;
    const rect = unitRect(node, unit);
    if (rect.width > 0 && overlaps(rect, area)) return unit;
    if (step > 0 ? rect.top >= area.bottom : rect.bottom <= area.top) return null;
  }
  return null;
}

/**
 * @param {Text} node
 * @param {(rect: DOMRect) => boolean} reached true from some unit on
 */
function firstUnit(node, reached) {
  let low = 0;
  let high = node.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    // A blank at the end of a line may take no place: its next neighbour that does tells.
    let at = middle;
    while (at < high && BLANK.test(node.data[at])) at += 1;
    if (at === high || reached(unitRect(node, at))) high = middle;
    else low = at + 1;
  }
  return low;
}

/** @param {Text} node @param {number} unit */
function unitRect(node, unit) {
  range.setStart(node, unit);
  range.setEnd(node, unit + 1);
  return range.getBoundingClientRect();
}

/** @param {Element} element @returns {Area} what its borders and scroll bars leave */
function inside(element) {
  const rect = element.getBoundingClientRect();
  const left = rect.left + element.clientLeft;
  const top = rect.top + element.clientTop;
  return { left, top, right: left + element.clientWidth, bottom: top + element.clientHeight };
}

/** @param {Area} area @param {Area} other */
function intersect(area, other) {
  area.left = Math.max(area.left, other.left);
  area.top = Math.max(area.top, other.top);
  area.right = Math.min(area.right, other.right);
  area.bottom = Math.min(area.bottom, other.bottom);
}

/** @param {Area} one @param {Area} other */
function overlaps(one, other) {
  return (
    Math.min(one.right, other.right) > Math.max(one.left, other.left) &&
    Math.min(one.bottom, other.bottom) > Math.max(one.top, other.top)
  );
}

/** @param {Area} outer @param {Area} inner */
function contains(outer, inner) {
  return (
    inner.left >= outer.left && inner.right <= outer.right && inner.top >= outer.top && inner.bottom <= outer.bottom
  );
}
