// @ts-check
/**
 * What the whole page does, whichever tab is open: send what an earlier visit left, and open the tab
 * that the address names (`?tab=take-part`), or Taking part where this browser has a session to finish.
 */

import { ownSessions, unfinished } from "../capture/take_part/kept.js";
import { drainBacklog } from "../capture/record/transport.js";

sendWhatIsLeft();
const asked = new URLSearchParams(location.search).get("tab");
const tab = asked ?? (unfinished() ? "take-part" : null);
const root = document.documentElement; // shell.py has put the class on it
if (tab) openTab(tab);
else root.classList.remove("ifllm-opening");

/** The backlog is a database, and is not made for somebody who never took part. */
async function sendWhatIsLeft() {
  let made = true; // where a browser does not say
  try {
    made = (await indexedDB.databases()).some(({ name }) => name === "ifllm-capture");
  } catch {
    /* storage is denied, or the browser is an old one */
  }
  if (made || ownSessions().length) drainBacklog();
}

/**
 * Gradio draws the first tab, then the others; until ours is open nothing of another is seen.
 * @param {string} name
 */
function openTab(name) {
  const look = () => {
    const button = buttonOf(name);
    if (!button) return;
    if (button.ariaSelected !== "true") button.click();
    if (button.ariaSelected !== "false") done();
  };
  const watching = new MutationObserver(look);
  const done = () => {
    watching.disconnect();
    clearTimeout(timer);
    root.classList.remove("ifllm-opening");
  };
  const timer = setTimeout(done, 10_000); // there is no such tab
  watching.observe(document.body, { childList: true, subtree: true, attributeFilter: ["aria-selected"] });
  look();
}

/** @param {string} name @returns {HTMLElement|null} */
function buttonOf(name) {
  const tabs = document.querySelector('[role="tablist"]');
  const shown = tabs?.querySelector(`[data-tab-id="${CSS.escape(name)}"]`);
  if (shown instanceof HTMLElement) return shown;
  // What does not fit stands in a menu, by its label alone.
  const more = [...(tabs?.parentElement?.querySelectorAll(".overflow-dropdown button") ?? [])];
  const labelled = more.find((e) => e.textContent?.toLowerCase().replace(/\W+/g, "-").startsWith(name));
  return labelled instanceof HTMLElement ? labelled : null;
}
