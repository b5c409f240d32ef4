// @ts-check
// What a browser keeps of its sessions: the one of this tab, so that a reload goes on, and a list of
// all that began here, so that who closes the tab keeps the right to delete. And what it says of itself.

const KEPT = "ifllm-session";
const OWN = "ifllm-own-sessions";
/** Told to the window when the list of sessions is another one. */
export const CHANGED = "ifllm-own-sessions";

/**
 * @typedef {object} Me a session that began in this browser
 * @property {string} session
 * @property {string} token
 * @property {string} code to withdraw it
 * @property {string} kind
 * @property {boolean} webcam
 * @property {number} begun epoch in ms
 * @property {number} turns rated questions
 * @property {boolean} over finished, or left for another one
 * @property {string|null} [completion] where a panel takes back who finished
 */

/** What tells browsers apart and people not. */
export function client() {
  const agent = navigator.userAgent;
  const browser = ["Edg", "Firefox", "Chrome", "Safari"].find((name) => agent.includes(name));
  const platform = ["Android", "iPhone", "iPad", "Windows", "Mac", "Linux"].find((name) =>
    agent.includes(name),
  );
  const language = /^[A-Za-z]{2,3}/.exec(navigator.language)?.[0];
  return {
    browser: browser ?? "other",
    platform: platform ?? "other",
    touch: navigator.maxTouchPoints > 0,
    ...(language ? { language } : {}),
  };
}

/** When a session began, as this browser writes it. @param {Me} me */
export function begunOn(me) {
  return new Date(me.begun).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}

/** The session of this tab. @returns {Me|null} */
export function readKept() {
  const kept = read("sessionStorage", KEPT);
  return kept && typeof kept.session === "string" ? kept : null;
}

/** All sessions that began in this browser, the latest first. @returns {Me[]} */
export function ownSessions() {
  const own = read("localStorage", OWN);
  return Array.isArray(own) ? own.filter((me) => typeof me?.session === "string") : [];
}

/** The session to go on with: this tab's, else the latest that a closed tab left. */
export function unfinished() {
  return readKept() ?? ownSessions().find((me) => !me.over) ?? null;
}

/** Go on with a session in this tab, and in the list. @param {Me} me */
export function keep(me) {
  write("sessionStorage", KEPT, me);
  note(me);
}

/** Put a session into the list, or change it there. @param {Me} me */
export function note(me) {
  const own = ownSessions();
  const at = own.findIndex((other) => other.session === me.session);
  if (at < 0) own.unshift(me);
  else own[at] = me;
  write("localStorage", OWN, own);
}

/** No session is this tab's any more; the list stays. */
export function forget() {
  write("sessionStorage", KEPT, null);
}

/** Take a session out of the list: it is deleted. @param {string} session */
export function strike(session) {
  if (readKept()?.session === session) forget();
  write("localStorage", OWN, ownSessions().filter((me) => me.session !== session));
}

/** @param {"sessionStorage"|"localStorage"} where @param {string} name */
function read(where, name) {
  try {
    return JSON.parse(window[where].getItem(name) ?? "null");
  } catch {
    return null; // storage is denied: a reload starts anew
  }
}

/** @param {"sessionStorage"|"localStorage"} where @param {string} name @param {unknown} value */
function write(where, name, value) {
  try {
    const nothing = value === null || (Array.isArray(value) && !value.length);
    if (nothing) window[where].removeItem(name); // of who has deleted all nothing is left
    else window[where].setItem(name, JSON.stringify(value));
  } catch {
    /* storage is denied or full: this page still knows */
  }
  if (name === OWN) dispatchEvent(new Event(CHANGED));
}
