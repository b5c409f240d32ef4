"""The KTO trainer with a weight per answer: a small subclass of TRL's `KTOTrainer`.

TRL 1.16 has one weight for each kind of answer and no hook for a value per answer, so these parts
are overridden. A test compares them with TRL on the same batch and fails when the signatures move.

* collator and `_set_signature_columns_if_needed`: carry the column `confidence` into the batch;
* `_prepare_dataset`: count what TRL drops and cuts, set the weights of both kinds by what is left,
  and give an answer that is alone in the last batch another one for KL than itself;
* `compute_loss`: TRL multiplies the losses of a kind by its weight, which is one for each answer of
  the batch here; the loss itself is TRL's. Before the first step the reference is checked.
* `__init__`: the reference is the one that was named, never reloaded by the name in a config.
"""

from __future__ import annotations

import copy
import logging
import uuid
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate.utils import is_peft_model
from datasets import Dataset, concatenate_datasets
from transformers import PreTrainedModel
from trl import KTOTrainer
from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference

from ifllm_hf.alignment.kto.answer_weights import (
    check_both_kinds,
    class_weights,
    confidence_weights,
    is_balanced,
)
from ifllm_hf.alignment.kto.config import UnpairedKTOConfig
from ifllm_hf.alignment.policy.adapter_precision import AdapterPrecision
from ifllm_hf.alignment.policy.trl_version import check_trl
from ifllm_hf.errors import ConfigError, DataError
from ifllm_hf.training.local_paths import WithoutLocalPaths

logger = logging.getLogger(__name__)


@dataclass
class AnswerCollator(DataCollatorForUnpairedPreference):  # type: ignore[misc, unused-ignore]
    """TRL's collator, with `confidence`, (answers,), 1.0 where there is none."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the batch."""
        batch: dict[str, Any] = super().torch_call(examples)
        batch["confidence"] = torch.tensor(
            [example.get("confidence", 1.0) for example in examples], dtype=torch.float32
        )
        return batch


