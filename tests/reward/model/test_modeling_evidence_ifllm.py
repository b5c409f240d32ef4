"""The evidence head: the shares by hand, the same function as `LateReading`, what is unknown."""

from __future__ import annotations

import copy
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from ifllm_hf.behavior.features.habits import add_habits
from ifllm_hf.behavior.features.table import behavior_features
from ifllm_hf.errors import DataError
from ifllm_hf.reward.baselines.late_reading import COLUMNS, LateReading, Signals
from ifllm_hf.reward.model.configuration_ifllm import CHANNELS, LATE_COLUMNS, IFLLMConfig
from ifllm_hf.reward.model.feature_extraction_ifllm import IFLLMFeatureExtractor
from ifllm_hf.reward.model.modeling_evidence_ifllm import late_integral, late_shares, shares_of_rows
from ifllm_hf.reward.model.modeling_ifllm import IFLLMForRewardModeling
from ifllm_hf.reward.model.processing_ifllm import IFLLMProcessor
from ifllm_hf.reward.training.evidence import load_head
from ifllm_hf.training.local_dataset import load_local_folder
from tests.helpers.reward.tokenizers import make_tokenizer
from tests.helpers.reward.turns import make_turns

ALONE = {"use_text": False, "use_token_behavior": False, "use_trajectory": False}


@pytest.fixture(scope="module")
def turns() -> list[dict[str, Any]]:
    """Turns with gaze and mouse; some without one of them, some without a tick of reading."""
    rows = make_turns(workers=6, each=8, behavior=0.8, seed=3)
    for i, row in enumerate(rows):
        for gone in (["gaze"], ["mouse"], ["gaze", "mouse"], [], [], [])[i % 6]:
            for what in ("on", "char"):
                row[f"{gone}_{what}"] = [None] * len(row["t_ms"])
        if i % 17 == 0:
            row["phase"] = ["rating"] * len(row["t_ms"])
    return rows


@pytest.fixture(scope="module")
def fitted(turns: list[dict[str, Any]]) -> LateReading:
    rows = joined(turns)
    y = (rows["preference"] == "b").to_numpy().astype(float)
    return LateReading().fit(rows, y, rows["user_id"].to_numpy())


@pytest.fixture(scope="module")
def processor() -> IFLLMProcessor:
    return IFLLMProcessor(make_tokenizer("wordpiece", ["why good river"]), max_length=32)


@pytest.fixture(scope="module")
def model(fitted: LateReading) -> IFLLMForRewardModeling:
    return of(fitted)


def of(fitted: LateReading) -> IFLLMForRewardModeling:
    made = IFLLMForRewardModeling(IFLLMConfig(**ALONE, evidence_head=True)).eval()
    load_head(made.model.evidence, fitted)
    return made


def joined(turns: list[dict[str, Any]]) -> pl.DataFrame:
    rows = pl.DataFrame(turns, infer_schema_length=None)
    return rows.join(behavior_features(rows).drop("contaminated"), on="query_id")


