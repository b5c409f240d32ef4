// @ts-check
/**
 * What a reader does on the page, as events of `event.schema.json`, version 2.
 *
 * The recorder watches the page by itself: a turn is what stands in `data-turn`, its answers are
 * `data-response`, its rating widgets `data-control`. Pointer and gaze are sampled at 40 Hz when
 * something changed, and once a second when nothing did; a page at rest is not woken otherwise.
 * Nothing is recorded while its part of the page is hidden, as behind another tab of the app.
 *
 * Of a page that somebody else wrote a reader says what stands where (`../pages/page_reader.js`), and
 * the events are those of version 3.
 */

import { hit, sourceOffset, visibleOffsets } from "./hit.js";

/** @typedef {{x: number|null, y: number|null, valid: boolean, age_ms: number|null}} GazeSample */
/**
 * @typedef {object} GazeProvider
 * @property {"none"|"webgazer"|"scripted"} name
 * @property {string} version
 * @property {(onSample: (sample: GazeSample) => void) => Promise<void>} start
 * @property {() => Promise<void>} stop
 */
/** @typedef {import("../pages/page_reader.js").PageReader} PageReader */
/** @typedef {"likert_a"|"likert_b"|"preference"|"better_than_previous"|"submit"} Control */

const SAMPLE_MS = 25;
/** A frame this much before a sample is due takes it: the next one would be late. */
const EARLY_MS = 5;
const HEARTBEAT_MS = 1000;
const GEOMETRY_MS = 100;
const PX_MAX = 1e6;
const VALUE_LENGTH_MAX = 16;
const CONTROLS = ["likert_a", "likert_b", "preference", "better_than_previous", "submit"];

export class Recorder {
  /**
   * @param {(event: Array<unknown>) => void} sink takes each event once
   * @param {HTMLElement} [root] holds the turn; of the rest of the page nothing is looked at
   * @param {PageReader|null} [reader] of a page that somebody else wrote
   */
  constructor(sink, root = document.body, reader = null) {
    this.sink = sink;
    this.root = root;
    this.reader = reader;
    this.paused = false;
    /** Samples taken, and the time all of them took. */
    this.samples = 0;
    this.cost_ms = 0;
    this.stopping = new AbortController();
    /** @type {GazeProvider|null} */
    this.gaze = null;

    /** @type {number|null} */
    this.turn = null;
    /** @type {HTMLElement[]} */
    this.boxes = [];
    /** @type {{x: number, y: number, buttons: number, kind: string, under?: Element}|null} */
    this.pointer = null;
    this.moved = false;
    /** The next frame that is looked at, 0 when nothing changed. */
    this.frame = 0;
    this.dueAt = -Infinity;
    this.sampledAt = -Infinity;
    this.gazeAt = -Infinity;
    this.geometryAt = -Infinity;
    this.pageChanged = true;
    this.viewChanged = true;
    this.selectionChanged = false;
    /** @type {Map<string|number|null, [number, number]>} */
    this.scrolled = new Map();
    /** @type {Map<HTMLElement, string>} */
    this.shownRanges = new Map();
    /** @type {Map<number, string>} the same by number of a message */
    this.shownParts = new Map();
    this.layout = "";
    this.selected = "";
    /** @type {Control|null} */
    this.hovered = null;
    /** @type {Control|null} */
    this.focused = null;
    /** @type {"pointer"|"keyboard"} */
    this.via = "pointer";
  }

