// @ts-check
// The withdrawal code, to be copied or kept in a file.

import { h } from "../dom.js";
import { button } from "./form.js";

const SAID_MS = 4000;

/** @param {string} code */
export function codePanel(code) {
  const shown = h("code", { "data-code": true }, code);
  const said = h("span", { class: "ifllm-said", role: "status" });
  let timer = 0;
  const say = (/** @type {string} */ words) => {
    said.textContent = words;
    clearTimeout(timer);
    timer = window.setTimeout(() => (said.textContent = ""), SAID_MS);
  };
  return h(
    "div",
    { class: "ifllm-code" },
    h("p", {}, shown),
    button("Copy", async () => say((await copied(shown)) ? "Copied" : "Please copy it by hand")),
    button("Download", () => {
      download(code);
      say("Saved as a file");
    }),
    said,
  );
}

/** @param {HTMLElement} element @returns {Promise<boolean>} whether the clipboard holds its text */
export async function copied(element) {
  try {
    await navigator.clipboard.writeText(element.textContent ?? "");
    return true;
  } catch {
    // Not over plain HTTP, nor in a frame that may not: what is selected can still be copied.
    getSelection()?.selectAllChildren(element);
    return document.execCommand("copy");
  }
}

/** @param {string} code */
function download(code) {
  const place = new URL("?tab=about", document.baseURI);
  const text = `Your withdrawal code: ${code}\n\nIt deletes your session at any time, here:\n${place}\n`;
  const href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  h("a", { href, download: "withdrawal-code.txt" }).click();
  setTimeout(() => URL.revokeObjectURL(href), SAID_MS);
}
