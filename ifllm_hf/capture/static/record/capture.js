// @ts-check
/**
 * Recorder and transport together: what a page calls.
 *
 *     const capture = await startCapture({ session, token, gaze: null });
 *     ...
 *     await capture.flush();   // before the server acts on what was recorded
 *     await capture.stop();
 */

import { Recorder } from "./recorder.js";
import { Transport } from "./transport.js";

/** @typedef {import("./recorder.js").GazeProvider} GazeProvider */
/** @typedef {import("./recorder.js").PageReader} PageReader */

/**
 * @param {{session: string, token: string, gaze?: GazeProvider|null, base?: string,
 *   root?: HTMLElement, reader?: PageReader|null, onrefused?: (error: string) => void}} options
 *   `onrefused("gone")`: the session was withdrawn; `reader`: of a page that somebody else wrote
 */
export async function startCapture({ session, token, gaze = null, base, root, reader, onrefused }) {
  const refused = (/** @type {string} */ error) => {
    if (error === "gone") recorder.stop();
    onrefused?.(error);
  };
  const transport = new Transport({ session, token, base, onrefused: refused, version: reader ? 3 : 2 });
  const recorder = new Recorder((event) => transport.push(event), root, reader);
  recorder.start();
  await recorder.setGaze(gaze);
  return {
    session,
    recorder,
    transport,
    /** @param {string} name @param {object} [data] one of the `e` events of the schema */
    app: (name, data = {}) => recorder.app(name, data),
    /** @param {GazeProvider|null} provider */
    setGaze: (provider) => recorder.setGaze(provider),
    /** @param {number} [timeout_ms] */
    flush: (timeout_ms) => transport.flush(timeout_ms),
    async stop() {
      await recorder.stop();
      return transport.close();
    },
    stats: () => ({
      tab: transport.tab,
      events: transport.total,
      sealed: transport.seq,
      pending: transport.sender.queue.length,
      waiting: transport.sender.waiting.size,
      acknowledged: transport.sender.acknowledged,
      refused: transport.sender.refused,
      samples: recorder.samples,
      cost_ms: recorder.cost_ms,
    }),
  };
}
