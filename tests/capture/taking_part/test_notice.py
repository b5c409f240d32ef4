"""The notice of chat pages: every language says all of it, and an operator's words are checked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.capture.server import SessionStore
from ifllm_hf.capture.taking_part.flow import Flow
from ifllm_hf.capture.taking_part.notice import Notices
from ifllm_hf.errors import ConfigError
from ifllm_hf.files import digest
from tests.helpers.capture.session_store import lines_of, make_settings

LANGUAGES = ["en", "de", "fr", "es"]


def notices(tmp_path: Path, **changes: Any) -> Notices:
    return Notices(make_settings(tmp_path / "sessions", **changes))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_says_all_of_it(language: str, tmp_path: Path) -> None:
    english = notices(tmp_path).choose(["en"])
    open_ended = notices(tmp_path).choose([language])
    limited = notices(tmp_path, keep_days=45).choose([language])
    assert open_ended.language == limited.language == language
    assert open_ended.words.keys() == limited.words.keys() == english.words.keys()
    for notice in (open_ended, limited):
        assert "lab@example.org" in notice.words["who"] and "a test" in notice.words["ground"]
        assert re.findall(r"\{\w*\}", notice.text) == ["{when}"], "nothing is left to be filled in"
    assert "45" in limited.words["kept"] and not re.search(r"\d", open_ended.words["kept"])
    assert limited.version != open_ended.version, "another text has another version"
    if language != "en":
        same = {key for key, words in limited.words.items() if english.words.get(key) == words}
        assert same == set(), "not translated"


@pytest.mark.parametrize(
    ("asked", "language"),
    [
        (["de-AT", "en"], "de"),
        (["nl", "fr-CA", "de"], "fr"),
        (["ES"], "es"),
        (["nl", "zh-Hant"], "en"),
        ([], "en"),
        (None, "en"),
        ([7, {"a": 1}, "../../de"], "en"),
    ],
)
def test_the_first_language_that_there_is(asked: Any, language: str, tmp_path: Path) -> None:
    assert notices(tmp_path).choose(asked).language == language


def test_own_words_take_the_place_of_ours(tmp_path: Path) -> None:
    plain = notices(tmp_path).choose(["de"])
    (tmp_path / "de.json").write_text(json.dumps({"purpose": "Wozu: für unsere Studie."}))
    words = json.loads(json.dumps(plain.words)) | {
        "who": "{contact} doet dit.", "ground": "{legal_basis}", "kept_days": "{keep_days} dagen",
        "delete_earlier": "Wis {when}", "title": "Mag dat?",
    }  # fmt: skip
    (tmp_path / "nl.json").write_text(json.dumps(words))
    own = notices(tmp_path, consent_words=tmp_path, keep_days=9)
    german, dutch = own.choose(["de"]), own.choose(["nl"])
    assert german.words["purpose"] == "Wozu: für unsere Studie."
    assert german.words["title"] == plain.words["title"] and german.version != plain.version
    assert (dutch.language, dutch.words["title"], dutch.words["kept"]) == (
        "nl",
        "Mag dat?",
        "9 dagen",
    )
    assert own.choose(["en"]).words["purpose"].startswith("What for")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("de.json", '{"purpos": "x"}', "purpos"),
        ("de.json", '{"purpose": ""}', "0 characters"),
        ("de.json", '{"purpose": "for {company}"}', "in braces"),
        ("de.json", '{"kept_days": "a month"}', "{keep_days}"),
        ("de.json", '{"who": "us {contact.__class__}"}', "{contact}"),
        ("de.json", '{"purpose": "a { brace"}', "cannot be filled in"),
        ("de.json", '{"purpose": 7}', "sentences"),
        ("de.json", "{", "no JSON"),
        ("nl.json", '{"purpose": "x"}', "adult"),
        ("words.json", "{}", "language"),
        ("readme.txt", "", "no words in it"),
    ],
)
def test_words_that_are_not_of_the_form(name: str, content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError) as error:
        notices(tmp_path, consent_words=tmp_path)
    assert said in str(error.value) and str(tmp_path) in str(error.value)


def test_what_was_shown_is_recorded_with_the_consent(
    make_store: Callable[..., SessionStore],
) -> None:
    store = make_store(keep_days=30)
    flow = Flow(store.settings, store, None, answers_of_page=True)
    notice = flow.step({"step": "notice", "languages": ["fr-FR", "en"]})
    assert (notice["language"], notice["words"]["yes"]) == ("fr", "Oui, je participe")
    assert list(store.folder.glob("*.jsonl")) == [] and not (store.folder / "consents").exists()
    asked = {"step": "consent", "version": notice["version"], "adult": True}
    for wrong in (asked, asked | {"language": "de"}, asked | {"language": "fr", "adult": False}):
        assert flow.step(wrong)["error"] == "malformed"
    assert list(store.folder.glob("*.jsonl")) == []
    opened = flow.step(asked | {"language": "fr"})
    consent = lines_of(store, opened["session"])[0]["consent"]
    assert (consent["language"], consent["keep_days"]) == ("fr", 30)
    assert consent["version"] == notice["version"] and consent["adult"] is True
    shown = (store.folder / "consents" / f"{consent['text_sha256']}.txt").read_text()
    assert json.loads(shown) == {"language": "fr", "words": notice["words"]}
    assert digest(shown) == consent["text_sha256"]


def test_nobody_is_asked_where_nobody_collects(make_store: Callable[..., SessionStore]) -> None:
    store = make_store(contact="")
    flow = Flow(store.settings, store, None, answers_of_page=True)
    assert flow.step({"step": "notice", "languages": ["en"]}) == {"ok": True, "collects": False}
