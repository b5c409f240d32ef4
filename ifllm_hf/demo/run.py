"""The whole line in minutes on a CPU: prepare, load, score by worker, pairs, two short DPO runs."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ifllm_hf.data.prepared.prepare import CardWriter, PrepareReport, prepare, prepare_synthetic
from ifllm_hf.demo.facts import DemoFacts, Say, ScoredTurn, source_counts
from ifllm_hf.demo.quiet import quiet_libraries, quiet_prints
from ifllm_hf.demo.two_runs import CLICK_SHARE, run_twice, table
from ifllm_hf.errors import ConfigError, DownloadError, OutputError
from ifllm_hf.files import read_parquet, write_parquet

if TYPE_CHECKING:
    import polars as pl

    from ifllm_hf.benchmark.protocol.scores import Record

PAGE = "index.html"
_FALLBACK_CONVERSATIONS = 60
_REPEATS = 5
_SHOWN_PAIRS = 3
_WORLD_CONVERSATIONS = 120
_COLUMNS = 78
_NEEDED = (
    *("torch", "transformers", "trl", "peft", "accelerate", "bitsandbytes"),
    *("sklearn", "matplotlib", "jinja2"),
)
# Without it a folder may hold somebody's pairs or adapter under the names that the demo writes.
_MARKER = "made-by-ifllm-demo.txt"


def run_demo(
    source: str | os.PathLike[str] | None,
    out: str | os.PathLike[str],
    *,
    synthetic: int | None = None,
    world: int = _WORLD_CONVERSATIONS,
    verbose: bool = False,
    say: Say,
    show: Say,
) -> Path:
    """Run the line, write a page that shows what came out, and say where everything lies.

    Args:
        source: A release; None: `$IFLLM_RELEASE`, else the download, else made-up data.
        out: Folder for all that is made: a new or an empty one, or that of an earlier demo.
        synthetic: Use this many made-up conversations instead.
        world: Conversations in the world of known truth, from which the language model learns.
        verbose: Let libraries draw their bars and print their warnings.
        say: Takes words (progress, warnings).
        show: Takes results.

    Returns:
        The page.

    Raises:
        ConfigError: The packages of the extra `train` are missing.
        OutputError: `out` holds something that no demo wrote, or it cannot be written.
        IFLLMError: See the steps.
    """
    _require_packages()
    out = Path(out)
    _claim(out)
    with quiet_libraries(not verbose):
        return _run(source, out, synthetic, world, verbose, say, show)


def _run(
    source: str | os.PathLike[str] | None,
    out: Path,
    synthetic: int | None,
    world: int,
    verbose: bool,
    say: Say,
    show: Say,
) -> Path:
    from ifllm_hf.benchmark.report.answer import answer
    from ifllm_hf.demo.demo_page import write_page

    began = time.monotonic()
    bars = verbose or sys.stderr.isatty()
    facts = DemoFacts(out)
    say(f"[1/5] preparing the data into {out / 'ifllm'}")
    report = _prepare(source, out / "ifllm", synthetic, say, bars)
    (out / PAGE).unlink(missing_ok=True)  # it shows what has just been replaced
    _note(facts, report)
    total = report.ledgers["total"]
    say(
        f"      {facts.counts['turns']:,} turns of {facts.counts['workers']:,} readers; rows seen "
        f"{total['seen']:,},\n      kept {total['kept']:,}, dropped "
        f"{sum(total['dropped'].values()):,}"
    )
    if report.synthetic:
        say("      THE NUMBERS BELOW ARE MADE UP: they come from a synthetic release.")
    say('[2/5] load_dataset("ifllm")')
    turns = _load(out)
    say(f"[3/5] who likes which answer? {_REPEATS} x 5 folds, no reader on both sides")
    facts.records, facts.repeats = _score(turns, bars), _REPEATS
    show(_wrapped(answer(facts.records, _REPEATS)))
    facts.scored = _score_a_turn(out, turns)
    say(f"[4/5] preference pairs -> {out / 'pairs.parquet'}")
    _write_pairs(out, facts)
    say(f"      {facts.pairs} pairs: prompt, chosen, rejected, confidence")
    say(
        "[5/5] DPO on a small model in a world of known truth (docs/known-truth.md): made-up\n"
        f"      readers click on {CLICK_SHARE:.0%} of the turns; their behaviour is strong"
    )
    with quiet_prints(say, not verbose) as aloud:
        facts.truth = run_twice(
            out / "known-truth", world, lambda text: aloud(f"      {text}"), bar=bars
        )
    show(table(facts.truth))
    facts.minutes = (time.monotonic() - began) / 60
    page = write_page(facts, out / PAGE)
    say(
        f"Done in {facts.minutes:.1f} minutes.\n"
        f"  data     {out / 'ifllm'}  (README.md is its card)\n"
        f"  pairs    {out / 'pairs.parquet'}\n"
        f"  adapters {out / 'known-truth'}\n"
        "Next: ifllm prepare | ifllm benchmark | accelerate launch recipes/dpo.py\n"
        f"All of it on one page: {page}\n"
        f"  {page.resolve().as_uri()}"
    )
    return page


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
    source: str | os.PathLike[str] | None,
    folder: Path,
    synthetic: int | None,
    say: Say,
    progress: bool,
) -> PrepareReport:
    from ifllm_hf.hub.cards.dataset_card import write_card

    card: CardWriter = write_card
    if synthetic is not None:
        return prepare_synthetic(synthetic, folder, progress=progress, card=card)
    try:
        return prepare(source, folder, progress=progress, card=card)
    except DownloadError as error:
        say(f"      {error}\n      No release: going on with made-up data instead.")
        return prepare_synthetic(_FALLBACK_CONVERSATIONS, folder, progress=progress, card=card)


def _note(facts: DemoFacts, report: PrepareReport) -> None:
    """Keep what the page says of the data."""
    facts.synthetic = report.synthetic
    facts.source = "made-up data" if report.synthetic else Path(report.source).name
    facts.ledgers = {k: v for k, v in report.ledgers.items() if k != "files"}
    facts.counts = report.facts
    facts.rows = report.folder.rows


def _load(out: Path) -> pl.DataFrame:
    """Load the prepared folder under its bare name, as a user in that place would."""
    import polars as pl

    import ifllm_hf  # noqa: F401  (lets the bare name resolve)

    before = Path.cwd()
    os.chdir(out)
    try:
        from datasets import load_dataset

        turns = load_dataset("ifllm", split="train")
    finally:
        os.chdir(before)
    frame = pl.from_arrow(turns.with_format("arrow")[:])
    assert isinstance(frame, pl.DataFrame)
    return frame


def _score(frame: pl.DataFrame, progress: bool) -> list[Record]:
    """Score what the answer of `ifllm benchmark` is made of, held out by worker."""
    import polars as pl

    from ifllm_hf.behavior.features.table import ANTISYMMETRIC_COLUMNS, behavior_features
    from ifllm_hf.benchmark.protocol.rows import swap_sides
    from ifllm_hf.benchmark.protocol.suite import Plan, run_suite
    from ifllm_hf.reward.baselines.choice import TEXT_MODEL, default_model
    from ifllm_hf.reward.baselines.text_models import TfidfLR

    features = behavior_features(frame).drop("contaminated")
    lists = [name for name, dtype in frame.schema.items() if dtype == pl.List]
    turns = frame.drop(lists).join(features, on="query_id")
    # The length rule always stands beside a model.
    results = run_suite(
        turns,
        [TfidfLR(TEXT_MODEL), default_model()],
        Plan(repeats={"worker": _REPEATS}, permute=(), progress=progress),
        swap=lambda rows: swap_sides(rows, ANTISYMMETRIC_COLUMNS),
    )
    return results.records


def _score_a_turn(out: Path, turns: pl.DataFrame) -> ScoredTurn | None:
    from ifllm_hf.data.prepared.folder import config_files
    from ifllm_hf.demo.scored_turn import score_a_turn

    return score_a_turn([Path(file) for file in config_files(out / "ifllm", "pairwise")], turns)


def _write_pairs(out: Path, facts: DemoFacts) -> None:
    from ifllm_hf.data.prepared.folder import config_files

    pairs = read_parquet(config_files(out / "ifllm", "preferences"))
    write_parquet(out / "pairs.parquet", pairs)
    facts.pairs, facts.sources = pairs.height, source_counts(pairs)
    by_readers = pairs.unique("user_id", keep="first", maintain_order=True)
    facts.shown_pairs = by_readers.head(_SHOWN_PAIRS).to_dicts()


def _wrapped(text: str) -> str:
    """Return a text with its sentences broken into lines; what stands in columns stays."""
    return "\n".join(
        line if "  " in line else textwrap.fill(line, _COLUMNS) for line in text.splitlines()
    )
