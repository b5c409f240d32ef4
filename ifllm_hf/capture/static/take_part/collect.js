// @ts-check
/**
 * Taking part, from consent to thanks. The server keeps everything; a reload goes on where it was.
 */

import { patient } from "./ask.js";
import { startCapture } from "../record/capture.js";
import { calibrate, validate } from "../record/calibration.js";
import { codePanel } from "./code.js";
import { h } from "../dom.js";
import { gazeProvider } from "../record/gaze.js";
import { button, control, form, heading, notice, picker, radios, waitingIn } from "./form.js";
import { aboutPage, codePage, consentPage } from "./joining.js";
import { begunOn, client, forget, keep, note, readKept, strike, unfinished } from "./kept.js";
import { arrivedOf, panelLink } from "./leaving.js";
import { answersOf, pastOf, ratingsOf } from "./reading.js";

/** @typedef {import("./kept.js").Me} Me */
/** @typedef {import("./reading.js").Shown} Shown */

const FELT = ["1 not at all", "2", "3", "4", "5 very well"];

/**
 * @param {HTMLElement} root
 * @param {(step: object) => Promise<any>} ask runs a step on the server
 */
export async function start(root, ask) {
  await new TakingPart(root, patient(ask, waitingIn(root))).begin();
}

class TakingPart {
  /** @param {HTMLElement} root @param {(step: object) => Promise<any>} ask */
  constructor(root, ask) {
    this.root = root;
    this.ask = ask;
    /** @type {any} */
    this.page = null;
    /** @type {Me|null} */
    this.me = readKept();
    /** @type {any} */
    this.capture = null;
    /** @type {import("./reading.js").Said[]} what the models know when they are asked next */
    this.past = [];
  }

