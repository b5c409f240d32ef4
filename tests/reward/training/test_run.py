"""A reward run from settings to folder: what is held out, what is kept, what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
trl = pytest.importorskip("trl")

from ifllm_hf.benchmark.studies import reward_folds  # noqa: E402
from ifllm_hf.errors import ConfigError, DataError, OutputError  # noqa: E402
from ifllm_hf.reward.model.modeling_ifllm import IFLLMForRewardModeling  # noqa: E402
from ifllm_hf.reward.model.processing_ifllm import IFLLMProcessor  # noqa: E402
from ifllm_hf.reward.training import run as reward_run  # noqa: E402
from ifllm_hf.reward.training.config import RewardDataConfig, RewardInputConfig  # noqa: E402
from ifllm_hf.reward.training.examples import Preference, fingerprint, preferences  # noqa: E402
from tests.helpers.reward.turns import data_of, inputs_of, make_folder, make_turns, settings  # noqa: E402

pytestmark = pytest.mark.usefixtures("own_cache")


def test_stopping_is_decided_by_other_readers() -> None:
    data = data_of(make_turns(workers=10, each=3))
    learn, stop = reward_run.split_validation(data, list(data.rows), 0.2, seed=1)
    readers = [{data.rows[q]["user_id"] for q in part} for part in (learn, stop)]
    assert not readers[0] & readers[1] and len(readers[1]) == 2
    assert sorted(learn + stop) == sorted(data.rows)
    assert reward_run.split_validation(data, list(data.rows), 0.0, seed=1)[1] == []


@pytest.mark.parametrize("targets", ["pairwise", "mixed"])
def test_a_run_leaves_model_processor_and_record(
    targets: str, backbone: Any, tmp_path: Path
) -> None:
    rows = make_turns(workers=5, each=4)
    folder = Path(make_folder(rows, tmp_path / "data"))
    if targets == "mixed":
        (folder / "pointwise").mkdir()
        from datasets import Dataset

        single = [
            {
                **row,
                "query_id": row["query_id"] + 1000,
                "response_b": None,
                "preference": None,
                **{f"{c}_on": ["none"] * len(row["t_ms"]) for c in ("gaze", "mouse")},
                **{f"{c}_char": [None] * len(row["t_ms"]) for c in ("gaze", "mouse")},
            }
            for row in rows[:8]
        ]
        Dataset.from_list(single).to_parquet(str(folder / "pointwise" / "train.parquet"))
        card = (folder / "README.md").read_text()
        more = "- config_name: pointwise\n  data_files: pointwise/*.parquet\n---\n"
        (folder / "README.md").write_text(card.removesuffix("---\n") + more)
    out = tmp_path / "out"
    data = RewardDataConfig(dataset=str(folder), targets=targets, eval_fold=0)
    training = settings(out, num_train_epochs=2)
    inputs = inputs_of("text+both" if targets == "mixed" else "text+trajectory")
    training.trajectory_warmup_epochs = 1.0
    reward_run.run_reward(backbone, inputs, training, data)
    model = IFLLMForRewardModeling.from_pretrained(out)
    assert (model.likert is not None) == (targets == "mixed")
    processor = IFLLMProcessor.from_pretrained(out)
    processor.check_config(model.config)
    record = json.loads((out / "run.json").read_text())
    assert record["data"]["pairs"] == 16 and record["data"]["workers"] == 4
    assert record["data"]["singles"] == (4 if targets == "mixed" else 0)
    assert "w00" not in record["data"]["readers"] and len(record["data"]["sessions"]) == 8
    held_out = record["result"]["held_out"]
    assert (held_out["n"], held_out["workers"], held_out["protocol"]) == (4, 1, "worker")
    assert str(tmp_path) not in (out / "run.json").read_text()
    assert not (out / "training_args.bin").exists()
    with pytest.raises(OutputError, match="not empty"):
        reward_run.run_reward(backbone, inputs, training, data)
    nobody = RewardDataConfig(dataset=str(folder), targets=targets, eval_fold=7)
    with pytest.raises(ConfigError, match="eval_fold 7: "):
        reward_run.run_reward(backbone, inputs, settings(tmp_path / "none"), nobody)


@pytest.mark.parametrize("name", ["run[1]", "a*b"])
def test_turns_and_labels_are_found_wherever_they_lie(tmp_path: Path, name: str) -> None:
    """Neighbours that a glob would find too are left alone."""
    import polars as pl

    turns = make_turns(workers=2, each=2)
    for place, rows in ((name, turns), ("run1", turns[:1]), ("axxb", turns[:1])):
        (tmp_path / place).mkdir()
        make_folder(rows, tmp_path / place)
    label = {"query_id": turns[0]["query_id"], "chosen": turns[0]["response_a"], "confidence": 0.9}
    labels = tmp_path / name / "labels.parquet"
    pl.DataFrame([label]).write_parquet(labels)
    found = reward_run.load_reward_data(
        RewardDataConfig(dataset=str(tmp_path / name), targets="pairwise", labels=str(labels))
    )
    assert len(found.rows) == 4 and len(found.preferences) == 1


def test_held_out_readers_are_scored_by_their_clicks_with_an_interval(
    backbone: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels that turn every click around are learned from, but judge nothing."""
    rows = make_turns(workers=10, each=2)
    other = {"a": "b", "b": "a"}
    labels = [
        {
            "query_id": row["query_id"],
            "chosen": row[f"response_{other[row['preference']]}"],
            "confidence": 0.9,
        }
        for row in rows
    ]
    import polars as pl

    pl.DataFrame(labels).write_parquet(tmp_path / "labels.parquet")
    clicks = {row["query_id"]: row["preference"] for row in rows}

    def knows(model: Any, processor: Any, turns: Any, ids: Any, **_: Any) -> Any:
        return np.array([1.0 if clicks[query] == "b" else -1.0 for query in ids])

    monkeypatch.setattr(reward_run, "score_pairs", knows)
    data = RewardDataConfig(
        dataset=make_folder(rows, tmp_path / "data"),
        eval_fold=0,
        labels=str(tmp_path / "labels.parquet"),
    )
    training = settings(tmp_path / "out", max_steps=1, validation_share=0.0)
    out = reward_run.run_reward(backbone, inputs_of("behavior"), training, data)
    found = json.loads((out / "run.json").read_text())["result"]["held_out"]
    assert found == {
        "protocol": "worker",
        "n": 4,
        "workers": 2,
        "accuracy": 1.0,
        "low": 1.0,
        "high": 1.0,
    }


