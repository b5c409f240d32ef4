"""Fit models in several processes before the suite asks for their predictions.

Every finished repeat lands in the cache folder that `runner.cross_validate` reads, so that the
suite itself computes nothing anew, and a killed run goes on where it stopped.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path

from ifllm_hf.benchmark.protocol.rows import Labelled
from ifllm_hf.benchmark.protocol.runner import Swap, cross_validate
from ifllm_hf.progress import progress_bar
from ifllm_hf.reward.baselines.protocol import Model


@dataclass(frozen=True)
class Fits:
    """Models to fit on a set under protocols.

    Attributes:
        models: The models.
        data: The set.
        repeats: Repeats by protocol.
        swap: Exchanges left and right.
    """

    models: Sequence[Model]
    data: Labelled
    repeats: Mapping[str, int]
    swap: Swap


def fit_ahead(
    fits: Sequence[Fits], cache: Path, *, seed: int = 0, jobs: int = 2, progress: bool = True
) -> None:
    """Fill the cache with the predictions of all fits.

    Args:
        fits: What to fit.
        cache: Folder of finished repeats.
        seed: Seed of the splits.
        jobs: Processes; with 1 nothing is done ahead.
        progress: Whether to draw a progress bar on stderr.
    """
    if jobs < 2:
        return
    parts = [
        (i, m, protocol)
        for i, fit in enumerate(fits)
        for m in range(len(fit.models))
        for protocol in fit.repeats
    ]
    # The longest first, so that no process is left alone at the end.
    parts.sort(key=lambda part: -fits[part[0]].repeats[part[2]])
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, context, initializer=_begin, initargs=(fits, cache, seed))
    try:
        with _deaf_to_interrupts():
            waiting = [pool.submit(_fit, *part) for part in parts]
        with progress_bar(len(parts), "models x sets x protocols", progress) as bar:
            for done in as_completed(waiting):
                done.result()
                bar.update(1)
    except KeyboardInterrupt:
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Start processes that Ctrl-C, which reaches all of a terminal, leaves to this one to end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_work: tuple[Sequence[Fits], Path, int]


def _begin(fits: Sequence[Fits], cache: Path, seed: int) -> None:
    """Keep the data in a fresh process, so that it travels once; end with the parent."""
    global _work
    _work = (fits, cache, seed)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Leave no process behind that goes on fitting for a run that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _fit(index: int, model: int, protocol: str) -> None:
    fits, cache, seed = _work
    fit = fits[index]
    fill = partial(cross_validate, seed=seed, cache=cache, progress=False, swap=fit.swap)
    fill(fit.models[model], fit.data, protocol, repeats=fit.repeats[protocol])
