"""The report of a judging run: JSON for programs, Markdown for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ifllm_hf.alignment.judge import statistics
from ifllm_hf.alignment.judge.statistics import Items
from ifllm_hf.alignment.judge.verdict import Comparison, Verdict
from ifllm_hf.metrics.core import Interval

Record = dict[str, Any]
_ONE_SIDED = 0.9
"""From this share of longer (or of shorter) answers on, equal length is an extrapolation."""

_FEW_READERS = 20
"""Below this many clusters, a percentile bootstrap covers less than it says."""


def compare(
    comparisons: Sequence[Comparison],
    verdicts: Sequence[Verdict],
    *,
    orders: int,
    pointwise: bool,
    draws: int,
    seed: int,
) -> tuple[Items, Record]:
    """Return the averaged questions of one candidate, and all that they say.

    Args:
        comparisons: The questions with both answers.
        verdicts: What the judge said.
        orders: Verdicts that a question needs.
        pointwise: The judge scores each answer by itself, on a scale without a zero: places do not
            matter, and a relative improvement means nothing.
        draws: Bootstrap draws.
        seed: Of the bootstrap.
    """
    items = statistics.average_orders(comparisons, verdicts, orders)
    record: Record = {"n": len(items), "workers": len(set(items.user_id.tolist()))}
    if not len(items):
        return items, record
    longer = items.candidate_chars - items.baseline_chars
    controlled = statistics.length_controlled_win_rate(
        items, draws=min(draws, statistics.LC_DRAWS), seed=seed
    )
    # A question judged in one order only would weigh the places unequally.
    whole = set(items.prompt_id.tolist())
    balanced = [v for v in verdicts if v.prompt_id in whole]
    bias = statistics.position_bias(comparisons, balanced, draws=draws, seed=seed)
    record |= {
        **_rates(items, pointwise, draws, seed),
        "length_controlled_win_rate": plain(controlled),
        "chars": {
            "baseline": float(items.baseline_chars.mean()),
            "candidate": float(items.candidate_chars.mean()),
            "candidate_longer": float((longer > 0).mean()),
            "candidate_shorter": float((longer < 0).mean()),
        },
        "by_baseline_length": {
            name: {
                "n": len(part),
                "workers": len(set(part.user_id.tolist())),
                "chars": [float(part.baseline_chars.min()), float(part.baseline_chars.max())],
                **_rates(part, pointwise, draws, seed),
            }
            for name, part in statistics.thirds_by_baseline_length(items).items()
        },
        "position": None
        if pointwise
        else {
            **{k: v for k, v in asdict(bias).items() if k not in ("first_wins", "score_gap")},
            "first_wins": plain(bias.first_wins),
            "score_gap": plain(bias.score_gap),
        },
    }
    return items, record


def ratios(
    found: Mapping[str, Items | Sequence[Items]], reference: str, *, draws: int, seed: int
) -> list[Record]:
    """Return the improvement of each candidate divided by that of `reference`."""
    out: list[Record] = []
    for name, items in found.items():
        if name == reference or not (has_scores(items) and has_scores(found[reference])):
            continue
        got = statistics.ratio_of_improvements(items, found[reference], draws=draws, seed=seed)
        out.append(
            {
                "candidate": name,
                "divided_by": reference,
                "ratio": plain(got.value),
                "undefined": got.undefined,
            }
        )
    return out


def has_scores(items: Items | Sequence[Items]) -> bool:
    """Tell whether every question was scored (by every judge of several models)."""
    return all(part.has_scores for part in ([items] if isinstance(items, Items) else items))


def ratio_lines(found: Sequence[Record]) -> list[str]:
    """Write what `ratios` found."""
    if not found:
        return []
    lines = ["", "## Improvements compared", ""]
    for r in found:
        said = f"undefined: {r['undefined']}" if r["ratio"] is None else shown(r["ratio"], ".2f")
        lines.append(f"* {r['candidate']} / {r['divided_by']}: {said}")
    return lines


def markdown(report: Record) -> str:
    """Write the report for people."""
    judge, prompts = report["judge"], report["prompts"]
    held_out = (
        "not held out by reader: training may have seen them"
        if prompts["fold"] is None
        else f"held out by reader (fold {prompts['fold']})"
    )
    saw = ", ".join(report["labellers_saw_readers"])
    warned = f"**The clicks of these readers trained the models that labelled for {saw}.**"
    lines = [
        "# How good are the answers?",
        "",
        f"Judge: {judge['protocol']}.",
        "",
        f"Questions: {prompts['n']} of {prompts['workers']} readers, {held_out}. "
        + _dropped("Rows left out", prompts["ledger"]["dropped"]),
        "",
        *([warned, ""] if saw else ()),
        f"Baseline: **{report['baseline']}**. Answers: {report['answers']}.",
        "",
        "What answered: "
        + "; ".join(f"{name}: {m['answered_by']}" for name, m in report["models"].items())
        + ".",
        *(
            f"\n**Baseline and {name} stand on weights of unlike precision: what quantisation does "
            "is part of this comparison.**"
            for name in report["unlike"]
        ),
        "",
        "Win rate counts a tie as half. Intervals: 95 %, bootstrap over readers, "
        f"{report['draws']} draws."
        + (
            f" They draw {prompts['workers']} readers, which makes them rough and rather narrow."
            if prompts["workers"] < _FEW_READERS
            else ""
        ),
        "",
        "| candidate | n | readers | wins / ties / losses | win rate | at equal length | "
        "score: before | after | rise | relative improvement |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, r in report["candidates"].items():
        if not r["n"]:
            lines.append(f"| {name} | 0 | 0 | | | | | | | |")
            continue
        lines.append(
            f"| {name} | {r['n']} | {r['workers']} | {r['wins']} / {r['ties']} / {r['losses']} | "
            f"{shown(r['win_rate'])} | {shown(r['length_controlled_win_rate'])} | "
            f"{shown(r['baseline_score'], '.2f')} | {shown(r['candidate_score'], '.2f')} | "
            f"{shown(r['score_rise'], '+.2f')} | "
            f"{shown(r['relative_improvement'], '+.1%')} |"
        )
    lines += [
        "",
        "At equal length: logistic regression of the win on the difference of log lengths, read "
        "off at a difference of 0 "
        "(`ifllm_hf.alignment.judge.statistics.length_controlled_win_rate`); at most "
        f"{statistics.LC_DRAWS} draws.",
    ]
    for name, r in report["candidates"].items():
        longer, shorter = (r["n"] and r["chars"][f"candidate_{s}"] for s in ("longer", "shorter"))
        if max(longer, shorter) > _ONE_SIDED:
            lines.append(
                f"For {name} that is an extrapolation: {longer:.0%} of its answers are longer than "
                f"the baseline's and {shorter:.0%} shorter."
            )
    for name, r in report["candidates"].items():
        if without_room := r["answers"]["prompt_too_long"]:
            lines.append(
                f"{without_room} questions leave {name} no room for an answer and were left out."
            )
    lines += ratio_lines(report["ratios"])
    lines += ["", *_thirds(report), *_position(report), *_cost(judge)]
    lines += [
        "## Versions",
        "",
        ", ".join(f"{name} {number}" for name, number in report["versions"].items()),
        "",
    ]
    return "\n".join(lines)


def _rates(items: Items, pointwise: bool, draws: int, seed: int) -> Record:
    def mean(values: Any) -> Record | None:
        return plain(statistics.mean_over_workers(values, items.user_id, draws=draws, seed=seed))

    scored = items.has_scores
    improvement = (
        statistics.relative_improvement(items, draws=draws, seed=seed)
        if scored and not pointwise
        else None
    )
    return {
        "wins": int((items.win > 0.5).sum()),
        "ties": int((items.win == 0.5).sum()),
        "losses": int((items.win < 0.5).sum()),
        "win_rate": mean(items.win),
        "baseline_score": mean(items.baseline) if scored else None,
        "candidate_score": mean(items.candidate) if scored else None,
        "score_rise": mean(items.candidate - items.baseline) if scored else None,
        "relative_improvement": plain(improvement),
    }


def plain(interval: Interval | None) -> Record | None:
    """Return an interval as JSON types; an end that does not exist is null."""
    if interval is None:
        return None
    ends = {"low": interval.low, "high": interval.high}
    return {
        "estimate": interval.estimate,
        **{k: v if np.isfinite(v) else None for k, v in ends.items()},
        "level": interval.level,
    }


def shown(got: Record | None, form: str = ".3f") -> str:
    """Write an interval as text; a dash where there is none."""
    if got is None:
        return "–"
    if got["low"] is None:
        return f"{got['estimate']:{form}} (one reader: no interval)"
    return f"{got['estimate']:{form}} [{got['low']:{form}}, {got['high']:{form}}]"


def _dropped(what: str, reasons: Mapping[str, int]) -> str:
    if not reasons:
        return f"{what}: none."
    return f"{what}: " + "; ".join(f"{n} {why}" for why, n in reasons.items()) + "."


def _thirds(report: Record) -> list[str]:
    lines = [
        "## By length of the baseline's answer",
        "",
        "| candidate | third | n | readers | characters | win rate | relative improvement |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, r in report["candidates"].items():
        for third, part in r.get("by_baseline_length", {}).items():
            low, high = part["chars"]
            lines.append(
                f"| {name} | {third} | {part['n']} | {part['workers']} | {low:.0f}-{high:.0f} | "
                f"{shown(part['win_rate'])} | {shown(part['relative_improvement'], '+.1%')} |"
            )
    return [*lines, ""]


def _position(report: Record) -> list[str]:
    lines = ["## Does the judge look at places?", ""]
    for name, r in report["candidates"].items():
        if not r["n"]:
            continue
        position = r["position"]
        if position is None:
            lines.append(f"* {name}: each answer was judged by itself.")
            continue
        said = (
            "nothing was decided"
            if position["first_wins"] is None
            else f"the answer shown first wins {shown(position['first_wins'])} of decided verdicts"
        )
        if position["first_wins"] and position["first_wins"]["low"] is not None:
            said += "; **bias found**" if position["found"] else "; no bias found"
        if position["same_winner"] is not None:
            said += f"; the same winner in both orders in {position['same_winner']:.0%}"
        if position["contradictory"]:
            said += f"; {position['contradictory']:.1%} of verdicts contradict their own scores"
        lines.append(f"* {name}: {said}.")
    return [*lines, ""]


def _cost(judge: Record) -> list[str]:
    lines = ["## What judging took", ""]
    usage = judge["usage"]
    if usage["requests"]:
        cost = (
            "cost not known (no prices given)"
            if judge["cost"] is None
            else f"cost {judge['cost']:.4f} at {judge['input_price']:g} and "
            f"{judge['output_price']:g} for a million tokens read and written"
        )
        lines.append(
            f"{usage['requests']} requests, {usage['malformed']} malformed answers, "
            f"{usage['input_tokens']} tokens read, {usage['output_tokens']} written; {cost}."
        )
    lines.append(_dropped("Pairs without a verdict in every order", judge["failed"]))
    return [*lines, ""]
