"""The card of a run on pairs: from its record alone."""

from __future__ import annotations

from typing import Any


def card(record: dict[str, Any]) -> str:
    """Return the model card of a run, from its record alone.

    It states what was done and claims no quality: that is measured by judging, not by training.
    """
    settings, data, used = record["settings"], record["data"], record["used"]
    adapter = settings["method"] != "full"
    made_up = used["base_model"].startswith("tiny-random/")
    stage = record["stage"]
    lines = [
        "---",
        f"base_model: {used['base_model']}" if not made_up else "base_model: []",
        f"library_name: {'peft' if adapter else 'transformers'}",
        "pipeline_tag: text-generation",
        "tags:",
        "- trl",
        f"- {stage}",
        "- ifllm",
        "---",
        f"# {used['base_model'].split('/')[-1]} after {stage.upper()} on {data['dataset']}",
        "",
    ]
    if made_up:
        lines += ["**A dry run: the base model has random weights. It is good for nothing.**", ""]
    ledger = data["ledger"]
    dropped = ", ".join(f"{n} {reason}" for reason, n in ledger["dropped"].items()) or "none"
    lines += [
        "## What was done",
        "",
        f"* Weights: {used['weights']}.",
        f"* Loss: {used['loss']}.",
        *(
            [f"* Reference model: `{settings['reference']}` ({used['reference']})."]
            if "reference" in used
            else []
        ),
        f"* Prompt: {used['prompt']}.",
        f"* History: `{settings['history']}`. "
        + (
            "Answers to follow-up questions were scored without the conversation before them."
            if settings["history"] == "none"
            else "Both answers were scored in the past of the chosen side, which the rejected "
            "answer did not have."
        ),
        f"* Suffix ' respond using bullet points' where it was sent: `{settings['suffix']}`.",
        f"* Pairs: {ledger['seen']} seen, {data['train']} trained on, {data['held_out']} held out"
        + (f" (fold {settings['eval_fold']})" if data["held_out"] else "")
        + f"; dropped: {dropped}. Cut at {settings['max_length']} tokens: {data['cut']} pairs.",
        *(
            [
                f"* **The clicks behind {data['labeller_saw']} held-out pairs trained the models "
                "that labelled the others: these readers cannot judge the result.**"
            ]
            if data["labeller_saw"]
            else []
        ),
        f"* Data fingerprint `{data['fingerprint']}`, seed {settings['seed']}.",
        "",
        "How good the answers became is not stated here: that needs judging on held-out prompts.",
        "",
        "## Versions",
        "",
        ", ".join(f"{name} {number}" for name, number in record["versions"].items()),
        "",
        "All settings are in `run.json`.",
        "",
    ]
    return "\n".join(lines)
