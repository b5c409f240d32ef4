// @ts-check
/**
 * What is not yet safe on the server, kept in the browser: IndexedDB with strict durability, so that
 * a killed browser loses nothing that was sealed. Where storage is denied, memory alone has to do.
 *
 * While a page is being left IndexedDB may not finish; then, and only then, localStorage takes a copy.
 */

/**
 * @typedef {object} Batch
 * @property {string} session
 * @property {string} tab
 * @property {number} seq
 * @property {number} origin_epoch_ms
 * @property {number} sent_epoch_ms
 * @property {Array<Array<unknown>>} events
 */
/** @typedef {Batch & {token: string, stored: boolean}} Entry a batch, and whether it is on the server's disk */

const STORE = "batches";
const LEAVING = "ifllm.leaving.";

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
      for (const name of leavingNames()) {
        if (name.startsWith(`${LEAVING}${session}.`)) localStorage.removeItem(name);
      }
    });
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
   * List what earlier pages left, oldest first within a tab.
   * @returns {Promise<Entry[]>}
   */
  async entries() {
    const database = await this.opened;
    /** @type {Entry[]} */
    const left = [];
    withoutFailing(() => {
      for (const name of leavingNames()) left.push(JSON.parse(localStorage.getItem(name) ?? ""));
    });
    const known = new Set(left.map((entry) => keyOf(entry).join(".")));
    if (!database) return left;
    /** @type {Entry[]} */
    const kept = await new Promise((resolve) => {
      const asked = database.transaction(STORE).objectStore(STORE).getAll();
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
      } catch {
        resolve(undefined); // the database was closed under us; memory still holds the entry
      }
    });
  }
}

function leavingNames() {
  return Object.keys(localStorage).filter((name) => name.startsWith(LEAVING));
}

/** @param {() => void} act */
function withoutFailing(act) {
  try {
    act();
  } catch {
    // localStorage is denied or full: memory, IndexedDB and the beacon remain
  }
}
