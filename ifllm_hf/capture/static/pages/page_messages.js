// @ts-check
/**
 * The messages of a page that somebody else wrote, as far as an adapter tells where they are.
 *
 * A page without ids gets some: the place of the message in its chat, and how often something else
 * stood there (an answer that was regenerated, a question that was edited). Each text of a message
 * has a number, told once the text rests; what is recorded while it grows has the same number.
 */

import { PageText } from "./page_text.js";
import { REST_MS, ToldTexts } from "./told_texts.js";

/**
 * @typedef {object} Adapter where a page has what: selectors
 * @property {string} name
 * @property {string} version
 * @property {string} chat what scrolls the messages
 * @property {string} message
 * @property {string} answer which of the messages are answers
 * @property {string} text of a message
 * @property {string} skip what is no text in it
 * @property {string} editing is there while a message is being edited
 * @property {string} copy_part copies the text beside it
 */
/**
 * @typedef {object} Shown one text of one message
 * @property {string} chat
 * @property {string} id
 * @property {boolean} answer
 * @property {string|null} replaces the answer that was regenerated
 * @property {HTMLElement} element
 * @property {number|null} number
 * @property {string|null} rested its text without blanks, once it rests
 * @property {string|null} ended its text when the reader asked for another one
 * @property {boolean} handed whether the server has its Markdown
 * @property {PageText|null} text as it is now; null: look again
 * @property {ReturnType<typeof setTimeout>|undefined} timer
 */
/** @typedef {{id: string, question: string}} Former an answer that stood at some place */
/**
 * @typedef {object} Column a chat of the page; several stand side by side
 * @property {string} root id of the element around it
 * @property {Shown[]} shown
 * @property {Shown[]} gone what stood there before the chat was emptied
 * @property {Map<number, number>} generations by place, of the message that stands or stood there
 * @property {Map<number, Former[]>} former by place
 * @property {boolean} editing whether the reader is editing a message, or has just done so
 * @property {{place: number, shown: Shown}|null} edited what was edited last, as it was before
 */
/**
 * @typedef {{column: number, place: number, role: "user"|"assistant", id: string, parent: string|null,
 *   replaces: string|null}} Fresh
 */
/** @typedef {import("./told_texts.js").Act} Act */

/** @extends {ToldTexts<Shown>} */
export class PageMessages extends ToldTexts {
  /**
   * @param {Adapter} adapter
   * @param {string[]} roots ids of the elements around each chat, from the left
   * @param {(kind: string, ...rest: unknown[]) => void} emit
   * @param {() => void} onrest a text rests that the server was not told of
   */
  constructor(adapter, roots, emit, onrest) {
    const { text, skip } = adapter;
    super((element) => new PageText(element.querySelector(text) ?? element, skip), emit);
    this.adapter = adapter;
    this.onrest = onrest;
    this.chat = newKey();
    /** @type {Column[]} */
    this.columns = roots.map((root) => column(root));
    /** @type {Shown[]} what `handOver` told, as long as the server has not answered */
    this.handing = [];
  }

  /** @returns {Shown[]} */
  all() {
    return this.columns.flatMap(({ shown }) => shown);
  }

  /** @param {MutationRecord[]} records */
  note(records) {
    /** @type {Set<Shown>} */
    const changed = new Set();
    for (const { target } of records) {
      const element = target instanceof Element ? target : target.parentElement;
      const message = element?.closest(this.adapter.message);
      const shown = message && this.byElement.get(message);
      if (shown) changed.add(shown);
      else this.listChanged = true;
    }
    for (const shown of changed) this.#changed(shown);
  }

  /** Take in messages that came or went. @returns {boolean} whether any may have */
  look() {
    if (!this.listChanged) return false;
    this.listChanged = false;
    for (const column of this.columns) {
      if (this.columns.includes(column)) this.#lookAt(column); // else another chat was opened
    }
    this.byElement.clear();
    for (const shown of this.all()) this.byElement.set(shown.element, shown);
    return true;
  }

