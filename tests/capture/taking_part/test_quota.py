from __future__ import annotations

from pathlib import Path

from ifllm_hf.capture.taking_part.quota import DailyQuota


def test_a_new_day_is_a_new_quota(tmp_path: Path) -> None:
    now = [1.8e9]
    quota = DailyQuota(tmp_path / "q.json", 1, clock=lambda: now[0])
    assert quota.take(1) and not quota.take(1)
    now[0] += 86400
    assert quota.take(1)
