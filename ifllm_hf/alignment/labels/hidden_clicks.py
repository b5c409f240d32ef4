"""What labels are worth where clicks are rare: most are hidden, and labels are held to them.

python -m ifllm_hf.alignment.labels.hidden_clicks ./ifllm     # the table of docs/label.md
python -m ifllm_hf.alignment.labels.hidden_clicks ./ifllm --inputs gaze+mouse
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ifllm_hf.alignment.labels.label_file import BEHAVIOR
from ifllm_hf.alignment.labels.signals import INPUTS, label_model
from ifllm_hf.alignment.labels.write import ALL, read_turns_with_features, write_labels
from ifllm_hf.errors import IFLLMError
from ifllm_hf.files import read_parquet
from ifllm_hf.metrics.core import score_interval
from ifllm_hf.progress import progress_bar

SHARES = (0.2, 0.05)


def hidden_clicks(
    turns: pl.DataFrame,
    shares: Sequence[float] = SHARES,
    *,
    draws: int = 5,
    seed: int = 0,
    inputs: str = "best",
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Hide clicks, label every pair by `all`, and compare the labels with the hidden clicks.

    Labels are out of fold by reader; intervals are 95 % bootstrap over readers, whose pairs of all
    draws stay together.

    Args:
        turns: The `turns` table with features, as `read_turns_with_features` gives it.
        shares: Of the turns with a click, those that keep it.
        draws: How often clicks are hidden anew.
        seed: Of the draws.
        inputs: What the labelling model sees; see `labels.signals.INPUTS`.
        progress: Whether to draw a progress bar on stderr.

    Returns:
        One record for each share: `share`, `clicks` (kept, mean over draws), `hidden` (pairs
        labelled by behaviour whose click is known, mean over draws), `workers`, `accuracy` (with
        `estimate, low, high`: the label is the hidden click), `mean_confidence` of those labels,
        and `bits` by origin (see `labels.report.origins`; mean over draws).

    Raises:
        DataError: Too few clicks are left to label with.
    """
    clicked = turns.filter(pl.col("preference").is_in(["a", "b"]))["query_id"].sort().to_numpy()
    clicks = turns.select("query_id", click="preference")
    model = None if inputs == "best" else label_model(inputs)
    records = []
    with (
        tempfile.TemporaryDirectory() as folder,
        progress_bar(len(shares) * draws, "hidden clicks", progress) as bar,
    ):
        for share in shares:
            parts, bits = [], []
            for draw in range(draws):
                rng = np.random.default_rng([seed, draw])
                kept = rng.permutation(clicked)[: round(share * len(clicked))]
                seen = turns.with_columns(
                    preference=pl.when(pl.col("query_id").is_in(kept)).then("preference")
                )
                out = Path(folder) / "pairs.parquet"
                report = write_labels(
                    seen,
                    out,
                    source=ALL,
                    model=model,
                    seed=draw,
                    overwrite=True,
                    progress=False,
                )
                bits.append({origin: of["bits"] for origin, of in report.origins.items()})
                told = read_parquet(out).filter(pl.col("origin") == BEHAVIOR)
                parts.append(
                    told.join(clicks, on="query_id").filter(pl.col("click").is_in(["a", "b"]))
                )
                bar.update(1)
            every = pl.concat(parts)
            score = score_interval(
                "accuracy",
                (every["click"] == "b").to_numpy().astype(float),
                every["p_b"].to_numpy(),
                every["user_id"].to_numpy(),
            )
            records.append(
                {
                    "share": share,
                    "clicks": round(share * len(clicked)),
                    "hidden": every.height / draws,
                    "workers": every["user_id"].n_unique(),
                    "accuracy": {
                        "estimate": score.estimate,
                        "low": score.low,
                        "high": score.high,
                    },
                    "mean_confidence": float(every["confidence"].mean()),  # type: ignore[arg-type]
                    "bits": {
                        origin: float(np.mean([of.get(origin, 0.0) for of in bits]))
                        for origin in sorted({name for of in bits for name in of})
                    },
                }
            )
    return records


def as_markdown(records: Sequence[dict[str, Any]]) -> str:
    """Return the table of docs/label.md."""
    lines = [
        "| clicks kept | labels by behaviour with a hidden click | readers | of them right "
        "| mean confidence | worth in sure clicks, by origin |",
        "|---|---|---|---|---|---|",
    ]
    for record in records:
        right = record["accuracy"]
        bits = ", ".join(f"{origin} {worth:.0f}" for origin, worth in record["bits"].items())
        lines.append(
            f"| {record['clicks']} ({record['share']:.0%}) | {record['hidden']:.0f} "
            f"| {record['workers']} "
            f"| {right['estimate']:.3f} [{right['low']:.3f}, {right['high']:.3f}] "
            f"| {record['mean_confidence']:.3f} | {bits} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Read a prepared folder, hide clicks, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("data", type=Path, help="a folder written by `ifllm prepare`")
    parser.add_argument("--draws", type=int, default=5, help="how often clicks are hidden anew")
    parser.add_argument(
        "--inputs", choices=INPUTS, default="best", help="what the labelling model sees"
    )
    arguments = parser.parse_args()
    try:
        turns = read_turns_with_features(arguments.data)
        print(as_markdown(hidden_clicks(turns, draws=arguments.draws, inputs=arguments.inputs)))  # noqa: T201
    except IFLLMError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