  /**
   * The reader presses a control; what it acts on may be gone before the server has answered.
   * @param {number} at in which column
   * @param {Act} act
   * @returns {Shown[]} the messages of the column as they stand
   */
  pressed(at, act) {
    const { shown } = this.columns[at];
    const now = [...shown];
    if (act === "edit") {
      // Gradio draws the new text before it tells.
      const { edited } = this.columns[at];
      if (edited) now[edited.place] = edited.shown;
      else this.columns[at].editing = true;
      this.columns[at].edited = null;
    }
    if (act === "regenerate" || act === "undo") {
      const answers = now.slice(now.findLastIndex(({ answer }) => !answer) + 1);
      for (const answer of answers) this.#end(answer);
      if (answers.length) this.acted(answers[answers.length - 1], act);
    }
    return now;
  }

  /**
   * Say what is new on the page, so that the server knows whose the Markdown is that it has.
   * @returns {{chat: string, sizes: number[], fresh: Fresh[]}|null} null: it has all of it
   */
  handOver() {
    /** @type {Fresh[]} */
    const fresh = [];
    this.handing = [];
    this.columns.forEach(({ shown }, at) => {
      shown.forEach((message, place) => {
        if (message.rested === null || message.handed) return;
        this.handing.push(message);
        if (fresh.some(({ id }) => id === message.id)) return; // one question over several columns
        fresh.push({
          column: at,
          place,
          role: message.answer ? "assistant" : "user",
          id: message.id,
          parent: shown[place - 1]?.id ?? null,
          replaces: message.replaces,
        });
      });
    });
    const sizes = this.columns.map(({ shown }) => shown.length);
    return fresh.length ? { chat: this.chat, sizes, fresh } : null;
  }

  /** The server has stored what `handOver` told it of. */
  handedOver() {
    for (const shown of this.handing) shown.handed = true;
    this.handing = [];
  }

  /** Tell what is not told yet, and wait for it. */
  async stop() {
    for (const shown of this.all()) {
      clearTimeout(shown.timer);
      if (shown.rested === null && shown.number !== null) this.#rest(shown);
    }
    await Promise.all(this.hashing);
  }

  // --- what comes and goes

