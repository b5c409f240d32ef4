// @ts-check
/**
 * What the recorder asks of a page that somebody else wrote: which answer and which of its characters
 * are at a point, what of each is visible, what is selected. No text of the page leaves it.
 */

import { Clips, characterAt, visiblePart } from "./page_places.js";

/** @typedef {(kind: string, ...rest: unknown[]) => void} Emit */
/** @typedef {{answer: string, chat?: string, copy_part?: string}} Places */
/** @typedef {{element: HTMLElement, answer: boolean}} Shown */
/**
 * @template {Shown} S
 * @typedef {object} Messages what is on the page: `PageMessages`, `IdMessages`
 * @property {Map<Element, S>} byElement
 * @property {{shown: S[]}[]} columns of messages that stand one below the other
 * @property {string[]} [attributes] that tell which message an element is
 * @property {(records: MutationRecord[]) => void} note
 * @property {() => boolean} look
 * @property {(shown: S) => import("./page_text.js").PageText} text
 * @property {(shown: S) => number|null} number
 * @property {(shown: S, act: import("./page_messages.js").Act, part?: [number, number]) => void} acted
 * @property {() => Promise<void>} stop
 */
/** @typedef {{number: number, element: HTMLElement, first: number, last: number}} Visible */

/** @template {Shown} [S=any] @template {Messages<S>} [M=Messages<S>] */
export class PageReader {
  /**
   * @param {Places} adapter
   * @param {(emit: Emit) => M} messagesOf
   */
  constructor(adapter, messagesOf) {
    this.adapter = adapter;
    this.clips = new Clips();
    /** @type {Emit} */
    this.emit = () => {};
    this.messages = messagesOf((...event) => this.emit(...event));
    /** @type {Visible[]} what `visible` last found */
    this.onScreen = [];
    this.stopping = new AbortController();
  }

  /** @param {(kind: string, ...rest: unknown[]) => void} emit takes each event */
  start(emit) {
    this.emit = emit;
    this.observer = new MutationObserver((records) => this.messages.note(records));
    const { attributes = [] } = this.messages;
    const ids = attributes.length ? { attributeFilter: attributes } : {};
    this.observer.observe(document.body, { childList: true, subtree: true, characterData: true, ...ids });
    const { signal } = this.stopping;
    addEventListener("resize", () => (this.clips = new Clips()), { signal });
    document.addEventListener("copy", () => this.#copied(), { signal });
    document.addEventListener("click", ({ target }) => this.#copiedPart(target), { signal, capture: true });
    this.look();
  }

  /** Tell what is left to tell. */
  async stop() {
    this.stopping.abort();
    this.observer?.disconnect();
    await this.messages.stop();
  }

  /** Take in what changed on the page. */
  look() {
    this.messages.note(this.observer?.takeRecords() ?? []);
    if (this.messages.look()) this.clips = new Clips();
  }

  /**
   * @param {number} x
   * @param {number} y
   * @param {Element|null} [under] what is there, where that is known
   */
  hit(x, y, under = document.elementFromPoint(x, y)) {
    const element = under?.closest(this.adapter.answer);
    const shown = element && this.messages.byElement.get(element);
    const message = shown ? this.messages.number(shown) : null;
    if (!shown || message === null) return null;
    const edge = shown.element.getBoundingClientRect();
    const place = characterAt(this.messages.text(shown), x, y);
    return {
      message,
      rx: x - edge.left,
      ry: y - edge.top,
      offset: place && place.offset,
      distance: place && place.distance,
    };
  }

  /** @returns {Visible[]} the answers that are on the screen */
  visible() {
    const found = [];
    for (const { shown: messages } of this.messages.columns) {
      for (const shown of this.#near(messages)) {
        const part = shown.answer ? visiblePart(this.messages.text(shown), this.clips) : null;
        const number = part && this.messages.number(shown);
        if (part && number !== null) {
          found.push({ number, element: shown.element, first: part[0], last: part[1] });
        }
      }
    }
    this.onScreen = found;
    return found;
  }

  /**
   * @param {Range} range
   * @returns {{number: number, first: number, last: number|null}|null} null: it begins in no answer;
   *   `last` is null where it ends in another one
   */
  selected(range) {
    const from = this.#placeOf(range.startContainer, range.startOffset);
    const number = from && this.messages.number(from.shown);
    if (!from || number === null) return null;
    const to = this.#placeOf(range.endContainer, range.endOffset);
    const last = to?.shown === from.shown ? to.offset : null;
    return { number, first: from.offset, last };
  }

  /**
   * @param {EventTarget|null} target that scrolled
   * @returns {number|null|undefined} number of the first answer on the screen that it scrolls;
   *   undefined: it is no chat
   */
  scroller(target) {
    if (!(target instanceof Element)) return undefined;
    const { chat } = this.adapter;
    if (chat && !target.matches(chat)) return undefined;
    const first = this.onScreen.find(({ element }) => target.contains(element));
    return first ? first.number : chat ? null : undefined;
  }

  /**
   * Messages stand one below the other, so that few of many are looked at.
   * @param {S[]} messages of a column
   * @returns {S[]} those that may be on the screen
   */
  #near(messages) {
    const { chat } = this.adapter;
    const around = chat ? messages[0]?.element.closest(chat) : document.documentElement;
    if (!around) return [];
    const { top, bottom } = this.clips.area(around);
    let low = 0;
    let high = messages.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (messages[middle].element.getBoundingClientRect().bottom > top) high = middle;
      else low = middle + 1;
    }
    let end = low;
    while (end < messages.length && messages[end].element.getBoundingClientRect().top < bottom) end += 1;
    return messages.slice(low, end);
  }

  /** @param {Node} node @param {number} unit */
  #placeOf(node, unit) {
    const element = (node instanceof Element ? node : node.parentElement)?.closest(this.adapter.answer);
    const shown = element && this.messages.byElement.get(element);
    if (!shown) return null;
    const text = this.messages.text(shown);
    let offset = text.offset(node, unit);
    if (offset === null) {
      // An end that stands between elements: the first text after it.
      const at = node.childNodes[unit] ?? node;
      const after = Node.DOCUMENT_POSITION_FOLLOWING | Node.DOCUMENT_POSITION_CONTAINED_BY;
      const next = text.pieces.find((piece) => piece.node === at || at.compareDocumentPosition(piece.node) & after);
      offset = next ? next.start : Math.max(0, text.units - 1);
    }
    return { shown, offset };
  }

  // --- copies that the page's own server does not see

  #copied() {
    const selection = document.getSelection();
    const part = selection?.rangeCount && !selection.isCollapsed ? this.selected(selection.getRangeAt(0)) : null;
    if (part) this.emit("a", part.number, "copy", ...this.#wholeEnds(part.first, part.last));
  }

  /** @param {number} first @param {number|null} last @returns {[number, number]|[null, null]} */
  #wholeEnds(first, last) {
    return last === null || last <= first ? [null, null] : [first, last - 1];
  }

  /** @param {EventTarget|null} target */
  #copiedPart(target) {
    const button = target instanceof Element && this.adapter.copy_part ? target.closest(this.adapter.copy_part) : null;
    const element = button?.closest(this.adapter.answer);
    const shown = element && this.messages.byElement.get(element);
    if (!button || !shown) return;
    const pieces = this.messages.text(shown).pieces.filter(({ node }) => button.parentElement?.contains(node));
    const last = pieces[pieces.length - 1];
    if (last) this.messages.acted(shown, "copy", [pieces[0].start, last.start + last.units - 1]);
  }
}