def with_habits(turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    from datasets import Dataset

    return list(add_habits(Dataset.from_list(turns)))


def encoded(processor: IFLLMProcessor, turns: list[dict[str, Any]]) -> Any:
    answers = [[row["response_a"], row["response_b"]] for row in turns]
    asked = [row["prompt"] for row in turns]
    return processor(asked, answers, turns, return_tensors="pt")


def leads(model: Any, batch: Any) -> np.ndarray:
    with torch.no_grad():
        scores = model(**batch).rewards[:, 0].double().numpy().reshape(-1, 2)
    return np.asarray(scores[:, 1] - scores[:, 0])


def shares(on_this: list[float], time_ms: list[float]) -> torch.Tensor:
    """Return the nine shares of an answer that the mouse alone was recorded on."""
    this = torch.tensor([[[v, 0.0] for v in on_this]])
    seen = torch.tensor([[[True, False]] * len(on_this)])
    found = late_shares(
        this, seen.float(), seen, torch.tensor([time_ms]), torch.ones(1, len(on_this)).bool()
    )
    return found.log_share[0].exp() - 0.15 * torch.tensor([0.1, 0.2, 0.3]).repeat(3)


def test_the_share_of_a_half_is_the_integral_over_it() -> None:
    """4 s of reading at 2 Hz: from u = 1/2 to 0 the weight 2^(-u / h) integrates to this."""
    time = [500.0 * i for i in range(9)]
    late = [(h / math.log(2)) * (1 - 2 ** (-0.5 / h)) for h in (0.1, 0.2, 0.3)]
    early = [(h / math.log(2)) * (2 ** (-0.5 / h) - 2 ** (-1 / h)) for h in (0.1, 0.2, 0.3)]
    torch.testing.assert_close(shares([0.0] * 4 + [1.0] * 5, time)[:3], torch.tensor(late))
    torch.testing.assert_close(shares([1.0] * 4 + [0.0] * 5, time)[:3], torch.tensor(early))


@pytest.mark.parametrize("shape", [(), (3,), (3, 2)])
def test_the_integral_takes_stretches_of_any_shape(shape: tuple[int, ...]) -> None:
    left = torch.linspace(0.5, 1.0, max(1, math.prod(shape))).reshape(shape)
    part = torch.linspace(0.1, 0.4, max(1, math.prod(shape))).reshape(shape)
    got = late_integral(left, part)
    assert got.shape == (*shape, 3)
    for i, half_life in enumerate((0.1, 0.2, 0.3)):
        ends = [2 ** (-u / half_life) for u in (left - part, left)]
        torch.testing.assert_close(got[..., i], half_life / math.log(2) * (ends[0] - ends[1]))


def test_a_gap_counts_for_a_second_and_more_ticks_for_no_more_time() -> None:
    seldom = shares([1.0, 0.0, 0.0], [0.0, 1000.0, 2000.0])
    torch.testing.assert_close(shares([1.0, 0.0, 0.0], [0.0, 9000.0, 10_000.0]), seldom)
    often = shares([1.0] * 10 + [0.0] * 11, [100.0 * i for i in range(21)])
    torch.testing.assert_close(often, seldom)


def test_the_mouse_speaks_for_either_unless_it_was_on_no_answer() -> None:
    def either(mouse_on_text: bool) -> float:
        on_this = torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])
        on_any = torch.tensor([[[float(mouse_on_text), 1.0]] * 2])
        seen = torch.ones(1, 2, 2).bool()
        found = late_shares(on_this, on_any, seen, torch.tensor([[0.0, 500.0]]), seen[..., 0])
        return float(found.log_share[0, 4].exp() - 0.03)

    assert either(mouse_on_text=True) == pytest.approx(0, abs=1e-6)
    assert either(mouse_on_text=False) > 0.2


@pytest.mark.parametrize("choose", ["average", "inner", "mean"])
def test_it_is_the_function_that_was_fitted_by_hand(
    choose: str, turns: list[dict[str, Any]], processor: IFLLMProcessor
) -> None:
    rows = joined(turns)
    y = (rows["preference"] == "b").to_numpy().astype(float)
    by_hand = LateReading(choose=choose).fit(rows, y, rows["user_id"].to_numpy())
    found = leads(of(by_hand), encoded(processor, with_habits(turns)))
    np.testing.assert_allclose(found, by_hand.logits(Signals.of_rows(rows)), atol=1e-5)
    assert np.std(found) > 0.05


def test_events_that_come_one_by_one_are_read_alike(
    turns: list[dict[str, Any]], fitted: LateReading, processor: IFLLMProcessor
) -> None:
    """A collected session has one event per tick: what it is not of is null in it."""
    apart = []
    for row in copy.deepcopy(turns):
        row["t_ms"] = [t + late for t in row["t_ms"] for late in (0.0, 20.0)]
        for name in ("page_load", "phase"):
            row[name] = [v for v in row[name] for _ in range(2)]
        for place, channel in enumerate(("mouse", "gaze")):
            for what in ("on", "char"):
                name = f"{channel}_{what}"
                row[name] = [v if i == place else None for v in row[name] for i in range(2)]
        apart.append(row)
    found = leads(of(fitted), encoded(processor, with_habits(apart)))
    np.testing.assert_allclose(found, fitted.logits(Signals.of_rows(joined(apart))), atol=1e-5)
    together = leads(of(fitted), encoded(processor, with_habits(turns)))
    np.testing.assert_allclose(found, together, atol=0.1)
    assert not np.array_equal(found, together)


@pytest.mark.slow
def test_on_every_turn_of_the_release_both_say_the_same(prepared_release: Path) -> None:
    pairs = load_local_folder(prepared_release, "pairwise")["train"]
    extractor = IFLLMFeatureExtractor(max_ticks=100_000)
    read = ["t_ms", "phase", "page_load"]
    read += [f"{c}_{what}" for c in ("gaze", "mouse") for what in ("on", "char", "x_px")]
    texts = pairs.select_columns(["response_a", "response_b"])
    found = []
    for start in range(0, len(pairs), 64):
        part, text = pairs.select_columns(read)[start : start + 64], texts[start : start + 64]
        chars = [[len(a), len(b)] for a, b in zip(*text.values(), strict=True)]
        log_share, recorded = shares_of_rows(extractor(part, chars), extractor.channels)
        share, known = (x.reshape(-1, 2, len(COLUMNS)) for x in (log_share, recorded))
        found.append(np.where(known.all(axis=1), share[:, 1] - share[:, 0], 0.0))
    by_hand = Signals.of_rows(
        pl.DataFrame(texts.to_pandas())
        .hstack(behavior_features(pairs))
        .with_columns(turn=pl.lit(1), prompt=pl.lit(""))
    )
    np.testing.assert_allclose(np.concatenate(found), by_hand.late, atol=1e-5)
    assert (by_hand.late != 0).any(axis=0).all() and len(by_hand.late) == 821


