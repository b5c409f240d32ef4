"""The arguments of `PairDPOTrainer`: those of TRL's trainer, filled in or refused by name."""

from __future__ import annotations

from typing import Any

from datasets import Dataset
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from trl.trainer.utils import create_model_from_path, get_config_model_id

from ifllm_hf.alignment.dpo.config import PairDPOConfig
from ifllm_hf.errors import ConfigError, DataError


def refuse_unused(**given: Any) -> None:
    """Refuse arguments of TRL's trainer that would have no effect.

    Raises:
        ConfigError: Names the first that is not None.
    """
    for name, value in given.items():
        if value is not None:
            raise ConfigError(
                f"{name} is given: the loss per pair does not use it; leave it out, and read the "
                "metrics that the trainer logs"
            )


def pair_settings(args: Any, model: Any) -> PairDPOConfig:
    """Return the settings, those by default where none are given.

    Raises:
        ConfigError: They are TRL's.
    """
    if args is None:
        return PairDPOConfig(f"{_name_of(model).split('/')[-1]}-DPO")
    if not isinstance(args, PairDPOConfig):
        raise ConfigError(
            f"args is a {type(args).__name__}; expected a PairDPOConfig, which takes the same "
            "settings and those of the loss per pair"
        )
    return args


def whole_dataset(name: str, dataset: Any) -> Dataset:
    """Return a dataset that is one, as a whole: its confidences are read before the first step.

    Args:
        name: Of the argument.
        dataset: What was given.

    Raises:
        DataError: It is missing, streamed, or several.
    """
    if isinstance(dataset, Dataset):
        return dataset
    seen = "missing" if dataset is None else f"a {type(dataset).__name__}"
    raise DataError(
        f"{name} is {seen}; expected a datasets.Dataset (one split, not streamed): "
        "load_dataset(..., split='train', streaming=False)"
    )


def tokenizer_of(processing_class: Any, model: Any, args: PairDPOConfig) -> Any:
    """Return the tokenizer, that of the model where none is given.

    Raises:
        ConfigError: What is given is no tokenizer.
    """
    if processing_class is None:
        revision = (
            (args.model_init_kwargs or {}).get("revision") if isinstance(model, str) else None
        )
        return AutoTokenizer.from_pretrained(
            _name_of(model), revision=revision, trust_remote_code=args.trust_remote_code
        )
    if not isinstance(processing_class, PreTrainedTokenizerBase):
        raise ConfigError(
            f"processing_class is a {type(processing_class).__name__}; expected a tokenizer: pairs "
            "are text alone"
        )
    return processing_class


def load_by_path(path: str, args: PairDPOConfig, quantization_config: Any) -> Any:
    """Load the policy as TRL does."""
    settings = dict(args.model_init_kwargs or {})
    if quantization_config is not None:
        settings["quantization_config"] = quantization_config
    if args.distributed_state.distributed_type in ("MULTI_GPU", "DEEPSPEED"):
        settings["device_map"] = None
    settings.setdefault("trust_remote_code", args.trust_remote_code)
    # Set for the loading alone, and TRL warns about them beside a model.
    args.model_init_kwargs = None
    return create_model_from_path(path, **settings)


def refuse_router_loss(model: Any, args: PairDPOConfig) -> None:
    """Refuse to drop the loss that TRL adds for the router of a mixture of experts.

    Raises:
        ConfigError: Its coefficient, set or of the model's config, is not 0.
    """
    config = model.config.get_text_config()
    coefficient = args.router_aux_loss_coef
    if coefficient is None:
        coefficient = getattr(config, "router_aux_loss_coef", 0.0)
    if coefficient and hasattr(config, "output_router_logits"):
        raise ConfigError(
            f"router_aux_loss_coef is {coefficient} (the model is a mixture of experts): the loss "
            "per pair has no term for the router; set router_aux_loss_coef: 0 to train without it"
        )


def _name_of(model: Any) -> str:
    return model if isinstance(model, str) else str(get_config_model_id(model.config))
