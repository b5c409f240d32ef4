"""Read both answers of each pair in one row of tokens: the prompt once, and no padding.

Answers differ much in length: at 4 pairs a batch, 40 % of a padded batch of the IFLLM pairs is
padding. Here the tokens of a batch lie one after the other, `prompt, chosen, rejected, prompt, ...`
so that every layer but attention computes each token once. Attention alone spreads them to one row
per answer (`prompt + answer`, causal), puts rows of about the same length together, padded on the
right where nothing looks, and collects the result. Rotary and learned positions come from
`position_ids`. The values are those of the padded batch up to rounding.

The last token of a prompt stands twice in the row, since the first token of either answer follows
it. The last token of an answer is not read: nothing follows it.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

ATTENTION = "ifllm_pairs"
LAYOUT = ("rows", "place", "shared", "shared_place", "groups")
# Rows are padded to the longest of a group, which is at most this much longer than the shortest.
_SPREAD_OF_A_GROUP = 1.2
_IGNORED = -100
_KNOWN_LAYERS = {"full_attention", "sliding_attention"}

Layout = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, list[tuple[int, int]]]


def collate_unpadded(examples: list[dict[str, Any]], max_length: int | None) -> dict[str, Any]:
    """Lay the pairs of a batch out in one row.

    Args:
        examples: `prompt_ids`, `chosen_ids`, `rejected_ids` of each of `pairs` pairs.
        max_length: Answers are cut where prompt and answer together are longer.

    Returns:
        With `tokens` tokens in all and `scored` the longest answer; answers are numbered chosen
        first, then rejected:

        * `groups`: number and padded length of the rows of about the same length, shortest first;
        * `rows`, (places,): the token at each place of those rows (0: padding);
        * `place`, (tokens,): where each token lies in `rows`;
        * `shared`, `shared_place`: tokens of prompts, and where they lie for the second time;
        * `input_ids`, `position_ids`, `shift_labels`, (1, tokens): what is read, and what follows
          (-100: not scored);
        * `scored`, (2 pairs, scored): the tokens before each scored token of each answer;
        * `answer_mask`, (2 pairs, scored): 1 where `scored` is one;
        * `answer_lengths`, (2 pairs,): tokens of each answer.

        The first entry has the batch size as its first dimension, which is where Trainer looks.
    """
    ids: list[int] = []
    positions: list[int] = []
    labels: list[int] = []
    rows: list[list[int]] = [[] for _ in range(2 * len(examples))]
    scored: list[list[int]] = [[] for _ in rows]
    lengths = [0] * len(rows)
    for i, example in enumerate(examples):
        prompt = example["prompt_ids"]
        room = None if max_length is None else max_length - len(prompt)
        shared: list[int] = list(range(len(ids), len(ids) + max(len(prompt) - 1, 0)))
        ids += prompt[:-1]
        positions += range(len(shared))
        labels += [_IGNORED] * len(shared)
        for number, side in ((i, "chosen_ids"), (len(examples) + i, "rejected_ids")):
            answer = example[side][:room]
            read, follows = [*prompt[-1:], *answer[:-1]], answer
            if not prompt:  # nothing comes before the first token, so it is not scored
                follows = answer[1:]
            own = list(range(len(ids), len(ids) + len(read)))
            ids += read
            positions += range(len(shared), len(shared) + len(read))
            labels += follows
            rows[number] = shared + own
            scored[number] = own
            lengths[number] = len(answer)
    groups: list[tuple[int, int]] = []
    at_place: list[int] = []
    start = [0] * len(rows)  # where the row of each answer begins
    for members in _alike([len(row) for row in rows]):
        width = len(rows[members[-1]])
        groups.append((len(members), width))
        for number in members:
            start[number] = len(at_place)
            at_place += rows[number] + [0] * (width - len(rows[number]))
    place = torch.zeros(len(ids), dtype=torch.long)
    shared_tokens: list[int] = []
    shared_places: list[int] = []
    for number in reversed(range(len(rows))):  # chosen rows last: they have the last word
        row = rows[number]
        place[torch.tensor(row, dtype=torch.long)] = torch.arange(
            start[number], start[number] + len(row)
        )
        if number >= len(examples):
            n_shared = len(row) - len(scored[number])
            shared_tokens += row[:n_shared]
            shared_places += range(start[number], start[number] + n_shared)
    width = max(map(len, scored))
    return {
        "answer_mask": _padded([[1] * len(answer) for answer in scored], width),
        "answer_lengths": torch.tensor(lengths),
        "scored": _padded(scored, width),
        "input_ids": torch.tensor([ids]),
        "position_ids": torch.tensor([positions]),
        "shift_labels": torch.tensor([labels]),
        "groups": groups,
        "rows": torch.tensor(at_place),
        "place": place,
        "shared": torch.tensor(shared_tokens, dtype=torch.long),
        "shared_place": torch.tensor(shared_places, dtype=torch.long),
    }


def _alike(lengths: list[int]) -> list[list[int]]:
    """Return the rows in groups of about the same length, each from short to long."""
    groups: list[list[int]] = []
    for number in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if groups and lengths[number] <= _SPREAD_OF_A_GROUP * lengths[groups[-1][0]]:
            groups[-1].append(number)
        else:
            groups.append([number])
    return groups


def _padded(lists: list[list[int]], width: int) -> torch.Tensor:
    return torch.tensor([values + [0] * (width - len(values)) for values in lists])


class _Spread(torch.autograd.Function):
    """(tokens, features) -> (places, features). Two look-ups; nothing is summed twice."""

    @staticmethod
    def forward(ctx: Any, tokens: torch.Tensor, *layout: torch.Tensor) -> torch.Tensor:
        rows, place, shared, shared_place = layout
        ctx.save_for_backward(place, shared, shared_place)
        return tokens.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> Any:
        place, shared, shared_place = ctx.saved_tensors
        (grad,) = grad_outputs
        tokens = grad.index_select(0, place)
        tokens.index_add_(0, shared, grad.index_select(0, shared_place))
        return tokens, None, None, None, None


class _Collect(torch.autograd.Function):
    """(places, features) -> (tokens, features)."""

    @staticmethod
    def forward(ctx: Any, spread: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(place)
        ctx.places = spread.shape[0]
        return spread.index_select(0, place)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> Any:
        (place,) = ctx.saved_tensors
        (grad,) = grad_outputs
        spread = grad.new_zeros((ctx.places, grad.shape[1]))
        return spread.index_copy_(0, place, grad), None


def pair_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    pair_layout: Layout | None = None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of transformers' interface over one row of pairs; without a layout it is SDPA.

    Args:
        module: The attention layer.
        query: (1, heads, tokens, head size), positions already rotated in.
        key: The same with the key heads.
        value: The same as `key`.
        attention_mask: Not used with a layout.
        dropout: As in SDPA.
        scaling: As in SDPA.
        pair_layout: `rows, place, shared, shared_place, groups` of `collate_unpadded`.
        sliding_window: Tokens that a layer looks back on, for layers that are limited so.
        **kwargs: Passed on.

    Returns:
        (1, tokens, heads, head size), and no weights.
    """
    if pair_layout is None:
        found: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return found
    *look_up, groups = pair_layout

    def spread(x: torch.Tensor) -> torch.Tensor:
        _, heads, tokens, size = x.shape
        flat = x[0].transpose(0, 1).reshape(tokens, heads * size)
        wide: torch.Tensor = _Spread.apply(flat, *look_up)  # type: ignore[no-untyped-call]
        return wide.view(-1, heads, size)

    wide_query, wide_key, wide_value = spread(query), spread(key), spread(value)
    parts = []
    start = 0
    for answers, length in groups:
        here = slice(start, start + answers * length)
        start += answers * length
        mask = None
        if sliding_window is not None and sliding_window < length:
            back = torch.arange(length, device=query.device)
            back = back[:, None] - back[None, :]
            mask = ((back >= 0) & (back < sliding_window))[None, None]
        out, _ = sdpa_attention_forward(
            module,
            *(
                wide[here].view(answers, length, *wide.shape[1:]).transpose(1, 2)
                for wide in (wide_query, wide_key, wide_value)
            ),
            mask,
            dropout=dropout,
            scaling=scaling,
            is_causal=mask is None,
        )
        parts.append(out.flatten(2).flatten(0, 1))
    heads, size = query.shape[1], value.shape[3]
    flat = torch.cat(parts)
    collected: torch.Tensor = _Collect.apply(flat, look_up[1])  # type: ignore[no-untyped-call]
    return collected.view(1, -1, heads, size), None


