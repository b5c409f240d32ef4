// @ts-check
// What the last page says: what became of the recording, and the way back to a panel.

import { h } from "../dom.js";

/**
 * @param {boolean} delivered whether all that can be sent is on the server
 * @param {{count: number, reasons: Record<string, number>}} refused what is not, and why
 * @param {Record<string, string>} words for the reasons
 */
export function arrivedOf(delivered, { count, reasons }, words) {
  if (!count) return delivered ? "Everything has arrived." : "The rest is sent when you are online.";
  const pieces = count === 1 ? "1 piece of the recording was" : `${count} pieces of the recording were`;
  const why = Object.keys(reasons).map(
    (reason) => words[reason] ?? words[reason.includes(":") ? "malformed" : "on_the_way"],
  );
  const because = why.length ? ` (${[...new Set(why)].join(", ")})` : "";
  return `${pieces} refused by the server${because}. What can still be sent stays in this browser.`;
}

/** @param {string|null} href where a panel takes people back, if there is one */
export function panelLink(href) {
  if (!href) return null;
  return h("p", {}, h("a", { class: "ifllm-main", href, rel: "noreferrer" }, "Back to your panel"));
}
