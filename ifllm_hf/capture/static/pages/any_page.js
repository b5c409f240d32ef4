// @ts-check
/**
 * Records a page that an adapter of data fits: waits for its first answer, tests whether the adapter
 * still fits, asks, records, and ends with one line when the page no longer fits.
 */

import { consent } from "../consent/consent.js";
import { foundTurns } from "./found_turns.js";
import { onRest, selfTest } from "./self_test.js";

/** @typedef {import("./found_turns.js").Adapter} Adapter */

/**
 * @param {any} state what is on this page, for whoever looks: `adapter`, `reader`, `capture`, `fault`
 * @param {string} name of the adapter
 * @param {string} [language] of the consent
 */
export async function recordPage(state, name, language) {
  if (!crypto.subtle) throw new Error("This page did not come by https or from localhost.");
  const adapter = await adapterOf(name);
  state.adapter = adapter;
  let asked = false;
  const end = onRest(() => {
    const fault = selfTest(adapter);
    if (fault) {
      end();
      state.fault = fault;
      console.error(`ifllm: nothing is recorded from here on: the adapter ${name} (${adapter.version}) does not `
        + `fit this page. Check: ${fault.check}. Seen: ${fault.seen}`);
      if (state.capture) state.stop();
      else document.querySelector("ifllm-consent")?.remove();
    } else if (!asked && foundTurns(adapter).length) {
      asked = true;
      askFirst(state, adapter, language);
    }
  });
}

/** @param {string} name @returns {Promise<Adapter>} */
async function adapterOf(name) {
  if (!/^[a-z0-9_-]{1,40}$/.test(name)) throw new Error(`data-adapter is "${name}", which is no name of one.`);
  const response = await fetch(new URL(`../adapters/${name}.json`, import.meta.url), { cache: "no-cache" });
  const adapter = response.ok ? await response.json() : null;
  if (!adapter?.checks) throw new Error(`There is no adapter "${name}" for a tag.`);
  return adapter;
}

/** @param {any} state @param {Adapter} adapter @param {string} [language] */
async function askFirst(state, adapter, language) {
  state.stop = async () => {
    const { capture, actions } = state;
    state.actions = null;
    actions?.stop();
    await capture?.stop();
    if (state.capture === capture) state.capture = null;
  };
  await consent({
    language,
    agreed: () => ({
      page: { adapter: adapter.name, adapter_version: adapter.version, origin: location.origin },
    }),
    onyes: async (me, gone) => {
      // Nothing of these is loaded before.
      const [{ startCapture }, { drainBacklog }, { PageReader }, { IdMessages }, { PageActions }] = await Promise.all([
        import("../record/capture.js"),
        import("../record/transport.js"),
        import("./page_reader.js"),
        import("./id_messages.js"),
        import("./page_actions.js"),
      ]);
      if (state.fault) return;
      drainBacklog();
      const reader = new PageReader(adapter, (emit) => new IdMessages(adapter, emit));
      state.reader = reader;
      const onrefused = (/** @type {string} */ error) => error === "gone" && gone();
      state.capture = await startCapture({ ...me, reader, onrefused });
      state.actions = new PageActions(adapter, reader);
    },
    onend: () => state.stop(),
  });
}
