"""What behaviour paths and evidence head of the reward model cost beside its text backbone.

BERT-base with random weights, 8 answers of 512 tokens, 1,024 ticks each, one training step (forward
and backward) in float32. Time: the same process runs both models in turn, and the ratio of each
pair of runs is taken. Memory: peak of a fresh process per model. The head alone: one pair from
tensors, a fresh batch each time, 1,024 ticks.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from pathlib import Path

from measuring import Row, row, run_python

PAIRS = 5

_MODEL = """
import json, time
import torch
from transformers import BertConfig
from ifllm_hf import IFLLMConfig, IFLLMForRewardModeling

def build(behavior):
    torch.manual_seed(0)
    return IFLLMForRewardModeling(IFLLMConfig(
        text_config=BertConfig(), use_token_behavior=behavior, use_trajectory=behavior,
        evidence_head=behavior)).train()

rows, tokens, ticks = 8, 512, 1024
generator = torch.Generator().manual_seed(0)
def rand(*shape):
    return torch.rand(shape, generator=generator)
config = IFLLMConfig()
batch = {
    "input_ids": torch.randint(1000, 30000, (rows, tokens), generator=generator),
    "attention_mask": torch.ones(rows, tokens, dtype=torch.long),
    "confidence": torch.ones(rows // 2),
}
behavior = {
    "token_behavior": rand(rows, tokens, len(config.token_channels)),
    "token_behavior_mask": rand(rows, tokens, len(config.token_channels)) > 0.5,
    "trajectory": rand(rows, ticks, len(config.channels)),
    "trajectory_observed": rand(rows, ticks, len(config.channels)) > 0.3,
    "trajectory_time_ms": (rand(rows, ticks) * 150).cumsum(1),
    "trajectory_mask": torch.ones(rows, ticks, dtype=torch.bool),
    "context": torch.tensor([[900.0, 2000.0, 60.0, 1.0, 2.0]] * rows),
    "trajectory_history": rand(rows, 9) - 3,
}
def step(model, inputs):
    start = time.process_time()
    model(**inputs).loss.backward()
    model.zero_grad(set_to_none=False)
    return time.process_time() - start
"""
_TIME = (
    _MODEL
    + """
text, both = build(False), build(True)
step(text, batch), step(both, {**batch, **behavior})
times = [(step(text, batch), step(both, {**batch, **behavior})) for _ in range(int(sys.argv[1]))]
json.dump(times, open(sys.argv[2], "w"))
"""
)
_HEAD = (
    _MODEL
    + """
import statistics
model = IFLLMForRewardModeling(IFLLMConfig(
    use_text=False, use_token_behavior=False, use_trajectory=False, evidence_head=True)).eval()
pair = {name: value[:2] for name, value in behavior.items() if not name.startswith("token")}
def score():
    start = time.process_time()
    with torch.inference_mode():
        model(**pair)
    return time.process_time() - start
score()
json.dump(statistics.median(score() for _ in range(200)), open(sys.argv[1], "w"))
"""
)
_MEMORY = (
    _MODEL
    + """
both = sys.argv[1] == "both"
model = build(both)
for _ in range(2):
    step(model, {**batch, **behavior} if both else batch)
"""
)


_GPU = """
import json, time
import torch
from transformers import ModernBertConfig, Qwen3Config
from ifllm_hf import IFLLMConfig, IFLLMForRewardModeling

backbones = {
    "ModernBERT-base": ModernBertConfig(),
    "Qwen3-0.6B": Qwen3Config(
        vocab_size=151936, hidden_size=1024, intermediate_size=3072, num_hidden_layers=28,
        num_attention_heads=16, num_key_value_heads=8, head_dim=128, tie_word_embeddings=True),
}
rows, tokens, ticks, steps = 16, 1024, 1024, 10
found = {}
for name, text in backbones.items():
    for behavior in (False, True):
        torch.manual_seed(0)
        config = IFLLMConfig(
            text_config=text, use_token_behavior=behavior, use_trajectory=behavior,
            evidence_head=behavior)
        model = IFLLMForRewardModeling(config).to("cuda", torch.bfloat16).train()
        def rand(*shape):
            return torch.rand(shape, device="cuda")
        batch = {
            "input_ids": torch.randint(1000, 30000, (rows, tokens), device="cuda"),
            "confidence": torch.ones(rows // 2, device="cuda"),
            "token_behavior": rand(rows, tokens, len(config.token_channels)),
            "trajectory": rand(rows, ticks, len(config.channels)),
            "trajectory_time_ms": (rand(rows, ticks) * 150).cumsum(1),
            "context": torch.tensor([[900.0, 2000.0, 60.0, 1.0, 2.0]] * rows, device="cuda"),
        }
        def step():
            model(**batch).loss.backward()
            model.zero_grad(set_to_none=False)
        for _ in range(3):
            step()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        for _ in range(steps):
            step()
        torch.cuda.synchronize()
        speed = rows * tokens * steps / (time.perf_counter() - start)
        found[f"{name}, {'both paths' if behavior else 'text only'}"] = [
            speed, torch.cuda.max_memory_allocated() / 1e9]
        del model, batch
        torch.cuda.empty_cache()
json.dump(found, open(sys.argv[1], "w"))
"""


def _gpu_rows() -> list[Row]:
    """Forward and backward in bfloat16, random weights, 16 answers of 1,024 tokens and ticks."""
    import torch

    if not torch.cuda.is_available():
        return [row("reward model on a GPU, bf16", None, note="no CUDA device")]
    with tempfile.TemporaryDirectory() as place:
        result = Path(place) / "gpu.json"
        run_python(_GPU, str(result))
        found = json.loads(result.read_text())
    out = []
    for name, (speed, memory) in found.items():
        out.append(row(f"reward model on a GPU, {name}", speed, "tok/s"))
        out.append(row(f"reward model on a GPU, {name}, peak memory", memory, "GB"))
    return out


def main() -> list[Row]:
    """Measure on random weights, so that it runs anywhere."""
    with tempfile.TemporaryDirectory() as place:
        result = Path(place) / "times.json"
        run_python(_TIME, str(PAIRS), str(result))
        times = json.loads(result.read_text())
        run_python(_HEAD, str(result))
        alone = json.loads(result.read_text())
    ratio = statistics.median(both / text for text, both in times)
    seconds = statistics.median(text for text, _ in times)
    memory = {which: run_python(_MEMORY, which)[2] for which in ("text", "both")}
    return [
        row("reward model, text backbone alone, forward + backward", seconds, "s CPU"),
        row("reward model, both behaviour paths and head, time", ratio, "times", 1.15),
        row(
            "reward model, both behaviour paths and head, memory",
            memory["both"] / memory["text"],
            "times",
            1.1,
        ),
        row("evidence head alone, one pair from tensors", 1000 * alone, "ms CPU", 3.0),
        *_gpu_rows(),
    ]
