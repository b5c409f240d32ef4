// @ts-check
// Steps run on the server; a lost connection is an answer too.

const AGAIN_MS = 2000;
const SLOW_MS = 1000;
const SLOW_MODEL_MS = 15_000;
const reason = "The server cannot be reached. Nothing is lost; please try again.";
const LOST = { ok: false, error: "network", reason };

/**
 * Ask until there is an answer; a second "consent" would open a second session, so that is asked once.
 * @param {(step: object) => Promise<any>} ask Gradio's client, which answers nothing without network
 * @param {(waiting: boolean) => void} tell whether nobody answers and we ask again
 * @returns {(step: {step: string}) => Promise<any>}
 */
export function patient(ask, tell) {
  return async (step) => {
    for (;;) {
      const slow = setTimeout(() => tell(true), step.step === "ask" ? SLOW_MODEL_MS : SLOW_MS);
      const answer = await ask(step).catch(() => null);
      clearTimeout(slow);
      if (answer || step.step === "consent") {
        tell(false);
        return answer ?? LOST;
      }
      tell(true);
      await new Promise((resolve) => {
        const timer = setTimeout(done, AGAIN_MS);
        addEventListener("online", done);
        function done() {
          clearTimeout(timer);
          removeEventListener("online", done);
          resolve(undefined);
        }
      });
    }
  };
}
