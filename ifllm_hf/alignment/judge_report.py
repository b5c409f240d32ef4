"""The report of a judging run: JSON for programs, Markdown and a figure for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from ifllm_hf.alignment import judge_statistics as statistics
from ifllm_hf.alignment.judge_statistics import Items
from ifllm_hf.alignment.judge_verdict import Comparison, Verdict
from ifllm_hf.metrics.core import Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Record = dict[str, Any]
_ONE_SIDED = 0.9
"""From this share of longer (or of shorter) answers on, equal length is an extrapolation."""


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
    bias = statistics.position_bias(comparisons, verdicts, draws=draws, seed=seed)
    record |= {
        **_rates(items, pointwise, draws, seed),
        "length_controlled_win_rate": _plain(controlled),
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
            "first_wins": _plain(bias.first_wins),
            "score_gap": _plain(bias.score_gap),
        },
    }
    return items, record


def ratios(found: Mapping[str, Items], reference: str, *, draws: int, seed: int) -> list[Record]:
    """Return the improvement of each candidate divided by that of `reference`."""
    out: list[Record] = []
    for name, items in found.items():
        if name == reference or not (items.has_scores and found[reference].has_scores):
            continue
        got = statistics.ratio_of_improvements(items, found[reference], draws=draws, seed=seed)
        out.append(
            {
                "candidate": name,
                "divided_by": reference,
                "ratio": _plain(got.value),
                "undefined": got.undefined,
            }
        )
    return out


def markdown(report: Record) -> str:
    """Write the report for people."""
    judge, prompts = report["judge"], report["prompts"]
    lines = [
        "# How good are the answers?",
        "",
        f"Judge: {judge['protocol']}.",
        "",
        f"Questions: {prompts['n']} of {prompts['workers']} readers, {_held_out(prompts)}. "
        + _dropped("Rows left out", prompts["ledger"]["dropped"]),
        "",
        f"Baseline: **{report['baseline']}**. Answers: {report['answers']}.",
        "",
        "Win rate counts a tie as half. Intervals: 95 %, bootstrap over readers, "
        f"{report['draws']} draws.",
        "",
        "| candidate | n | readers | wins / ties / losses | win rate | at equal length | "
        "score: before | after | relative improvement |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, r in report["candidates"].items():
        if not r["n"]:
            lines.append(f"| {name} | 0 | 0 | | | | | | |")
            continue
        lines.append(
            f"| {name} | {r['n']} | {r['workers']} | {r['wins']} / {r['ties']} / {r['losses']} | "
            f"{_shown(r['win_rate'])} | {_shown(r['length_controlled_win_rate'])} | "
            f"{_shown(r['baseline_score'], '.2f')} | {_shown(r['candidate_score'], '.2f')} | "
            f"{_shown(r['relative_improvement'], '+.1%')} |"
        )
    lines += [
        "",
        "At equal length: logistic regression of the win on the difference of log lengths, read "
        "off at a difference of 0 "
        "(`ifllm_hf.alignment.judge_statistics.length_controlled_win_rate`); at most "
        f"{statistics.LC_DRAWS} draws.",
    ]
    for name, r in report["candidates"].items():
        if r["n"] and max(_one_sided(r["chars"])) > _ONE_SIDED:
            lines.append(
                f"For {name} that is an extrapolation: {r['chars']['candidate_longer']:.0%} of its "
                f"answers are longer than the baseline's and {r['chars']['candidate_shorter']:.0%} "
                "shorter."
            )
    for name, r in report["candidates"].items():
        if without_room := r["answers"]["prompt_too_long"]:
            lines.append(
                f"{without_room} questions leave {name} no room for an answer and were left out."
            )
    if report["ratios"]:
        lines += ["", "## Improvements compared", ""]
        for r in report["ratios"]:
            said = (
                f"undefined: {r['undefined']}" if r["ratio"] is None else _shown(r["ratio"], ".2f")
            )
            lines.append(f"* {r['candidate']} / {r['divided_by']}: {said}")
    lines += ["", *_thirds(report), *_position(report), *_cost(judge)]
    lines += [
        "## Versions",
        "",
        ", ".join(f"{name} {number}" for name, number in report["versions"].items()),
        "",
    ]
    return "\n".join(lines)


def figure(report: Record) -> Figure:
    """Draw win rates, at equal length too, relative improvements, and thirds by length."""
    from ifllm_hf.benchmark.figures import blank_figure

    shown = {name: r for name, r in report["candidates"].items() if r["n"]}
    names = list(shown)[::-1]
    canvas, axes = blank_figure(13.0, 1.6 + 0.55 * max(len(names), 2), columns=3)
    win, better, thirds = axes
    for y, name in enumerate(names):
        r = shown[name]
        _bar(win, y + 0.13, r["win_rate"], "#1f6fb2", "all" if not y else None)
        equal = r["length_controlled_win_rate"]
        _bar(win, y - 0.13, equal, "#c27b22", "at equal length" if not y else None)
        _bar(better, y, r["relative_improvement"], "#1f6fb2", None)
        for k, (part, colour) in enumerate(
            zip(("short", "middling", "long"), ("#9ecae1", "#4292c6", "#084594"), strict=True)
        ):
            got = r["by_baseline_length"].get(part)
            _bar(thirds, y + 0.2 - 0.2 * k, got and got["win_rate"], colour, None if y else part)
    for axis, title, line in (
        (win, "win rate (ties half)", 0.5),
        (better, "relative improvement of the score", 0.0),
        (thirds, "win rate by length of the baseline's answer", 0.5),
    ):
        axis.axvline(line, color="black", lw=0.8, ls=":")
        axis.set_ylim(-0.6, len(names) - 0.4)
        axis.set_yticks(range(len(names)), names if axis is win else [""] * len(names))
        axis.set_title(title, fontsize=10)
    if not any(r["relative_improvement"] for r in shown.values()):
        better.text(0.5, 0.5, "not defined for this judge", transform=better.transAxes, ha="center")
        better.set_xticks([])
    better.xaxis.set_major_formatter(lambda x, position: f"{x:+.0%}")
    for axis in (win, thirds):
        axis.legend(fontsize=8, loc="best")
    canvas.suptitle(
        f"{report['prompts']['n']} questions of {report['prompts']['workers']} readers against "
        f"{report['baseline']}; 95 % over readers",
        fontsize=10,
    )
    return canvas


def _bar(axis: Any, y: float, got: Record | None, colour: str, label: str | None) -> None:
    if got is None:
        return
    if got["low"] is not None:
        axis.plot([got["low"], got["high"]], [y, y], color=colour, lw=2)
    axis.plot([got["estimate"]], [y], "o", color=colour, ms=5, label=label)


def _rates(items: Items, pointwise: bool, draws: int, seed: int) -> Record:
    def mean(values: Any) -> Record | None:
        return _plain(statistics.mean_over_workers(values, items.user_id, draws=draws, seed=seed))

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
        "relative_improvement": _plain(improvement),
    }


def _plain(interval: Interval | None) -> Record | None:
    """Return an interval as JSON types; an end that does not exist is null."""
    if interval is None:
        return None
    ends = {"low": interval.low, "high": interval.high}
    return {
        "estimate": interval.estimate,
        **{k: v if np.isfinite(v) else None for k, v in ends.items()},
        "level": interval.level,
    }


def _shown(got: Record | None, form: str = ".3f") -> str:
    if got is None:
        return "–"
    if got["low"] is None:
        return f"{got['estimate']:{form}} (one reader: no interval)"
    return f"{got['estimate']:{form}} [{got['low']:{form}}, {got['high']:{form}}]"


def _held_out(prompts: Record) -> str:
    if prompts["fold"] is None:
        return "not held out by reader: training may have seen them"
    return f"held out by reader (fold {prompts['fold']})"


def _dropped(what: str, reasons: Mapping[str, int]) -> str:
    if not reasons:
        return f"{what}: none."
    return f"{what}: " + "; ".join(f"{n} {why}" for why, n in reasons.items()) + "."


def _one_sided(chars: Record) -> tuple[float, float]:
    return chars["candidate_longer"], chars["candidate_shorter"]


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
                f"{_shown(part['win_rate'])} | {_shown(part['relative_improvement'], '+.1%')} |"
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
            else f"the answer shown first wins {_shown(position['first_wins'])} of decided verdicts"
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
