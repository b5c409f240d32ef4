"""Recording on a page of Gradio's own components, in one line.

    with gr.Blocks() as demo:
        chatbot = gr.Chatbot()
        ...
        record_chat(chatbot, "sessions", settings=Settings(contact=..., legal_basis=...))
    demo.launch()

Nothing is recorded before a reader has agreed, on the page itself. Needs Gradio 6.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from ifllm_hf.capture.gradio_history import place_of_copied, store_texts
from ifllm_hf.capture.mounting import Capture, attach
from ifllm_hf.capture.server.pushing import PushTo
from ifllm_hf.capture.settings import Settings
from ifllm_hf.errors import ConfigError

if TYPE_CHECKING:
    import gradio as gr

PLACE = "ifllm"
"""Where our routes and files are, below the page."""
_ADAPTER = Path(__file__).parent / "adapters" / "gradio.json"
_LISTENER: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
_SHOWS_BUTTON = ("likeable", "_retryable", "_undoable")
_NO_DOCS: dict[str, Any] = {"docs_url": None, "redoc_url": None, "openapi_url": None}

_START = """() => {
  const config = %s;
  const root = new URL((window.gradio_config?.root || ".").replace(/\\/*$/, "/"), document.baseURI);
  import(new URL("%s/capture/pages/gradio.js", root).href).then(
    (page) => page.start(config),
    (error) => console.warn("ifllm: the recorder cannot be loaded, so nothing is recorded. A "
      + "Content-Security-Policy may forbid it, or a proxy keeps %s/ from us. " + error));
  return [];
}"""


def record_chat(
    chats: gr.Chatbot | gr.ChatInterface | Sequence[gr.Chatbot],
    sessions: str | os.PathLike[str] | None = None,
    *,
    settings: Settings | None = None,
    models: Sequence[str | None] = (),
    push: PushTo | None = None,
    app: FastAPI | None = None,
    path: str = "",
) -> Capture:
    """Record who agrees on a chat page: what is read of each answer, and what is done with it.

    Call it once for a page, in its `gr.Blocks` or after it, and launch as ever. Without an
    operator's contact and legal basis nobody is asked.

    Args:
        chats: The chat, or several that stand side by side and answer the same questions, the left
            one first.
        sessions: Folder of the sessions; default: `settings.sessions`.
        settings: Of the operator; default: `$IFLLM_SPACE_*`.
        models: Who answers, for each chat.
        push: As of `attach`.
        app: The application that the page is mounted on afterwards, where it is not launched.
        path: Where the page is mounted there, as in `gr.mount_gradio_app`; empty: at the top.

    Returns:
        What records, with its store.

    Raises:
        ConfigError: There is no chat, or not one model for each; what `attach` raises.
    """
    from gradio.context import Context

    chatbots = _chatbots(chats)
    if models and len(models) != len(chatbots):
        raise ConfigError(f"{len(models)} models for {len(chatbots)} chats. Expected one for each.")
    settings = settings or Settings.from_environment()
    if settings.origins:
        raise ConfigError("origins are set. Expected none: a Gradio page is one with its recorder.")
    root = _root_of(chatbots[0])
    routes = FastAPI(**_NO_DOCS)
    capture = attach(routes, sessions, settings=settings, push=push)
    if app is not None:
        app.mount(f"{path.rstrip('/')}/{PLACE}", routes)
    else:
        root.extra_startup_events.append(_mount_on(root, routes))
    os.environ["GRADIO_SSR_MODE"] = "False"  # its Node front would swallow what is posted to us
    with contextlib.nullcontext() if Context.root_block else root:
        of_page = dict(root.fns)
        _listen(root, chatbots, capture, list(models) or [None] * len(chatbots))
        # Listeners to one event run one after the other, the next when an answer has been streamed.
        ours = {number: fn for number, fn in root.fns.items() if number not in of_page}
        root.fns.clear()
        root.fns.update(ours | of_page)
    return capture


def _chatbots(chats: gr.Chatbot | gr.ChatInterface | Sequence[gr.Chatbot]) -> list[gr.Chatbot]:
    import gradio as gr

    if isinstance(chats, gr.ChatInterface):
        return [chats.chatbot]
    chatbots = [chats] if isinstance(chats, gr.Chatbot) else list(chats)
    if not chatbots or not all(isinstance(chat, gr.Chatbot) for chat in chatbots):
        raise ConfigError("There is no chat to record. Expected gr.Chatbot or gr.ChatInterface.")
    return chatbots


def _root_of(chatbot: gr.Chatbot) -> gr.Blocks:
    """Return the page that a chat is on."""
    import gradio as gr
    from gradio.context import Context

    if Context.root_block is not None:
        return Context.root_block
    block: Any = chatbot
    while getattr(block, "parent", None) is not None:
        block = block.parent
    if not isinstance(block, gr.Blocks):
        raise ConfigError("The chat is on no page yet. Expected one that was made in a gr.Blocks.")
    return block


def _mount_on(root: gr.Blocks, routes: FastAPI) -> Callable[[], Any]:
    async def mount() -> None:
        if getattr(root, "custom_mount_path", None) is not None:
            raise ConfigError(
                "This page is mounted on an application. Expected it, record_chat(..., app=app, "
                "path=...), before gr.mount_gradio_app."
            )
        if root.ssr_mode:
            raise ConfigError(
                "ssr_mode is on, and takes what is posted to us. Expected ssr_mode=False."
            )
        root.app.mount(f"/{PLACE}", routes)

    return mount


def _listen(
    root: gr.Blocks, chatbots: list[gr.Chatbot], capture: Capture, models: list[str | None]
) -> None:
    """Add what a page tells us by: events of its chats, and a button that its script presses."""
    import gradio as gr

    for at, chatbot in enumerate(chatbots):
        chatbot.elem_id = chatbot.elem_id or f"{PLACE}-chat-{at}"
        # Who listens to like, retry or undo makes their buttons appear: that is the page's choice.
        shown = {name: getattr(chatbot, name, None) for name in _SHOWS_BUTTON}
        _listen_to(chatbot, at)
        for name, value in shown.items():
            if value is None:
                delattr(chatbot, name)
            else:
                setattr(chatbot, name, value)

    def keep_texts(told: str | None, *histories: Any) -> str | None:
        return "stored" if store_texts(capture.store, told, histories, models) else None

    told = gr.Textbox(visible="hidden")
    button = gr.Button(visible="hidden", elem_id=f"{PLACE}-texts")
    hand_over = (
        "(_, ...histories) => { const told = window.ifllmChat?.handOver() ?? null;"
        " return [told, ...histories.map((history) => told ? history : [])]; }"
    )
    handed = "(answer) => { window.ifllmChat?.handed(answer); return []; }"
    button.click(keep_texts, [told, *chatbots], [told], js=hand_over, **_LISTENER).then(
        None, [told], None, js=handed, **_LISTENER
    )
    adapter = json.loads(_ADAPTER.read_text(encoding="utf-8"))
    config = {"adapter": adapter, "roots": [chatbot.elem_id for chatbot in chatbots]}
    start = _START % (json.dumps({**config, "button": f"{PLACE}-texts"}), PLACE, PLACE)
    root.load(None, None, None, js=start, **_LISTENER)


def _listen_to(chatbot: gr.Chatbot, at: int) -> None:
    """Turn a chat's events into actions; `at`: which column it is.

    The page notes what stands there when a button is pressed, the server which message was meant.
    """
    import gradio as gr

    pressed = gr.Textbox(visible="hidden")

    def place_of_like(pressed: str | None, event: Any) -> str | None:
        data = event._data
        act = {True: "like", "Like": "like", False: "dislike", "Dislike": "dislike"}.get(
            data.get("liked")
        )
        return _meant(pressed, act, data.get("index"))

    def place_of_edit(pressed: str | None, event: Any) -> str | None:
        return _meant(pressed, "edit", event._data.get("index"))

    def place_of_copy(pressed: str | None, history: Any, event: Any) -> str | None:
        return _meant(pressed, "copy", place_of_copied(history, event._data.get("value")))

    for handler in (place_of_like, place_of_edit, place_of_copy):
        handler.__annotations__["event"] = gr.EventData  # Gradio fills in what is annotated so

    def press(act: str) -> str:
        return f"window.ifllmChat?.pressed({at}, '{act}') ?? null"

    say = "(said) => { window.ifllmChat?.said(said); return []; }"
    for listen, place, act in (
        (chatbot.like, place_of_like, "like"),
        (chatbot.edit, place_of_edit, "edit"),
    ):
        js = f"() => [{press(act)}]"
        listen(place, [pressed], [pressed], js=js, **_LISTENER).then(
            None, [pressed], None, js=say, **_LISTENER
        )
    js = f"(_, history) => {{ const key = {press('copy')}; return [key, key ? history : []]; }}"
    chatbot.copy(place_of_copy, [pressed, chatbot], [pressed], js=js, **_LISTENER).then(
        None, [pressed], None, js=say, **_LISTENER
    )
    for listen, act in ((chatbot.retry, "regenerate"), (chatbot.undo, "undo")):
        listen(None, None, None, js=f"() => {{ {press(act)}; return []; }}", **_LISTENER)


def _meant(pressed: str | None, act: str | None, index: Any) -> str | None:
    """Say for the page what was pressed; None where nobody records, or it is no action of ours."""
    place = index[0] if isinstance(index, (list, tuple)) and index else index
    if not pressed or act is None or not isinstance(place, int):
        return None
    return json.dumps({"key": pressed, "act": act, "place": place})
