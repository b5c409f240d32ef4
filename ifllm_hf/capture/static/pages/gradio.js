// @ts-check
/**
 * Records a chat page of Gradio, once its reader has agreed. `record_chat` has this loaded, and calls
 * what stands in `window.ifllmChat` when one of Gradio's events happens.
 */

import { consent } from "../consent/consent.js";

/** @typedef {import("./page_messages.js").Adapter} Adapter */
/** @typedef {import("./page_messages.js").Act} Act */
/** @typedef {import("./page_messages.js").Shown} Shown */

const HAND_OVER_MS = 100;
const HAND_OVER_AGAIN_MS = 2000; // a history that had moved on, an answer that was lost
const HAND_OVER_TRIES = 5;
const PRESSED_MAX = 20; // that the server has not answered yet

/** @param {{adapter: Adapter, roots: string[], button: string}} config */
export async function start({ adapter, roots, button }) {
  const page = /** @type {any} */ (window);
  if (page.ifllmChat || page.ifllmPage) {
    console.info("ifllm: the recorder is on this page already; the second one does nothing");
    return;
  }
  const chat = new RecordedChat(adapter, roots, button);
  page.ifllmChat = chat;
  if (!crypto.subtle) {
    console.warn("ifllm: nothing is recorded, because this page did not come by https or from localhost");
    return;
  }
  await consent({
    agreed: () => ({
      page: { adapter: adapter.name, adapter_version: adapter.version, origin: location.origin },
    }),
    onyes: (me, gone) => chat.start(me, gone),
    onend: () => chat.stop(),
  });
}

/** What the events of Gradio call, as `window.ifllmChat`; nothing happens before `start`. */
class RecordedChat {
  /** @param {Adapter} adapter @param {string[]} roots @param {string} button */
  constructor(adapter, roots, button) {
    this.adapter = adapter;
    this.roots = roots;
    this.button = button;
    /** @type {Awaited<ReturnType<import("../record/capture.js").startCapture>>|null} */
    this.capture = null;
    /** @type {import("./page_reader.js").PageReader<Shown, import("./page_messages.js").PageMessages>|null} */
    this.reader = null;
    /** @type {{session: string, token: string}|null} */
    this.me = null;
    /** @type {Map<string, Shown[]>} what stood there when something was pressed */
    this.pending = new Map();
    this.presses = 0;
    this.tries = 0;
  }

  /** @param {{session: string, token: string}} me @param {() => void} ongone it was withdrawn */
  async start(me, ongone) {
    // Before somebody has agreed, nothing of the recorder is loaded, and no store is opened.
    const [{ startCapture }, { drainBacklog }, { PageReader }, { PageMessages }] = await Promise.all([
      import("../record/capture.js"),
      import("../record/transport.js"),
      import("./page_reader.js"),
      import("./page_messages.js"),
    ]);
    drainBacklog();
    this.me = me;
    const onrest = () => {
      this.tries = 0;
      this.#handOverIn(HAND_OVER_MS);
    };
    const { adapter, roots } = this;
    this.reader = new PageReader(adapter, (emit) => new PageMessages(adapter, roots, emit, onrest));
    const onrefused = (/** @type {string} */ error) => error === "gone" && ongone();
    this.capture = await startCapture({ ...me, reader: this.reader, onrefused });
  }

  async stop() {
    clearTimeout(this.timer);
    const { capture } = this;
    this.me = this.reader = this.capture = null;
    this.pending.clear();
    await capture?.stop();
  }

  /** @param {number} at column @param {Act} act @returns {string|null} what to ask the server about */
  pressed(at, act) {
    if (!this.reader) return null;
    this.reader.look();
    const key = String(this.presses++);
    this.pending.set(key, this.reader.messages.pressed(at, act));
    for (const old of this.pending.keys()) if (this.pending.size > PRESSED_MAX) this.pending.delete(old);
    return key;
  }

  /** @param {string|null} answer the server's: which message was meant */
  said(answer) {
    if (!answer || !this.reader) return;
    const { key, act, place } = JSON.parse(answer);
    const shown = this.pending.get(key)?.[place];
    this.pending.delete(key);
    if (shown) this.reader.messages.acted(shown, act);
  }

  /** @returns {string|null} whose the texts are that Gradio hands to the server with this */
  handOver() {
    this.reader?.look();
    const told = this.reader?.messages.handOver();
    return told ? JSON.stringify({ ...this.me, ...told }) : null;
  }

  /** @param {string|null} answer whether the server has stored them; null: it was asked nothing */
  handed(answer) {
    if (answer !== "stored" || !this.reader) return;
    this.reader.messages.handedOver();
    clearTimeout(this.timer);
    if (this.reader.messages.handOver()) this.#handOverIn(HAND_OVER_MS); // came meanwhile
  }

  /** Gradio drops a press while the one before is not answered. @param {number} ms */
  #handOverIn(ms) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      document.getElementById(this.button)?.click();
      if (this.tries++ < HAND_OVER_TRIES) this.#handOverIn(HAND_OVER_AGAIN_MS);
    }, ms);
  }
}
