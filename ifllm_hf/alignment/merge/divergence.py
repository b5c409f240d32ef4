"""How far two models are apart: KL per token of answers, computed in float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ifllm_hf.alignment.merge.questions import Asked
from ifllm_hf.alignment.pairs.prompt_tokens import answer_tokens, prompt_tokens
from ifllm_hf.errors import DataError
from ifllm_hf.progress import progress_bar
from ifllm_hf.training.pretrained import model_positions

if TYPE_CHECKING:
    from ifllm_hf.alignment.pairs.config import PromptFormat


@dataclass(frozen=True)
class Text:
    """A prompt with an answer, as tokens.

    Attributes:
        ids: All of them.
        start: Where the answer begins.
    """

    ids: Sequence[int]
    start: int


@dataclass(frozen=True)
class Trained:
    """What the trained model says, kept to compare others with it.

    Attributes:
        texts: The texts.
        logits: Of each text, (answer tokens, vocabulary), float32 on the CPU.
        moved: KL(trained, base) of every answer token, in nats.
    """

    texts: Sequence[Text]
    logits: Sequence[torch.Tensor]
    moved: torch.Tensor


def tokenized(
    asked: Sequence[Asked],
    tokenizer: Any,
    style: PromptFormat,
    model: Any,
    *,
    max_tokens: int,
    show: bool = True,
) -> list[Text]:
    """Return prompts with answers as tokens, at most `max_tokens` of each answer.

    Where there is no answer, the model writes one, always with the likeliest token. What does not
    fit into the positions of the model is left out.

    Raises:
        DataError: None fits.
    """
    room = model_positions(model)
    texts = []
    with progress_bar(len(asked), "texts", show, delay=2) as bar:
        for one in asked:
            if one.answer is None:
                ids = prompt_tokens(tokenizer, one.prompt, style)
                start = len(ids)
                if room is None or start + max_tokens <= room:
                    ids = _continued(model, tokenizer, ids, max_tokens)
            else:
                ids, start = answer_tokens(tokenizer, one.prompt, one.answer, style)
                ids = ids[: start + max_tokens]
            if 0 < start < len(ids) and (room is None or len(ids) <= room):
                texts.append(Text(ids, start))
            bar.update(1)
    if not texts:
        raise DataError(
            f"0 of {len(asked)} questions leave room for an answer within {room} positions; name "
            "others with --prompts"
        )
    return texts


@torch.inference_mode()
def _continued(model: Any, tokenizer: Any, ids: list[int], n: int) -> list[int]:
    given = torch.tensor([ids], device=model.device)
    written = model.generate(
        input_ids=given,
        attention_mask=torch.ones_like(given),
        generation_config=_likeliest(tokenizer, n),
    )
    return list(written[0].tolist())


def _likeliest(tokenizer: Any, n: int) -> Any:
    """Return settings that take the likeliest token, whatever the model's own are."""
    from transformers import GenerationConfig

    return GenerationConfig(
        do_sample=False,
        max_new_tokens=n,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def in_float32(model: Any) -> Any:
    """Let a model compute in float32 with the weights it has.

    In bfloat16 two orders of the same sums differ by more than training moves a model. 4-bit
    weights stay as they are; they are not repacked for the CPU, whose kernel would compute in
    bfloat16.
    """
    for part in model.modules():
        if type(part).__name__ == "Linear4bit":
            part.compute_dtype, part.compute_type_is_set = torch.float32, True
            part.support_avx512bf16_for_cpu = False
    for weight in [*model.parameters(), *model.buffers()]:
        if weight.is_floating_point() and type(weight).__name__ != "Params4bit":
            weight.data = weight.data.float()
    return model


def trained_answers(model: Any, texts: Sequence[Text], *, show: bool = True) -> Trained:
    """Return what a model with an adapter says, and how far the adapter moved it.

    Args:
        model: A PEFT model that computes in float32.
        texts: What it reads.
        show: Whether to draw a progress bar on stderr.
    """
    logits, moved = [], []
    with progress_bar(len(texts), "trained model", show, delay=2) as bar:
        for text in texts:
            after = _answer_logits(model, text)
            with model.disable_adapter():
                before = _answer_logits(model, text)
            logits.append(after)
            moved.append(divergence(after, before))
            bar.update(1)
    return Trained(texts, logits, torch.cat(moved))


def served_divergence(model: Any, trained: Trained, *, show: bool = True) -> torch.Tensor:
    """Return KL(trained, served) of every answer token, in nats.

    Args:
        model: The served model, computing in float32.
        trained: What the trained one said.
        show: Whether to draw a progress bar on stderr.
    """
    found = []
    with progress_bar(len(trained.texts), "served model", show, delay=2) as bar:
        for text, logits in zip(trained.texts, trained.logits, strict=True):
            found.append(divergence(logits, _answer_logits(model, text)))
            bar.update(1)
    return torch.cat(found)


def divergence(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    r"""Return :math:`KL(p, q) = \sum_v p_v (\log p_v - \log q_v)` of each row, in nats.

    Args:
        one: Logits of p, (tokens, vocabulary).
        other: Logits of q, (tokens, vocabulary).
    """
    # Differences of 1e-7 are what is looked for: sums in float64, a row at a time.
    return torch.stack([_row(p, q) for p, q in zip(one, other, strict=True)])


def _row(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    p, q = (row.double().log_softmax(-1) for row in (one, other))
    return (p.exp() * (p - q)).sum()


@torch.inference_mode()
def _answer_logits(model: Any, text: Text) -> torch.Tensor:
    ids = torch.tensor([list(text.ids)], device=model.device)
    said: torch.Tensor = model(input_ids=ids, use_cache=False).logits[0, text.start - 1 : -1]
    return said.float().cpu()
