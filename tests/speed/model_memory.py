"""What DPO of the eight models needs: the arithmetic behind the head of each recipe.

    python tests/speed/model_memory.py            # the lines of every recipe
    python tests/speed/model_memory.py qwen3-4b   # of one

Parameters are those of the true shapes. What one layer needs while its gradient is computed is
counted, not guessed: the forward and backward pass of our own trainer's batch runs on fake tensors
(shapes without values), and every storage is counted from its birth to its death. Logits never
exist as a whole: TRL's fused head makes them in tiles, in bf16 on a GPU.

Not counted: what an allocator wastes, and what libraries want for themselves.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

CONFIGS = Path(__file__).parents[2] / "recipes" / "configs"
_QWEN = {"vocab_size": 151936, "tie_word_embeddings": True}
# What decides the shapes, from the configs of the models.
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2-xl": ("gpt2", {"vocab_size": 50257, "n_embd": 1600, "n_layer": 48, "n_head": 25}),
    "pythia-2.8b": (
        "gpt_neox",
        {"vocab_size": 50304, "hidden_size": 2560, "num_hidden_layers": 32,
         "num_attention_heads": 32, "intermediate_size": 10240},
    ),
    "olmo2-1b": (
        "olmo2",
        {"vocab_size": 100352, "hidden_size": 2048, "num_hidden_layers": 16,
         "num_attention_heads": 16, "num_key_value_heads": 16, "intermediate_size": 8192},
    ),
    "llama-3.2-3b": (
        "llama",
        {"vocab_size": 128256, "hidden_size": 3072, "num_hidden_layers": 28,
         "num_attention_heads": 24, "num_key_value_heads": 8, "head_dim": 128,
         "intermediate_size": 8192, "tie_word_embeddings": True},
    ),
    "qwen2.5-1.5b": (
        "qwen2",
        {**_QWEN, "hidden_size": 1536, "num_hidden_layers": 28, "num_attention_heads": 12,
         "num_key_value_heads": 2, "intermediate_size": 8960},
    ),
    "qwen2.5-3b": (
        "qwen2",
        {**_QWEN, "hidden_size": 2048, "num_hidden_layers": 36, "num_attention_heads": 16,
         "num_key_value_heads": 2, "intermediate_size": 11008},
    ),
    "qwen3-1.7b": (
        "qwen3",
        {**_QWEN, "hidden_size": 2048, "num_hidden_layers": 28, "num_attention_heads": 16,
         "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 6144},
    ),
    "qwen3-4b": (
        "qwen3",
        {**_QWEN, "hidden_size": 2560, "num_hidden_layers": 36, "num_attention_heads": 32,
         "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 9728},
    ),
}  # fmt: skip
# Bytes of a weight as it lies on the Hub: what has to be downloaded.
STORED_BYTES = {"gpt2-xl": 4, "olmo2-1b": 4}
# Half a byte, 8 bits of scale for 64 weights, 32 bits of scale for 256 of those.
_NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
# Weight, gradient and two moments in float32, and what autocast makes of the weight.
ADAPTER_BYTES = 4 * 4 + 2
METHODS = ("qlora", "lora")
_CUDA_GB = 1.5  # context, kernels, cuBLAS: a usual figure
_TILE = 4096 * 32768  # of logits in TRL's fused head: tokens x vocabulary
_A100_FLOPS, _SHARE = 312e12, 0.3
_PROMPT_TOKENS, _TOKENS_OF_A_PAIR = 24, 740  # mean of the IFLLM pairs, at 4 characters a token


@dataclass(frozen=True)
class Memory:
    """Bytes of one training run at its largest batch, by what needs them.

    Attributes:
        quantised: Weights of the layers that NF4 packs (a number, not bytes).
        multiplied: Weights that every token is multiplied with: those and the head.
        others: All other weights: embeddings, head, norms.
        adapter: Weights of the adapter.
        checkpoints: What is kept of every layer for the backward pass.
        layer: What the backward pass of one layer needs beyond that.
        head: What the loss needs instead, before the first layer is recomputed.
    """

    quantised: int
    multiplied: int
    others: int
    adapter: int
    checkpoints: int
    layer: int
    head: int

    def weights(self, method: str) -> float:
        """Return the bytes of the frozen weights."""
        return self.quantised * (_NF4_BYTES if method == "qlora" else 2) + self.others * 2

    def training(self, method: str) -> float:
        """Return the bytes that training needs beyond the frozen weights."""
        return self.adapter * ADAPTER_BYTES + self.checkpoints + max(self.layer, self.head)

    def total_gb(self, method: str) -> float:
        """Return the gigabytes (1e9 bytes) of the whole."""
        return (self.weights(method) + self.training(method)) / 1e9 + _CUDA_GB


def recipe(name: str) -> dict[str, Any]:
    """Return the settings of a recipe."""
    import yaml

    settings: dict[str, Any] = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    return settings


def config_of(name: str, shape: dict[str, Any] | None = None, layers: int | None = None) -> Any:
    """Return the config of a model of the true shape, of another, or with fewer layers."""
    from transformers import AutoConfig

    kind, true_shape = SHAPES[name]
    wanted = dict(shape or true_shape)
    if layers is not None:
        wanted["n_layer" if "n_layer" in wanted else "num_hidden_layers"] = layers
    return AutoConfig.for_model(kind, **wanted)


def model_on_meta(name: str, config: Any, method: str | None = None) -> Any:
    """Return a model without storage; with a method, one that has the recipe's adapter."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM
    from trl.trainer.utils import add_fused_lm_head, disable_dropout_in_model

    from ifllm_hf.alignment.pairs.attention import IN_GROUPS
    from ifllm_hf.alignment.pairs.head import add_answer_head

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
        if method is None:
            return model
        model.set_attn_implementation(IN_GROUPS)
        add_fused_lm_head(model)
        add_answer_head(model)
        disable_dropout_in_model(model)  # as in training: attention is then never materialised
        settings = recipe(name)
        targets = settings["lora_target_modules"]
        lora = LoraConfig(
            task_type="CAUSAL_LM",
            r=settings["lora_r"],
            target_modules="all-linear" if targets == ["all-linear"] else targets,
            fan_in_fan_out=config.model_type == "gpt2",
        )
        return get_peft_model(model, lora)


