// The address of a turn: `?turn=1438`, under whatever path and in whatever frame the page is.

import { h } from "../dom.js";

const HUB = "https://huggingface.co"; // shows a Space in a frame, and hands its own query on

/** The turn that the address names. */
export function wantedTurn() {
  return new URLSearchParams(location.search).get("turn");
}

/** Make the address name a turn, or none. @param {number|null} turn */
export function setAddress(turn) {
  const here = new URL(location.href);
  if (turn === null) here.searchParams.delete("turn");
  else here.searchParams.set("turn", String(turn));
  history.replaceState(history.state, "", here);
  // Nothing but the turn: the frame's own query may hold what lets a visitor in.
  const queryString = turn === null ? "" : `turn=${turn}`;
  if (parent !== window) parent.postMessage({ queryString, hash: location.hash }, HUB);
}

/** A button that copies the address of a turn. @param {number} turn */
export function linkTo(turn) {
  const address = `${location.origin}${location.pathname}?turn=${turn}`;
  const said = h("span", { class: "ifllm-where", role: "status" });
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(address);
      said.textContent = `Copied: ${address}`;
    } catch {
      said.textContent = address; // a frame may not write to the clipboard
    }
  };
  return h(
    "div",
    { class: "ifllm-controls" },
    h("button", { type: "button", onclick: copy }, "Copy link to this turn"),
    said,
  );
}
