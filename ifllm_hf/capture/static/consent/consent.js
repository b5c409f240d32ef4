// @ts-check
/**
 * Asks on a page that is not ours whether its reader takes part, and is where they stop or delete.
 *
 *     import { consent } from "https://ifllm.example.org/capture/consent/consent.js";
 *     await consent({
 *       onyes: async (me, gone) => {
 *         const { startCapture } = await import("https://ifllm.example.org/capture/record/capture.js");
 *         capture = await startCapture({ ...me, onrefused: (error) => error === "gone" && gone() });
 *       },
 *       onend: () => capture.stop(),
 *     });
 *
 * Before "yes" this loads its own modules and asks the server for its words, and no more: nothing is
 * recorded, sent or kept, and what this browser may have kept of an earlier "yes" is read alone. A
 * "no" is kept nowhere but in this page: it asks again when the page loads again.
 */

import { h } from "../dom.js";
import { copied } from "../take_part/code.js";
import { begunOn, client, forget, keep, ownSessions, readKept, strike } from "../take_part/kept.js";
import { ask } from "../take_part/steps.js";
import { STYLE } from "./consent_style.js";

/** @typedef {import("../take_part/kept.js").Me} Me */
/**
 * @typedef {object} Options
 * @property {(me: Me, gone: () => void) => unknown} onyes a session is there: load the recorder and
 *   start it; call `gone` when the server says that the session was deleted
 * @property {(me: Me, how: "stop"|"withdraw"|"gone") => unknown} onend stop the recorder; awaited
 *   before the server is told
 * @property {() => object} [agreed] what is sent with the consent beside what is shown
 * @property {string} [language] of the words; else what the browser, then the page, is in
 * @property {boolean} [small] begin as a small button
 */
/** @typedef {{language: string, version: string, words: Record<string, string>}} Notice */

const NAME = "ifllm-consent";
const POINTS = ["what", "never", "care", "purpose", "kept", "who", "ground", "rights", "storage"];

/**
 * Ask, and keep the way out at the same place.
 * @param {Options} options
 * @returns {Promise<Me|null>} the first answer. Who said no may say yes later: `onyes` tells.
 */
export async function consent(options) {
  const languages = [options.language, ...navigator.languages, document.documentElement.lang];
  const notice = await ask({ step: "notice", languages: languages.filter(Boolean) }).catch(() => null);
  if (!notice?.ok || !notice.collects) {
    console.info("ifllm: nobody is asked, and nothing is recorded", notice?.reason ?? "");
    return null;
  }
  const element = /** @type {Consent} */ (document.createElement(NAME));
  document.body.prepend(element); // where Tab comes first; it is shown in a corner
  return element.begin(notice, options);
}

/** `<ifllm-consent>`; a shadow keeps the page's styles out of it. */
class Consent extends HTMLElement {
  constructor() {
    super();
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    this.panel = h("div", { class: "panel", role: "region", onkeydown: (/** @type {KeyboardEvent} */ e) => this.#key(e) });
    this.said = h("p", { role: "status" });
    this.leave = () => {};
    /** @type {{of: HTMLElement, done: Promise<void>}|null} what was pressed and is not done */
    this.busy = null;
    const shadow = this.attachShadow({ mode: "open" });
    shadow.adoptedStyleSheets = [sheet];
    shadow.append(this.panel);
  }

  /**
   * @param {Notice} notice
   * @param {Options} options
   * @returns {Promise<Me|null>}
   */
  async begin(notice, options) {
    this.notice = notice;
    this.options = options;
    this.panel.lang = notice.language;
    this.panel.setAttribute("aria-label", notice.words.label);
    /** @type {Promise<Me|null>} */
    const answer = new Promise((resolve) => (this.answer = resolve));
    const kept = readKept();
    if (kept?.kind === "page" && !kept.over) await this.#record(kept, false);
    else if (options.small) this.#small();
    else this.#ask();
    return answer;
  }

  // --- what is shown

  #ask() {
    const { words } = /** @type {Notice} */ (this.notice);
    const points = POINTS.map((key) => h("li", {}, words[key]));
    this.#show(
      h("h2", { tabindex: -1 }, words.title),
      h("div", { class: "text", tabindex: 0, role: "group", "aria-label": words.title },
        h("p", {}, words.free),
        h("ul", {}, ...points),
        this.#earlier(),
      ),
      h("p", {}, words.adult),
      this.#choices({ yes: () => this.#yes(), no: () => this.#no() }),
    );
    this.leave = () => this.#no();
  }

