// @ts-check
/**
 * How the consent looks, as text for a stylesheet that is made by script: a page's policy on styles
 * does not forbid it, and it comes without a second request. "Yes" and "no" share every rule.
 */
export const STYLE = `
:host {
  --ink: #1f2328; --paper: #ffffff; --line: #57606a; --face: #f3f4f6; --focus: #0b57d0;
  all: initial;
  position: fixed; inset: auto 12px 12px auto; z-index: 2147483000;
  max-width: min(27rem, calc(100vw - 24px));
}
@media (prefers-color-scheme: dark) {
  :host { --ink: #f0f3f6; --paper: #16191d; --line: #b7bfc8; --face: #2b3138; --focus: #8ab4f8; }
}
@media print { :host { display: none; } }
* { box-sizing: border-box; }
.panel {
  display: flex; flex-direction: column; gap: 8px;
  max-height: min(calc(100vh - 24px), 36rem); overflow: auto; padding: 12px;
  border: 1px solid var(--line); border-radius: 6px;
  background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere;
}
.panel.small { padding: 0; border: 0; background: none; }
h2 { margin: 0; font-size: 1.1em; line-height: 1.3; }
p, ul { margin: 0; }
ul { padding-left: 1.1em; }
li { margin-bottom: 6px; }
.text { flex: 1 1 auto; min-height: 5em; overflow: auto; }
.text > p { margin-bottom: 6px; }
[role="status"]:empty { display: none; }
.panel.small [role="status"] { padding: 8px; border: 1px solid var(--line); border-radius: 4px; background: var(--paper); }
.choices { display: grid; grid-auto-columns: minmax(0, 1fr); grid-auto-flow: column; gap: 8px; }
.choices.three { grid-auto-flow: row; }
form { display: flex; flex-wrap: wrap; gap: 8px; align-items: end; }
label { flex: 1 1 12em; }
input { display: block; width: 100%; }
button, input {
  min-height: 44px; padding: 6px 10px;
  border: 1px solid var(--line); border-radius: 4px;
  background: var(--face); color: inherit; font: inherit; overflow-wrap: anywhere;
}
button, summary { cursor: pointer; }
summary { min-height: 24px; }
button:disabled { opacity: 1; cursor: progress; }
code { display: block; padding: 6px; border: 1px dashed var(--line); font-size: 0.95em; user-select: all; }
:focus-visible { outline: 3px solid var(--focus); outline-offset: 2px; }
h2:focus-visible { outline-offset: 0; }
`;
