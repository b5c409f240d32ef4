"""Where the parts of the reward model may lie: several devices, the disk, FSDP, float16."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from ifllm_hf.reward.model.modeling_ifllm import IFLLMForRewardModeling, IFLLMModel  # noqa: E402
from tests.helpers.reward.models import (  # noqa: E402
    assert_near,
    make_batch,
    reward_model,
    scores,
    text_of,
    trajectory_of,
)
from tests.helpers.reward.pretended_devices import PretendedDevices, splits, spread  # noqa: E402


@pytest.mark.parametrize("backbone", ["bert", "llama", "gpt2"])
def test_any_split_over_two_devices_scores_the_same(backbone: str) -> None:
    model = reward_model(backbone, likert_head=True)
    batch = make_batch()
    with torch.device("meta"):  # as `from_pretrained` asks for a map
        empty = IFLLMForRewardModeling(model.config)
    found = splits(empty, range(1, 100, 3))
    assert len(found) >= 5
    inputs = [batch, text_of(batch), trajectory_of(batch)]
    expected = [scores(model, given) for given in inputs]
    for split in found:
        over_two = copy.deepcopy(model)
        spread(over_two, split)
        for given, score in zip(inputs, expected, strict=True):
            with PretendedDevices(), torch.no_grad():
                fresh = {name: value.clone() for name, value in given.items()}
                out = over_two(**fresh, confidence=torch.ones(2), likert=torch.ones(4))
            assert_near(out.logits[:, 0], score)


# The vector for missing texts is a weight without a module of its own.
@pytest.mark.filterwarnings("ignore:The following device_map keys do not match any submodules")
def test_parts_on_the_disk_are_fetched(tmp_path: Path) -> None:
    model = reward_model("bert")
    model.save_pretrained(tmp_path / "model")
    batch = make_batch()
    parts = ["text", "no_text", "token_path", "trajectory_path", "join"]
    for on_disk in (["text"], ["no_text"], parts):
        places = {f"model.{n}": "disk" if n in on_disk else "cpu" for n in parts}
        loaded = IFLLMForRewardModeling.from_pretrained(
            tmp_path / "model", device_map={**places, "score": "cpu"}, offload_folder=tmp_path
        ).eval()
        for given in (batch, trajectory_of(batch)):
            assert_near(scores(loaded, given), scores(model, given), atol=1e-6)


@pytest.mark.parametrize("backbone", ["bert", "llama"])
def test_fsdp_does_not_wrap_what_holds_the_token_embeddings(backbone: str, tmp_path: Path) -> None:
    from torch.distributed import destroy_process_group, init_process_group
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    expected = reward_model(backbone)
    expected.save_pretrained(tmp_path / "model")
    batch = make_batch()
    store = (tmp_path / "store").as_uri()
    init_process_group("gloo", init_method=store, rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        loaded = IFLLMForRewardModeling.from_pretrained(tmp_path / "model").eval()
        for model in (reward_model(backbone), loaded):
            assert {"TokenBehavior", "TrajectoryEncoder"} <= model._no_split_modules
            for module in list(model.modules()):
                if type(module).__name__ in model._no_split_modules:  # as accelerate does
                    fully_shard(module, mesh=mesh)
            fully_shard(model, mesh=mesh)
            assert_near(scores(model, batch), scores(expected, batch))
    finally:
        destroy_process_group()


def test_units_are_classes_that_the_model_has() -> None:
    """Accelerate refuses to wrap a class that is not there."""
    for settings in ({"use_trajectory": False}, {"use_token_behavior": False}, {}):
        model = reward_model("bert", **settings)
        kinds = {type(module).__name__ for module in model.modules()}
        assert model._no_split_modules <= kinds
        assert model.model._no_split_modules <= kinds


def test_in_float16_the_new_parts_stay_in_float32(tmp_path: Path) -> None:
    model = reward_model("bert", likert_head=True)
    model.save_pretrained(tmp_path)
    for kind in (IFLLMModel, IFLLMForRewardModeling):
        loaded = kind.from_pretrained(tmp_path, dtype=torch.float16)
        dtypes = {
            dtype: {n.removeprefix("model.").split(".")[0] for n, p in of.items()}
            for dtype in (torch.float16, torch.float32)
            if (of := {n: p for n, p in loaded.named_parameters() if p.dtype == dtype})
        }
        heads = {"score", "likert"} if kind is IFLLMForRewardModeling else set()
        assert dtypes[torch.float32] == {"token_path", "trajectory_path", "join"} | heads
        assert dtypes[torch.float16] == {"text", "no_text"}


def test_exported_with_a_free_number_of_rows() -> None:
    model = reward_model("bert", trajectory_layers=1, backbone_settings={"num_hidden_layers": 1})
    batch = make_batch(rows=3)
    rows = torch.export.Dim("rows", min=2, max=64)
    exported = torch.export.export(
        model, (), kwargs=batch, dynamic_shapes={n: {0: rows} for n in batch}
    ).module()
    for size in (2, 7):
        other = make_batch(rows=size, seed=size)
        with torch.no_grad():
            assert_near(exported(**other).logits[:, 0], scores(model, other))
