"""What an operator sets, in one place: read once from the environment, then frozen."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from ifllm_hf.capture.same_page import origin_of
from ifllm_hf.errors import ConfigError

_PREFIX = "IFLLM_SPACE_"
KEEP_DAYS_MAX = 36_500


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of one running app; `$IFLLM_SPACE_<NAME>` sets the field `<name>`.

    Collection is off until `contact` and `legal_basis` are set.
    """

    sessions: Path = field(
        default=Path("sessions"), metadata={"help": "folder of the session files"}
    )
    contact: str = field(default="", metadata={"help": "whom a participant can write to"})
    legal_basis: str = field(
        default="", metadata={"help": "on what ground data is kept, such as an ethics approval"}
    )
    secret: str = field(
        default="",
        repr=False,
        metadata={"help": "signs tokens; empty: made once and kept beside the sessions"},
    )
    hub_dataset: str = field(
        default="",
        metadata={"help": "private dataset repository, ORG/NAME, sessions are pushed to"},
    )
    hub_interval_s: float = field(default=60.0, metadata={"help": "seconds between two pushes"})
    pack_idle_hours: float = field(
        default=24.0, metadata={"help": "hours after which a session that rests is packed"}
    )
    keep_days: int | None = field(
        default=None,
        metadata={
            "help": "days after its last event at which a session is deleted; empty: never. "
            "Participants are told"
        },
    )
    consent_words: Path | None = field(
        default=None,
        metadata={
            "help": "folder of the operator's own words for the consent on chat pages: en.json, ..."
        },
    )
    exports: Path | None = field(
        default=None,
        metadata={"help": "prepared folder made from the sessions; made again on a withdrawal"},
    )
    trusted_proxies: int | None = field(
        default=None,
        metadata={
            "help": "proxies in front whose X-Forwarded-For is believed; empty: no address is read"
        },
    )
    uploads_per_minute: int = field(
        default=240, metadata={"help": "batches that one session may send in a minute"}
    )
    sessions_per_minute: int = field(
        default=120, metadata={"help": "sessions that may be opened in a minute, by everyone"}
    )
    session_bytes_max: int = field(
        default=128 * 2**20, metadata={"help": "size at which a session file takes no more"}
    )
    responder: str = field(
        default="replay", metadata={"help": "who answers: replay, hub, openai or local"}
    )
    models: tuple[str, ...] = field(
        default=(), metadata={"help": "models that answer, separated by commas"}
    )
    openai_base_url: str = field(
        default="", metadata={"help": "server that speaks OpenAI's protocol"}
    )
    answers_per_day: int = field(
        default=500, metadata={"help": "daily quota where answers cost money"}
    )
    answer_tokens_max: int = field(default=500, metadata={"help": "cap on an answer's length"})
    webgazer: Path | None = field(
        default=None,
        metadata={"help": "folder with the fetched webgazer package; empty: no webcam"},
    )
    show_sessions: bool = field(
        default=False,
        metadata={"help": "show collected sessions in Explore; never on a public page"},
    )
    operators: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "Hub users who may see them, and the status page, in a Space, signed in; "
            "separated by commas"
        },
    )
    root_path: str = field(
        default="",
        metadata={"help": "where a proxy shows the app: a path such as /app, or a whole address"},
    )
    origins: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "origins of pages on other hosts that may send here, separated by commas"
        },
    )
    completion_url: str = field(
        default="",
        metadata={"help": "page of a panel; the session's code of completion is added to it"},
    )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read `$IFLLM_SPACE_*`.

        Raises:
            ConfigError: A name that is not known, a value that does not parse, or a contradiction.
        """
        values: dict[str, object] = {}
        for name, text in environment.items():
            if not name.startswith(_PREFIX) or not text.strip():
                continue
            key = name.removeprefix(_PREFIX).lower()
            if key not in cls.__dataclass_fields__:
                raise ConfigError(
                    f"${name} is not a setting. Expected one of "
                    f"{', '.join(_PREFIX + k.upper() for k in cls.__dataclass_fields__)}."
                )
            kind = str(cls.__dataclass_fields__[key].type)
            try:
                values[key] = _parse(text.strip(), kind)
            except ValueError:
                raise ConfigError(f"${name} is {text!r}. Expected {kind}.") from None
        if "root_path" in values:
            values["root_path"] = normal_root(str(values["root_path"]))
        settings = cls(**values)  # type: ignore[arg-type]
        settings.validate()
        return settings

    @property
    def collects(self) -> bool:
        """Whether people may take part."""
        return bool(self.contact and self.legal_basis)

    def validate(self) -> None:
        """Raise ConfigError where settings contradict each other."""
        for name in ("uploads_per_minute", "sessions_per_minute", "session_bytes_max"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"${_PREFIX}{name.upper()} is {getattr(self, name)}. Expected 1 or more."
                )
        if self.hub_interval_s <= 0:
            raise ConfigError(
                f"${_PREFIX}HUB_INTERVAL_S is {self.hub_interval_s}. Expected seconds above 0."
            )
        if not self.pack_idle_hours > 0:
            raise ConfigError(
                f"${_PREFIX}PACK_IDLE_HOURS is {self.pack_idle_hours}. Expected hours above 0."
            )
        if self.keep_days is not None and not 1 <= self.keep_days <= KEEP_DAYS_MAX:
            raise ConfigError(
                f"${_PREFIX}KEEP_DAYS is {self.keep_days}. Expected 1 to {KEEP_DAYS_MAX} "
                "whole days; without it sessions are kept until they are withdrawn."
            )
        if self.trusted_proxies is not None and self.trusted_proxies < 0:
            raise ConfigError(
                f"${_PREFIX}TRUSTED_PROXIES is {self.trusted_proxies}. Expected 0 or more."
            )
        root = urlsplit(self.root_path)
        if root.query or root.fragment or (root.path and not root.path.startswith("/")):
            raise ConfigError(
                f"${_PREFIX}ROOT_PATH is {self.root_path!r}. Expected a path such as /app, or a "
                "whole address such as https://lab.example/app."
            )
        if root.scheme and not _is_address(self.root_path):
            raise ConfigError(
                f"${_PREFIX}ROOT_PATH is {self.root_path!r}. Expected http(s):// and a host."
            )
        if self.completion_url and not _is_address(self.completion_url):
            raise ConfigError(
                f"${_PREFIX}COMPLETION_URL is {self.completion_url!r}. Expected an address that "
                "begins with http:// or https://, such as https://panel.example/complete."
            )
        for origin in self.origins:
            if origin_of(origin) != origin:
                raise ConfigError(
                    f"${_PREFIX}ORIGINS has {origin!r}. Expected it as browsers write it: "
                    f"{origin_of(origin)}."
                )
        if self.secret and len(self.secret) < 32:
            raise ConfigError(
                f"${_PREFIX}SECRET has {len(self.secret)} characters. Expected 32 or more: "
                "make one with `python -c 'import secrets; print(secrets.token_hex(32))'`."
            )
        if self.hub_dataset and not self.secret:
            raise ConfigError(
                f"${_PREFIX}HUB_DATASET is set and ${_PREFIX}SECRET is not. Sessions that go "
                "to the Hub outlive this machine, and so must the secret: set it."
            )


def normal_root(text: str) -> str:
    """Return a path as `root_path` has it: `/app` for `app/`; a whole address stays one."""
    text = text.rstrip("/")
    return text if not text or "://" in text or text.startswith("/") else f"/{text}"


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        valid_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    blank = any(c.isspace() or ord(c) < 32 for c in text)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and valid_port and not blank


def _parse(text: str, kind: str) -> object:
    if kind.startswith("Path"):
        return Path(text)
    if kind.startswith("int"):
        return int(text)
    if kind == "float":
        return float(text)
    if kind == "bool":
        if text.lower() not in ("0", "1", "true", "false", "yes", "no"):
            raise ValueError(text)
        return text.lower() in ("1", "true", "yes")
    if kind.startswith("tuple"):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return text
