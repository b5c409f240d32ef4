from __future__ import annotations

import pytest

from ifllm_hf.errors import DataError
from ifllm_hf.reward.scoring.held_out import refuse_seen


def test_only_judged_readers_must_be_new_to_the_model() -> None:
    readers = ["ann", "bob", "eve"]
    refuse_seen([True, True, True], readers, name="s.parquet")
    refuse_seen([False, True, None], readers, name="s.parquet", judged=[False, True, False])
    with pytest.raises(DataError, match=r"s.parquet: held_out is false in 1 .* row 1.*reader bob"):
        refuse_seen([True, False, True], readers, name="s.parquet")
    with pytest.raises(DataError, match=r"not known in 1 .*fold 3.* row 2.*--head fold_3"):
        refuse_seen(
            [False, True, None], readers, name="s.parquet", judged=[False, True, True], fold=3
        )
