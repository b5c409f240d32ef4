"""A function as judge: tests, exact match, a simulator, or any other truth that can be computed."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

from ifllm_hf.alignment.judge.config import JudgeSettings
from ifllm_hf.alignment.judge.verdict import BASELINE, Comparison, Judged, Verdict, winner_of
from ifllm_hf.errors import ConfigError

_FORM = "package.module.function, of (answer, question), that returns a number"


class FunctionJudge:
    """A function of an answer and its question; the larger number wins.

    A pair for which it raises, or gives NaN or infinity, is counted and left without a verdict.
    """

    pointwise = True  # each answer is scored by itself

    def __init__(self, settings: JudgeSettings) -> None:
        """Find the function.

        Raises:
            ConfigError: There is none of this name.
        """
        self._name = str(settings.model)
        self._stop_after = settings.stop_after
        self._score = _find(self._name)

    @property
    def protocol(self) -> str:
        """How it judges."""
        return (
            f"the function {self._name}, each answer by itself; the larger score wins. The scale "
            "is its own, so no relative improvement is given"
        )

    @property
    def identity(self) -> Mapping[str, Any]:
        """What a verdict depends on: the name, and the file that the function stands in."""
        try:
            code = Path(inspect.getfile(inspect.unwrap(self._score))).read_bytes()
        except (TypeError, OSError):  # a builtin, or an object that is called
            code = b""
        return {"function": self._name, "code": hashlib.sha256(code).hexdigest()[:16]}

    def orders(self, comparison: Comparison) -> Sequence[str]:
        """Return one order: the function does not know of the other answer."""
        return (BASELINE,)

    def judge(
        self, asked: Sequence[tuple[Comparison, str]], *, worked_before: bool = False
    ) -> Iterator[Judged]:
        """Score one pair after the other.

        Raises:
            ConfigError: The first `stop_after` pairs all have no score, or one is no number.
        """
        works, n_failed = worked_before, 0
        for comparison, first in asked:
            try:
                one, two = (
                    self._number(answer, comparison.question)
                    for answer in comparison.in_order(first)
                )
            except _NoScoreError as error:
                n_failed += 1
                if not works and n_failed >= min(self._stop_after, len(asked)):
                    raise ConfigError(
                        f"judge.model {self._name} gave no score for the first {n_failed} pairs, "
                        f"last: {error} for {comparison.question!r:.200}; expected {_FORM}"
                    ) from error
                yield Judged(comparison, first, None, str(error))
                continue
            works = True
            verdict = Verdict(comparison.prompt_id, first, winner_of(one, two), (one, two))
            yield Judged(comparison, first, verdict)

    def _number(self, answer: str, question: str) -> float:
        try:
            score = self._score(answer, question)
        except Exception as error:
            raise _NoScoreError(f"it raised {type(error).__name__}: {error}") from error
        if not isinstance(score, Real):
            raise ConfigError(
                f"judge.model {self._name} returned {score!r:.100} ({type(score).__name__}); "
                f"expected {_FORM}"
            )
        value = float(score)
        if not math.isfinite(value):
            raise _NoScoreError(f"its score is {value}")
        return value


class _NoScoreError(Exception):
    """There is no score, in words that are counted."""


def _find(name: str) -> Callable[[str, str], Any]:
    """Return the function that a dotted path names; modules of the working folder are found too.

    Raises:
        ConfigError: There is none, or it cannot be called.
    """
    module, _, attribute = name.replace(":", ".").rpartition(".")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # whatever the file does when it is read
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(
            f"judge.model is {name!r}, which cannot be had ({said}); expected {_FORM}"
        ) from error
    if not callable(found):
        raise ConfigError(f"judge.model is {name!r}, which is no function; expected {_FORM}")
    function: Callable[[str, str], Any] = found
    return function
