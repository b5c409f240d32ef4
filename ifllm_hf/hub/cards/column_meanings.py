"""What the columns of each config mean, in words; names and types come from `data.schema`."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from ifllm_hf.data.schema import ENUMERATIONS, SCHEMAS, TURN_TICK_COLUMNS, TURNS

#: Meaning and unit by column. A column means the same in every config that has it.
MEANINGS: dict[str, str] = {
    # keys
    "query_id": "the question",
    "conversation_id": "`user_id/task_id`: one reader on one topic",
    "user_id": "pseudonym of the reader",
    "task_id": "the topic",
    "turn": "number of the question in its conversation, from 1",
    "kind": "two answers side by side, or a single one",
    "fold": "0 to 4; all rows of a reader share it, use it to split",
    # turns
    "domain": "title of the Wikipedia page that names the topic",
    "prompt": "the question, as the reader typed it",
    "response_a": "the left (or only) answer, as stored; characters count into it",
    "response_b": "the right answer; null in `pointwise`",
    "model_a": "the model that wrote `response_a`, by the site's log",
    "model_b": "the model that wrote `response_b`",
    "bullet_suffix": "the site secretly appended a request for bullet points to the question",
    "history_a": "earlier questions and left answers of the conversation, as chat messages",
    "history_b": "the same for the right side, which had a past of its own",
    "likert_a": "satisfaction with `response_a`, 1 (very dissatisfied) to 5 (very satisfied)",
    "likert_b": "satisfaction with `response_b`, 1 to 5",
    "preference": "the answer that the reader said was better",
    "better_than_previous": "`pointwise` from the second question: better than the answer before",
    "asked_at": "when the answers had arrived, by the server; null if not recorded",
    "understand_before": "own knowledge of the topic before the task, 1 to 5",
    "understand_after": "the same after the task",
    "calibration_score": "how close the gaze estimate came to the centre of the screen, in percent",
    "has_error_answer": "a model failed, and its answer is the site's error text",
    "excluded_by_paper": "the paper's analysis leaves this reader out",
    "reading_end_source": "how the end of reading was found; null if the question has no ticks",
    # ticks
    "page_load": "0, and one more after each reload of the page",
    "file_row": "position in the file order of the conversation, from 0",
    "t_ms": "milliseconds since the page was loaded, without the time its tab was hidden",
    "epoch_ms": "milliseconds since 1970, by the reader's clock",
    "gaze_x_px": "estimated gaze in the browser window, from the left, px; may lie outside",
    "gaze_y_px": "the same from the top, px",
    "mouse_x_px": "mouse in the browser window, from the left, px; null before it first moved",
    "mouse_y_px": "the same from the top, px",
    "gaze_rel_x_px_a": "gaze inside the element of answer a, px; null outside",
    "gaze_rel_y_px_a": "the same from its top, px",
    "gaze_rel_x_px_b": "gaze inside the element of answer b, px; null outside",
    "gaze_rel_y_px_b": "the same from its top, px",
    "mouse_rel_x_px_a": "mouse inside the element of answer a, px; null outside",
    "mouse_rel_y_px_a": "the same from its top, px",
    "mouse_rel_x_px_b": "mouse inside the element of answer b, px; null outside",
    "mouse_rel_y_px_b": "the same from its top, px",
    "gaze_on": "the answer under the gaze",
    "mouse_on": "the answer under the mouse",
    "gaze_char": "character under the gaze: code points into `response_a` or `_b` (see `gaze_on`)",
    "mouse_char": "character under the mouse: code points into the answer of `mouse_on`",
    "gaze_caret_utf16": "offset as the browser gave it, UTF-16 units into whatever text was there",
    "mouse_caret_utf16": "the same for the mouse",
    "gaze_window": "the few characters around the gaze, as the page recorded them",
    "mouse_window": "the same for the mouse",
    "camera_ok": "the page saw the face well placed; null where not recorded",
    "mouse_idle_ms": "milliseconds since the mouse last moved; null before it first did",
    "scroll_y_px": "how far the page was scrolled, px, where it moved; null in the release",
    "scroll_y_px_a": "the same of the box of answer a",
    "scroll_y_px_b": "the same of the box of answer b",
    "visible_from_char_a": "first character of answer a on screen, where that changed",
    "visible_to_char_a": "the one after the last on screen; 0 and 0: nothing of it was",
    "visible_from_char_b": "first character of answer b on screen, where that changed",
    "visible_to_char_b": "the one after the last on screen; 0 and 0: nothing of it was",
    "gaze_surface": "what was under the gaze",
    "mouse_surface": "what was under the mouse",
    "surface": "`mouse_surface`, or `gaze_surface` where the mouse was on nothing",
    "phase": "**`reading` is all that a model may see**; null before the first question",
    # preferences
    "chosen": "the answer that was preferred",
    "rejected": "the other one",
    "confidence": "probability that `chosen` is the better answer; 1 for the reader's own choice",
    "source": "who decided: the reader's click, or a reward model",
    "history_chosen": "earlier messages of the side of `chosen`",
    "history_rejected": "earlier messages of the side of `rejected`",
    # tasks
    "finished": "the reader came to the end of the task; most topics ticked were never begun",
    "finished_at": "when the task was finished",
    "copy_sentence": "the most important sentence, copied by the reader from an earlier answer",
    "summary": "what the reader learned, in their own words",
    "query_copy": "the question that this answer belonged to",
    "llm_response_copy": "the answer that the sentence was to be copied from",
    # workers
    "consent": "agreed to take part",
    "age": "in coarse bands; null where not given or withheld",
    "education": "in coarse steps; null as for `age`",
    "race": "the most common answers, else `other`; null as for `age`",
    "gender": "null as for `age`",
}

_TYPE_NAMES = {
    "string": "text",
    "bool": "yes/no",
    "timestamp[us, tz=UTC]": "time, UTC",
    "double": "float64",
    "float": "float32",
}


def column_table(names: Iterable[tuple[str, pa.DataType]]) -> str:
    """Return a Markdown table of columns with their types and meanings.

    Raises:
        KeyError: A column has no meaning here yet.
    """
    lines = ["| column | type | meaning |", "|---|---|---|"]
    for name, kind in names:
        meaning = MEANINGS[name]
        if name in ENUMERATIONS:
            meaning += "; one of " + ", ".join(f"`{value}`" for value in ENUMERATIONS[name])
        lines.append(f"| `{name}` | {_type_name(kind)} | {meaning} |")
    return "\n".join(lines)


def column_tables() -> dict[str, str]:
    """Return the tables of the card by the template's names for them.

    `turn_columns` are the scalars of `pairwise` and `pointwise`, `tick_columns` the lists that
    they share with `ticks`, `more_tick_columns` the lists that only `ticks` has.
    """
    of_ticks = SCHEMAS["ticks"]
    in_turns = set(TURN_TICK_COLUMNS)
    both = [f for f in of_ticks if pa.types.is_list(f.type) and f.name in in_turns]
    only = [f for f in of_ticks if pa.types.is_list(f.type) and f.name not in in_turns]
    turn_fields = [f for f in SCHEMAS["pairwise"] if f.name in TURNS.names] + [
        SCHEMAS["pairwise"].field("reading_end_source")
    ]
    tables = {
        "turn_columns": column_table((f.name, f.type) for f in turn_fields),
        "tick_columns": column_table((f.name, f.type.value_type) for f in both),
        "more_tick_columns": column_table((f.name, f.type.value_type) for f in only),
    }
    for config in ("preferences", "tasks", "workers"):
        tables[f"{config}_columns"] = column_table((f.name, f.type) for f in SCHEMAS[config])
    return tables


def _type_name(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return "list of messages"
    return _TYPE_NAMES.get(str(kind), str(kind))
