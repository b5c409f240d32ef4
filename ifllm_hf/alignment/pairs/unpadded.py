"""Read both answers of each pair in one row of tokens: the prompt once, and no padding.

Answers differ much in length: at 4 pairs a batch, 40 % of a padded batch of the IFLLM pairs is
padding. Here the tokens of a batch lie one after the other, `prompt, chosen, rejected, prompt, ...`
so that every layer but attention computes each token once; `attention` tells how that one reads
them as rows of `prompt + answer`. Rotary and learned positions come from `position_ids`. The values
are those of the padded batch up to rounding.

The last token of a prompt stands twice in the row, since the first token of either answer follows
it. The last token of an answer is not read: nothing follows it.
"""

from __future__ import annotations

import inspect
from itertools import accumulate
from typing import Any

import torch

from ifllm_hf.alignment.pairs.attention import (
    FLASH,
    IN_GROUPS,
    LAYOUT,
    VARIABLE,
    VARIABLE_FLASH,
)

MOST_GROUPS = 4
"""A constant, so that every batch of as many pairs has the same graph: as many calls of as many
rows, whose lengths alone differ."""
MOST_GROUPS_ON_CPU = 8
"""There a call costs nothing, and padding is what counts."""
_KNOWN_LAYERS = {"full_attention", "sliding_attention"}


def collate_unpadded(
    examples: list[dict[str, Any]],
    max_length: int | None,
    *,
    variable: bool = False,
    most_groups: int = MOST_GROUPS,
) -> dict[str, Any]:
    """Lay the pairs of a batch out in one row.

    Args:
        examples: `prompt_ids`, `chosen_ids`, `rejected_ids` of each of `pairs` pairs.
        max_length: Answers are cut where prompt and answer together are longer.
        variable: Whether attention takes rows of any length in one call, or groups of one length.
        most_groups: How many there are of them at most.

    Returns:
        With `tokens` tokens in all, `n` of them scored, and `scored` the longest answer; answers
        are numbered chosen first, then rejected:

        * `input_ids`, `position_ids`, (1, tokens): what is read;
        * `scored_at`, `targets`, (n,): tokens whose next one is scored, and that next one;
        * `scored`, (2 pairs, scored): which of those n belong to each answer;
        * `answer_mask`, (2 pairs, scored): 1 where `scored` is one;
        * `answer_lengths`, (2 pairs,): tokens of each answer;
        * `groups`: number and padded length of the rows of about the same length, shortest first;
          None with `variable`;
        * `sequences`: with `variable`, where the queries and the keys of each answer start, each
          (2 pairs + 1,), and the most there are of either; else None;
        * `rows`, (places,): the token at each place of the rows of answers (0: padding);
        * `place`, (tokens,): where each token lies in `rows`;
        * `shared`, `shared_place`: tokens of prompts, and where they lie for the second time.

        The first entry has the batch size as its first dimension, which is where Trainer looks.
    """
    ids: list[int] = []
    positions: list[int] = []
    scored_at: list[int] = []
    targets: list[int] = []
    rows: list[list[int]] = [[] for _ in range(2 * len(examples))]
    scored: list[list[int]] = [[] for _ in rows]
    n_shared = [0] * len(rows)
    lengths = [0] * len(rows)
    for i, example in enumerate(examples):
        prompt = example["prompt_ids"]
        room = None if max_length is None else max_length - len(prompt)
        shared: list[int] = list(range(len(ids), len(ids) + max(len(prompt) - 1, 0)))
        ids += prompt[:-1]
        positions += range(len(shared))
        for number, side in ((i, "chosen_ids"), (len(examples) + i, "rejected_ids")):
            answer = example[side][:room]
            read, follows = [*prompt[-1:], *answer[:-1]], answer
            if not prompt:  # nothing comes before the first token, so it is not scored
                follows = answer[1:]
            own = list(range(len(ids), len(ids) + len(read)))
            ids += read
            positions += range(len(shared), len(shared) + len(read))
            scored[number] = list(range(len(targets), len(targets) + len(follows)))
            scored_at += own
            targets += follows
            rows[number] = shared + own
            n_shared[number] = len(shared)
            lengths[number] = len(answer)
    in_order = [number for i in range(len(examples)) for number in (i, len(examples) + i)]
    groups = sequences = None
    if variable:
        at_place = [token for number in in_order for token in rows[number]]
        start = _starts(rows, in_order)
        # The queries of a shared prompt belong to the chosen answer, which it stands before.
        queries = [len(rows[n]) - (n_shared[n] if n >= len(examples) else 0) for n in in_order]
        sequences = (
            _offsets(queries),
            _offsets([len(rows[number]) for number in in_order]),
            max(queries),
            max(map(len, rows)),
        )
    else:
        groups, at_place, start = _in_groups(rows, most_groups)
    place = torch.zeros(len(ids), dtype=torch.long)
    shared_tokens: list[int] = []
    shared_places: list[int] = []
    for number in reversed(range(len(rows))):  # chosen rows last: they have the last word
        row = rows[number]
        place[torch.tensor(row, dtype=torch.long)] = torch.arange(
            start[number], start[number] + len(row)
        )
        if number >= len(examples):
            shared_tokens += row[: n_shared[number]]
            shared_places += range(start[number], start[number] + n_shared[number])
    width = max(map(len, scored))
    return {
        "answer_mask": _padded([[1] * len(answer) for answer in scored], width),
        "answer_lengths": torch.tensor(lengths),
        "scored": _padded(scored, width),
        "input_ids": torch.tensor([ids]),
        "position_ids": torch.tensor([positions]),
        "scored_at": torch.tensor(scored_at, dtype=torch.long),
        "targets": torch.tensor(targets, dtype=torch.long),
        "groups": groups,
        "sequences": sequences,
        "rows": torch.tensor(at_place),
        "place": place,
        "shared": torch.tensor(shared_tokens, dtype=torch.long),
        "shared_place": torch.tensor(shared_places, dtype=torch.long),
    }


