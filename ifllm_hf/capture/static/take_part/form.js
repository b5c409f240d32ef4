// @ts-check
// Parts of a form that a keyboard and a screen reader can use.

import { h } from "../dom.js";

const WAITING = "The server does not answer yet. Nothing is lost: this page tries again by itself.";

/** @param {string} text */
export function heading(text) {
  return h("h2", { tabindex: -1 }, text);
}

/** @param {string} text */
export function notice(text) {
  return h("p", { class: "ifllm-notice", role: "alert" }, text);
}

/**
 * @param {string} name
 * @param {string} legend
 * @param {Record<string, string>} choices text by value
 * @param {{checked?: string, required?: boolean}} [options]
 */
export function radios(name, legend, choices, { checked, required = true } = {}) {
  const items = Object.entries(choices).map(([value, text]) => {
    const input = h("input", { type: "radio", name, value, required, checked: value === checked });
    return h("label", { class: "ifllm-check" }, input, text);
  });
  return h("fieldset", {}, h("legend", {}, legend), h("div", { class: "ifllm-choices" }, ...items));
}

/** @param {string} name @param {HTMLElement} element */
export function control(name, element) {
  element.dataset.control = name;
  return element;
}

/** @param {string} name @param {string} text */
export function checkbox(name, text) {
  return h("label", { class: "ifllm-check" }, h("input", { type: "checkbox", name }), text);
}

/** @param {string} text @param {() => void} act */
export function button(text, act) {
  return h("button", { type: "button", onclick: act }, text);
}

/**
 * What `patient` tells, said below a part of the page while it lasts.
 * @param {HTMLElement} root
 */
export function waitingIn(root) {
  const said = h("p", { class: "ifllm-waiting", role: "alert" });
  return (/** @type {boolean} */ waiting) => {
    said.textContent = waiting ? WAITING : "";
    if (waiting) root.after(said);
    else said.remove();
  };
}

/**
 * @param {(data: FormData) => void} act
 * @param {Record<string, unknown>} attributes
 * @param {...(Node|null)} parts
 */
export function form(act, attributes, ...parts) {
  return h(
    "form",
    {
      ...attributes,
      onsubmit: async (/** @type {SubmitEvent} */ event) => {
        event.preventDefault();
        const sent = /** @type {HTMLButtonElement|null} */ (event.submitter);
        if (sent) sent.disabled = true; // a second click would ask twice
        try {
          await act(new FormData(/** @type {HTMLFormElement} */ (event.target)));
        } finally {
          if (sent) sent.disabled = false;
        }
      },
    },
    ...parts,
  );
}

/**
 * A list with a field that narrows it. Of radio buttons, because the lines of a `select` are cut
 * where a browser does not wrap them.
 * @param {string[]} questions
 * @param {string} [chosen]
 */
export function picker(questions, chosen) {
  const items = questions.map((question) => {
    const checked = question === chosen;
    const input = h("input", { type: "radio", name: "question", value: question, required: true, checked });
    return h("label", { class: "ifllm-check" }, input, h("span", {}, question));
  });
  const list = h("div", { class: "ifllm-list" }, ...items);
  const none = h("p", { class: "ifllm-fine" }, "No question has these words.");
  const narrow = (/** @type {Event} */ event) => {
    const words = /** @type {HTMLInputElement} */ (event.target).value.toLowerCase().split(/\s+/);
    const found = items.filter((item) =>
      words.every((word) => item.textContent?.toLowerCase().includes(word)),
    );
    list.replaceChildren(...(found.length ? found : [none]));
  };
  const field = h("input", { type: "search", oninput: narrow });
  return h(
    "div",
    {},
    h("label", { class: "ifllm-field" }, "Words in it", field),
    h("fieldset", {}, h("legend", {}, "Pick a question"), list),
  );
}
