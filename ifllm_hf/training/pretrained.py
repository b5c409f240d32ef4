"""What is the same for all that is loaded by name: whose code may run, and where positions end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ifllm_hf.errors import ConfigError

_TABLE = re.compile(
    r"(^|\.)(position_embeddings?|embed_positions|positions_embed|wpe|pos_emb\w*|position_embed\w*)$"
)


@contextmanager
def loading(
    name: str, *, trust_remote_code: bool, setting: str = "trust_remote_code"
) -> Iterator[dict[str, Any]]:
    """Give the options for `from_pretrained`, and say in one line what keeps its code from running.

    Args:
        name: What is loaded, for messages.
        trust_remote_code: Whether code that lies beside the weights may run.
        setting: Where that is set.

    Raises:
        ConfigError: It needs code of its own that is not trusted, or packages that are not there.
    """
    try:
        # Never left out: transformers would ask on the terminal, and wait.
        yield {"trust_remote_code": trust_remote_code}
    except ValueError as error:
        if trust_remote_code or "trust_remote_code" not in str(error):
            raise
        raise ConfigError(
            f"{name} brings code of its own, which is not run unasked; read it, then set "
            f"{setting}: true, or choose another model"
        ) from error
    except ImportError as error:
        if not trust_remote_code:
            raise
        said = " ".join(str(error).split())
        raise ConfigError(f"{name}: its own code cannot be run ({said}); install that") from error


def table_positions(model: Any) -> int | None:
    """Return how many tokens a model has positions for where it looks them up in a table.

    RoBERTa and its like begin to count behind the padding, BART and OPT behind two rows.

    Args:
        model: A torch module; its weights are not looked at.
    """
    from torch import nn

    tables = [
        part.num_embeddings
        - int(getattr(part, "offset", 0))
        - (0 if part.padding_idx is None else part.padding_idx + 1)
        for name, part in model.named_modules()
        if isinstance(part, nn.Embedding) and _TABLE.search(name)
    ]
    return min(tables, default=None)


def _said_positions(config: Any) -> int | None:
    text = config.get_text_config()
    said = getattr(text, "max_position_embeddings", None)
    # XLNet says -1; models that weigh distances (ALiBi) have a number and no use for it.
    return said if said and said > 0 and not getattr(text, "alibi", False) else None


def model_positions(model: Any) -> int | None:
    """Return where the positions of a loaded model end, as `positions` does of a config."""
    return _least(_said_positions(model.config), table_positions(model))


def positions(config: Any, *, trust_remote_code: bool = False) -> int | None:
    """Return where the positions of a model end: its table does, or what its config says.

    The second is a limit only of what was trained for (rotary positions), and is kept to all the
    same; models without either have none.

    Args:
        config: Of a text model.
        trust_remote_code: As for `loading`.
    """
    return _least(
        _said_positions(config), hard_positions(config, trust_remote_code=trust_remote_code)
    )


def _least(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)


def hard_positions(config: Any, *, trust_remote_code: bool = False) -> int | None:
    """Return how many tokens fit before torch fails; None if there is no such number."""
    import torch
    from transformers import AutoModel

    try:
        with torch.device("meta"):  # shapes alone: no memory, no time
            model = AutoModel.from_config(config, trust_remote_code=trust_remote_code)
    except (ValueError, TypeError, RuntimeError, ImportError):
        return None  # not known before the weights are there
    return table_positions(model)
