"""`tests/speed/on_card`: what nobody can try before a card is there."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

SPEED = Path(__file__).parents[1] / "speed"
HERE = {
    "device": "cuda", "shrink": 1, "card": "NVIDIA H200", "memory_gb": 150.8, "peak_flops": 989e12,
    "peak_from": "as stated for H200", "product_flops": 790e12, "versions": {"torch": "2.13.0"},
    "multiplied": dict.fromkeys(
        ("gpt2-xl", "pythia-2.8b", "olmo2-1b", "llama-3.2-3b", "qwen2.5-1.5b", "qwen2.5-3b",
         "qwen3-1.7b", "qwen3-4b"), 4.0e9),
}  # fmt: skip
FOUND = {
    "pairs_per_s": 20.0, "tokens_per_s": 14800.0, "mfu": 0.36, "memory_gb": 5.0, "parameters": 4e9,
    "longest_memory_gb": 6.0, "longest_reserved_gb": 9.0, "longest_context_gb": 0.5,
    "first_step_begins_s": 20.0, "first_step_ends_s": 21.0, "launches": 40000, "micro_batch": 4,
    "adapter_dtype": "float32",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SPEED)


def module(name: str) -> Any:
    return importlib.import_module(name)


class Machine:
    """Runs no process: every task takes its seconds and finds the same, unless it is to fail."""

    def __init__(self, **fails: str) -> None:
        self.fails: dict[str, str] = fails
        self.ran: list[str] = []

    def __call__(self, asked: dict[str, Any], timeout_s: float) -> tuple[dict[str, Any], Any]:
        name = f"{asked['shape']} {asked['method']}"
        self.ran.append(name)
        return (FOUND, None) if name not in self.fails else ({}, self.fails[name])


def tasks(*names: str) -> list[Any]:
    task = module("on_card.cell").Task
    return [task(*name.split()) for name in names]


def result(file: Path) -> Any:
    read = module("on_card.run").Result.read(file)
    read.go_on(HERE)
    return read


def soon(minutes: float = 14) -> float:
    return time.monotonic() + 60 * minutes


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("side", "kind", "method"),
    [("ours", "pairs", "qlora"), ("trl-grouped", "equal", "lora")],
)
def test_a_cell_of_the_smallest_shape_trains_on_a_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: str, kind: str, method: str
) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    cell = module("on_card.cell")
    task = cell.Task(
        "gpt2-xl", method, side, kind, device="cpu", shrink=16, shorter=16, pairs=6, step_pairs=2,
        warm_up=1, steps=1, cap_gb=4.0, peak_flops=1e11,
    )  # fmt: skip
    kept: list[dict[str, Any]] = []
    found = cell.measure(task, tmp_path, lambda so_far: kept.append(dict(so_far)))
    assert "pairs_per_s" not in kept[0] and kept[0]["longest_memory_gb"] > 0
    assert found["launches"] > 1000 and found["micro_batch"] == 2
    assert found["checkpointing"] is (method == "qlora")
    assert 0 < found["first_step_begins_s"] < found["first_step_ends_s"]
    assert found["tokens_per_s"] / found["pairs_per_s"] > 50
    # By hand: 12 h^2 a layer, and the head.
    weights = 3 * 12 * 100**2 + 50257 // 16 * 100
    assert found["mfu"] == pytest.approx(6 * found["tokens_per_s"] * weights / 1e11)
    if kind == "pairs":
        assert found["pairs"] == 6 and found["epoch_s"] == pytest.approx(6 / found["pairs_per_s"])


@pytest.mark.filterwarnings("ignore")
def test_the_small_shapes_of_run_py_go_without_the_longest_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    cell = module("on_card.cell")
    task = cell.Task(
        "gpt2-xl", "lora", device="cpu", shrink=16, shorter=16, step_pairs=2, warm_up=1, steps=1,
        whole=False, count_memory=True, peak_flops=1e11, vocabulary=512,
    )  # fmt: skip
    found = cell.measure(task, tmp_path, lambda so_far: None)
    assert found["checkpointing"] and found["counted_gb"] > 0 and "launches" not in found


def test_the_largest_micro_batch_is_found_by_doubling_and_half_a_doubling() -> None:
    training = module("on_card.cell")._Training

    def largest(limit: float, most: int = 16) -> tuple[int, list[int]]:
        run, tried = training.__new__(training), []
        run._cuda, run._task = False, module("on_card.cell").Task("a", "lora", cap_gb=1.0)

        def fits(size: int) -> bool:
            tried.append(size)
            run.memory = {"memory_gb": size / limit}
            return size <= limit

        run._fits, run._checkpoint_instead = fits, lambda size: False
        found = run.largest_micro_batch(most)
        assert run.memory == {"memory_gb": found / limit}
        return found, tried

    assert largest(5) == (4, [1, 2, 4, 8, 6])
    assert largest(3) == (3, [1, 2, 4, 3])
    assert largest(1) == (1, [1, 2])
    assert largest(99) == (16, [1, 2, 4, 8, 16])
    with pytest.raises(SystemExit, match="not one pair"):
        largest(0.5)


@pytest.mark.parametrize(
    "words", ["CUDA out of memory. Tried to", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when"]
)
def test_a_batch_that_does_not_fit_is_tried_with_checkpointing(words: str) -> None:
    training = module("on_card.cell")._Training
    run = training.__new__(training)
    run._cuda, run._task = False, module("on_card.cell").Task("a", "lora")
    run.trainer = _Trainer()
    run.longest = _Rows()

    def train(*_: Any) -> None:
        run.memory = {"memory_gb": 1.0}
        if not run.trainer.args.gradient_checkpointing:
            raise RuntimeError(words)

    run.train = train
    run.train_longest(4)
    assert run.trainer.args.gradient_checkpointing and run.trainer.zeroed

    run.trainer.args.gradient_checkpointing = False
    run.train = _raises(RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        run.train_longest(4)


class _Rows:
    def select(self, rows: range) -> range:
        return rows


class _Trainer:
    def __init__(self) -> None:
        self.args = self.model = self
        self.gradient_checkpointing = self.zeroed = False

    def zero_grad(self) -> None:
        self.zeroed = True

    def enable_input_require_grads(self) -> None:
        pass


def _raises(error: Exception) -> Any:
    def train(*_: Any) -> None:
        raise error

    return train


def test_a_card_is_read_as_it_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    gauges, limits = module("on_card.gauges"), []
    says = {
        "mem_get_info": (138.5e9, 150e9), "memory_reserved": 11e9, "max_memory_allocated": 7e9,
        "max_memory_reserved": 11e9, "reset_peak_memory_stats": None,
        "get_device_properties": SimpleNamespace(total_memory=150e9),
    }  # fmt: skip
    for name, value in says.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", limits.append)
    took = gauges.PeakMemory(True).end()
    assert took == {"memory_gb": 7.0, "reserved_gb": 11.0, "context_gb": 0.5}
    with gauges.memory_limited_to(16.0):
        pass
    with gauges.memory_limited_to(150.5):
        pass
    assert limits == pytest.approx([15.5 / 150, 1.0, 1.0, 1.0])

    for card, flops in {
        "NVIDIA H200": 989e12, "NVIDIA H100 80GB HBM3": 989e12, "NVIDIA H100 PCIe": 756e12,
        "NVIDIA A100-SXM4-80GB": 312e12,
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda card=card: card)
        assert gauges.peak_flops("cuda")[0] == flops
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA X1")
    monkeypatch.setattr(gauges, "product_flops", lambda device: 5e12)
    assert gauges.peak_flops("cuda") == (5e12, "best of some bf16 matrix products")

    kind = torch.autograd.DeviceType
    events = [
        SimpleNamespace(device_type=where, name=name, is_user_annotation=name == "Optimizer.step")
        for where, name in (
            (kind.CUDA, "nvjet_tst_128x256"), (kind.CUDA, "Memcpy HtoD"), (kind.CUDA, "flash_fwd"),
            (kind.CUDA, "Memset (Device)"), (kind.CUDA, "Optimizer.step"),
            (kind.CPU, "cudaLaunchKernel"),
        )
    ]  # fmt: skip
    launches = gauges.Launches.__new__(gauges.Launches)
    launches._cuda, launches._watch = True, SimpleNamespace(events=lambda: events)
    assert launches.total() == 2
    launches._watch = SimpleNamespace(events=lambda: [])
    with pytest.raises(RuntimeError, match="the profiler saw no kernel"):
        launches.total()


def test_the_same_command_goes_on_with_what_is_missing_then_with_what_failed(
    tmp_path: Path,
) -> None:
    card, file = module("on_card.run"), tmp_path / "new" / "card.json"
    wanted = tasks("olmo2-1b qlora", "gpt2-xl qlora", "qwen3-4b qlora")
    broken = Machine(**{"olmo2-1b qlora": "exit code 1\nTraceback\nRuntimeError: no kernel"})
    missing = ["olmo2-1b qlora ours steps"]
    assert card.run(result(file), wanted, soon(), broken) == missing
    assert broken.ran == [f"{task.shape} {task.method}" for task in wanted]
    assert len(json.loads(file.read_text())["targets"]) == 5
    written = json.loads(file.read_text())["cells"]
    assert written[missing[0]]["status"] == "failed"
    assert written[missing[0]]["why"].endswith("RuntimeError: no kernel")
    assert written["gpt2-xl qlora ours steps"]["found"] == FOUND

    more = [*wanted, *tasks("pythia-2.8b lora")]
    mended = Machine()
    assert card.run(result(file), more, soon(), mended) == []
    assert mended.ran == ["pythia-2.8b lora", "olmo2-1b qlora"]
    idle = Machine()
    assert card.run(result(file), more, soon(), idle) == [] and idle.ran == []


def test_what_no_longer_fits_the_minutes_is_left_out_and_named(tmp_path: Path) -> None:
    card = module("on_card.run")
    long, short = tasks("qwen3-4b lora ours pairs", "gpt2-xl qlora")
    there, machine = result(tmp_path / "card.json"), Machine()
    assert card.estimate_s(long, HERE) > 85 > 60 > card.estimate_s(short, HERE)
    assert card.run(there, [long, short], soon(70 / 60), machine) == [long.key]
    assert machine.ran == ["gpt2-xl qlora"]
    entry = card.Result.read(tmp_path / "card.json").cells[long.key]
    assert entry["status"] == "left out" and "s were left" in entry["why"]
    assert long.key in card.tables(HERE, there.cells)
    assert card.run(there, [long, short], soon(), machine) == []


def test_a_cell_that_the_minutes_cut_off_is_missing_not_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = module("on_card.run")
    (task,) = tasks("gpt2-xl qlora")
    monkeypatch.setattr(card, "estimate_s", lambda *_: 0.0)

    def cut_off(asked: dict[str, Any], timeout_s: float) -> tuple[dict[str, Any], str]:
        time.sleep(timeout_s + 0.01)
        return FOUND, f"ended after {timeout_s:.0f} s"

    there = result(tmp_path / "card.json")
    assert card.run(there, [task], time.monotonic() + 0.1, cut_off) == [task.key]
    assert there.cells[task.key]["status"] == "left out"
    assert there.cells[task.key]["found"] == FOUND


def test_a_process_that_fails_leaves_its_last_words(tmp_path: Path) -> None:
    found, failure = module("on_card.run").measure({"shape": "gpt2-xl", "no": "method"}, 60)
    assert found == {}
    assert failure.startswith("exit code 1\n") and "unexpected keyword argument" in failure


def test_a_process_that_hangs_is_ended(tmp_path: Path) -> None:
    asked = {"look": {"device": "cpu", "shrink": 8}}
    assert module("on_card.run").measure(asked, 0.2) == ({}, "ended after 0 s")


def test_a_result_of_another_card_is_not_gone_on_with(tmp_path: Path) -> None:
    card, file = module("on_card.run"), tmp_path / "card.json"
    result(file).write()
    with pytest.raises(card.CardError, match="NVIDIA H200, here it is NVIDIA A100; name another"):
        card.Result.read(file).go_on({**HERE, "card": "NVIDIA A100"})
    file.write_text("[]")
    with pytest.raises(card.CardError, match="no result of this script"):
        card.Result.read(file)


def test_all_that_matters_fits_fifteen_minutes_and_comes_first() -> None:
    card = module("on_card.run")
    keys = [task.key for task in card.cells(HERE)]
    assert len(set(keys)) == len(keys) == 24
    assert keys[:3] == [
        "qwen3-4b qlora ours steps", "qwen3-4b lora ours steps", "qwen3-4b lora ours pairs",
    ]  # fmt: skip
    assert keys[4] == "qwen3-4b lora trl equal"
    names = module("model_memory").SHAPES
    assert {f"{name} {method} ours steps" for name in names for method in ("qlora", "lora")} < {
        *keys
    }
    last = max(keys.index(f"{name} qlora ours steps") for name in names)
    seconds = sum(card.estimate_s(task, HERE) for task in card.cells(HERE)[: last + 1])
    assert seconds < 14 * 60
    of_a_cpu = {**HERE, "device": "cpu", "shrink": 8, "memory_gb": None}
    assert [task.key for task in card.cells(of_a_cpu)] == keys


def cells_of() -> dict[str, Any]:
    names = module("model_memory").SHAPES
    found = {f"{name} qlora ours steps": dict(FOUND) for name in names}
    for method in ("qlora", "lora"):
        found[f"qwen3-4b {method} ours pairs"] = {**FOUND, "epoch_s": 88.0, "pairs": 1000}
        found[f"qwen3-4b {method} ours equal"] = {**FOUND, "cap_gb": 16.0}
        found[f"qwen3-4b {method} trl equal"] = {**FOUND, "pairs_per_s": 12.0, "mfu": 0.5}
    return {key: {"status": "done", "found": value} for key, value in found.items()}


def test_targets_are_judged_on_a_whole_card_alone() -> None:
    targets = module("on_card.table").targets
    cells = cells_of()
    assert [entry["met"] for entry in targets(HERE, cells)] == [True] * 5
    values = [entry["value"] for entry in targets(HERE, cells)]
    assert values == pytest.approx([88.0, 36.0, 20 / 12, 20 / 12, 9.5])

    grouped = {"status": "done", "found": {**FOUND, "pairs_per_s": 15.0}}
    cells["qwen3-4b lora trl-grouped equal"] = grouped
    cells["gpt2-xl qlora ours steps"]["found"]["longest_reserved_gb"] = 15.8
    assert [entry["met"] for entry in targets(HERE, cells)] == [True, True, True, False, False]
    small = targets({**HERE, "device": "cpu", "shrink": 8}, cells)
    assert [entry["met"] for entry in small] == [None] * 5

    del cells["gpt2-xl qlora ours steps"]
    assert targets(HERE, cells)[-1]["met"] is None, "seven of eight shapes are not every shape"
    assert [entry["value"] for entry in targets(HERE, {})] == [None] * 5


def test_the_table_is_markdown_of_what_is_there() -> None:
    cells = cells_of()
    cells["olmo2-1b lora ours steps"] = {"status": "failed", "why": "exit code 1\nat line 7"}
    text = module("on_card.table").tables(HERE, cells)
    assert (
        "| 1,000 pairs of the 4B shape | <= 90 s | 88 s (qwen3-4b lora ours pairs; 108 s "
        "from a fresh Python) | yes |"
    ) in text
    row = next(line for line in text.splitlines() if line.startswith("| olmo2-1b"))
    assert row == (
        "| olmo2-1b | 4,000.0 M | 20.00 / - | 14800 / - | 36 % / - | 6.00 / - | 9.50 / - "
        "| 21.0 / - | 40,000 / - |"
    )
    figures = "36 % | 6.00 | 21.0 | 40,000"
    assert f"| bf16 LoRA | ours | float32 | 16 | 4 | 20.00 | {figures} | 1.00 |" in text
    assert "| QLoRA | TRL | float32 | - | 4 | 12.00 | 50 % | 6.00 | 21.0 | 40,000 | 1.67 |" in text
    assert "| QLoRA | TRL, grouped by length | - | - | - | - | - | - | - | - | - |" in text
    assert text.endswith("Missing:\n\n- olmo2-1b lora ours steps: failed, exit code 1\n")


def test_what_ends_the_script_ends_the_process_that_measures(tmp_path: Path) -> None:
    script = subprocess.Popen(
        [sys.executable, str(SPEED / "run.py"), "card", "--device", "cpu", "--out", str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    children = Path(f"/proc/{script.pid}/task/{script.pid}/children")
    try:
        until = time.monotonic() + 60
        while not (child := children.read_text().split()):
            assert time.monotonic() < until and script.poll() is None
            time.sleep(0.05)
    finally:
        script.terminate()
    assert script.wait(60) == 143
    state = Path(f"/proc/{child[0]}/stat")
    while state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] != "Z":
        assert time.monotonic() < until
        time.sleep(0.05)


def test_estimates_keep_the_pace_of_what_was_measured(tmp_path: Path) -> None:
    card = module("on_card.run")
    long, short = tasks("qwen3-4b lora ours pairs", "gpt2-xl qlora")
    there = result(tmp_path / "card.json")
    quick = {"status": "done", "seconds": 10.0, "estimate_s": 40.0, "found": FOUND}
    there.cells = {"a": quick, "b": {**quick, "seconds": 20.0}, "c": {**quick, "seconds": 80.0}}
    assert card.pace({}) == 1.0 and card.pace(there.cells) == 0.5
    machine = Machine()
    card.run(there, [long, short], soon(70 / 60), machine)
    assert machine.ran == ["qwen3-4b lora", "gpt2-xl qlora"]
