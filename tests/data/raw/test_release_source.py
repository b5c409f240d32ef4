"""A release gives the same bytes and digest, however it is packed, or one clear error."""

from __future__ import annotations

import bz2
import gc
import gzip
import hashlib
import io
import lzma
import os
import random
import tarfile
import tempfile
import threading
import tracemalloc
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ifllm_hf.data.raw.archive
import ifllm_hf.data.raw.release_source
from ifllm_hf.data.raw.download import RELEASE_DIGEST
from ifllm_hf.data.raw.release_source import TABLES, open_source
from ifllm_hf.errors import SourceError

KINDS = ["tar", "tar.gz", "tar.xz", "tar.bz2", "zip"]
PACK = {"tar.gz": gzip.compress, "tar.xz": lzma.compress, "tar.bz2": bz2.compress}
FILES = {
    **{name: name.encode() * 3 for name in TABLES},
    "user_behavior/worker_a/101/abs_gaze.csv": b"1,2\n" * 40,
    "user_behavior/worker_a/101/abs_mouse.csv": b"",
    "user_behavior/worker_a/83/rel_gaze.csv": random.Random(7).randbytes(700),
    "user_behavior/worker_b/2/unknown.csv": b"\xff\x00",
}
Conversations = list[tuple[str, int, dict[str, bytes]]]
CONVERSATIONS: Conversations = [
    ("worker_a", 101, {"abs_gaze.csv": b"1,2\n" * 40, "abs_mouse.csv": b""}),
    ("worker_a", 83, {"rel_gaze.csv": FILES["user_behavior/worker_a/83/rel_gaze.csv"]}),
    ("worker_b", 2, {"unknown.csv": b"\xff\x00"}),
]


def pack(members: Iterable[tuple[str, bytes]], kind: str) -> bytes:
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members:
                archive.writestr(name, data)
        return out.getvalue()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return PACK.get(kind, bytes)(out.getvalue())


def unpack(members: Iterable[tuple[str, bytes]], folder: Path) -> Path:
    for name, data in members:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def under(prefix: str, files: dict[str, bytes] | None = None) -> list[tuple[str, bytes]]:
    return [(prefix + name, data) for name, data in (files or FILES).items()]


def read(path: Path) -> tuple[dict[str, bytes], Conversations, str]:
    with open_source(path) as source:
        tables = source.tables()
        seen = [(c.user_id, c.task_id, c.files) for c in source.conversations()]
        source.ledger.check()
        return tables, seen, source.fingerprint()


def save(folder: Path, members: Iterable[tuple[str, bytes]], kind: str = "tar") -> Path:
    (folder / "release").write_bytes(pack(members, kind))
    return folder / "release"


@pytest.mark.parametrize("prefix", ["", "./", "dataset/", "top/", "top/dataset/"])
@pytest.mark.parametrize("kind", [*KINDS, "folder"])
def test_every_packing_and_place_gives_the_same(tmp_path: Path, prefix: str, kind: str) -> None:
    members = [("README.md", b"hi"), *under(prefix)]
    path = unpack(members, tmp_path) if kind == "folder" else save(tmp_path, members, kind)
    tables, conversations, digest = read(path)
    assert tables == {name: FILES[name] for name in TABLES}
    assert conversations == CONVERSATIONS
    lines = [f"{n}\0{len(d)}\0{hashlib.sha256(d).hexdigest()}\n" for n, d in FILES.items()]
    assert digest == hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


contents = st.binary(max_size=300)
csv_names = st.sampled_from(["abs_gaze.csv", "abs_mouse.csv", "rel_gaze_one.csv", "odd name.csv"])
releases = st.fixed_dictionaries(
    {
        "tables": st.tuples(contents, contents, contents),
        "behavior": st.dictionaries(
            st.tuples(st.sampled_from(["w1", "w10", "wörker", "a b"]), st.integers(0, 10**6)),
            st.dictionaries(csv_names, contents, min_size=1),
            max_size=5,
        ),
        "prefix": st.sampled_from(["", "dataset/", "top/dataset/", "tóp/"]),
        "tables_last": st.booleans(),
    }
)


