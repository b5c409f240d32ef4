// @ts-check
/**
 * Asks in a corner of a page whether its reader takes part, and keeps the way out at the same place.
 * Before "yes" nothing is recorded, sent or kept, not even a "no".
 */

import { h } from "../dom.js";
import { forget, keep, readKept, strike } from "../take_part/kept.js";
import { ask } from "../take_part/steps.js";

/** @typedef {import("../take_part/kept.js").Me} Me */
/**
 * @typedef {object} Recording
 * @property {() => object} agreed what is sent with the consent
 * @property {(me: Me, ongone: () => void) => Promise<void>} start
 * @property {() => Promise<void>} stop
 */

const OTHERWISE = "This did not work. Please try again in a minute.";

/**
 * @param {any} offered what the step `begin` said
 * @param {Recording} recording
 */
export async function consentPanel(offered, recording) {
  const style = new URL("./consent_panel.css", import.meta.url).href;
  document.head.append(h("link", { rel: "stylesheet", href: style }));
  const panel = h("aside", { id: "ifllm-panel", "aria-label": "Taking part in a study" });
  const said = h("p", { role: "status" });
  document.body.append(panel);

  const show = (/** @type {(Node|null)[]} */ ...parts) =>
    panel.replaceChildren(...parts.filter((part) => part !== null), said);
  const button = (/** @type {string} */ text, /** @type {string} */ name, /** @type {() => unknown} */ act) =>
    h("button", { type: "button", "data-ifllm": name, onclick: act }, text);

  function closed() {
    show(button("Take part in a study?", "open", asked));
  }

  function asked() {
    said.textContent = "";
    const text = h("div", { class: "ifllm-text", tabindex: 0 });
    text.innerHTML = offered.consent.html; // our own, escaped by the server
    show(
      h("h2", {}, "Take part?"),
      text,
      h(
        "div",
        { class: "ifllm-choice" },
        button("Yes, I am 18 or older and agree", "yes", agree),
        button("No", "no", closed),
      ),
    );
  }

  async function agree() {
    const { version } = offered.consent;
    const answer = await ask({ step: "consent", version, adult: true, ...recording.agreed() }).catch(() => null);
    if (!answer?.ok) {
      said.textContent = answer?.reason ?? OTHERWISE;
      return;
    }
    const { session, token, code } = answer;
    /** @type {Me} */
    const me = { session, token, code, kind: "page", webcam: false, begun: Date.now(), turns: 0, over: false };
    keep(me);
    await record(me);
  }

  async function record(/** @type {Me} */ me) {
    await recording.start(me, async () => {
      await recording.stop();
      strike(me.session);
      closed();
    });
    recorded(me);
  }

  function recorded(/** @type {Me} */ me) {
    show(button("Being recorded", "recorded", () => choices(me)));
  }

  function choices(/** @type {Me} */ me) {
    said.textContent = "";
    show(
      h("p", {}, "Your code deletes everything of yours at any time: "),
      h("code", {}, me.code),
      h(
        "div",
        { class: "ifllm-choice" },
        button("Stop, and delete it all", "withdraw", () => withdraw(me)),
        button("Stop, and leave it", "stop", () => stop(me)),
        button("Go on", "go-on", () => recorded(me)),
      ),
    );
  }

  async function withdraw(/** @type {Me} */ me) {
    await recording.stop();
    const answer = await ask({ step: "withdraw", code: me.code }).catch(() => null);
    if (answer?.ok) {
      strike(me.session);
      closed();
      said.textContent = "Deleted.";
    } else {
      said.textContent = answer?.reason ?? OTHERWISE;
    }
  }

  async function stop(/** @type {Me} */ me) {
    await recording.stop();
    await ask({ step: "end", session: me.session, token: me.token }).catch(() => null);
    keep({ ...me, over: true });
    forget();
    closed();
  }

  const kept = readKept(); // of this tab: a reload goes on
  if (kept && kept.kind === "page" && !kept.over) await record(kept);
  else asked();
}
