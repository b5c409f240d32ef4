// The view of Explore: one turn, its answers, its timeline, its features.

import { h } from "../dom.js";
import { Replay } from "./replay.js";

const NAMES = ["A", "B"];

/**
 * Draw a turn; called anew for every turn.
 * @param {HTMLElement} element of gr.HTML
 * @param {string} value JSON of turn_view.py
 */
export function show(element, value) {
  const root = /** @type {HTMLElement & {replay?: Replay}} */ (
    element.querySelector(".ifllm-explore")
  );
  const view = JSON.parse(value);
  const began = performance.now();
  root.replay?.close();
  const sheets = view.answers.map(() => h("div", { class: "ifllm-sheet" }));
  const replay = new Replay(view, sheets);
  root.replaceChildren(
    question(view),
    h("div", { class: "ifllm-answers" }, ...view.answers.map((a, i) => answer(a, sheets[i], i))),
    view.ticks.t_ms.length ? replay.element : h("p", {}, "No behaviour was recorded in this turn."),
    legend(view),
    features(view),
  );
  root.replay = replay;
  replay.attach();
  root.dataset.query = view.query_id;
  root.dataset.drawnMs = (performance.now() - began).toFixed(1);
}

function question(view) {
  const said = [];
  if (view.preference === "tie") said.push("The reader liked both answers equally.");
  if (view.preference === null && view.answers.length > 1) said.push("No preference was given.");
  if (view.better_than_previous !== null) {
    said.push(view.better_than_previous ? "Better than the answer before." : "Not better than the answer before.");
  }
  return h(
    "div",
    { class: "ifllm-question" },
    h("h2", {}, view.prompt || "(no question)"),
    h("p", {}, `${view.domain ?? "No topic"}, turn ${view.turn}, reader ${view.reader}. ${said.join(" ")}`),
  );
}

function answer(answer, sheet, side) {
  const name = `Answer ${NAMES[side]}`;
  return h(
    "section",
    { class: `ifllm-answer${answer.liked ? " ifllm-liked" : ""}`, "aria-label": name },
    h(
      "div",
      { class: "ifllm-title" },
      h("h3", {}, name),
      answer.liked ? h("span", { class: "ifllm-badge" }, "preferred") : null,
      answer.likert === null
        ? h("span", {}, "not rated")
        : h(
            "span",
            {},
            h("span", { "aria-hidden": "true" }, "●".repeat(answer.likert) + "○".repeat(5 - answer.likert)),
            ` ${answer.likert} of 5`,
          ),
      h("span", { class: "ifllm-model" }, answer.model ?? "unknown model"),
    ),
    h("div", { class: "ifllm-scroll", "data-response": NAMES[side], tabindex: 0, role: "group", "aria-label": `Text of answer ${NAMES[side]}` }, sheet),
  );
}

function legend(view) {
  const [near, , far] = view.gaze_error;
  return h(
    "div",
    { class: "ifllm-legend" },
    h(
      "p",
      {},
      h("span", { class: "ifllm-swatch ifllm-gaze", "aria-hidden": "true" }),
      `Gaze: orange background. A webcam is off by ${near.px} to ${far.px} px, ${near.lines} to ${far.lines} lines as the `,
      "reader saw them, so the colour is spread that far and a single word means nothing. ",
      h("span", { class: "ifllm-swatch ifllm-mouse", "aria-hidden": "true" }),
      "Mouse: blue underline, where the pointer was.",
    ),
    h(
      "p",
      {},
      "Colour counts reading alone. While the reader was rating, the pointer went to the buttons: that would give the answer away.",
      view.reading_end_source === "fallback"
        ? " Where reading ended is a guess in this turn: the first click on a rating was not found."
        : "",
      view.ticks.visible?.some((ranges) => ranges.length)
        ? " The grey band in a lane is the part of the answer that was on screen."
        : "",
    ),
  );
}

function features(view) {
  const two = view.answers.length > 1;
  const shown = view.features.filter((f) => f.says);
  const others = view.features.filter((f) => !f.says);
  if (!view.features.length) return h("p", {}, "No features: nothing was recorded while reading.");
  return h(
    "div",
    { class: "ifllm-features" },
    h("h3", {}, "What this turn's behaviour amounts to"),
    h("p", {}, "This reader: median of the reader's other turns. Other readers: median and middle half. ▲ above and ▼ below that half."),
    table(shown, two, (f) => f.says, "Main features"),
    others.length
      ? h(
          "details",
          {},
          h("summary", {}, `All ${view.features.length} features`),
          table(others, two, (f) => f.name, "All features"),
        )
      : null,
  );
}

function table(rows, two, name, caption) {
  const heads = ["Feature", ...(two ? ["A", "B"] : ["Answer"]), "This reader", "Other readers"];
  return h(
    "div",
    { class: "ifllm-wide", tabindex: 0, role: "group", "aria-label": caption },
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, ...heads.map((head) => h("th", { scope: "col" }, head)))),
      h("tbody", {}, ...rows.map((row) => line(row, two, name(row)))),
    ),
  );
}

function line(row, two, name) {
  const [low, middle, high] = row.everyone;
  const cells = row.values.map((value) => cell(value, row, low, high));
  // A value of the pair as a whole stands under both answers.
  const wide = two && cells.length === 1;
  return h(
    "tr",
    {},
    h("th", { scope: "row", title: row.formula }, name),
    ...cells.map((text) => h("td", wide ? { colspan: 2, class: "ifllm-both" } : {}, text)),
    h("td", {}, row.own === null ? "–" : said(row.own, row.unit)),
    h("td", {}, middle === null ? "–" : `${said(middle, row.unit)} (${said(low, row.unit)} to ${said(high, row.unit)})`),
  );
}

function cell(value, row, low, high) {
  if (value === null) return "–";
  const mark = low === null ? "" : value > high ? " ▲" : value < low ? " ▼" : "";
  return said(value, row.unit) + mark;
}

function said(value, unit) {
  if (unit === "ms") return `${(value / 1000).toFixed(value < 10000 ? 2 : 1)} s`;
  const text = Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(3)));
  return unit === "1" ? text : `${text} ${unit}`;
}