  async begin() {
    this.page = await this.ask({ step: "begin" });
    if (!this.page.ok) return this.#again(this.page.reason);
    if (!this.page.collects) {
      return this.#show(
        heading("Taking part is off"),
        h("p", {}, "It stays off until an operator has set a contact and a legal basis."),
      );
    }
    if (this.me) return this.#resume();
    const left = unfinished();
    if (left) this.#back(left);
    else this.#consent();
  }

  async #resume() {
    const me = /** @type {Me} */ (this.me);
    const found = await this.#step("resume");
    if (found.error === "gone") return this.#gone(me.session);
    if (!found.ok && found.error !== "token") {
      return this.#again(found.reason, ...(found.error === "missing" ? [this.#anew(me)] : []));
    }
    if (!found.ok || found.ended) {
      this.#leave({ ...me, completion: found.completion });
      return this.#consent();
    }
    this.#rated(found);
    await this.#record();
    if (found.shown) this.#answers(found.shown);
    else this.#question();
  }

  /** A closed tab left this session. @param {Me} left */
  #back(left) {
    this.#show(
      heading("Welcome back"),
      h("p", {}, `You began on ${begunOn(left)} and have not finished.`),
      button("Go on", () => {
        this.me = left;
        this.#resume();
      }),
      this.#anew(left),
    );
  }

  /** @param {Me} left */
  #anew(left) {
    return button("Begin anew", () => {
      this.#leave(left);
      this.#consent();
    });
  }

  /** Go on with no session; its code stays under Withdraw. @param {Me} me */
  #leave(me) {
    note({ ...me, over: true });
    forget();
    this.me = null;
  }

  // --- before the questions

  #consent() {
    this.#show(...consentPage(this.page, () => this.#show(...aboutPage(this.page, (data) => this.#open(data)))));
  }

  /** @param {FormData} data */
  async #open(data) {
    const told = Object.keys(this.page.bands).map((name) => [name, String(data.get(name) ?? "")]);
    const opened = await this.ask({
      step: "consent",
      version: this.page.consent.version,
      adult: true,
      demographics: Object.fromEntries(told.filter(([, value]) => value)),
      client: client(),
    });
    if (!opened.ok) return this.#trouble(opened.reason);
    this.me = {
      session: opened.session,
      token: opened.token,
      code: opened.code,
      kind: String(data.get("kind")),
      webcam: data.has("webcam"),
      begun: Date.now(),
      turns: 0,
      over: false,
    };
    keep(this.me);
    this.past = [];
    this.#show(...codePage(opened.code, () => this.#start()));
  }

  async #start() {
    await this.#record();
    if (this.me?.webcam) await this.#calibrate();
    this.#question();
  }

  async #record() {
    const { session, token } = /** @type {any} */ (this.me);
    this.capture = await startCapture({
      session,
      token,
      root: this.root, // nothing is recorded while another tab of the app hides it
      onrefused: (error) => error === "gone" && this.#gone(session),
    });
    window.addEventListener("beforeunload", () => this.capture.flush());
  }

  async #calibrate() {
    try {
      this.provider = await gazeProvider();
      await calibrate(this.root, this.provider, (point) => this.#point("calibration", point));
      await this.#validate("before");
      await this.capture.setGaze(this.provider);
    } catch (error) {
      this.provider = null;
      const reason = String(/** @type {any} */ (error)?.name ?? error).slice(0, 80);
      this.capture.app("gaze_error", { provider: "webgazer", reason });
      await this.#confirm("The webcam does not work here. You go on with the mouse alone.");
    }
  }

  /** @param {"before"|"after"} when */
  async #validate(when) {
    const record = await validate(this.root, this.provider, when, (point) =>
      this.#point("validation", point),
    );
    await this.#step("calibration", { record });
  }

  /** @param {"calibration"|"validation"} phase @param {{index: number, x: number, y: number}} point */
  #point(phase, point) {
    this.capture.app("calibration_point", { phase, ...point });
  }

  // --- questions

  /** @param {string} [said] @param {string} [typed] what was asked, and not answered */
  #question(said, typed = "") {
    const { free, questions } = this.page.answers;
    const { kind, turns } = /** @type {Me} */ (this.me);
    const most = { maxlength: this.page.limits.question, required: true };
    const input = free
      ? h(
          "label",
          { class: "ifllm-field" },
          "What do you want to know?",
          h("textarea", { name: "question", rows: 3, ...most }, typed),
        )
      : picker(questions[kind], typed);
    this.#show(
      this.#count(),
      heading(turns ? "Another question" : "Your first question"),
      said ? notice(said) : null,
      h("p", {}, this.page.answers.said),
      pastOf(this.past, { open: true }),
      form(
        (data) => this.#wait(String(data.get("question"))),
        {},
        input,
        free ? h("p", { class: "ifllm-fine" }, "Please write nothing that tells who you are.") : null,
        h("button", { type: "submit", class: "ifllm-main" }, "Ask"),
        turns ? button("Finish", () => this.#summary()) : null,
      ),
      this.#code(),
    );
  }

  /** Where the reader is among the questions that were announced. */
  #count() {
    const now = /** @type {Me} */ (this.me).turns + 1;
    const { questions } = this.page.length;
    const said = now <= questions ? `Question ${now} of ${questions}` : `Question ${now}`;
    return h("p", { class: "ifllm-count" }, said);
  }

  /** @param {string} question */
  async #wait(question) {
    this.#show(heading("One moment"), h("p", { role: "status" }, "The answers are being fetched …"));
    const { kind } = /** @type {Me} */ (this.me);
    const answered = await this.#step("ask", { question, kind });
    if (!answered.ok) return this.#question(answered.reason, question);
    if (!answered.shown) return this.#question(answered.trouble, question);
    this.#answers(answered.shown);
  }

  /** @param {Shown} shown */
  #answers(shown) {
    this.#show(
      this.#count(),
      pastOf(shown.past, { open: false }),
      heading(shown.question),
      h("p", {}, "Read as you like. Your rating, below, ends the reading."),
      answersOf(shown),
      form(
        (data) => this.#rate(shown, data),
        { class: "ifllm-rating" },
        ...ratingsOf(shown),
        control("submit", h("button", { type: "submit", class: "ifllm-main" }, "Send the rating")),
      ),
    );
  }

  /** @param {Shown} shown @param {FormData} data */
  async #rate(shown, data) {
    const number = (/** @type {string} */ name) => (data.has(name) ? Number(data.get(name)) : null);
    const better = data.get("better_than_previous");
    this.capture.flush(); // what is under way arrives before or after the rating
    const rated = await this.#step("rate", {
      turn: shown.turn,
      likert_a: number("likert_a"),
      likert_b: number("likert_b"),
      preference: data.get("preference"),
      better_than_previous: better === null ? null : better === "true",
    });
    if (!rated.ok) return this.#trouble(rated.reason);
    this.#rated(rated);
    if (rated.turns === this.page.length.questions) this.#summary();
    else this.#question();
  }

  /** @param {{turns: number, past: import("./reading.js").Said[]}} answer */
  #rated({ turns, past }) {
    this.me = { .../** @type {Me} */ (this.me), turns };
    keep(this.me);
    this.past = past;
  }

  // --- the end

  #summary() {
    const scale = Object.fromEntries(FELT.map((text, i) => [i + 1, text]));
    const optional = { required: false };
    const { turns } = /** @type {Me} */ (this.me);
    const all = turns >= this.page.length.questions;
    this.#show(
      heading("Before you go"),
      h("p", {}, all ? `These were all ${turns} questions.` : `You rated ${turns} of ${this.page.length.questions} questions.`),
      form(
        (data) => this.#end(data),
        {},
        h(
          "label",
          { class: "ifllm-field" },
          "What did you learn? (optional)",
          h("textarea", { name: "text", rows: 4, maxlength: this.page.limits.summary }),
        ),
        radios("understand_before", "How well did you know the topics before?", scale, optional),
        radios("understand_after", "And now?", scale, optional),
        h("button", { type: "submit", class: "ifllm-main" }, "Finish"),
        button("One more question", () => this.#question()),
      ),
    );
  }

  /** @param {FormData} data */
  async #end(data) {
    const number = (/** @type {string} */ name) => (data.has(name) ? Number(data.get(name)) : null);
    const told = {
      text: String(data.get("text") ?? ""),
      understand_before: number("understand_before"),
      understand_after: number("understand_after"),
    };
    if (told.text || told.understand_before || told.understand_after) {
      const kept = await this.#step("summary", told);
      if (!kept.ok) return this.#trouble(kept.reason);
    }
    if (this.provider) {
      await this.capture.setGaze(null);
      await this.#validate("after");
    }
    const ended = await this.#step("end");
    if (!ended.ok) return this.#trouble(ended.reason); // who goes on is recorded still
    const delivered = await this.capture.stop();
    const { code } = /** @type {Me} */ (this.me);
    const arrived = arrivedOf(delivered, this.capture.transport.refused(), this.page.refused);
    this.#leave({ .../** @type {Me} */ (this.me), completion: ended.completion });
    this.#show(
      heading("Thank you"),
      h("p", {}, arrived),
      panelLink(ended.completion),
      h("p", {}, "This code deletes everything of yours, at any time. Nobody else has it:"),
      codePanel(code),
    );
  }

  /** @param {string} session */
  #gone(session) {
    strike(session);
    if (this.me && this.me.session !== session) return;
    this.me = null;
    this.#show(
      heading("Deleted"),
      h("p", {}, "This session was withdrawn; nothing more is recorded."),
      button("Begin anew", () => this.#consent()),
    );
  }

  // --- parts

  #code() {
    const { code } = /** @type {Me} */ (this.me);
    return h(
      "details",
      { class: "ifllm-fine" },
      h("summary", {}, "Your withdrawal code"),
      h("p", {}, "It deletes everything of yours at any time."),
      codePanel(code),
    );
  }

  /** @param {string} name @param {object} [more] */
  #step(name, more = {}) {
    const { session, token } = /** @type {any} */ (this.me);
    return this.ask({ step: name, session, token, ...more });
  }

  /** @param {string} reason @param {...Node} more */
  #again(reason, ...more) {
    this.#show(heading("Take part"), notice(reason), button("Try again", () => this.begin()), ...more);
  }

  /** @param {string} reason */
  #trouble(reason) {
    this.root.querySelector(".ifllm-notice")?.remove();
    this.root.querySelector("form")?.append(notice(reason));
  }

  /** @param {string} text */
  #confirm(text) {
    return new Promise((resolve) => {
      this.#show(heading("Without a webcam"), h("p", {}, text), button("Go on", () => resolve(null)));
    });
  }

  /** @param {...(Node|null)} parts */
  #show(...parts) {
    this.root.replaceChildren(...parts.filter((part) => part !== null));
    const first = this.root.querySelector("h2");
    // What is read aloud, and where the keyboard goes on.
    if (this.shown) first?.focus({ preventScroll: true });
    if (this.shown) this.root.scrollIntoView({ block: "start" });
    this.shown = true;
  }
}
