// @ts-check
/**
 * What a reader does with answers, on a page that an adapter of data describes: buttons, requests of
 * the page where its buttons have names in no language, and a pane that is chosen.
 */

/** @typedef {import("./found_turns.js").Adapter} Adapter */
/** @typedef {import("./id_messages.js").Shown} Shown */
/** @typedef {import("./id_messages.js").IdMessages} IdMessages */
/** @typedef {import("./page_messages.js").Act} Act */

const CHOSEN_WITHIN_MS = 3000;

export class PageActions {
  /** @param {Adapter} adapter @param {import("./page_reader.js").PageReader} reader that has started */
  constructor(adapter, reader) {
    this.adapter = adapter;
    this.reader = reader;
    this.messages = /** @type {IdMessages} */ (/** @type {unknown} */ (reader.messages));
    this.stopping = new AbortController();
    /** @type {Map<Shown, string>} the last judgement of each, as one is posted several times */
    this.judged = new Map();
    const { signal } = this.stopping;
    document.addEventListener("click", (event) => event.isTrusted && this.#clicked(event.target), {
      signal,
      capture: true, // before the page takes the answer away
    });
    if (adapter.requests?.length) this.#listenToRequests();
  }

  stop() {
    this.stopping.abort();
    if (this.fetch && window.fetch === this.ours) window.fetch = this.fetch;
  }

  /** @param {EventTarget|null} target */
  #clicked(target) {
    if (!(target instanceof Element)) return;
    this.reader.look();
    const element = target.closest(this.adapter.answer);
    const shown = element && this.messages.byElement.get(element);
    if (!shown) return;
    for (const { button, act } of this.adapter.actions ?? []) {
      if (target.closest(button)) this.messages.acted(shown, /** @type {Act} */ (act));
    }
    this.#mayChoose(shown);
  }

  /** A click on one that is not selected chooses it, if it is selected afterwards. @param {Shown} shown */
  #mayChoose(shown) {
    const { selected } = this.adapter;
    if (!selected || shown.turn.answers.length < 2 || shown.element.closest(selected)) return;
    clearInterval(this.choosing);
    const until = performance.now() + CHOSEN_WITHIN_MS;
    this.choosing = setInterval(() => {
      const late = performance.now() > until || this.stopping.signal.aborted;
      if (!late) this.reader.look();
      const chosen = !late && shown.element.isConnected && shown.element.closest(selected);
      if (chosen) this.messages.acted(shown, "switch");
      if (!chosen && !late) return;
      clearInterval(this.choosing);
      this.choosing = undefined;
    }, 50);
  }

  /** The page's own requests tell what was done; nothing of them is kept but the kind of action. */
  #listenToRequests() {
    this.fetch = window.fetch;
    const { fetch } = this;
    this.ours = async (/** @type {RequestInfo|URL} */ input, /** @type {RequestInit|undefined} */ init) => {
      const done = this.stopping.signal.aborted ? [] : this.#meant(input, init);
      const response = await fetch.call(window, input, init);
      if (response.ok && !this.stopping.signal.aborted) {
        for (const [shown, act] of done) this.#judge(shown, act);
      }
      return response;
    };
    window.fetch = this.ours;
  }

  /**
   * @param {RequestInfo|URL} input
   * @param {RequestInit|undefined} init
   * @returns {[Shown, string][]}
   */
  #meant(input, init) {
    try {
      const { pathname } = new URL(input instanceof Request ? input.url : input, location.href);
      const method = (init?.method ?? (input instanceof Request ? input.method : "GET")).toUpperCase();
      const rule = this.adapter.requests?.find((one) => one.method === method && new RegExp(one.path).test(pathname));
      if (!rule) return [];
      this.reader.look();
      const all = [...this.messages.byElement.values()];
      const { finished } = this.adapter;
      if (!rule.message) {
        const growing = all.filter(({ element }) => finished && !element.querySelector(finished));
        return growing.map((shown) => [shown, rule.acts.always]);
      }
      const body = JSON.parse(/** @type {string} */ (init?.body));
      const id = inside(body, rule.message);
      const act = rule.acts[String(inside(body, rule.at ?? ""))];
      return act ? all.filter((shown) => shown.id === id).map((shown) => [shown, act]) : [];
    } catch {
      return []; // it is the page's request, and none of ours
    }
  }

  /** @param {Shown} shown @param {string} act */
  #judge(shown, act) {
    if (this.judged.get(shown) === act) return;
    this.judged.set(shown, act);
    this.messages.acted(shown, /** @type {Act} */ (act));
  }
}

/** @param {any} body @param {string} path such as `meta.message_id` */
function inside(body, path) {
  return path.split(".").reduce((value, name) => value?.[name], body);
}
