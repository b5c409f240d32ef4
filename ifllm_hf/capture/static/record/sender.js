// @ts-check
/**
 * Sends batches until the server has each for good, or says that their session was withdrawn. Nothing
 * else that a server or a proxy answers costs a batch.
 */

import { Backlog } from "./backlog.js";

/** @typedef {import("./backlog.js").Entry} Entry */
/** @typedef {{ok: true, durable: boolean, refused?: Record<string, number>}} Stored */
/** @typedef {Stored|{ok: false, error: string, after_ms: number}} Answer */

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 30_000;
const FIRST_ASIDE_MS = 2000;
const LONGEST_ASIDE_MS = 600_000;
const REQUEST_TIMEOUT_MS = 20_000;
const DURABLE_POLL_MS = 30_000;
/** What another batch may not meet; all other refusals come from the place, and may be mended. */
const OF_THE_BATCH = ["malformed", "size", "full", "http_413"];
/** Where our routes are, seen from this module: under any prefix, whatever the page's address. */
export const HERE = new URL("../../api/v1/", import.meta.url).href;

/** Tabs of transports that live in this page and send for themselves. */
export const liveTabs = new Set();
/** @type {Map<string, {session: string, error: string}>} batches that are refused at present */
const refusedBatches = new Map();

/**
 * Deliver what this browser still keeps of any session; at every page load, whatever it shows.
 * Called again it takes up what was added since; what live pages send themselves is left to them.
 * @param {{base?: string, onrefused?: (error: string, session: string) => void}} [options]
 * @returns {Promise<Sender>} already sending; `idle()` waits until all of it is on the server
 */
export async function drainBacklog({ base = HERE, onrefused } = {}) {
  const sender = new Sender({ base, onrefused });
  for (const entry of await sender.backlog.entries()) {
    if (!liveTabs.has(entry.tab)) sender.add(entry);
  }
  sender.askDurable();
  return sender;
}

/**
 * Sends entries until the server has each. What it refuses is set aside, tried again ever less often,
 * and kept: whoever runs the server, or a proxy before it, may mend it tomorrow.
 */