@pytest.mark.parametrize("wanted", ["true", "checkpoint-2"])
def test_a_half_written_checkpoint_is_not_gone_on_from(
    wanted: str, backbone: Any, tmp_path: Path
) -> None:
    half = tmp_path / "out" / "checkpoint-2"
    half.mkdir(parents=True)
    (half / "trainer_state.json").write_text('{"log_history": [')
    named = wanted if wanted == "true" else str(half)
    training = settings(tmp_path / "out", resume_from_checkpoint=named)
    with pytest.raises(OutputError, match="no finished checkpoint"):
        reward_run.run_reward(
            backbone, inputs_of("behavior"), training, RewardDataConfig(dataset="somewhere")
        )


def test_a_run_goes_on_with_its_own_backbone(backbone: Any, tmp_path: Path) -> None:
    checkpoint = tmp_path / "out" / "checkpoint-2"
    checkpoint.mkdir(parents=True)
    (checkpoint / "trainer_state.json").write_text("{}")
    (tmp_path / "out" / "run.json").write_text('{"settings": {"base_model": "org/other"}}')
    training = settings(tmp_path / "out", resume_from_checkpoint="auto")
    with pytest.raises(ConfigError, match="trains org/other, and model_name_or_path is"):
        reward_run.run_reward(backbone, inputs_of(), training, RewardDataConfig(dataset="nowhere"))


