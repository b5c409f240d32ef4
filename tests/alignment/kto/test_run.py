"""Whole runs of `recipes/kto.py`: one undisturbed, one that was killed, on the dry run's recipe."""

from __future__ import annotations

import json
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*gradient_checkpointing.*:FutureWarning", "ignore::DeprecationWarning"
)
STEPS = 4


def kto(*words: str) -> int:
    """Run the recipe as a command; return its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["kto.py", *words])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(ROOT / "recipes" / "kto.py"), run_name="__main__")
    return int(end.value.code or 0)


def record_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return found


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as `ifllm label --unpaired` writes it: more dislikes than likes."""
    file = tmp_path_factory.mktemp("kto") / "answers.parquet"
    rows = [
        {
            "prompt": f"Why is {i} so?", "completion": "Because of this" * (1 + i % 3),
            "label": i % 3 == 0, "confidence": 0.9 if i % 2 else 0.7, "rule": "like",
            "source": "actions", "user_id": f"u{i % 5}", "fold": i % 5, "bullet_suffix": False,
            "history": [{"role": "user", "content": "Hi"}] if i % 2 else [],
        }
        for i in range(45)
    ]  # fmt: skip
    pl.DataFrame(rows).write_parquet(file)
    return file


@pytest.fixture(scope="module")
def words(answers: Path) -> list[str]:
    return [
        "--config", "smoke", "--dataset", str(answers), "--max_steps", str(STEPS),
        "--save_steps", "2", "--eval_steps", str(STEPS), "--logging_steps", "1", "--lora_r", "2",
        "--warmup_steps", "0", "--resume_from_checkpoint", "auto", "--history", "chosen",
        "--disable_tqdm", "true", "--dataloader_pin_memory", "false",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def trained(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    import datasets
    import torch

    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("runs") / "out"
    with pytest.MonkeyPatch.context() as patch:  # the fixtures of each test come later
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", out.with_name("datasets-cache"))
        assert kto(*words, "--output_dir", str(out)) == 0
    return out


def test_adapter_record_and_card_say_what_was_done(trained: Path) -> None:
    import torch
    from safetensors.torch import load_file

    record = record_of(trained)
    assert record["stage"] == "kto" and record["settings"]["loss_type"] == "kto"
    assert record["settings"]["desirable_weight"] is None  # as given
    data, result = record["data"], record["result"]
    assert (data["train"], data["held_out"], data["rows"]) == (36, 9, "answers")
    assert (data["desirable"], data["undesirable"]) == (12, 24)
    assert data["ledger"]["seen"] == data["ledger"]["kept"] == 45
    weights = result["desirable_weight"], result["undesirable_weight"]
    assert weights[0] > 1.5 and weights[1] == 1.0
    assert result["steps"] == STEPS
    adapter = load_file(trained / "adapter_model.safetensors")
    assert {value.dtype for value in adapter.values()} == {torch.float32}
    assert all(abs(value).max() > 0 for name, value in adapter.items() if "lora_B" in name)
    card = (trained / "README.md").read_text()
    for said in (
        "after KTO on answers.parquet", "- kto\n", "LoRA (r 2) on NF4 weights",
        "kto (beta 0.1, each answer weighed by 2 x confidence - 1)", "`start`",
        f"12 desirable (weight {weights[0]:.4g}), 24 undesirable (weight 1)",
        "Each answer was scored in its own past", "Answers: 45 seen, 36 trained on, 9 held out",
    ):  # fmt: skip
        assert said in card, said
    for file in trained.rglob("*"):
        assert not file.is_file() or str(trained.parent).encode() not in file.read_bytes(), file


def test_rewards_and_kl_are_0_before_the_first_step(trained: Path) -> None:
    result = record_of(trained)["result"]
    assert result["step0_reward"] == 0.0
    first = result["log"][0]
    assert first["kl"] == 0.0
    assert {first[name] for name in first if name.startswith("rewards/")} == {0.0}
    assert any("eval_rewards/chosen" in entry for entry in result["log"])


def test_a_killed_run_goes_on_as_if_it_had_not_been(
    trained: Path, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    killed = tmp_path / "killed"
    shutil.copytree(trained, killed)
    record = record_of(killed)
    del record["result"]
    (killed / "run.json").write_text(json.dumps(record))
    (killed / "adapter_model.safetensors").unlink()
    (killed / f"checkpoint-{STEPS}" / "trainer_state.json").write_text("{")  # half written
    arguments = [*words, "--output_dir", str(killed)]
    assert kto(*arguments, "--suffix", "true", "--prompt_template", "Q: {prompt}") == 1
    assert "the pairs changed since the run" in capsys.readouterr().err
    assert kto(*arguments) == 0
    names = ("adapter_model.safetensors",)
    assert [(killed / n).read_bytes() for n in names] == [(trained / n).read_bytes() for n in names]
    kept = ("step", "loss", "eval_loss", "rewards/chosen", "kl")
    logs = [
        [{k: v for k, v in entry.items() if k in kept} for entry in record_of(f)["result"]["log"]]
        for f in (trained, killed)
    ]
    assert logs[0][:-1] == logs[1][:-1]  # the last entry sums up
    capsys.readouterr()
    assert kto(*arguments) == 0
    assert "done before" in capsys.readouterr().err
    fresh = [*words[: words.index("--resume_from_checkpoint")], "--output_dir", str(killed)]
    assert kto(*fresh) == 1
    said = capsys.readouterr().err
    assert f"output_dir {killed} exists and is not empty" in said and "Traceback" not in said


def test_a_merge_is_measured_on_answers_that_were_wanted_by_held_out_readers(
    trained: Path, answers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ifllm_hf.alignment.merge.questions import find_questions, style_of

    monkeypatch.chdir(answers.parent)  # its name alone is in the record
    record = record_of(trained)
    found = find_questions(record, style_of(record, None), 9)
    assert found.source == "of the readers that the run held out (answers.parquet, fold 3)"
    held = pl.read_parquet(answers).filter(fold=3, label=True)
    assert len(found.asked) == len(held) == 3
    assert all(one.answer and one.answer.startswith(" Because") for one in found.asked)


def test_settings_that_do_not_fit_end_in_one_line_before_any_work(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = [*words, "--output_dir", str(out), "--per_device_train_batch_size", "1"]
    assert kto(*arguments) == 1
    said = capsys.readouterr().err
    assert said.count("error:") == 1 and "KTO estimates KL" in said and not out.exists()
