"""The dataset card: every number in it is counted from the prepared folder when it is written.

The words stand in `templates/dataset_card.md`. A statement about the release that the prepared
folder no longer shows (rows written twice, cells repaired) comes from the ledgers of the read;
where they are not given, the statement is left out (see `card_template`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from ifllm_hf.benchmark.report.released import known
from ifllm_hf.card_template import fill
from ifllm_hf.data.prepared.folder import with_card_metadata
from ifllm_hf.data.raw.download import COMMIT, RELEASE_DIGEST, REPOSITORY
from ifllm_hf.data.schema import CONFIGS
from ifllm_hf.data.sessions.sessions_card import is_of_sessions
from ifllm_hf.data.synthetic import SYNTHETIC_PREFIX
from ifllm_hf.data.tables.workers import QUASI_IDENTIFIERS
from ifllm_hf.errors import TableError
from ifllm_hf.hub.cards import table_numbers as card_numbers
from ifllm_hf.hub.cards.column_meanings import column_tables
from ifllm_hf.hub.cards.tick_numbers import IDLE_MS, MOVED_MS, TickNumbers, count_ticks

logger = logging.getLogger(__name__)

TEMPLATE = Path(__file__).parent / "templates" / "dataset_card.md"

# What the paper says of itself; nothing in the release gives these two numbers.
_PAPER_READERS = 59
_PAPER = {"arxiv": "2606.20482", "paper_questions": 1336, "paper_readers": _PAPER_READERS}

_ONE_ROW_IS = {
    "pairwise": "a question with two answers side by side, its ratings and its ticks",
    "pointwise": "a question with one answer, its ratings and its ticks",
    "turns": "a question of either kind without its ticks: what the viewer can show",
    "ticks": "a conversation: all its ticks in order, with everything that was recorded",
    "preferences": "a pair with a preference, as `prompt`, `chosen`, `rejected`",
    "tasks": "a topic that a reader ticked, done or not",
    "workers": "a reader, made k-anonymous",
}


def write_card(folder: Path, report: Mapping[str, Any] | None = None) -> str:
    """Draw the figures of a prepared folder and return the text of its card.

    Args:
        folder: The folder, its Parquet files complete; `figures/` is written into it. The README
            itself is left to the caller, and so are `configs:` and the marker in its YAML.
        report: What is known from reading the release; all keys may be missing:
            `ledgers` (`Release.ledgers()`), `quality` (`{"agreement": Agreement.to_dict()}`),
            `synthetic` (the numbers are made up; also told by the readers' names), and `digest`
            (`Source.fingerprint()`).

    Returns:
        Markdown with YAML in front.

    Raises:
        TableError: A config has no Parquet files.
    """
    report = report or {}
    for config in CONFIGS:
        if not card_numbers.shards(folder, config):
            raise TableError(
                f"{folder / config}: holds no Parquet file, and the card counts from it. "
                "Run `ifllm prepare` again."
            )
    turns = card_numbers.read_turns(folder)
    made_up = turns["user_id"].str.starts_with(SYNTHETIC_PREFIX).any()
    synthetic = bool(report.get("synthetic") or made_up)
    # Counting and drawing keep one core busy each; together they end a second earlier.
    with ThreadPoolExecutor(1) as pool:
        counting = pool.submit(count_ticks, card_numbers.shards(folder, "ticks"))
        figures = _figures(folder, counting.result, synthetic)
        numbers = counting.result()
    values = {
        **_facts(folder, turns, numbers),
        **card_numbers.ledger_values(report.get("ledgers")),
        **card_numbers.quality_values(report.get("quality")),
        **_provenance(report.get("digest")),
        **figures,
        **column_tables(),
        **_PAPER,
        "known": known(),
    }
    if synthetic:
        values |= dict.fromkeys((*_PAPER, "digest", "known"))
    values |= {
        "synthetic": "" if synthetic else None,
        "real": None if synthetic else "",
        "title_suffix": " (SYNTHETIC, made up)" if synthetic else "",
    }
    body = fill(TEMPLATE.read_text(encoding="utf-8"), values)
    return f"---\n{_front_matter(turns.height, synthetic)}---\n\n{body}"


def rewrite_card(folder: Path, report: Mapping[str, Any] | None = None) -> Path:
    """Make card and figures of a finished prepared folder anew; see `write_card`.

    Returns:
        The path of the card.

    Raises:
        TableError: The folder was made of collected sessions: this card is the release's, and does
            not say what of them nobody has reviewed.
    """
    if is_of_sessions(folder):
        raise TableError(
            f"{folder}: was made of collected sessions, whose card says how many questions nobody "
            "has reviewed. Make it again with `ifllm prepare SESSIONS`."
        )
    path = folder / "README.md"
    path.write_text(with_card_metadata(write_card(folder, report), folder), encoding="utf-8")
    return path


def _facts(folder: Path, turns: pl.DataFrame, numbers: TickNumbers) -> card_numbers.Values:
    recorded = card_numbers.read_small(folder, "ticks", ["conversation_id", "user_id"])
    tasks = card_numbers.read_small(folder, "tasks", ["user_id", "finished"])
    columns = ["user_id", "consent", *QUASI_IDENTIFIERS]
    workers = card_numbers.read_small(folder, "workers", columns)
    return {
        **card_numbers.turn_values(turns, recorded),
        **card_numbers.tick_values(numbers, turns),
        **card_numbers.table_values(tasks, workers, turns),
        **card_numbers.subset_values(turns, recorded, _PAPER_READERS),
        "config_table": _config_table(card_numbers.config_rows(folder)),
        "moved_s": MOVED_MS / 1000,
        "idle_s": IDLE_MS / 1000,
        "idle_ms": int(IDLE_MS),
    }


def _config_table(rows: Mapping[str, int]) -> str:
    lines = (f"| `{config}` | {rows[config]:,} | {_ONE_ROW_IS[config]} |" for config in CONFIGS)
    return "\n".join(["| config | rows | one row is |", "|---|---|---|", *lines])


def _provenance(digest: str | None) -> card_numbers.Values:
    same = digest == RELEASE_DIGEST
    return {
        "repository": REPOSITORY,
        "repository_url": f"https://github.com/{REPOSITORY}",
        "commit": COMMIT,
        "digest": digest,
        "digest_says": "that of the release at this commit" if same else "not that of the release",
    }


def _figures(
    folder: Path, numbers: Callable[[], TickNumbers], synthetic: bool
) -> card_numbers.Values:
    """Draw what can be drawn; without matplotlib the card says how to get the figures."""
    from ifllm_hf.hub.cards import card_figures
    from ifllm_hf.plot.canvas import has_matplotlib

    if not has_matplotlib():
        logger.warning("the card has no figures: matplotlib is not installed")
        return {**card_figures.nothing_drawn(), "no_figures": ""}
    return {**card_figures.draw(folder, numbers, synthetic=synthetic), "no_figures": None}


def _front_matter(n_turns: int, synthetic: bool) -> str:
    tags = [
        "preference",
        "implicit-feedback",
        "human-feedback",
        "reward-modeling",
        "dpo",
        "eye-tracking",
        "mouse-tracking",
        "time-series",
    ]
    metadata: dict[str, Any] = {
        "pretty_name": "IFLLM" + (" (synthetic: made up)" if synthetic else ""),
        "language": ["en"],
        "license": "apache-2.0",
        "task_categories": ["text-classification", "text-generation", "reinforcement-learning"],
        "size_categories": [_size_category(n_turns)],
        "tags": ["synthetic", *tags] if synthetic else [*tags, f"arxiv:{_PAPER['arxiv']}"],
    }
    return str(yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True))


def _size_category(rows: int) -> str:
    """Return the Hub's name for a number of rows."""
    for limit, name in ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K")):
        if rows < limit:
            return name
    return "100K<n<1M" if rows < 10**6 else "1M<n<10M"
