"""What the project set out to reach, and what it reached."""

from __future__ import annotations

from collections.abc import Sequence

from ifllm_hf.benchmark.protocol import side_bias
from ifllm_hf.benchmark.protocol.scores import Record
from ifllm_hf.benchmark.protocol.suite import HEADLINE, PAPER
from ifllm_hf.reward.baselines.choice import default_model

# protocol, subset, accuracy, AUC
_GOALS = (
    ("worker", "all", 0.65, 0.70),
    ("worker", "similar length", 0.62, 0.65),
    (side_bias.PROTOCOL, "all", 0.67, 0.73),
    ("rows", "all", 0.65, None),
)
_CALIBRATION = 0.02
_PROBE = "off-answer pointer, reading"
_PROBE_AUC = 0.53


def goal_notes(records: Sequence[Record], probes: Sequence[Record]) -> list[str]:
    """Return one paragraph that compares the default model with the goals, met or not."""
    name = default_model().name
    lines = []
    for protocol, subset, accuracy, auc in _GOALS:
        for set_name in (PAPER, HEADLINE):
            row = _find(records, name, set_name, protocol, subset)
            if row is None:
                continue
            met = row["accuracy"] >= accuracy and (auc is None or row["auc"] >= auc)
            asked = f"{accuracy:.2f}" + ("" if auc is None else f" / {auc:.2f}")
            where = protocol + ("" if subset == "all" else f", {subset}")
            lines.append(
                f"* {where}, {set_name}: {row['accuracy']:.3f} "
                f"[{row['low']:.3f}, {row['high']:.3f}] / AUC {row['auc']:.3f} "
                f"[{row['auc_low']:.3f}, {row['auc_high']:.3f}], n = {row['n']}; goal {asked}: "
                f"{'met' if met else 'not met'}"
            )
    for set_name in (PAPER, HEADLINE):
        row = _find(records, name, set_name, "worker", "all")
        if row is not None:
            off = row["ece"] - row["ece_perfect"]
            lines.append(
                f"* calibration, worker, {set_name}: ECE {row['ece']:.3f}, a perfectly calibrated "
                f"model's {row['ece_perfect']:.3f}; goal within {_CALIBRATION}: "
                f"{'met' if off <= _CALIBRATION else 'not met'}"
            )
    for probe in probes:
        if probe["probe"] == _PROBE:
            lines.append(
                f"* probe, {probe['probe']} ({probe['learner']}): AUC {probe['auc']:.3f}; goal at "
                f"most {_PROBE_AUC}: {'met' if probe['auc'] <= _PROBE_AUC else 'not met'}"
            )
    if not lines:
        return []
    return [f"Goals for *{name}* (accuracy / AUC):\n" + "\n".join(lines)]


def _find(
    records: Sequence[Record], name: str, set_name: str, protocol: str, subset: str
) -> Record | None:
    model = f"{name} + side bias" if protocol == side_bias.PROTOCOL else name
    for row in records:
        key = (row["model"], row["set"], row["protocol"], row["subset"])
        if key == (model, set_name, protocol, subset):
            return row
    return None
