"""The DPO trainer with a confidence per pair: a small subclass of TRL's `DPOTrainer`.

TRL 1.16 has no hook for a value per pair, so these parts are overridden. A test compares them with
TRL on the same batch and fails when the signatures move; the run refuses another minor version.

* collator and `_set_signature_columns_if_needed`: carry the column `confidence` into the batch, and
  lay the pairs out without padding (`unpadded`);
* `_prepare_dataset`: count what TRL drops because the prompt fills `max_length`, and cut answers;
* `_get_num_items_in_batch`: pairs and chosen tokens of the whole accumulated batch, on all ranks;
* `compute_ref_log_probs`, `_precompute_ref_logps`: the reference is the one that was named, and its
  log probabilities are kept from run to run (`reference_cache`);
* `compute_loss`: the per-pair losses of `losses`; replaces TRL's `_compute_loss`;
* `log`, `_save`, `create_model_card`: gradient share by confidence; no local path in what is saved.
"""

from __future__ import annotations

import contextlib
import copy
import logging
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trl
from accelerate.utils import broadcast_object_list, is_peft_model
from datasets import Dataset
from transformers import PreTrainedModel
from trl import DPOTrainer
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer.utils import add_fused_lm_head, use_adapter

from ifllm_hf.alignment import reference_cache, unpadded
from ifllm_hf.alignment.dpo_config import PairDPOConfig
from ifllm_hf.alignment.gradient_share import GradientShare
from ifllm_hf.alignment.losses import nll_loss, preference_loss
from ifllm_hf.alignment.pair_collator import PairCollator, batch_counts
from ifllm_hf.alignment.run_record import remove_local_paths
from ifllm_hf.errors import ConfigError, DataError

logger = logging.getLogger(__name__)
TRL_MINOR = "1.16"
USES_CONFIDENCE = ("cdpo", "rdpo_paper")


