"""Made-up readers of the known world who act on answers: chats with `messages` and `actions`.

What an answer is worth is known (`true_score`), and which of two a reader likes is drawn from it
(`TrueTaste`). Each action follows what is liked with a probability that is set here, so how far a
rule can be trusted is known too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ifllm_hf.data.known_truth import (
    Item,
    Statement,
    TownQuestion,
    known_world,
    render_answer,
    score_items,
    some_writer,
)
from ifllm_hf.data.tables.chat_threads import PERSON, conversation_key, message_key
from ifllm_hf.data.tables.folds import fold_of_unknown

MADE_UP = "made up"
_EMPTY = 5.5  # the score of saying nothing

Row = dict[str, Any]


@dataclass(frozen=True)
class ActingReaders:
    """How they act; all but the first three are probabilities.

    Attributes:
        readers: How many.
        chats: Of each, one question in each.
        taste_slope: See `TrueTaste`.
        rated: That there are thumbs: of two answers one up, and half of the time one down; of a
            single one up if it is good.
        thumb_right: That the thumb is right.
        switched: That a reader clicks on one of two answers side by side.
        switch_right: That it is the liked one.
        goes_on: That the chat goes on.
        chooses: That a reader who goes on without a click has chosen at all; else it is the answer
            that the page had selected.
        reloaded: Of those who did not choose: that the page was loaded again, and the left is it.
        goes_on_right: That a reader who chose goes on from the liked one.
        goes_back: That a reader who likes the first of two answers better goes back to it.
        copied: That a good single answer is copied; a bad one a fifth as often.
        stopped: That a bad single answer is stopped; a good one a fifth as often.
    """

    readers: int = 500
    chats: int = 20
    taste_slope: float = 1.0
    rated: float = 0.2
    thumb_right: float = 0.95
    switched: float = 0.3
    switch_right: float = 0.8
    goes_on: float = 0.7
    chooses: float = 0.4
    reloaded: float = 0.2
    goes_on_right: float = 0.75
    goes_back: float = 0.5
    copied: float = 0.3
    stopped: float = 0.5


@dataclass
class ActedWorld:
    """Chats and what is true of them.

    Attributes:
        messages: Rows of `schema.MESSAGES`.
        actions: Rows of `schema.ACTIONS`.
        scores: True score of every answer by its `message_id`.
        liked: By the ids of two answers, as a set: the one that the reader likes.
    """

    messages: list[Row] = field(default_factory=list)
    actions: list[Row] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)
    liked: dict[frozenset[str], str] = field(default_factory=dict)


def acted_world(readers: ActingReaders, *, seed: int = 0) -> ActedWorld:
    """Let readers ask and act; the same seed gives the same chats."""
    questions = known_world().questions("train")
    order = np.random.default_rng([seed, 0]).permutation(len(questions))
    made = ActedWorld()
    for reader in range(readers.readers):
        for chat in range(readers.chats):
            number = reader * readers.chats + chat
            question = questions[order[number % len(order)]]
            rng = np.random.default_rng([seed, 1, number])
            scene = _SCENES[number % len(_SCENES)]
            scene(
                _ActedChat(readers, made, f"reader_made_up_{reader}", f"chat {number}", rng),
                question,
            )
    return made


class _ActedChat:
    """One chat as it is written."""

    def __init__(
        self,
        readers: ActingReaders,
        made: ActedWorld,
        user_id: str,
        chat_id: str,
        rng: np.random.Generator,
    ) -> None:
        self.readers, self.made, self.user_id, self.rng = readers, made, user_id, rng
        self.chat_id = chat_id
        self.place = 0

    def happens(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def say(self, role: str, content: str, parent: str | None, **more: Any) -> str:
        message_id = message_key(self.chat_id, str(self.place))
        self.place += 1
        self.made.messages.append(
            {
                "conversation_id": conversation_key(self.user_id, self.chat_id),
                "message_id": message_id,
                "parent_id": parent,
                "role": role,
                "content": content,
                "model": None,
                "sibling_index": 0,
                "n_siblings": 1,
                "created_at": None,
                "origin": "written" if role == "user" else "generated",
                "replaces": None,
                "stopped": False,
                "user_id": self.user_id,
                "fold": fold_of_unknown(self.user_id),
                **more,
            }
        )
        return message_id

    def answers(
        self, question: TownQuestion, texts: Sequence[Sequence[Item]], **of_second: Any
    ) -> list[str]:
        """Write the question and its answers; `of_second` is what the second one is."""
        asked = self.say("user", question.text, None)
        ids: list[str] = []
        for place, items in enumerate(texts):
            more = {"model": "made-up", "sibling_index": place, "n_siblings": len(texts)}
            if place:
                more |= {**of_second, "replaces": ids[0] if of_second else None}
            message_id = self.say("assistant", render_answer(items), asked, **more)
            score = score_items(question, items, known_world()).score
            self.made.scores[message_id] = score
            ids.append(message_id)
        if len(ids) == 2:  # the formula of `TrueTaste`
            by_taste = self.readers.taste_slope * (
                self.made.scores[ids[1]] - self.made.scores[ids[0]]
            )
            liked = ids[self.happens(0.5 + 0.5 * math.tanh(by_taste / 2))]
            self.made.liked[frozenset(ids)] = liked
        return ids

    def act(self, message_id: str, action: str, value: float | None = None) -> None:
        row = {"conversation_id": conversation_key(self.user_id, self.chat_id), "at": None}
        row |= {"message_id": message_id, "user_id": self.user_id, "source": MADE_UP}
        self.made.actions.append({**row, "action": action, "value": value})

    def go_on(self, message_id: str) -> None:
        self.act(message_id, "follow_up")
        self.say("user", "Thank you.", message_id)

    def one_of(self, ids: Sequence[str], right: float) -> str:
        """Return the liked of two answers, or the other one."""
        liked = self.made.liked[frozenset(ids)]
        other = ids[0] if liked == ids[1] else ids[1]
        return liked if self.happens(right) else other

    def rate(self, ids: Sequence[str]) -> None:
        if self.happens(self.readers.rated):
            up = self.one_of(ids, self.readers.thumb_right)
            self.act(up, "like", 1.0)
            if self.happens(0.5):
                self.act(ids[0] if up == ids[1] else ids[1], "dislike", -1.0)


def _side_by_side(chat: _ActedChat, question: TownQuestion) -> None:
    ids = chat.answers(question, list(_written(chat, question, 2)))
    readers = chat.readers
    chat.rate(ids)
    clicked = None
    if chat.happens(readers.switched):
        clicked = chat.one_of(ids, readers.switch_right)
        chat.act(clicked, "switch")
    if chat.happens(readers.goes_on):
        if clicked is None and chat.happens(readers.chooses):
            clicked = chat.one_of(ids, readers.goes_on_right)
        selected = ids[0] if chat.happens(readers.reloaded) else ids[1]
        chat.go_on(clicked or selected)


def _regenerated(chat: _ActedChat, question: TownQuestion) -> None:
    first, second = _written(chat, question, 2)
    worth = score_items(question, first, known_world()).score
    if not chat.happens(1 / (1 + math.exp(worth - _EMPTY))):  # what is good enough stays
        chat.answers(question, [first])
        return
    ids = chat.answers(question, [first, second], origin="regenerated")
    chat.act(ids[0], "regenerate")
    chat.rate(ids)
    liked_first = chat.made.liked[frozenset(ids)] == ids[0]
    if liked_first and chat.happens(chat.readers.goes_back):
        chat.go_on(ids[0])
    elif chat.happens(chat.readers.goes_on):
        chat.go_on(ids[1])


def _edited(chat: _ActedChat, question: TownQuestion) -> None:
    (items,) = _written(chat, question, 1)
    better = _corrected(items, question)
    if better == items:  # nothing to mend
        chat.answers(question, [items])
        return
    ids = chat.answers(question, [items, better], origin="edited_by_person", model=PERSON)
    chat.act(ids[0], "edit")
    chat.rate(ids)


def _alone(chat: _ActedChat, question: TownQuestion) -> None:
    (message_id,) = chat.answers(question, list(_written(chat, question, 1)))
    readers, good = chat.readers, chat.made.scores[message_id] > _EMPTY
    if chat.happens(readers.rated):
        up = good == chat.happens(readers.thumb_right)
        chat.act(message_id, "like" if up else "dislike", 1.0 if up else -1.0)
    if chat.happens(readers.copied * (1 if good else 0.2)):
        chat.act(message_id, "copy")
    elif chat.happens(readers.stopped * (0.2 if good else 1)):
        chat.act(message_id, "stop")
        chat.made.messages[-1]["stopped"] = True


def _written(chat: _ActedChat, question: TownQuestion, n: int) -> Iterator[list[Item]]:
    for _ in range(n):
        yield some_writer(chat.rng).write(chat.rng, question, known_world())


def _corrected(items: Sequence[Item], question: TownQuestion) -> list[Item]:
    """Return an answer whose first wrong statement is right."""
    truth = known_world().facts[question.town]
    for place, item in enumerate(items):
        if isinstance(item, Statement) and item.value != truth[item.attribute]:
            right = Statement(item.attribute, truth[item.attribute])
            return [*items[:place], right, *items[place + 1 :]]
    return list(items)


_SCENES = (_side_by_side, _regenerated, _edited, _alone)
