// @ts-check
// What a tab keeps of its session, so that a reload goes on, and what it says of its browser.

const KEPT = "ifllm-session";

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

export function readKept() {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
  } catch {
    return null; // storage is denied: a reload starts anew
  }
}

/** @param {object} me */
export function keep(me) {
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(me));
  } catch {
    /* storage is denied */
  }
}

export function forget() {
  try {
    sessionStorage.removeItem(KEPT);
  } catch {
    /* storage is denied */
  }
}
