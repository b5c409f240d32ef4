// @ts-check
/**
 * Where the turns of a page are whose messages have ids, as an adapter of data tells. Nothing is kept
 * here: such pages draw their messages anew as they like.
 */

/**
 * @typedef {object} From where an id stands: in an attribute, or in the path of the page's address
 * @property {string} [around] of the element around it that has the attribute
 * @property {string} [attribute]
 * @property {string} [path] what of the path it is, as a pattern with one group
 * @property {string} [pattern] what of the attribute it is, as a pattern with one group
 */
/**
 * @typedef {object} Adapter where a page has what; selectors, but for ids
 * @property {string} name
 * @property {string} version
 * @property {From} chat_id
 * @property {string} message questions and answers
 * @property {string} answer which of the messages are answers
 * @property {From} question_id
 * @property {From} answer_id
 * @property {From} [parent_id] of the question, on what stands around answers side by side
 * @property {string} [text] of an answer; default: all of it
 * @property {string} skip what is no text in it
 * @property {string} [finished] is in an answer that is complete
 * @property {string} [selected] around that answer, of those side by side, from which the chat goes on
 * @property {string} [copy_part] copies the text beside it
 * @property {{button: string, act: string}[]} [actions]
 * @property {{method: string, path: string, message?: string, at?: string, acts: Record<string, string>}[]}
 *   [requests] of the page that are actions
 * @property {{name: string, each: string, within?: string, has?: string, is?: string}[]} checks
 */
/**
 * @typedef {object} Turn
 * @property {string} chat
 * @property {string} question
 * @property {string|null} parent the answer before it
 * @property {{id: string, element: HTMLElement}[]} answers side by side, in the order of the page
 */

/**
 * @param {From} from
 * @param {Element} element
 * @returns {string|null}
 */
export function idOf({ around, attribute, path, pattern }, element) {
  const at = around ? element.closest(around) : element;
  const value = path ? location.pathname : attribute && at?.getAttribute(attribute);
  const id = value ? (new RegExp(path ?? pattern ?? "(.*)").exec(value)?.[1] ?? null) : null;
  return id && /^[!-~]{1,128}$/.test(id) ? id : null;
}

/**
 * Find the turns that are on the page; answers whose chat or question is not known are left out.
 * @param {Adapter} adapter
 * @returns {Turn[]} in the order of the page
 */
export function foundTurns(adapter) {
  /** @type {Turn[]} */
  const turns = [];
  let before = null; // the question that was met last
  for (const element of document.querySelectorAll(adapter.message)) {
    if (!element.matches(adapter.answer)) {
      before = idOf(adapter.question_id, element);
      continue;
    }
    const chat = idOf(adapter.chat_id, element);
    const id = idOf(adapter.answer_id, element);
    const question = (adapter.parent_id && idOf(adapter.parent_id, element)) ?? before;
    if (!chat || !id || !question) continue;
    let turn = turns[turns.length - 1];
    if (turn?.chat !== chat || turn.question !== question) {
      const parent = turn?.chat === chat ? wentOnFrom(adapter, turn) : null;
      turns.push((turn = { chat, question, parent, answers: [] }));
    }
    turn.answers.push({ id, element: /** @type {HTMLElement} */ (element) });
  }
  return turns;
}

/** @param {Adapter} adapter @param {Turn} turn @returns {string} the answer that the chat goes on from */
function wentOnFrom({ selected }, { answers }) {
  const chosen = selected && answers.find(({ element }) => element.closest(selected));
  return (chosen || answers[0]).id;
}
