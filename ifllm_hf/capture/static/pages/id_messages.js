// @ts-check
/**
 * The answers of a page whose messages have ids of their own. The page may draw each anew at any time,
 * so an answer is known by its id, and its element is looked up whenever the page changed.
 *
 * Each text of an answer has a number, told once the text rests; what is recorded while it grows has
 * the same number.
 */

import { foundTurns } from "./found_turns.js";
import { PageText } from "./page_text.js";
import { REST_MS, ToldTexts } from "./told_texts.js";

/** @typedef {import("./found_turns.js").Adapter} Adapter */
/** @typedef {import("./found_turns.js").Turn} Turn */
/** @typedef {import("./told_texts.js").Act} Act */
/**
 * @typedef {object} Shown an answer
 * @property {string} chat
 * @property {string} id
 * @property {true} answer
 * @property {HTMLElement} element where it was last
 * @property {Turn} turn
 * @property {number|null} number of its text
 * @property {string|null} rested its text without blanks, once it rests
 * @property {PageText|null} text as it is now; null: look again
 * @property {ReturnType<typeof setTimeout>|undefined} timer
 */

/** @extends {ToldTexts<Shown>} */
export class IdMessages extends ToldTexts {
  /**
   * @param {Adapter} adapter
   * @param {(kind: string, ...rest: unknown[]) => void} emit
   */
  constructor(adapter, emit) {
    const { text, skip } = adapter;
    // Without its text an answer is being edited, or has failed: there is nothing to read.
    const inside = (/** @type {HTMLElement} */ element) => (text ? element.querySelector(text) : element);
    super((element) => new PageText(inside(element) ?? document.createElement("p"), skip), emit);
    this.adapter = adapter;
    const { chat_id, question_id, answer_id } = adapter;
    /** Whose change is a change of messages. */
    this.attributes = [chat_id, question_id, answer_id].flatMap(({ attribute }) => attribute ?? []);
    /** @type {{shown: Shown[]}[]} those on the page, one below the other */
    this.columns = [];
    /** @type {Map<string, Shown>} all that were met, by chat and id */
    this.known = new Map();
    /** @type {Map<string, string[]>} ids of the answers that stood at one place, by question */
    this.former = new Map();
    /** @type {Turn[]} */
    this.turns = [];
    this.path = location.pathname;
  }

  /** @param {MutationRecord[]} records */
  note(records) {
    /** @type {Set<Shown>} */
    const changed = new Set();
    for (const { target, type } of records) {
      if (type === "attributes") this.listChanged = true;
      const element = target instanceof Element ? target : target.parentElement;
      const answer = element?.closest(this.adapter.answer);
      const shown = answer && this.byElement.get(answer);
      if (shown) changed.add(shown);
      else this.listChanged = true;
    }
    for (const shown of changed) this.#changed(shown);
  }

  /** Take in answers that came or went. @returns {boolean} whether any may have */
  look() {
    if (this.path !== location.pathname) {
      this.path = location.pathname; // the chat got its id, or another one was opened
      this.listChanged = true;
    }
    if (!this.listChanged) return false;
    this.listChanged = false;
    const before = this.turns;
    this.turns = foundTurns(this.adapter);
    const was = this.byElement;
    this.byElement = new Map();
    this.columns = [];
    for (const turn of this.turns) {
      turn.answers.forEach((answer, at) => {
        const shown = this.#take(turn, answer, at);
        this.byElement.set(shown.element, shown);
        (this.columns[at] ??= { shown: [] }).shown.push(shown);
      });
    }
    for (const [element, shown] of was) {
      const now = this.byElement.get(element);
      if (now && now !== shown) this.#displaced(shown);
    }
    this.#followed(before);
    return true;
  }

  /** Tell what is not told yet, and wait for it. */
  async stop() {
    for (const shown of this.known.values()) {
      clearTimeout(shown.timer);
      if (shown.rested === null && shown.number !== null) this.#rest(shown);
    }
    await Promise.all(this.hashing);
  }

  // --- what comes and goes

  /** @param {Turn} turn @param {Turn["answers"][0]} answer @param {number} at beside others */
  #take(turn, { id, element }, at) {
    const key = `${turn.chat} ${id}`;
    const known = this.known.get(key);
    if (known) {
      known.turn = turn;
      if (known.element !== element) {
        known.element = element; // drawn anew, with the same text or another one
        this.#changed(known);
      }
      return known;
    }
    /** @type {Shown} */
    const shown = {
      chat: turn.chat, id, answer: true, element, turn,
      number: null, rested: null, text: null, timer: undefined,
    };
    this.known.set(key, shown);
    const place = `${turn.chat} ${turn.question} ${at}`;
    const former = this.former.get(place) ?? [];
    const last = this.known.get(`${turn.chat} ${former[former.length - 1]}`);
    this.former.set(place, [...former, id]);
    // One that was there before, and is shown again, is complete when it comes.
    if (last && this.adapter.finished && !this.#finished(shown)) this.acted(last, "regenerate");
    this.#restLater(shown);
    return shown;
  }

  /**
   * A question below what stood last was written by the reader. Of answers side by side the page
   * itself decides from which one it goes on, so that says nothing of them.
   * @param {Turn[]} before
   */
  #followed(before) {
    const last = before[before.length - 1];
    if (!last) return;
    const at = this.turns.findIndex(({ chat, question }) => chat === last.chat && question === last.question);
    if (at < 0 || at === this.turns.length - 1 || this.turns[at].answers.length > 1) return;
    const shown = this.known.get(`${last.chat} ${this.turns[at].answers[0].id}`);
    if (shown) this.acted(shown, "follow_up");
  }

  /** Another answer has its element now, so what stands there is not its text. @param {Shown} shown */
  #displaced(shown) {
    clearTimeout(shown.timer);
    shown.text = null;
    shown.element = document.createElement("p");
  }

  /** @param {Shown} shown */
  #changed(shown) {
    shown.text = null;
    if (shown.rested !== null) {
      const { units, text } = this.text(shown);
      if (!units || text === shown.rested) return; // being edited, or drawn anew
      shown.rested = shown.number = null;
    }
    this.#restLater(shown);
  }

  /** @param {Shown} shown */
  #finished({ element }) {
    return !this.adapter.finished || element.querySelector(this.adapter.finished) !== null;
  }

  // --- what is told

  /** @param {Shown} shown */
  #restLater(shown) {
    clearTimeout(shown.timer);
    shown.timer = setTimeout(() => this.#finished(shown) && this.#rest(shown), REST_MS);
  }

  /** @param {Shown} shown */
  #rest(shown) {
    clearTimeout(shown.timer);
    const { text } = this.text(shown);
    if (!text) return;
    shown.rested = text;
    if (shown.number !== null) this.tellText(shown);
    this.#tellTurnOf(shown.turn);
  }

  /** @param {Turn} turn */
  #tellTurnOf({ chat, question, parent, answers }) {
    const beside = answers.map(({ id }) => id);
    if (beside.length > 1) this.tellTurn({ chat, question, parent, siblings: beside, shown: "side_by_side" });
    beside.forEach((_, at) => {
      const siblings = this.former.get(`${chat} ${question} ${at}`) ?? [];
      if (beside.length > 1 && siblings.length < 2) return;
      this.tellTurn({ chat, question, parent, siblings, shown: "one_at_a_time" });
    });
  }
}
