"""What a run measured on readers it was not trained on, for the card and for `.eval_results/`.

The Hub shows files of that folder on a model's page, and on the leaderboard of a dataset that is
registered there as a benchmark: https://huggingface.co/docs/hub/eval-results. Of `benchmark.json`
nothing goes there: it may come from copies of the model that were trained without other readers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ifllm_hf.data.synthetic.story import SYNTHETIC_PREFIX
from ifllm_hf.errors import ConfigError
from ifllm_hf.hub_errors import check_repo_id
from ifllm_hf.training.run_record import RUN_FILE

EVAL_RESULTS_FILE = ".eval_results/ifllm.yaml"
TASK_ID = "pairwise"
"""The task in the dataset's `eval.yaml`: which of two answers the reader preferred."""


def held_out_score(run: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return `protocol, n, workers, accuracy` and, of several readers, `low, high` of a run.

    Args:
        run: What `run.json` holds.

    Returns:
        None: nobody was held out; or the run learned from labels, whose makers may have seen the
        clicks of those who were.
    """
    score: Mapping[str, Any] | None = run.get("result", {}).get("held_out")
    return None if run.get("settings", {}).get("labels") else score


def held_out_words(run: Mapping[str, Any]) -> str | None:
    """Return on whom the held-out score was measured, and its interval; None without a score."""
    score = held_out_score(run)
    if score is None:
        return None
    fold = run.get("settings", {}).get("eval_fold")
    words = (
        f"accuracy on {score['n']} pairs of {score['workers']} readers whom it was not trained on "
        f"(protocol {score['protocol']}{'' if fold is None else f', fold {fold}'})"
    )
    if "low" in score:
        words += f"; 95 % over readers {score['low']:.3f} to {score['high']:.3f}"
    readers = run.get("data", {}).get("readers", [])
    if any(str(reader).startswith(SYNTHETIC_PREFIX) for reader in readers):
        words += "; readers are made up"
    return words


def eval_results(run: Mapping[str, Any], repo_id: str, dataset: str | None = None) -> str | None:
    """Return the content of `.eval_results/ifllm.yaml`, or None where there is nothing to say.

    Args:
        run: What `run.json` holds.
        repo_id: Where the model will be.
        dataset: `ORG/NAME` of the dataset that it was measured on; None: what the run loaded, if
            that was one of the Hub.

    Raises:
        ConfigError: `dataset` is no `ORG/NAME`, or was named for a run without a held-out score.
    """
    score = held_out_score(run)
    if dataset is not None:
        check_repo_id(dataset)
        if score is None:
            raise ConfigError(
                f"{dataset} cannot be named as what {repo_id} was evaluated on: its {RUN_FILE} has "
                "no score of held-out readers that no label has seen. Train with --eval_fold 3 "
                "and without --labels, or leave --evaluated-on out"
            )
    loaded = str(run.get("data", {}).get("dataset"))
    name = dataset or (loaded if loaded.count("/") == 1 else None)
    if score is None or name is None:
        return None
    import yaml
    from huggingface_hub import EvalResultEntry, constants, eval_result_entries_to_yaml

    entry = EvalResultEntry(
        dataset_id=name,
        task_id=TASK_ID,
        value=round(float(score["accuracy"]), 4),
        source_url=f"{constants.ENDPOINT}/{repo_id}/blob/main/{RUN_FILE}",
        source_name=RUN_FILE,
        notes=held_out_words(run),
    )
    text: str = yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False, width=1000)
    return text
