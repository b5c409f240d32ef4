"""The application of the Space."""

from __future__ import annotations

import gc
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ifllm_hf.capture.settings import Settings
    from ifllm_space.demo_data import DemoData


def build_space(data: DemoData, settings: Settings) -> FastAPI:
    """Build it; Gradio forgets to close event loops that it opens."""
    from ifllm_space.shell import build_app

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        app = build_app(data, settings)
        gc.collect()
    return app
