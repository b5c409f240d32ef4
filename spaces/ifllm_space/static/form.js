// @ts-check
// Parts of a form that a keyboard and a screen reader can use.

import { h } from "./dom.js";

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
