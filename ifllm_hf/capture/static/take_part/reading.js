// @ts-check
// What is read and rated: the answers of a turn, what was said before it, its rating controls.

import { h } from "../dom.js";
import { control, radios } from "./form.js";

const LIKERT = ["1 very bad", "2", "3", "4", "5 very good"];

/** @typedef {{box: string, html: string}} Box an answer as the server rendered it */
/** @typedef {{question: string, boxes: Box[]}} Said */
/** @typedef {Said & {turn: number, kind: string, past: Said[]}} Shown */

/** The answers of a turn; the recorder watches what stands here. @param {Shown} shown */
export function answersOf({ turn, kind, boxes }) {
  const pair = kind === "pairwise";
  const parts = boxes.map(({ box, html }) => {
    const name = pair ? `Answer ${box}` : "Answer";
    const text = rendered(html, {
      class: "ifllm-reading",
      "data-response": box,
      tabindex: 0,
      role: "region",
      "aria-label": name,
    });
    return h("article", {}, h("h3", {}, name), text);
  });
  return h("div", { class: "ifllm-pair", "data-turn": turn, "data-kind": kind }, ...parts);
}

/**
 * What the models know when they answer; null where they know nothing.
 * @param {Said[]} past
 * @param {{open: boolean}} how
 */
export function pastOf(past, { open }) {
  if (!past.length) return null;
  const count = past.length === 1 ? "1 question" : `${past.length} questions`;
  const turns = past.flatMap(({ question, boxes }) => [
    h("p", { class: "ifllm-asked" }, question),
    h(
      "div",
      { class: "ifllm-said-before" },
      ...boxes.map(({ box, html }) =>
        h(
          "div",
          {},
          boxes.length > 1 ? h("h3", {}, `Answer ${box}`) : null,
          rendered(html, { class: "ifllm-markdown" }),
        ),
      ),
    ),
  ]);
  return h(
    "details",
    { class: "ifllm-past", open },
    h("summary", {}, `The conversation so far (${count})`),
    h("p", { class: "ifllm-fine" }, "It goes on: each model knows its own side of this."),
    h(
      "div",
      { class: "ifllm-scrolled", tabindex: 0, role: "region", "aria-label": "The conversation so far" },
      ...turns,
    ),
  );
}

/** The controls with which a turn is rated. @param {Shown} shown @returns {Array<HTMLElement|null>} */
export function ratingsOf({ kind, past }) {
  const pair = kind === "pairwise";
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
  return [
    likert("a"),
    pair ? likert("b") : null,
    pair ? control("preference", radios("preference", "Which do you like better?", sides)) : null,
    !pair && past.length
      ? control(
          "better_than_previous",
          radios("better_than_previous", "Is it better than the answer before?", better),
        )
      : null,
  ];
}

/** @param {string} html @param {Record<string, unknown>} attributes */
function rendered(html, attributes) {
  const text = h("div", attributes);
  text.innerHTML = html; // written by markdown_source.py from a short list of tags
  return text;
}
