// @ts-check
/**
 * From events to batches. Memory is the truth while the page lives, the backlog is its copy on disk.
 */

import { bodyOf, HERE, liveTabs, refusedOf, Sender } from "./sender.js";

export { drainBacklog } from "./sender.js";

const SEAL_EVERY_MS = 2000;
const BATCH_EVENTS_MAX = 400;
const BEACON_BYTES_MAX = 60_000; // browsers take 64 KiB in all while a page is being left
const CLOCK_JUMP_MS = 500;
const EPOCH_MAX_MS = 1e13; // of the schema; a clock beyond it is no reason to lose a batch

/** Collects the events of one page into batches and hands them to a sender. */
export class Transport {
  /**
   * @param {{session: string, token: string, base?: string,
   *   onrefused?: (error: string, session: string) => void, version?: number}} options of the schema
   */
  constructor({ session, token, base = HERE, onrefused, version = 2 }) {
    this.version = version;
    this.session = session;
    this.token = token;
    this.tab = newTab();
    this.seq = 0;
    /** @type {Array<Array<unknown>>} */
    this.events = [];
    this.total = 0;
    this.shift_ms = wallClockShift();
    liveTabs.add(this.tab);
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
      v: this.version,
      session: this.session,
      token: this.token,
      tab: this.tab,
      seq: this.seq,
      origin_epoch_ms: epoch(Math.round(10 * performance.timeOrigin) / 10),
      sent_epoch_ms: epoch(Date.now()),
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

  /**
   * Say what of this session the server refuses: batches that wait here, of earlier pages too, and
   * events that it left out of batches for good.
   * @returns {{count: number, reasons: Record<string, number>}}
   */
  refused() {
    return refusedOf(this.session, this.sender.backlog);
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
      if (entry.refused) continue; // it is on disk, and the room is for what may not be
      this.sender.backlog.keepOnLeaving(entry);
      const body = bodyOf(entry);
      room -= body.length;
      if (room > 0) navigator.sendBeacon(new URL(this.sender.base + "events", document.baseURI), body);
    }
  }
}

/** @param {number} ms */
function epoch(ms) {
  return Math.min(EPOCH_MAX_MS, Math.max(0, ms));
}

function wallClockShift() {
  return Date.now() - performance.timeOrigin - performance.now();
}

/** A new name for every page: a duplicated tab copies its session storage, and must not share one. */
function newTab() {
  const letters = "abcdefghijklmnopqrstuvwxyz0123456789";
  return [...crypto.getRandomValues(new Uint8Array(16))].map((n) => letters[n % 36]).join("");
}
