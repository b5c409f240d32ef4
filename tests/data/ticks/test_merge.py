"""One row per tick out of up to six files: copies, gaps, reloads, tabs, shuffled batches."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifllm_hf.data.ticks.merge import (
    ABS_FILES,
    ABSENT_ROW,
    PAIRWISE_FILES,
    POINTWISE_FILES,
    MergedTicks,
    merge_files,
    window_array,
)
from ifllm_hf.errors import TableError

START = 1_757_425_262_000
KINDS = {"pairwise": PAIRWISE_FILES, "pointwise": POINTWISE_FILES}


@dataclass(frozen=True)
class Spot:
    """Where a channel is at a tick."""

    x: float
    y: float
    side: str = "none"
    rel: tuple[float, float] = (-1.0, -1.0)
    window: str | None = None
    caret: int = -1


@dataclass(frozen=True)
class Tick:
    page_ms: float
    epoch_ms: int
    gaze: Spot
    mouse: Spot
    camera: int = 1


def spot(rng: random.Random, kind: str) -> Spot:
    x, y = round(rng.uniform(-50, 2000), 1), float(rng.randint(-20, 900))
    side = rng.choice(("none", "a", "b") if kind == "pairwise" else ("none", "a"))
    if side == "none":
        return Spot(x, y)
    rel = (round(rng.uniform(0, 700), 2), round(rng.uniform(0, 700), 2))
    if rng.random() < 0.1:  # on the element, no caret
        return Spot(x, y, side, rel)
    window = rng.choice(["one", 'say "hi", ok', "🦊", "a,b"])
    return Spot(x, y, side, rel, window, rng.randint(0, 3000))


def session(
    n: int, kind: str = "pairwise", *, seed: int = 0, start: int = START, first_ms: float = 500.5
) -> list[Tick]:
    """Make up one page load of `n` ticks."""
    rng = random.Random(seed)
    page, ticks = first_ms, []
    for _ in range(n):
        gaze, mouse = spot(rng, kind), spot(rng, kind)
        ticks.append(Tick(page, start + round(page), gaze, mouse, rng.randint(0, 1)))
        page = round(page + rng.uniform(30, 200), 1)
    return ticks


def batches(ticks: Sequence[Tick], size: int = 10) -> list[list[Tick]]:
    return [list(ticks[i : i + size]) for i in range(0, len(ticks), size)]


def files_of(
    uploads: Iterable[Sequence[Tick]], kind: str, *, camera: bool = True
) -> dict[str, bytes]:
    """Write the files as the server did: pairwise `abs_gaze` has every batch twice."""
    out: dict[str, list[str]] = {f: [] for f in (*KINDS[kind].values(), *ABS_FILES.values())}
    for upload in uploads:
        for channel, file in ABS_FILES.items():
            lines = [
                f"{at.x:.10g},{at.y:.10g},{t.page_ms:.10g},{t.epoch_ms}\n"
                for t in upload
                for at in [getattr(t, channel)]
            ]
            out[file] += lines * (2 if kind == "pairwise" and channel == "gaze" else 1)
        for (channel, side), file in KINDS[kind].items():
            out[file] += [rel_line(t, getattr(t, channel), side, camera) for t in upload]
    return {file: "".join(lines).encode() for file, lines in out.items()}


def rel_line(tick: Tick, at: Spot, side: str, camera: bool) -> str:
    flag = f"{tick.camera}," if camera else ""
    place = "-1,-1,,"
    if at.side == side:
        window = "" if at.window is None else f'"{at.window}"'
        place = f"{at.rel[0]:.10g},{at.rel[1]:.10g},{window},{at.caret if at.caret >= 0 else ''}"
    return f"{place},{tick.page_ms:.10g},{flag}{tick.epoch_ms}\n"


def channel_of(merged: MergedTicks, name: str) -> list[Spot]:
    channel = merged.channels[name]
    windows = window_array(channel).to_pylist()
    spots = []
    for i in range(len(merged)):
        side = ("none", "a", "b")[channel.side[i]]
        rel = (-1.0, -1.0)
        for s in ("a", "b"):
            rx, ry = (float(v[i]) for v in channel.rel_px[s])
            assert np.isnan(rx) == np.isnan(ry) == (s != side)
            rel = (rx, ry) if s == side else rel
        x, y = float(channel.x_px[i]), float(channel.y_px[i])
        spots.append(Spot(x, y, side, rel, windows[i], int(channel.caret[i])))
    return spots


def ticks_of(merged: MergedTicks) -> list[Tick]:
    merged_ticks = zip(
        merged.page_ms.tolist(),
        merged.epoch_ms.tolist(),
        channel_of(merged, "gaze"),
        channel_of(merged, "mouse"),
        merged.camera.tolist(),
        strict=True,
    )
    return [Tick(*values) for values in merged_ticks]


def counts(merged: MergedTicks) -> dict[str, tuple[int, int, dict[str, int]]]:
    for ledger in merged.ledgers.values():
        ledger.check()
    return {f: (v.seen, v.kept, v.dropped) for f, v in merged.ledgers.items()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("camera", [True, False])
def test_files_of_a_conversation_become_its_ticks(kind: str, camera: bool) -> None:
    ticks = session(57, kind)
    merged = merge_files(files_of(batches(ticks), kind, camera=camera), "w/1")
    assert merged.kind == kind
    expected = ticks if camera else [replace(t, camera=-1) for t in ticks]
    assert ticks_of(merged) == expected
    assert merged.file_row.tolist() == list(range(57))
    assert merged.page_load.tolist() == [0] * 57
    doubled = (114, 57, {"batch written twice": 57}) if kind == "pairwise" else (57, 57, {})
    assert counts(merged) == {
        "abs_gaze.csv": doubled,
        **{f: (57, 57, {}) for f in (*KINDS[kind].values(), "abs_mouse.csv")},
    }


def test_two_ticks_of_one_instant_stay_two() -> None:
    one, two, *rest = session(12, "pointwise")
    two = replace(two, page_ms=one.page_ms, epoch_ms=one.epoch_ms)
    merged = merge_files(files_of([[one, two, *rest]], "pointwise"), "w/1")
    assert ticks_of(merged) == [one, two, *rest]


# --- uploads that the server wrote twice ---


def again(raw: bytes, rows: slice, behind: int) -> bytes:
    """Write the lines `rows` of a file once more, behind line `behind`."""
    lines = raw.splitlines(keepends=True)
    return b"".join(lines[:behind] + lines[rows] + lines[behind:])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rows", "behind"), [((10, 20), 20), ((10, 20), 40), ((13, 17), 17)])
@pytest.mark.parametrize("only", [None, "rel", "one"])
def test_an_upload_written_twice_adds_no_tick_and_is_counted(
    kind: str, rows: tuple[int, int], behind: int, only: str | None
) -> None:
    ticks = session(40, kind)
    once = files_of(batches(ticks), kind)
    chosen = [f for f in once if f != "abs_gaze.csv" or kind == "pointwise"]
    if only == "rel":
        chosen = list(KINDS[kind].values())
    elif only == "one":
        chosen = [KINDS[kind]["mouse", "a"]]
    twice = {f: again(once[f], slice(*rows), behind) for f in chosen}
    merged = merge_files(once | twice, "w/1")
    assert ticks_of(merged) == ticks
    n = rows[1] - rows[0]
    before = counts(merge_files(once, "w/1"))
    for file, (seen, kept, dropped) in counts(merged).items():
        more = n if file in chosen else 0
        assert (seen, kept) == (before[file][0] + more, before[file][1])
        assert sum(dropped.values()) == seen - kept
        assert set(dropped) <= {"batch written twice"}
        assert seen == len((once | twice)[file].splitlines())


def test_equal_rows_of_two_ticks_are_no_copies() -> None:
    """Off the answers, all that tells two ticks of one instant apart is in the other files."""
    one, two, *rest = session(12, "pairwise")
    off = Spot(3, 4)
    one = replace(one, gaze=off, mouse=Spot(5, 6), camera=1)
    two = replace(one, mouse=Spot(7, 8))
    ticks = [one, two, *rest]
    files = files_of([ticks], "pairwise")
    assert files["rel_gaze_one.csv"].splitlines()[0] == files["rel_gaze_one.csv"].splitlines()[1]
    for twice in (files, {f: raw * 2 for f, raw in files.items()}):
        merged = merge_files(twice, "w/1")
        assert ticks_of(merged) == ticks
        assert counts(merged)["rel_gaze_one.csv"][1] == 12


def test_the_mouse_is_nowhere_before_its_first_movement() -> None:
    ticks = session(10, "pointwise")
    still = [replace(t, mouse=Spot(-1, -1)) for t in ticks[:4]]
    on_edge = replace(ticks[4], mouse=Spot(-1, 30), gaze=Spot(-1, -1))
    beyond = [replace(ticks[5], mouse=Spot(-1, -20)), replace(ticks[6], mouse=Spot(-20, -1))]
    merged = merge_files(files_of([[*still, on_edge, *beyond, *ticks[7:]]], "pointwise"), "w/1")
    mouse, gaze = merged.channels["mouse"], merged.channels["gaze"]
    assert np.isnan(mouse.x_px[:4]).all() and np.isnan(mouse.y_px[:4]).all()
    assert mouse.x_px[4:7].tolist() == [-1, -1, -20]
    assert mouse.y_px[4:7].tolist() == [30, -20, -1]
    assert (gaze.x_px[4], gaze.y_px[4]) == (-1, -1)  # the gaze may be anywhere


@pytest.mark.parametrize("where", [slice(0, 3), slice(20, 25), slice(37, 40)])
def test_rows_missing_in_rel_files_are_joined_by_the_clock_and_counted(where: slice) -> None:
    ticks = session(40)
    files = files_of(batches(ticks), "pairwise")
    kept = [t for t in ticks if t not in ticks[where]]
    short = files_of(batches(kept), "pairwise")
    files |= {f: short[f] for f in PAIRWISE_FILES.values()}
    merged = merge_files(files, "w/1")
    gone = len(ticks) - len(kept)
    expected = list(ticks)
    expected[where] = [
        replace(t, camera=-1, gaze=Spot(t.gaze.x, t.gaze.y), mouse=Spot(t.mouse.x, t.mouse.y))
        for t in ticks[where]
    ]
    assert ticks_of(merged) == expected
    for file in PAIRWISE_FILES.values():
        assert counts(merged)[file] == (40, 40 - gone, {ABSENT_ROW: gone})


def test_six_files_of_different_lengths() -> None:
    ticks = session(60)
    whole = files_of(batches(ticks), "pairwise")
    files = dict(whole)
    cut = {"rel_gaze_one.csv": 60, "rel_gaze_two.csv": 41, "rel_mouse_left.csv": 0,
           "rel_mouse_right.csv": 59, "abs_mouse.csv": 30, "abs_gaze.csv": 55}  # fmt: skip
    for file, n in cut.items():
        lines = whole[file].splitlines(keepends=True)
        if file == "abs_gaze.csv":
            part = files_of([ticks[:n]], "pairwise")[file]
        else:
            part = b"".join(lines[:n])
        files[file] = part
    merged = merge_files(files, "w/1")
    assert len(merged) == 60
    read = ticks_of(merged)
    assert [t.page_ms for t in read] == [t.page_ms for t in ticks]
    nan = float("nan")
    for i, (got, true) in enumerate(zip(read, ticks, strict=True)):
        assert str(got.gaze.x) == str(true.gaze.x if i < 55 else nan)
        assert str(got.mouse.x) == str(true.mouse.x if i < 30 else nan)
        seen = true.gaze.side
        assert got.gaze.side == ("none" if seen == "b" and i >= 41 else seen)
        seen = true.mouse.side
        assert got.mouse.side == ("none" if seen == "a" or (seen == "b" and i >= 59) else seen)
    for file, n in cut.items():
        seen, kept, dropped = counts(merged)[file]
        assert (seen, kept, dropped.get(ABSENT_ROW, 0)) == (60 + (55 if n == 55 else 0), n, 60 - n)


def test_rows_that_no_other_file_knows_are_counted() -> None:
    ticks = session(30)
    files = files_of(batches(ticks), "pairwise")
    stranger = b"-1,-1,,,99999999.5,1,1757425999999\n"
    lines = files["rel_gaze_two.csv"].splitlines(keepends=True)
    files["rel_gaze_two.csv"] = b"".join([*lines[:10], stranger, *lines[11:]])
    merged = merge_files(files, "w/1")
    assert len(merged) == 30
    assert counts(merged)["rel_gaze_two.csv"] == (31, 29, {ABSENT_ROW: 1, "row of no tick": 1})


@pytest.mark.parametrize("kind", KINDS)
def test_a_reload_opens_a_new_page_load(kind: str) -> None:
    before = session(40, kind)
    after = session(30, kind, seed=1, start=before[-1].epoch_ms + 4000)
    merged = merge_files(files_of(batches(before) + batches(after), kind), "w/1")
    assert merged.page_load.tolist() == [0] * 40 + [1] * 30
    assert ticks_of(merged) == before + after


def test_hidden_time_is_no_reload() -> None:
    ticks = session(40)
    later = [replace(t, epoch_ms=t.epoch_ms + 60_000) for t in ticks[20:]]
    merged = merge_files(files_of([ticks[:20], later], "pairwise"), "w/1")
    assert merged.page_load.tolist() == [0] * 40


def test_two_tabs_interleaved_are_two_page_loads() -> None:
    one = session(60, "pointwise")
    two = session(60, "pointwise", seed=1, start=one[20].epoch_ms)
    uploads = sorted(batches(one) + batches(two), key=lambda batch: batch[-1].epoch_ms)
    merged = merge_files(files_of(uploads, "pointwise"), "w/1")
    assert ticks_of(merged) == one + two
    assert merged.page_load.tolist() == [0] * 60 + [1] * 60


def test_swapped_batches_are_put_in_order_and_keep_their_rows() -> None:
    ticks = session(50)
    parts = batches(ticks)
    parts[1], parts[2] = parts[2], parts[1]
    merged = merge_files(files_of(parts, "pairwise"), "w/1")
    assert ticks_of(merged) == ticks
    assert merged.file_row.tolist() == [*range(10), *range(20, 30), *range(10, 20), *range(30, 50)]
    assert merged.page_load.tolist() == [0] * 50
    assert counts(merged)["abs_gaze.csv"] == (100, 50, {"batch written twice": 50})


def test_a_point_in_both_answers_counts_as_left_and_is_reported() -> None:
    ticks = [replace(t, gaze=Spot(5, 6, "a", (7.0, 8.0), "left", 3)) for t in session(20)]
    files = files_of([ticks], "pairwise")
    right = [replace(t, gaze=Spot(5, 6, "b", (9.0, 9.0), "right", 4)) for t in ticks]
    files["rel_gaze_two.csv"] = files_of([right], "pairwise")["rel_gaze_two.csv"]
    merged = merge_files(files, "w/1")
    gaze = merged.channels["gaze"]
    assert set(gaze.side.tolist()) == {1}
    assert set(window_array(gaze).to_pylist()) == {"left"}
    assert merged.ledgers["rel_gaze_one.csv"].repaired == {"point inside both answers": 20}


@pytest.mark.parametrize("kind", KINDS)
def test_no_ticks_at_all(kind: str) -> None:
    merged = merge_files(files_of([], kind), "w/1")
    assert len(merged) == 0
    assert all(entry == (0, 0, {}) for entry in counts(merged).values())


def test_missing_files_are_named() -> None:
    files = files_of([session(9)], "pairwise")
    for gone in files:
        rest = {f: raw for f, raw in files.items() if f != gone}
        with pytest.raises(TableError, match=r"w/1: .* missing beside") as caught:
            merge_files(rest, "w/1")
        if gone != "rel_gaze_one.csv":  # which tells pairwise from pointwise
            assert f"w/1: {gone} missing" in str(caught.value)
    with pytest.raises(TableError, match="missing beside nothing"):
        merge_files({}, "w/1")


def test_a_broken_file_is_named_with_its_conversation() -> None:
    files = files_of([session(9)], "pairwise") | {"rel_mouse_left.csv": b"\x00\xff\n" * 9}
    with pytest.raises(TableError, match=r"^w/1/rel_mouse_left\.csv: line 1 is"):
        merge_files(files, "w/1")


def test_unknown_files_are_left_alone() -> None:
    files = files_of([session(9)], "pairwise") | {"notes.csv": b"hello"}
    assert set(merge_files(files, "w/1").ledgers) == {*PAIRWISE_FILES.values(), *ABS_FILES.values()}


def test_crazy_clocks_do_not_take_forever_or_lose_a_tick() -> None:
    rng = random.Random(1)
    ticks = [
        replace(t, page_ms=round(rng.uniform(0, 1e6), 1), epoch_ms=START + rng.randrange(10**8))
        for t in session(800)
    ]
    merged = merge_files(files_of(batches(ticks), "pairwise"), "w/1")
    assert sorted(ticks_of(merged), key=repr) == sorted(ticks, key=repr)
    for load in range(int(merged.page_load.max()) + 1):
        assert (np.diff(merged.page_ms[merged.page_load == load]) >= 0).all()


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(list(KINDS)),
    st.integers(20, 90),  # a page load of less than a second cannot be told from the next one
    st.integers(0, 40),
    st.integers(3, 25),
    st.integers(0, 10**6),
    st.randoms(use_true_random=False),
)
def test_the_order_of_the_batches_changes_nothing(
    kind: str, first: int, second: int, size: int, pause: int, rng: Any
) -> None:
    ticks = session(first, kind, seed=first)
    uploads = batches(ticks, size)
    if second:
        start = ticks[-1].epoch_ms + 1500 + pause
        uploads += batches(session(second, kind, seed=second, start=start), size)
    straight = merge_files(files_of(uploads, kind), "w/1")
    shuffled = list(uploads)
    rng.shuffle(shuffled)
    mixed = merge_files(files_of(shuffled, kind), "w/1")
    assert ticks_of(mixed) == ticks_of(straight) == [t for u in uploads for t in u]
    assert mixed.page_load.tolist() == straight.page_load.tolist()
    assert sorted(mixed.file_row.tolist()) == list(range(len(mixed)))
    assert counts(mixed) == counts(straight)
