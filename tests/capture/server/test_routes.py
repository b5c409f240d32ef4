"""What a browser may post, and how everything else is refused: with a reason, storing nothing."""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ifllm_hf.capture import attach
from ifllm_hf.capture.server import OpenedSession, SessionStore
from ifllm_hf.capture.server.limits import RateLimit
from ifllm_hf.capture.server.routes import BODY_BYTES_MAX
from ifllm_hf.capture.settings import Settings
from ifllm_hf.data.sessions.event_schema import fits, schema
from tests.helpers.capture.session_store import CONSENT, make_settings


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("routes") / "sessions"
    yield from _client(make_settings(folder, trusted_proxies=1))


def _client(settings: Settings) -> Iterator[TestClient]:
    app = FastAPI()
    store = attach(app, settings=settings).store
    with TestClient(app, base_url="https://space.example") as client:
        client.store = store  # type: ignore[attr-defined]
        yield client
    store.close()


@pytest.fixture(scope="module")
def store(client: TestClient) -> SessionStore:
    found: SessionStore = client.store  # type: ignore[attr-defined]
    return found


@pytest.fixture
def opened(store: SessionStore) -> OpenedSession:
    return store.open_session(**CONSENT)


def upload_of(opened: OpenedSession, **changes: Any) -> dict[str, Any]:
    return {
        "v": 2,
        "session": opened.session_id,
        "token": opened.token,
        "tab": "tabtabtab",
        "seq": 0,
        "origin_epoch_ms": 1.7e12,
        "sent_epoch_ms": 1.7e12,
        "events": [["p", 1.5, 0, "A", 10, 20, 3, 4, 17, 0, 1, "mouse"]],
        **changes,
    }


def content(store: SessionStore) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(Path(store.folder).rglob("*")) if p.is_file()}


def test_batch_is_acknowledged_once_it_is_on_disk(
    client: TestClient, store: SessionStore, opened: OpenedSession
) -> None:
    upload = upload_of(opened)
    said = client.post("/api/v1/events", json=upload).json()
    assert said == {"ok": True, "tab": "tabtabtab", "seq": 0, "duplicate": False, "durable": True}
    assert client.post("/api/v1/events", json=upload).json()["duplicate"] is True
    path = store.folder / f"{opened.session_id}.jsonl"
    _, line = path.read_bytes().splitlines()
    stored = json.loads(line)
    assert stored.pop("received_epoch_ms") > 1.7e12
    kept = {k: v for k, v in upload.items() if k not in ("v", "session", "token")}
    assert stored == {"type": "batch", **kept}
    assert opened.token not in path.read_text()


def test_beacon_is_plain_text(client: TestClient, opened: OpenedSession) -> None:
    body = json.dumps(upload_of(opened))
    headers = {"Content-Type": "text/plain;charset=UTF-8", "Sec-Fetch-Site": "same-origin"}
    assert client.post("/api/v1/events", content=body, headers=headers).json()["ok"]


def test_durable_names_what_is_and_what_is_missing(
    client: TestClient, opened: OpenedSession
) -> None:
    client.post("/api/v1/events", json=upload_of(opened, seq=3))
    asked = {"session": opened.session_id, "token": opened.token, "tab": "tabtabtab"}
    said = client.post("/api/v1/durable", json={**asked, "seqs": [3, 4]}).json()
    assert said == {"ok": True, "durable": [3], "missing": [4]}


def refused(client: TestClient, store: SessionStore, body: Any, **kwargs: Any) -> tuple[int, str]:
    """Post what must be refused; check that it was in our words, and stored nothing."""
    before = content(store)
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = client.post("/api/v1/events", content=sent, **kwargs)
    said = answer.json()
    # A code, and no word of ours that was meant for the operator.
    assert said.keys() == {"ok", "error", "retry"} and said["ok"] is False
    assert said["error"].isidentifier() and isinstance(said["retry"], bool)
    assert content(store) == before
    return answer.status_code, said["error"]


def test_forged_and_foreign_tokens(client: TestClient, store: SessionStore) -> None:
    mine, other = (store.open_session(**CONSENT) for _ in range(2))
    for wrong in (
        {"token": other.token},
        {"token": "0" * 64},
        {"token": "é" * 64},
        {"token": ""},
        {"session": "s_" + "a" * 22},
        {"session": "../../etc/passwd"},
        {"session": "s_" + "../" * 7 + "a"},
        {"session": mine.session_id + "\n"},
        {"session": mine.session_id + "\0"},
    ):
        assert refused(client, store, upload_of(mine, **wrong)) == (403, "token")
    for wrong in ({"token": None}, {"session": 7}, {"session": None}):
        assert refused(client, store, upload_of(mine, **wrong)) == (400, "malformed")