@settings(max_examples=20, deadline=None)
@given(releases)
def test_folder_and_archives_agree_on_any_release(release: dict) -> None:
    behavior = {
        f"user_behavior/{user}/{task}/{name}": data
        for (user, task), files in release["behavior"].items()
        for name, data in files.items()
    }
    tables = dict(zip(TABLES, release["tables"], strict=True))
    order = [behavior, tables] if release["tables_last"] else [tables, behavior]
    members = [(release["prefix"] + name, data) for part in order for name, data in part.items()]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = [read(unpack(members, folder / "folder"))]
        results += [read(save(folder, members, kind)) for kind in KINDS]
    for seen_tables, conversations, digest in results:
        assert seen_tables == tables
        assert {(user, task): files for user, task, files in conversations} == release["behavior"]
        assert digest == results[0][2]


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_anywhere_is_an_error_and_never_a_short_result(tmp_path: Path, kind: str) -> None:
    whole = pack([("top/LICENSE", b"x"), *under("top/dataset/")], kind)
    expected = read(save(tmp_path, under("top/dataset/"), kind))
    # Behind its two end blocks a plain tar is padded; there a cut takes nothing away.
    content = -(-len(whole.rstrip(b"\0")) // 512) * 512
    complete = content + 1024 if kind == "tar" else len(whole)
    path = tmp_path / "cut"
    for end in {*range(0, len(whole), 97), *range(len(whole) - 40, len(whole))}:
        path.write_bytes(whole[:end])
        try:
            assert read(path) == expected
            assert end >= complete
        except SourceError as error:
            assert end < complete
            assert str(path) in str(error)


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_byte_gives_no_other_error_than_ours(tmp_path: Path, kind: str) -> None:
    whole = pack(under(""), kind)
    expected = read(save(tmp_path, under(""), kind))
    path = tmp_path / "changed"
    for place in range(0, len(whole), 61):
        changed = bytearray(whole)
        changed[place] ^= 0x41
        path.write_bytes(changed)
        try:
            result = read(path)
        except SourceError:
            continue
        if kind.startswith("tar."):  # these carry a checksum over everything
            assert result == expected


@pytest.mark.parametrize(
    ("order", "walks"),
    [("tables first", 1), ("tables last", 2), ("tables in the middle", 2)],
)
def test_an_archive_is_unpacked_once_if_its_tables_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str, walks: int
) -> None:
    members = under("top/dataset/")
    if order == "tables last":
        members = members[3:] + members[:3]
    elif order == "tables in the middle":
        members = members[3:5] + members[:3] + members[5:]
    opened = []
    unpack_xz = lzma.open

    def count_and_open(file: io.BufferedReader) -> lzma.LZMAFile:
        opened.append(1)
        return unpack_xz(file)

    monkeypatch.setattr(ifllm_hf.data.raw.archive.lzma, "open", count_and_open)
    tables, conversations, _ = read(save(tmp_path, members, "tar.xz"))
    assert list(tables) == list(TABLES)
    assert conversations == CONVERSATIONS
    assert len(opened) == walks


def test_a_source_can_be_read_again_and_without_asking_for_tables(tmp_path: Path) -> None:
    with open_source(save(tmp_path, under(""))) as source:
        for _ in range(2):
            seen = [(c.user_id, c.task_id, c.files) for c in source.conversations()]
            assert seen == CONVERSATIONS
            assert source.ledger.to_dict()["kept"] == len(FILES)
        assert source.tables()["task_table.csv"] == FILES["task_table.csv"]


@pytest.mark.parametrize("hash_content", [True, False])
def test_the_digest_needs_no_walk_of_the_caller(tmp_path: Path, hash_content: bool) -> None:
    path = save(tmp_path, under(""), "tar.gz")
    source = open_source(path, hash_content=hash_content)
    source.tables()
    assert source.fingerprint() == read(path)[2]
    assert len(list(source.conversations())) == 3


def test_the_digest_sees_every_name_and_byte(tmp_path: Path) -> None:
    digests = set()
    key = "user_behavior/worker_a/83/rel_gaze.csv"
    for files in (
        FILES,
        {**FILES, key: b""},
        {**FILES, key: FILES[key][:-1] + b"\0"},
        {**FILES, "task_table.csv": b"other"},
        {name.replace("/83/", "/84/"): data for name, data in FILES.items()},
        {name: data for name, data in FILES.items() if name != key},
    ):
        digests.add(read(save(tmp_path, under("", files)))[2])
    assert len(digests) == 6


def test_ignored_files_are_counted_by_reason(tmp_path: Path) -> None:
    members = [
        ("top/.gitignore", b""),
        ("top/code/input/query_logs_table.csv", b"not the release's"),
        ("top/task_table.csv", b"not the release's either"),
        *under("top/dataset/"),
        ("top/dataset/user_behavior/worker_b/2/._unknown.csv", b""),
        ("top/dataset/user_behavior/worker_b/2/notes.txt", b""),
        ("top/dataset/user_behavior/worker_b/007/abs_gaze.csv", b""),
        ("top/dataset/user_behavior/worker_b/2/deep/abs_gaze.csv", b""),
        ("top/dataset/user_behavior/readme.csv", b""),
    ]
    expected = {
        "hidden file": 1,
        "not a csv file": 1,
        "not in user_behavior/<user>/<task>": 2,
        "task folder is not a number": 1,
    }
    with open_source(save(tmp_path, members)) as source:
        assert len(list(source.conversations())) == 3
        assert source.ledger.dropped == {
            **expected,
            "not part of the release": 2,
            "table outside the release folder": 1,
        }
        assert source.ledger.kept == len(FILES)
    with open_source(unpack(members, tmp_path / "folder")) as source:
        assert len(list(source.conversations())) == 3
        assert source.ledger.dropped == expected
        assert source.ledger.kept == len(FILES)


