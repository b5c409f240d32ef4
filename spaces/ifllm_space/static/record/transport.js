// @ts-check
/**
 * From events to acknowledged batches. Memory is the truth while the page lives, the backlog is its
 * copy on disk; a batch is forgotten when the server has it for good, or refuses it in its own words.
 */

import { Backlog } from "./backlog.js";

/** @typedef {import("./backlog.js").Entry} Entry */
/** @typedef {{ok: true, durable: boolean}|{ok: false, retry: boolean, error: string, after_ms: number}} Answer */

const SEAL_EVERY_MS = 2000;
const BATCH_EVENTS_MAX = 400;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 30_000;
const REQUEST_TIMEOUT_MS = 20_000;
const DURABLE_POLL_MS = 30_000;
const BEACON_BYTES_MAX = 60_000; // browsers take 64 KiB in all while a page is being left
const CLOCK_JUMP_MS = 500;

/**
 * Deliver what earlier visits of this browser left; call it once at every page load.
 * @param {{base?: string, onrefused?: (error: string, session: string) => void}} [options]
 * @returns {Promise<Sender>} already sending; `idle()` waits until all of it is on the server
 */
export async function drainBacklog({ base = "api/v1/", onrefused } = {}) {
  const sender = new Sender({ base, onrefused });
  for (const entry of await sender.backlog.entries()) sender.add(entry);
  sender.askDurable();
  return sender;
}

/** Sends entries one by one, in order, until the server has each. */
export class Sender {
  /** @param {{base: string, onrefused?: (error: string, session: string) => void}} options */
  constructor({ base, onrefused }) {
    this.base = base;
    this.onrefused = onrefused ?? (() => {});
    this.backlog = new Backlog();
    /** @type {Entry[]} not known to be on the server's disk */
    this.queue = [];
    /** @type {Map<string, Entry>} on the server's disk, not yet beyond that machine */
    this.waiting = new Map();
    this.acknowledged = 0;
    this.refused = 0;
    this.wait_ms = FIRST_WAIT_MS;
    this.sending = false;
    this.wake = () => {};
    /** @type {Array<() => void>} */
    this.whenIdle = [];
    addEventListener("online", () => this.wake());
    setInterval(() => this.askDurable(), DURABLE_POLL_MS);
  }

  /** @param {Entry} entry */
  add(entry) {
    if (entry.stored) {
      this.waiting.set(keyOf(entry), entry);
    } else {
      this.queue.push(entry);
      this.#drive();
    }
  }

