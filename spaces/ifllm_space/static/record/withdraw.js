// @ts-check
// What is kept, and the form that deletes it.

import { patient } from "./ask.js";
import { h } from "../dom.js";
import { heading, notice } from "./form.js";

/**
 * @param {HTMLElement} root
 * @param {(step: object) => Promise<any>} ask runs a step on the server
 */
export async function start(root, ask) {
  ask = patient(ask);
  const page = await ask({ step: "begin" });
  const text = h("div", { class: "ifllm-consent" });
  if (page.collects) text.innerHTML = page.consent.html; // our own, escaped by the server
  const input = h("input", { name: "code", autocomplete: "off", required: true, spellcheck: "false" });
  const said = h("div", { role: "status" });
  root.replaceChildren(
    heading("Withdraw"),
    h("p", {}, "Your code deletes your session everywhere: the recording, copies of it, and exports."),
    h(
      "form",
      {
        onsubmit: async (/** @type {SubmitEvent} */ event) => {
          event.preventDefault();
          const code = /** @type {HTMLInputElement} */ (input).value;
          const answer = await ask({ step: "withdraw", code });
          const done = answer.complete
            ? "Your session is deleted."
            : "Your session is deleted here; the copy on the Hub follows with the next connection.";
          said.replaceChildren(answer.ok ? h("p", {}, done) : notice(answer.reason));
        },
      },
      h("label", { class: "ifllm-field" }, "Withdrawal code", input),
      h("button", { type: "submit", class: "ifllm-main" }, "Delete my session"),
    ),
    said,
    ...(page.collects
      ? [heading("What participants agree to"), text]
      : [h("p", {}, "Nothing is collected here at the moment.")]),
  );
}
