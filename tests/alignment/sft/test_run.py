from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ifllm_hf.errors import ConfigError, DataError, OutputError

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*gradient_checkpointing.*:FutureWarning",
    "ignore::DeprecationWarning",
    "ignore:Could not find a config file in tiny-random:UserWarning",  # the made-up base's name
)
Run = Callable[..., Path]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a function that runs SFT on made-up pairs for two steps; settings can be given."""

    def call(**settings: Any) -> Path:
        from ifllm_hf.alignment.pairs.config import PairDataConfig
        from ifllm_hf.alignment.policy.config import PolicyConfig
        from ifllm_hf.alignment.sft.config import PairSFTConfig
        from ifllm_hf.alignment.sft.run import run_sft

        def of(cls: Any, **defaults: Any) -> Any:
            mine = {k: v for k, v in settings.items() if k in cls.__dataclass_fields__}
            return cls(**{**defaults, **mine})

        training = of(
            PairSFTConfig,
            output_dir=str(tmp_path / "sft"),
            use_cpu=True,
            bf16=False,
            max_steps=2,
            learning_rate=1e-2,
            gradient_checkpointing=False,
            save_strategy="no",
            logging_steps=1,
            disable_tqdm=True,
            max_length=256,
            seed=0,
            dataloader_pin_memory=False,
        )
        policy = of(PolicyConfig, model_name_or_path="tiny-random/llama", dtype="float32", lora_r=4)
        return run_sft(policy, training, of(PairDataConfig, dataset="made-up", eval_fold=0))

    return call


def record_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return found


def test_only_chosen_answers_are_learnt_unless_both_are_asked_for(run: Run, tmp_path: Path) -> None:
    from ifllm_hf.alignment.sft.run import answers_of
    from ifllm_hf.training.tiny_models import made_up_pairs

    pairs = made_up_pairs(4)
    assert answers_of(pairs, "chosen").to_list() == [
        {"prompt": row["prompt"], "completion": row["chosen"]} for row in pairs
    ]
    assert answers_of(pairs, "both")["completion"] == [*pairs["chosen"], *pairs["rejected"]]
    chosen = record_of(run())
    both = record_of(run(answers="both", output_dir=str(tmp_path / "both")))
    assert (chosen["data"]["train"], both["data"]["train"]) == (51, 102)
    assert chosen["used"]["weights"].startswith("LoRA (r 4) on NF4 weights, double quantisation")
    assert chosen["used"]["loss"] == "NLL per token of the chosen answers"
    card = (tmp_path / "both" / "README.md").read_text()
    assert "after SFT on made-up" in card and "chosen and rejected answers alike" in card
    assert "Reference model" not in card and "13 held out (fold 0)" in card


def test_no_question_is_learnt_as_an_answer(tmp_path: Path) -> None:
    """Whole conversations beside a text prompt, as in UltraFeedback: the question stays outside."""
    from ifllm_hf.alignment.pairs.config import PairDataConfig
    from ifllm_hf.alignment.pairs.format import load_pairs
    from ifllm_hf.alignment.sft.run import answers_of

    def conversation(answer: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": answer}]

    pair = {"prompt": "Why?", "chosen": conversation("So"), "rejected": conversation("No")}
    file = tmp_path / "pairs.jsonl"
    file.write_text(json.dumps(pair) + "\n")
    loaded = load_pairs(PairDataConfig(dataset=str(file)))
    assert answers_of(loaded.train, "both").to_list() == [
        {"prompt": "Question: Why?\n\nAnswer:", "completion": " So"},
        {"prompt": "Question: Why?\n\nAnswer:", "completion": " No"},
    ]


def test_the_loss_is_that_of_the_answer_alone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: mean over the answer's tokens, its end included and the prompt left out."""
    from ifllm_hf.alignment.sft import run as sft_run

    made: list[Any] = []
    init = sft_run.AnswerSFTTrainer.__init__
    monkeypatch.setattr(
        sft_run.AnswerSFTTrainer,
        "__init__",
        lambda self, **kwargs: (made.append(self), init(self, **kwargs))[1],
    )
    run(max_steps=1, method="lora")
    trainer = made[0]
    row = trainer.train_dataset[0]
    text = trainer.processing_class.decode([i for i in row["labels"] if i != -100])
    assert text == f" {row['completion'].strip()}" or text.startswith(" ")
    assert row["labels"][-1] == trainer.processing_class.eos_token_id
    ids, labels = torch.tensor([row["input_ids"]]), torch.tensor([row["labels"]])
    with torch.no_grad():
        logits = trainer.model(input_ids=ids).logits.log_softmax(-1)
        expected = torch.nn.functional.nll_loss(logits[0, :-1], labels[0, 1:], ignore_index=-100)
        batch = trainer.data_collator([{"input_ids": row["input_ids"], "labels": row["labels"]}])
        seen = trainer.compute_loss(trainer.model, batch)
    torch.testing.assert_close(seen, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_dpo_continues_the_adapter_against_its_start_or_against_the_base(
    run: Run, tmp_path: Path
) -> None:
    from ifllm_hf.alignment.dpo.config import PairDPOConfig
    from ifllm_hf.alignment.dpo.run import run_dpo
    from ifllm_hf.alignment.pairs.config import PairDataConfig
    from ifllm_hf.alignment.policy.config import PolicyConfig

    out = run(max_steps=6)
    margins = {}
    for reference in ("start", "base"):
        folder = tmp_path / reference
        run_dpo(
            PolicyConfig(
                model_name_or_path="tiny-random/llama",
                dtype="float32",
                lora_r=4,
                sft_adapter=str(out),
            ),
            PairDPOConfig(
                output_dir=str(folder),
                use_cpu=True,
                bf16=False,
                max_steps=1,
                gradient_checkpointing=False,
                save_strategy="no",
                disable_tqdm=True,
                reference=reference,
                seed=0,
                dataloader_pin_memory=False,
            ),
            PairDataConfig(dataset="made-up", eval_fold=0),
        )
        record = record_of(folder)
        margins[reference] = record["result"]["step0_margin"]
        assert record["used"]["weights"].endswith("continuing the adapter sft")
    assert margins["start"] == 0.0
    assert margins["base"] > 1e-3


def test_an_sft_run_resumes_and_never_overwrites(run: Run, tmp_path: Path) -> None:
    whole = run(max_steps=4, output_dir=str(tmp_path / "whole"), method="lora")
    run(max_steps=4, save_strategy="steps", save_steps=2, method="lora")
    from safetensors.torch import load_file

    with pytest.raises(OutputError, match="exists and is not empty"):
        run()
    run(max_steps=4, method="lora", resume_from_checkpoint=str(tmp_path / "sft" / "checkpoint-2"))
    first, second = (load_file(f / "adapter_model.safetensors") for f in (whole, tmp_path / "sft"))
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    for file in whole.rglob("*"):
        assert not file.is_file() or str(tmp_path).encode() not in file.read_bytes(), file


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"answers": "rejected"}, ConfigError, "answers is 'rejected'.*chosen, bo"),
        ({"packing": True}, ConfigError, "packing is True"),
        ({"sft_adapter": "x"}, ConfigError, "sft_adapter is set"),
        ({"max_length": 8}, DataError, "all 51 prompts fill max_length 8"),
        ({"model_name_or_path": "./nowhere"}, ConfigError, "no such folder"),
    ],
)
def test_what_cannot_be_run_is_refused(
    run: Run, settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(**settings)


def test_where_nobody_is_held_out_nothing_is_evaluated(run: Run) -> None:
    out = run(eval_fold=None, eval_strategy="steps", eval_steps=1)
    record = json.loads((out / "run.json").read_text())
    assert record["data"]["held_out"] == 0 and record["result"]["steps"] == 2
    assert record["settings"]["eval_strategy"] == "steps"  # as given: the run is known by it
