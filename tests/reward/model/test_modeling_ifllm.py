"""What the reward model promises about its scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from ifllm_hf.errors import DataError  # noqa: E402
from ifllm_hf.reward.model.configuration_ifllm import CHANNELS, IFLLMConfig  # noqa: E402
from ifllm_hf.reward.model.modeling_outputs_ifllm import pair_loss  # noqa: E402
from tests.helpers.reward.models import (  # noqa: E402
    BACKBONES,
    assert_near,
    make_batch,
    reward_model,
    scores,
    text_of,
    trajectory_of,
)


def _padded(batch: dict[str, torch.Tensor], where: str, size: int = 5) -> dict[str, torch.Tensor]:
    """Pad tokens and ticks with rubbish behind masks: left, right, or in the middle."""
    out = {}
    for name, value in batch.items():
        filler = torch.full((len(value), size, *value.shape[2:]), 7, dtype=value.dtype)
        if "mask" in name or "observed" in name:
            filler.zero_()
        cut = {"left": 0, "right": value.shape[1], "middle": value.shape[1] // 2}[where]
        out[name] = torch.cat([value[:, :cut], filler, value[:, cut:]], dim=1)
    return out


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_scores_trains_and_starts_as_its_text_model(backbone: str) -> None:
    batch = make_batch()
    fresh = reward_model(backbone, opened=False)
    assert_near(scores(fresh, batch), scores(fresh, text_of(batch)), atol=0)
    model = reward_model(backbone)
    out = model(**batch, confidence=torch.tensor([1.0, 0.8]))
    assert out.logits.shape == (4, 1) and out.rewards is out.logits
    assert (scores(model, batch) - scores(model, text_of(batch))).abs().min() > 1e-3
    out.loss.backward()
    still = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    # Keys without a bias of their own effect: a shift of all keys changes no softmax.
    assert not [n for n in still if not n.endswith(("no_text", "key.bias", "ask.bias"))], still


@pytest.mark.parametrize("backbone", BACKBONES)
def test_padding_and_company_change_nothing(backbone: str) -> None:
    model = reward_model(backbone)
    batch = make_batch(rows=8)
    expected = scores(model, batch)
    for where in ("right", "left", "middle"):
        assert_near(scores(model, _padded(batch, where)), expected)
    alone = [scores(model, {n: v[i : i + 1] for n, v in batch.items()}) for i in range(8)]
    assert_near(torch.cat(alone), expected)


def test_swapping_the_answers_flips_the_preference() -> None:
    model = reward_model()
    batch = make_batch(rows=2)
    swapped = {name: value.flip(0) for name, value in batch.items()}
    one, other = scores(model, batch), scores(model, swapped)
    assert_near(one[1] - one[0], -(other[1] - other[0]), atol=1e-6)


@pytest.mark.parametrize("missing", ["token", "trajectory"])
def test_a_path_may_be_missing_for_a_batch_or_a_row(missing: str) -> None:
    model = reward_model()
    batch = make_batch()
    without = {n: v for n, v in batch.items() if not n.startswith(missing)}
    expected = scores(model, without)
    masked = dict(batch)
    mask = "token_behavior_mask" if missing == "token" else "trajectory_mask"
    masked[mask] = torch.zeros_like(batch[mask])
    assert_near(scores(model, masked), expected)
    mixed = dict(batch)
    mixed[mask] = batch[mask].clone()
    mixed[mask][1] = 0
    whole = scores(model, batch)
    assert_near(scores(model, mixed), torch.stack([whole[0], expected[1], whole[2], whole[3]]))


def test_text_may_be_missing_for_a_batch_or_a_row() -> None:
    model = reward_model()
    with torch.no_grad():
        model.model.no_text.normal_()
    batch = make_batch()
    without = scores(model, trajectory_of(batch))
    mixed = {**batch, "attention_mask": batch["attention_mask"].clone()}
    mixed["attention_mask"][2] = 0
    got = scores(model, mixed)
    assert_near(got[2], without[2])
    assert_near(got[[0, 1, 3]], scores(model, batch)[[0, 1, 3]])
    nothing = {**mixed, "trajectory_mask": torch.zeros_like(batch["trajectory_mask"])}
    assert torch.isfinite(scores(model, nothing)).all()


def test_a_channel_may_be_missing_and_what_lies_behind_a_mask_is_not_seen() -> None:
    model = reward_model()
    batch = make_batch()
    batch["trajectory_observed"][..., 2] = False
    batch["token_behavior_mask"][..., 1] = False
    other = {n: v.clone() for n, v in batch.items()}
    other["trajectory"][..., 2], other["token_behavior"][..., 1] = 9.0, -9.0
    assert_near(scores(model, batch), scores(model, other), atol=0)


def test_without_a_backbone_only_the_trajectory_is_read() -> None:
    model = reward_model(None)
    batch = make_batch()
    assert_near(scores(model, batch), scores(model, trajectory_of(batch)), atol=0)
    assert model.get_input_embeddings() is None
    with pytest.raises(DataError, match="takes trajectory"):
        scores(model, text_of(batch))


@pytest.mark.parametrize("off", ["use_token_behavior", "use_trajectory"])
def test_a_path_that_is_off_has_no_weights_and_ignores_its_input(off: str) -> None:
    model = reward_model(**{off: False})
    batch = make_batch()
    prefix = "token_behavior" if off == "use_token_behavior" else "trajectory"
    without = {n: v for n, v in batch.items() if not n.startswith(prefix)}
    assert_near(scores(model, batch), scores(model, without), atol=0)
    path = "token_path" if off == "use_token_behavior" else "trajectory_path"
    assert getattr(model.model, path) is None


def test_a_channel_nobody_planned_for_reaches_the_model() -> None:
    model = reward_model(channels=[*CHANNELS, "heart_rate"])
    batch = make_batch(channels=len(CHANNELS) + 1)
    faster = {n: v.clone() for n, v in batch.items()}
    faster["trajectory"][..., -1] += 1
    assert (scores(model, batch) - scores(model, faster)).abs().min() > 1e-4
    with pytest.raises(DataError, match=r"trajectory has the shape \[4, 37, 9\]; expected .*10"):
        scores(model, make_batch())


def test_time_is_real() -> None:
    model = reward_model()
    batch = make_batch()
    slower = {**batch, "trajectory_time_ms": batch["trajectory_time_ms"] * 3}
    assert (scores(model, batch) - scores(model, slower)).abs().min() > 1e-4


def test_modality_dropout_takes_the_same_from_both_rows_of_a_pair() -> None:
    model = reward_model(modality_dropout=0.5, behavior_dropout=0.0)
    batch = make_batch(rows=1)
    twins = {name: value.repeat(8, *[1] * (value.dim() - 1)) for name, value in batch.items()}
    model.train()
    torch.manual_seed(0)
    seen = model(**twins, confidence=torch.ones(4)).logits[:, 0].detach()
    assert_near(seen[:4], seen[4:])
    assert len({round(float(v), 4) for v in seen[:4]}) > 1
    model.eval()
    assert len({round(float(v), 4) for v in scores(model, twins)}) == 1


def test_losses_follow_their_formulas() -> None:
    one, other = torch.tensor([1.0, -0.5]), torch.tensor([0.2, 0.1])
    confidence, margin = torch.tensor([0.9, 0.6]), torch.tensor([0.3, 0.0])
    p = torch.sigmoid(one - other - margin)
    expected = -(confidence * p.log() + (1 - confidence) * (1 - p).log()).mean()
    assert_near(pair_loss(one, other, confidence, margin), expected, atol=1e-6)
    model = reward_model(likert_head=True, likert_weight=0.25)
    batch = make_batch(rows=3)
    ratings = torch.tensor([4.0, float("nan"), 2.0])
    out = model(**batch, likert=ratings)
    error = (out.likert_logits[[0, 2], 0] - ratings[[0, 2]]).square().mean()
    assert_near(out.loss, 0.25 * error, atol=1e-6)
    # One pair and a single answer behind it.
    mixed = model(**batch, confidence=torch.tensor([0.9]), likert=ratings)
    pair = pair_loss(out.logits[:1, 0], out.logits[1:2, 0], torch.tensor([0.9]))
    assert_near(mixed.loss, pair + 0.25 * error, atol=1e-6)
    with pytest.raises(DataError, match="confidence has 2 .*3 rows"):
        model(**batch, confidence=torch.ones(2))


@pytest.mark.parametrize(
    ("field", "break_it", "message"),
    [
        ("trajectory", "nan", r"row 1: trajectory, channel 'gaze_char_share' is nan at position 2"),
        ("token_behavior", "nan", r"row 1: token_behavior, channel 'mouse_visits' is nan"),
        ("trajectory_time_ms", "nan", r"row 1: trajectory_time_ms is nan at position 2"),
        ("trajectory_time_ms", "back", r"row 1: trajectory_time_ms runs backwards at position 2"),
        (
            "trajectory_mask",
            "short",
            r"trajectory_mask has the shape \[4, 36\]; expected \[4, 37\]",
        ),
        ("token_behavior_mask", "short", r"token_behavior_mask has the shape \[4, 11, 10\]"),
        ("token_behavior", "short", r"token_behavior has the shape \[4, 11, 10\]; expected"),
        ("attention_mask", "short", r"attention_mask has the shape \[4, 11\]; expected \[4, 12\]"),
        ("trajectory_time_ms", "none", "trajectory comes without trajectory_time_ms"),
    ],
)
def test_bad_input_names_row_and_field(field: str, break_it: str, message: str) -> None:
    batch = make_batch()
    if break_it == "nan":
        batch[field][(1, 2, 3) if batch[field].dim() == 3 else (1, 2)] = float("nan")
    elif break_it == "back":
        batch[field][1, 2] = 0
    elif break_it == "none":
        del batch[field]
    else:
        batch[field] = batch[field][:, :-1]
    with pytest.raises(DataError, match=message):
        scores(reward_model(), batch)


@pytest.mark.parametrize("backbone", ["bert", "llama"])
def test_embedded_tokens_and_counted_positions_score_as_the_tokens_do(backbone: str) -> None:
    model = reward_model(backbone)
    batch = _padded(make_batch(), "middle")
    expected = scores(model, batch)
    embedded = {name: value for name, value in batch.items() if name != "input_ids"}
    with torch.no_grad():
        embedded["inputs_embeds"] = model.get_input_embeddings()(batch["input_ids"])
    assert_near(scores(model, embedded), expected, atol=0)
    counted = batch["attention_mask"].cumsum(1) - 1
    assert_near(scores(model, {**batch, "position_ids": counted}), expected, atol=0)


@pytest.mark.parametrize("backbone", ["bert", "llama"])
def test_states_and_attentions_stand_where_the_tokens_were_given(backbone: str) -> None:
    model = reward_model(backbone)
    model.set_attn_implementation("eager")
    batch = make_batch()
    with torch.no_grad():
        found = [
            model(**given, output_hidden_states=True, output_attentions=True)
            for given in (batch, _padded(batch, "left"))
        ]
    for layers in ("hidden_states", "attentions"):
        assert len(getattr(found[0], layers)) == (3 if layers == "hidden_states" else 2)
        for whole, padded in zip(*(getattr(out, layers) for out in found), strict=True):
            inside = padded[:, 5:] if layers == "hidden_states" else padded[:, :, 5:, 5:]
            assert_near(inside, whole)
    as_tuple = model(**batch, return_dict=False)
    assert isinstance(as_tuple, tuple) and torch.equal(as_tuple[0], found[0].logits)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("labels", torch.zeros(4)),
        ("problem_type", "regression"),
        ("position_ids", torch.arange(12).flip(0).expand(4, -1)),
        ("inputs_embeds", torch.zeros(4, 12, 32)),
        ("output_attentions", True),
        ("likert", torch.ones(4)),
        ("trajectory_tme_ms", torch.zeros(4, 37)),
    ],
)
def test_no_argument_is_swallowed(name: str, value: object) -> None:
    with pytest.raises(DataError, match=name):
        reward_model()(**{**make_batch(), name: value})


@pytest.mark.parametrize(
    "name", ["attention_mask", "token_behavior", "position_ids", "trajectory_mask"]
)
def test_what_belongs_to_something_that_is_missing_is_refused(name: str) -> None:
    batch = {**make_batch(), "position_ids": torch.arange(12).expand(4, -1)}
    other = trajectory_of if not name.startswith("trajectory") else text_of
    with pytest.raises(DataError, match=f"{name} comes without"):
        reward_model()(**{**other(batch), name: batch[name]})


def test_eager_attention_calls_no_other_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    model = reward_model()
    batch = make_batch()
    expected = scores(model, batch)
    model.set_attn_implementation("eager")
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", None)
    assert_near(scores(model, batch), expected)


def test_a_reward_has_one_label(tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    reward_model("bert").save_pretrained(tmp_path)
    several: list[dict[str, Any]] = [
        {"num_labels": 2},
        {"id2label": {0: "worse", 1: "better"}},
        {"problem_type": "multi_label_classification"},
    ]
    for settings in several:
        (name,) = settings
        with pytest.raises(ValueError, match=name):
            IFLLMConfig(**settings)
        with pytest.raises(ValueError, match=name):
            AutoModelForSequenceClassification.from_pretrained(tmp_path, **settings)
    config = IFLLMConfig(id2label={0: "reward"}, label2id={"reward": 0}, problem_type="regression")
    assert (config.num_labels, config.id2label) == (1, {0: "reward"})
    with pytest.raises(ValueError, match="num_labels"):
        config.num_labels = 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"use_text": False}, "use_token_behavior needs use_text"),
        ({"use_text": False, "use_trajectory": False}, "nothing is left"),
        ({"channels": ["x", "x"]}, "twice"),
        ({"channels": []}, "channels is empty"),
        ({"token_channels": []}, "token_channels is empty"),
        ({"pooling": "max"}, "pooling"),
        ({"trajectory_hidden_size": 30}, "multiple"),
        ({"modality_dropout": 1.0}, "modality_dropout"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        IFLLMConfig(**settings)
