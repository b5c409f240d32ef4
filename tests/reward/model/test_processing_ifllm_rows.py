"""From rows to batches: padding, normalisation, whole datasets, and sums that must agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from transformers import AutoFeatureExtractor, AutoProcessor

from ifllm_hf.behavior.features.table import behavior_features
from ifllm_hf.errors import DataError
from ifllm_hf.reward.model.configuration_ifllm import CHANNELS, TOKEN_CHANNELS, IFLLMConfig
from ifllm_hf.reward.model.feature_extraction_ifllm import IFLLMFeatureExtractor
from ifllm_hf.reward.model.processing_ifllm import IFLLMProcessor
from tests.helpers.reward.processed_turn import ANSWERS, TICKS, encode, word_processor


@pytest.fixture(scope="module")
def processor() -> IFLLMProcessor:
    return word_processor()


def test_channels_in_another_order_than_the_models_are_refused(processor: IFLLMProcessor) -> None:
    processor.check_config(IFLLMConfig())
    with pytest.raises(DataError, match="'channels': the processor writes .* same order"):
        processor.check_config(IFLLMConfig(channels=CHANNELS[::-1]))
    with pytest.raises(DataError, match="'token_channels'"):
        processor.check_config(IFLLMConfig(token_channels=TOKEN_CHANNELS[1:]))
    with pytest.raises(DataError, match="names a channel twice"):
        IFLLMFeatureExtractor(channels=["until_end_ms", "until_end_ms"])
    with pytest.raises(DataError, match="'token_channels' has"):
        IFLLMFeatureExtractor(token_channels=["gaze_pupil"])
    with pytest.raises(DataError, match="statistics do not fit"):
        IFLLMFeatureExtractor(channels=["heart_rate"], statistics={"pulse": [0, 1]})


def ragged(processor: IFLLMProcessor, repeat: int = 1) -> list[dict[str, Any]]:
    out = processor(["why"] * repeat, [ANSWERS] * repeat, [TICKS] * repeat)
    return [{name: values[i] for name, values in out.items()} for i in range(2 * repeat)]


@pytest.mark.parametrize(
    ("field", "edit", "says"),
    [
        ("token_behavior_mask", lambda v: v[:-1], "length 6 beside 7"),
        ("attention_mask", lambda v: [*v, 1], "length 8 beside 7"),
        ("trajectory_mask", lambda v: v[:-1], "length 5 beside 6"),
        ("trajectory_time_ms", lambda v: v[:-1], "length 5 beside 6"),
        ("trajectory", lambda v: v[:, :-1], "the channels of this processor"),
        ("token_behavior", lambda v: v * np.nan, "holds NaN"),
    ],
)
def test_rows_that_do_not_fit_together_are_refused(
    processor: IFLLMProcessor, field: str, edit: Any, says: str
) -> None:
    rows = ragged(processor)[::-1]
    rows[1] = {**rows[1], field: edit(rows[1][field])}
    with pytest.raises(DataError, match=rf"row 1, field '{field}'.*{says}"):
        processor.pad(rows)


def test_values_need_their_mask(processor: IFLLMProcessor) -> None:
    rows = [
        {k: v for k, v in row.items() if k != "trajectory_observed"} for row in ragged(processor)
    ]
    with pytest.raises(DataError, match="'trajectory_observed' is missing"):
        processor.pad(rows)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(processor: IFLLMProcessor, side: str) -> None:
    processor.tokenizer.padding_side = side
    try:
        alone = [processor.pad([row]) for row in ragged(processor)]
        batch = processor.pad([{}, *ragged(processor, 4)])
    finally:
        processor.tokenizer.padding_side = "right"
    assert batch["attention_mask"][0].sum() == 0 and not batch["trajectory_mask"][0].any()
    for row in range(8):
        for name, value in alone[row % 2].items():
            length, mine = value.shape[1], batch[name][row + 1]
            left = side == "left" and not name.startswith("trajectory")
            assert torch.equal(mine[-length:] if left else mine[:length], value[0]), name
            rest = mine[:-length] if left else mine[length:]
            assert name == "input_ids" or not rest.any()
    everything = encode(processor)
    for name, value in processor.pad(ragged(processor)).items():
        assert torch.equal(value, everything[name]), name


def test_rows_may_come_as_arrays_of_any_kind(processor: IFLLMProcessor) -> None:
    arrays = {
        name: np.array(
            [np.nan if v is None and name.endswith("char") else v for v in values],
            dtype=float if name.endswith("char") else None,
        )
        for name, values in TICKS.items()
    }
    for name, value in encode(processor, arrays).items():
        assert torch.equal(value, encode(processor)[name]), name


def test_normalisation_is_that_of_the_training_rows_and_is_saved(
    processor: IFLLMProcessor, prepared_small: Path, tmp_path: Path
) -> None:
    from datasets import load_dataset

    turns = load_dataset(str(prepared_small), "pairwise", split="train")
    fitted = IFLLMProcessor(processor.tokenizer).fit(turns)
    out = fitted.encode_rows(turns[:])
    for kind, mask, names in (
        ("token_behavior", "token_behavior_mask", fitted.feature_extractor.token_channels),
        ("trajectory", "trajectory_observed", fitted.feature_extractor.channels),
    ):
        values = np.concatenate([v for side in "ab" for v in out[f"{kind}_{side}"]])
        seen = np.concatenate([v for side in "ab" for v in out[f"{mask}_{side}"]])
        assert not values[~seen].any()
        for at, name in enumerate(names):
            if name in fitted.feature_extractor.statistics:
                here = values[seen[:, at], at]
                assert here.mean() == pytest.approx(0, abs=1e-3), name
                assert here.std() == pytest.approx(1, abs=1e-3), name
    fitted.save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path)  # the code beside it needs no trust here
    assert type(loaded) is IFLLMProcessor
    assert type(AutoFeatureExtractor.from_pretrained(tmp_path)) is IFLLMFeatureExtractor
    assert loaded.feature_extractor.to_dict() == fitted.feature_extractor.to_dict()
    assert (loaded.layout, loaded.max_length) == (fitted.layout, fitted.max_length)
    for name, value in encode(fitted).items():
        assert torch.equal(encode(loaded)[name], value), name
    assert not torch.equal(encode(fitted)["trajectory"], encode(processor)["trajectory"])
    with pytest.raises(DataError, match=r"\['heart_rate'\] were observed in none"):
        IFLLMProcessor(
            processor.tokenizer, IFLLMFeatureExtractor(channels=[*CHANNELS, "heart_rate"])
        ).fit(turns)


def test_an_answer_that_is_missing_moves_no_other_to_its_side(processor: IFLLMProcessor) -> None:
    """Ticks on b belong to b, also where nothing is stored for a."""
    rows = {
        "prompt": ["why"] * 2,
        "response_a": [None, ANSWERS[0]],
        "response_b": [ANSWERS[1], ANSWERS[1]],
        **{name: [values] * 2 for name, values in TICKS.items()},
    }
    rows["mouse_on"] = [["b", "b", "b", "none", "b", "b", "b"], TICKS["mouse_on"]]
    rows["mouse_char"] = [[0, 4, 5, None, 8, 1, 0], TICKS["mouse_char"]]
    fitted = IFLLMProcessor(processor.tokenizer).fit(rows)
    ids = fitted.encode_rows(rows)["input_ids_a"]
    assert [len(row) for row in ids] == [0, 7]


def test_rows_of_the_dataset_map_in_two_processes(
    processor: IFLLMProcessor, prepared_small: Path
) -> None:
    from datasets import load_dataset

    turns = load_dataset(str(prepared_small), "pairwise", split="train")
    mapped = turns.map(
        processor.encode_rows,
        batched=True,
        num_proc=2,
        remove_columns=turns.column_names,
    ).with_format("numpy")
    names = [name.removesuffix("_a") for name in mapped.column_names if name.endswith("_a")]
    rows = [{n: row[f"{n}_{side}"] for n in names} for row in mapped for side in "ab"]
    batch = processor.pad(rows)
    direct = processor(
        turns["prompt"][:],
        list(zip(turns["response_a"], turns["response_b"], strict=True)),
        turns[:],
        return_tensors="pt",
    )
    assert set(batch) == set(direct)
    for name, value in direct.items():
        assert torch.equal(batch[name], value), name


def test_pointwise_rows_have_one_side(processor: IFLLMProcessor, prepared_small: Path) -> None:
    from datasets import load_dataset

    turns = load_dataset(str(prepared_small), "pointwise", split="train")
    out = processor.encode_rows(turns[:])
    assert all(value is None for value in out["trajectory_b"])
    assert sum(map(len, out["trajectory_a"])) > 0


@pytest.mark.parametrize("config", ["pairwise", "pointwise"])
def test_sums_over_tokens_are_the_features(
    processor: IFLLMProcessor, prepared_synthetic: Path, config: str
) -> None:
    check_sums(processor, prepared_synthetic, config)


@pytest.mark.parametrize("config", ["pairwise", "pointwise"])
def test_sums_over_tokens_are_the_features_of_the_release(
    processor: IFLLMProcessor, prepared_release: Path, config: str
) -> None:
    check_sums(processor, prepared_release, config)


def check_sums(processor: IFLLMProcessor, folder: Path, config: str) -> None:
    """Compare with `ifllm_hf.behavior`, which computes the same in another way."""
    from datasets import load_dataset

    turns = load_dataset(str(folder), config, split="train")
    features = behavior_features(pl.from_arrow(turns.data.table))
    uncut = IFLLMProcessor(processor.tokenizer, max_length=100_000)
    out: dict[str, list[Any]] = {}
    for part in turns.iter(batch_size=100):
        for name, values in uncut.encode_rows(part).items():
            out.setdefault(name, []).extend(values)
    sides = "ab" if config == "pairwise" else "a"
    checked = 0
    for measure in ("dwell_ms", "regressions"):
        for channel in ("gaze", "mouse"):
            at = TOKEN_CHANNELS.index(f"{channel}_{measure}")
            scale = 1000.0 if measure.endswith("_ms") else 1.0
            for side in sides:
                sums = [
                    np.expm1(v[:, at].astype(np.float64)).sum() * scale
                    for v in out[f"token_behavior_{side}"]
                ]
                wanted = features[f"{channel}_{measure}_{side}"].fill_nan(0.0).to_numpy()
                np.testing.assert_allclose(sums, wanted, rtol=1e-4, atol=1e-2)
                checked += int((wanted > 0).sum())
    assert checked > 20


def test_padding_is_asked_for_as_in_transformers(processor: IFLLMProcessor) -> None:
    def sizes(padding: Any, tensors: str | None = "pt") -> set[tuple[str, int]]:
        batch = processor("why", ANSWERS, TICKS, padding=padding, return_tensors=tensors)
        batch.pop("context")  # of an answer, not of its tokens or ticks
        return {(name, len(row)) for name, rows in batch.items() for row in rows}

    whole, ragged_rows = sizes(None), sizes(None, None)
    assert ragged_rows != whole
    for padding in (True, "longest"):
        assert sizes(padding) == whole == sizes(padding, None)
    for padding in (False, "do_not_pad"):
        assert sizes(padding, None) == ragged_rows
        with pytest.raises(DataError, match="input_ids"):
            sizes(padding)
    most = {"t": processor.max_length, "k": processor.feature_extractor.max_ticks}
    for name, size in sizes("max_length"):
        assert size == (most["k"] if name.startswith("trajectory") else most["t"])
    with pytest.raises(DataError, match="'longer'"):
        sizes("longer")


@pytest.mark.parametrize("layout", [None, "plain"])
def test_a_chat_template_of_its_own_is_kept_and_used(
    processor: IFLLMProcessor, layout: str | None, tmp_path: Path
) -> None:
    template = "{% for m in messages %}so {{ m['content'] }} {% endfor %}"
    own = IFLLMProcessor(
        processor.tokenizer, processor.feature_extractor, layout=layout, chat_template=template
    )
    assert own.layout == (layout or "chat")
    own.save_pretrained(tmp_path)
    again = AutoProcessor.from_pretrained(tmp_path)
    assert (again.chat_template, again.layout) == (template, own.layout)
    expected = processor.tokenizer("so why so it is ", add_special_tokens=False)["input_ids"]
    for one in (own, again):
        (ids,) = one("why", "it is")["input_ids"]
        assert (list(ids) == expected) == (layout is None)