  #small() {
    const { words } = /** @type {Notice} */ (this.notice);
    this.#show(this.#button("again", words.again, () => this.#open(() => this.#ask())));
    this.panel.classList.add("small");
    this.leave = () => {};
  }

  /** @param {Me} me */
  #recording(me) {
    const { words } = /** @type {Notice} */ (this.notice);
    this.#show(this.#button("recording", words.recording, () => this.#open(() => this.#manage(me, false))));
    this.panel.classList.add("small");
    this.leave = () => {};
  }

  /** @param {Me} me @param {boolean} first whether the code is shown */
  #manage(me, first) {
    const { words } = /** @type {Notice} */ (this.notice);
    const code = h("code", {}, me.code);
    const copy = async () => this.#say((await copied(code)) ? words.copied : words.copy_by_hand);
    const goOn = () => this.#open(() => this.#recording(me));
    const choices = this.#choices({
      stop: () => this.#end(me, "stop"),
      withdraw: () => this.#end(me, "withdraw"),
      go_on: goOn,
    });
    choices.classList.add("three");
    this.#show(
      h("h2", { tabindex: -1 }, words.recording_title),
      first ? h("p", {}, words.code) : null,
      first ? code : null,
      first ? this.#button("copy", words.copy, copy) : null,
      choices,
    );
    this.leave = goOn;
  }

  /** What deletes sessions that began here before, or whose code somebody has. */
  #earlier() {
    const { words } = /** @type {Notice} */ (this.notice);
    const own = ownSessions().map((me) => {
      const text = words.delete_earlier.replace("{when}", () => begunOn(me));
      return h("li", {}, this.#button("delete-earlier", text, () => this.#delete(me.code)));
    });
    const code = /** @type {HTMLInputElement} */ (
      h("input", { name: "code", required: true, autocomplete: "off", spellcheck: "false" })
    );
    const submit = (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#delete(code.value);
    };
    return h("details", {},
      h("summary", {}, words.earlier),
      h("ul", {}, ...own),
      h("form", { onsubmit: submit },
        h("label", {}, words.code_of, code),
        h("button", { type: "submit", "data-ifllm": "delete-code" }, words.delete_code),
      ),
    );
  }

  // --- what is done

  async #yes() {
    const { language, version, words } = /** @type {Notice} */ (this.notice);
    const sent = { client: client(), ...this.options?.agreed?.() };
    const answer = await ask({ step: "consent", version, language, adult: true, ...sent }).catch(() => null);
    if (!answer?.ok) return this.#say(words.failed);
    const { session, token, code } = answer;
    /** @type {Me} */
    const me = { session, token, code, kind: "page", webcam: false, begun: Date.now(), turns: 0, over: false };
    keep(me);
    await this.#record(me, true);
  }

  #no() {
    this.#open(() => this.#small());
    this.answer?.(null);
  }

  /** @param {Me} me @param {boolean} first */
  async #record(me, first) {
    let ended = false;
    this.ended = () => !ended && (ended = true);
    const gone = async () => {
      if (!this.ended?.()) return;
      strike(me.session);
      await this.options?.onend(me, "gone");
      this.#small();
      this.#say(/** @type {Notice} */ (this.notice).words.gone);
    };
    if (first) this.#open(() => this.#manage(me, true));
    else this.#recording(me);
    try {
      await this.options?.onyes(me, gone);
    } catch (error) {
      console.warn("ifllm: nothing is recorded, because the recorder does not start.", error);
      this.#say(/** @type {Notice} */ (this.notice).words.failed);
    }
    this.answer?.(me);
  }

  /** @param {Me} me @param {"stop"|"withdraw"} how */
  async #end(me, how) {
    if (!this.ended?.()) return;
    const { words } = /** @type {Notice} */ (this.notice);
    await this.options?.onend(me, how);
    keep({ ...me, over: true });
    forget();
    this.#open(() => this.#small());
    if (how === "withdraw") return this.#delete(me.code);
    await ask({ step: "end", session: me.session, token: me.token }).catch(() => null);
    this.#say(words.stopped);
  }

  /** @param {string} code */
  async #delete(code) {
    const { words } = /** @type {Notice} */ (this.notice);
    const plain = (/** @type {string} */ text) => text.replace(/[\s-]/g, "").toUpperCase();
    const answer = await ask({ step: "withdraw", code }).catch(() => null);
    const mine = ownSessions().find((me) => plain(me.code) === plain(code));
    if (answer?.ok && mine) strike(mine.session);
    const open = this.panel.querySelector("details");
    if (open) this.#open(() => this.#ask()); // what is deleted is no longer listed
    else if (!answer?.ok) this.#open(() => this.#ask()); // where it can be tried again
    const failed = answer?.error === "code" ? words.code_unknown : words.failed;
    this.#say(answer?.ok ? (answer.complete ? words.deleted : words.deleted_soon) : failed);
  }

  // --- parts

  /** @param {...(Node|null)} parts */
  #show(...parts) {
    this.said.textContent = "";
    this.panel.classList.remove("small");
    this.panel.replaceChildren(...parts.filter((part) => part !== null), this.said);
  }

  /** Show something else to somebody who pressed a key or a button here. @param {() => void} show */
  #open(show) {
    show();
    /** @type {HTMLElement|null} */ (this.panel.querySelector("h2, button"))?.focus();
  }

  /** @param {string} words */
  #say(words) {
    this.said.textContent = words;
  }

  /** Buttons of one size, side by side. @param {Record<string, () => unknown>} acts */
  #choices(acts) {
    const { words } = /** @type {Notice} */ (this.notice);
    const buttons = Object.entries(acts).map(([name, act]) => this.#button(name, words[name], act));
    return h("div", { class: "choices" }, ...buttons);
  }

  /** @param {string} name @param {string} text @param {() => unknown} act */
  #button(name, text, act) {
    const pressed = async () => {
      if (this.busy?.of === button) return; // a second press would ask twice
      while (this.busy) await this.busy.done; // the recorder still starts, say: no press is lost
      if (!button.isConnected) return;
      const done = Promise.resolve(act()).finally(() => (this.busy = null));
      this.busy = { of: button, done: done.catch(() => {}) };
      await done;
    };
    const button = h("button", { type: "button", "data-ifllm": name, onclick: pressed }, text);
    return button;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    event.stopPropagation(); // the page has keys of its own
    if (event.key === "Escape" && !this.busy) this.leave();
  }
}

if (!customElements.get(NAME)) customElements.define(NAME, Consent);
