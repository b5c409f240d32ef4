// @ts-check
/**
 * What is not yet safe on the server, kept in the browser: IndexedDB with strict durability, so that
 * a killed browser loses nothing that was sealed. Where storage is denied, memory alone has to do.
 *
 * While a page is being left IndexedDB may not finish; then, and only then, localStorage takes a copy.
 */

/**
 * @typedef {object} Batch
 * @property {number} [v] version of the schema
 * @property {string} session
 * @property {string} tab
 * @property {number} seq
 * @property {number} origin_epoch_ms
 * @property {number} sent_epoch_ms
 * @property {Array<Array<unknown>>} events
 */
/**
 * @typedef {Batch & {token: string, stored: boolean, refused?: string|null}} Entry a batch, whether it
 * is on the server's disk, and why it was refused last
 */

const STORE = "batches";
const LEAVING = "ifllm.leaving.";
const LEFT_OUT = "ifllm.left-out.";

/** @param {Pick<Batch, "session"|"tab"|"seq">} batch */
const keyOf = ({ session, tab, seq }) => [session, tab, seq];

/** @returns {Promise<IDBDatabase|null>} */
function open() {
  return new Promise((resolve) => {
    try {
      const asked = indexedDB.open("ifllm-capture", 2);
      asked.onupgradeneeded = () =>
        asked.result.createObjectStore(STORE, { keyPath: ["session", "tab", "seq"] });
      asked.onsuccess = () => resolve(asked.result);
      asked.onerror = asked.onblocked = () => resolve(null);
    } catch {
      resolve(null); // denied, as in a frame of another site
    }
  });
}

export class Backlog {
  constructor() {
    /** @type {Promise<IDBDatabase|null>} */
    this.opened = open();
    /** @type {Map<string, Record<string, number>>} events that the server left out, by batch */
    this.leftOut = new Map();
    // WebKit puts a left page aside with what it was writing, and lets no other page read until it
    // is thrown away: so every transaction commits at once, and none begins from here on. What is
    // on its way now is in localStorage.
    addEventListener("pagehide", () => this.opened.then((database) => database?.close()));
  }

  /** Open it again, after the page was put aside. */
  reopen() {
    this.opened = open();
  }

  /** Whether entries outlive this page. */
  async persists() {
    return (await this.opened) !== null;
  }

  /**
   * Keep an entry; resolves once it is on disk.
   * @param {Entry} entry
   */
  async put(entry) {
    await this.#change((store) => store.put(entry));
  }

  /**
   * Forget an entry, wherever it is kept.
   * @param {Pick<Batch, "session"|"tab"|"seq">} batch
   */
  async remove(batch) {
    withoutFailing(() => localStorage.removeItem(LEAVING + keyOf(batch).join(".")));
    await this.#change((store) => store.delete(keyOf(batch)));
  }

  /**
   * Forget a session: it was withdrawn.
   * @param {string} session
   */
  async clear(session) {
    withoutFailing(() => {
      for (const prefix of [LEAVING, LEFT_OUT]) {
        for (const name of namesOf(prefix + session + ".")) localStorage.removeItem(name);
      }
    });
    for (const name of [...this.leftOut.keys()]) {
      if (name.startsWith(`${session}.`)) this.leftOut.delete(name);
    }
    await this.#change((store) => store.delete(IDBKeyRange.bound([session], [session, []])));
  }

  /**
   * Keep an entry while the page is being left: nothing here waits.
   * @param {Entry} entry
   */
  keepOnLeaving(entry) {
    withoutFailing(() =>
      localStorage.setItem(LEAVING + keyOf(entry).join("."), JSON.stringify(entry)),
    );
  }

  /**
   * Note which events the server left out of a batch that it stored.
   * @param {Pick<Batch, "session"|"tab"|"seq">} batch
   * @param {Record<string, number>} reasons
   */
  noteLeftOut(batch, reasons) {
    const name = keyOf(batch).join(".");
    this.leftOut.set(name, reasons);
    withoutFailing(() => localStorage.setItem(LEFT_OUT + name, JSON.stringify(reasons)));
  }

  /**
   * List for each such batch of a session, of this page and of earlier ones, how many and why.
   * @param {string} session
   * @returns {Array<Record<string, number>>}
   */
  allLeftOut(session) {
    const all = new Map(this.leftOut);
    withoutFailing(() => {
      for (const name of namesOf(`${LEFT_OUT}${session}.`)) {
        all.set(name.slice(LEFT_OUT.length), JSON.parse(localStorage.getItem(name) ?? "{}"));
      }
    });
    return [...all].filter(([name]) => name.startsWith(`${session}.`)).map(([, reasons]) => reasons);
  }

  /**
   * List what earlier pages left, oldest first within a tab.
   * @returns {Promise<Entry[]>}
   */
  async entries() {
    const database = await this.opened;
    /** @type {Entry[]} */
    const left = [];
    withoutFailing(() => {
      for (const name of namesOf(LEAVING)) left.push(JSON.parse(localStorage.getItem(name) ?? ""));
    });
    const known = new Set(left.map((entry) => keyOf(entry).join(".")));
    if (!database) return left;
    /** @type {Entry[]} */
    const kept = await new Promise((resolve) => {
      const work = database.transaction(STORE);
      const asked = work.objectStore(STORE).getAll();
      work.commit?.();
      asked.onsuccess = () => resolve(asked.result);
      asked.onerror = () => resolve([]);
    });
    const all = [...kept.filter((entry) => !known.has(keyOf(entry).join("."))), ...left];
    return all.sort((a, b) => (a.tab < b.tab ? -1 : a.tab > b.tab ? 1 : a.seq - b.seq));
  }

  /** @param {(store: IDBObjectStore) => void} act */
  async #change(act) {
    const database = await this.opened;
    if (!database) return;
    await new Promise((resolve) => {
      try {
        const work = database.transaction(STORE, "readwrite", { durability: "strict" });
        work.oncomplete = work.onerror = work.onabort = () => resolve(undefined);
        act(work.objectStore(STORE));
        work.commit?.();
      } catch {
        resolve(undefined); // the database was closed under us; memory still holds the entry
      }
    });
  }
}

/** @param {string} prefix */
function namesOf(prefix) {
  return Object.keys(localStorage).filter((name) => name.startsWith(prefix));
}

/** @param {() => void} act */
function withoutFailing(act) {
  try {
    act();
  } catch {
    // localStorage is denied or full: memory, IndexedDB and the beacon remain
  }
}
