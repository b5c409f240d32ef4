"""What is asked on pages that are not ours, in the reader's language.

`notices/<language>.json` has our words, one sentence to a key; an operator's folder of the same
form takes their place, key by key. What is shown is made here, so that the server knows it word for
word.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

from ifllm_hf.capture.settings import Settings
from ifllm_hf.errors import ConfigError
from ifllm_hf.files import digest

FALLBACK = "en"
_OURS = Path(__file__).parent / "notices"
_LANGUAGE = re.compile(r"[a-z]{2,3}", re.ASCII)
_CHARS_MAX = 2000  # of a sentence
_FIELDS = {
    "who": {"contact"},
    "ground": {"legal_basis"},
    "kept_days": {"keep_days"},
    "delete_earlier": {"when"},  # the browser knows
}
"""What a sentence must name; no other sentence may name anything."""

Words = dict[str, str]


@dataclass(frozen=True)
class Notice:
    """What one reader is asked.

    Attributes:
        language: Of the words.
        words: By key, with contact, ground and days filled in.
        text: All of it, as it is hashed into the session and kept beside it.
        version: Of the text.
    """

    language: str
    words: Words
    text: str
    version: str


class Notices:
    """The notice in every language that there is."""

    def __init__(self, settings: Settings) -> None:
        """Read our words, and the operator's.

        Raises:
            ConfigError: The operator's words are not of our form.
        """
        packs = {path.stem: _read(path) for path in sorted(_OURS.glob("*.json"))}
        keys = set(packs[FALLBACK])
        if (folder := settings.consent_words) is not None:
            own = {path.stem: _checked(path, keys) for path in sorted(folder.glob("*.json"))}
            if not own:
                raise ConfigError(
                    f"$IFLLM_SPACE_CONSENT_WORDS is {str(folder)!r}: no words in it. Expected a "
                    f"folder with files such as {FALLBACK}.json."
                )
            for language, words in own.items():
                packs[language] = packs.get(language, {}) | words
                if missing := keys - set(packs[language]):
                    raise ConfigError(
                        f"{folder / language}.json: no {', '.join(sorted(missing))}. Expected "
                        f"every key of {_OURS / FALLBACK}.json, because no words of ours are in "
                        "this language."
                    )
        self._notices = {
            language: _filled(language, words, settings) for language, words in packs.items()
        }

    def choose(self, languages: object) -> Notice:
        """Return the first of the languages that there is, else English.

        Args:
            languages: As a browser lists them, such as `["de-AT", "en"]`; whatever was sent.
        """
        asked = languages if isinstance(languages, list) else []
        names = (name.lower().partition("-")[0] for name in asked if isinstance(name, str))
        return self._notices[next((n for n in names if n in self._notices), FALLBACK)]


def _filled(language: str, words: Words, settings: Settings) -> Notice:
    told = {"contact": settings.contact, "legal_basis": settings.legal_basis}
    told["keep_days"] = str(settings.keep_days)
    told["when"] = "{when}"
    words = dict(words)
    kept = words.pop("kept_days")
    if settings.keep_days is not None:
        words["kept"] = kept
    words = {key: sentence.format_map(told) for key, sentence in words.items()}
    shown = {"language": language, "words": words}
    text = json.dumps(shown, ensure_ascii=False, sort_keys=True, indent=1)
    return Notice(language, words, text, f"notice-{digest(text)[:16]}")


def _read(path: Path) -> Words:
    words: Words = json.loads(path.read_text(encoding="utf-8"))
    return words


def _checked(path: Path, keys: set[str]) -> Words:
    """Read an operator's words; raise ConfigError where they are not of our form."""
    if not _LANGUAGE.fullmatch(path.stem):
        raise ConfigError(f"{path}: expected the name of a language, such as nl.json.")
    try:
        words = _read(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: is no JSON that can be read ({error}).") from None
    if not isinstance(words, dict) or not all(isinstance(s, str) for s in words.values()):
        raise ConfigError(f"{path}: expected an object of sentences, as in {_OURS}.")
    for key, sentence in words.items():
        if key not in keys:
            raise ConfigError(f"{path}: has {key!r}. Expected keys of {_OURS / FALLBACK}.json.")
        if not 0 < len(sentence.strip()) <= _CHARS_MAX:
            raise ConfigError(f"{path}: {key!r} has {len(sentence)} characters of {_CHARS_MAX}.")
        try:
            named = {name for _, name, _, _ in Formatter().parse(sentence) if name is not None}
        except ValueError as error:
            raise ConfigError(f"{path}: {key!r} cannot be filled in ({error}).") from None
        if named != _FIELDS.get(key, set()):
            said = ", ".join(f"{{{name}}}" for name in sorted(_FIELDS.get(key, ()))) or "no {...}"
            raise ConfigError(f"{path}: expected {said} in {key!r}, and nothing else in braces.")
    return words