AttentionInterface.register(ATTENTION, pair_attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


def reason_to_pad(model: Any) -> str | None:
    """Return why a model cannot read unpadded pairs, or None when it can."""
    if model.config._attn_implementation not in ("sdpa", ATTENTION):
        return f"attn_implementation is {model.config._attn_implementation}"
    if not getattr(model, "_supports_attention_backend", False):
        return f"{type(model).__name__} does not use transformers' attention interface"
    text = model.config.get_text_config()
    odd = set(getattr(text, "layer_types", None) or ()) - _KNOWN_LAYERS
    if odd:
        return f"{type(model).__name__} has layers of type {', '.join(sorted(odd))}"
    if getattr(text, "attn_logit_softcapping", None) is not None:
        return f"{type(model).__name__} caps its attention logits"
    if "position_ids" not in inspect.signature(model.forward).parameters:
        return f"{type(model).__name__} takes no position_ids"
    return None


def answer_log_probs(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Score the answers of an unpadded batch with a model that has TRL's fused head.

    Returns:
        Log probabilities, (2 pairs, scored); 0 where `answer_mask` is 0.
    """
    layout = tuple(inputs[name] for name in LAYOUT)
    out = model(
        input_ids=inputs["input_ids"],
        # Four dimensions: taken as it is, so that no mask of tokens x tokens is made; not used.
        attention_mask=torch.ones(
            (1, 1, 1, 1), dtype=torch.bool, device=inputs["input_ids"].device
        ),
        position_ids=inputs["position_ids"],
        shift_labels=inputs["shift_labels"],
        pair_layout=layout,
        use_cache=False,
        fused_lm_head=True,
    )
    by_token: torch.Tensor = out.log_probs[0]
    return by_token[inputs["scored"]] * inputs["answer_mask"]