  start() {
    this.app("start", this.reader ? {} : { turn: this.#look() });
    this.reader?.start((kind, ...rest) => this.#emit(kind, ...rest));
    this.#listen();
    this.observer = new MutationObserver(() => this.#changed("pageChanged"));
    this.observer.observe(document.body, {
      childList: true,
      subtree: true,
      attributes: true,
      attributeFilter: ["data-turn", "data-response", "data-control", "data-s", "class", "hidden"],
    });
    this.sizes = new ResizeObserver(() => this.#changed("viewChanged"));
    this.sizes.observe(document.body);
    // Told before the frame is drawn in which the root is gone, or there again.
    this.presence = new ResizeObserver(() => this.#pause(!this.root.getClientRects().length));
    this.presence.observe(this.root);
    this.#changed("viewChanged");
    this.#beat();
  }

  async stop() {
    if (this.stopping.signal.aborted) return;
    await this.setGaze(null);
    await this.reader?.stop();
    this.app("stop", {});
    this.stopping.abort();
    this.observer?.disconnect();
    this.sizes?.disconnect();
    this.presence?.disconnect();
    cancelAnimationFrame(this.frame);
    clearTimeout(this.heart);
  }

  /**
   * Log one of the typed events of the page.
   * @param {string} name
   * @param {object} data
   */
  app(name, data) {
    this.#emit("e", name, data);
  }

  /** @param {GazeProvider|null} provider */
  async setGaze(provider) {
    if (this.gaze) {
      const { name } = this.gaze;
      await this.gaze.stop();
      this.gaze = null;
      this.app("gaze_stop", { provider: name });
    }
    if (!provider || provider.name === "none") return;
    this.gaze = provider;
    try {
      await provider.start((sample) => this.#gazeSample(sample));
      this.app("gaze_start", { provider: provider.name, version: provider.version.slice(0, 20) });
    } catch (error) {
      this.gaze = null;
      const reason = String(/** @type {any} */ (error)?.name ?? error).slice(0, 80);
      this.app("gaze_error", { provider: provider.name, reason });
    }
  }

  /**
   * Have what changed taken in a frame: there the browser is awake, and asking it costs least.
   * @param {"moved"|"pageChanged"|"viewChanged"|"selectionChanged"} what
   */
  #changed(what) {
    this[what] = true;
    this.#inNextFrame();
  }

  #inNextFrame() {
    if (!this.paused) this.frame ||= requestAnimationFrame(() => this.#tick());
  }

  /** Take what changed, at most 40 times a second on the average. */
  #tick() {
    this.frame = 0;
    const now = performance.now();
    if (now < this.dueAt - EARLY_MS) {
      this.#inNextFrame();
      return;
    }
    // A frame that comes late does not put off the ones after it; a rest is nothing to catch up with.
    this.dueAt = (now - this.dueAt < SAMPLE_MS ? this.dueAt : now) + SAMPLE_MS;
    if (this.pageChanged) this.#look();
    for (const [target, [top, left]] of this.scrolled) this.#emit("s", target, px(top), px(left));
    if (this.scrolled.size) {
      this.scrolled.clear();
      this.viewChanged = this.moved = true; // other text is under a pointer that rests
    }
    if (this.moved) this.#pointerSample();
    if (!this.viewChanged && !this.selectionChanged) return;
    if (now - this.geometryAt < GEOMETRY_MS) {
      this.#inNextFrame();
      return;
    }
    this.geometryAt = now;
    if (this.viewChanged) {
      this.viewChanged = false;
      this.#layoutEvent();
      this.#visibleEvents();
    }
    if (this.selectionChanged) {
      this.selectionChanged = false;
      this.#selectionEvent();
    }
  }

  /** Say once a second where a pointer rests. */
  #beat() {
    const rested_ms = performance.now() - this.sampledAt;
    if (rested_ms >= HEARTBEAT_MS && document.visibilityState !== "hidden") this.#pointerSample();
    const next_ms = HEARTBEAT_MS - (performance.now() - this.sampledAt);
    this.heart = setTimeout(() => this.#beat(), next_ms > 0 ? next_ms : HEARTBEAT_MS);
  }

  // --- the page

  /** To the reader a hidden root is a hidden page. @param {boolean} hidden */
  #pause(hidden) {
    if (hidden === this.paused) return;
    if (hidden) {
      this.#hover(null);
      this.#focus(null);
      this.pointer = null;
      this.moved = false;
      this.scrolled.clear();
      this.#emit("v", "hidden");
    }
    this.paused = hidden;
    if (hidden) return;
    this.#emit("v", document.visibilityState);
    this.#changed("pageChanged");
  }

  #look() {
    this.pageChanged = false;
    this.viewChanged = true;
    if (this.reader) {
      this.reader.look();
      return null;
    }
    this.boxes = [...this.root.querySelectorAll("[data-turn] [data-response]")].filter(isElement);
    const last = [...this.root.querySelectorAll("[data-turn]")].filter(isElement).at(-1);
    const turn = last ? turnOf(last) : null;
    if (turn === this.turn) return turn;
    this.turn = turn;
    if (turn !== null) this.app("shown", { turn });
    return turn;
  }

  #listen() {
    /** @type {(target: EventTarget, names: string[], act: (event: any) => void) => void} */
    const on = (target, names, act) => {
      for (const name of names) {
        const { signal } = this.stopping;
        target.addEventListener(name, act, { capture: true, passive: true, signal });
      }
    };
    on(document, ["pointermove"], (event) => {
      // A finger, and a mouse that drags, may keep the target on which they began.
      const free = event.isTrusted && event.pointerType === "mouse" && event.buttons === 0;
      const under = free && event.target instanceof Element ? event.target : undefined;
      this.#point(event, event.buttons, event.pointerType, under);
    });
    on(document, ["pointerdown", "pointerup"], (event) => {
      this.via = "pointer";
      this.#point(event, event.buttons, event.pointerType);
      this.#pointerSample();
      if (event.type === "pointerup" && event.pointerType !== "mouse") this.pointer = null;
    });
    // Once a finger scrolls the page, pointer events end and touch events go on.
    on(document, ["touchmove"], (event) => this.#point(event.touches[0], 1, "touch"));
    on(document, ["touchend", "touchcancel"], () => (this.pointer = null));
    on(document.documentElement, ["mouseleave"], (event) => {
      if (event.target === document.documentElement) this.pointer = null;
    });
    on(document, ["scroll"], (event) => this.#scroll(event.target));
    on(window, ["resize"], () => this.#changed("viewChanged"));
    on(document, ["selectionchange"], () => this.#changed("selectionChanged"));
    on(window, ["focus", "blur"], (event) => {
      if (event.target === window) this.#emit("f", event.type === "focus" ? 1 : 0);
    });
    on(document, ["visibilitychange"], () => this.#emit("v", document.visibilityState));
    on(window, ["pagehide"], () => this.#emit("v", "pagehide"));
    on(document, ["keydown"], () => (this.via = "keyboard"));
    on(document, ["pointerover"], (event) => this.#hover(controlOf(event.target)));
    on(document.documentElement, ["pointerleave"], (event) => {
      if (event.target === document.documentElement) this.#hover(null);
    });
    on(document, ["focusin"], (event) => this.#focus(controlOf(event.target)));
    on(document, ["focusout"], (event) => this.#focus(controlOf(event.relatedTarget)));
    on(document, ["change"], (event) => this.#choose(event.target, event.target.value));
    on(document, ["click"], (event) => {
      const chosen = event.target.closest?.("[data-value]");
      if (chosen) this.#choose(chosen, chosen.dataset.value);
      else if (controlOf(event.target) === "submit") this.#choose(event.target, null);
    });
  }

  /**
   * @param {{clientX: number, clientY: number}|undefined} at
   * @param {number} buttons
   * @param {string} kind
   * @param {Element} [under] what the browser found there
   */
  #point(at, buttons, kind, under) {
    if (this.paused || !at || !Number.isFinite(at.clientX) || !Number.isFinite(at.clientY)) return;
    const known = ["mouse", "touch", "pen"].includes(kind) ? kind : "mouse";
    this.pointer = { x: at.clientX, y: at.clientY, buttons: buttons & 31, kind: known, under };
    this.#changed("moved");
  }

  /** @param {EventTarget|null} target */
  #scroll(target) {
    const within = this.reader?.scroller(target);
    if (target === document) {
      this.scrolled.set(this.reader ? null : "window", [window.scrollY, window.scrollX]);
      this.#inNextFrame();
    } else if (typeof within === "number" && target instanceof Element) {
      this.scrolled.set(within, [target.scrollTop, target.scrollLeft]);
      this.#inNextFrame();
    } else if (target instanceof HTMLElement && target.dataset.response) {
      this.scrolled.set(target.dataset.response, [target.scrollTop, target.scrollLeft]);
      this.#inNextFrame();
    } else {
      this.#changed("viewChanged");
    }
  }

  // --- samples

  #pointerSample() {
    if (!this.pointer) return;
    const started = performance.now();
    const { x, y, buttons, kind, under } = this.pointer;
    this.pointer.under = undefined; // known for this moment only
    this.moved = false;
    this.sampledAt = started;
    this.#emit("p", ...this.#place(x, y, this.viewChanged ? undefined : under), buttons, kind);
    this.samples += 1;
    this.cost_ms += performance.now() - started;
  }

  /** @param {GazeSample} sample */
  #gazeSample({ x, y, valid, age_ms }) {
    const started = performance.now();
    if (this.paused || started - this.gazeAt < SAMPLE_MS - 5 || document.visibilityState === "hidden") return;
    this.gazeAt = started;
    const seen = valid && Number.isFinite(x) && Number.isFinite(y);
    const place = seen
      ? this.#place(/** @type {number} */ (x), /** @type {number} */ (y))
      : [this.turn, null, null, null, null, null, null, null].slice(this.reader ? 1 : 0);
    const age = age_ms === null || !Number.isFinite(age_ms) ? null : Math.min(1e5, Math.max(0, age_ms));
    this.#emit("g", ...place, seen ? 1 : 0, age === null ? null : tenth(age));
    this.samples += 1;
    this.cost_ms += performance.now() - started;
  }

  /**
   * @param {number} x
   * @param {number} y
   * @param {Element} [under] the element at that place, if it is known
   * @returns {Array<unknown>} turn, response (with a reader: message), x, y, rx, ry, offset, distance
   */
  #place(x, y, under) {
    if (this.reader) {
      const at = this.reader.hit(x, y, under);
      if (!at) return [null, px(x), px(y), null, null, null, null];
      const far = at.distance === null ? null : px(at.distance);
      return [at.message, px(x), px(y), px(at.rx), px(at.ry), at.offset, far];
    }
    const found = hit(x, y, under);
    const turn = found.box ? turnOf(found.box) : this.turn;
    const response = turn === null ? null : found.response;
    if (response === null) return [turn, null, px(x), px(y), null, null, null, null];
    const { rx, ry, offset, distance } = found;
    const d = distance === null ? null : px(distance);
    return [turn, response, px(x), px(y), px(rx ?? 0), px(ry ?? 0), offset, d];
  }

  // --- geometry

  #layoutEvent() {
    const { scrollX: sx, scrollY: sy } = window;
    /** @param {HTMLElement} element */
    const rectangle = (element) => {
      const { left, top, width, height } = element.getBoundingClientRect();
      return [left + sx, top + sy, width, height, element.scrollHeight].map(px);
    };
    /** @type {Record<string, number[]>} */
    const boxes = {};
    for (const box of this.boxes) {
      if (turnOf(box) === this.turn) boxes[String(box.dataset.response)] = rectangle(box);
    }
    /** @type {Record<string, number[]>} */
    const controls = {};
    for (const element of this.root.querySelectorAll("[data-control]")) {
      const control = controlOf(element);
      if (control && isElement(element)) controls[control] = rectangle(element);
    }
    const frame = {
      vw: px(window.innerWidth),
      vh: px(window.innerHeight),
      dpr: bounded(window.devicePixelRatio, 0.01, 100),
      scale: bounded(window.visualViewport?.scale ?? 1, 0.01, 100),
      screen: [px(screen.width), px(screen.height)],
    };
    const read = this.reader?.visible().map(({ number, element }) => [number, rectangle(element)]);
    const geometry = read ? { ...frame, boxes: read } : { ...frame, turn: this.turn, boxes, controls };
    const now = JSON.stringify(geometry);
    if (now === this.layout) return;
    this.layout = now;
    this.#emit("l", { ...geometry, sx: px(sx), sy: px(sy) });
  }

  /** Each answer that has come on the screen, or left it, or shows another part. */
  #visibleMessages(/** @type {PageReader} */ reader) {
    const now = new Map(reader.onScreen.map(({ number, first, last }) => [number, [first, last]]));
    for (const number of this.shownParts.keys()) if (!now.has(number)) now.set(number, [null, null]);
    for (const [number, [first, last]] of now) {
      const part = `${first} ${last}`;
      if (part === this.shownParts.get(number)) continue;
      if (first === null) this.shownParts.delete(number);
      else this.shownParts.set(number, part);
      this.#emit("w", number, first, last);
    }
  }

  #visibleEvents() {
    if (this.reader) {
      this.#visibleMessages(this.reader);
      return;
    }
    for (const box of this.boxes) {
      const turn = turnOf(box);
      const [first, last] = visibleOffsets(box) ?? [null, null];
      const now = `${turn} ${first} ${last}`;
      if (now === this.shownRanges.get(box)) continue;
      this.shownRanges.set(box, now);
      this.#emit("w", turn, box.dataset.response, first, last);
    }
    for (const box of this.shownRanges.keys()) {
      if (!box.isConnected) this.shownRanges.delete(box);
    }
  }

  #selectionEvent() {
    const selection = document.getSelection();
    const range = selection?.rangeCount && !selection.isCollapsed ? selection.getRangeAt(0) : null;
    if (this.reader) {
      const at = range && this.reader.selected(range);
      const now = at ? [at.number, at.first, at.last] : [null, null, null];
      const said = at ? String(now) : "";
      if (said === this.selected) return;
      this.selected = said;
      this.#emit("c", ...now);
      return;
    }
    const from = range && sourceOffset(range.startContainer, range.startOffset);
    const to = range && sourceOffset(range.endContainer, range.endOffset);
    const turn = from ? turnOf(from.box) : this.turn;
    const last = from && to && to.box === from.box ? to.offset : null;
    const event = from
      ? [turn, from.response, from.offset, last]
      : [turn, null, null, null];
    const now = JSON.stringify(event.slice(1));
    if (now === this.selected || (!from && !this.selected)) return;
    this.selected = from ? now : "";
    this.#emit("c", ...event);
  }

  // --- rating controls

  /** @param {Control|null} control */
  #hover(control) {
    if (control === this.hovered) return;
    if (this.hovered) this.#control("leave", this.hovered, null, "pointer");
    this.hovered = control;
    if (control) this.#control("enter", control, null, "pointer");
  }

  /** @param {Control|null} control */
  #focus(control) {
    if (control === this.focused) return;
    if (this.focused) this.#control("leave", this.focused, null, "keyboard");
    // A click moves the focus too; what it does is known from the pointer.
    this.focused = this.via === "keyboard" ? control : null;
    if (this.focused) this.#control("enter", this.focused, null, "keyboard");
  }

  /**
   * @param {EventTarget|null} target
   * @param {string|null|undefined} value
   */
  #choose(target, value) {
    const control = controlOf(target);
    if (!control) return;
    const said = value === null || value === undefined ? null : value.slice(0, VALUE_LENGTH_MAX);
    this.#control("choose", control, said, this.via);
  }

