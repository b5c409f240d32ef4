"""Sentences that the tables of the report have no column for."""

from __future__ import annotations

from collections.abc import Sequence

from ifllm_hf.benchmark.protocol.scores import Record

PROTOCOL_NOTE = (
    "Protocols: `rows`: turns shuffled, the paper's, one reader on both sides; `conversation`: "
    "whole conversations; `worker`: nobody's turns on both sides; `future`: trained on earlier "
    "dates, tested on workers first seen later; `conversation + side bias`: and a reader's lean to "
    "one side is known from their labels in training. *The paper's pairs*: labelled pairs of "
    "workers that the paper kept, with at least one instant of gaze or mouse on an answer. Models "
    "see ticks of the reading phase on the answers alone, and a reader's earlier turns; those "
    "marked *saw the click* saw more and stand for comparison."
)


def permutation_notes(records: Sequence[Record]) -> list[str]:
    """Return a sentence per model whose labels were permuted within workers."""
    return [
        f"Labels permuted within workers {r['permuted_n']} times, *{r['model']}* on {r['set']}: "
        f"accuracy {r['permuted_mean_accuracy']:.3f} and AUC {r['permuted_mean_auc']:.3f} on "
        f"average; as good as with the true labels: p = {r['permuted_p_accuracy']:.3f} (accuracy), "
        f"{r['permuted_p_auc']:.3f} (AUC)."
        for r in records
        if r.get("permuted_n") is not None and r["subset"] == "all"
    ]


def reader_notes(records: Sequence[Record], model: str) -> list[str]:
    """Return how a model's accuracy spreads over workers, held out by worker."""
    return [
        f"Over the {r['worker_count']} workers with at least five pairs ({r['set']}) *{model}* is "
        f"right on {r['worker_macro']:.3f} on average, SD {r['worker_sd']:.3f}, from "
        f"{r['worker_min']:.2f} to {r['worker_max']:.2f}."
        for r in records
        if r["model"] == model
        and r["protocol"] == "worker"
        and r["subset"] == "all"
        and r.get("worker_macro") is not None
    ]