@pytest.mark.parametrize(
    "change",
    [
        {"v": 1},
        {"extra": 1},
        {"tab": "../../../x"},
        {"tab": "a"},
        {"seq": -1},
        {"seq": 1.5},
        {"seq": True},
        {"events": []},
        {"events": [["f", 1, 1]] * 2001},
        {"events": {"0": ["f", 1, 1]}},
        {"events": "f"},
        {"events": None},
        {"tab": "tab\ud800tab"},
        {"origin_epoch_ms": float("nan")},
        {"sent_epoch_ms": "now"},
    ],
)
def test_what_does_not_fit_the_schema(
    client: TestClient, store: SessionStore, opened: OpenedSession, change: dict[str, Any]
) -> None:
    assert refused(client, store, upload_of(opened, **change)) == (400, "malformed")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b"[" * 100_000,
        b"9" * 9999,
    ],
)
def test_what_is_no_json(client: TestClient, store: SessionStore, body: bytes) -> None:
    assert refused(client, store, body) == (400, "malformed")


GOOD = ["f", 1.5, 1]
# What is wrong with an event, and a word of the reason under which it is counted.
BAD_EVENTS: list[tuple[str, str]] = [
    ('["p", 1]', "missing"),
    ('["f", 1]', "missing"),
    ('["l", 1, {}]', "missing"),
    ('["f", 1, 1, 1]', "surplus"),
    ('["s", 1, "window", 0, 0, 0]', "surplus"),
    ('["x", 1, 1]', "unknown kind"),
    ('[["f"], 1, 1]', "unknown kind"),
    ('["", 1]', "unknown kind"),
    ("[]", "no event"),
    ("{}", "no event"),
    ('"f"', "no event"),
    ("null", "no event"),
    ('["f", -1, 1]', "out of range"),
    ('["f", 1e300, 1]', "out of range"),
    ('["f", 1, 2]', "unknown value"),
    ('["f", 1, true]', "unknown value"),
    ('["f", "1", 1]', "wrong type"),
    ('["f", null, 1]', "wrong type"),
    ('["p", 1, 0.5, "A", 1, 1, 1, 1, 1, 0, 1, "mouse"]', "wrong type"),
    ('["p", 1, 0, "A", 1, 1, 1, 1, 1, 0, 32, "mouse"]', "out of range"),
    ('["r", 1, 0, "choose", "likert_a", "xxxxxxxxxxxxxxxxx", "pointer"]', "out of range"),
    ('["e", 1, "unheard", {}]', "unknown name or data"),
    ('["e", 1, "shown", {"turn": 0, "more": "x"}]', "unknown name or data"),
    ('["f", NaN, 1]', "wrong type"),
    ('["s", 1, "window", Infinity, 0]', "wrong type"),
    ('["f", 1e999, 1]', "wrong type"),
    ('["r", 1, 0, "choose", "likert_a", "\\ud800", "pointer"]', "not JSON"),
    ('["e", 1, "gaze_error", {"provider": "none", "reason": "\\udc00"}]', "not JSON"),
    ('["\\ud83d", 1, 1]', "unknown kind"),
]


@pytest.mark.parametrize(("event", "word"), BAD_EVENTS)
def test_an_event_that_does_not_fit_costs_itself_alone(
    client: TestClient, store: SessionStore, opened: OpenedSession, event: str, word: str
) -> None:
    before = store.watch.counts().events_refused
    body = json.dumps(upload_of(opened, events=[GOOD, "HERE", GOOD])).replace('"HERE"', event)
    said = client.post("/api/v1/events", content=body).json()
    assert said["ok"] is True and list(said["refused"].values()) == [1]
    (reason,) = said["refused"]
    assert word in reason
    line = (store.folder / f"{opened.session_id}.jsonl").read_bytes().splitlines()[-1]
    stored = json.loads(line)
    assert stored["events"] == [GOOD, GOOD] and stored["refused"] == said["refused"]
    assert fits(stored, "batch_line")
    again = client.post("/api/v1/events", content=body).json()
    assert again["duplicate"] is True and again["refused"] == said["refused"]
    after = store.watch.counts().events_refused
    assert (after - before) == said["refused"], "counted once, although it came twice"


