// @ts-check
/**
 * Taking part, from consent to thanks. The server keeps everything; a reload goes on where it was.
 */

import { patient } from "./ask.js";
import { startCapture } from "./capture.js";
import { calibrate, validate } from "./calibration.js";
import { h } from "../dom.js";
import { gazeProvider } from "./gaze.js";
import { button, checkbox, control, form, heading, notice, picker, radios } from "./form.js";
import { client, forget, keep, readKept } from "./kept.js";
import { drainBacklog } from "./transport.js";

const LIKERT = ["1 very bad", "2", "3", "4", "5 very good"];
const FELT = ["1 not at all", "2", "3", "4", "5 very well"];

/**
 * @param {HTMLElement} root
 * @param {(step: object) => Promise<any>} ask runs a step on the server
 */
export async function start(root, ask) {
  drainBacklog();
  await new TakingPart(root, patient(ask)).begin();
}

class TakingPart {
  /** @param {HTMLElement} root @param {(step: object) => Promise<any>} ask */
  constructor(root, ask) {
    this.root = root;
    this.ask = ask;
    /** @type {any} */
    this.page = null;
    /** @type {{session: string, token: string, code: string, kind: string, webcam: boolean}|null} */
    this.me = readKept();
    /** @type {any} */
    this.capture = null;
    this.turns = 0;
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
    if (!this.me) return this.#consent();
    const found = await this.#step("resume");
    if (!found.ok && !["gone", "token"].includes(found.error)) return this.#again(found.reason);
    if (!found.ok || found.ended) {
      forget();
      this.me = null;
      return this.#consent();
    }
    this.turns = found.turns;
    await this.#record();
    if (found.shown) this.#answers(found.shown);
    else this.#question();
  }

  // --- before the questions

