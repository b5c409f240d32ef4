"""One reward model from settings to folder; `recipes/reward.py` calls `run_reward`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ifllm_hf.behavior.features.baseline import ORDER_COLUMNS
from ifllm_hf.behavior.features.habits import add_habits
from ifllm_hf.data.card_head import card_head
from ifllm_hf.errors import ConfigError, TableError
from ifllm_hf.files import read_parquet
from ifllm_hf.metrics.core import score_interval
from ifllm_hf.metrics.ridge import sigmoid
from ifllm_hf.reward.model.behavior_arrays import columns_of
from ifllm_hf.reward.training import examples as ex
from ifllm_hf.reward.training import trainer as tr
from ifllm_hf.reward.training.config import (
    RewardDataConfig,
    RewardInputConfig,
    RewardTrainingConfig,
)
from ifllm_hf.reward.training.evidence import fit_evidence_head
from ifllm_hf.table_parts import table_files
from ifllm_hf.training.checkpoints import checkpoint_to_resume, says_when_the_disk_is_full
from ifllm_hf.training.launch import check_launch
from ifllm_hf.training.local_dataset import load_local_folder
from ifllm_hf.training.run_record import (
    check_same_base,
    keep_changed_settings,
    public_name,
    read_run,
    resolved_settings,
    versions,
    write_run,
)

_META = (
    *("query_id", "conversation_id", "user_id", "fold", "prompt", "response_a", "response_b"),
    *("preference", "likert_a", "likert_b", "asked_at"),
)


@dataclass(frozen=True)
class RewardData:
    """The turns of a run.

    Attributes:
        turns: `Dataset`s by kind, `pairwise` and (unless targets are pairwise) `pointwise`.
        rows: Every turn without its ticks, by query id.
        preferences: What is known about pairs, by query id.
        targets: What is learned.
        text_vectors: What a frozen backbone says of an answer, by query id, side, length cut, and
            the backbone with its precision.
    """

    turns: Mapping[str, Any]
    rows: Mapping[int, Mapping[str, Any]]
    preferences: Mapping[int, ex.Preference]
    targets: str
    text_vectors: dict[tuple[int, str, int, str], Any] = field(default_factory=dict)

    @property
    def rated(self) -> set[int]:
        """Ids of single answers with a rating."""
        if "pointwise" not in self.turns:
            return set()
        ids = self.turns["pointwise"]["query_id"]
        return {int(i) for i in ids if self.rows[int(i)]["likert_a"] is not None}

    @property
    def usable(self) -> list[int]:
        """Ids of all turns that teach something, in ascending order."""
        return sorted(
            (set(self.preferences) if self.targets != "pointwise" else set()) | self.rated
        )

    def examples(
        self, features: Mapping[int, Mapping[str, ex.Features]], ids: Collection[int]
    ) -> list[ex.Example]:
        """Return the examples of some turns."""
        rated = self.rated
        out = []
        for query in sorted(ids):
            row = self.rows[query]
            if query in rated:
                out.append(ex.single_example(features[query]["a"], row))
            elif query in self.preferences:
                out.append(ex.pair_example(features[query], self.preferences[query], row))
        return out

    def encode(self, processor: Any, ids: Collection[int]) -> dict[int, dict[str, ex.Features]]:
        """Return the tensors of some turns."""
        out: dict[int, dict[str, ex.Features]] = {}
        for turns in self.turns.values():
            out |= ex.encode_turns(processor, self.select(turns, ids))
        return out

    def select(self, turns: Any, ids: Collection[int]) -> Any:
        """Return the turns with these ids."""
        wanted = set(ids)
        return turns.select([i for i, q in enumerate(turns["query_id"]) if int(q) in wanted])

    def fit(self, processor: Any, ids: Collection[int]) -> Any:
        """Fit the processor's normalisation on some turns (of pairs, where there are pairs)."""
        turns = next(iter(self.turns.values()))
        wanted = ex.columns_to_read(turns.column_names, processor.feature_extractor.extra_columns)
        return processor.fit(self.select(turns.select_columns(wanted), ids))


