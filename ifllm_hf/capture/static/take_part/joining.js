// @ts-check
// The pages before the first question: what is agreed to, who reads as far as they like to say, the code.

import { codePanel } from "./code.js";
import { h } from "../dom.js";
import { checkbox, form, heading, radios } from "./form.js";
import { begunOn, ownSessions } from "./kept.js";
import { panelLink } from "./leaving.js";

/**
 * @param {any} page what the server said of it
 * @param {() => void} next
 */
export function consentPage(page, next) {
  const adult = checkbox("adult", "I am 18 years old or older.");
  const agree = checkbox("agree", "I have read this, and I agree to take part.");
  const go = h("button", { type: "submit", class: "ifllm-main", disabled: true }, "Go on");
  const checked = () => {
    const all = [adult, agree].every((box) => box.querySelector("input")?.checked);
    /** @type {HTMLButtonElement} */ (go).disabled = !all;
  };
  const { questions, minutes } = page.length;
  const text = h("div", { class: "ifllm-consent", tabindex: 0 });
  text.innerHTML = page.consent.html; // our own, escaped by the server
  const [last] = ownSessions();
  return [
    heading("Take part"),
    last?.completion // who reloaded the last page has not lost the way back
      ? h("div", { class: "ifllm-notice" }, `You have finished what you began on ${begunOn(last)}.`, panelLink(last.completion))
      : null,
    h("p", {}, `${questions} questions, about ${minutes} minutes in all. You can stop after each.`),
    text,
    h("p", { class: "ifllm-fine" }, `Version ${page.consent.version} of this text.`),
    form(next, { onchange: checked }, adult, agree, go),
  ];
}

/**
 * @param {any} page
 * @param {(data: FormData) => void} begin
 */
export function aboutPage(page, begin) {
  const bands = Object.entries(page.bands).map(([name, band]) =>
    h(
      "label",
      { class: "ifllm-field" },
      band.label,
      h(
        "select",
        { name },
        h("option", { value: "" }, "rather not say"),
        ...band.values.map((/** @type {string} */ value) => h("option", { value }, value)),
      ),
    ),
  );
  const kinds = { pairwise: "two answers side by side", pointwise: "one answer at a time" };
  const webcam = checkbox("webcam", "Use my webcam too. It may be slow, and is never needed.");
  return [
    heading("Before you begin"),
    form(
      begin,
      {},
      h("p", {}, "All of this is optional."),
      h("div", { class: "ifllm-fields" }, ...bands),
      radios("kind", "What you read", kinds, { checked: "pairwise" }),
      page.webcam ? webcam : null,
      h("button", { type: "submit", class: "ifllm-main" }, "Begin"),
    ),
  ];
}

/**
 * @param {string} code
 * @param {() => void} next
 */
export function codePage(code, next) {
  return [
    heading("Your code"),
    h("p", {}, "It deletes everything of yours, at any time. Nobody else has it: please keep it."),
    codePanel(code),
    h("p", { class: "ifllm-fine" }, "This browser keeps it too, under About & withdraw."),
    form(next, {}, h("button", { type: "submit", class: "ifllm-main" }, "To the questions")),
  ];
}