class UnpairedKTOTrainer(WithoutLocalPaths, AdapterPrecision, KTOTrainer):  # type: ignore[misc, unused-ignore]
    """KTO with a weight per answer, and a reference that is named.

    Args:
        model: The policy: a model, or a `PeftModel` with the adapter of an earlier stage.
        ref_model: The reference, when it is neither the policy at its start nor its base. A model
            without adapter is copied as it is now when `args.reference` is `start`.
        args: Settings.
        train_dataset: Columns `prompt`, `completion`, `label` and maybe `confidence` in [0.5, 1].
            Its rows are shuffled once, with the seed: each epoch has the same order, since KL is
            estimated from neighbours in it.
        eval_dataset: The same, held out.
        processing_class: The tokenizer, which can pad.
        **kwargs: `base_model_name` for what is saved; others are passed to TRL (`peft_config`,
            `callbacks`, `optimizers`).

    Attributes:
        kinds: Number and weight of the answers that were wanted, and of those that were not.
        step0_reward: Largest absolute reward of the first batch before the first step.
        too_long: Rows per dataset (`train`, `eval`) left out: the prompt fills max_length.
        cut: Rows per dataset whose answer is cut at max_length.
    """

    precompute_ref_logps: bool
    train_dataset: Dataset
    eval_dataset: Dataset | None
    step0_reward: float | None = None

    def __init__(
        self,
        model: Any,
        ref_model: PreTrainedModel | None = None,
        args: UnpairedKTOConfig | None = None,
        train_dataset: Dataset | None = None,
        eval_dataset: Dataset | None = None,
        processing_class: Any = None,
        **kwargs: Any,
    ) -> None:
        """Set the trainer up; see the class for the arguments.

        Raises:
            ConfigError: An argument that this trainer cannot use.
            DataError: A dataset that is none, or that no loss can learn from.
        """
        check_trl()
        if not isinstance(args, UnpairedKTOConfig):
            raise ConfigError(f"args is a {type(args).__name__}; expected an UnpairedKTOConfig")
        for name, given in (("model", model), ("ref_model", ref_model)):
            if isinstance(given, str):
                raise ConfigError(f"{name} is {given!r}; expected a model: load it first")
        if not isinstance(train_dataset, Dataset):
            raise DataError(
                f"train_dataset is a {type(train_dataset).__name__}; expected a datasets.Dataset "
                "(one split, not streamed)"
            )
        args = copy.copy(args)
        has_adapter = is_peft_model(model) or kwargs.get("peft_config") is not None
        precompute = args.precompute_ref_log_probs
        if ref_model is None and not has_adapter:
            if args.reference == "base":
                raise ConfigError(
                    "reference is 'base' but all weights are trained and no base model is given; "
                    "set reference_model (ref_model in Python), or reference: start"
                )
            if not precompute:
                ref_model = copy.deepcopy(model)
        self.kinds: tuple[tuple[int, float], tuple[int, float]] = ((0, 1.0), (0, 1.0))
        self.too_long: dict[str, int] = {}
        self.cut: dict[str, int] = {}
        # Where TRL need not know, the reference is computed below: the named one, and without a
        # hash of all weights on the CPU.
        args.precompute_ref_log_probs = precompute and not has_adapter and ref_model is None
        seed = args.seed if args.data_seed is None else args.data_seed
        super().__init__(
            model=model,
            ref_model=ref_model,
            args=args,
            data_collator=AnswerCollator(
                pad_token_id=processing_class.pad_token_id,
                max_length=args.max_length,
                pad_to_multiple_of=args.pad_to_multiple_of
                if isinstance(args.pad_to_multiple_of, int)
                else None,
            ),
            train_dataset=train_dataset.shuffle(seed),
            eval_dataset=None if eval_dataset is None else eval_dataset.shuffle(seed),
            processing_class=processing_class,
            **kwargs,
        )
        if args.reference == "base" and "ref" in getattr(self.model, "peft_config", {}):
            self.model.delete_adapter("ref")  # TRL's copy of the earlier adapter; it takes it first
        args.precompute_ref_log_probs = precompute
        if precompute and not self.precompute_ref_logps:
            self.precompute_ref_logps = True
            self._precompute_model_hash = uuid.uuid4().hex  # what is kept is this trainer's alone
            for name, size in (
                ("train", args.per_device_train_batch_size),
                ("eval", args.per_device_eval_batch_size),
            ):
                if (dataset := getattr(self, f"{name}_dataset")) is not None:
                    size = args.precompute_ref_batch_size or size
                    computed = self._precompute_ref_logps(dataset, name, size)
                    setattr(self, f"{name}_dataset", computed)

    # Data

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if "confidence" not in self._signature_columns:
            self._signature_columns.append("confidence")

    def _prepare_dataset(
        self, dataset: Dataset, processing_class: Any, args: UnpairedKTOConfig, dataset_name: str
    ) -> Dataset:
        # Of a dataset called "train" TRL checks the weights, which are set below.
        said = "training" if dataset_name == "train" else dataset_name
        prepared = super()._prepare_dataset(dataset, processing_class, args, said)
        self.too_long[dataset_name] = len(dataset) - len(prepared)
        if not len(prepared):
            raise DataError(
                f"{dataset_name} answers: all {len(dataset)} prompts fill max_length "
                f"{args.max_length}; raise max_length or use history: none"
            )
        room = args.max_length or float("inf")
        texts = zip(prepared["prompt_ids"], prepared["completion_ids"], strict=True)
        self.cut[dataset_name] = sum(len(prompt) + len(answer) > room for prompt, answer in texts)
        if dataset_name == "train":
            self._weigh_kinds(prepared, args)
        if "KL_completion_ids" in prepared.column_names:
            prepared = _never_alone(prepared, args.per_device_train_batch_size)
        return prepared

    def _weigh_kinds(self, prepared: Dataset, args: UnpairedKTOConfig) -> None:
        labels = np.asarray(list(prepared["label"]), dtype=bool)
        check_both_kinds(labels.tolist(), "train answers")
        weights = np.ones(len(labels))
        if args.use_confidence and "confidence" in prepared.column_names:
            weights = confidence_weights(np.asarray(list(prepared["confidence"]), dtype=np.float64))
        sums = float(weights[labels].sum()), float(weights[~labels].sum())
        if not all(sums):
            which = "wanted" if sums[1] else "not wanted"
            raise DataError(
                f"train answers: the confidences of all answers that were {which} are 0.5, so they "
                "weigh nothing; set use_confidence: false, or bring others"
            )
        given = args.desirable_weight, args.undesirable_weight
        found = class_weights(*sums, given)
        self.kinds = (int(labels.sum()), found[0]), (int((~labels).sum()), found[1])
        if not is_balanced(*sums, found):
            logger.warning(
                "desirable_weight %.4g and undesirable_weight %.4g bring the answers to %.2f : 1; "
                "the KTO paper advises 1 : 1 to 4 : 3, as the run sets them by itself",
                *found,
                sums[0] * found[0] / (sums[1] * found[1]),
            )

    # Loss

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> Any:
        """Return the mean of weight x TRL's loss over the answers of a micro batch."""
        inputs = dict(inputs)
        confidence = inputs.pop("confidence")
        if self.model.training and self.step0_reward is None and self.state.global_step == 0:
            self._check_reference(model, inputs)
        wanted = inputs["label"].bool()
        weight = torch.ones_like(confidence)
        if self.args.use_confidence:
            weight = confidence_weights(confidence)
        (_, desirable), (_, undesirable) = self.kinds
        self.desirable_weight = desirable * weight[wanted]
        self.undesirable_weight = undesirable * weight[~wanted]
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    @torch.no_grad()
    def _check_reference(self, model: Any, inputs: dict[str, Any]) -> None:
        """Print the largest reward before the first step; with `start` it must be 0, as KL is."""
        self.model.eval()
        policy = [_answer_sums(model, inputs), self._compute_kl_logps(model, inputs)]
        if self.precompute_ref_logps:
            reference = [inputs["ref_logps"], inputs.get("ref_KL_logps")]
        else:
            reference = [*self.compute_ref_log_probs(self.ref_model or self.model, inputs)]
        self.model.train()
        mine = torch.cat([sums for sums in policy if sums is not None]).float()
        theirs = torch.cat([sums for sums in reference if sums is not None]).float()
        ratio = (mine - theirs).abs()
        self.step0_reward = self.args.beta * float(ratio.max())
        logger.info(
            "largest reward before the first step (reference: %s): %.4g",
            self.args.reference,
            self.step0_reward,
        )
        # Precomputed log probabilities come from other batches, hence other rounding.
        exact = self.model.dtype == torch.float32 and self.accelerator.mixed_precision == "no"
        tolerance = 1e-3 + (1e-4 if exact else 2e-3) * mine.abs()
        if self.args.reference == "start" and bool((ratio > tolerance).any()):
            raise ConfigError(
                f"reference is 'start', but the largest reward before the first step is "
                f"{self.step0_reward:.4g} where it must be 0: the reference is not the policy as "
                "it is now; pass the right ref_model"
            )


def _answer_sums(model: Any, inputs: dict[str, Any]) -> torch.Tensor:
    """Return the log probability of each answer of a batch, (answers,)."""
    ids = inputs["input_ids"]
    log_probs = model(
        input_ids=ids,
        attention_mask=inputs["attention_mask"],
        labels=ids.masked_fill(inputs["completion_mask"] == 0, -100),
        use_cache=False,
        fused_lm_head=True,
    ).log_probs
    # A learnt prompt stands before the tokens.
    sums: torch.Tensor = log_probs[:, 1 - ids.size(1) :].sum(-1)
    return sums


def _never_alone(prepared: Dataset, batch_size: int) -> Dataset:
    """Give the last row, where its batch holds no other, an answer to another question for KL."""
    last = len(prepared) - 1
    if last < 1 or last % batch_size:
        return prepared
    row = {**prepared[last], "KL_completion_ids": prepared[last - 1]["completion_ids"]}
    alone = Dataset.from_list([row], features=prepared.features)
    return concatenate_datasets([prepared.select(range(last)), alone])
