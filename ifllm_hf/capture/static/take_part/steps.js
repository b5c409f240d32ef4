// @ts-check
// Steps of taking part on a page that has no other way to its server.

/** Where our routes are, seen from this module. */
const STEPS = new URL("../../api/v1/steps", import.meta.url).href;
const OTHERWISE = "This did not work. Nothing is lost; please try again in a minute.";

/**
 * Run a step on the server; rejects without network.
 * @param {object} step such as `{ step: "begin" }`
 * @returns {Promise<any>} the answer: `{ ok: false, error, reason }` where it is refused
 */
export async function ask(step) {
  const response = await fetch(STEPS, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(step),
    cache: "no-store",
  });
  const said = await response.json();
  return said.ok ? said : { reason: OTHERWISE, ...said };
}
