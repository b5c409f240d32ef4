"""The tests that transformers holds its own models to, run on ours.

`make peers-test` fetches the source distribution of the installed transformers into a temporary
folder (`run.py`), where its common tests are, and runs them on `common_models.py` and
`common_processor.py`. What does not apply to us stands in `not_ours.py` with its reason; all else
must pass. The few that guard what users rely on are tests of ours too, and run in CI
(`tests/reward/model/`). The distribution of TRL holds no tests, and that of transformers none for
pipelines: what those do is written anew in `tests/alignment/dpo/` and `tests/reward/model/`.

Nothing here is collected by a plain `pytest`.
"""
