"""Writers: the good ones write good answers."""

from __future__ import annotations

from collections import Counter

import numpy as np

from ifllm_hf.data.known_truth import AnswerWriter, known_world, score_items, some_writer

WORLD = known_world()
QUESTIONS = WORLD.questions("train")


def scores(writer: AnswerWriter | None, n: int = 400) -> list[float]:
    rng = np.random.default_rng(0)
    return [
        score_items(q, (writer or some_writer(rng)).write(rng, q, WORLD), WORLD).score
        for q in QUESTIONS[:n]
    ]


def test_who_knows_all_and_says_nothing_else_is_always_right() -> None:
    assert set(scores(AnswerWriter(knows=1))) == {10}
    assert set(scores(AnswerWriter(knows=0))) == {1}
    assert set(scores(AnswerWriter(knows=1, omits=1))) == {5.5}


def test_each_habit_costs_what_it_should() -> None:
    for habit in ("omits", "fills", "wanders", "repeats", "babbles"):
        assert np.mean(scores(AnswerWriter(1, **{habit: 0.8}))) < 9.5, habit
    parts: Counter[str] = Counter()
    rng = np.random.default_rng(1)
    for question in QUESTIONS[:200]:
        said = AnswerWriter(1, fills=1, wanders=1, repeats=1, babbles=1).write(rng, question, WORLD)
        found = score_items(question, said, WORLD)
        parts.update(vars(found))
    assert parts["fillers"] == parts["unasked"] == 400
    assert parts["repeats"] == parts["nonsense"] == 200 and parts["wrong"] == 0


def test_the_crowd_is_mixed() -> None:
    every = scores(None, 2000)
    assert 6.9 < np.mean(every) < 7.5 and 2.5 < np.std(every) < 3.1
    assert 0.2 < np.mean(np.array(every) == 10) < 0.5
