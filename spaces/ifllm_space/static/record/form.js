// @ts-check
// Parts of a form that a keyboard and a screen reader can use.

import { h } from "../dom.js";

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

/** A list with a field that narrows it. @param {string[]} questions */
export function picker(questions) {
  const options = questions.map((question) => h("option", { value: question }, question));
  const list = h("select", { name: "question", id: "ifllm-question", required: true, size: 8 }, ...options);
  const narrow = (/** @type {Event} */ event) => {
    const words = /** @type {HTMLInputElement} */ (event.target).value.toLowerCase().split(/\s+/);
    list.replaceChildren(
      ...options.filter((o) => words.every((word) => o.textContent?.toLowerCase().includes(word))),
    );
  };
  const field = h("input", { type: "search", id: "ifllm-narrow", oninput: narrow });
  return h(
    "div",
    {},
    h("label", { class: "ifllm-field", for: "ifllm-narrow" }, "Words in it", field),
    h("label", { class: "ifllm-field", for: "ifllm-question" }, "Pick a question", list),
  );
}