def load_reward_data(data: RewardDataConfig) -> RewardData:
    """Load the turns and what is known about them.

    Raises:
        ConfigError: The dataset or the labels cannot be read, or there is no usable turn.
        DataError: Labels that do not belong to the turns.
    """
    kinds = ("pairwise", "pointwise") if data.targets == "mixed" else (data.targets,)
    turns = {kind: _with_habits(_turns(data.dataset, kind)) for kind in kinds}
    if data.max_turns is not None:
        # Spread over the whole: the first ones are those of a few readers.
        turns = {
            k: t.select(np.unique(np.linspace(0, len(t) - 1, data.max_turns).astype(int)))
            for k, t in turns.items()
        }
    rows: dict[int, Mapping[str, Any]] = {}
    known: dict[int, ex.Preference] = {}
    for kind, table in turns.items():
        meta = list(table.select_columns([c for c in _META if c in table.column_names]))
        rows |= {int(row["query_id"]): row for row in meta}
        if kind == "pairwise":
            known = ex.preferences(meta, None if data.labels is None else _labels(data.labels))
    out = RewardData(turns, rows, known, data.targets)
    if not out.usable:
        raise ConfigError(
            f"{data.dataset}: none of {len(rows)} turns carries a label for targets: {data.targets}"
        )
    return out


def _turns(dataset: str, kind: str) -> Any:
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    folder = Path(dataset)
    card_head(dataset)  # `datasets` reads this YAML too, and raises what its reader does
    try:
        if dataset != "ifllm" and folder.is_dir():
            return load_local_folder(folder, kind)["train"]
        return load_dataset(dataset, kind, split="train")
    except (OSError, ValueError, KeyError, StopIteration, DatasetsError) as error:
        raise ConfigError(
            f"dataset {dataset}: its config '{kind}' cannot be read ({error.__cause__ or error}); "
            "expected ifllm, a folder that `ifllm prepare` wrote, or such a dataset on the Hub"
        ) from error


def _with_habits(turns: Any) -> Any:
    """Add the habits of the readers, where the columns tell a reader's earlier turns."""
    needed = {*ORDER_COLUMNS, "t_ms", "phase", "page_load"}
    return add_habits(turns) if needed <= set(turns.column_names) else turns


def _labels(path: str) -> list[dict[str, Any]]:
    import polars as pl

    if not Path(path).exists():
        raise ConfigError(f"labels: {path} does not exist; write it with `ifllm label`")
    try:
        return read_parquet(table_files(path), ["query_id", "chosen", "confidence"]).to_dicts()
    except (pl.exceptions.PolarsError, TableError) as error:
        raise ConfigError(
            f"labels: {path} cannot be read ({error}); expected the Parquet file, or the folder of "
            "shards, of `ifllm label`"
        ) from error


def split_validation(
    data: RewardData, ids: Collection[int], share: float, seed: int
) -> tuple[list[int], list[int]]:
    """Split training turns into those to learn from and those to stop by, by whole readers.

    Args:
        data: The turns.
        ids: Training turns.
        share: Share of the turns to stop by; readers are drawn until it is reached.
        seed: Seed of the draw.
    """
    by_reader: dict[str, list[int]] = {}
    for query in sorted(ids):
        by_reader.setdefault(str(data.rows[query]["user_id"]), []).append(query)
    readers = np.random.default_rng(seed).permutation(sorted(by_reader))
    kept_aside: list[int] = []
    for reader in readers:
        if len(kept_aside) >= share * len(ids):
            break
        kept_aside += by_reader[reader]
    aside = set(kept_aside)
    return [query for query in sorted(ids) if query not in aside], sorted(aside)


