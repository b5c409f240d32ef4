"""In which precision weights are: those that an adapter was trained on, and those that answer.

Importing this module imports neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifllm_hf.files import read_json_object
from ifllm_hf.training.run_record import read_run

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig

MERGE_FILE = "merge.json"
"""Beside merged weights: what they were merged from."""


@dataclass(frozen=True)
class Precision:
    """How weights are loaded.

    Attributes:
        in_4bit: Quantised by bitsandbytes when they are loaded.
        dtype: Of the weights, and of 4-bit compute; None: as they are stored.
        quant_type: `nf4` or `fp4`, of 4-bit weights.
        double_quant: The scales of 4-bit weights are quantised too.
        quant_storage: Dtype that 4-bit weights are packed into.
    """

    in_4bit: bool = False
    dtype: str | None = None
    quant_type: str = "nf4"
    double_quant: bool = True
    quant_storage: str = "uint8"

    @property
    def words(self) -> str:
        """Return `NF4`, or the dtype.

        >>> Precision(True, "bfloat16").words, Precision(dtype="bfloat16").words
        ('NF4', 'bfloat16')
        """
        return self.quant_type.upper() if self.in_4bit else self.dtype or "as stored"

    def quantization(self) -> BitsAndBytesConfig | None:
        """Return what `from_pretrained` takes, None without quantisation."""
        if not self.in_4bit:
            return None
        from transformers import BitsAndBytesConfig

        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_compute_dtype=self.dtype,
            bnb_4bit_quant_type=self.quant_type,
            bnb_4bit_use_double_quant=self.double_quant,
            bnb_4bit_quant_storage=self.quant_storage,
        )


def run_of(folder: Path) -> dict[str, Any] | None:
    """Return the record of the run that wrote a folder, or the run's folder around a checkpoint."""
    run = read_run(folder)
    if run is None and folder.name.startswith("checkpoint-"):
        run = read_run(folder.parent)
    return run


def trained_precision(run: Mapping[str, Any] | None) -> Precision | None:
    """Return what the adapter of a run was trained on; None: no run of ours says it.

    Args:
        run: What `run_of` returned.
    """
    settings: Mapping[str, Any] = (run or {}).get("settings", {})
    if settings.get("method") not in ("qlora", "lora"):
        return None
    return Precision(
        in_4bit=settings["method"] == "qlora",
        dtype=settings.get("dtype") if settings.get("dtype") != "auto" else None,
        quant_type=settings.get("bnb_4bit_quant_type") or "nf4",
        double_quant=bool(settings.get("use_bnb_nested_quant", True)),
        quant_storage=settings.get("bnb_4bit_quant_storage") or "uint8",
    )


def read_merge(folder: Path) -> dict[str, Any] | None:
    """Return what merged weights were merged from; None: the folder holds none.

    Raises:
        ConfigError: It cannot be read.
    """
    file = folder / MERGE_FILE
    return read_json_object(file) if file.is_file() else None
