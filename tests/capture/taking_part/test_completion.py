"""A panel learns that somebody came to the end, and nothing that leads to their session."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ifllm_hf.capture.server import SessionStore
from ifllm_hf.capture.server.identity import session_id_of
from ifllm_hf.capture.taking_part.completion import completion_code, completion_link, main
from ifllm_hf.capture.taking_part.consent import VERSION
from ifllm_hf.capture.taking_part.flow import Flow
from ifllm_hf.data.sessions.session_file import tombstone

CONSENT = {"step": "consent", "version": VERSION, "adult": True}


def end(store: SessionStore) -> tuple[dict[str, Any], str | None]:
    flow = Flow(store.settings, store, None)
    opened = flow.step(CONSENT)
    who = {name: opened[name] for name in ("session", "token")}
    return opened, flow.step({"step": "end", **who})["completion"]


def listed(capsys: pytest.CaptureFixture[str], folder: Path) -> dict[str, dict[str, str]]:
    assert main([str(folder)]) == 0
    return {row["code"]: row for row in csv.DictReader(capsys.readouterr().out.splitlines())}


def test_without_an_address_there_is_no_link(store: SessionStore) -> None:
    assert end(store)[1] is None


def test_the_link_carries_the_code_of_completion_and_nothing_else(
    make_store: Callable[..., SessionStore],
) -> None:
    store = make_store(completion_url="https://panel.example/done?study=7#x")
    opened, link = end(store)
    parts = urlsplit(str(link))
    assert (parts.netloc, parts.path, parts.fragment) == ("panel.example", "/done", "x")
    query = parse_qs(parts.query)
    assert query.keys() == {"study", "code"} and query["study"] == ["7"]
    (code,) = query["code"]
    assert re.fullmatch("[A-Z2-7]{16}", code)
    secrets = [opened["code"].replace("-", ""), opened["session"], opened["token"]]
    assert not any(code in secret or secret in str(link) for secret in secrets)
    # It is no withdrawal code, and does not follow from one without the server's secret.
    assert session_id_of(code) is None
    mark = tombstone(opened["session"])
    assert code == completion_code(mark, store.secret) != completion_code(mark, "x" * 32)


def test_the_operator_lists_codes_beside_what_the_store_holds(
    make_store: Callable[..., SessionStore], capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_store(completion_url="https://panel.example/done")
    links = [end(store) for _ in range(2)]
    Flow(store.settings, store, None).step(CONSENT)  # who never came to the end
    first, second = (parse_qs(urlsplit(str(link)).query)["code"][0] for _, link in links)
    codes = listed(capsys, store.folder)
    assert codes[first] == {"code": first, "state": "finished", "rated_questions": "0"}
    assert sorted(row["state"] for row in codes.values()) == ["finished", "finished", "unfinished"]
    store.withdraw(links[1][0]["code"])
    codes = listed(capsys, store.folder)
    assert codes[second]["state"] == "withdrawn" and codes[first]["state"] == "finished"


def test_a_list_needs_the_servers_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IFLLM_SPACE_SECRET", raising=False)
    assert main([str(tmp_path)]) == 1
    assert "IFLLM_SPACE_SECRET" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("url", "link"),
    [
        ("https://p.example", "https://p.example?code=C"),
        ("https://p.example/?a=%7B1%7D&flag", "https://p.example/?a=%7B1%7D&flag&code=C"),
    ],
)
def test_an_address_stays_as_the_panel_wrote_it(url: str, link: str) -> None:
    assert completion_link(url, "C") == link
