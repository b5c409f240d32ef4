"""Rules are as reliable as the readers were made, and confidences say so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ifllm_hf.alignment.known_truth.acting_readers import ActingReaders, acted_world
from ifllm_hf.alignment.known_truth.rule_truth import as_markdown, rule_truth
from ifllm_hf.alignment.labels.actions.rules import ANSWER_RULES, PAIR_RULES

FEW = ActingReaders(readers=60, chats=20, rated=0.8, switched=0.5)


def test_the_truth_of_each_rule_is_found() -> None:
    records = rule_truth(FEW)
    pairs = {record["rule"]: record for record in records if not record["unpaired"]}
    answers = {record["rule"]: record for record in records if record["unpaired"]}
    assert (set(pairs), set(answers)) == (set(PAIR_RULES), set(ANSWER_RULES))
    for rule, made in (("like", FEW.thumb_right), ("switch", FEW.switch_right)):
        assert pairs[rule]["liked"].estimate == pytest.approx(made, abs=0.08)
    # Thumbs agree with a rule as often as both name what is liked, or both do not.
    for record in pairs.values():
        if not record["assumed"]:
            liked, thumb, n = record["liked"].estimate, FEW.thumb_right, record["rated"]
            both = liked * thumb + (1 - liked) * (1 - thumb)
            assert record["agree"] / n == pytest.approx(
                both, abs=4 * (both * (1 - both) / n) ** 0.5
            )
    assert sum(not record["assumed"] for record in records) >= 4
    assert pairs["edited"]["better"].estimate == 1
    assert answers["copy"]["better"].estimate > 0.7
    table = as_markdown(records)
    assert table.count("\n") == 1 + len(records) and "0.600 (assumed)" in table


def test_readers_who_act_by_chance_are_found_out() -> None:
    """A rule that agrees with the thumbs half of the time labels nothing, or next to a coin."""
    blind = replace(FEW, switch_right=0.5, thumb_right=1.0)
    world = acted_world(blind, seed=1)
    clicked = [row["message_id"] for row in world.actions if row["action"] == "switch"]
    right = [
        world.liked[pair] in clicked for pair in world.liked if any(i in clicked for i in pair)
    ]
    assert len(right) > 100 and abs(sum(right) / len(right) - 0.5) < 0.12


def test_the_same_seed_gives_the_same_chats() -> None:
    few = ActingReaders(readers=3, chats=8)
    one, same, other = (acted_world(few, seed=seed) for seed in (4, 4, 5))
    assert one == same and one.actions != other.actions
