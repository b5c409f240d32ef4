"""The report of waves, from their lines alone: tables in `waves.md`, and a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ifllm_hf.alignment.judge.report import shown
from ifllm_hf.alignment.known_truth.cells import EXPLICIT
from ifllm_hf.alignment.known_truth.results_file import Record
from ifllm_hf.alignment.known_truth.rises import Rises, Setting
from ifllm_hf.alignment.known_truth.waves.figures import wave_figure
from ifllm_hf.files import whole_file, write_whole
from ifllm_hf.metrics.core import Interval
from ifllm_hf.plot.canvas import file_style, save_png

_COMMAND = "python recipes/known_truth.py --config recipes/known-truth-waves.yaml --report"


def write_report(records: Sequence[Record], folder: Path) -> Path:
    """Write `waves.md` and `waves.png` of lines of one family; return the former.

    Raises:
        OutputError: A file cannot be written.
    """
    rises = rises_of(records)
    write_whole(folder / "waves.md", as_markdown(records, rises))
    with whole_file(folder / "waves.png") as aside, file_style():
        save_png(wave_figure(rises), aside, dpi=110)
    return folder / "waves.md"


def rises_of(records: Sequence[Record]) -> Rises:
    """Return rises by arm and wave, arms in the order of the lines."""
    return Rises(records, by=lambda record: (record["arm"], record["wave"]))


def as_markdown(records: Sequence[Record], rises: Rises | None = None) -> str:
    """Return the whole report of lines of one family."""
    rises = rises or rises_of(records)
    parts = [
        _head(records), _by_wave(rises), _against_longer(rises), _stops(records), _seconds(records)
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def clicks_alone(rises: Rises) -> str | None:
    """Return the first arm that learns from clicks alone, by the recipe's own settings."""
    for setting, of_seeds in rises.by_setting.items():
        record = next(iter(of_seeds.values()))
        if record["source"] == EXPLICIT and not record["settings"]:
            return str(setting[0])
    return None


def _head(records: Sequence[Record]) -> str:
    seeds = sorted({record["seed"] for record in records})
    readers = {r["seed"]: r["readers"] for r in records}
    answers = {s: sum(sums[0] for sums in of.values()) for s, of in readers.items()}
    before = [sum(sums[1] for sums in of.values()) / answers[s] for s, of in readers.items()]
    used = sorted({f"{k} {v}" for r in records for k, v in r["versions"].items()})
    arms = {r["arm"]: r for r in records}
    return (
        f"# Known truth in waves: {len(records)} waves of {len(arms)} arms, {len(seeds)} "
        f"{'seed' if len(seeds) == 1 else 'seeds'}\n\n"
        f"Written by `{_COMMAND}` from the lines of `waves.jsonl`. Base model: "
        f"{records[0]['base']}, mean true score {sum(before) / len(before):.2f} ("
        f"{sum(answers.values())} answers to the questions of {sum(map(len, readers.values()))} "
        f"held-out readers of all waves, seeds {', '.join(map(str, seeds))}; each policy "
        "answers the same). Intervals: 95 %, bootstrap over seeds and held-out readers, paired; "
        "with a few seeds they are too narrow.\n\n"
        + "\n".join(_described(record) for record in arms.values())
        + f"\n\nVersions: {', '.join(used)}."
    )


def _described(record: Record) -> str:
    settings = "".join(f", {name} {value}" for name, value in record["settings"].items())
    return f"* {record['arm']}: {record['source']}, strength {record['strength']:g}{settings}"


