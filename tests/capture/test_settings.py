"""Settings come from the environment; what is wrong there is said before anything starts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ifllm_hf.capture.settings import Settings
from ifllm_hf.errors import ConfigError


def test_defaults_collect_nothing() -> None:
    settings = Settings.from_environment({"PATH": "/bin", "IFLLM_RELEASE": "x"})
    assert settings == Settings() and not settings.collects


def test_every_kind_of_value_is_read() -> None:
    settings = Settings.from_environment(
        {
            "IFLLM_SPACE_SESSIONS": "/data/s",
            "IFLLM_SPACE_CONTACT": " lab@example.org ",
            "IFLLM_SPACE_LEGAL_BASIS": "ethics 12/3",
            "IFLLM_SPACE_HUB_INTERVAL_S": "2.5",
            "IFLLM_SPACE_TRUSTED_PROXIES": "1",
            "IFLLM_SPACE_MODELS": "a/b, c/d,",
            "IFLLM_SPACE_SHOW_SESSIONS": "yes",
            "IFLLM_SPACE_EXPORTS": "",
        }
    )
    assert settings.collects and settings.contact == "lab@example.org"
    assert settings.sessions == Path("/data/s") and settings.exports is None
    assert (settings.hub_interval_s, settings.trusted_proxies) == (2.5, 1)
    assert settings.models == ("a/b", "c/d") and settings.show_sessions


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"CONTCT": "x"}, "is not a setting.*IFLLM_SPACE_CONTACT"),
        ({"TRUSTED_PROXIES": "many"}, "TRUSTED_PROXIES is 'many'"),
        ({"TRUSTED_PROXIES": "-1"}, "TRUSTED_PROXIES is -1"),
        ({"SHOW_SESSIONS": "maybe"}, "SHOW_SESSIONS"),
        ({"UPLOADS_PER_MINUTE": "0"}, "UPLOADS_PER_MINUTE is 0"),
        ({"HUB_INTERVAL_S": "0"}, "HUB_INTERVAL_S"),
        ({"SECRET": "short"}, "SECRET has 5 characters"),
        ({"HUB_DATASET": "lab/sessions"}, "SECRET is not"),
        ({"COMPLETION_URL": "panel.example/x"}, "COMPLETION_URL"),
        ({"COMPLETION_URL": "javascript:alert(1)"}, "COMPLETION_URL"),
        ({"COMPLETION_URL": "https://"}, "COMPLETION_URL"),
        ({"COMPLETION_URL": "https://a.example:x/"}, "COMPLETION_URL"),
        ({"COMPLETION_URL": "https://a.example/ b"}, "COMPLETION_URL"),
        ({"ROOT_PATH": "/app?x=1"}, "ROOT_PATH"),
        ({"ROOT_PATH": "ftp://a.example/app"}, "ROOT_PATH"),
        ({"ROOT_PATH": "https:///app"}, "ROOT_PATH"),
    ],
)
def test_wrong_values_name_their_variable(environment: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Settings.from_environment({f"IFLLM_SPACE_{k}": v for k, v in environment.items()})


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("app", "/app"),
        ("/app/", "/app"),
        ("/", ""),
        ("/a/b", "/a/b"),
        ("https://lab.example/app/", "https://lab.example/app"),
    ],
)
def test_a_path_prefix_has_one_form(given: str, kept: str) -> None:
    assert Settings.from_environment({"IFLLM_SPACE_ROOT_PATH": given}).root_path == kept


def test_an_address_to_complete_at() -> None:
    url = "https://panel.example/complete?cc=AB12&x=[y]"
    assert Settings.from_environment({"IFLLM_SPACE_COMPLETION_URL": url}).completion_url == url


def test_docs_name_every_setting() -> None:
    text = (Path(__file__).parents[2] / "docs" / "collect.md").read_text()
    named = set(re.findall(r"`([A-Z_]+)`", text.split("## Settings")[1]))
    assert {name.upper() for name in Settings.__dataclass_fields__} <= named


def test_secret_is_never_printed() -> None:
    assert "k" * 40 not in repr(Settings(secret="k" * 40))
