"""The whole line in minutes on a CPU: prepare, load, score by worker, pairs, two short DPO runs."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from ifllm_hf.data.prepared.prepare import CardWriter, PrepareReport, prepare, prepare_synthetic
from ifllm_hf.errors import ConfigError, DownloadError, OutputError
from ifllm_hf.files import read_parquet, shipped_folder, write_parquet

Say = Callable[[str], None]

_FALLBACK_CONVERSATIONS = 60
_REPEATS = 5
_WORLD_CONVERSATIONS = 120
_CLICK_SHARE, _BEHAVIOR_STRENGTH = 0.2, 0.95
_NEEDED = ("torch", "transformers", "trl", "peft", "accelerate", "bitsandbytes", "sklearn")
# Without it a folder may hold somebody's pairs or adapter under the names that the demo writes.
_MARKER = "made-by-ifllm-demo.txt"


def run_demo(
    source: str | os.PathLike[str] | None,
    out: str | os.PathLike[str],
    *,
    synthetic: int | None = None,
    world: int = _WORLD_CONVERSATIONS,
    say: Say,
    show: Say,
) -> Path:
    """Run the line and say at the end where everything lies.

    Args:
        source: A release; None: `$IFLLM_RELEASE`, else the download, else made-up data.
        out: Folder for all that is made: a new or an empty one, or that of an earlier demo.
        synthetic: Use this many made-up conversations instead.
        world: Conversations in the world of known truth, from which the language model learns.
        say: Takes words (progress, warnings).
        show: Takes results.

    Returns:
        The folder.

    Raises:
        ConfigError: The packages of the extra `train` are missing.
        OutputError: `out` holds something that no demo wrote, or it cannot be written.
        IFLLMError: See the steps.
    """
    _require_packages()
    out = Path(out)
    _claim(out)
    began = time.monotonic()
    say(f"[1/5] preparing the data into {out / 'ifllm'}")
    report = _prepare(source, out / "ifllm", synthetic, say)
    if report.synthetic:
        say(f"      {'!' * 72}")
        say("      THE NUMBERS BELOW ARE MADE UP: they come from a synthetic release.")
        say(f"      {'!' * 72}")
    say('[2/5] load_dataset("ifllm")')
    turns = _load(out)
    say(f"[3/5] who likes which answer? {_REPEATS} x 5 folds, no reader on both sides")
    show(_score(turns))
    say(f"[4/5] preference pairs -> {out / 'pairs.parquet'}")
    n_pairs = _write_pairs(out)
    say(f"      {n_pairs} pairs: prompt, chosen, rejected, confidence")
    say(
        "[5/5] DPO on a small model in a world of known truth (docs/known-truth.md): made-up\n"
        f"      readers click on {_CLICK_SHARE:.0%} of the turns; their behaviour is strong"
    )
    show(_learn(out / "known-truth", world, say))
    minutes = (time.monotonic() - began) / 60
    say(
        f"Done in {minutes:.1f} minutes.\n"
        f"  data     {out / 'ifllm'}  (README.md is its card)\n"
        f"  pairs    {out / 'pairs.parquet'}\n"
        f"  adapters {out / 'known-truth'}\n"
        "Next:\n"
        '  ifllm prepare      writes ./ifllm, which load_dataset("ifllm") reads\n'
        "  ifllm benchmark    scores every model with intervals\n"
        "  accelerate launch recipes/dpo.py\n"
        "                     trains the smallest real model that fits the GPU"
    )
    return out


def _require_packages() -> None:
    from importlib.util import find_spec

    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"the demo trains a model and {', '.join(missing)} cannot be imported. "
            "Install the extra `train` (in a clone: pip install -e '.[train]')."
        )


def _claim(out: Path) -> None:
    """Make `out` the folder of a demo, whose pairs and adapter the next demo replaces."""
    if out.is_dir() and not (out / _MARKER).is_file() and any(out.iterdir()):
        raise OutputError(
            f"{out}: is not empty and no demo wrote it; the demo would replace what it holds. "
            "Name a new folder with --out."
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / _MARKER).write_text("The next `ifllm demo` into this folder replaces all of it.\n")
    except OSError as error:
        raise OutputError(
            f"{out}: cannot hold the demo: {error}. Name another one with --out."
        ) from error


def _prepare(
    source: str | os.PathLike[str] | None, folder: Path, synthetic: int | None, say: Say
) -> PrepareReport:
    from ifllm_hf.hub.cards.dataset_card import write_card

    card: CardWriter = write_card
    if synthetic is not None:
        return prepare_synthetic(synthetic, folder, card=card)
    try:
        return prepare(source, folder, card=card)
    except DownloadError as error:
        say(f"      {error}\n      No release: going on with made-up data instead.")
        return prepare_synthetic(_FALLBACK_CONVERSATIONS, folder, card=card)


def _load(out: Path) -> object:
    """Load the prepared folder under its bare name, as a user in that place would."""
    import ifllm_hf  # noqa: F401  (lets the bare name resolve)

    before = Path.cwd()
    os.chdir(out)
    try:
        from datasets import load_dataset

        return load_dataset("ifllm", split="train")
    finally:
        os.chdir(before)


def _score(dataset: object) -> str:
    """Return the table of the length rule and a first behaviour model, held out by worker."""
    import polars as pl

    from ifllm_hf.behavior.features.table import ANTISYMMETRIC_COLUMNS, behavior_features
    from ifllm_hf.benchmark.protocol.rows import swap_sides
    from ifllm_hf.benchmark.protocol.suite import Plan, run_suite
    from ifllm_hf.benchmark.report.report import terminal_table
    from ifllm_hf.reward.baselines.choice import FIRST_TRY
    from ifllm_hf.reward.baselines.linear import AntisymmetricLR

    frame = pl.from_arrow(dataset.with_format("arrow")[:])  # type: ignore[attr-defined]
    assert isinstance(frame, pl.DataFrame)
    features = behavior_features(frame).drop("contaminated")
    lists = [name for name, dtype in frame.schema.items() if dtype == pl.List]
    turns = frame.drop(lists).join(features, on="query_id")
    # Majority, the length rule and others always stand beside a model.
    results = run_suite(
        turns,
        [AntisymmetricLR("behaviour + length, LR", FIRST_TRY)],
        Plan(repeats={"worker": _REPEATS}, permute=()),
        swap=lambda rows: swap_sides(rows, ANTISYMMETRIC_COLUMNS),
    )
    shown = ("all", "similar length")
    return terminal_table([r for r in results.records if r["subset"] in shown])


def _write_pairs(out: Path) -> int:
    from ifllm_hf.data.prepared.folder import config_files

    pairs = read_parquet(config_files(out / "ifllm", "preferences"))
    write_parquet(out / "pairs.parquet", pairs)
    return pairs.height


def _learn(out: Path, conversations: int, say: Say) -> str:
    """Train on clicks alone, and on clicks with behaviour; return the true scores as a table."""
    from ifllm_hf.alignment.known_truth.cells import ALL, EXPLICIT
    from ifllm_hf.alignment.known_truth.config import Block, TruthGrid
    from ifllm_hf.alignment.known_truth.results_file import read_results
    from ifllm_hf.alignment.known_truth.rises import Rises, setting_of
    from ifllm_hf.alignment.known_truth.run import run_grid

    shutil.rmtree(out, ignore_errors=True)  # of an earlier demo
    block = Block("demo", (EXPLICIT, ALL), (_CLICK_SHARE,), (_BEHAVIOR_STRENGTH,))
    grid = TruthGrid(
        recipe=str(shipped_folder("recipes") / "configs" / "known-truth.yaml"),
        blocks=(block,),
        seeds=(0,),
        conversations=conversations,
        answers=2,
        settings={"disable_tqdm": True, "logging_strategy": "no"},
        output_dir=str(out),
    )
    outcome = run_grid(grid, say=lambda text: say(f"      {text}"))
    if outcome.errors:
        name, why = next(iter(outcome.errors.items()))
        raise OutputError(f"the DPO run {name} failed: {why}")
    records = list(read_results(grid.results_file).values())
    rises = Rises(records)
    lines = [f"{'trained on':<24}{'pairs':>7}{'before':>8}{'after':>8}   rise [95 % over readers]"]
    for record, words in zip(records, ("clicks alone", "clicks and behaviour"), strict=True):
        n, before, after = (sum(sums[k] for sums in record["readers"].values()) for k in range(3))
        rise = rises.rise(setting_of(record))
        lines.append(
            f"{words:<24}{record['labels']['pairs']:>7}{before / n:>8.2f}{after / n:>8.2f}   "
            f"{rise.estimate:+.2f} [{rise.low:+.2f}, {rise.high:+.2f}]"
        )
    answers, readers = int(n), len(records[0]["readers"])
    lines.append(
        f"true score from 1 to 10 of {answers} answers to what {readers} held-out readers ask"
    )
    return "\n".join(lines)
