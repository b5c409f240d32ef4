"""One setting of a recipe: what its field says to the parser."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ifllm_hf.training.setting import setting


@dataclass
class Settings:
    size: int = setting(3, "How many.")
    kind: str = setting("big", "Which one.", ("big", "small"))


def test_a_setting_has_a_default_a_text_and_its_choices() -> None:
    assert Settings() == Settings(size=3, kind="big")
    size, kind = fields(Settings)
    assert dict(size.metadata) == {"help": "How many."}
    assert dict(kind.metadata) == {"help": "Which one.", "choices": ["big", "small"]}
