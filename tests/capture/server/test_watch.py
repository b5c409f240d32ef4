"""The operator hears the first of each kind of trouble at once, then one line a minute."""

from __future__ import annotations

import pytest

from ifllm_hf.capture.server.watch import Watch


def test_first_of_each_kind_then_one_a_minute() -> None:
    now, said = [1000.0], []
    watch = Watch(clock=lambda: now[0], say=said.append)
    for _ in range(50):
        watch.trouble("disk", "full")
        watch.refused("cross_site", "a page of x")
        now[0] += 1
    assert len(said) == 2 and "disk" in said[0] and "cross_site" in said[1]
    now[0] += 60
    watch.trouble("disk", "full\nstill")
    assert len(said) == 3 and "49 more" in said[2] and "\n" not in said[2]
    counts = watch.counts()
    assert counts.troubles == {"disk": 51, "refused: cross_site": 50}
    assert counts.refused == {"cross_site": 50}
    assert counts.last_trouble == (now[0], "disk", "full still")


def test_a_clock_that_is_set_back_silences_nothing() -> None:
    now, said = [1000.0], []
    watch = Watch(clock=lambda: now[0], say=said.append)
    watch.trouble("push", "x")
    now[0] -= 90_000
    watch.trouble("push", "x")
    assert len(said) == 2


def test_batches_are_counted_once(capsys: pytest.CaptureFixture[str]) -> None:
    watch = Watch()
    watch.stored(duplicate=False, events_refused={"focus: wrong type": 2})
    watch.stored(duplicate=True, events_refused={"focus: wrong type": 2})
    counts = watch.counts()
    assert (counts.batches, counts.batches_twice) == (1, 1)
    assert counts.events_refused == {"focus: wrong type": 2}
    assert "wrong type" in capsys.readouterr().err
