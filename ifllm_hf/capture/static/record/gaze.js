// @ts-check
/**
 * Where gaze comes from. A provider opens its camera, learns from points that were looked at, and
 * then gives samples; the recorder starts and stops it and knows nothing else of it.
 */

/** @typedef {import("./recorder.js").GazeSample} GazeSample */
/**
 * @typedef {object} Gaze
 * @property {"none"|"webgazer"|"scripted"} name
 * @property {string} version
 * @property {{clicks: number, settle_ms: number, look_ms: number}} pace of calibration, validation
 * @property {() => Promise<void>} open rejects without a camera
 * @property {(x: number, y: number) => void} learn the eyes are at this point now
 * @property {(onSample: (sample: GazeSample) => void) => Promise<void>} start
 * @property {() => Promise<void>} stop
 */

const WEBGAZER_VERSION = "3.5.3";
/** Where the fetched package is served, seen from this module. */
const WEBGAZER = new URL("../../webgazer/", import.meta.url);
const HUMAN = { clicks: 3, settle_ms: 800, look_ms: 1600 };

/** @returns {Promise<Gaze>} the webcam's, or what a test put into `window.ifllmGaze` */
export async function gazeProvider() {
  const script = /** @type {any} */ (window).ifllmGaze;
  return script ? scripted(script) : webgazer();
}

/**
 * A gaze that a script moves, for tests.
 * @param {() => {x: number, y: number}|null} where null: no face
 * @returns {Gaze}
 */
export function scripted(where) {
  let timer = 0;
  return {
    name: "scripted",
    version: "1",
    pace: { clicks: 1, settle_ms: 50, look_ms: 200 },
    open: async () => {},
    learn: () => {},
    start: async (onSample) => {
      timer = window.setInterval(() => {
        const at = where();
        onSample({ x: at?.x ?? null, y: at?.y ?? null, valid: at !== null, age_ms: 0 });
      }, 50);
    },
    stop: async () => window.clearInterval(timer),
  };
}

/**
 * WebGazer, if the operator fetched it: its licence is GPL-3.0-or-later, so it is no part of this
 * package and is loaded unchanged from a folder of its own.
 * @returns {Gaze}
 */
export function webgazer() {
  /** @type {any} */
  let gazer = null;
  /** @type {(sample: GazeSample) => void} */
  let listener = () => {};
  let seen_ms = 0;
  return {
    name: "webgazer",
    version: WEBGAZER_VERSION,
    pace: HUMAN,
    open: async () => {
      if (gazer) return;
      await load(new URL("webgazer.js", WEBGAZER));
      gazer = /** @type {any} */ (window).webgazer;
      gazer.params.faceMeshSolutionPath = String(new URL("mediapipe/face_mesh", WEBGAZER));
      gazer.saveDataAcrossSessions(false);
      gazer.setRegression("ridge");
      gazer.setGazeListener((/** @type {any} */ at) => {
        const now = performance.now();
        const age_ms = seen_ms ? Math.min(now - seen_ms, 100_000) : null;
        seen_ms = now;
        const valid = Number.isFinite(at?.x) && Number.isFinite(at?.y);
        listener({ x: valid ? at.x : null, y: valid ? at.y : null, valid, age_ms });
      });
      await gazer.begin();
      // It would learn from every movement of the mouse, and gaze would follow the mouse.
      gazer.removeMouseEventListeners();
      gazer.showVideoPreview(false).showPredictionPoints(false);
    },
    learn: (x, y) => gazer.recordScreenPosition(x, y, "click"),
    start: async (onSample) => {
      listener = onSample;
    },
    stop: async () => {
      listener = () => {};
    },
  };
}

/** @param {URL} url */
function load(url) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = String(url);
    script.onload = resolve;
    script.onerror = () => reject(new Error("WebGazer is not there"));
    document.head.append(script);
  });
}