export class Sender {
  /** @param {{base: string, onrefused?: (error: string, session: string) => void}} options */
  constructor({ base, onrefused }) {
    this.base = base;
    this.onrefused = onrefused ?? (() => {});
    this.backlog = new Backlog();
    /** @type {Entry[]} not known to be on the server's disk, in order */
    this.queue = [];
    /** @type {Map<Entry, {tries: number, due_ms: number}>} those of the queue that were refused */
    this.aside = new Map();
    /** @type {Map<string, Entry>} on the server's disk, not yet beyond that machine */
    this.waiting = new Map();
    this.acknowledged = 0;
    this.refused = 0;
    this.wait_ms = FIRST_WAIT_MS;
    this.run = 0; // of the loop that sends: a page put aside and shown again starts a new one
    this.sending = false;
    this.wake = () => {};
    /** @type {Array<(done: boolean) => void>} */
    this.whenIdle = [];
    addEventListener("online", () => this.retry());
    addEventListener("pageshow", (event) => event.persisted && this.#restart());
    setInterval(() => this.askDurable(), DURABLE_POLL_MS);
  }

  /** @param {Entry} entry */
  add(entry) {
    if (entry.stored) {
      this.waiting.set(keyOf(entry), entry);
    } else {
      this.queue.push(entry);
      if (entry.refused) {
        refusedBatches.set(keyOf(entry), { session: entry.session, error: entry.refused });
      }
      this.#drive();
    }
  }

  /**
   * Wait until nothing is left that can be sent now.
   * @param {number} timeout_ms
   * @returns {Promise<boolean>} whether all of it is on the server
   */
  idle(timeout_ms) {
    if (!this.#next()) return Promise.resolve(!this.queue.length);
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), timeout_ms);
      this.whenIdle.push((done) => {
        clearTimeout(timer);
        resolve(done);
      });
    });
  }

  /** Try everything now, also what was refused. */
  retry() {
    for (const refusal of this.aside.values()) refusal.due_ms = 0;
    this.wake();
    this.#drive();
  }

  /** After the page was put aside: requests, timers and the database may never answer again. */
  #restart() {
    this.backlog.reopen();
    this.sending = false;
    this.wait_ms = FIRST_WAIT_MS;
    this.retry();
    this.askDurable();
  }

  #next() {
    const now = performance.now();
    return this.queue.find((entry) => (this.aside.get(entry)?.due_ms ?? 0) <= now);
  }

  async #drive() {
    if (this.sending) return;
    this.sending = true;
    const run = ++this.run;
    for (let entry = this.#next(); entry; entry = this.#next()) {
      const { tab, seq } = entry;
      const ofThis = (/** @type {any} */ said) => said.tab === tab && said.seq === seq;
      const answer = await this.#post("events", bodyOf(entry), ofThis);
      if (run !== this.run) return;
      if (answer.ok) {
        this.wait_ms = FIRST_WAIT_MS;
        await this.#acknowledged(entry, answer);
      } else if (answer.error === "gone") {
        await this.#forget(entry.session);
      } else {
        if (answer.error !== "network") await this.#setAside(entry, answer);
        if (this.#next()) {
          await this.#pause(Math.max(answer.after_ms, this.wait_ms * (0.75 + Math.random() / 2)));
          this.wait_ms = Math.min(2 * this.wait_ms, LONGEST_WAIT_MS);
        }
      }
      if (run !== this.run) return;
    }
    this.sending = false;
    for (const resolve of this.whenIdle.splice(0)) resolve(!this.queue.length);
    this.#driveLater();
  }

  /** Come back when the first of those that were refused is due. */
  #driveLater() {
    clearTimeout(this.later);
    if (!this.aside.size) return;
    const due_ms = Math.min(...[...this.aside.values()].map((refusal) => refusal.due_ms));
    this.later = setTimeout(() => this.#drive(), Math.max(0, due_ms - performance.now()) + 1);
  }

  /** @param {Entry} entry @param {Stored} answer */
  async #acknowledged(entry, { durable, refused }) {
    this.acknowledged += 1;
    this.#take(entry);
    for (const [other, refusal] of this.aside) {
      if (!OF_THE_BATCH.includes(String(other.refused))) refusal.due_ms = 0;
    }
    if (refused) this.backlog.noteLeftOut(entry, refused);
    if (durable) {
      await this.backlog.remove(entry);
    } else {
      entry.stored = true;
      entry.refused = null;
      this.waiting.set(keyOf(entry), entry);
      await this.backlog.put(entry);
    }
  }

  /** @param {Entry} entry */
  #take(entry) {
    this.queue = this.queue.filter((other) => other !== entry);
    this.aside.delete(entry);
    refusedBatches.delete(keyOf(entry));
  }

  /** @param {Entry} entry @param {{error: string, after_ms: number}} answer */
  async #setAside(entry, { error, after_ms }) {
    this.refused += 1;
    const tries = (this.aside.get(entry)?.tries ?? 0) + 1;
    const wait_ms = Math.min(FIRST_ASIDE_MS * 2 ** (tries - 1), LONGEST_ASIDE_MS);
    this.aside.set(entry, { tries, due_ms: performance.now() + Math.max(wait_ms, after_ms) });
    refusedBatches.set(keyOf(entry), { session: entry.session, error });
    if (entry.refused === error) return;
    entry.refused = error;
    await this.backlog.put(entry);
    this.onrefused(error, entry.session);
  }

  /** @param {string} session it was withdrawn */
  async #forget(session) {
    this.refused += 1;
    for (const entry of this.queue.filter((other) => other.session === session)) this.#take(entry);
    for (const [key, other] of this.waiting) {
      if (other.session === session) this.waiting.delete(key);
    }
    await this.backlog.clear(session);
    this.onrefused("gone", session);
  }

  /** @param {number} ms */
  #pause(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.wake = () => {
        clearTimeout(timer);
        resolve(undefined);
      };
    });
  }

  /**
   * @param {string} route
   * @param {string} body
   * @param {(said: any) => boolean} isAnswer whether it answers this very request
   * @returns {Promise<any>} an `Answer`, with what else the route says
   */
  async #post(route, body, isAnswer) {
    let response, said;
    try {
      response = await fetch(new URL(this.base + route, document.baseURI), {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body,
        cache: "no-store",
        signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      });
      said = await response.text();
    } catch {
      return { ok: false, error: "network", after_ms: 0 };
    }
    const after_ms = 1000 * (Number(response.headers.get("Retry-After")) || 0);
    try {
      said = JSON.parse(said);
    } catch {
      said = null; // a page of a proxy
    }
    if (said?.ok === true && isAnswer(said)) return said;
    const ours = said?.ok === false && typeof said.error === "string";
    const meant = ours && (said.error !== "gone" || response.status === 410);
    const error = meant ? said.error : response.redirected ? "redirect" : `http_${response.status}`;
    return { ok: false, error: error.slice(0, 20), after_ms: Math.min(after_ms, LONGEST_ASIDE_MS) };
  }

  /** Learn which batches the server has for good, and which it lost. */
  async askDurable() {
    /** @type {Map<string, Entry[]>} */
    const byTab = new Map();
    for (const entry of this.waiting.values()) {
      const name = `${entry.session}.${entry.tab}`;
      byTab.set(name, [...(byTab.get(name) ?? []), entry].slice(0, 1000));
    }
    for (const entries of byTab.values()) {
      const { session, token, tab } = entries[0];
      const seqs = entries.map((entry) => entry.seq);
      const body = JSON.stringify({ session, token, tab, seqs });
      const answer = await this.#post("durable", body, isDurable);
      if (!answer.ok) {
        if (answer.error === "gone") await this.#forget(session);
        continue;
      }
      for (const entry of entries) {
        const durable = answer.durable.includes(entry.seq);
        if (!durable && !answer.missing.includes(entry.seq)) continue;
        this.waiting.delete(keyOf(entry));
        if (durable) await this.backlog.remove(entry);
        else this.add({ ...entry, stored: false }); // the server lost its disk
      }
    }
  }
}

/**
 * Say what of a session is refused: batches that wait here, of earlier pages too, and events that the
 * server left out of batches for good.
 * @param {string} session
 * @param {Backlog} backlog
 * @returns {{count: number, reasons: Record<string, number>}}
 */
export function refusedOf(session, backlog) {
  /** @type {Record<string, number>} */
  const reasons = {};
  const add = (/** @type {string} */ why, /** @type {number} */ n) => {
    reasons[why] = (reasons[why] ?? 0) + n;
  };
  for (const batch of refusedBatches.values()) if (batch.session === session) add(batch.error, 1);
  for (const leftOut of backlog.allLeftOut(session)) {
    for (const [why, n] of Object.entries(leftOut)) add(why, n);
  }
  return { count: Object.values(reasons).reduce((sum, n) => sum + n, 0), reasons };
}

/** @param {Entry} entry */
export function bodyOf({ stored, refused, ...upload }) {
  return JSON.stringify({ v: 2, ...upload }); // one that an older page kept has no `v`
}

/** @param {Entry} entry */
function keyOf({ session, tab, seq }) {
  return `${session}.${tab}.${seq}`;
}

/** @param {any} said */
function isDurable({ durable, missing }) {
  return Array.isArray(durable) && Array.isArray(missing);
}
