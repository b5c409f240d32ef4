// The view of Score: what the rewards say, what moved them, and a recorder for your own mouse.

import { clock, h } from "../dom.js";
import { Course } from "./course.js";
import { MouseMinute } from "./minute.js";
import { Replay } from "../explore/replay.js";

const NAMES = ["A", "B"];
const MOST = 5; // parts named in words

/**
 * @param {HTMLElement} element of gr.HTML
 * @param {string} value JSON of score_view.py
 * @param {(said: object) => void} send hands a recording to Python
 */
export function show(element, value, send) {
  const root = /** @type {HTMLElement & {replay?: Replay, minute?: MouseMinute}} */ (
    element.querySelector(".ifllm-score")
  );
  root.replay?.close();
  root.minute?.stop();
  const view = JSON.parse(value);
  const behavior = view.rewards.behavior;
  const own = view.reader === "you";
  const sheets = view.answers.map(() => h("div", { class: "ifllm-sheet" }));
  const bars = [
    bar("Words alone", view.rewards.text, view.rewards.says.text),
    bar("Length and behaviour", behavior?.chance ?? null, view.rewards.says.behavior),
  ];
  if (behavior?.reasons.length) bars[1].element.append(...reasons(behavior.reasons));
  const model = view.rewards.model;
  if (model) {
    const says = `IFLLMForRewardModeling “${model.name}”, whose card says what it was trained on, this pair perhaps.`;
    const unread = bar("Trained model, text alone", model.text, `Chance that B is preferred, behaviour masked. ${says}`);
    const read = bar("Trained model, text and behaviour", model.behavior, `The same with ticks of reading. ${says}`);
    if (model.says.length) (model.behavior === null ? unread : read).element.append(...reasons(model.says));
    bars.push(unread, read);
  }
  const course = behavior ? new Course(view) : null;
  const replay = new Replay(view, sheets, (t) => {
    course?.paint(t);
    if (behavior) bars[1].set(course.at(t), t >= replay.end ? "" : `had reading ended at ${clock(t)}`);
  });
  const minute = new MouseMinute(sheets, replay.layers, (ticks) => {
    send({ of: view.of, prompt: view.prompt, a: view.answers[0].text, b: view.answers[1].text, ticks });
  });
  const [colour, paint] = colourChoice(view, replay);
  minute.onstart = () => replay.show("nothing");
  minute.oncancel = paint;
  root.replaceChildren(
    question(view, own),
    lead(view),
    h("div", { class: "ifllm-bars" }, ...bars.map((b) => b.element)),
    h("p", { class: "ifllm-said" }, view.rewards.says.trained),
    minute.element,
    h("div", { class: "ifllm-controls" }, colour),
    h("div", { class: "ifllm-answers" }, ...view.answers.map((a, i) => answer(a, sheets[i], i))),
    behavior ? replay.element : h("p", {}, "No behaviour yet: record your own above, or pick a reader."),
    ...(course ? [course.element] : []),
    lists(view),
  );
  root.replay = replay;
  root.minute = minute;
  if (course) replay.onlayout = () => course.layout();
  replay.attach();
  root.dataset.turn = `${view.reader} ${view.query_id}`;
}

function question(view, own) {
  const who = own
    ? view.rewards.behavior
      ? "Behaviour: your own mouse, just now. It was scored in memory and is not stored."
      : "Nobody has read these answers yet."
    : `Behaviour: ${view.reader_name}, turn ${view.turn}, as recorded.`;
  const liked = view.preference;
  const said =
    liked === null ? "" : liked === "tie" ? ` ${view.reader_name} liked both equally.` : ` ${view.reader_name} preferred ${liked.toUpperCase()}.`;
  return h(
    "div",
    { class: "ifllm-question" },
    h("h2", {}, view.prompt || "(no question)"),
    h("p", {}, who + said),
  );
}

/** What both say, and what moved the second most, in a sentence. */
function lead(view) {
  const { text, behavior } = view.rewards;
  const says = (/** @type {number} */ p) =>
    `${p > 0.5 ? "B" : "A"} (${Math.round(100 * Math.max(p, 1 - p))} %)`;
  const parts = [`Words alone guess ${says(text)}`];
  if (behavior) parts.push(`, length and behaviour ${says(behavior.chance)}`);
  const moved = behavior ? (behavior.reasons[0] ?? momentInWords(behavior.moments)) : null;
  return h("p", { class: "ifllm-lead" }, `${parts.join("")}.`, moved ? ` What moved it most: ${moved.replace(/^The /, "the ")}.` : "");
}

/** Where there are no reasons (no torch): the moment without which the chance changes most. */
function momentInWords(moments) {
  const most = moments.reduce((x, m) => (Math.abs(m.change) > Math.abs(x?.change ?? 0) ? m : x), null);
  if (!most) return null;
  const points = (100 * Math.abs(most.change)).toFixed(1);
  const side = most.change > 0 ? "B" : "A";
  return `what the reader did from ${seconds(most.from_ms)} to ${seconds(most.to_ms)} s, ${points} points for ${side}`;
}

