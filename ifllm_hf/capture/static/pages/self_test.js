// @ts-check
/**
 * Whether a page still is as its adapter says. A page that was rebuilt would be recorded wrongly and
 * in silence, so each check has a name, and one that fails ends the recording.
 */

import { idOf } from "./found_turns.js";

/** @typedef {import("./found_turns.js").Adapter} Adapter */
/** @typedef {{check: string, seen: string}} Fault */

const REST_MS = 400; // a page in the middle of drawing is not yet what it will be

/**
 * @param {Adapter} adapter
 * @returns {Fault|null} the first check that fails; null: none does, or there is nothing to check yet
 */
export function selfTest(adapter) {
  for (const { name, each, within, has, is } of adapter.checks) {
    for (const element of document.querySelectorAll(each)) {
      if (within && !element.closest(within)) return { check: name, seen: `${looksOf(element)} in no ${within}` };
      if (has && !element.querySelector(has)) return { check: name, seen: `${looksOf(element)} without ${has}` };
      if (is && !element.matches(is)) return { check: name, seen: `${looksOf(element)}, not ${is}` };
    }
  }
  const seen = new Set();
  for (const element of document.querySelectorAll(adapter.message)) {
    const answer = element.matches(adapter.answer);
    const id = idOf(answer ? adapter.answer_id : adapter.question_id, element);
    if (!id) return { check: "every message has an id", seen: looksOf(element) };
    const key = `${idOf(adapter.chat_id, element)} ${id}`;
    if (seen.has(key)) return { check: "no two messages have one id", seen: looksOf(element) };
    seen.add(key);
  }
  return textFault(adapter);
}

/** @param {Adapter} adapter @returns {Fault|null} */
function textFault({ answer, text, finished }) {
  if (!text) return null;
  const complete = [...document.querySelectorAll(answer)].filter((one) => !finished || one.querySelector(finished));
  // One that failed may have none.
  if (!complete.length || complete.some((one) => one.querySelector(text))) return null;
  return { check: "a finished answer has a text", seen: `${looksOf(complete[0])} without ${text}` };
}

/**
 * An element as the console may show it, without any text of the page.
 * @param {Element} element
 */
function looksOf(element) {
  const attributes = [...element.attributes].filter(({ name }) => /^(id|class|role|data-)/.test(name));
  const said = attributes.map(({ name, value }) => ` ${name}="${value.slice(0, 80)}"`).join("");
  return `<${element.localName}${said}>`;
}

/**
 * Look again whenever the page has rested after a change.
 * @param {() => void} look
 * @returns {() => void} ends it
 */
export function onRest(look) {
  let timer = setTimeout(look, 0);
  const observer = new MutationObserver(() => {
    clearTimeout(timer);
    timer = setTimeout(look, REST_MS);
  });
  observer.observe(document.body, { childList: true, subtree: true, characterData: true });
  return () => {
    clearTimeout(timer);
    observer.disconnect();
  };
}
