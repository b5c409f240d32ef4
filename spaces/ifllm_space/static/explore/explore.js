// The view of Explore: one turn, its answers, its timeline, its features.

import { h } from "../dom.js";
import { linkTo, setAddress, wantedTurn } from "./link.js";
import { Replay } from "./replay.js";

const NAMES = ["A", "B"];
const PLAYS_S = 15; // the first turn, by itself, takes about so long

/**
 * Draw a turn; called anew for every turn.
 * @param {HTMLElement} element of gr.HTML
 * @param {string} value JSON of turn_view.py
 * @param {((turn: string) => void)|null} [ask] brings the turn that the address names; null where
 *   turns have no address
 */
export function show(element, value, ask = null) {
  const root = /** @type {HTMLElement & {replay?: Replay}} */ (
    element.querySelector(".ifllm-explore")
  );
  const view = JSON.parse(value);
  const first = ask !== null && !root.replay;
  if (first && !view.notice) {
    const wanted = wantedTurn();
    if (wanted !== null && wanted !== String(view.query_id)) return ask(wanted);
  }
  const began = performance.now();
  root.replay?.close();
  const sheets = view.answers.map(() => h("div", { class: "ifllm-sheet" }));
  const replay = new Replay(view, sheets);
  const recorded = view.ticks.t_ms.length > 0;
  root.replaceChildren(
    ...(view.notice ? [h("p", { class: "ifllm-notice", role: "status" }, view.notice)] : []),
    question(view),
    story(view),
    ...(recorded ? [replay.bar, legend(view, replay)] : [h("p", {}, "No behaviour was recorded in this turn.")]),
    h("div", { class: "ifllm-answers" }, ...view.answers.map((a, i) => answer(a, sheets[i], i))),
    ...(recorded ? [replay.element] : []),
    ...(view.rule ? [h("p", { class: "ifllm-rule" }, view.rule)] : []),
    how(view),
    ...(ask === null ? [] : [linkTo(view.query_id)]),
    features(view),
  );
  root.replay = replay;
  replay.attach();
  root.dataset.query = view.query_id;
  root.dataset.drawnMs = (performance.now() - began).toFixed(1);
  if (ask === null) return;
  if (!first || view.notice) setAddress(view.notice ? null : view.query_id);
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (first && recorded && !still && root.clientWidth > 0) replay.playByItself(PLAYS_S);
}

function question(view) {
  const said = [];
  if (view.better_than_previous !== null) {
    said.push(view.better_than_previous ? "Better than the answer before." : "Not better than the answer before.");
  }
  return h(
    "div",
    { class: "ifllm-question" },
    h("h2", {}, view.prompt || "(no question)"),
    h("p", {}, `Asked by ${view.reader_name}, turn ${view.turn}: ${view.domain ?? "no topic"}. ${said.join(" ")}`),
  );
}

/** What was guessed, from what, and what the reader said. */
function story(view) {
  if (view.answers.length < 2) return "";
  const { preference, guess } = view;
  const said = { a: "A", b: "B", tie: "both equally" }[preference];
  const truth = said ? `${view.reader_name} preferred ${said}` : "No preference was given";
  return h(
    "ol",
    { class: "ifllm-story" },
    ...(guess
      ? [step("Words alone", guess.text, preference), step("Length, mouse, gaze", guess.behavior, preference)]
      : []),
    h("li", { class: "ifllm-truth" }, h("strong", {}, truth)),
  );
}

/** One guess: from what, which answer, how sure, and whether it is right. */
function step(from, chance, preference) {
  const side = chance > 0.5 ? "b" : "a";
  const sure = Math.round(100 * Math.max(chance, 1 - chance));
  const known = preference === "a" || preference === "b";
  const right = side === preference;
  return h(
    "li",
    { class: known ? (right ? "ifllm-right" : "ifllm-wrong") : "" },
    `${from}: `,
    h("strong", {}, `${side.toUpperCase()}, ${sure} %`),
    known ? h("span", {}, right ? " ✓ right" : " ✗ wrong") : null,
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

/** What the colours mean, beside the boxes that turn them off. */
function legend(view, replay) {
  const [near, , far] = view.gaze_error;
  const [gaze, mouse] = replay.channels;
  return h(
    "div",
    { class: "ifllm-legend ifllm-controls" },
    h("span", {}, gaze, ` orange: eyes were here, give or take ${near.lines} to ${far.lines} lines`),
    h("span", {}, mouse, " blue line: the mouse was here"),
  );
}

function how(view) {
  const [near, , far] = view.gaze_error;
  return h(
    "details",
    { class: "ifllm-how" },
    h("summary", {}, "How to read this"),
    h(
      "p",
      {},
      "The lanes A and B show the way through each answer: down from its start to its end, across the time. ",
      `A webcam is off by ${near.px} to ${far.px} px, ${near.lines} to ${far.lines} lines as the `,
      "reader saw them, so the colour is spread that far and a single word means nothing.",
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
    view.guess
      ? h(
          "p",
          {},
          "The guesses are of small models that never saw this reader: words alone (TF-IDF), and the length of the answers with ",
          "the end of reading. They are right little more often than a coin; the tab Score says what moved them.",
        )
      : null,
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
