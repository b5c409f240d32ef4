"""The card of an import: all of it counted, none of it quoted."""

from __future__ import annotations

from collections.abc import Mapping

from ifllm_hf.card_template import fill
from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.sessions.sessions_card import WAITING_KEY

_TEMPLATE = """\
---
pretty_name: Chats of {{program}}
{{waiting_key}}: {{waiting:d}}
---

# Chats of {{program}}

{{messages:d}} messages of {{readers:d}} readers, imported with `ifllm import`.
What they did with answers: {{actions}}.
{{pairs:d}} questions have a rated answer beside another one.
Nothing was recorded of mouse or eyes: the ticks are empty.

Seen: {{seen}}. Left out: {{dropped}}.

`ifllm label OUT --source actions` makes preference pairs of it.
Readers are pseudonyms; what looks like an e-mail address is masked.

{{not_reviewed:d}} questions were not reviewed for personal data: **keep this folder private**.
"""


def imported_card(
    program: str,
    *,
    messages: int,
    actions: Mapping[str, int],
    pairs: int,
    readers: int,
    waiting: int,
    ledgers: Mapping[str, Ledger],
) -> str:
    """Return the text of the card.

    Args:
        program: What exported.
        messages: Rows of `messages`.
        actions: Rows of `actions` by what was done.
        pairs: Rows of `pairwise`.
        readers: How many.
        waiting: Questions that nobody has reviewed; 0 for what may be public.
        ledgers: Of what was read.
    """
    dropped = [
        f"{name}: {why} {n:,}"
        for name, ledger in ledgers.items()
        for why, n in sorted(ledger.dropped.items())
    ]
    values = {
        "program": program,
        "waiting_key": WAITING_KEY,
        "waiting": waiting,
        "messages": messages,
        "readers": readers,
        "actions": ", ".join(f"{name} {n:,}" for name, n in sorted(actions.items())) or "nothing",
        "pairs": pairs,
        "seen": ", ".join(f"{name} {ledger.seen:,}" for name, ledger in ledgers.items()),
        "dropped": "; ".join(dropped) or "nothing",
        "not_reviewed": waiting or None,
    }
    return fill(_TEMPLATE, values)
