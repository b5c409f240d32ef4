"""Keeps libraries from talking while the demo runs; errors pass."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator

from ifllm_hf.demo.facts import Say

_TALKERS = (
    *("accelerate", "bitsandbytes", "datasets", "huggingface_hub"),
    *("peft", "torch", "transformers", "trl"),
)


@contextlib.contextmanager
def quiet_libraries(quiet: bool = True) -> Iterator[None]:
    """Draw no bar of a library and print no warning of one; all is as it was afterwards.

    Args:
        quiet: False changes nothing.
    """
    if not quiet:
        yield
        return
    import datasets
    from transformers.utils import logging as of_transformers

    levels = {name: logging.getLogger(name).level for name in _TALKERS}
    bars = not datasets.are_progress_bars_disabled(), of_transformers.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    of_transformers.disable_progress_bar()
    for name in _TALKERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("default", module=r"ifllm_hf\b")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        if bars[0]:
            datasets.enable_progress_bars()
        if bars[1]:
            of_transformers.enable_progress_bar()


@contextlib.contextmanager
def quiet_prints(say: Say, quiet: bool = True) -> Iterator[Say]:
    """Print nothing but what is said by the function that this gives.

    A trainer prints its last row of numbers wherever no bar is drawn.

    Args:
        say: Takes words.
        quiet: False changes nothing.
    """
    if not quiet:
        yield say
        return
    out, err = sys.stdout, sys.stderr

    def aloud(text: str) -> None:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            say(text)

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield aloud