def fit_reward_model(
    backbone: Any,
    inputs: RewardInputConfig,
    training: RewardTrainingConfig,
    data: RewardData,
    ids: Collection[int],
    *,
    checkpoint: str | None = None,
    callbacks: Sequence[Any] = (),
) -> tuple[tr.IFLLMRewardTrainer, Any]:
    """Fit a processor and a model on some turns; everything that is chosen is chosen inside them.

    Args:
        backbone: TRL's `ModelConfig`.
        inputs: What the model reads.
        training: How it is trained.
        data: All turns.
        ids: The turns to learn from.
        checkpoint: Folder of a checkpoint to go on from.
        callbacks: Of the trainer.

    Returns:
        The trainer and the fitted processor.

    Raises:
        ConfigError: It would train something else than its settings say (`check_launch`), or these
            do not fit the backbone.
    """
    import torch

    check_launch(training)
    torch.manual_seed(training.seed)
    learn, stop = split_validation(data, ids, training.validation_share, training.seed)
    processor = data.fit(tr.build_processor(str(backbone.model_name_or_path), inputs), learn)
    features = data.encode(processor, ids)
    model = tr.build_model(backbone, inputs, processor, likert=data.targets != "pairwise")
    if reads_text_once(inputs):
        keep_text_vectors(model, processor, data, features)
    train, validation = (data.examples(features, part) for part in (learn, stop))
    if inputs.evidence_head:
        # On the readers that epochs are chosen by too: of the epochs it favours none but the first.
        fit_evidence_head(
            model.get_base_model() if hasattr(model, "get_base_model") else model,
            train + validation,
        )
    if training.trajectory_warmup_epochs and inputs.inputs in ("text+trajectory", "text+both"):
        tr.warm_up_trajectory(model, processor, train, validation, training)
    trainer = tr.train_reward_model(
        model, processor, train, validation, training, checkpoint=checkpoint, callbacks=callbacks
    )
    return trainer, processor


def check_inputs_fit(inputs: RewardInputConfig, data: RewardDataConfig) -> None:
    """Refuse inputs that cannot learn what is asked for.

    Raises:
        ConfigError: Ratings from the evidence head alone.
    """
    if inputs.inputs == "evidence" and data.targets != "pairwise":
        raise ConfigError(
            f"inputs: evidence is fitted on preferences alone, and targets is {data.targets}; set "
            "targets: pairwise, or other inputs"
        )


def reads_text_once(inputs: RewardInputConfig) -> bool:
    """Tell whether nothing of the text can change in training, so that its vectors are kept."""
    return inputs.freeze_backbone and inputs.inputs in ("text", "text+trajectory")


def keep_text_vectors(
    model: Any, processor: Any, data: RewardData, features: Mapping[int, dict[str, ex.Features]]
) -> None:
    """Put the vector of its text into the features of every answer; each text is read once."""
    text = model.model.text
    which = (int(processor.max_length), f"{text.config._name_or_path}, {text.dtype}")
    keys = [(query, side) for query, sides in features.items() for side in sides]
    missing = [key for key in keys if (*key, *which) not in data.text_vectors]
    found = tr.pool_texts(model, processor, [features[q][s] for q, s in missing])
    data.text_vectors.update(
        {(*key, *which): vector for key, vector in zip(missing, found, strict=True)}
    )
    for query, side in keys:
        features[query][side]["text_vector"] = data.text_vectors[query, side, *which]