def test_a_batch_without_any_good_event_is_stored_as_such(
    client: TestClient, store: SessionStore, opened: OpenedSession
) -> None:
    """Its number is taken, so that it is neither sent again nor missed."""
    said = client.post("/api/v1/events", json=upload_of(opened, events=[["p"], ["p"], 7])).json()
    assert said["refused"] == {"pointer: missing field": 2, "no event": 1}
    line = (store.folder / f"{opened.session_id}.jsonl").read_bytes().splitlines()[-1]
    assert json.loads(line)["events"] == []


def test_no_answer_repeats_what_was_sent(
    client: TestClient, opened: OpenedSession, capsys: pytest.CaptureFixture[str]
) -> None:
    script = "<script>alert(1)</script>"
    for events in ([[script, 1, 1]], [["l", 1, {script: 1}]], script):
        answer = client.post("/api/v1/events", json=upload_of(opened, events=events))
        assert "script" not in answer.text and opened.token not in answer.text
    assert "script" not in capsys.readouterr().err


def test_oversized_bodies(client: TestClient, store: SessionStore, opened: OpenedSession) -> None:
    body = json.dumps(upload_of(opened)).encode()
    padded = body + b" " * (BODY_BYTES_MAX - len(body))
    assert client.post("/api/v1/events", content=padded).json()["ok"]
    assert refused(client, store, padded + b" ") == (413, "size")


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://space.example.evil.example"},
        {"Origin": "https://evil.example", "X-Forwarded-Host": "space.example"},
        {"Origin": ""},
        {"Origin": "https://[::1"},
    ],
)
def test_other_sites_pages_are_refused(
    client: TestClient, store: SessionStore, opened: OpenedSession, headers: dict[str, str]
) -> None:
    assert refused(client, store, upload_of(opened), headers=headers) == (403, "cross_site")
    for route in ("durable", "withdraw"):
        answer = client.post(f"/api/v1/{route}", json={"code": "x"}, headers=headers)
        assert answer.status_code == 403


def test_own_page_is_not_refused(client: TestClient, opened: OpenedSession) -> None:
    for seq, headers in enumerate(
        [
            {},
            {"Origin": "https://space.example"},
            {"Sec-Fetch-Site": "same-origin"},
            {"Sec-Fetch-Site": "same-origin", "Origin": "https://else.example"},
        ]
    ):
        answer = client.post("/api/v1/events", json=upload_of(opened, seq=seq), headers=headers)
        assert answer.json()["ok"]


def test_reordered_and_replayed_batches_are_each_stored_once(
    client: TestClient, store: SessionStore, opened: OpenedSession
) -> None:
    for seq in (5, 3, 5, 4, 3, 0):
        assert client.post("/api/v1/events", json=upload_of(opened, seq=seq)).json()["ok"]
    altered = upload_of(opened, events=[["f", 99, 0]])
    assert client.post("/api/v1/events", json=altered).json()["duplicate"]
    lines = (store.folder / f"{opened.session_id}.jsonl").read_bytes().splitlines()[1:]
    assert [json.loads(line)["seq"] for line in lines] == [5, 3, 4, 0]
    assert not any(json.loads(line)["events"][0][1] == 99 for line in lines)


def test_late_batches_after_a_withdrawal(client: TestClient, opened: OpenedSession) -> None:
    client.post("/api/v1/events", json=upload_of(opened))
    code = {"code": opened.withdrawal_code}
    assert client.post("/api/v1/withdraw", json=code).json() == {"ok": True, "complete": True}
    answer = client.post("/api/v1/events", json=upload_of(opened, seq=1))
    assert (answer.status_code, answer.json()["error"]) == (410, "gone")
    asked = {"session": opened.session_id, "token": opened.token, "tab": "tabtabtab", "seqs": [0]}
    assert client.post("/api/v1/durable", json=asked).status_code == 410


