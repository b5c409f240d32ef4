"""Models x label sources as one loop: stopped, resumed, refreshed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from ifllm_hf.alignment.pipeline import loop as pipeline
from ifllm_hf.alignment.pipeline.config import read_pipeline
from ifllm_hf.alignment.pipeline.loop import PipelineStatus, run_pipeline
from ifllm_hf.alignment.pipeline.state import DONE, FAILED, INTERRUPTED, RUNNING, WAITING, Run
from ifllm_hf.alignment.pipeline.training import DPO, SFT, recipe
from ifllm_hf.errors import ConfigError, OutputError
from ifllm_hf.files import read_parquet
from ifllm_hf.table_parts import table_files
from tests.helpers.alignment.pipeline_files import CLICKS, Trainer, run

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*gradient_checkpointing.*:FutureWarning",
    "ignore::DeprecationWarning",
    "ignore:Could not find a config file:UserWarning",  # of a base that is a tiny random model
)


def all_done(outcome: PipelineStatus) -> bool:
    status = {status for row in outcome.cells.values() for status in row.values()}
    return not outcome.errors and status <= {DONE, pipeline.UP_TO_DATE}


def test_what_every_run_would_refuse_is_refused_before_anything_is_labelled(
    files: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    file = files(settings={"use_cpu": False})
    with pytest.raises(ConfigError, match="launch: null.*2 GPUs.*launch: .accelerate, launch"):
        run(file)
    assert not (tmp_path / "out").exists()
    assert run(file, dry=True).cells["small"]["second"] == WAITING
    known = "transformers.integrations.integration_utils"
    monkeypatch.setattr(f"{known}.is_trackio_available", lambda: False)
    with pytest.raises(ConfigError, match="report_to is trackio"):
        run(files(settings={"report_to": "trackio"}, launch=["accelerate", "launch"]))
    trainer = Trainer(monkeypatch)
    assert all_done(run(files(settings={"use_cpu": False}, launch=["accelerate", "launch"])))
    assert len(trainer.asked) == 4


# --- the loop ------------------------------------------------------------------------------------


def test_every_model_meets_every_source_once(
    files: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trainer = Trainer(monkeypatch)
    before = run(files(), dry=True)
    assert before.cells == {
        m: dict.fromkeys(("explicit", "second"), WAITING) for m in ("small", "large")
    }
    assert not trainer.asked and not list((tmp_path / "out").glob("labels/*/pairs"))
    first = run(files())
    assert all_done(first)
    assert first.did == [
        "labels explicit", "labels second", "small x explicit", "small x second",
        "large x explicit", "large x second",
    ]  # fmt: skip
    by_cell = {(t.folder.parent.name, t.folder.name.split("-")[0]): t for t in trainer.asked}
    assert by_cell["small", "explicit"].settings["preference_loss"] == "dpo"
    assert by_cell["small", "second"].settings["beta"] == 0.5
    assert "beta" not in by_cell["small", "explicit"].settings
    assert by_cell["large", "second"].settings["lora_r"] == 4
    assert {t.settings["eval_fold"] for t in trainer.asked} == {0}
    assert by_cell["small", "second"].pairs == by_cell["large", "second"].pairs
    assert set(pl.read_parquet(by_cell["small", "second"].pairs)["source"]) == {"explicit"}
    again = run(files())
    assert again.did == [] and again.cells == first.cells and len(trainer.asked) == 4
    assert run(files(), dry=True).cells == first.cells


def test_another_setting_is_another_run_and_the_old_one_stays(
    files: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Trainer(monkeypatch)
    one = run(files(models=["small.yaml"]))
    two = run(files(models=["small.yaml"]), "--settings.beta", "0.2")
    assert two.did == ["small x explicit", "small x second"]
    places = [Path(o.folders["small"]["second"]) for o in (one, two)]
    assert places[0] != places[1] and all(p.is_dir() for p in places)
    # Other labels, other runs; labels that come out the same train nothing again.
    (tmp_path / "explicit.yaml").write_text(yaml.safe_dump({**CLICKS, "seed": 5}))
    config, models, sources = read_pipeline(tmp_path / "pipeline.yaml")
    three = run_pipeline(config, models, sources, say=lambda text: None)
    assert three.did == ["labels explicit"]


def test_one_failure_does_not_stop_the_others_and_is_tried_again(
    files: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(monkeypatch)
    trainer.fails["second"] = RuntimeError("CUDA out of memory")
    first = run(files())
    assert first.cells["small"] == {"explicit": DONE, "second": FAILED}
    assert not all_done(first) and "CUDA out of memory" in first.table()
    assert run(files(), dry=True).cells == first.cells
    assert "CUDA out of memory" in run(files(), dry=True).errors["small x second"]
    trainer.fails.clear()
    second = run(files())
    assert all_done(second) and second.did == ["small x second", "large x second"]


def test_a_kill_stops_and_the_same_command_goes_on(
    files: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(monkeypatch)
    trainer.fails["second"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run(files())
    seen = run(files(), dry=True)
    assert seen.cells["small"] == {"explicit": DONE, "second": INTERRUPTED}
    assert seen.cells["large"] == {"explicit": WAITING, "second": WAITING}
    trainer.fails.clear()
    assert run(files()).did == ["small x second", "large x explicit", "large x second"]


def test_sft_comes_once_before_all_sources(
    files: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(monkeypatch)
    path = files(models=["small.yaml"], sft={"answers": "both", "learning_rate": 3e-4})
    outcome = run(path)
    assert outcome.did[2:] == ["small SFT", "small x explicit", "small x second"]
    first, *rest = trainer.asked
    assert first.recipe == SFT and first.settings["learning_rate"] == 3e-4
    assert first.settings["answers"] == "both" and "gradient_checkpointing" in first.settings
    for training in rest:
        assert training.recipe == DPO and training.settings["learning_rate"] == 1e-2
        assert training.settings["sft_adapter"] == str(first.folder)
        assert training.settings["model_name_or_path"] == str(first.folder / "tiny_model")
    assert run(path).did == []
    # A setting of DPO alone does not train SFT again.
    assert run(path, "--settings.beta", "0.2").did == ["small x explicit", "small x second"]
    trainer.fails["small"] = RuntimeError("no memory")
    broken = run(path, "--sft.answers", "chosen")
    assert broken.cells == {"small": {"explicit": "SFT failed", "second": "SFT failed"}}
    assert broken.errors == {"small SFT": "RuntimeError: no memory"}


def test_a_fold_without_readers_is_refused_before_anything_is_labelled(
    files: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"judge_fold is 7.*0: \d"):
        run(files(judge_fold=7))
    assert not (tmp_path / "out" / "labels").exists()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file; name a folder"):
        run(files(output_dir=str(tmp_path / "file")))


def test_the_table_shows_models_and_sources() -> None:
    outcome = PipelineStatus(
        cells={"gpt2-xl": {"gaze": DONE, "mouse": WAITING}}, errors={"x": "why"}
    )
    assert outcome.table() == "         gaze  mouse\ngpt2-xl  done  waiting\nx: why"


# --- runs and their state ------------------------------------------------------------------------


def test_a_process_that_is_killed_leaves_a_run_that_goes_on(
    files: Callable[..., Path], tmp_path: Path
) -> None:
    launcher = tmp_path / "launcher.py"
    launcher.write_text(
        "import sys, time, pathlib, yaml\n"
        "out = pathlib.Path(yaml.safe_load(open(sys.argv[3]))['output_dir'])\n"
        "out.mkdir()\n"
        "while pathlib.Path(__file__).with_name('wait').exists(): time.sleep(0.05)\n"
        "(out / 'adapter_model.safetensors').write_bytes(b'weights')\n"
    )
    (tmp_path / "wait").touch()
    path = files(models=["small.yaml"], launch=["python", str(launcher)])
    command = [sys.executable, str(recipe("pipeline.py")), "--config", str(path)]
    with subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL) as process:
        runs = tmp_path / "out" / "runs" / "small"
        until = time.monotonic() + 60
        while not list(runs.glob("explicit-*/")) and time.monotonic() < until:
            time.sleep(0.05)
        assert run(path, dry=True).cells["small"] == {"explicit": RUNNING, "second": WAITING}
        os.killpg(process.pid, signal.SIGKILL)
    assert run(path, dry=True).cells["small"] == {"explicit": INTERRUPTED, "second": WAITING}
    (tmp_path / "wait").unlink()
    assert run(path).did == ["small x explicit", "small x second"]
    assert all_done(run(path))


# --- with real training --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def growing(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, Path], None]:
    """Put the first conversations of a made-up release into a folder, as they would arrive."""
    from ifllm_hf.data.synthetic import write_synthetic_release

    whole = tmp_path_factory.mktemp("growing") / "release"
    write_synthetic_release(whole, conversations=40, ticks_per_turn=100, defects=False, seed=3)

    def arrive(conversations: int, place: Path) -> None:
        logs = pl.read_csv(whole / "dataset" / "query_logs_table.csv", infer_schema=False)
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(whole / "dataset", place)
        keys = logs.select("user_id", "task_id").unique(maintain_order=True)[:conversations]
        logs.join(keys, on=["user_id", "task_id"], how="semi").write_csv(
            place / "query_logs_table.csv"
        )
        kept = {f"{user}/{task}" for user, task in keys.iter_rows()}
        for folder in (place / "user_behavior").glob("*/*"):
            if f"{folder.parent.name}/{folder.name}" not in kept:
                shutil.rmtree(folder)

    return arrive


@pytest.mark.slow
def test_new_sessions_flow_through_and_nothing_else_is_done(
    files: Callable[..., Path], growing: Callable[[int, Path], None], tmp_path: Path
) -> None:
    """Sessions -> labels -> reward -> DPO, for real, as more of them arrive."""
    place = tmp_path / "sessions"
    growing(24, place)
    looked = run(files(data=str(place), models=["small.yaml"], sources=["explicit.yaml"]), dry=True)
    assert looked.cells == {"small": {"explicit": WAITING}} and not (tmp_path / "out").exists()
    path = files(data=str(place), models=["small.yaml"], sources=["explicit.yaml"], train_on="new")
    first = run(path)
    assert first.did == ["labels explicit", "small x explicit"]
    adapter = Path(first.folders["small"]["explicit"])
    record = json.loads((adapter / "run.json").read_text())
    assert run(path).did == []
    assert run(path).cells == {"small": {"explicit": "up to date"}}
    growing(40, place)
    second = run(path)
    assert second.errors == {}
    assert second.did == ["labels explicit", "small x explicit"]
    later = Path(second.folders["small"]["explicit"])
    assert later != adapter and (adapter / "adapter_model.safetensors").exists()
    went_on = json.loads((later / "run.json").read_text())
    assert went_on["settings"]["sft_adapter"] == adapter.name
    assert went_on["result"]["step0_margin"] == 0.0
    assert "a frozen copy of the adapter" in went_on["used"]["reference"]
    runs = tmp_path / "out" / "runs" / "small"
    states = sorted(
        (json.loads(f.read_text()) for f in runs.glob("*.json")), key=lambda s: s["number"]
    )
    old, all_of = set(states[0]["trained_ids"]), set(states[1]["trained_ids"])
    assert old < all_of
    trained = went_on["data"]["train"] + sum(went_on["data"]["ledger"]["dropped"].values())
    assert trained == len(all_of - old)
    assert record["data"]["train"] + sum(record["data"]["ledger"]["dropped"].values()) == len(old)
    # Who judged goes on judging.
    tables = [
        read_parquet(table_files(place), ["user_id", "fold"])
        for place in (tmp_path / "out" / "labels").glob("*/pairs")
    ]
    judges = [set(t.filter(fold=0)["user_id"]) for t in tables]
    small, large = sorted(judges, key=len)
    assert small and small <= large
    assert not large & set(pl.concat(tables).filter(pl.col("fold") != 0)["user_id"])
    assert run(path).did == []
    assert run(path, "--min_new_pairs", "1000").cells == {"small": {"explicit": "up to date"}}


def test_sessions_of_the_collecting_page_are_such_data(
    files: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ifllm_hf.data.sessions import collected
    from tests.helpers.made_up_sessions import write_sessions

    trainer = Trainer(monkeypatch)
    read: list[str] = []
    whole = collected.read_session

    def noted(place: Any, **how: Any) -> Any:
        read.append(place.stem)
        return whole(place, **how)

    monkeypatch.setattr(collected, "read_session", noted)
    place = tmp_path / "sessions"
    first = write_sessions(place, 12, seed=1, steps=20)
    path = files(
        data=str(place), models=["small.yaml"], sources=["explicit.yaml"], train_on="new",
        min_new_pairs=2,
    )  # fmt: skip
    run(path)
    assert sorted(read) == sorted(session.session_id for session in first)
    assert run(path).did == [] and len(read) == 12
    assert run(path, dry=True).cells == {"small": {"explicit": "up to date"}}
    folds = json.loads((tmp_path / "out" / "folds.json").read_text())
    read.clear()
    second = write_sessions(place, 6, seed=2, steps=20)
    assert run(path, dry=True).cells == {"small": {"explicit": WAITING}}
    outcome = run(path)
    assert sorted(read) == sorted(session.session_id for session in second)
    later = json.loads((tmp_path / "out" / "folds.json").read_text())
    assert folds.items() < later.items()
    assert outcome.errors == {} and outcome.did == ["labels explicit", "small x explicit"]
    old, new = (pl.read_parquet(t.pairs).filter(pl.col("fold") != 0) for t in trainer.asked)
    assert not set(old["query_id"]) & set(new["query_id"]) and new.height >= 2
    assert trainer.asked[1].settings["sft_adapter"] == str(trainer.asked[0].folder)
    assert run(path).did == []


@pytest.mark.slow
def test_judging_follows_when_all_sources_are_done(
    files: Callable[..., Path],
    prepared_synthetic: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The whole line: labels, SFT, two DPO runs from it, answers, verdicts."""
    from ifllm_hf.alignment.judge import run as judge

    judge_file = {
        "baseline": {"name": "unused", "model": "unused"},
        "candidates": [{"name": "unused2", "adapter": "x"}],
        "generation": {"backend": "transformers", "max_new_tokens": 4},
        "prompts": {"max_prompts": 4},
        "judge": {"kind": "people"},
        "draws": 20,
    }
    mouse = {"name": "mouse", "source": "reward", "inputs": "mouse"}
    path = files(
        data=str(prepared_synthetic),
        sources=["explicit.yaml", "mouse.yaml"],
        sft={"learning_rate": 1e-3},
        judge="judge.yaml",
    )
    (tmp_path / "mouse.yaml").write_text(yaml.safe_dump(mouse))
    (tmp_path / "judge.yaml").write_text(yaml.safe_dump(judge_file))
    plain = judge.make_judge

    def patient(config: Any) -> Any:
        made: Any = plain(config)
        made._ask, made._show = (lambda prompt: "1"), (lambda text: None)
        return made

    monkeypatch.setattr(judge, "make_judge", patient)
    outcome = run(path)
    assert outcome.errors == {} and outcome.did[-1] == "large judging"
    assert "over 2 language models" in (tmp_path / "out" / "judge" / "summary.md").read_text()
    (report,) = (tmp_path / "out" / "judge").glob("small-*/report.json")
    found = json.loads(report.read_text())
    assert set(found["candidates"]) == {"explicit", "mouse"} and found["baseline"] == "sft"
    for folder in outcome.folders["small"].values():
        record = json.loads((Path(folder) / "run.json").read_text())
        assert record["settings"]["sft_adapter"] == Path(outcome.starts["small"]).name
        assert record["result"]["step0_margin"] == 0.0
    assert found["prompts"]["fold"] == 0 and found["prompts"]["n"] == 4
    assert run(path).did == []


def test_runs_whose_names_hold_a_dot_are_told_apart(
    tmp_path: Path, tiny: Callable[..., Path]
) -> None:
    place = tmp_path / "qwen2.5-1.5b"
    folders = {}
    for name in ("both-nu0.05", "both-nu0.1"):
        run_of = Run(place, name, {"nu": name})
        with run_of.working() as state:
            state["tiny_model"] = str(tiny())
        folders[name] = str(run_of.folder)
    assert len(list(place.glob("*.json"))) == 2
    assert pipeline.last_tiny(place, folders) == str(tiny())
