"""The audit as a text: a few lines for each page, and what its numbers are."""

from __future__ import annotations

from collections.abc import Mapping

from ifllm_hf.benchmark.audit.run import FEWEST_READERS, Audit, PageAudit
from ifllm_hf.benchmark.report.report import shown_interval, shown_number
from ifllm_hf.metrics import core

_MEANING = (
    "Accuracies: over pairs; in brackets 95 % over readers, for a single look. Gain: the mean over "
    "readers, each with their first sitting, of how much more often length with behaviour is right "
    "than length alone; its interval holds at every look with 95 %{pages}, so look as often as you "
    "like. The model that reads behaviour has learned nothing from these readers."
)
_KNOWN = (
    " {known} of them belong to the data on which its idea was found: for those the gain is no "
    "fresh evidence."
)
_MADE_UP = "\n\nThe numbers are MADE UP: nobody has read these answers."


def audit_text(audit: Audit) -> str:
    """Return what the terminal shows."""
    several = len(audit.pages) > 1
    pages = [_page(page, several) for page in audit.pages]
    together = f" for all {len(pages)} pages together" if several else ""
    known = sum(page.known for page in audit.pages)
    meaning = _MEANING.format(pages=together) + (_KNOWN.format(known=known) if known else "")
    return "\n\n".join([*pages, meaning]) + _MADE_UP * audit.made_up


def _page(page: PageAudit, several: bool) -> str:
    gain = page.gain
    estimate = shown_number(gain.estimate, sign=True) if gain.n else "-"
    ends = [shown_number(end, sign=True) for end in (gain.low, gain.high)]
    of = f"{gain.n} readers, {page.used.kept} pairs{_left_out(page.used.dropped)}"
    lines = [
        ("turns", f"{page.turns}, of them {page.pairs.seen} with two answers"),
        (
            "labelled pairs",
            f"{page.pairs.kept} of {page.readers} readers{_left_out(page.pairs.dropped)}",
        ),
        ("leak probe", _leaks(page)),
        ("length alone", _accuracy(page.length)),
        ("length with behaviour", _accuracy(page.behavior)),
        ("gain over length", f"{estimate} [{ends[0]}, {ends[1]}] at any look; {of}"),
        ("signal?", f"{page.verdict}: {page.why}"),
    ]
    wide = max(len(name) for name, _ in lines)
    said = [f"{name.ljust(wide)}  {what}" for name, what in lines]
    if several or page.page is not None:
        said.insert(0, f"page {'not known' if page.page is None else page.page}")
    return "\n".join(said)


def _left_out(dropped: Mapping[str, int]) -> str:
    said = ", ".join(f"{n} {why}" for why, n in dropped.items())
    return f" (left out: {said})" if said else ""


def _leaks(page: PageAudit) -> str:
    if not page.leaks:
        return f"not run: {page.readers} readers with labels, it needs {FEWEST_READERS}"
    said = [
        f"{shown_interval(leak, 'auc', 'auc_low', 'auc_high')} ({leak['learner']})"
        for leak in page.leaks
    ]
    return f"AUC {', '.join(said)}; chance is .5"


def _accuracy(found: core.Interval) -> str:
    record = {"accuracy": found.estimate, "low": found.low, "high": found.high}
    return shown_interval(record, "accuracy", "low", "high")
