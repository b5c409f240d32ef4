// @ts-check
// Steps run on the server; a lost connection is an answer too.

const reason = "The server cannot be reached. Nothing is lost; please try again.";
const LOST = { ok: false, error: "network", reason };

/**
 * @param {(step: object) => Promise<any>} ask Gradio's client, which answers nothing without network
 * @returns {(step: object) => Promise<any>}
 */
export function patient(ask) {
  return async (step) => (await ask(step).catch(() => null)) ?? LOST;
}
