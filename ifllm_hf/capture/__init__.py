"""What records people in a browser: the recorder, and the server that stores what it sends.

    from ifllm_hf.capture import attach      # on any FastAPI application
    from ifllm_hf.capture import record_chat # on a page of Gradio's own components
    ifllm serve --sessions sessions          # alone, behind whatever page

settings   what an operator sets
same_page, path_prefix, cross_origin
           what a proxy makes of hosts and paths; pages on other hosts
operator   who that is
server/    what stores a session: routes, quotas, withdrawal, packing, status
taking_part/
           consent and all steps after it, as a page asks for them
page_files, static/
           what a browser loads; the recorder is `static/record/`
exported_messages
           the texts of a chat page from its own export, for the sessions that read them
fetch_webgazer
           the optional webcam, which comes from elsewhere
mounting   all of it on an application; serving: on a port; serve, command: by itself
adapters/  where pages that somebody else wrote have their messages, as data
gradio_chat, gradio_history
           the same on a Gradio page: its events as actions, its chat history as texts

Nothing here needs Gradio or torch. What pushes sessions to the Hub is handed in by who starts a
server (`server/pushing.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ifllm_hf.capture.gradio_chat import record_chat
    from ifllm_hf.capture.mounting import attach

__all__ = ["attach", "record_chat"]


def __getattr__(name: str) -> Any:
    """Import a function when it is asked for: `python -m ifllm_hf.capture...` then runs unmixed."""
    if name == "attach":
        from ifllm_hf.capture.mounting import attach

        return attach
    if name == "record_chat":
        from ifllm_hf.capture.gradio_chat import record_chat

        return record_chat
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
