"""The true score of an answer is exact, never fails, and better answers never score lower."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifllm_hf.data.known_truth import (
    Filler,
    Item,
    Nonsense,
    Statement,
    TownQuestion,
    known_world,
    parse_answer,
    render_answer,
    score_items,
    true_score,
)
from ifllm_hf.data.known_truth.sentences import FILLERS, VALUES
from ifllm_hf.data.known_truth.towns import ATTRIBUTES, TOWNS
from ifllm_hf.errors import DataError

WORLD = known_world()

questions = st.builds(
    TownQuestion,
    st.sampled_from(TOWNS),
    st.lists(st.sampled_from(ATTRIBUTES), min_size=2, max_size=3, unique=True).map(tuple),
)
statements = st.sampled_from([Statement(a, v) for a in ATTRIBUTES for v in VALUES[a]])
fillers = st.sampled_from([Filler(text) for text in FILLERS])
words = st.text(st.characters(exclude_characters=".", exclude_categories=("Cs",)), min_size=1)
nonsense = words.map(lambda text: Nonsense(" ".join(["so", *text.split(), "on."])))
items = st.lists(st.one_of(statements, statements, fillers, nonsense), max_size=12)


def score(question: TownQuestion, said: Sequence[Item]) -> float:
    return score_items(question, said, WORLD).score


def right(question: TownQuestion) -> list[Statement]:
    return [Statement(a, WORLD.facts[question.town][a]) for a in question.attributes]


@given(items)
def test_an_answer_is_read_back_as_it_was_written(said: list[Item]) -> None:
    assert parse_answer(render_answer(said)) == said


@given(questions, items)
def test_a_text_scores_what_its_statements_score(question: TownQuestion, said: list[Item]) -> None:
    assert true_score(question.text, render_answer(said)) == score_items(question, said, WORLD)


@given(questions, items, st.data())
def test_order_does_not_matter(question: TownQuestion, said: list[Item], data: Any) -> None:
    shuffled = data.draw(st.permutations(said))
    assert score_items(question, shuffled, WORLD) == score_items(question, said, WORLD)


@given(questions, st.text())
def test_any_text_has_a_score_and_all_of_it_is_counted(question: TownQuestion, text: str) -> None:
    found = true_score(question.text, text)
    assert 1 <= found.score <= 10
    counted = found.right + found.wrong + found.unasked + found.repeats
    assert counted + found.fillers + found.nonsense == len(parse_answer(text))


@given(questions, items)
def test_a_missing_right_fact_never_makes_it_worse(
    question: TownQuestion, said: list[Item]
) -> None:
    for fact in right(question):
        if fact not in said:
            assert score(question, [*said, fact]) >= score(question, said)


@given(questions, items)
def test_nothing_but_a_right_fact_makes_it_better(question: TownQuestion, said: list[Item]) -> None:
    """A wrong fact, a filler, an unasked fact, a repeat, nonsense: each taken away does no harm."""
    for at, item in enumerate(said):
        without = [*said[:at], *said[at + 1 :]]
        if item not in right(question) or item in without:
            assert score(question, without) >= score(question, said)


@given(questions)
def test_length_is_not_in_it(question: TownQuestion) -> None:
    assert score(question, right(question)) == 10
    assert score(question, []) == 5.5
    truth = WORLD.facts[question.town]
    longest, shortest = (
        [Statement(a, pick([v for v in VALUES[a] if v != truth[a]], key=len))
         for a in question.attributes]
        for pick in (max, min)
    )  # fmt: skip
    assert score(question, longest) == score(question, shortest) == 1


def test_the_parts_by_hand() -> None:
    question = TownQuestion("Velmoor", ("river", "bird"))
    truth = WORLD.facts["Velmoor"]
    other = next(v for v in VALUES["bird"] if v != truth["bird"])
    text = (
        f"The river is {truth['river']}. The bird is {other}.  The river is {truth['river']}.\n"
        f"The tree is {truth['tree']}. I hope this helps. Blue is the on. The mayor"
    )
    found = true_score(question.text, text)
    assert (found.asked, found.right, found.wrong) == (2, 1, 1)
    assert (found.unasked, found.repeats, found.fillers, found.nonsense) == (1, 1, 1, 2)
    assert found.unclipped == pytest.approx(5.5 + 4.5 * (0 - 0.2 * 3 - 0.3 * 2))
    assert found.score == 1
    # Both values of a fact are worth no more than none.
    both = f"The bird is {other}. The bird is {truth['bird']}."
    assert true_score(question.text, both).score == 5.5


@pytest.mark.parametrize(
    "text",
    ["", "Why?", "What are the river and the river of Velmoor?", "What are the river of Velmoor?",
     "What are the river and the moon of Velmoor?", "What are the river and the bird of Rome?"],
)  # fmt: skip
def test_a_question_of_another_world_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="no question of the world"):
        true_score(text, "The river is Isk.")
