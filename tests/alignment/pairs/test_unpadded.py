from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*gradient_checkpointing.*:FutureWarning", "ignore::DeprecationWarning"
)
ARCHITECTURES = ("gpt2", "gpt_neox", "olmo2", "llama", "qwen2", "qwen3")


def example(prompt: list[int], chosen: list[int], rejected: list[int]) -> dict[str, list[int]]:
    return {"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected}


def test_each_token_stands_once_and_the_end_of_the_prompt_twice() -> None:
    from ifllm_hf.alignment.pairs.unpadded import collate_unpadded

    batch = collate_unpadded(
        [example([1, 2, 3], [4, 5], [6, 7, 8]), example([9], [10, 11, 12], [13])], max_length=5
    )
    #        shared    chosen  rejected |  chosen     rejected
    assert batch["input_ids"].tolist() == [[1, 2, 3, 4, 3, 6, 9, 10, 11, 9]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 3, 2, 3, 0, 1, 2, 0]]
    assert batch["scored_at"].tolist() == [2, 3, 4, 5, 6, 7, 8, 9]
    assert batch["targets"].tolist() == [4, 5, 6, 7, 10, 11, 12, 13]
    assert batch["scored"].tolist() == [[0, 1, 0], [4, 5, 6], [2, 3, 0], [7, 0, 0]]
    assert batch["answer_lengths"].tolist() == [2, 3, 2, 1]  # 8 is beyond max_length
    assert batch["answer_mask"].tolist() == [[1, 1, 0], [1, 1, 1], [1, 1, 0], [1, 0, 0]]
    assert batch["groups"] == [(1, 1), (1, 3), (1, 4), (1, 4)]
    assert batch["rows"].tolist() == [9, 6, 7, 8, 0, 1, 2, 3, 0, 1, 4, 5]
    assert batch["rows"][batch["place"]].tolist() == list(range(10))
    assert (batch["shared"].tolist(), batch["shared_place"].tolist()) == ([0, 1], [8, 9])


@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=6
    ),
    st.sampled_from([1, 4, 12]),
)
def test_rows_of_answers_are_what_a_padded_batch_holds(
    sizes: list[tuple[int, int, int]], most_groups: int
) -> None:
    from ifllm_hf.alignment.pairs.unpadded import collate_unpadded

    rng = np.random.default_rng(len(sizes))
    examples = [example(*(rng.integers(3, 99, size=n).tolist() for n in size)) for size in sizes]
    batch = collate_unpadded(examples, max_length=24, most_groups=most_groups)
    assert len(batch["groups"]) <= most_groups
    if most_groups == 12:  # as many as rows: nothing is padded
        assert all(n == 1 for n, _ in batch["groups"])
    rows, start = [], 0
    for n, width in batch["groups"]:
        rows += batch["rows"][start : start + n * width].view(n, width).tolist()
        start += n * width
    ids, positions = batch["input_ids"][0], batch["position_ids"][0]
    sides = ("chosen_ids", "rejected_ids")
    expected = [(e["prompt_ids"] + e[side])[:24] for e in examples for side in sides]
    seen = []
    for row in rows:
        own = [row[0]] + [token for token in row[1:] if token]  # padding looks up token 0
        assert positions[own].tolist() == list(range(len(own)))
        seen.append(ids[own].tolist())
    assert sorted(seen) == sorted(answer[:-1] for answer in expected)  # the last is not read


def test_the_first_token_of_all_is_not_scored() -> None:
    from ifllm_hf.alignment.pairs.unpadded import collate_unpadded

    batch = collate_unpadded([example([], [4, 5, 6], [7, 8])], max_length=None)
    assert batch["input_ids"].tolist() == [[4, 5, 7]]
    assert batch["scored_at"].tolist() == [0, 1, 2]
    assert batch["targets"].tolist() == [5, 6, 8]
    assert batch["answer_lengths"].tolist() == [3, 2]


@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_unpadded_loss_and_gradients_equal_those_of_the_padded_batch(
    tiny: Callable[..., Path], make_trainer: Callable[..., Any], architecture: str
) -> None:
    from transformers import AutoModelForCausalLM

    seen = []
    for remove_padding in (True, False):
        trainer = make_trainer(
            AutoModelForCausalLM.from_pretrained(tiny(architecture)),
            ref_model=AutoModelForCausalLM.from_pretrained(tiny(architecture, seed=1)),
            reference="base",
            remove_padding=remove_padding,
            nll_weight=0.5,
            beta=0.5,
            max_length=40,  # some answers are cut
        )
        assert (trainer.padded is None) == remove_padding
        assert trainer.cut["train"] > 0
        trainer.model.train()
        batch = trainer.data_collator([trainer.train_dataset[i] for i in range(8)])
        loss = trainer.compute_loss(trainer.model, batch)
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in trainer.model.parameters()])
        seen.append((loss.detach(), gradient))
    torch.testing.assert_close(seen[0][0], seen[1][0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(seen[0][1], seen[1][1], rtol=1e-4, atol=1e-6)
    assert seen[0][1].abs().max() > 1e-3


def test_layers_that_look_back_a_little_equal_the_padded_batch() -> None:
    from transformers import MistralConfig, MistralForCausalLM
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    from ifllm_hf.alignment.pairs import unpadded
    from ifllm_hf.alignment.pairs.attention import IN_GROUPS
    from ifllm_hf.alignment.pairs.head import add_answer_head

    torch.manual_seed(0)
    model = MistralForCausalLM(
        MistralConfig(
            vocab_size=40, hidden_size=16, intermediate_size=16, num_hidden_layers=2,
            num_attention_heads=2, num_key_value_heads=1, sliding_window=3,
        )
    )  # fmt: skip
    examples = [example([1, 2, 3, 4], [5, 6, 7, 8, 9], [10]), example([11], [12, 13], [14, 15])]
    padded = DataCollatorForPreference(pad_token_id=0)(examples)
    with torch.no_grad():
        logits = model(padded["input_ids"], attention_mask=padded["attention_mask"]).logits
    log_probs = logits[:, :-1].log_softmax(-1).gather(2, padded["input_ids"][:, 1:, None])[..., 0]
    expected = (log_probs * padded["completion_mask"][:, 1:]).sum(dim=1)

    from trl.trainer.utils import add_fused_lm_head

    assert unpadded.reason_to_pad(model) is None
    model.set_attn_implementation(IN_GROUPS)
    add_fused_lm_head(model)
    add_answer_head(model)
    with torch.no_grad():
        seen = unpadded.answer_log_probs(model, unpadded.collate_unpadded(examples, None))
        np.testing.assert_allclose(seen.sum(dim=1), expected, rtol=1e-4)
        # Without pairs the model is what it was.
        again = model(padded["input_ids"], attention_mask=padded["attention_mask"]).logits
    mask = padded["attention_mask"].bool()
    np.testing.assert_allclose(again[mask], logits[mask], rtol=1e-4, atol=1e-5)


def test_models_that_cannot_are_padded_and_the_log_says_why(
    tiny: Callable[..., Path], make_trainer: Callable[..., Any]
) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny(), attn_implementation="eager")
    trainer = make_trainer(model, max_steps=1)
    assert trainer.padded == "attn_implementation is eager"
    trainer.train()
    assert trainer.state.log_history[0]["padding_share"] > 0