def test_a_place_that_cannot_be_written_to_is_refused_before_the_data_are_read(
    backbone: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    training = settings(tmp_path / "file" / "out")
    with pytest.raises(OutputError, match="written to"):
        reward_run.run_reward(
            backbone, inputs_of("behavior"), training, RewardDataConfig(dataset="somewhere")
        )


def test_labels_of_a_file_replace_the_clicks() -> None:
    rows = make_turns(workers=1, each=2)
    label = {"query_id": 101, "chosen": rows[1]["response_b"], "confidence": 0.7}
    assert preferences(rows, [label]) == {101: Preference("b", 0.7)}
    with pytest.raises(DataError, match="query 101: 'chosen' is neither"):
        preferences(rows, [{**label, "chosen": "something else"}])
    known = preferences(rows)
    assert fingerprint(rows, known) == fingerprint(rows[::-1], known)
    assert fingerprint(rows, known) != fingerprint(rows, preferences(rows, [label]))


def test_a_run_is_named_by_its_ticks_too(backbone: Any, tmp_path: Path) -> None:
    """Folds of other behaviour under the same texts and labels are not taken up."""
    rows = make_turns(workers=2, each=2)
    moved = [dict(row) for row in rows]
    moved[3]["phase"] = [*moved[3]["phase"][:-1], "rating"]
    digests = []
    for turns in (rows, rows[::-1], moved):
        record = reward_run.run_record(
            backbone,
            inputs_of("behavior"),
            settings(tmp_path / "out"),
            RewardDataConfig(dataset="somewhere"),
            data_of(turns),
            [row["query_id"] for row in turns],
        )
        digests.append(reward_folds.config_digest(record))
    assert digests[0] == digests[1] != digests[2]


def test_a_label_without_a_probability_is_refused() -> None:
    turn = {"query_id": 7, "response_a": "one", "response_b": "two", "preference": "a"}
    for confidence in (math.nan, None, 0.4, 1.5):
        label = {"query_id": 7, "chosen": "one", "confidence": confidence}
        with pytest.raises(DataError, match=r"query 7: 'confidence' is (nan|None|0\.4|1\.5)"):
            preferences([turn], [label])


def test_a_dataset_and_labels_that_cannot_be_read_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken" / "pairwise").mkdir(parents=True)
    (tmp_path / "broken" / "pairwise" / "train-00000-of-00001.parquet").write_text("half")
    for name in ("nowhere", str(tmp_path / "empty"), str(tmp_path / "broken")):
        with pytest.raises(ConfigError, match=rf"dataset {name}: .*'pairwise'"):
            reward_run.load_reward_data(RewardDataConfig(dataset=name))
    (tmp_path / "labels.parquet").write_text("half")
    with pytest.raises(ConfigError, match=r"labels.parquet .*ifllm label"):
        reward_run._labels(str(tmp_path / "labels.parquet"))


def test_a_readers_labels_move_the_weights_from_one() -> None:
    none = np.empty(0)
    np.testing.assert_array_equal(reward_folds.adapted(none, none, none), [1.0, 1.0])
    text, behavior = np.array([1.0, -1.0, 1.0]), np.array([2.0, 2.0, -2.0])
    weights = reward_folds.adapted(text, behavior, (behavior > 0).astype(float))
    assert weights[1] > 1.0 > weights[0]


def new_reader_records(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Score predictions that are always right."""
    import polars as pl

    turns = reward_run.RewardData(
        {}, {row["query_id"]: row for row in rows}, preferences(rows), "pairwise"
    )
    scores = [1.0 if row["preference"] == "b" else -1.0 for row in rows]
    found = pl.DataFrame(
        {
            "query_id": [row["query_id"] for row in rows],
            "repeat": 0,
            "text": scores,
            "behavior": scores,
        }
    )
    return reward_folds.new_reader_records(found, turns)


def test_a_new_readers_first_ratings_may_be_missing() -> None:
    """Types are told by all rows: the first hundred may hold nothing but nulls."""
    rows = make_turns(workers=20, each=6, ticks=1)
    for row in rows[:110]:
        row["likert_a"] = row["likert_b"] = None
    found = [(r["labels"], r["n"], r["accuracy"]) for r in new_reader_records(rows)]
    assert found == [(k, 20, 1.0) for k in (0, 1, 3, 5)]


def test_one_new_reader_has_no_interval_and_json_knows_it() -> None:
    records = new_reader_records(make_turns(workers=1, each=9, ticks=1))
    assert {(r["n"], r["accuracy"], r["low"]) for r in records} == {(4, 1.0, None)}
    json.dumps(records, allow_nan=False)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RewardDataConfig(targets="likert"), "targets is 'likert'"),
        (lambda: RewardDataConfig(cross_validate=True, targets="pointwise"), "learns none"),
        (lambda: RewardDataConfig(cross_validate=True, eval_fold=1), "remove eval_fold"),
        (lambda: RewardDataConfig(cross_validate=True, labels="x.parquet"), "remove labels"),
        (lambda: RewardDataConfig(repeats=0), "repeats is 0"),
        (lambda: RewardInputConfig(inputs="gaze"), "inputs is 'gaze'"),
        (lambda: RewardInputConfig(max_length=0), "max_length is 0"),
        (lambda: settings(Path("x"), validation_share=1.0), "validation_share is 1.0"),
        (lambda: settings(Path("x"), remove_unused_columns=True), "leave it false"),
        (lambda: settings(Path("x"), push_to_hub=True), "ifllm push model ORG/NAME --from x"),
    ],
)
def test_settings_that_cannot_work_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize("four_bits", [False, True])
def test_an_adapter_is_merged_into_a_model_that_loads_alone(
    four_bits: bool, tmp_path: Path
) -> None:
    from ifllm_hf.training.tiny_models import build_tiny_model

    rows = make_turns(workers=4, each=4)
    path = build_tiny_model("llama", tmp_path / "backbone", [row["response_a"] for row in rows])
    backbone = trl.ModelConfig(
        model_name_or_path=str(path), use_peft=True, lora_r=4, load_in_4bit=four_bits
    )
    training = settings(tmp_path / "out", max_steps=2, validation_share=0.0, save_strategy="no")
    data = RewardDataConfig(dataset=make_folder(rows, tmp_path / "data"))
    seen = {}

    def keep(trainer: Any, processor: Any, *_: Any) -> None:
        turns = data_of(rows)
        seen["before"] = reward_run.score_pairs(trainer.model, processor, turns, [100, 101])
        save(trainer, processor, *_)

    save = reward_run.tr.save_reward_model
    with pytest.MonkeyPatch.context() as patch:
        if not four_bits:  # in 4 bits the backbone itself scores otherwise
            patch.setattr(reward_run.tr, "save_reward_model", keep)
        out = reward_run.run_reward(backbone, inputs_of(), training, data)
    loaded = IFLLMForRewardModeling.from_pretrained(out)
    assert not any("lora" in name for name, _ in loaded.named_parameters())
    assert loaded.model.token_path.gate.abs().sum() > 0  # what is new was trained and kept
    assert (out / "adapter" / "adapter_config.json").exists()
    if not four_bits:
        processor = IFLLMProcessor.from_pretrained(out)
        after = reward_run.score_pairs(loaded, processor, data_of(rows), [100, 101])
        np.testing.assert_allclose(after, seen["before"], atol=1e-5)


def test_kept_texts_are_those_of_the_backbone_that_read_them(backbone: Any, tmp_path: Path) -> None:
    """Runs that share their turns may have other backbones."""
    from transformers import AutoTokenizer, BertModel

    path = str(backbone.model_name_or_path)
    other = BertModel.from_pretrained(path)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.5)
    other.save_pretrained(tmp_path / "other")
    AutoTokenizer.from_pretrained(path).save_pretrained(tmp_path / "other")
    data = data_of(make_turns(workers=4, each=4, ticks=5))
    for name in (path, str(tmp_path / "other")):
        trainer, processor = reward_run.fit_reward_model(
            trl.ModelConfig(model_name_or_path=name),
            inputs_of("text", freeze_backbone=True),
            settings(tmp_path, max_steps=1, validation_share=0.0, save_strategy="no"),
            data,
            list(data.rows),
        )
        kept, again = (
            reward_run.score_pairs(trainer.model, processor, data, [101, 105], kept_text=kept)
            for kept in (True, False)
        )
        np.testing.assert_allclose(kept, again, atol=1e-5)


def test_a_text_that_is_read_once_scores_as_one_that_is_read_again(
    backbone: Any, tmp_path: Path
) -> None:
    data = data_of(make_turns(workers=4, each=4))
    inputs = inputs_of("text+trajectory", freeze_backbone=True)
    training = settings(tmp_path, max_steps=3, validation_share=0.0)
    trainer, processor = reward_run.fit_reward_model(
        backbone, inputs, training, data, list(data.rows)
    )
    assert len(data.text_vectors) == 32
    for behavior in (True, False):
        kept, again = (
            reward_run.score_pairs(
                trainer.model, processor, data, [101, 105], behavior=behavior, kept_text=kept
            )
            for kept in (True, False)
        )
        np.testing.assert_allclose(kept, again, atol=1e-5)