def test_neither_padding_nor_the_batch_nor_what_follows_reading_changes_a_score(
    model: Any, turns: list[dict[str, Any]], processor: IFLLMProcessor
) -> None:
    whole = encoded(processor, with_habits(turns[:5]))
    expected = leads(model, whole)
    alone = [leads(model, encoded(processor, [row])) for row in with_habits(turns[:5])]
    np.testing.assert_allclose(np.concatenate(alone), expected, atol=1e-6)
    moved = dict(whole)
    for name in [n for n in whole if n.startswith("trajectory") and n != "trajectory_history"]:
        moved[name] = torch.cat([torch.zeros_like(whole[name][:, :7]), whole[name]], dim=1)
    np.testing.assert_allclose(leads(model, moved), expected, atol=1e-6)
    later = copy.deepcopy(turns[:5])
    for row in later:
        end = row["t_ms"][-1]
        row["t_ms"] += [end + 50.0 * i for i in range(1, 21)]
        row["page_load"] += [0] * 20
        row["phase"] += ["rating"] * 20
        for channel in ("mouse", "gaze"):
            row[f"{channel}_on"] += ["b"] * 20
            row[f"{channel}_char"] += [0] * 20
    np.testing.assert_array_equal(leads(model, encoded(processor, with_habits(later))), expected)


def test_an_empty_answer_is_short_and_a_missing_one_unknown(processor: IFLLMProcessor) -> None:
    batch = processor([None] * 3, [[""], ["no"], [None]], return_tensors="pt")
    assert batch["context"][:, 0].tolist() == [1, 2, 0]


def test_habits_come_from_earlier_turns_alone(
    model: Any, turns: list[dict[str, Any]], processor: IFLLMProcessor
) -> None:
    mine = with_habits(turns[8:16])  # of one reader, in order
    assert not np.any(mine[0]["trajectory_history"])
    for n in (1, 4, 7):
        habit = processor.habit(turns[8 : 8 + n])
        np.testing.assert_allclose(habit, mine[n]["trajectory_history"], atol=1e-5)
        batch = processor(
            mine[n]["prompt"],
            [mine[n]["response_a"], mine[n]["response_b"]],
            turns[8 + n],
            history=turns[8 : 8 + n],
            return_tensors="pt",
        )
        expected = leads(model, encoded(processor, mine[n : n + 1]))
        np.testing.assert_allclose(leads(model, batch), expected, atol=1e-5)
    cut = with_habits(turns[8:13])
    assert [r["trajectory_history"] for r in cut] == [r["trajectory_history"] for r in mine[:5]]


def test_what_is_unknown_says_nothing(
    model: Any, fitted: LateReading, turns: list[dict[str, Any]], processor: IFLLMProcessor
) -> None:
    answers = ["short", "a good deal longer than that"]
    without_ticks = processor(None, answers, return_tensors="pt")
    lead = leads(model, without_ticks)
    per_log_char = fitted.head_weights()["length_weight"][0]
    # Of the moderators only the length of both answers is known.
    assert np.sign(lead) == np.sign(per_log_char) != 0
    several = processor(None, [*answers, answers[0]], return_tensors="pt")
    scores = model(**several).rewards[:, 0]
    assert scores[0] == scores[2] != scores[1]

    batch = encoded(processor, with_habits(turns[9:10]))
    no_lengths = {n: v for n, v in batch.items() if n != "context"}
    found = model(**no_lengths)
    assert not found.evidence[:, 0].any() and found.evidence[:, 1].all()
    single = {n: v[:1] for n, v in batch.items()}
    single["context"] = batch["context"][:1].clone()
    single["context"][:, 4] = 1
    assert model(**single).evidence[0, 1] == 0
    nothing = {"context": torch.zeros(2, 5)}
    assert not model(**nothing).rewards.any()


def test_exchanging_the_answers_turns_the_sign(
    model: Any, turns: list[dict[str, Any]], processor: IFLLMProcessor
) -> None:
    other = []
    for row in copy.deepcopy(turns):
        row["response_a"], row["response_b"] = row["response_b"], row["response_a"]
        for channel in ("mouse", "gaze"):
            on = row[f"{channel}_on"]
            row[f"{channel}_on"] = [{"a": "b", "b": "a"}.get(side, side) for side in on]
        other.append(row)
    one, two = (leads(model, encoded(processor, with_habits(t))) for t in (turns, other))
    np.testing.assert_allclose(one, -two, atol=1e-6)


