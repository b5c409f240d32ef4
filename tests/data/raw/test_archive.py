"""Archives from strangers: what points outside, claims too much or is cut short is refused."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from ifllm_hf.data.raw.archive import MAX_MEMBER_BYTES, archive_members
from ifllm_hf.errors import SourceError

UNSAFE = ["/etc/x", "../x", "a/../../x", "a/..", "C:/x", "C:x", "./C:/x", "a\\b", "\\\\host\\x"]
OUTSIDE = ["/etc/passwd", "../../x", "../..", "a/../../../x", "C:/x", "..\\x"]


def paths(archive: Path) -> list[str]:
    return [member.path for member in archive_members(archive)()]


def tar_of(path: Path, *members: tarfile.TarInfo | tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            if isinstance(member, tuple):
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
            else:
                tar.addfile(member)
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zip_of(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("name", UNSAFE)
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_names_that_point_outside_are_refused(tmp_path: Path, name: str, kind: str) -> None:
    make = tar_of if kind == "tar" else zip_of
    archive = make(tmp_path / "x", ("fine", b"1"), (name, b"2"))
    with pytest.raises(SourceError) as error:
        paths(archive)
    assert repr(name) in str(error.value)


@pytest.mark.parametrize("target", OUTSIDE)
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, None])
def test_links_that_point_outside_are_refused(
    tmp_path: Path, target: str, kind: bytes | None
) -> None:
    if kind is None:
        info = zipfile.ZipInfo("top/link")
        info.external_attr = 0o120777 << 16
        archive = zip_of(tmp_path / "x", (info, target.encode()))
    else:
        archive = tar_of(tmp_path / "x", special("top/link", kind, target))
    with pytest.raises(SourceError, match="top/link"):
        paths(archive)


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    with pytest.raises(SourceError, match="device"):
        paths(tar_of(tmp_path / "x", special("dev", kind)))


def test_harmless_names_and_links_pass(tmp_path: Path) -> None:
    archive = tar_of(
        tmp_path / "x",
        special("./top", tarfile.DIRTYPE),
        ("./top/a..b", b""),
        special("top/inner", tarfile.SYMTYPE, "../top/a..b"),
        ("./" + "long" * 60 + "/" + "é" * 120, b"x"),
    )
    assert paths(archive) == ["top/a..b", "top/inner", "long" * 60 + "/" + "é" * 120]


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_tar_header_that_claims_too_much_is_refused(tmp_path: Path, kind: bytes) -> None:
    info = special("bomb", kind)
    info.size = MAX_MEMBER_BYTES + 1
    (tmp_path / "x").write_bytes(info.tobuf() + bytes(4096))
    with pytest.raises(SourceError, match=r"claims \d+ bytes"):
        paths(tmp_path / "x")


def test_a_tar_header_with_a_negative_size_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.size = -1024
    (tmp_path / "x").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    with pytest.raises(SourceError):
        paths(tmp_path / "x")


def test_a_zip_entry_that_claims_too_much_is_refused(tmp_path: Path) -> None:
    data = bytearray(zip_of(tmp_path / "x", ("bomb", b"1234")).read_bytes())
    struct.pack_into("<L", data, data.index(b"PK\x01\x02") + 24, MAX_MEMBER_BYTES + 1)
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(SourceError, match="claims"):
        paths(tmp_path / "x")


def test_bytes_behind_the_end_of_a_tar_are_an_error(tmp_path: Path) -> None:
    one = tar_of(tmp_path / "1", ("a", b"a")).read_bytes()
    two = tar_of(tmp_path / "2", ("b", b"b")).read_bytes()
    (tmp_path / "x").write_bytes(one + two)
    with pytest.raises(SourceError, match="damaged"):
        paths(tmp_path / "x")


def test_a_tar_without_its_end_is_an_error_even_between_members(tmp_path: Path) -> None:
    whole = tar_of(tmp_path / "1", ("a", b"a" * 600), ("b", b"b")).read_bytes()
    first_member = 512 + 1024
    for end in (first_member, first_member + 1024, first_member + 1536):
        (tmp_path / "x").write_bytes(whole[:end])
        with pytest.raises(SourceError, match="ends early"):
            paths(tmp_path / "x")
    (tmp_path / "x").write_bytes(whole[: first_member + 2048])
    assert paths(tmp_path / "x") == ["a", "b"]


@pytest.mark.parametrize("data", [b"", b"<!DOCTYPE html>", bytes(512), bytes(range(256)) * 4])
def test_what_is_no_archive_is_named_by_its_first_bytes(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(SourceError, match="not an archive") as error:
        archive_members(tmp_path / "x")
    assert repr(data[:16]) in str(error.value)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("ifllm_hf.data.raw.archive.open", refuse, raising=False)
    with pytest.raises(SourceError, match="Permission denied"):
        archive_members(tmp_path / "x")