@pytest.mark.parametrize("kind", ["tar.gz", "tar", "zip", "folder"])
def test_no_thread_is_left_when_the_consumer_stops_early(tmp_path: Path, kind: str) -> None:
    files = dict(FILES)
    files |= {f"user_behavior/worker_c/{i}/abs_gaze.csv": bytes(1000) for i in range(50)}
    members = under("", files)
    path = unpack(members, tmp_path) if kind == "folder" else save(tmp_path, members, kind)
    before = threading.active_count()
    source = open_source(path)
    conversations = source.conversations()
    next(conversations)
    conversations.close()
    assert threading.active_count() == before
    with pytest.raises(KeyError):
        for _ in source.conversations():
            raise KeyError
    gc.collect()
    assert threading.active_count() == before
    assert len(list(source.conversations())) == 53


def test_reading_only_the_tables_leaves_nothing_open(tmp_path: Path) -> None:
    source = open_source(save(tmp_path, under(""), "tar.xz"))
    source.tables()
    source.close()
    open_source(tmp_path / "release").tables()
    gc.collect()  # an open file would be a ResourceWarning, which is an error here


def test_memory_holds_a_few_conversations_only(tmp_path: Path) -> None:
    files = {name: b"" for name in TABLES}
    files |= {f"user_behavior/w/{i}/abs_gaze.csv": bytes(1 << 20) for i in range(40)}
    path = save(tmp_path, under("", files), "tar.gz")
    tracemalloc.start()
    try:
        assert (
            sum(len(c.files["abs_gaze.csv"]) for c in open_source(path).conversations()) == 40 << 20
        )
        assert tracemalloc.get_traced_memory()[1] < 14 << 20
    finally:
        tracemalloc.stop()


def test_files_of_a_conversation_that_come_apart(tmp_path: Path) -> None:
    members = under("")
    members.append(("user_behavior/worker_a/83/abs_gaze.csv", b""))
    with pytest.raises(SourceError, match="worker_a/83/abs_gaze.csv comes apart.*unpack"):
        read(save(tmp_path, members))
    assert len(read(unpack(members, tmp_path / "folder"))[1]) == 3


@pytest.mark.parametrize("name", ["task_table.csv", "user_behavior/worker_b/2/unknown.csv"])
def test_a_file_that_occurs_twice(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match=f"{name} occurs twice"):
        read(save(tmp_path, [*under(""), (name, b"")]))


@pytest.mark.parametrize("name", ["task_table.csv", "user_behavior/worker_b/2/unknown.csv"])
def test_a_link_in_place_of_a_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / "release"
    with tarfile.open(path, "w") as tar:
        for member, data in under("top/"):
            info = tarfile.TarInfo(member)
            if member == f"top/{name}":
                info.type, info.linkname = tarfile.SYMTYPE, "/".join([".."] * name.count("/"))
            else:
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    with pytest.raises(SourceError, match=f"{name} is a link"):
        read(path)


def test_a_conversation_too_big_for_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ifllm_hf.data.raw.release_source, "MAX_MEMBER_BYTES", 159)
    with pytest.raises(SourceError, match="more than 159 bytes"):
        read(save(tmp_path, under("")))


@pytest.mark.parametrize("kind", ["tar", "zip", "folder"])
@pytest.mark.parametrize("missing", TABLES)
def test_a_missing_table_is_named(tmp_path: Path, missing: str, kind: str) -> None:
    members = under("dataset/", {n: d for n, d in FILES.items() if n != missing})
    path = unpack(members, tmp_path) if kind == "folder" else save(tmp_path, members, kind)
    with pytest.raises(SourceError, match=f"no {missing} in it. Expected"):
        read(path)


@pytest.mark.parametrize("kind", ["tar", "folder"])
def test_two_releases_in_one_place(tmp_path: Path, kind: str) -> None:
    members = under("one/") + under("two/dataset/")
    path = unpack(members, tmp_path) if kind == "folder" else save(tmp_path, members, kind)
    with pytest.raises(SourceError, match="two releases"):
        read(path)


def test_nothing_there_and_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceError, match="nowhere: .*Expected"):
        open_source(tmp_path / "nowhere")
    unpack(under(""), tmp_path)

    def refuse(*args: object) -> None:
        raise PermissionError(13, "Permission denied", "x")

    with monkeypatch.context() as patch:
        patch.setattr("ifllm_hf.data.raw.archive.os.scandir", refuse)
        with pytest.raises(SourceError, match="Permission denied"):
            open_source(tmp_path).tables()
    monkeypatch.setattr(Path, "is_dir", refuse)
    with pytest.raises(SourceError, match="Permission denied"):
        open_source(tmp_path)


def test_the_real_release_is_complete() -> None:
    place = os.environ.get("IFLLM_RELEASE")
    if not place:
        pytest.skip("IFLLM_RELEASE names no release")
    workers, files = set(), 0
    conversations = set()
    with open_source(place) as source:
        for conversation in source.conversations():
            conversations.add(conversation.conversation_id)
            workers.add(conversation.user_id)
            files += len(conversation.files)
        assert (len(conversations), len(workers), files) == (462, 79, 2362)
        assert source.ledger.kept == 2365
        assert source.fingerprint() == RELEASE_DIGEST


def test_a_prepared_folder_is_no_release(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nifllm_prepared: 3\n---\n")
    with pytest.raises(SourceError, match="is prepared already"):
        open_source(tmp_path)
