"""Training a reward model, and scoring answers with it."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoConfig, AutoTokenizer, EarlyStoppingCallback, Trainer

from ifllm_hf.errors import ConfigError
from ifllm_hf.reward.model.configuration_ifllm import CHANNELS, IFLLMConfig
from ifllm_hf.reward.model.feature_extraction_ifllm import IFLLMFeatureExtractor
from ifllm_hf.reward.model.modeling_ifllm import IFLLMForRewardModeling
from ifllm_hf.reward.model.processing_ifllm import IFLLMProcessor
from ifllm_hf.reward.training.config import INPUTS, RewardInputConfig, RewardTrainingConfig
from ifllm_hf.reward.training.examples import Example, Features, RewardCollator, pad_answers
from ifllm_hf.training.pretrained import hard_positions, loading

_BEHAVIOR = ("token_behavior", "trajectory")
_BACKBONE = re.compile(r"(^|\.)text\.")
# What the trajectory alone learns is what it needs beside a text, but for the way out.
_WARM = re.compile(
    r"trajectory_path\.|join\.(modules_to_save\.default\.|original_module\.)?(query|attention|norm|enter)"
)
_SAVED_WHOLE = re.compile(r"\.(modules_to_save\.default|original_module)\.")
_DROPOUTS = re.compile(r"dropout|_pdrop$")


def build_processor(name_or_path: str, inputs: RewardInputConfig) -> IFLLMProcessor:
    """Return an unfitted processor around the tokenizer of a backbone.

    Raises:
        ConfigError: `max_length` is beyond the backbone's positions, or its code is not trusted.
    """
    with loading(name_or_path, trust_remote_code=inputs.trust_remote_code) as options:
        tokenizer = AutoTokenizer.from_pretrained(name_or_path, **options)
        text_config = AutoConfig.from_pretrained(name_or_path, **options)
    if INPUTS[inputs.inputs]["use_text"]:
        room = hard_positions(text_config, trust_remote_code=inputs.trust_remote_code)
        if room is not None and inputs.max_length > room:
            raise ConfigError(
                f"max_length is {inputs.max_length}, but {name_or_path} has {room} positions; set "
                f"max_length to {room} or less"
            )
    extractor = IFLLMFeatureExtractor(
        channels=[*CHANNELS, *inputs.extra_channels], max_ticks=inputs.max_ticks
    )
    return IFLLMProcessor(tokenizer, extractor, max_length=inputs.max_length)


def check_it_can_be_saved(name_or_path: str, inputs: RewardInputConfig) -> None:
    """Refuse a backbone that a saved reward model could not be loaded with.

    Raises:
        ConfigError: Its code, or that of its tokenizer, is not transformers' own: the folder of a
            reward model does not take it along.
    """
    if not inputs.trust_remote_code:
        return  # then nothing of it is loaded at all
    with loading(name_or_path, trust_remote_code=True) as options:
        parts = (
            AutoConfig.from_pretrained(name_or_path, **options),
            AutoTokenizer.from_pretrained(name_or_path, **options),
        )
    own = [type(p).__name__ for p in parts if not type(p).__module__.startswith("transformers.")]
    if own:
        raise ConfigError(
            f"{name_or_path} brings code of its own ({', '.join(own)}), which a saved reward model "
            "cannot take along; choose a backbone that transformers knows (cross_validate, which "
            "saves none, runs with it)"
        )


def build_model(
    backbone: Any, inputs: RewardInputConfig, processor: IFLLMProcessor, *, likert: bool
) -> Any:
    """Return a fresh reward model around a pretrained backbone, with an adapter if asked for.

    Args:
        backbone: TRL's `ModelConfig`: name, dtype, attention, LoRA, 4-bit.
        inputs: What the model reads.
        processor: Says which channels there are.
        likert: Whether ratings are learned.

    Raises:
        ConfigError: The backbone is to stay as it is and to learn by an adapter.
    """
    from trl import get_quantization_config

    if inputs.freeze_backbone and backbone.use_peft:
        raise ConfigError(
            "freeze_backbone leaves the backbone as it is, and use_peft trains an adapter in it; "
            "set one of them to false"
        )

    extractor = processor.feature_extractor
    settings = {
        **INPUTS[inputs.inputs],
        "evidence_head": inputs.evidence_head,
        "token_channels": extractor.token_channels,
        "channels": extractor.channels,
        "modality_dropout": inputs.modality_dropout,
        "behavior_dropout": inputs.behavior_dropout,
        "trajectory_layers": inputs.trajectory_layers,
        "trajectory_hidden_size": inputs.trajectory_hidden_size,
        "likert_head": likert,
    }
    if not settings["use_text"]:
        return IFLLMForRewardModeling(IFLLMConfig(**settings))
    path = backbone.model_name_or_path
    with loading(path, trust_remote_code=inputs.trust_remote_code) as trusted:
        text_config = AutoConfig.from_pretrained(path, **trusted)
    if inputs.text_dropout is not None:
        for name in [n for n in text_config.to_dict() if _DROPOUTS.search(n)]:
            setattr(text_config, name, inputs.text_dropout)
    text_kwargs = {
        **trusted,
        "config": text_config,
        "dtype": "float32" if backbone.dtype is None else backbone.dtype,
        "attn_implementation": backbone.attn_implementation,
        "quantization_config": get_quantization_config(backbone),
    }
    model = IFLLMForRewardModeling.from_text_backbone(
        path, text_kwargs={k: v for k, v in text_kwargs.items() if v is not None}, **settings
    )
    if inputs.freeze_backbone:
        model.model.text.requires_grad_(False)
    return add_adapter(model, backbone) if backbone.use_peft else model


def add_adapter(model: IFLLMForRewardModeling, backbone: Any) -> Any:
    """Return the model with LoRA on the backbone; everything that is new is trained whole.

    Args:
        model: A fresh reward model.
        backbone: TRL's `ModelConfig`; without `lora_target_modules`, all linear layers of the
            backbone get an adapter.
    """
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    if backbone.load_in_4bit or backbone.load_in_8bit:
        model = prepare_model_for_kbit_training(model)
    linear = [
        name
        for name, module in model.named_modules()
        if _BACKBONE.search(name) and type(module).__name__.startswith(("Linear", "Conv1D"))
    ]
    config = LoraConfig(
        task_type="SEQ_CLS",
        r=backbone.lora_r,
        lora_alpha=backbone.lora_alpha,
        lora_dropout=backbone.lora_dropout,
        target_modules=backbone.lora_target_modules or linear,
        modules_to_save=model.behavior_modules,
    )
    return get_peft_model(model, config)


class IFLLMRewardTrainer(Trainer):  # type: ignore[misc, unused-ignore]
    """`Trainer` with one learning rate for the backbone and one for everything that is new.

    The loss is the model's own: Bradley-Terry with a confidence per pair, and ratings.
    """

    def create_optimizer(self, model: Any = None) -> Any:
        """Give the parameters outside the backbone `behavior_learning_rate`."""
        if self.optimizer is not None:
            return self.optimizer
        optimizer = super().create_optimizer(model)
        named = (self.model if model is None else model).named_parameters()
        new = {id(p) for name, p in named if not _BACKBONE.search(name)}
        for group in list(optimizer.param_groups):
            moved = [p for p in group["params"] if id(p) in new]
            if moved:
                group["params"] = [p for p in group["params"] if id(p) not in new]
                settings = {k: v for k, v in group.items() if k != "params"}
                settings["lr"] = self.args.behavior_learning_rate
                optimizer.add_param_group({**settings, "params": moved})
        return optimizer


def train_reward_model(
    model: Any,
    processor: IFLLMProcessor,
    train: Sequence[Example],
    validation: Sequence[Example],
    training: RewardTrainingConfig,
    *,
    checkpoint: str | None = None,
    callbacks: Sequence[Any] = (),
) -> IFLLMRewardTrainer:
    """Train; with a validation set the best epoch is kept, and patience ends it early.

    On top of an evidence head the best epoch may be 0: what is learned may only help.

    Args:
        model: From `build_model`.
        processor: The fitted processor.
        train: Examples to learn from.
        validation: Examples to stop by; from other readers than `train`.
        training: Settings.
        checkpoint: Folder of a checkpoint to go on from.
        callbacks: More callbacks.

    Returns:
        The trainer, its `model` being the trained one.

    Raises:
        ConfigError: There is nothing to train on, or to stop by.
    """
    if not train:
        raise ConfigError("no example to train on; check targets and labels")
    if training.validation_share and not validation:
        raise ConfigError(
            "validation_share asks for a validation set and no worker was left for one; set "
            "validation_share: 0 or use more data"
        )
    processor.check_config(model.config)
    likert = bool(model.config.likert_head)
    stop = [EarlyStoppingCallback(training.patience)] if training.validation_share else []
    trainer = IFLLMRewardTrainer(
        model=model,
        args=training,
        train_dataset=list(train),
        eval_dataset=list(validation) if training.validation_share else None,
        data_collator=RewardCollator(processor, likert=likert),
        processing_class=processor,
        callbacks=[*stop, *callbacks],
    )
    if not any(parameter.requires_grad for parameter in model.parameters()):
        return trainer  # the evidence head alone
    start = _Start(trainer) if model.config.evidence_head and training.validation_share else None
    trainer.train(resume_from_checkpoint=checkpoint)
    if start is not None:
        start.restore_if_better(trainer)
    return trainer


class _Start:
    """The state before the first step, which `load_best_model_at_end` cannot choose."""

    def __init__(self, trainer: IFLLMRewardTrainer) -> None:
        """Evaluate, and keep what training will change."""
        self.loss = trainer.evaluate()["eval_loss"]
        self.weights = {
            name: parameter.detach().cpu().clone()
            for name, parameter in trainer.model.named_parameters()
            if parameter.requires_grad
        }

    def restore_if_better(self, trainer: IFLLMRewardTrainer) -> None:
        """Go back to the start unless an epoch was better on the validation set."""
        best = trainer.state.best_metric
        if best is not None and best < self.loss:
            return
        trainer.state.best_metric, trainer.state.best_global_step = self.loss, 0
        with torch.no_grad():
            for name, parameter in trainer.model.named_parameters():
                if name in self.weights:
                    parameter.copy_(self.weights[name])


def best_epoch(trainer: IFLLMRewardTrainer) -> float | None:
    """Return the epoch that was kept: 0 the start, None without a choice."""
    step, state = trainer.state.best_global_step, trainer.state
    if step is None or not state.max_steps:
        return None
    return float(step * state.num_train_epochs / state.max_steps)


def warm_up_trajectory(
    model: Any,
    processor: IFLLMProcessor,
    train: Sequence[Example],
    validation: Sequence[Example],
    training: RewardTrainingConfig,
) -> None:
    """Train the trajectory encoder without text, and put what it learned into the model.

    The gate stays closed, so the model still equals its text model.

    Args:
        model: A fresh reward model with text and trajectory; changed in place.
        processor: The fitted processor.
        train: Examples to learn from.
        validation: Examples to stop by.
        training: Settings; `trajectory_warmup_epochs` epochs are trained.
    """
    settings = model.config.to_dict()
    settings |= {**INPUTS["behavior"], "likert_head": False, "text_config": None}
    alone = IFLLMForRewardModeling(IFLLMConfig(**settings))
    copy_evidence_head(model, alone)
    arguments = copy.copy(training)
    arguments.num_train_epochs = training.trajectory_warmup_epochs
    arguments.max_steps = -1
    arguments.output_dir = str(Path(str(training.output_dir)) / "trajectory")
    train_reward_model(alone, processor, train, validation, arguments)
    whole = model.get_base_model() if hasattr(model, "get_base_model") else model
    learned = alone.model.state_dict()
    taken = {
        name: learned[_SAVED_WHOLE.sub(".", name)]
        for name, parameter in whole.model.state_dict().items()
        if _WARM.match(name)
        and _SAVED_WHOLE.sub(".", name) in learned
        and learned[_SAVED_WHOLE.sub(".", name)].shape == parameter.shape
    }
    with torch.no_grad():
        for name, parameter in whole.model.named_parameters():
            if name in taken:
                parameter.copy_(taken[name])


def copy_evidence_head(source: Any, target: IFLLMForRewardModeling) -> None:
    """Give a model the fitted evidence head of another one, where there is one."""
    whole = source.get_base_model() if hasattr(source, "get_base_model") else source
    if whole.model.evidence is not None and target.model.evidence is not None:
        target.model.evidence.load_state_dict(whole.model.evidence.state_dict())


def pool_texts(
    model: Any, processor: IFLLMProcessor, answers: Sequence[Features], *, batch_size: int = 16
) -> list[torch.Tensor]:
    """Return the `text_vector` of every answer: a frozen backbone need read each of them once."""
    base = model.model.eval()
    device = next(model.parameters()).device
    order = np.argsort([len(a["input_ids"]) for a in answers], kind="stable")
    out: list[Any] = [None] * len(answers)
    for start in range(0, len(answers), batch_size):
        index = order[start : start + batch_size]
        batch = processor.pad([_text_only(answers[i]) for i in index])
        with torch.inference_mode():
            pooled = base.pool_text(
                batch["input_ids"].to(device), batch["attention_mask"].to(device)
            )
        for i, vector in zip(index, pooled.float().cpu(), strict=True):
            out[i] = vector.clone()
    return out


def score_answers(
    model: Any,
    processor: IFLLMProcessor,
    answers: Sequence[Features],
    *,
    batch_size: int = 16,
    behavior: bool = True,
) -> NDArray[np.float64]:
    """Return the score of every answer, shape (n,).

    Args:
        model: A reward model; it is put into evaluation mode.
        processor: The processor it was trained with.
        answers: Encoded answers.
        batch_size: Answers per call; they are sorted by length first.
        behavior: Whether the model may see behaviour; without, the score is the text's.
    """
    model.eval()
    device = next(model.parameters()).device
    order = np.argsort([len(a["input_ids"]) for a in answers], kind="stable")
    out = np.empty(len(answers))
    for start in range(0, len(answers), batch_size):
        index = order[start : start + batch_size]
        rows = [answers[i] if behavior else _text_only(answers[i]) for i in index]
        batch = {name: values.to(device) for name, values in pad_answers(processor, rows).items()}
        with torch.inference_mode():
            out[index] = model(**batch).logits[:, 0].float().cpu().numpy()
    return out


def _text_only(features: Mapping[str, Any]) -> Features:
    return {k: v for k, v in features.items() if not k.startswith(_BEHAVIOR)}


def save_reward_model(
    trainer: IFLLMRewardTrainer,
    processor: IFLLMProcessor,
    out: Path,
    backbone: Any,
    inputs: RewardInputConfig,
) -> None:
    """Write the whole model and the processor into one folder, for the Auto classes.

    An adapter is merged into a backbone that is loaded anew in full precision (merging into 4 bits
    would lose what was learned); by itself it stays in `adapter`.
    """
    if not hasattr(trainer.model, "peft_config"):
        trainer.save_model(str(out))
    else:
        trainer.save_model(str(out / "adapter"))
        if trainer.is_world_process_zero():
            _merged(trainer.model, processor, out / "adapter", backbone, inputs).save_pretrained(
                out
            )
    if trainer.is_world_process_zero():
        processor.save_pretrained(str(out))
        for folder in (out, out / "adapter"):
            # A pickle; run.json says the same.
            (folder / "training_args.bin").unlink(missing_ok=True)


def _merged(
    model: Any, processor: IFLLMProcessor, adapter: Path, backbone: Any, inputs: RewardInputConfig
) -> Any:
    from peft import PeftModel

    plain = copy.copy(backbone)
    plain.use_peft = plain.load_in_4bit = plain.load_in_8bit = False
    plain.dtype = "float32"
    fresh = build_model(plain, inputs, processor, likert=bool(model.config.likert_head))
    copy_evidence_head(model, fresh)  # it is no part of the adapter
    return PeftModel.from_pretrained(fresh, str(adapter)).merge_and_unload()
