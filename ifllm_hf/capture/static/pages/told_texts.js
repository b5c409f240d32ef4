// @ts-check
/**
 * What is told of the texts on a page, however its messages get their ids: a number for each text,
 * its hash once it rests, what the reader did to it, and the turns that it belongs to.
 */

import { PageText } from "./page_text.js";

/** @typedef {"copy"|"regenerate"|"edit"|"undo"|"like"|"dislike"|"follow_up"} Act */
/**
 * @typedef {object} Told what is known of one text of one message
 * @property {string} chat
 * @property {string} id
 * @property {HTMLElement} element
 * @property {number|null} number
 * @property {string|null} rested its text without blanks, once it rests
 * @property {PageText|null} text as it is now; null: look again
 */

/** A text that did not change for so long rests. */
export const REST_MS = 400;
const NUMBER_MAX = 9999;

/** @template {Told} S */
export class ToldTexts {
  /**
   * @param {(element: HTMLElement) => PageText} read the text of a message
   * @param {(kind: string, ...rest: unknown[]) => void} emit
   */
  constructor(read, emit) {
    this.read = read;
    this.emit = emit;
    /** @type {Map<Element, S>} on the page */
    this.byElement = new Map();
    this.listChanged = true;
    this.numbers = 0;
    /** @type {Set<string>} */
    this.turnsTold = new Set();
    /** @type {Set<Promise<void>>} */
    this.hashing = new Set();
  }

  /** @param {S} shown */
  text(shown) {
    return (shown.text ??= this.read(shown.element));
  }

  /** @param {S} shown @returns {number|null} null where there are too many, or nothing in it */
  number(shown) {
    const empty = shown.rested === null ? !this.text(shown).units : !shown.rested;
    if (shown.number === null && !empty && this.numbers <= NUMBER_MAX) {
      shown.number = this.numbers++;
      if (shown.rested !== null) this.tellText(shown);
    }
    return shown.number;
  }

  /** @param {S} shown @param {Act} act @param {[number, number]} [part] */
  acted(shown, act, part) {
    const number = this.number(shown);
    if (number !== null) this.emit("a", number, act, ...(part ?? [null, null]));
  }

  /** @param {S} shown that rests */
  tellText({ number, chat, id, rested }) {
    const units = rested?.length ?? 0;
    const told = sha256(rested ?? "").then((hash) => this.emit("m", number, { chat, id, sha256: hash, units }));
    this.hashing.add(told);
    told.finally(() => this.hashing.delete(told));
  }

  /** @param {object} turn told once */
  tellTurn(turn) {
    const now = JSON.stringify(turn);
    if (this.turnsTold.has(now)) return;
    this.turnsTold.add(now);
    this.emit("u", turn);
  }
}

/** @param {string} text @returns {Promise<string>} 64 hex digits */
async function sha256(text) {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  return [...hash].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