  /**
   * Wait until nothing is left to send.
   * @param {number} timeout_ms
   * @returns {Promise<boolean>} whether all of it is on the server
   */
  idle(timeout_ms) {
    if (!this.queue.length) return Promise.resolve(true);
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), timeout_ms);
      this.whenIdle.push(() => {
        clearTimeout(timer);
        resolve(true);
      });
    });
  }

  async #drive() {
    if (this.sending) return;
    this.sending = true;
    while (this.queue.length) {
      const entry = this.queue[0];
      const answer = await this.#post("events", bodyOf(entry));
      if (answer.ok || !answer.retry) {
        this.wait_ms = FIRST_WAIT_MS;
        this.queue = this.queue.filter((other) => other !== entry);
        if (answer.ok) await this.#acknowledged(entry, answer.durable);
        else await this.#refusedFor(entry, answer.error);
      } else {
        await this.#pause(Math.max(answer.after_ms, this.wait_ms * (0.75 + Math.random() / 2)));
        this.wait_ms = Math.min(2 * this.wait_ms, LONGEST_WAIT_MS);
      }
    }
    this.sending = false;
    for (const resolve of this.whenIdle.splice(0)) resolve();
  }

  /** @param {Entry} entry @param {boolean} durable */
  async #acknowledged(entry, durable) {
    this.acknowledged += 1;
    if (durable) {
      await this.backlog.remove(entry);
    } else {
      entry.stored = true;
      this.waiting.set(keyOf(entry), entry);
      await this.backlog.put(entry);
    }
  }

  /** @param {Entry} entry @param {string} error */
  async #refusedFor(entry, error) {
    this.refused += 1;
    if (error === "gone") {
      this.queue = this.queue.filter((other) => other.session !== entry.session);
      for (const [key, other] of this.waiting) {
        if (other.session === entry.session) this.waiting.delete(key);
      }
      await this.backlog.clear(entry.session);
    } else {
      await this.backlog.remove(entry);
    }
    this.onrefused(error, entry.session);
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
   * @returns {Promise<any>} an `Answer`, with what else the route says
   */
  async #post(route, body) {
    const again = { ok: /** @type {const} */ (false), retry: true, error: "network", after_ms: 0 };
    try {
      const response = await fetch(new URL(this.base + route, document.baseURI), {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body,
        cache: "no-store",
        signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      });
      const said = await response.json();
      // A proxy's 403 or 502 is not our word: only our own refusal may cost a batch.
      if (said?.ok === true) return said;
      if (said?.ok !== false || typeof said.error !== "string") return again;
      const after_ms = 1000 * Number(response.headers.get("Retry-After") ?? 0);
      return { ok: false, retry: said.retry !== false, error: said.error, after_ms };
    } catch {
      return again;
    }
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
      const answer = await this.#post("durable", JSON.stringify({ session, token, tab, seqs }));
      if (!answer.ok) {
        if (answer.error === "gone") await this.#refusedFor(entries[0], "gone");
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

/** Collects the events of one page into batches and hands them to a sender. */
export class Transport {
  /**
   * @param {{session: string, token: string, base?: string,
   *   onrefused?: (error: string, session: string) => void}} options
   */
  constructor({ session, token, base = "api/v1/", onrefused }) {
    this.session = session;
    this.token = token;
    this.tab = newTab();
    this.seq = 0;
    /** @type {Array<Array<unknown>>} */
    this.events = [];
    this.total = 0;
    this.shift_ms = wallClockShift();
    this.sender = new Sender({ base, onrefused });
    this.timer = setInterval(() => this.seal(), SEAL_EVERY_MS);
    this.leave = () => this.#leaving();
    this.hide = () => document.visibilityState === "hidden" && this.#leaving();
    addEventListener("pagehide", this.leave);
    document.addEventListener("visibilitychange", this.hide);
  }

  /** @param {Array<unknown>} event */
  push(event) {
    this.events.push(event);
    this.total += 1;
    if (this.events.length >= BATCH_EVENTS_MAX) this.seal();
  }

  /** Close the batch that is being filled, keep it and send it. */
  seal() {
    const shift_ms = wallClockShift();
    if (Math.abs(shift_ms - this.shift_ms) > CLOCK_JUMP_MS) {
      const t = Math.round(10 * performance.now()) / 10;
      this.events.push(["e", t, "clock", { shift_ms: Math.round(shift_ms - this.shift_ms) }]);
      this.total += 1;
      this.shift_ms = shift_ms;
    }
    if (!this.events.length) return;
    const entry = {
      session: this.session,
      token: this.token,
      tab: this.tab,
      seq: this.seq,
      origin_epoch_ms: Math.round(10 * performance.timeOrigin) / 10,
      sent_epoch_ms: Math.max(0, Date.now()),
      events: this.events,
      stored: false,
    };
    this.seq += 1;
    this.events = [];
    this.sender.backlog.put(entry);
    this.sender.add(entry);
  }

  /**
   * Send everything recorded so far, and wait for it.
   * @param {number} [timeout_ms]
   * @returns {Promise<boolean>} whether all of it is on the server
   */
  flush(timeout_ms = 5000) {
    this.seal();
    return this.sender.idle(timeout_ms);
  }

  /** Send what is left and record nothing more. */
  async close() {
    clearInterval(this.timer);
    removeEventListener("pagehide", this.leave);
    document.removeEventListener("visibilitychange", this.hide);
    return this.flush();
  }

  #leaving() {
    this.seal();
    let room = BEACON_BYTES_MAX;
    for (const entry of this.sender.queue) {
      this.sender.backlog.keepOnLeaving(entry);
      const body = bodyOf(entry);
      room -= body.length;
      if (room > 0) navigator.sendBeacon(new URL(this.sender.base + "events", document.baseURI), body);
    }
  }
}

/** @param {Entry} entry */
function bodyOf({ stored, ...upload }) {
  return JSON.stringify({ v: 2, ...upload });
}

/** @param {Entry} entry */
function keyOf({ session, tab, seq }) {
  return `${session}.${tab}.${seq}`;
}

function wallClockShift() {
  return Date.now() - performance.timeOrigin - performance.now();
}

/** A new name for every page: a duplicated tab copies its session storage, and must not share one. */
function newTab() {
  const letters = "abcdefghijklmnopqrstuvwxyz0123456789";
  return [...crypto.getRandomValues(new Uint8Array(16))].map((n) => letters[n % 36]).join("");
}