def matrices_of(model: Any) -> list[Any]:
    """Return the weights that every token is multiplied with: of the layers, and of the head."""
    return [m.weight for m in model.modules() if type(m).__name__ in ("Linear", "Conv1D")]


def peak_of_a_step(
    name: str, config: Any, method: str, examples: list[dict[str, Any]], *, head: bool
) -> tuple[int, int]:
    """Count the bytes of activations and gradients of one forward and backward pass.

    Args:
        name: Recipe, for its adapter.
        config: The shape.
        method: `qlora` or `lora`.
        examples: Pairs as the collator takes them.
        head: Whether to include the loss, as it is computed on a CPU.

    Returns:
        The peak over the pass, and what the forward pass leaves for the backward pass.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    from ifllm_hf.alignment.pairs import unpadded

    batch = unpadded.collate_unpadded(examples, max_length=None)
    adapted = model_on_meta(name, config, method)
    adapted.gradient_checkpointing_enable({"use_reentrant": False})
    adapted.enable_input_require_grads()
    adapted.train()
    with FakeTensorMode() as mode:
        _make_fake(adapted)
        inputs = {
            key: mode.from_tensor(value) if isinstance(value, torch.Tensor) else value
            for key, value in batch.items()
        }
        with _live() as live, torch.autocast("cpu", torch.bfloat16):
            live.forget([*adapted.parameters(), *adapted.buffers()])
            if head:
                loss = unpadded.answer_log_probs(adapted, inputs).sum()
            else:
                out = adapted.get_base_model().base_model(
                    input_ids=inputs["input_ids"],
                    attention_mask=torch.ones((1, 1, 1, 1), dtype=torch.bool),
                    position_ids=inputs["position_ids"],
                    pair_layout=tuple(inputs[key] for key in unpadded.LAYOUT),
                    use_cache=False,
                )
                loss = out.last_hidden_state.sum()
                del out
            kept = live.now
            loss.backward()
        return live.peak, kept


def _make_fake(model: Any) -> None:
    """Put fake tensors into the places of those without storage; tied ones stay tied."""
    import torch

    made: dict[int, Any] = {}
    for module in model.modules():
        for name, old in [*module._parameters.items(), *module._buffers.items()]:
            if old is None:
                continue
            if id(old) not in made:
                new = torch.empty(old.shape, dtype=old.dtype)
                if name in module._parameters:
                    new = torch.nn.Parameter(new, requires_grad=old.requires_grad)
                made[id(old)] = new
            place = module._parameters if name in module._parameters else module._buffers
            place[name] = made[id(old)]


def _live() -> Any:
    """Return a mode that counts the bytes of all storages that are alive."""
    from torch import Tensor
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_iter

    class Live(TorchDispatchMode):
        now = peak = 0

        def __init__(self) -> None:
            super().__init__()
            self.known: set[int] = set()

        def forget(self, tensors: list[Tensor]) -> None:
            self.known |= {tensor.untyped_storage()._cdata for tensor in tensors}

        def __torch_dispatch__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            out = function(*args, **(kwargs or {}))
            for storage in _storages(tree_iter(out)):
                if storage._cdata not in self.known:
                    self.known.add(storage._cdata)
                    self.now += storage.nbytes()
                    weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())
            self.peak = max(self.peak, self.now)
            return out

        def _gone(self, key: int, size: int) -> None:
            self.known.discard(key)
            self.now -= size

    def _storages(values: Iterator[Any]) -> Iterator[Any]:
        return (value.untyped_storage() for value in values if isinstance(value, Tensor))

    return Live()


@cache
def memory_of(name: str, method: str) -> Memory:
    """Count what a recipe needs for its batch of the longest answers that it reads.

    One layer is counted; the others add what is kept of them, which is one vector a token.
    """
    settings = recipe(name)
    size, length = settings["per_device_train_batch_size"], settings["max_length"]
    prompt = [0] * _PROMPT_TOKENS
    answer = [0] * (length - _PROMPT_TOKENS)
    pair = {"prompt_ids": prompt, "chosen_ids": answer, "rejected_ids": answer}
    config = config_of(name)
    model = model_on_meta(name, config)
    hidden = config.hidden_size
    tokens = size * (_PROMPT_TOKENS - 1 + 2 * len(answer))
    head = model.get_output_embeddings().weight
    packed = [weight for weight in matrices_of(model) if weight is not head]
    quantised = sum(weight.numel() for weight in packed)
    everything = sum(parameter.numel() for parameter in model.parameters())
    of_one_layer = config_of(name, layers=1)
    adapted = model_on_meta(name, of_one_layer, method)
    checkpoint = tokens * hidden * 2
    peak, _ = peak_of_a_step(name, of_one_layer, method, [pair] * size, head=False)
    unpacked = max(weight.numel() for weight in packed) * 2 if method == "qlora" else 0
    return Memory(
        quantised=quantised,
        multiplied=quantised + head.numel(),
        others=everything - quantised,
        adapter=config.num_hidden_layers
        * sum(p.numel() for p in adapted.parameters() if p.requires_grad),
        checkpoints=config.num_hidden_layers * checkpoint,
        layer=peak - checkpoint + unpacked,
        # A tile, the last hidden states, their scored part, and its gradient in float32.
        head=2 * _TILE + tokens * hidden * (2 + 2 + 4),
    )


def head_lines(name: str) -> str:
    """Return what the head of a recipe says about memory and time."""
    settings = recipe(name)
    size, length = settings["per_device_train_batch_size"], settings["max_length"]
    need = {method: memory_of(name, method) for method in METHODS}
    of = need["qlora"]
    step = max(of.layer, of.head)
    flops = 8 * of.multiplied * 1000 * _TOKENS_OF_A_PAIR
    config = config_of(name)
    weights, stored = of.quantised + of.others, STORED_BYTES.get(name, 2)
    return f"""\
