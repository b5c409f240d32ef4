from __future__ import annotations

from pathlib import Path

import pytest

from ifllm_hf.data.card_head import card_head, split_card
from ifllm_hf.data.marker import is_prepared
from ifllm_hf.data.sessions.sessions_card import WAITING_KEY, is_of_sessions, waiting_questions
from ifllm_hf.errors import SourceError


@pytest.mark.parametrize(
    ("text", "said", "below"),
    [
        ("---\na: 1\n---\n\n# T\n", {"a": 1}, "# T\n"),
        ("---\r\na: 1\r\n---\r\ntext", {"a": 1}, "text"),
        ("\n---\na: 1\n--- \ntext", {"a": 1}, "text"),
        ("---\n---\ntext", {}, "text"),
        ("---\n- a\n---\ntext", {}, "text"),
        ("text\n---\na: 1\n---\n", {}, "text\n---\na: 1\n---\n"),
        ("", {}, ""),
    ],
)
def test_head_and_text_of_a_card(text: str, said: dict[str, int], below: str) -> None:
    assert split_card(text, "here") == (said, below)


def test_a_damaged_byte_below_the_head_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_bytes(b"---\na: 1\n---\n\xff")
    assert card_head(tmp_path) == {"a": 1}
    assert card_head(tmp_path / "nowhere") == {}


def test_no_question_counts_as_reviewed_because_the_head_is_broken(tmp_path: Path) -> None:
    head = f"---\n{WAITING_KEY}: 3\nifllm_prepared: 3\n"
    (tmp_path / "README.md").write_text(f"{head}---\n")
    assert is_of_sessions(tmp_path) and waiting_questions(tmp_path) == 3
    (tmp_path / "README.md").write_text(f"{head}a: [\n---\n")
    with pytest.raises(SourceError, match="YAML"):
        waiting_questions(tmp_path)
    # A slip elsewhere in the YAML makes it no other folder: it is read as before.
    assert is_prepared(tmp_path)
