// @ts-check
// What is kept, and what deletes it: a code, or a press where this browser knows the session.

import { patient } from "./ask.js";
import { codePanel } from "./code.js";
import { h } from "../dom.js";
import { button, form, heading, notice, waitingIn } from "./form.js";
import { CHANGED, begunOn, ownSessions, strike } from "./kept.js";

/**
 * @param {HTMLElement} root
 * @param {(step: object) => Promise<any>} ask runs a step on the server
 */
export async function start(root, ask) {
  const asking = patient(ask, waitingIn(root));
  const page = await asking({ step: "begin" });
  const text = h("div", { class: "ifllm-consent" });
  if (page.collects) text.innerHTML = page.consent.html; // our own, escaped by the server
  const input = h("input", { name: "code", autocomplete: "off", required: true, spellcheck: "false" });
  const said = h("div", { role: "status" });
  const own = h("div", {});
  const withdraw = async (/** @type {string} */ code) => {
    const answer = await asking({ step: "withdraw", code });
    const done = answer.complete
      ? "Your session is deleted."
      : "Your session is deleted here; the copy that was made of it follows soon.";
    said.replaceChildren(answer.ok ? h("p", {}, done) : notice(answer.reason));
    const mine = ownSessions().find((me) => plain(me.code) === plain(code));
    if (answer.ok && mine) strike(mine.session);
  };
  const list = () => own.replaceChildren(...ownList(withdraw));
  addEventListener(CHANGED, list);
  addEventListener("storage", list);
  list();
  root.replaceChildren(
    heading("Withdraw"),
    h("p", {}, "Your code deletes your session everywhere: the recording, copies of it, and exports."),
    form(
      (data) => withdraw(String(data.get("code"))),
      {},
      h("label", { class: "ifllm-field" }, "Withdrawal code", input),
      h("button", { type: "submit", class: "ifllm-main" }, "Delete my session"),
    ),
    said,
    own,
    ...(page.collects
      ? [heading("What participants agree to"), text]
      : [h("p", {}, "Nothing is collected here at the moment.")]),
  );
}

/** @param {(code: string) => Promise<void>} withdraw @returns {HTMLElement[]} */
function ownList(withdraw) {
  const own = ownSessions();
  if (!own.length) return [];
  const items = own.map((me) => {
    const rated = me.turns === 1 ? "1 question" : `${me.turns} questions`;
    const sure = h("div", {});
    const first = button("Delete this session", () =>
      sure.replaceChildren(
        button("Yes, delete it for good", () => withdraw(me.code)),
        button("Keep it", () => sure.replaceChildren(first)),
      ),
    );
    sure.append(first);
    return h("li", {}, h("p", {}, `${begunOn(me)}: ${rated} rated`), codePanel(me.code), sure);
  });
  return [
    heading("Sessions that began in this browser"),
    h("p", { class: "ifllm-fine" }, "The list is kept in this browser alone."),
    h("ul", { class: "ifllm-own" }, ...items),
  ];
}

/** @param {string} code */
function plain(code) {
  return code.replace(/[\s-]/g, "").toUpperCase();
}
