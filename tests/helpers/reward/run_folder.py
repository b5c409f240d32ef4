"""What lies beside the weights of a reward model."""

from __future__ import annotations

SESSIONS = ["00ff00ff00ff00ff", "11ee11ee11ee11ee"]
RUN = {
    "settings": {"base_model": "nowhere/tiny-bert", "output_dir": "/somewhere/deep/outputs"},
    "seed": 3,
    "data": {
        "dataset": "/somewhere/deep/ifllm",
        "fingerprint": "abc123abc123",
        "pairs": 640,
        "workers": 51,
        "conversations": 190,
        "sessions": SESSIONS,
        "readers": ["worker_1", "worker_2"],
    },
    "versions": {"torch": "2.13.0", "transformers": "5.23.0"},
}
SCORES = [
    {
        "task": "preference",
        "set": "all pairs",
        "subset": subset,
        "protocol": "worker",
        "model": model,
        "n": 787,
        "workers": 64,
        "conversations": 255,
        "accuracy": accuracy,
        "low": accuracy - 0.04,
        "high": accuracy + 0.04,
        "auc": 0.66,
        "auc_low": 0.62,
        "auc_high": 0.7,
    }
    for subset, model, accuracy in (
        ("all", "length rule", 0.6),
        ("all", "reward, text + both", 0.612),
        ("gaze only", "reward, text + both", 0.5),
    )
]
