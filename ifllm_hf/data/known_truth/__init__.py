"""A small world in which the true quality of every answer can be computed.

64 made-up towns have eight facts each; a question asks for two or three of them. What an answer is
worth follows from the facts alone, so nobody has to judge, and "does it make a better language
model" has an answer that is a number.

* `towns`: the world: towns, facts, questions
* `sentences`: an answer as statements, its text, and back
* `true_score`: what an answer is worth, with the parts
* `answer_writers`: writers good and bad
* `readers_of_worlds`: what a made-up release takes: texts from here, readers who like what is true

    >>> world = known_world()
    >>> question = world.questions("test")[0]
    >>> question.text
    'What are the colour and the bird of Karby?'
    >>> true_score(question.text, world.right_answer(question)).score
    10.0
    >>> true_score(question.text, "").score
    5.5
"""

from __future__ import annotations

from ifllm_hf.data.known_truth.answer_writers import AnswerWriter, some_writer
from ifllm_hf.data.known_truth.readers_of_worlds import (
    PairsInTurn,
    TrueTaste,
    WrittenTexts,
)
from ifllm_hf.data.known_truth.sentences import (
    Filler,
    Item,
    Nonsense,
    Statement,
    parse_answer,
    render_answer,
)
from ifllm_hf.data.known_truth.towns import TownQuestion, World, known_world
from ifllm_hf.data.known_truth.true_score import TrueScore, score_items, true_score

__all__ = [
    "AnswerWriter",
    "Filler",
    "Item",
    "Nonsense",
    "PairsInTurn",
    "Statement",
    "TownQuestion",
    "TrueScore",
    "TrueTaste",
    "World",
    "WrittenTexts",
    "known_world",
    "parse_answer",
    "render_answer",
    "score_items",
    "some_writer",
    "true_score",
]
