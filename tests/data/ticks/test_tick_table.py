"""The tick table of a conversation: exact small cases, and the truth of a made-up release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from ifllm_hf.data.recordings import ConversationRows
from ifllm_hf.data.release import open_release
from ifllm_hf.data.schema import ENUMERATIONS, TICKS, VIEW_COLUMNS
from ifllm_hf.data.synthetic import Truth, read_truth
from ifllm_hf.data.ticks.alignment import TurnText
from ifllm_hf.data.ticks.tick_table import TurnOnPage, read_ticks
from ifllm_hf.errors import TableError

EPOCH = 1_757_425_262_000
ANSWER = "One answer of a few words."
FILES = {
    "abs_gaze.csv": "10.5,-3,100.5,{e}\n200,300,175,{e}\n20,30,260.5,{e}\n20,30,330,{e}\n",
    "abs_mouse.csv": "-1,-1,100.5,{e}\n40,50,175,{e}\n40,50,260.5,{e}\n41,50,330,{e}\n",
    "rel_gaze.csv": "-1,-1,,,100.5,1,{e}\n"
    '180.25,12.5,"One answer of",4,175,0,{e}\n5,6,,,260.5,1,{e}\n5,6,"Neutral",3,330,1,{e}\n',
    "rel_mouse.csv": "-1,-1,,,100.5,1,{e}\n-1,-1,,,175,0,{e}\n"
    '20,20,"One answer of",4,260.5,1,{e}\n-1,-1,,,330,1,{e}\n',
}


def files(**changes: str) -> dict[str, bytes]:
    return {name: text.format(e=EPOCH).encode() for name, text in (FILES | changes).items()}


def frame(read: Any) -> pl.DataFrame:
    table = pl.from_arrow(read.table)
    assert isinstance(table, pl.DataFrame)
    return table


def test_every_column_of_a_small_conversation() -> None:
    turn = TurnOnPage(7, TurnText((ANSWER,), float(EPOCH)))
    read = read_ticks("w/8", files(), [turn])
    assert read.table.schema == TICKS
    assert read.kind == "pointwise"
    assert {name: led.seen for name, led in read.ledgers.items()} == dict.fromkeys(FILES, 4)
    table = frame(read)
    blank = [None] * 4
    expected: dict[str, list[Any]] = {
        "conversation_id": ["w/8"] * 4,
        "query_id": [7] * 4,
        "message_id": blank,  # of chat pages
        "page_load": [0] * 4,
        "file_row": [0, 1, 2, 3],
        "t_ms": [100.5, 175.0, 260.5, 330.0],
        "epoch_ms": [EPOCH] * 4,
        "gaze_x_px": [10.5, 200.0, 20.0, 20.0],
        "gaze_y_px": [-3.0, 300.0, 30.0, 30.0],
        "mouse_x_px": [None, 40.0, 40.0, 41.0],
        "mouse_y_px": [None, 50.0, 50.0, 50.0],
        "gaze_rel_x_px_a": [None, 180.25, 5.0, 5.0],
        "gaze_rel_y_px_a": [None, 12.5, 6.0, 6.0],
        "gaze_rel_x_px_b": blank,
        "gaze_rel_y_px_b": blank,
        "mouse_rel_x_px_a": [None, None, 20.0, None],
        "mouse_rel_y_px_a": [None, None, 20.0, None],
        "mouse_rel_x_px_b": blank,
        "mouse_rel_y_px_b": blank,
        "gaze_on": ["none", "a", "none", "none"],
        "mouse_on": ["none", "none", "a", "none"],
        "gaze_char": [None, 4, None, None],
        "mouse_char": [None, None, 4, None],
        "gaze_caret_utf16": [None, 4, None, 3],
        "mouse_caret_utf16": [None, None, 4, None],
        "gaze_window": [None, "One answer of", None, "Neutral"],
        "mouse_window": [None, None, "One answer of", None],
        "camera_ok": [True, False, True, True],
        "mouse_idle_ms": [None, 0.0, 85.5, 0.0],
        **dict.fromkeys(VIEW_COLUMNS, blank),  # the release's page recorded none of it
        "gaze_surface": ["none", "response", "page", "rating"],
        "mouse_surface": ["none", "none", "response", "none"],
        "surface": ["none", "response", "response", "rating"],
        "phase": ["reading", "reading", "reading", "after"],
    }
    assert list(expected) == TICKS.names
    assert table.to_dict(as_series=False) == expected
    assert read.reading_end_source == {7: "fallback"}
    assert read.agreement.to_dict()["ticks"] == 2


def test_without_a_camera_flag_nothing_is_said_of_the_camera() -> None:
    six = {
        name: text.replace(",1,{e}", ",{e}").replace(",0,{e}", ",{e}")
        for name, text in FILES.items()
        if name.startswith("rel")
    }
    assert frame(read_ticks("w/8", files(**six), []))["camera_ok"].to_list() == [None] * 4


def test_without_questions_ticks_have_no_turn_and_no_phase() -> None:
    read = read_ticks("w/8", files(), [])
    table = frame(read)
    assert table.select("query_id", "phase", "gaze_char").null_count().row(0) == (4, 4, 4)
    assert table["gaze_surface"].to_list() == ["none", "page", "page", "rating"]
    assert read.reading_end_source == {}


def test_empty_files_give_an_empty_table() -> None:
    read = read_ticks("w/8", dict.fromkeys(FILES, b""), [TurnOnPage(7, TurnText((ANSWER,), None))])
    assert read.table.schema == TICKS
    assert (read.table.num_rows, read.reading_end_source) == (0, {})


def test_the_error_names_the_file_in_its_conversation() -> None:
    broken = files() | {"rel_mouse.csv": b"\x8f\x00 nonsense\n" * 4}
    with pytest.raises(TableError, match=r"^w/8/rel_mouse\.csv: line 1 is .* 4 of 4 lines"):
        read_ticks("w/8", broken, [])


def test_mouse_idle_time_starts_anew_in_every_page_load() -> None:
    lines = [(0, 5), (1000, 5), (2000, 6), (50_000, 6), (100, 6), (300, 6), (9000, 7)]
    epochs = [EPOCH + at for at in (0, 1000, 2000, 50_000, 60_000, 60_200, 68_900)]
    texts = {
        "abs_gaze.csv": "".join(f"1,1,{t},{e}\n" for (t, _), e in zip(lines, epochs, strict=True)),
        "abs_mouse.csv": "".join(
            f"{x},1,{t},{e}\n" for (t, x), e in zip(lines, epochs, strict=True)
        ),
        **{
            f"rel_{c}.csv": "".join(
                f"-1,-1,,,{t},1,{e}\n" for (t, _), e in zip(lines, epochs, strict=True)
            )
            for c in ("gaze", "mouse")
        },
    }
    table = frame(read_ticks("w/8", {n: t.encode() for n, t in texts.items()}, []))
    assert table["page_load"].to_list() == [0] * 4 + [1] * 3
    assert table["mouse_idle_ms"].to_list() == [0, 1000, 0, 48_000, 0, 200, 0]


# --- against the truth of a made-up release ---


@pytest.fixture(scope="module")
def truth(synthetic_release: Path) -> Truth:
    return read_truth(synthetic_release)


@pytest.fixture(scope="module")
def conversations(synthetic_release: Path) -> list[ConversationRows]:
    return list(open_release(synthetic_release, hash_content=False).conversations())


@pytest.fixture(scope="module")
def sources(conversations: list[ConversationRows]) -> dict[int, str]:
    return {q: s for rows in conversations for q, s in rows.reading_end_source.items()}


@pytest.fixture(scope="module")
def read(conversations: list[ConversationRows], truth: Truth) -> pl.DataFrame:
    """The ticks as read, beside what is true of them (`..._true`)."""
    tables = [pl.from_arrow(rows.ticks) for rows in conversations]
    ticks = pl.concat([t for t in tables if isinstance(t, pl.DataFrame)])
    known = truth.ticks()
    assert ticks.height == known.height
    keys = ["conversation_id", "file_row"]
    known = known.rename({c: f"{c}_true" for c in known.columns if c not in keys})
    both = ticks.join(known, on=keys, validate="1:1", maintain_order="left")
    assert both.height == ticks.height
    return both.with_columns(
        right=pl.col("query_id").eq_missing(pl.col("query_id_true")),
        phase_true=pl.col("phase_true").cast(pl.String),
        **{
            f"{c}_{part}_true": pl.col(f"{c}_{part}_true").cast(pl.String)
            for c in ("gaze", "mouse")
            for part in ("on", "surface")
        },
    )


def test_clocks_and_page_loads_are_the_true_ones(read: pl.DataFrame) -> None:
    assert read["page_load"].equals(read["page_load_true"], check_names=False)
    assert read["t_ms"].equals(read["t_ms_true"], check_names=False)
    late = read["epoch_ms"] - read["epoch_ms_true"]  # abs_gaze is written up to 1 ms later
    assert set(late.to_list()) <= {0, 1}
    idle = read["mouse_idle_ms"].fill_null(-1) - read["mouse_idle_ms_true"].fill_null(-1)
    assert float(idle.abs().max()) < 1  # type: ignore[arg-type]


def test_nearly_every_tick_has_its_true_turn(read: pl.DataFrame) -> None:
    assert read["right"].mean() > 0.99  # type: ignore[operator]
    wrong = read.filter(~pl.col("right"))
    assert wrong.height > 0  # nobody knows the boundary to the tick
    # What is wrong lies at a boundary: within seconds of where the true turn changes.
    boundary = (
        read.with_row_index()
        .with_columns(
            change=pl.col("query_id_true")
            .ne_missing(pl.col("query_id_true").shift(1))
            .over("conversation_id")
        )
        .filter("change")
        .select("conversation_id", edge=pl.col("t_ms"))
    )
    near = wrong.join(boundary, on="conversation_id").with_columns(
        gap=(pl.col("t_ms") - pl.col("edge")).abs()
    )
    gaps = near.group_by("conversation_id", "file_row").agg(pl.col("gap").min())
    assert gaps.height == wrong.height
    assert (gaps["gap"] < 4000).mean() > 0.98  # type: ignore[operator]


def test_turns_are_contiguous_in_every_page_load(read: pl.DataFrame, truth: Truth) -> None:
    order = dict(truth.turns.select("query_id", "turn").iter_rows())
    for _, ticks in read.group_by("conversation_id", "page_load", maintain_order=True):
        number = [order.get(q, 0) for q in ticks["query_id"].to_list()]
        assert number == sorted(number)


@pytest.mark.parametrize("channel", ["gaze", "mouse"])
def test_characters_are_exact_wherever_a_point_is_on_an_answer(
    read: pl.DataFrame, channel: str
) -> None:
    recorded = pl.col("right") & pl.col("in_rel_true") & pl.col("query_id").is_not_null()
    there = read.filter(recorded & (pl.col(f"{channel}_surface_true") == "response"))
    assert there.height > 5000
    found = there.filter(pl.col(f"{channel}_on") != "none")
    assert found.height > 0.99 * there.height  # at some the browser found no caret
    assert found[f"{channel}_on"].equals(found[f"{channel}_on_true"], check_names=False)
    assert found[f"{channel}_char"].equals(found[f"{channel}_char_true"], check_names=False)
    assert found[f"{channel}_char"].null_count() == 0
    elsewhere = read.filter(recorded & (pl.col(f"{channel}_surface_true") != "response"))
    assert (elsewhere[f"{channel}_on"] == "none").all()
    assert elsewhere[f"{channel}_char"].null_count() == elsewhere.height


@pytest.mark.parametrize("channel", ["gaze", "mouse"])
def test_surfaces_are_true_where_the_files_show_them(read: pl.DataFrame, channel: str) -> None:
    shown = read.filter(
        pl.col(f"{channel}_window").is_not_null()
        & pl.col("right")
        & pl.col("query_id").is_not_null()
        & (pl.col(f"{channel}_window").str.len_chars() > 3)
    )
    same = shown[f"{channel}_surface"] == shown[f"{channel}_surface_true"]
    assert shown.height > 5000
    assert same.mean() > 0.99  # type: ignore[operator]


def test_enumerations_and_nulls(read: pl.DataFrame) -> None:
    for column, values in ENUMERATIONS.items():
        if column in read.columns:
            assert set(read[column].drop_nulls().unique()) <= set(values)
    assert read["query_id"].is_null().equals(read["phase"].is_null(), check_names=False)
    for channel in ("gaze", "mouse"):
        off = read.filter(pl.col(f"{channel}_on") == "none")
        assert off[f"{channel}_char"].null_count() == off.height
        on_element = pl.any_horizontal(
            pl.col(f"{channel}_rel_x_px_{s}").is_not_null() for s in ("a", "b")
        )
        page = read.filter(~on_element)
        assert set(page[f"{channel}_surface"]) == {"none"}
    on = read.filter(pl.col("mouse_surface") != "none")
    assert on["surface"].equals(on["mouse_surface"], check_names=False)


def test_reading_is_free_of_ratings_and_not_cut_early(
    read: pl.DataFrame, truth: Truth, sources: dict[int, str]
) -> None:
    per_turn = (
        read.filter(pl.col("right") & pl.col("query_id").is_not_null())
        .group_by("query_id")
        .agg(
            reading=(pl.col("phase") == "reading").sum(),
            truly=(pl.col("phase_true") == "reading").sum(),
            rated=(pl.col("phase_true") == "rating").sum(),
            leaked=((pl.col("phase") == "reading") & (pl.col("phase_true") != "reading")).sum(),
            lost=((pl.col("phase") != "reading") & (pl.col("phase_true") == "reading")).sum(),
        )
        .join(truth.turns.select("query_id", "kind", "click"), on="query_id")
        .with_columns(source=pl.col("query_id").replace_strict(sources))
    )
    found = per_turn.filter(pl.col("source") == "rating_zone")
    # A form has three rows to be found by on a pairwise page, one on a pointwise page.
    for kind, leak, share in (("pairwise", 1, 0.9), ("pointwise", 25, 0.8)):
        of_kind = found.filter(pl.col("kind") == kind)
        assert int(of_kind["leaked"].max()) <= leak  # type: ignore[call-overload]
        assert (of_kind["lost"] / of_kind["truly"]).max() < 0.1  # type: ignore[operator]
        clicked = per_turn.filter(
            (pl.col("kind") == kind) & (pl.col("rated") > 20) & pl.col("click").is_not_null()
        )
        assert clicked.height > 15
        assert (clicked["source"] == "rating_zone").mean() > share  # type: ignore[operator]
    assert found["leaked"].sum() < 0.01 * found["truly"].sum()


def test_phases_follow_each_other_in_every_turn(read: pl.DataFrame) -> None:
    number = pl.col("phase").replace_strict({"reading": 0, "rating": 1, "after": 2}, default=None)
    for _, ticks in read.drop_nulls("query_id").group_by("query_id", maintain_order=True):
        assert (np.diff(ticks.select(number).to_series().to_numpy()) >= 0).all()