def run_reward(
    backbone: Any,
    inputs: RewardInputConfig,
    training: RewardTrainingConfig,
    data: RewardDataConfig,
) -> Path:
    """Train one model and put it, its processor and its settings into `training.output_dir`.

    Returns:
        The output folder.

    Raises:
        IFLLMError: Anything a user can act on.
    """
    check_inputs_fit(inputs, data)
    folder = Path(str(training.output_dir))
    # The first look at the device sets the process group up as the settings say.
    is_first = training.process_index == 0
    checkpoint = checkpoint_to_resume(str(training.output_dir), training.resume_from_checkpoint)
    earlier = read_run(folder) if checkpoint else None
    if earlier:
        base = str(public_name(str(backbone.model_name_or_path)))
        check_same_base(earlier["settings"].get("base_model"), base, folder)
    tr.check_it_can_be_saved(str(backbone.model_name_or_path), inputs)
    turns = load_reward_data(data)
    held_out: set[int] = set()
    if data.eval_fold is not None:
        held_out = {q for q, row in turns.rows.items() if row.get("fold") == data.eval_fold}
        if not held_out:
            raise ConfigError(
                f"eval_fold {data.eval_fold}: {data.dataset} has no reader in that fold, so nobody "
                "would be held out; folds are 0 to 4"
            )
    ids = [query for query in turns.usable if query not in held_out]
    record = run_record(backbone, inputs, training, data, turns, ids)
    if earlier and earlier["data"] != record["data"]:
        raise ConfigError(
            f"{data.dataset} or what is trained on changed since the run in {folder} was started; "
            "restore it, or start in another output_dir"
        )
    keep_changed_settings(record, earlier)
    if is_first:
        write_run(folder, record)
    with says_when_the_disk_is_full(folder):
        trainer, processor = fit_reward_model(
            backbone, inputs, training, turns, ids, checkpoint=checkpoint
        )
        record["result"] = {
            "steps": trainer.state.global_step,
            "best_epoch": tr.best_epoch(trainer),
            "log": trainer.state.log_history,
        }
        tested = [q for q in sorted(held_out) if turns.rows[q].get("preference") in ("a", "b")]
        if tested:
            record["result"]["held_out"] = _score_held_out(trainer, processor, turns, tested)
        tr.save_reward_model(trainer, processor, folder, backbone, inputs)
    if is_first:
        write_run(folder, record)
    return folder


def _score_held_out(
    trainer: tr.IFLLMRewardTrainer, processor: Any, turns: RewardData, pairs: Sequence[int]
) -> dict[str, Any]:
    """Score pairs of readers that were not trained on, by their own clicks."""
    chance = sigmoid(score_pairs(trainer.model, processor, turns, pairs))
    clicks = [float(turns.rows[q]["preference"] == "b") for q in pairs]
    readers = [turns.rows[q]["user_id"] for q in pairs]
    found = score_interval("accuracy", clicks, chance, readers)
    ends = {"low": found.low, "high": found.high} if found.groups > 1 else {}
    return {
        "protocol": "worker",
        "n": len(pairs),
        "workers": found.groups,
        "accuracy": found.estimate,
        **ends,
    }


def score_pairs(
    model: Any,
    processor: Any,
    turns: RewardData,
    ids: Sequence[int],
    *,
    behavior: bool = True,
    kept_text: bool = False,
) -> Any:
    """Return r(b) - r(a) of some pairs, shape (n,).

    Args:
        model: A reward model.
        processor: Its processor.
        turns: All turns.
        ids: The pairs.
        behavior: Whether the model may see behaviour.
        kept_text: Whether its backbone was never trained, so that kept text vectors hold.
    """
    features = turns.encode(processor, ids)
    if kept_text:
        keep_text_vectors(model, processor, turns, features)
    answers = [features[query][side] for query in ids for side in "ab"]
    scores = tr.score_answers(model, processor, answers, behavior=behavior).reshape(-1, 2)
    return scores[:, 1] - scores[:, 0]


def run_record(
    backbone: Any,
    inputs: RewardInputConfig,
    training: RewardTrainingConfig,
    data: RewardDataConfig,
    turns: RewardData,
    ids: Collection[int],
) -> dict[str, Any]:
    """Return the resolved settings, what was learned from, and the versions, for `run.json`."""
    rows = [turns.rows[query] for query in sorted(ids)]
    extra = [column for name in inputs.extra_channels for column in columns_of(name)]
    settings = resolved_settings(training, inputs, data, backbone)
    settings["base_model"] = settings["model_name_or_path"]
    return {
        "settings": settings,
        "seed": training.seed,
        "data": {
            "dataset": public_name(data.dataset),
            "fingerprint": ex.fingerprint(rows, turns.preferences),
            "behavior_fingerprint": {
                kind: ex.behavior_fingerprint(table, ids, extra)
                for kind, table in turns.turns.items()
            },
            "pairs": len(set(ids) & set(turns.preferences)),
            "singles": len(set(ids) & turns.rated),
            "workers": len({row["user_id"] for row in rows}),
            "conversations": len({row["conversation_id"] for row in rows}),
            "sessions": ex.session_hashes(rows),
            "readers": sorted({str(row["user_id"]) for row in rows}),
        },
        "versions": versions(),
    }