@pytest.fixture
def frozen_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rate limits in a minute that does not pass, with 50 requests for an address."""
    limit = partial(RateLimit, clock=lambda: 0.0)
    monkeypatch.setattr("ifllm_hf.capture.server.routes.RateLimit", limit)
    monkeypatch.setattr("ifllm_hf.capture.server.routes.REQUESTS_PER_ADDRESS_AND_MINUTE", 50)


def test_floods_by_session_and_by_address(tmp_path: Path, frozen_limits: None) -> None:
    for client in _client(make_settings(tmp_path / "s", trusted_proxies=1, uploads_per_minute=20)):
        store: SessionStore = client.store  # type: ignore[attr-defined]
        one, two = (store.open_session(**CONSENT) for _ in range(2))
        answers = [client.post("/api/v1/events", json=upload_of(one, seq=i)) for i in range(25)]
        late = answers[-1]
        assert (late.status_code, late.json()["error"], late.json()["retry"]) == (429, "rate", True)
        assert late.headers["Retry-After"] == "3"
        assert sum(a.status_code == 200 for a in answers) == 20
        assert client.post("/api/v1/events", json=upload_of(two)).status_code == 200

        def probe(address: str, client: TestClient = client) -> int:
            forwarded = {"X-Forwarded-For": f"forged, {address}"}
            return client.post("/api/v1/events", content=b"", headers=forwarded).status_code

        seen = [probe("203.0.113.7") for _ in range(60)]
        assert seen == [400] * 50 + [429] * 10
        assert probe("203.0.113.8") == 400


def test_without_trusted_proxies_no_address_counts(tmp_path: Path, frozen_limits: None) -> None:
    for client in _client(make_settings(tmp_path / "s", trusted_proxies=None)):
        codes = {client.post("/api/v1/events", content=b"").status_code for _ in range(60)}
        assert codes == {400}


def test_nothing_is_taken_where_nobody_collects(tmp_path: Path) -> None:
    for client in _client(make_settings(tmp_path / "s", contact="")):
        body = {"session": "s_" + "a" * 22, "token": "0" * 64}
        answer = client.post("/api/v1/events", json=body)
        assert (answer.status_code, answer.json()["error"]) == (403, "off")
        assert client.post("/api/v1/withdraw", json={"code": "x"}).status_code == 404
        assert not (tmp_path / "s").exists(), "a demo leaves no folder behind"


# --- against the schema


def _values(node: dict[str, Any] | bool) -> st.SearchStrategy[Any]:
    """Make up values that fit a node of our schema."""
    if isinstance(node, bool):
        return st.none()
    if "$ref" in node:
        return _definition(node["$ref"].removeprefix("#/$defs/"))
    if "const" in node:
        return st.just(node["const"])
    if "enum" in node:
        return st.sampled_from(node["enum"])
    if "prefixItems" in node:
        variants = node.get("oneOf", [node])
        return st.one_of([st.tuples(*_items(node, variant)) for variant in variants]).map(list)
    for choice in ("oneOf", "anyOf"):
        if choice in node:
            return st.one_of([_values(option) for option in node[choice]])
    kinds = [node["type"]] if isinstance(node["type"], str) else node["type"]
    return st.one_of([_of_kind(kind, node) for kind in kinds])


@cache
def _definition(name: str) -> st.SearchStrategy[Any]:
    return _values(schema()["$defs"][name])


def _items(node: dict[str, Any], variant: dict[str, Any]) -> list[st.SearchStrategy[Any]]:
    """A variant of an app event says `true` where the event itself says more."""
    return [
        _values(node["prefixItems"][i] if item is True else item)
        for i, item in enumerate(variant["prefixItems"])
    ]


def _of_kind(kind: str, node: dict[str, Any]) -> st.SearchStrategy[Any]:
    if kind == "object":
        required = node.get("required", [])
        fields = {name: _values(value) for name, value in node.get("properties", {}).items()}
        if "maxProperties" in node:
            names = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
            return st.dictionaries(names, _values(node["additionalProperties"]), max_size=3)
        return st.fixed_dictionaries(
            {name: fields[name] for name in required},
            optional={name: value for name, value in fields.items() if name not in required},
        )
    if kind == "array":
        most = min(node["maxItems"], 12)
        least = node.get("minItems", 0)
        return st.lists(_values(node["items"]), min_size=least, max_size=most)
    if kind == "string":
        if "pattern" in node:
            return st.from_regex(re.compile(node["pattern"][1:-1], re.ASCII), fullmatch=True)
        letters = st.characters(exclude_categories=["Cs"])
        return st.text(
            letters, min_size=node.get("minLength", 0), max_size=min(node["maxLength"], 99)
        )
    if kind in ("integer", "number"):
        least, most = node["minimum"], node["maximum"]
        whole = st.integers(math.ceil(least), most)
        return whole if kind == "integer" else whole | st.floats(least, most, allow_nan=False)
    return {"null": st.none(), "boolean": st.booleans()}[kind]


FUZZ = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


def test_schema_is_a_schema_and_bounds_everything() -> None:
    jsonschema_rs.meta.validate(schema())

    def walk(node: Any, path: str) -> Iterator[str]:
        if isinstance(node, dict) and "type" in node and isinstance(node["type"], (str, list)):
            kinds = [node["type"]] if isinstance(node["type"], str) else node["type"]
            bounded = {
                "number": "maximum" in node and "minimum" in node,
                "integer": "maximum" in node and "minimum" in node,
                "string": "maxLength" in node or "pattern" in node,
                "array": "maxItems" in node or node.get("items") is False,
                "object": node.get("additionalProperties") is False or "maxProperties" in node,
            }
            yield from (f"{path}: {kind}" for kind in kinds if not bounded.get(kind, True))
        if isinstance(node, (dict, list)):
            for name, child in node.items() if isinstance(node, dict) else enumerate(node):
                yield from walk(child, f"{path}/{name}")

    assert list(walk(schema()["$defs"], "")) == []


@FUZZ
@given(upload=_definition("upload"))
def test_every_upload_of_the_schema_is_stored_as_it_was_sent(
    client: TestClient, store: SessionStore, upload: dict[str, Any]
) -> None:
    opened = store.open_session(**CONSENT)
    upload |= {"session": opened.session_id, "token": opened.token}
    assert client.post("/api/v1/events", json=upload).json()["ok"] is True
    _, line = (store.folder / f"{opened.session_id}.jsonl").read_bytes().splitlines()
    assert json.loads(line)["events"] == upload["events"]
    assert all(math.isfinite(e[1]) for e in json.loads(line)["events"])


@FUZZ
@given(upload=_definition("upload"), data=st.data())
def test_corrupted_uploads_are_refused_or_still_fit(
    client: TestClient, store: SessionStore, upload: dict[str, Any], data: st.DataObject
) -> None:
    opened = store.open_session(**CONSENT)
    upload |= {"session": opened.session_id, "token": opened.token}
    broken = copy.deepcopy(upload)
    place: Any = broken
    while True:  # walk to some leaf and put something else there
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        inner = place[key]
        if isinstance(inner, (dict, list)) and inner and data.draw(st.booleans()):
            place = inner
            continue
        place[key] = data.draw(JSON)
        break
    path = store.folder / f"{opened.session_id}.jsonl"
    body = json.dumps(broken)
    answer = client.post("/api/v1/events", content=body)
    said = answer.json()
    around = (
        {**broken, "events": [GOOD] * len(broken["events"])}
        if isinstance(broken["events"], list)
        else broken
    )
    infinite: list[str] = []  # Python writes such numbers, JSON has none
    json.loads(json.dumps(around), parse_constant=infinite.append)
    uploads = {**schema(), "$ref": "#/$defs/upload"}
    taken = not infinite and jsonschema_rs.is_valid(uploads, around)
    ours = (broken.get("session"), broken.get("token")) == (opened.session_id, opened.token)
    assert said["ok"] is (taken and ours)
    assert answer.status_code in ((200,) if said["ok"] else (400, 403))
    lines = path.read_bytes().splitlines()
    assert len(lines) == (2 if said["ok"] else 1)
    if said["ok"]:  # every event is either there as it was sent, or counted
        stored = json.loads(lines[1])
        assert fits(stored, "batch_line")
        n = sum(stored.get("refused", {}).values())
        assert len(stored["events"]) + n == len(broken["events"])
        assert all(event in broken["events"] for event in stored["events"])


@FUZZ
@given(body=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
@pytest.mark.parametrize("route", ["events", "durable", "withdraw", "steps"])
def test_any_body_is_answered_in_our_words(
    client: TestClient, store: SessionStore, route: str, body: bytes
) -> None:
    answer = client.post(f"/api/v1/{route}", content=body)
    assert answer.json()["ok"] is False
    of_steps = (200,) if route == "steps" else ()  # which has words for the participant
    assert 400 <= answer.status_code < 500 or answer.status_code in of_steps


@FUZZ
@given(record=_definition("record"))
def test_every_record_of_the_schema_can_be_stored(
    store: SessionStore, record: dict[str, Any]
) -> None:
    opened = store.open_session(**CONSENT)
    if record["type"] != "session":
        assert not store.append(opened.session_id, record).duplicate


def test_every_refusal_is_counted_by_its_code(
    client: TestClient, store: SessionStore, opened: OpenedSession
) -> None:
    before = store.watch.counts().refused
    client.post("/api/v1/events", content=b"{")
    client.post("/api/v1/events", json=upload_of(opened, token="0" * 64))
    client.post("/api/v1/events", json=upload_of(opened), headers={"Origin": "https://a.example"})
    client.post("/api/v1/events", content=b" " * (BODY_BYTES_MAX + 1))
    seen = store.watch.counts().refused - before
    assert seen == {"malformed": 1, "token": 1, "cross_site": 1, "size": 1}
