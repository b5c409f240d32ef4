// @ts-check
/**
 * The text of one message as any page shows it: its text nodes without their blanks.
 *
 * Pages break lines and indent lists each in its own way, so an offset counts the UTF-16 units that
 * are not blank (`\s`). Our server counts the same in the Markdown that it has.
 */

const BLANKS = /\s+/g;

/** @param {string} text */
function counted(text) {
  return text.replace(BLANKS, "").length;
}

/** @typedef {{node: Text, start: number, units: number}} Piece a text node, and the units before and in it */

export class PageText {
  /**
   * @param {Element} root holds the text
   * @param {string} skip selector of what is no text of the message, as a button
   */
  constructor(root, skip) {
    this.root = root;
    /** @type {Piece[]} */
    this.pieces = [];
    /** @type {Map<Node, Piece>} */
    this.byNode = new Map();
    this.units = 0;
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT, (node) => {
      if (node instanceof Text) return NodeFilter.FILTER_ACCEPT;
      const left = skip && /** @type {Element} */ (node).matches(skip);
      return left ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_SKIP;
    });
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const text = /** @type {Text} */ (node);
      const units = counted(text.data);
      if (!units) continue;
      const piece = { node: text, start: this.units, units };
      this.pieces.push(piece);
      this.byNode.set(text, piece);
      this.units += units;
    }
  }

  /** All of it, without blanks. */
  get text() {
    return this.pieces.map(({ node }) => node.data.replace(BLANKS, "")).join("");
  }

  /**
   * Count the units before a place in a text node; a blank stands for the unit after it.
   * @param {Node} node
   * @param {number} unit
   * @returns {number|null} null where the node is none of this text
   */
  offset(node, unit) {
    const piece = this.byNode.get(node);
    if (!piece) return null;
    const before = piece.start + counted(piece.node.data.slice(0, unit));
    return Math.min(before, this.units - 1);
  }
}