  /**
   * @param {"enter"|"leave"|"choose"} action
   * @param {Control} control
   * @param {string|null} value
   * @param {"pointer"|"keyboard"} via
   */
  #control(action, control, value, via) {
    this.#emit("r", this.turn, action, control, value, via);
  }

  /**
   * @param {string} kind
   * @param {unknown[]} rest
   */
  #emit(kind, ...rest) {
    if (this.stopping.signal.aborted || (this.paused && kind !== "e")) return;
    this.sink([kind, tenth(performance.now()), ...rest]);
  }
}

/** @param {Element} element @returns {element is HTMLElement} */
function isElement(element) {
  return element instanceof HTMLElement;
}

/** @param {HTMLElement} element */
function turnOf(element) {
  const said = /** @type {HTMLElement|null} */ (element.closest("[data-turn]"))?.dataset.turn;
  const turn = Number.parseInt(said ?? "", 10);
  return turn >= 0 && turn <= 9999 ? turn : null;
}

/** @param {EventTarget|null} target @returns {Control|null} */
function controlOf(target) {
  const element = target instanceof Element ? target.closest("[data-control]") : null;
  const name = element instanceof HTMLElement ? (element.dataset.control ?? "") : "";
  return CONTROLS.includes(name) ? /** @type {Control} */ (name) : null;
}

/** @param {number} value */
function tenth(value) {
  return Math.round(10 * value) / 10;
}

/** @param {number} value */
function px(value) {
  return tenth(bounded(value, -PX_MAX, PX_MAX));
}

/** @param {number} value @param {number} least @param {number} most */
function bounded(value, least, most) {
  return Number.isFinite(value) ? Math.min(most, Math.max(least, value)) : least;
}
