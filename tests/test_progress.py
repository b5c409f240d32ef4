from __future__ import annotations

import sys

import pytest

from ifllm_hf.progress import progress_bar


def test_progress_goes_to_stderr_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(3, "model · worker") as bar:
        bar.update(3)
    out, err = capsys.readouterr()
    assert out == ""
    assert "model · worker" in err


def test_a_bar_that_is_not_shown_says_nothing_and_needs_no_tqdm(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert list(progress_bar(None, "files", show=False, iterable="ab")) == ["a", "b"]
    with progress_bar(3, "files", show=False) as bar:
        bar.update(2)
        bar.update()
    assert (bar.n, bar.total) == (3, 3)
    assert capsys.readouterr() == ("", "")


def test_a_bar_with_a_delay_is_not_seen_where_the_work_is_quick(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress_bar(3, "files", delay=60) as bar:
        bar.update(3)
    assert capsys.readouterr() == ("", "")
