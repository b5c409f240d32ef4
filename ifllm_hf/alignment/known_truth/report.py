"""The report of a grid, from its lines alone: tables in `report.md` and a figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ifllm_hf.alignment.known_truth.cells import (
    ALL,
    ALL_GAZE_MOUSE,
    COIN,
    EXPLICIT,
    PERMUTED,
    SOURCES,
    SWAPPED,
)
from ifllm_hf.alignment.known_truth.figures import rise_figure
from ifllm_hf.alignment.known_truth.release_place import (
    AGREEMENT,
    SHARE,
    ReleasePlace,
    release_place,
)
from ifllm_hf.alignment.known_truth.results_file import Record
from ifllm_hf.alignment.known_truth.rises import RiseRatio, Rises, Setting
from ifllm_hf.files import whole_file, write_whole
from ifllm_hf.metrics.core import Interval
from ifllm_hf.plot.canvas import file_style, save_png

FEW_PAIRS = 200
_NAMES = {
    "explicit": "clicks",
    "text": "text alone",
    "gaze+mouse": "behaviour alone",
    "reward": "behaviour and length",
    "both": "clicks, weighed",
    "all": "clicks, behaviour and length elsewhere",
    "all-gaze+mouse": "clicks, behaviour alone elsewhere",
    "oracle": "the truly better answer",
}
_BROKEN = {
    SWAPPED: "chosen and rejected exchanged",
    COIN: "chosen and rejected by a coin",
    PERMUTED: "behaviour of other readers",
}
_COMMAND = "python recipes/known_truth.py --report"


def write_report(records: Sequence[Record], folder: Path) -> Path:
    """Write `report.md` and `rise.png` of lines of one family; return the former.

    Raises:
        OutputError: A file cannot be written.
    """
    rises = Rises(records)
    write_whole(folder / "report.md", as_markdown(records, rises))
    with whole_file(folder / "rise.png") as aside, file_style():
        save_png(rise_figure(rises), aside, dpi=110)
    return folder / "report.md"


def as_markdown(records: Sequence[Record], rises: Rises | None = None) -> str:
    """Return the whole report of lines of one family."""
    rises = rises or Rises(records)
    parts = [
        _head(records),
        _rises_table(rises),
        _answer(rises),
        _place(rises),
        _reliability(rises),
        _losses(rises),
        _broken(rises),
        _seconds(records),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def explicit_of(setting: Setting) -> Setting:
    """Return clicks alone, at the share of a setting."""
    return (EXPLICIT, setting[1], None, "cdpo", None)


def _head(records: Sequence[Record]) -> str:
    seeds = sorted({record["seed"] for record in records})
    readers = {(r["seed"], name) for r in records for name in r["readers"]}
    answers = {r["seed"]: sum(sums[0] for sums in r["readers"].values()) for r in records}
    before = {
        r["seed"]: sum(sums[1] for sums in r["readers"].values()) / answers[r["seed"]]
        for r in records
    }
    mean = sum(before.values()) / len(before)
    used = sorted({f"{k} {v}" for r in records for k, v in r["versions"].items()})
    odd = [
        f"{100 * sum(r['parts'][when]['with_nonsense'] for r in records) / total:.1f} % {said}"
        for when, said in (("before", "of the base model's answers"), ("after", "after training"))
        if (total := sum(r["parts"][when]["answers"] for r in records))
    ]
    return (
        f"# Known truth: {len(records)} cells of {len(seeds)} "
        f"{'seed' if len(seeds) == 1 else 'seeds'}\n\n"
        f"Written by `{_COMMAND}` from the lines of `results.jsonl`. Base model: "
        f"{records[0]['base']}; its answers have a mean true score of {mean:.2f} (1 to 10; "
        f"{sum(answers.values())} answers to the questions of {len(readers)} held-out readers, "
        f"seeds {', '.join(map(str, seeds))}). "
        "Answers with a sentence that cannot be understood are scored as they are: "
        f"{', '.join(odd)}. Intervals: 95 %, bootstrap over seeds and held-out readers, paired; "
        "one base model, whose variance is not in them. With one seed they are of its readers "
        f"alone, with a few they are too narrow.\n\nVersions: {', '.join(used)}."
    )


def _said(found: Interval | None, sign: str = "") -> str:
    if found is None:
        return ""
    return f"{found.estimate:{sign}.2f} [{found.low:.2f}, {found.high:.2f}]"


def _ratio_said(ratio: RiseRatio) -> str:
    return "not defined" if ratio.value is None else _said(ratio.value)


def _plain(rises: Rises) -> Iterator[Setting]:
    """Yield the settings of the table: whole lines, the usual loss; by share, source, strength."""
    order = {source: k for k, source in enumerate(SOURCES)}
    plain = [s for s in rises.by_setting if s[3] == "cdpo" and s[4] is None]
    yield from sorted(plain, key=lambda s: (s[1] is None, s[1] or 0, order[s[0]], s[2] or 0))


def _row(rises: Rises, setting: Setting, first: str) -> str:
    versus = explicit_of(setting)
    labels = rises.labels(setting)
    cells = [
        first,
        f"{labels['seeds']:.0f}",
        f"{labels['pairs']:.0f}",
        f"{labels['right']:.2f}",
        _said(rises.rise(setting), "+"),
    ]
    if setting == versus or not rises.seeds(setting, versus):
        cells += ["", ""]
    else:
        cells += [
            _said(rises.difference(setting, versus), "+"),
            _ratio_said(rises.ratio(setting, versus)),
        ]
    return f"| {' | '.join(cells)} |"


_TITLES = "seeds | pairs | right | rise | less clicks alone | ratio to clicks alone"


def _rises_table(rises: Rises) -> str:
    lines = [
        "## Rise of the true score",
        "",
        f"| clicks | labels | strength | {_TITLES} |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for setting in _plain(rises):
        share = "nobody asked" if setting[1] is None else f"{setting[1]:.0%}"
        strength = "" if setting[2] is None else f"{setting[2]:g}"
        lines.append(_row(rises, setting, f"{share} | {_NAMES[setting[0]]} | {strength}"))
    few = [s for s in _plain(rises) if rises.labels(s)["pairs"] < FEW_PAIRS]
    lines += [
        "",
        "*Right*: of the training pairs whose answers have different true scores, those that name "
        "the better one. The ratio is not defined where the rise of clicks alone is not surely "
        "above 0.",
    ]
    if few:
        lines[-1] += f" Cells with fewer than {FEW_PAIRS} pairs barely train: read them with care."
    return "\n".join(lines)


def _answer(rises: Rises) -> str:
    lines = []
    for strength in (0.75, 0.95):
        for source in (ALL, ALL_GAZE_MOUSE):
            setting: Setting = (source, SHARE, strength, "cdpo", None)
            versus = explicit_of(setting)
            if not rises.seeds(setting, versus):
                continue
            ratio = rises.ratio(setting, versus)
            said = ratio.undefined if ratio.value is None else f"ratio {_said(ratio.value)}"
            lines.append(
                f"* strength {strength:g}, {_NAMES[source]}: "
                f"{_said(rises.difference(setting, versus), '+')} more than clicks alone; {said}"
            )
            lines += _of_behavior(rises, setting)
            lines += _less_coins(rises, setting, versus)
    if not lines:
        return ""
    title = f"## A click on {SHARE:.0%} of the turns: does behaviour add to it?"
    return "\n".join([title, "", *lines])


def _of_behavior(rises: Rises, setting: Setting) -> Iterator[str]:
    """Yield how much more it is than with labels that behaviour says nothing about."""
    for other in rises.by_setting:
        if other[:2] == setting[:2] and other[4] == PERMUTED:
            found = rises.difference(setting, other)
            if found is not None:
                yield f"  * {_said(found, '+')} more than with {_BROKEN[str(other[4])]}"


def _less_coins(rises: Rises, setting: Setting, versus: Setting) -> Iterator[str]:
    """Yield the comparison after what a coin does with as many pairs is taken off both."""
    coins = {s[:2]: s for s in rises.by_setting if s[4] == COIN}
    if {setting[:2], versus[:2]} <= coins.keys():
        above, below = coins[setting[:2]], coins[versus[:2]]
        ratio = rises.ratio(setting, versus, (above, below))
        said = ratio.undefined if ratio.value is None else f"ratio {_said(ratio.value)}"
        found, clicks = rises.difference(setting, above), rises.difference(versus, below)
        yield (
            f"  * less what a coin does with as many pairs: {_said(found, '+')}, of clicks alone "
            f"{_said(clicks, '+')}; {said}"
        )


def _place(rises: Rises) -> str:
    lines = []
    for source, agreement in AGREEMENT.items():
        found = release_place(rises, source)
        if found is None:
            continue
        known = ", ".join(
            f"{a:.3f} at {s:g}" for s, a in zip(found.strengths, found.agreement, strict=True)
        )
        where, low, high = (
            _strength(found, level) for level in (found.place, found.low, found.high)
        )
        lines.append(
            f"* {_NAMES[source]}: on the release {agreement[0]:.3f} [{agreement[1]:.3f}, "
            f"{agreement[2]:.3f}], here {known}. The release stands {where}; at the ends of its "
            f"interval: {low}, {high}."
        )
    if not lines:
        return ""
    return "\n".join(
        [
            "## Where the public release stands",
            "",
            f"With {SHARE:.0%} of the clicks kept, how often labels without a click name the one "
            "that was hidden (release, docs/label.md) or that the reader would make (here), by the "
            "same labelling model:",
            "",
            *lines,
            "",
            "By behaviour alone is the better measure of its strength: lengths tell something else "
            "on the release than here. Either places its labels, not its readers: nobody knows "
            "what these like.",
        ]
    )


def _strength(found: ReleasePlace, place: float) -> str:
    if np.isinf(place):
        return f"below {found.strengths[0]:g}" if place < 0 else f"above {found.strengths[-1]:g}"
    return f"at {place:.2f}"


def _reliability(rises: Rises) -> str:
    lines = []
    for setting in _plain(rises):
        if setting[0] not in (ALL, ALL_GAZE_MOUSE) or setting[1] != SHARE:
            continue
        for one in rises.reliability(setting):
            n = one["pairs"]
            right = f"{one['right'] / one['decided']:.2f}" if one["decided"] else ""
            width = f"{one['low']:.1f}-{one['low'] + 0.1:.1f}"
            lines.append(
                f"| {_NAMES[setting[0]]} | {setting[2]:g} | {one['origin']} | {width} | "
                f"{n} | {one['confidence'] / n:.2f} | {one['liked'] / n:.2f} | {right} |"
            )
    if not lines:
        return ""
    return "\n".join(
        [
            f"## Are confidences right? A click on {SHARE:.0%} of the turns",
            "",
            "| labels | strength | origin | confidence | pairs | mean | liked | truly better |",
            "|---|---|---|---|---|---|---|---|",
            *lines,
            "",
            "A confidence is the probability that the reader likes the chosen answer: *liked* "
            "should be the mean confidence. *Truly better* is lower, since readers like a worse "
            "answer now and then.",
        ]
    )


def _of(setting: Setting) -> str:
    parts = [_NAMES[setting[0]]]
    parts += [] if setting[1] is None else [f"{setting[1]:.0%} clicks"]
    parts += [] if setting[2] is None else [f"{setting[2]:g}"]
    return ", ".join(parts)


def _losses(rises: Rises) -> str:
    others = {s[:3] for s in rises.by_setting if s[3] != "cdpo" and s[4] is None}
    settings = [s for s in rises.by_setting if s[:3] in others and s[4] is None]
    if not settings:
        return ""
    rows = []
    for setting in sorted(settings, key=lambda s: (str(s[:3]), s[3])):
        usual: Setting = (*setting[:3], "cdpo", None)
        less = "" if setting == usual else _said(rises.difference(setting, usual), "+")
        rows.append(
            f"| {_of(setting)} | {setting[3]} | "
            f"{len(rises.seeds(setting))} | {_said(rises.rise(setting), '+')} | {less} |"
        )
    return "\n".join(
        [
            "## The same labels, other losses",
            "",
            "| labels | loss | seeds | rise | less cdpo |",
            "|---|---|---|---|---|",
            *rows,
        ]
    )


def _broken(rises: Rises) -> str:
    rows = [
        f"| {_BROKEN[str(s[4])]} | {_of(s)} | "
        f"{len(rises.seeds(s))} | {rises.labels(s)['right']:.2f} | {_said(rises.rise(s), '+')} | "
        f"{_said(rises.difference(s, (*s[:3], 'cdpo', None)), '+')} |"
        for s in sorted((s for s in rises.by_setting if s[4] is not None), key=str)
    ]
    if not rows:
        return ""
    return "\n".join(
        [
            "## Lines broken on purpose",
            "",
            "| what is broken | labels | seeds | right | rise | less the whole line |",
            "|---|---|---|---|---|---|",
            *rows,
        ]
    )


def _seconds(records: Sequence[Record]) -> str:
    steps = records[0]["seconds"]
    mean = {s: sum(r["seconds"][s] for r in records) / len(records) for s in steps}
    return "Seconds of a cell, mean: " + ", ".join(f"{s} {v:.0f}" for s, v in mean.items()) + "."