# Memory and time are ESTIMATED (arithmetic, never measured), for {size} pairs = {2 * size} answers of {length} tokens:
#   NF4 weights {of.quantised / 1e6:,.0f} M x 0.516 B + embeddings {of.others / 1e6:,.0f} M x 2 B = {of.weights("qlora") / 1e9:.1f} GB; adapter {of.adapter / 1e6:.1f} M x {ADAPTER_BYTES} B = {of.adapter * ADAPTER_BYTES / 1e9:.1f} GB;
#   checkpoints {config.num_hidden_layers} layers x {of.checkpoints / config.num_hidden_layers / 1e6:.0f} MB = {of.checkpoints / 1e9:.1f} GB; one layer recomputed = {step / 1e9:.1f} GB; CUDA {_CUDA_GB} GB.
#   QLoRA: {of.total_gb("qlora"):.1f} GB. bf16 LoRA: {need["lora"].total_gb("lora"):.1f} GB.
#   Download: {weights / 1e6:,.0f} M x {stored} B = {weights * stored / 1e9:.1f} GB.
#   1,000 pairs of {_TOKENS_OF_A_PAIR} tokens: 8 x {of.multiplied / 1e9:.2f} G x {_TOKENS_OF_A_PAIR},000 = {flops:.1e} FLOP, {flops / _A100_FLOPS / _SHARE / 60:.1f} min at {_SHARE * 100:.0f} % of an A100
#   (312 TFLOPS), before the cost of unpacking NF4. python tests/speed/model_memory.py {name}
"""  # noqa: E501


if __name__ == "__main__":
    for asked in sys.argv[1:] or SHAPES:
        sys.stdout.write(f"{asked}\n{head_lines(asked)}\n")
