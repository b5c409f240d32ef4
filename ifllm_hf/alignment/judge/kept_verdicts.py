"""Verdicts in a file: what is there is neither asked nor paid for again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from ifllm_hf.alignment.judge.verdict import (
    Comparison,
    Judge,
    Judged,
    Usage,
    Verdict,
    content_key,
)
from ifllm_hf.append_file import AppendFile
from ifllm_hf.errors import DataError
from ifllm_hf.progress import progress_bar

NOT_YET = "not judged yet"


class KeptVerdicts:
    """What one judge said, under hashes of all that a verdict depends on; use with `with`.

    A record holds the verdict, or why there is none (`failed`; `refused` where it is the question's
    own fault), and what all requests for it took, those of earlier runs included.
    """

    def __init__(self, path: Path | str, judge: Judge, *, ask_again: bool = False) -> None:
        """Name the file.

        Args:
            path: The `.jsonl` file; other judges may have verdicts in it.
            judge: Who is asked.
            ask_again: Whether what was refused in an earlier run is asked again.
        """
        self._file = AppendFile(path)
        self._judge, self._ask_again = judge, ask_again
        self._identity = dict(judge.identity)
        # What came in this run without being worth a record, and what was asked in it.
        self._failed: dict[str, str | None] = {}
        self._works = False

    def __enter__(self) -> Self:
        """Open the file.

        Raises:
            OutputError: Another process has it, or it cannot be written.
            DataError: A line of it is not readable.
        """
        self._file.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        self._file.__exit__(*error)

    def ask(self, comparisons: Sequence[Comparison], title: str, progress: bool) -> None:
        """Have judged what was not, and keep each verdict as soon as it is known.

        Raises:
            IFLLMError: As the judge, or the file, has it; what came before is kept.
        """
        asked = {
            self._key(c, first): (c, first) for c in comparisons for first in self._judge.orders(c)
        }
        todo = []
        for key, pair in asked.items():
            record = self._record(key)
            self._works |= bool(record and record["verdict"])
            if key not in self._failed and not (record and self._settled(record)):
                todo.append(pair)
        with progress_bar(len(todo), title, progress and len(todo) > 0) as bar:
            for got in self._judge.judge(todo, worked_before=self._works):
                self._keep(got)
                bar.update(1)

    def outcome(self, comparisons: Sequence[Comparison]) -> list[Judged]:
        """Return what is known of every question and order."""
        return [self._judged(c, first) for c in comparisons for first in self._judge.orders(c)]

    def _key(self, comparison: Comparison, first: str) -> str:
        return content_key(comparison, first, self._identity)

    def _settled(self, record: Mapping[str, Any]) -> bool:
        refused = record.get("refused", False) and not self._ask_again
        return record["verdict"] is not None or refused

    def _keep(self, got: Judged) -> None:
        key = self._key(got.comparison, got.first)
        self._works |= got.verdict is not None
        if got.verdict is None:
            self._failed[key] = got.failed
            if not (got.refused or got.usage.requests):
                return  # it cost nothing and may pass
        earlier = self._record(key)
        # What failed earlier was paid for too.
        usage = Usage(**earlier["usage"]) if earlier else Usage()
        usage.add(got.usage)
        self._file.add(
            {
                "key": key,
                "verdict": asdict(got.verdict) if got.verdict else None,
                "failed": got.failed,
                **({"refused": True} if got.refused else {}),
                "usage": asdict(usage),
            }
        )

    def _judged(self, comparison: Comparison, first: str) -> Judged:
        key = self._key(comparison, first)
        record = self._record(key)
        if record is None:
            return Judged(comparison, first, None, self._failed.get(key, NOT_YET))
        said, usage = record["verdict"], Usage(**record["usage"])
        if said is None:
            failed = self._failed.get(key, record["failed"])
            return Judged(comparison, first, None, failed, usage, record.get("refused", False))
        scores = said["scores"] and tuple(said["scores"])  # JSON knows lists alone
        verdict = Verdict(**{**said, "scores": scores, "prompt_id": comparison.prompt_id})
        return Judged(comparison, first, verdict, None, usage)

    def _record(self, key: str) -> dict[str, Any] | None:
        """Return a record, None if there is none.

        Raises:
            DataError: It is not one of ours.
        """
        record = self._file.records.get(key)
        if record is None:
            return None
        try:
            if (said := record["verdict"]) is not None:
                Verdict(**said)
            Usage(**record["usage"])
            record["failed"]
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{self._file.path}: the record {key} is no verdict ({type(error).__name__}: "
                f"{error}); remove its line, or name another file as cache"
            ) from error
        return record
