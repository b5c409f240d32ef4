// @ts-check
/**
 * Recording on any page that an adapter fits, by one tag:
 *
 *     <script type="module" src="https://ifllm.example.org/capture/ifllm.js"
 *             data-adapter="open-webui"></script>
 *
 * data-adapter   which page this is: open-webui, chat-ui, generic
 * data-endpoint  where `ifllm serve` is; default: where this file came from
 * data-language  of the consent; default: what the browser, then the page, is in
 */

const tags = [...document.querySelectorAll("script[data-adapter]")].filter(
  (tag) => /** @type {HTMLScriptElement} */ (tag).src === import.meta.url,
);
const [tag, ...further] = /** @type {HTMLScriptElement[]} */ (tags);
const page = /** @type {any} */ (window);

if (!tag) {
  console.error("ifllm: nothing is recorded: the tag that loads ifllm.js has no data-adapter, or came by an import");
} else if (page.ifllmPage || page.ifllmChat) {
  refuse(tag, page.ifllmPage?.name ?? "gradio");
} else {
  page.ifllmPage = { name: tag.dataset.adapter };
  for (const other of further) refuse(other, page.ifllmPage.name);
  start(tag);
}

/** @param {HTMLScriptElement} other @param {string} first the adapter that is on the page */
function refuse(other, first) {
  const name = other.dataset.adapter;
  if (name === first) console.info("ifllm: the recorder is on this page already; the second tag does nothing");
  else console.error(`ifllm: the adapter ${first} is on this page already; ${name} does nothing`);
}

/** @param {HTMLScriptElement} from */
async function start({ dataset: { adapter, endpoint, language } }) {
  const base = endpoint ? new URL(endpoint.replace(/\/*$/, "/"), document.baseURI) : new URL("..", import.meta.url);
  try {
    const { recordPage } = await import(new URL("capture/pages/any_page.js", base).href);
    await recordPage(page.ifllmPage, adapter, language);
  } catch (error) {
    console.error(`ifllm: nothing is recorded: ${adapter} does not start from ${base.href}. A `
      + "Content-Security-Policy may forbid it, or the server does not name this page's origin. " + error);
  }
}
