"""What follows from an action: each rule one small function, for pairs and for single answers.

Pairs are of answers to one question, with the same past. A rule yields (the better, the worse);
answers that were stopped, failed, rest on tools or were written by a person are no fair siblings,
and only `edited` takes the last. What the page selected by itself is no choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime

from ifllm_hf.alignment.labels.actions.acted_answers import BY_PERSON, ActedAnswer, ActedQuestion

RulePair = tuple[ActedAnswer, ActedAnswer]
RuleVerdict = tuple[ActedAnswer, bool]
_NEVER = datetime.min.replace(tzinfo=UTC)


def like(question: ActedQuestion) -> Iterator[RulePair]:
    """An answer that was liked, before those that were not; unrated ones before a disliked one."""
    fit = question.fit
    best = max((answer.thumb for answer in fit), default=0.0)
    worse = [answer for answer in fit if answer.thumb < best]
    if worse:
        for better in fit:
            if better.thumb == best:
                yield from ((better, other) for other in worse)


def switch(question: ActedQuestion) -> Iterator[RulePair]:
    """The answer that the reader clicked on last among several, before the others."""
    clicked = [answer for answer in question.fit if "switch" in answer.done]
    if not clicked:
        return
    chosen = max(clicked, key=lambda answer: answer.done["switch"][1] or _NEVER)
    if len(clicked) > 1 and chosen.done["switch"][1] is None:
        return  # which click was the last is not known
    yield from ((chosen, other) for other in question.fit if other is not chosen)


def edited(question: ActedQuestion) -> Iterator[RulePair]:
    """The text that a person made of an answer, before that answer."""
    by_id = question.by_id()
    for answer in question.answers:
        if answer.row["origin"] == BY_PERSON and answer.text.strip():
            original = by_id.get(answer.row["replaces"])
            if original is not None and original.unfit is None:
                yield answer, original


def regenerated(question: ActedQuestion) -> Iterator[RulePair]:
    """Of answers made one after the other: the one that stayed, before those thrown away.

    Stayed: the one that the reader went on from; if from none, the last. If from several, none.
    """
    for chain in _chains(question).values():
        went_on = [answer for answer in chain if "follow_up" in answer.done]
        if len(chain) < 2 or len(went_on) > 1:
            continue
        kept = went_on[0] if went_on else chain[-1]
        if kept.unfit is None:
            yield from ((kept, other) for other in chain if other is not kept and _fair(other))


def continued(question: ActedQuestion) -> Iterator[RulePair]:
    """Of answers side by side: the one that the reader went on from, unless the page had chosen it.

    After sending, the page selects the answer on the right; going on from that one says nothing.
    """
    chains = list(_chains(question).values())
    went_on = [answer for answer in question.answers if "follow_up" in answer.done]
    if len(chains) < 2 or len(went_on) != 1 or went_on[0].unfit is not None:
        return
    (chosen,) = went_on
    if chosen in chains[-1] or chosen is question.answers[-1]:
        return
    for chain in chains:
        if chosen not in chain and _fair(chain[-1]):
            yield chosen, chain[-1]


PAIR_RULES: Mapping[str, Callable[[ActedQuestion], Iterator[RulePair]]] = {
    "like": like,
    "switch": switch,
    "edited": edited,
    "regenerated": regenerated,
    "continued": continued,
}
"""By name, from the strongest: where two name the same pair, the first one counts."""


def wanted_like(question: ActedQuestion) -> Iterator[RuleVerdict]:
    """An answer that was liked: wanted; one that was disliked: not."""
    yield from ((answer, answer.thumb > 0) for answer in question.fit if answer.thumb)


def wanted_edited(question: ActedQuestion) -> Iterator[RuleVerdict]:
    """A text that a person made of an answer: wanted; that answer: not."""
    for better, worse in edited(question):
        yield better, True
        yield worse, False


def wanted_copy(question: ActedQuestion) -> Iterator[RuleVerdict]:
    """An answer that was copied, all or in part: wanted."""
    for answer in question.fit:
        if "copy" in answer.done or "copy_part" in answer.done:
            yield answer, True


def wanted_regenerated(question: ActedQuestion) -> Iterator[RuleVerdict]:
    """An answer that was regenerated, and not gone on from after all: not wanted."""
    for answer in question.fit:
        if "regenerate" in answer.done and "follow_up" not in answer.done:
            yield answer, False


def wanted_stop(question: ActedQuestion) -> Iterator[RuleVerdict]:
    """An answer that was stopped: what there is of it was not wanted."""
    for answer in question.answers:
        if "stop" in answer.done and answer.unfit == "stopped" and answer.text.strip():
            yield answer, False


ANSWER_RULES: Mapping[str, Callable[[ActedQuestion], Iterator[RuleVerdict]]] = {
    "like": wanted_like,
    "edited": wanted_edited,
    "copy": wanted_copy,
    "regenerated": wanted_regenerated,
    "stop": wanted_stop,
}
"""By name, from the strongest; each yields answers and whether they were wanted."""

RULES = tuple(dict.fromkeys((*PAIR_RULES, *ANSWER_RULES)))
"""The names of all rules."""


def _chains(question: ActedQuestion) -> dict[str, list[ActedAnswer]]:
    """Return the answers of models by the first of each chain of regeneration, in their order."""
    by_id = question.by_id()
    first: dict[str, str] = {}
    chains: dict[str, list[ActedAnswer]] = {}
    for answer in question.answers:
        before = answer.row["replaces"]
        place = first.get(before, answer.message_id) if before in by_id else answer.message_id
        first[answer.message_id] = place
        if answer.row["origin"] != BY_PERSON:
            chains.setdefault(place, []).append(answer)
    return chains


def _fair(answer: ActedAnswer) -> bool:
    return answer.unfit is None