class PairDPOTrainer(DPOTrainer):  # type: ignore[misc, unused-ignore]
    """DPO with a confidence per pair, NLL on the chosen answer, and a reference that is named.

    Args:
        model: The policy: a path, a model, or a `PeftModel` with the adapter of an earlier stage.
            A model without adapter is copied as it is now when `args.reference` is `start`; TRL
            would reload the weights from the name in its config, whatever became of them since.
        args: Settings.
        ref_model: The reference, when it is neither the policy at its start nor its base.
        train_dataset: Columns `prompt`, `chosen`, `rejected` and maybe `confidence` in [0.5, 1].
        eval_dataset: The same, held out.
        processing_class: The tokenizer.
        base_model_name: Public name of the base model for what is saved; default: the last part of
            its path.
        **kwargs: Passed to TRL (`peft_config`, `quantization_config`, `callbacks`, `optimizers`).

    Attributes:
        step0_margin: Largest absolute scaled margin of the first batch before the first step.
        too_long: Rows per dataset (`train`, `eval`) left out: the prompt fills max_length.
        cut: Rows per dataset whose longer answer is cut at max_length.
        padded: Why batches are padded, or None when they are not.
        gradient_mass: Sum of |d loss / d margin| by decile of confidence over the run, shape (10,).
    """

    # The loss below is already divided by the counts of the whole accumulated batch.
    loss_is_scaled_for_ga = True
    _precompute_model_hash: str | None

    def __init__(
        self,
        model: Any,
        args: PairDPOConfig,
        train_dataset: Dataset,
        processing_class: Any,
        ref_model: PreTrainedModel | None = None,
        eval_dataset: Dataset | None = None,
        base_model_name: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Set the trainer up; see the class for the arguments."""
        if not trl.__version__.startswith(f"{TRL_MINOR}."):
            raise ConfigError(
                f"trl {trl.__version__} is installed; this trainer overrides parts of trl "
                f"{TRL_MINOR} that move between versions; run: pip install 'trl~={TRL_MINOR}.0'"
            )
        has_adapter = is_peft_model(model) or kwargs.get("peft_config") is not None
        if ref_model is None and not has_adapter:
            if args.reference == "base":
                raise ConfigError(
                    "reference is 'base' but all weights are trained and no base model is given; "
                    "set reference_model (ref_model in Python), or reference: start"
                )
            if isinstance(model, PreTrainedModel) and not args.precompute_ref_log_probs:
                ref_model = copy.deepcopy(model)
        if processing_class.pad_token is None:
            processing_class.pad_token = processing_class.eos_token
        confidence = _confidence_of(train_dataset)
        self._base_model_name = base_model_name
        self.noise_rate = _noise_rate(args, confidence)
        self._shares = GradientShare(confidence)
        self._shares_matter = args.preference_loss in USES_CONFIDENCE and np.ptp(confidence) > 0
        self._unlogged: dict[str, list[torch.Tensor]] = {"train": [], "eval": []}
        self._measured: tuple[str, ...] = ()
        self.step0_margin: float | None = None
        self.too_long: dict[str, int] = {}
        self.cut: dict[str, int] = {}
        self.padded: str | None = None
        self._form_chosen = False
        self._reference_dtype_matched = False
        # Where TRL does not need to know (it skips loading a reference then), the log probabilities
        # are computed below: TRL would first copy all weights to the CPU and hash them there.
        precompute = args.precompute_ref_log_probs
        args.precompute_ref_log_probs = precompute and not has_adapter and ref_model is None
        super().__init__(
            model=model,
            ref_model=ref_model,
            args=args,
            data_collator=PairCollator(
                pad_token_id=processing_class.pad_token_id,
                max_length=args.max_length,
                pad_to_multiple_of=args.pad_to_multiple_of
                if isinstance(args.pad_to_multiple_of, int)
                else None,
            ),
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            **kwargs,
        )
        self._choose_form()
        args.precompute_ref_log_probs = precompute
        if precompute and not self.precompute_ref_logps:
            self.precompute_ref_logps = True
            size = args.precompute_ref_batch_size or args.per_device_train_batch_size
            self.train_dataset = self._precompute_ref_logps(self.train_dataset, "train", size)
            if self.eval_dataset is not None:
                size = args.precompute_ref_batch_size or args.per_device_eval_batch_size
                self.eval_dataset = self._precompute_ref_logps(self.eval_dataset, "eval", size)

    @property
    def gradient_mass(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Sum of |d loss / d margin| by decile of confidence over the run, shape (10,)."""
        return self._shares.mass

    # Data

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if "confidence" not in self._signature_columns:
            self._signature_columns.append("confidence")

    def _prepare_dataset(
        self, dataset: Dataset, processing_class: Any, args: PairDPOConfig, dataset_name: str
    ) -> Dataset:
        prepared = super()._prepare_dataset(dataset, processing_class, args, dataset_name)
        self.too_long[dataset_name] = len(dataset) - len(prepared)
        if not len(prepared):
            raise DataError(
                f"{dataset_name} pairs: all {len(dataset)} prompts fill max_length "
                f"{args.max_length}; raise max_length or use history: none"
            )
        limit = args.max_length or float("inf")
        self.cut[dataset_name] = sum(
            len(prompt) + max(len(chosen), len(rejected)) > limit
            for prompt, chosen, rejected in zip(
                prepared["prompt_ids"],
                prepared["chosen_ids"],
                prepared["rejected_ids"],
                strict=True,
            )
        )
        return prepared

    def _get_num_items_in_batch(
        self, batch_samples: list[dict[str, Any]], device: torch.device
    ) -> torch.Tensor | None:
        """Count pairs and chosen tokens of the accumulated batch on all ranks; shape (2,)."""
        if not batch_samples:
            return None
        counts = torch.stack([batch_counts(b) for b in batch_samples]).sum(dim=0).to(device)
        total: torch.Tensor = self.accelerator.reduce(counts, reduction="sum")
        return total

    # Forward

    def _choose_form(self) -> None:
        """Leave padding out where the models can, and what the loss does not use."""
        if self._form_chosen:
            return
        self._form_chosen = True
        policy = self.model.get_base_model() if is_peft_model(self.model) else self.model
        models = [policy]
        if self.ref_model is not None:
            models.append(self.accelerator.unwrap_model(self.ref_model))
        if not self.args.remove_padding:
            self.padded = "remove_padding is false"
        elif is_peft_model(self.model) and self.model.active_peft_config.is_prompt_learning:
            self.padded = "the adapter learns a prompt"
        else:
            self.padded = next(filter(None, map(unpadded.why_padded, models)), None)
        self.data_collator.padded = self.padded is not None
        if self.padded is None:
            for model in models:
                model.set_attn_implementation(unpadded.ATTENTION)
        else:
            logger.info("batches are padded: %s", self.padded)
        # TRL's head also returns entropy, mean logits and accuracy, each a pass over all logits.
        add_fused_lm_head(policy)

    def _answer_log_probs(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """Return log probabilities of tokens of answers, (2 pairs, scored), 0 off `answer_mask`."""
        if self.padded is None:
            return unpadded.answer_log_probs(model, inputs)
        log_probs: torch.Tensor = model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            labels=inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100),
            use_cache=False,
            fused_lm_head=True,
        ).log_probs
        return log_probs

    # Reference

    def _reference_adapter(self) -> contextlib.AbstractContextManager[Any]:
        """Activate the frozen start adapter (`start`), or none (`base`, or a fresh adapter)."""
        if self.ref_model is not None or not is_peft_model(self.model):
            return contextlib.nullcontext()
        policy = self.accelerator.unwrap_model(self.model)
        frozen = self._frozen_adapter(policy)
        if frozen and not self._reference_dtype_matched:
            # TRL rounds the trained adapter of a quantised model to bf16 after copying it, which
            # would leave the frozen copy in float32 and the margin at step 0 off zero.
            for name, parameter in policy.named_parameters():
                if ".ref." in name:
                    trained = policy.get_parameter(name.replace(".ref.", ".default."))
                    parameter.data = parameter.data.to(trained.dtype)
            self._reference_dtype_matched = True
        context: contextlib.AbstractContextManager[Any] = use_adapter(policy, adapter_name=frozen)
        return context

    def _frozen_adapter(self, policy: Any) -> str | None:
        """Name of the adapter of the reference: TRL's copy of an earlier stage's, or none."""
        return "ref" if self.args.reference == "start" and "ref" in policy.peft_config else None

    def compute_ref_log_probs(
        self, model: Any, inputs: dict[str, Any]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the reference's summed log probabilities (chosen, rejected), each `(pairs,)`."""
        with (
            torch.no_grad(),
            disable_gradient_checkpointing(self.model, self.args.gradient_checkpointing_kwargs),
            self._reference_adapter(),
            self.accelerator.autocast(),
        ):
            chosen, rejected = self._answer_log_probs(model, inputs).sum(dim=1).chunk(2, dim=0)
        return chosen, rejected

    def _precompute_ref_logps(self, dataset: Dataset, name: str, batch_size: int) -> Dataset:
        self._choose_form()
        with self._reference_adapter():  # also matches the dtypes of the frozen copy
            pass
        key = [self._reference_key(dataset)]
        values = [reference_cache.load(key[0])] if self.accelerator.is_main_process else [None]
        broadcast_object_list(key, from_process=0)
        broadcast_object_list(values, from_process=0)
        kept = values[0]
        if kept is None or len(kept) != len(dataset):
            order = reference_cache.longest_first(dataset)
            self._precompute_model_hash = key[0]
            rows = super()._precompute_ref_logps(dataset.select(order), name, batch_size)
            kept = np.empty((len(dataset), 2), dtype=np.float32)
            kept[order] = np.stack([rows["ref_chosen_logps"], rows["ref_rejected_logps"]], axis=1)
            if self.accelerator.is_main_process:
                reference_cache.save(key[0], kept)
        else:
            logger.info("%s: log probabilities of the reference from an earlier run", name)
        dataset = dataset.add_column("ref_chosen_logps", kept[:, 0])
        return dataset.add_column("ref_rejected_logps", kept[:, 1])

    def _reference_key(self, dataset: Dataset) -> str:
        reference, adapter = self.ref_model or self.model, None
        if self.ref_model is None and is_peft_model(self.model):
            # `start` and `base` share all weights but the frozen copy of the adapter.
            adapter = self._frozen_adapter(self.model)
        weights = reference_cache.weights_identity(reference, adapter)
        return reference_cache.reference_key(dataset, weights, self.args.max_length)

    def _reference_logps(self, inputs: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        if self.precompute_ref_logps:
            return inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]
        return self.compute_ref_log_probs(self.ref_model or self.model, inputs)

    def _check_reference(
        self,
        model: Any,
        inputs: dict[str, Any],
        answers: torch.Tensor,
        reference: tuple[torch.Tensor, torch.Tensor],
    ) -> None:
        """Print the largest margin before the first step; with `start` it must be 0.

        Args:
            model: The policy.
            inputs: The first batch.
            answers: Log probabilities of its answers, chosen then rejected, shape (2 pairs,).
            reference: Those of the reference, each of shape (pairs,).
        """
        if not self.args.disable_dropout:
            with torch.no_grad():
                self.model.eval()
                answers = self._answer_log_probs(model, inputs).sum(dim=1)
                self.model.train()
        chosen, rejected = answers.detach().chunk(2, dim=0)
        delta = (chosen - reference[0]) - (rejected - reference[1])
        size = chosen.abs() + rejected.abs()
        self.step0_margin = self.args.beta * float(delta.abs().max())
        logger.info(
            "largest margin before the first step (reference: %s): %.4g",
            self.args.reference,
            self.step0_margin,
        )
        # Precomputed log probabilities come from other batches, hence other rounding.
        exact = self.model.dtype == torch.float32 and self.accelerator.mixed_precision == "no"
        tolerance = 1e-3 + (1e-4 if exact else 2e-3) * size
        if self.args.reference == "start" and bool((delta.abs() > tolerance).any()):
            raise ConfigError(
                f"reference is 'start', but the largest margin before the first step is "
                f"{self.step0_margin:.4g} where it must be 0: the reference is not the policy as "
                "it is now; pass the model as a path, or the right ref_model"
            )

    # Loss

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> Any:
        """Return this micro batch's share of the loss of the accumulated batch.

        `[sum over pairs of preference_loss] / pairs + nll_weight * nll_loss`, both divided by the
        counts of the whole accumulated batch, so 1 x 8 accumulation equals 8 x 1.
        """
        mode = "train" if self.model.training else "eval"
        token_logps = self._answer_log_probs(model, inputs)
        answers = token_logps.sum(dim=1)
        reference = self._reference_logps(inputs)
        if mode == "train" and self.step0_margin is None and self.state.global_step == 0:
            self._check_reference(model, inputs, answers, reference)
        chosen, rejected = answers.chunk(2, dim=0)
        ref_chosen, ref_rejected = reference
        chosen_mask, _ = inputs["answer_mask"].chunk(2, dim=0)
        # TRL counts the first answer token too when the answer starts the sequence; so do we.
        chosen_length, rejected_length = inputs["answer_lengths"].clamp(min=1).chunk(2, dim=0)
        chosen_ratio, rejected_ratio = chosen - ref_chosen, rejected - ref_rejected
        delta = chosen_ratio - rejected_ratio
        delta_per_token = chosen_ratio / chosen_length - rejected_ratio / rejected_length
        confidence = inputs["confidence"].to(delta.device)

        in_training = num_items_in_batch is not None
        counts = num_items_in_batch if num_items_in_batch is not None else batch_counts(inputs)
        n_pairs, n_tokens = counts.to(delta.device)
        loss_of = partial(
            preference_loss,
            self.args.preference_loss,
            delta_per_token=delta_per_token,
            confidence=confidence,
            beta=self.beta,
            noise_rate=self.noise_rate,
        )
        per_pair = loss_of(delta)
        chosen_token_logps, _ = token_logps.chunk(2, dim=0)
        nll = nll_loss(chosen_token_logps, chosen_mask, self.args.nll_reduction, n_pairs, n_tokens)
        loss = per_pair.sum() / n_pairs + self.args.nll_weight * nll
        if in_training:
            # Ranks are averaged after this, while the counts are of all ranks.
            loss = loss * self.accelerator.num_processes

        values = {
            "rewards/chosen": self.beta * chosen_ratio,
            "rewards/rejected": self.beta * rejected_ratio,
            "rewards/margins": self.beta * delta,
            "rewards/accuracies": (delta > 0).float(),
            "logps/chosen": chosen,
            "logps/rejected": rejected,
            "logps/chosen_drift": chosen_ratio,
            "loss/preference": per_pair,
            "loss/nll_per_token": -chosen / chosen_mask.sum(dim=1).clamp(min=1),
            "confidence": confidence,
        }
        if self.padded is not None:
            values["padding_share"] = 1 - inputs["attention_mask"].float().mean() + 0 * confidence
        pulls = None
        if mode == "train" and self._shares_matter:
            pulls = self._shares.pulls(loss_of, delta, confidence)
        self._measure(mode, values, pulls)
        return (loss, {"log_probs": token_logps}) if return_outputs else loss

    @torch.no_grad()
    def _measure(
        self, mode: str, values: dict[str, torch.Tensor], pulls: torch.Tensor | None
    ) -> None:
        """Average values per pair over all ranks in one exchange; the log waits for it, not we."""
        columns = torch.stack([value.float() for value in values.values()], dim=1)
        if pulls is not None:
            columns = torch.cat([columns, pulls.float()], dim=1)
        gather = self.accelerator.gather if mode == "train" else self.accelerator.gather_for_metrics
        everywhere = gather(columns)
        self._measured = tuple(values)
        self._unlogged[mode].append(everywhere[:, : len(values)].mean(dim=0))
        if pulls is not None:
            self._shares.add(everywhere[:, len(values) :])

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the averages, and the share of gradient by decile of confidence in training."""
        mode = "train" if self.model.training else "eval"
        if self._unlogged[mode]:
            means = torch.stack(self._unlogged[mode]).mean(dim=0).tolist()
            self._unlogged[mode].clear()
            for name, mean in zip(self._measured, means, strict=True):
                self._metrics[mode][name].append(mean)
        if mode == "train":
            logs.update(self._shares.flush())
        super().log(logs, start_time)

    # Saving

    def _save(
        self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None
    ) -> None:
        super()._save(output_dir, state_dict)
        if self.args.should_save:
            remove_local_paths(Path(output_dir or self.args.output_dir), self._base_model_name)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write nothing: the card is written at the end of the run, from what was done."""


def _confidence_of(dataset: Dataset) -> np.ndarray[Any, np.dtype[np.float64]]:
    if "confidence" not in dataset.column_names:
        return np.ones(max(len(dataset), 1))
    return np.asarray(list(dataset["confidence"]), dtype=np.float64)


def _noise_rate(args: PairDPOConfig, confidence: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """The one rate of `rdpo`: given, or what the confidences expect (and then below one half)."""
    if args.preference_loss != "rdpo":
        return 0.0
    rate = float(np.mean(1 - confidence)) if args.noise_rate is None else args.noise_rate
    if not rate < 0.5:
        raise DataError(
            "the confidences of the training pairs are all 0.5, so the estimated noise rate is 0.5 "
            "and rdpo is undefined there; set noise_rate, or use preference_loss: cdpo"
        )
    return rate