def test_a_fresh_model_scores_as_its_head_and_learns_on_top(
    fitted: LateReading, turns: list[dict[str, Any]], processor: IFLLMProcessor, tmp_path: Path
) -> None:
    config = IFLLMConfig(**{**ALONE, "use_trajectory": True}, evidence_head=True)
    fresh = IFLLMForRewardModeling(config).eval()
    load_head(fresh.model.evidence, fitted)
    batch = encoded(processor, with_habits(turns[:4]))
    np.testing.assert_allclose(leads(fresh, batch), leads(of(fitted), batch), atol=1e-6)
    fresh(**batch).rewards.sum().backward()
    assert fresh.score.weight.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in fresh.model.evidence.parameters())

    fresh.save_pretrained(tmp_path)
    for dtype in (torch.bfloat16, torch.float16):
        loaded = IFLLMForRewardModeling.from_pretrained(tmp_path, dtype=dtype)
        assert {p.dtype for p in loaded.model.evidence.parameters()} == {torch.float32}
        assert not any(p.requires_grad for p in loaded.model.evidence.parameters())
    half = {n: v.half() if n == "trajectory" else v for n, v in batch.items()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        np.testing.assert_allclose(leads(loaded.eval(), half), leads(of(fitted), batch), atol=2e-3)


def test_inputs_that_do_not_fit_are_named(model: Any) -> None:
    good = torch.tensor([[5.0, 11.0, 3.0, 1.0, 2.0], [6.0, 11.0, 3.0, 1.0, 2.0]])
    with pytest.raises(DataError, match=r"context has the shape \[2, 4\]; expected \[2, 5\]"):
        model(context=good[:, :4])
    bad = good.clone()
    bad[1, 2] = -1
    with pytest.raises(DataError, match="row 1: context, 'question_chars' is -1.0"):
        model(context=bad)
    with pytest.raises(DataError, match=r"trajectory has the shape \[2\]; expected \[2, 0, \d+\]"):
        model(context=good, trajectory=torch.zeros(2), trajectory_time_ms=torch.zeros(2))
    with pytest.raises(DataError, match=r"trajectory_history has the shape \[2, 8\]"):
        model(context=good, trajectory_history=torch.zeros(2, 8))
    with pytest.raises(DataError, match="row 0: trajectory_history, 'mouse_late_10pct' is nan"):
        model(context=good, trajectory_history=torch.full((2, 9), torch.nan))
    with pytest.raises(ValueError, match="head reads mouse_on_this"):
        IFLLMConfig(evidence_head=True, channels=["until_end_ms"])
    with pytest.raises(DataError, match="takes trajectory and context"):
        model(trajectory_history=None)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("turn", "third", "row 1, field 'turn': 'third'"),
        ("turn", -1, "row 1, field 'turn': -1"),
        ("trajectory_history", [[0.0] * 8] * 2, "expected 2 times 9 finite numbers"),
        ("trajectory_history", [[float("nan")] * 9] * 2, "row 1, field 'trajectory_history'"),
        ("trajectory_history", "much", "field 'trajectory_history'"),
    ],
)
def test_rows_that_do_not_fit_are_named(
    field: str, value: Any, says: str, turns: list[dict[str, Any]], processor: IFLLMProcessor
) -> None:
    rows = with_habits(turns[:2])
    rows[1][field] = value
    with pytest.raises(DataError, match=says):
        encoded(processor, rows)


def test_ticks_without_the_time_to_the_end_are_enough(
    model: Any, turns: list[dict[str, Any]]
) -> None:
    channels = [name for name in CHANNELS if name != "until_end_ms"]
    tokenizer = make_tokenizer("wordpiece", ["why good river"])
    lean = IFLLMProcessor(tokenizer, IFLLMFeatureExtractor(channels=channels), max_length=32)
    other = IFLLMForRewardModeling(IFLLMConfig(**ALONE, evidence_head=True, channels=channels))
    other.model.evidence.load_state_dict(model.model.evidence.state_dict())
    full = IFLLMProcessor(tokenizer, max_length=32)
    rows = with_habits(turns[:3])
    expected = leads(model, encoded(full, rows))
    np.testing.assert_allclose(leads(other.eval(), encoded(lean, rows)), expected, atol=1e-6)


def test_a_model_without_a_head_loads_as_it_was_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = IFLLMForRewardModeling(IFLLMConfig(**{**ALONE, "use_trajectory": True}))
    old.save_pretrained(tmp_path)
    with caplog.at_level(logging.WARNING):
        again = IFLLMForRewardModeling.from_pretrained(tmp_path)
    assert again.model.evidence is None
    assert "has no evidence head" in caplog.text


def test_both_name_the_columns_alike() -> None:
    assert COLUMNS == LATE_COLUMNS