/** One reward: how the chance is split between the answers, and what the number is. */
function bar(name, chance, says) {
  const when = h("span", { class: "ifllm-where" });
  const left = h("span", { class: "ifllm-side" });
  const right = h("span", { class: "ifllm-side" });
  const split = h("div", { class: "ifllm-split" }, left, right);
  const set = (/** @type {number|null} */ p, /** @type {string} */ said) => {
    when.textContent = said;
    if (p === null) {
      split.replaceChildren("no behaviour to score");
      split.classList.add("ifllm-none");
      return;
    }
    const b = Math.round(100 * p);
    left.textContent = `A ${100 - b} %`;
    right.textContent = `B ${b} %`;
    left.style.flexBasis = `${100 * (1 - p)}%`;
    right.style.flexBasis = `${100 * p}%`;
    left.classList.toggle("ifllm-more", p < 0.5);
    right.classList.toggle("ifllm-more", p > 0.5);
  };
  set(chance, "");
  return {
    set,
    element: h(
      "div",
      { class: "ifllm-bar" },
      h("div", { class: "ifllm-title" }, h("h3", {}, name), when),
      split,
      h("p", {}, says),
    ),
  };
}

/** What moved a score, in sentences of in_words.py. */
function reasons(says) {
  return [
    h("p", {}, "What moved it most, and by how many points each; the end of reading counts most:"),
    h("ul", {}, ...says.map((said) => h("li", {}, said))),
  ];
}

function answer(answer, sheet, side) {
  return h(
    "section",
    { class: `ifllm-answer${answer.liked ? " ifllm-liked" : ""}`, "aria-label": `Answer ${NAMES[side]}, scored` },
    h(
      "div",
      { class: "ifllm-title" },
      h("h3", {}, `Answer ${NAMES[side]}`),
      answer.liked ? h("span", { class: "ifllm-badge" }, "preferred by the reader") : null,
    ),
    h(
      "div",
      { class: "ifllm-scroll", "data-response": NAMES[side], tabindex: 0, role: "group", "aria-label": `Text of answer ${NAMES[side]}, scored` },
      sheet,
    ),
  );
}

function colourChoice(view, replay) {
  const behavior = view.rewards.behavior;
  const options = [
    ...(behavior ? [["looked", "what was looked at"]] : []),
    ["words", "words that moved the text reward"],
    ...(behavior ? [["passages", "passages where behaviour moved it"]] : []),
    ...(view.rewards.model?.tokens.length ? [["tokens", "tokens where behaviour moved the trained model"]] : []),
  ];
  const legend = h("span", { class: "ifllm-where" });
  const parts = { words: view.rewards.words, passages: behavior?.passages ?? [], tokens: view.rewards.model?.tokens ?? [] };
  const choose = (/** @type {string} */ chosen) => {
    replay.show(chosen === "looked" ? "heat" : parts[chosen]);
    legend.replaceChildren(
      ...(chosen === "looked"
        ? [swatch("gaze"), "gaze ", swatch("mouse"), "mouse"]
        : [swatch("for"), "speaks for its answer ", swatch("against"), "speaks against it"]),
    );
  };
  const id = `${replay.id}-colour`;
  const select = /** @type {HTMLSelectElement} */ (
    h(
      "select",
      { id, onchange: () => choose(select.value) },
      ...options.map(([value, text]) => h("option", { value }, text)),
    )
  );
  choose(options[0][0]);
  const label = h("label", { for: id }, "Colour");
  const element = h("span", { class: "ifllm-choice ifllm-colour" }, label, select, legend);
  return [element, () => choose(select.value)];
}

function swatch(name) {
  return h("span", { class: `ifllm-swatch ifllm-${name}`, "aria-hidden": "true" });
}

/** What moved the rewards most, in words: colour alone would tell nothing to some. */
function lists(view) {
  const behavior = view.rewards.behavior;
  const texts = view.answers.map((a) => Array.from(a.text));
  const quoted = ([side, start, stop]) => {
    const text = texts[side].slice(start, stop).join("").trim();
    return `“${text.length > 60 ? `${text.slice(0, 57)}…` : text}” (${NAMES[side]})`;
  };
  return h(
    "div",
    { class: "ifllm-moved" },
    list("Words that moved the text reward most", view.rewards.words, (p) => [quoted(p), p[3]]),
    behavior
      ? list("Passages where behaviour moved it most", behavior.passages, (p) => [quoted(p), p[3]])
      : null,
    behavior
      ? list("Moments that moved it most", behavior.moments, (m) => [
          `${seconds(m.from_ms)} to ${seconds(m.to_ms)} s`,
          m.change,
        ])
      : null,
    view.rewards.model?.tokens.length
      ? list(
          "Tokens where behaviour moved the trained model most",
          view.rewards.model.tokens,
          (p) => [quoted(p), p[3]],
          (size) => `${size.toPrecision(2)} in score`,
        )
      : null,
    h("p", {}, "Points: how far the chance moves when that part alone is left out."),
    view.rewards.model?.tokens.length
      ? h("p", {}, "In score: a token's share of the lead, by integrated gradients.")
      : null,
  );
}

function seconds(ms) {
  return (ms / 1000).toFixed(1);
}

function list(title, parts, read, said = (size) => `${(100 * size).toFixed(1)} points`) {
  const moved = parts.map(read).filter(([, change]) => Math.abs(change) >= 0.0005);
  moved.sort((x, y) => Math.abs(y[1]) - Math.abs(x[1]));
  const items = moved.slice(0, MOST).map(([text, change]) => {
    const side = change > 0 ? "B" : "A";
    return h("li", {}, `${text}: ${said(Math.abs(change))} for ${side}`);
  });
  return h("section", {}, h("h3", {}, title), h("ul", {}, ...(items.length ? items : [h("li", {}, "none")])));
}