def _by_wave(rises: Rises) -> str:
    clicks = clicks_alone(rises)
    lines = [
        "## Rise of the true score by wave",
        "",
        "| arm | wave | seeds | new pairs | right | its readers saw | rise | less clicks alone |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for setting in _in_order(rises):
        records = list(rises.by_setting[setting].values())
        labels = [record["labels"] for record in records if record["labels"]]
        decided = sum(one["decided"] for one in labels)
        right = f"{sum(one['right'] for one in labels) / decided:.2f}" if decided else ""
        versus = (clicks, setting[1])
        less = None
        if setting[0] != clicks and rises.seeds(setting, versus):
            less = rises.difference(setting, versus)
        cells = [
            str(setting[0]),
            str(setting[1]),
            str(len(records)),
            f"{sum(one['pairs'] for one in labels) / len(records):.0f}",
            right,
            f"{sum(record['shown'] for record in records) / len(records):.2f}",
            _interval(rises.rise(setting)),
            _interval(less),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "*Right*: of the new pairs whose answers have different true scores, those that name the "
        "better one. *Its readers saw*: mean true score of the answers of the policy before. A "
        "seed that stopped has no later wave.",
    ]
    return "\n".join(lines)


def _against_longer(rises: Rises) -> str:
    """Compare behaviour with clicks alone that train longer: are its pairs more than steps?"""
    by_arm = {s[0]: next(iter(of.values())) for s, of in rises.by_setting.items()}
    longer = [a for a, r in by_arm.items() if r["source"] == EXPLICIT and r["settings"]]
    rows = [
        f"| {arm} | {other} | {wave} | {_interval(rises.difference((arm, wave), (other, wave)))} |"
        for arm, wave in _in_order(rises)
        for other in longer
        if by_arm[arm]["source"] != EXPLICIT and rises.seeds((arm, wave), (other, wave))
    ]
    if not rows:
        return ""
    head = ["## Against clicks alone that train longer", ""]
    head += ["| arm | less | wave | difference of the rises |", "|---|---|---|---|"]
    return "\n".join([*head, *rows])


def _in_order(rises: Rises) -> list[Setting]:
    arms = list(dict.fromkeys(setting[0] for setting in rises.by_setting))
    return sorted(rises.by_setting, key=lambda s: (arms.index(s[0]), s[1]))


def _interval(found: Interval | None) -> str:
    return "" if found is None else f"{found.estimate:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"


def _stops(records: Sequence[Record]) -> str:
    judged = [record for record in records if record["judged"]]
    if not judged:
        return ""
    means = {(r["arm"], r["seed"], r["wave"]): _score(r, 2) for r in records}
    rows = []
    for record in (r for r in judged if r["stopped"]):
        verdict = record["judged"]
        kept = means.get((record["arm"], record["seed"], record["kept"]), _score(record, 1))
        rows.append(
            f"| {record['arm']} | {record['seed']} | {record['wave']} | "
            f"{shown(verdict['difference'], '+.2f')} | {verdict['questions']} | "
            f"{verdict['readers']} | {_score(record, 2):.2f} | "
            f"{record['kept'] or 'the base model'} | {kept:.2f} |"
        )
    said = [record["judged"]["said"] for record in judged]
    lines = [
        "## Early stopping",
        "",
        f"Of {len(judged)} policies, judges found {said.count('better')} better than the best "
        f"before, {said.count('not better')} not better, and {said.count('fell')} fell.",
    ]
    if rows:
        lines += [
            "",
            "| arm | seed | stopped at wave | judged against the best | questions | readers | true "
            "score | kept: wave | its true score |",
            "|---|---|---|---|---|---|---|---|---|",
            *rows,
        ]
    return "\n".join(lines)


def _score(record: Record, which: int) -> float:
    """Return the mean true score: 1 of the base model, 2 after the wave."""
    sums = record["readers"].values()
    return float(sum(s[which] for s in sums) / sum(s[0] for s in sums))


def _seconds(records: Sequence[Record]) -> str:
    steps = records[0]["seconds"]
    mean = {s: sum(r["seconds"][s] for r in records) / len(records) for s in steps}
    return "Seconds of a wave, mean: " + ", ".join(f"{s} {v:.0f}" for s, v in mean.items()) + "."