  #consent() {
    const adult = checkbox("adult", "I am 18 years old or older.");
    const agree = checkbox("agree", "I have read this, and I agree to take part.");
    const go = h("button", { type: "submit", class: "ifllm-main", disabled: true }, "Go on");
    const checked = () => {
      const all = [adult, agree].every((box) => box.querySelector("input")?.checked);
      /** @type {HTMLButtonElement} */ (go).disabled = !all;
    };
    const text = h("div", { class: "ifllm-consent", tabindex: 0 });
    text.innerHTML = this.page.consent.html; // our own, escaped by the server
    this.#show(
      heading("Take part"),
      text,
      h("p", { class: "ifllm-fine" }, `Version ${this.page.consent.version} of this text.`),
      form(() => this.#about(), { onchange: checked }, adult, agree, go),
    );
  }

  #about() {
    const bands = Object.entries(this.page.bands).map(([name, band]) =>
      h(
        "label",
        { class: "ifllm-field" },
        band.label,
        h(
          "select",
          { name },
          h("option", { value: "" }, "rather not say"),
          ...band.values.map((value) => h("option", { value }, value)),
        ),
      ),
    );
    const kinds = { pairwise: "two answers side by side", pointwise: "one answer at a time" };
    const webcam = checkbox("webcam", "Use my webcam too. It may be slow, and is never needed.");
    this.#show(
      heading("Before you begin"),
      form(
        (data) => this.#open(data),
        {},
        h("p", {}, "All of this is optional."),
        h("div", { class: "ifllm-fields" }, ...bands),
        radios("kind", "What you read", kinds, { checked: "pairwise" }),
        this.page.webcam ? webcam : null,
        h("button", { type: "submit", class: "ifllm-main" }, "Begin"),
      ),
    );
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
    const { session, token, code } = opened;
    this.me = { session, token, code, kind: String(data.get("kind")), webcam: data.has("webcam") };
    keep(this.me);
    await this.#record();
    if (this.me.webcam) await this.#calibrate();
    this.#question();
  }

  async #record() {
    const { session, token } = /** @type {any} */ (this.me);
    this.capture = await startCapture({
      session,
      token,
      onrefused: (error) => error === "gone" && this.#gone(),
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

  /** @param {string} [said] */
  #question(said) {
    const { free, questions } = this.page.answers;
    const kind = /** @type {any} */ (this.me).kind;
    const most = { maxlength: this.page.limits.question, required: true };
    const input = free
      ? h(
          "label",
          { class: "ifllm-field" },
          "What do you want to know?",
          h("textarea", { name: "question", rows: 3, ...most }),
        )
      : picker(questions[kind]);
    this.#show(
      heading(this.turns ? "Another question" : "Your first question"),
      said ? notice(said) : null,
      h("p", {}, this.page.answers.said),
      form(
        (data) => this.#wait(String(data.get("question"))),
        {},
        input,
        free ? h("p", { class: "ifllm-fine" }, "Please write nothing that tells who you are.") : null,
        h("button", { type: "submit", class: "ifllm-main" }, "Ask"),
        this.turns ? button("Finish", () => this.#summary()) : null,
      ),
      this.#code(),
    );
  }

  /** @param {string} question */
  async #wait(question) {
    this.#show(heading("One moment"), h("p", { role: "status" }, "The answers are being fetched …"));
    const { kind } = /** @type {any} */ (this.me);
    const answered = await this.#step("ask", { question, kind });
    if (!answered.ok) return this.#question(answered.reason);
    if (!answered.shown) return this.#question(answered.trouble);
    this.#answers(answered.shown);
  }

  /** @param {any} shown */
  #answers(shown) {
    const pair = shown.kind === "pairwise";
    const boxes = shown.boxes.map((/** @type {any} */ { box, html }) => {
      const text = h("div", {
        class: "ifllm-reading",
        "data-response": box,
        tabindex: 0,
        role: "region",
        "aria-label": pair ? `Answer ${box}` : "Answer",
      });
      text.innerHTML = html; // written by markdown_source.py from a short list of tags
      return h("article", {}, h("h3", {}, pair ? `Answer ${box}` : "Answer"), text);
    });
    const likert = (/** @type {string} */ letter) =>
      control(
        `likert_${letter}`,
        radios(
          `likert_${letter}`,
          pair ? `How good is answer ${letter.toUpperCase()}?` : "How good is the answer?",
          Object.fromEntries(LIKERT.map((text, i) => [i + 1, text])),
        ),
      );
    const sides = { a: "answer A", tie: "about the same", b: "answer B" };
    const better = { true: "yes", false: "no" };
    const ratings = [
      likert("a"),
      pair ? likert("b") : null,
      pair ? control("preference", radios("preference", "Which do you like better?", sides)) : null,
      !pair && !shown.first
        ? control(
            "better_than_previous",
            radios("better_than_previous", "Is it better than the answer before?", better),
          )
        : null,
    ];
    this.#show(
      heading(shown.question),
      h("p", {}, "Read as you like. Your rating, below, ends the reading."),
      h("div", { class: "ifllm-pair", "data-turn": shown.turn, "data-kind": shown.kind }, ...boxes),
      form(
        (data) => this.#rate(shown, data),
        { class: "ifllm-rating" },
        ...ratings,
        control("submit", h("button", { type: "submit", class: "ifllm-main" }, "Send the rating")),
      ),
    );
  }

  /** @param {any} shown @param {FormData} data */
  async #rate(shown, data) {
    const number = (/** @type {string} */ name) => (data.has(name) ? Number(data.get(name)) : null);
    const better = data.get("better_than_previous");
    await this.capture.flush();
    const rated = await this.#step("rate", {
      turn: shown.turn,
      likert_a: number("likert_a"),
      likert_b: number("likert_b"),
      preference: data.get("preference"),
      better_than_previous: better === null ? null : better === "true",
    });
    if (!rated.ok) return this.#trouble(rated.reason);
    this.turns = rated.turns;
    this.#question();
  }

  // --- the end

  #summary() {
    const scale = Object.fromEntries(FELT.map((text, i) => [i + 1, text]));
    const optional = { required: false };
    this.#show(
      heading("Before you go"),
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
    const delivered = await this.capture.stop();
    const ended = await this.#step("end");
    if (!ended.ok) return this.#trouble(ended.reason);
    const { code } = /** @type {any} */ (this.me);
    forget();
    this.#show(
      heading("Thank you"),
      h("p", {}, delivered ? "Everything has arrived." : "The rest is sent when you are online."),
      h("p", {}, "This code deletes everything of yours, at any time. Nobody else has it:"),
      h("p", { class: "ifllm-code" }, h("code", { "data-code": true }, code)),
      button("Copy the code", () => navigator.clipboard?.writeText(code)),
    );
  }

  #gone() {
    forget();
    this.me = null;
    this.#show(heading("Deleted"), h("p", {}, "This session was withdrawn; nothing more is recorded."));
  }

  // --- parts

  #code() {
    const { code } = /** @type {any} */ (this.me);
    return h(
      "details",
      { class: "ifllm-fine" },
      h("summary", {}, "Your withdrawal code"),
      h("p", {}, h("code", { "data-code": true }, code), " deletes everything of yours at any time."),
    );
  }

  /** @param {string} name @param {object} [more] */
  #step(name, more = {}) {
    const { session, token } = /** @type {any} */ (this.me);
    return this.ask({ step: name, session, token, ...more });
  }

  /** @param {string} reason */
  #again(reason) {
    this.#show(heading("Take part"), notice(reason), button("Try again", () => this.begin()));
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
