from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from ifllm_hf.alignment.generate.answers import read_answers
from ifllm_hf.alignment.generate.backend import CUT, STOPPED, finished_answer, stop_texts
from ifllm_hf.alignment.generate.config import ModelSpec, Sampling
from ifllm_hf.alignment.policy.load import weights_id
from ifllm_hf.errors import ConfigError, DataError
from tests.helpers.alignment.asked_prompts import STYLE, prompts, write

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")


def test_an_answer_ends_where_another_question_begins() -> None:
    stops = stop_texts(STYLE, Sampling())
    assert stops == ["\n\nQuestion:"]
    ended = finished_answer(" Because.\n\nQuestion: And", stops, False, 9)
    assert (ended.text, ended.finish) == ("Because.", STOPPED)
    assert finished_answer(" Because", stops, False, 9).finish == CUT
    assert finished_answer(" Because", stops, True, 9).finish == STOPPED
    assert stop_texts(STYLE, Sampling(stop=("END",))) == ["END"]


def test_ready_answers_are_found_by_id_or_question(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    rows = [{"prompt_id": "p0", "answer": " one "}, {"question": "Why so ?", "answer": "two"}]
    file.write_text("".join(json.dumps(r) + "\n" for r in rows))
    spec = ModelSpec("given", answers=str(file))
    got = write(spec, tmp_path / "unused.jsonl", prompts(2))
    assert [got[f"p{i}"].text for i in (0, 1)] == ["one", "two"]
    with pytest.raises(DataError, match="no answer to 'Why so so"):
        write(spec, tmp_path / "unused.jsonl", prompts(3))
    file.unlink()
    with pytest.raises(DataError, match="cannot be read as answers"):
        write(spec, tmp_path / "unused.jsonl", prompts(1))


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ('{"question": "Why ?", "answer": null}', "no answer .*null"),  # it was judged as "None"
        ('{"question": "Why ?", "answer": [{"role": "assistant"}]}', "'answer' is .*assistant"),
        ('{"question": ["Why ?"], "answer": "So"}', "'question' is .*Why"),
        ('{"prompt": "Why ?", "chosen": "So", "rejected": "No"}', "no answer .*chosen"),
        ('{"answer": "So"}', "no prompt_id or question"),
        ('["Why ?", "So"]', "no answer"),
        ('{"question": "Why ?", "answ', "no JSON"),
    ],
)
def test_a_row_that_is_no_answer_is_named(tmp_path: Path, line: str, seen: str) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"prompt_id": "p0", "question": null, "answer": "one"}\n\n' + line + "\n")
    with pytest.raises(DataError, match=f"a.jsonl: row 1, counted from 0,? .*{seen}"):
        read_answers(ModelSpec("given", answers=str(file)), prompts(1))


def test_weights_without_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no weights"):
        weights_id(str(tmp_path / "empty"))
    assert weights_id("ORG/NAME") == "ORG/NAME"


def test_weights_keep_the_name_that_finished_runs_are_found_by(tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    content = hashlib.sha256(b"adapter_model.safetensors" + b"weights").hexdigest()
    assert weights_id(str(adapter)) == f"adapter {content[:16]}"