  /** @param {Column} column */
  #lookAt(column) {
    const root = document.getElementById(column.root);
    if (!root) return;
    if (root.querySelector(this.adapter.editing)) {
      column.editing = true; // the message is gone for a while
      return;
    }
    /** @type {NodeListOf<HTMLElement>} */
    const elements = root.querySelectorAll(this.adapter.message);
    if (!elements.length) {
      if (column.shown.length) column.gone = column.shown;
      for (const { timer } of column.shown) clearTimeout(timer);
      column.shown = [];
      return;
    }
    if (column.gone.length) {
      // Who edits or asks anew may empty the chat first; with another first question it is another.
      const first = column.gone[0].rested ?? this.text(column.gone[0]).text;
      column.shown = this.read(elements[0]).text === first ? column.gone.slice(0, 1) : [];
      column.gone = [];
      if (!column.shown.length) return this.#newChat();
    }
    const before = column.shown;
    for (const { timer } of before.slice(elements.length)) clearTimeout(timer);
    column.shown = before.slice(0, elements.length);
    elements.forEach((element, place) => {
      const old = column.shown[place];
      if (old?.element === element) return;
      const answer = element.matches(this.adapter.answer);
      if (!old) {
        const last = column.shown[place - 1];
        const asked = !answer && last?.answer && before[place - 1] === last;
        if (asked) this.acted(last, "follow_up");
        this.#put(column, place, element, answer, true);
      } else if (old.answer !== answer) {
        this.#put(column, place, element, answer, true);
      } else {
        old.element = element; // drawn anew, with the same text or another one
        this.#changed(old);
      }
    });
    column.editing = false;
  }

  /** @param {Shown} shown */
  #changed(shown) {
    shown.text = null;
    const before = shown.ended ?? shown.rested;
    const column = this.columns.find((one) => one.shown.includes(shown));
    if (!column) return;
    if (before === null) {
      this.#restLater(shown); // it grows
      return;
    }
    if (this.text(shown).text === before) return;
    const place = column.shown.indexOf(shown);
    const edited = column.editing;
    if (edited) column.edited = { place, shown };
    column.editing = false;
    if (!shown.answer && place === 0 && !edited) return this.#newChat(); // opened in its place
    this.#put(column, place, shown.element, shown.answer, !shown.answer || shown.ended !== null);
    if (!shown.answer) for (const later of column.shown.slice(place + 1)) this.#end(later);
  }

  /** Its next text is another message. @param {Shown} shown */
  #end(shown) {
    this.number(shown); // while its text is known
    shown.ended = shown.rested ?? this.text(shown).text;
    if (shown.rested === null) this.#rest(shown);
  }

  #newChat() {
    this.chat = newKey();
    for (const { timer } of this.all()) clearTimeout(timer);
    this.columns = this.columns.map(({ root }) => column(root));
    this.listChanged = true;
    this.look();
  }

  /**
   * @param {Column} column
   * @param {number} place
   * @param {HTMLElement} element
   * @param {boolean} answer
   * @param {boolean} other whether it is another message than the one that stood there
   */
  #put(column, place, element, answer, other) {
    const old = column.shown[place];
    clearTimeout(old?.timer);
    const generation = (column.generations.get(place) ?? -1) + Number(other || !old);
    column.generations.set(place, generation);
    const at = this.columns.indexOf(column);
    /** @type {Shown} */
    const shown = {
      chat: this.chat,
      id: `${answer ? "a" : "q"}${place}.${generation}${at ? `.${at}` : ""}`,
      answer,
      replaces: null,
      element,
      number: null,
      rested: null,
      ended: null,
      handed: false,
      text: this.read(element),
      timer: undefined,
    };
    const question = column.shown[place - 1];
    if (answer && question) {
      const former = column.former.get(place) ?? [];
      const last = former.findLast((one) => one.question === question.id && one.id !== shown.id);
      shown.replaces = last?.id ?? null;
      if (!former.some((one) => one.id === shown.id)) former.push({ id: shown.id, question: question.id });
      column.former.set(place, former);
    }
    // One question stands over answers side by side.
    const beside = answer || at === 0 ? undefined : this.columns[0].shown[place];
    if (beside && this.text(beside).text === this.text(shown).text) shown.id = beside.id;
    column.shown[place] = shown;
    this.byElement.set(element, shown);
    this.#restLater(shown);
  }

  // --- what is told

  /** @param {Shown} shown */
  #restLater(shown) {
    clearTimeout(shown.timer);
    shown.timer = setTimeout(() => this.#rest(shown), REST_MS);
  }

  /** @param {Shown} shown */
  #rest(shown) {
    clearTimeout(shown.timer);
    shown.rested = this.text(shown).text;
    if (shown.number !== null) this.tellText(shown);
    if (shown.answer) this.#tellTurnOf(shown);
    this.onrest();
  }

  /** @param {Shown} shown an answer */
  #tellTurnOf(shown) {
    const column = this.columns.find((one) => one.shown.includes(shown));
    const place = column?.shown.indexOf(shown) ?? -1;
    const question = column?.shown[place - 1];
    if (!column || !question || question.answer) return;
    const parent = this.columns[0].shown[place - 2]?.id ?? null;
    const turn = { chat: shown.chat, question: question.id, parent };
    const beside = this.columns.map((one) => [one.shown[place - 1], one.shown[place]]);
    const whole = beside.every(([q, a]) => q?.id === question.id && a?.answer && a.rested !== null);
    if (beside.length > 1 && whole) {
      this.tellTurn({ ...turn, siblings: beside.map(([, a]) => a.id), shown: "side_by_side" });
    }
    const former = (column.former.get(place) ?? []).filter((one) => one.question === question.id);
    if (beside.length === 1 || former.length > 1) {
      this.tellTurn({ ...turn, siblings: former.map(({ id }) => id), shown: "one_at_a_time" });
    }
  }
}

/** @param {string} root @returns {Column} */
function column(root) {
  return { root, shown: [], gone: [], generations: new Map(), former: new Map(), editing: false, edited: null };
}

/** A name for a chat that has none. */
function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