def _in_groups(
    rows: list[list[int]], most_groups: int
) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    """Return groups of rows of like length, the token at each place, and where each row starts."""
    groups: list[tuple[int, int]] = []
    at_place: list[int] = []
    start = [0] * len(rows)
    by_length = sorted(range(len(rows)), key=lambda number: len(rows[number]))
    size = -(-len(rows) // most_groups)
    for first in range(0, len(rows), size):
        members = by_length[first : first + size]
        width = len(rows[members[-1]])
        groups.append((len(members), width))
        for number in members:
            start[number] = len(at_place)
            at_place += rows[number] + [0] * (width - len(rows[number]))
    return groups, at_place, start


def _starts(rows: list[list[int]], order: list[int]) -> list[int]:
    """Return where each row starts when they lie one after the other in an order."""
    start = [0] * len(rows)
    at = 0
    for number in order:
        start[number] = at
        at += len(rows[number])
    return start


def _offsets(sizes: list[int]) -> torch.Tensor:
    return torch.tensor([0, *accumulate(sizes)], dtype=torch.int32)


def _padded(lists: list[list[int]], width: int) -> torch.Tensor:
    return torch.tensor([values + [0] * (width - len(values)) for values in lists])


def reason_to_pad(model: Any) -> str | None:
    """Return why a model cannot read unpadded pairs, or None when it can."""
    known = ("sdpa", FLASH, IN_GROUPS, VARIABLE, VARIABLE_FLASH)
    if model.config._attn_implementation not in known:
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


def answer_log_probs(model: Any, inputs: dict[str, Any]) -> torch.Tensor:
    """Score the answers of an unpadded batch with a model that has `head.add_answer_head`.

    Returns:
        Log probabilities, (2 pairs, scored); 0 where `answer_mask` is 0.
    """
    layout = tuple(inputs[name] for name in LAYOUT)
    by_token: torch.Tensor = model(
        input_ids=inputs["input_ids"],
        # Four dimensions: taken as it is, so that no mask of tokens x tokens is made; not used.
        attention_mask=torch.ones(
            (1, 1, 1, 1), dtype=torch.bool, device=inputs["input_ids"].device
        ),
        position_ids=inputs["position_ids"],
        pair_layout=layout,
        use_cache=False,
        scored_at=inputs["scored_at"],
        targets=inputs["targets"],
    )
    scored, mask = inputs["scored"], inputs["answer_mask"]
    answers: torch.Tensor = by_token[scored] * mask
    return answers
