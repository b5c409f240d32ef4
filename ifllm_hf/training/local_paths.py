"""Take the paths of this machine out of what is saved beside weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ifllm_hf.files import write_json
from ifllm_hf.training.push import PushedWhole
from ifllm_hf.training.run_record import public_name


def remove_local_paths(folder: Path, base_model: str | None = None) -> None:
    """Take local paths out of the files that PEFT and transformers write beside weights.

    The pickled training arguments are removed (`run.json` says the same in the open), PEFT's draft
    of a card is removed, and the base model of each adapter keeps its public name only.

    Args:
        folder: A saved adapter or model.
        base_model: Public name of the base model; default: the last part of its path.
    """
    (folder / "training_args.bin").unlink(missing_ok=True)
    for adapter in folder.glob("**/adapter_config.json"):
        (adapter.parent / "README.md").unlink(missing_ok=True)
        config = json.loads(adapter.read_text())
        config["base_model_name_or_path"] = base_model or public_name(
            config["base_model_name_or_path"]
        )
        write_json(adapter, config)
    for name in ("config.json", "tokenizer_config.json"):
        file = folder / name
        if file.exists():
            config = json.loads(file.read_text())
            for key in ("_name_or_path", "name_or_path"):
                if key in config:
                    config[key] = base_model or public_name(config[key])
            write_json(file, config)


class WithoutLocalPaths(PushedWhole):
    """What our trainers put in front of TRL's: no local path is saved, and no card of TRL's.

    Args:
        *args: Passed to TRL.
        base_model_name: Public name of the base model for what is saved; default: the last part of
            its path.
        **kwargs: Passed to TRL.
    """

    args: Any

    def __init__(self, *args: Any, base_model_name: str | None = None, **kwargs: Any) -> None:
        """Set the trainer up."""
        self._base_model_name = base_model_name
        super().__init__(*args, **kwargs)

    def _save(
        self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None
    ) -> None:
        super()._save(output_dir, state_dict)  # type: ignore[misc]
        if self.args.should_save:
            remove_local_paths(Path(output_dir or self.args.output_dir), self._base_model_name)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write nothing: the card is written at the end of the run, from what was done."""
