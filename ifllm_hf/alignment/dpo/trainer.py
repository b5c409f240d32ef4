"""The DPO trainer with a confidence per pair: a small subclass of TRL's `DPOTrainer`.

TRL 1.16 has no hook for a value per pair, so these parts are overridden. A test compares them with
TRL on the same batch and fails when the signatures move; the run refuses another minor version.

* collator and `_set_signature_columns_if_needed`: carry the column `confidence` into the batch, and
  lay the pairs out without padding (`unpadded`);
* `_prepare_dataset`: count what TRL drops because the prompt fills `max_length`, and cut answers;
  leave out pairs that are equal up to there;
* `_get_train_sampler`: batches of about equal tokens for several processes (`balance`);
* `_get_num_items_in_batch`: pairs and chosen tokens of the whole accumulated batch, on all ranks;
* `compute_ref_log_probs`, `_precompute_ref_logps`: the reference is the one that was named, and its
  log probabilities are kept from run to run (`reference_cache`);
* `compute_loss`: the per-pair losses of `losses`; replaces TRL's `_compute_loss`;
* `log`: gradient share by confidence. `WithoutLocalPaths`: no local path in what is saved.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import numpy as np
import torch
from accelerate.utils import is_peft_model
from datasets import Dataset
from transformers import PreTrainedModel

from ifllm_hf.alignment.dpo.arguments import (
    load_by_path,
    pair_settings,
    refuse_router_loss,
    refuse_unused,
    tokenizer_of,
    whole_dataset,
)
from ifllm_hf.alignment.dpo.config import PairDPOConfig
from ifllm_hf.alignment.dpo.gradient_share import GradientShare
from ifllm_hf.alignment.dpo.losses import nll_loss, preference_loss
from ifllm_hf.alignment.dpo.named_reference import NamedReferenceTrainer
from ifllm_hf.alignment.dpo.reference_cache import row_lengths
from ifllm_hf.alignment.pairs.balance import BalancedSampler
from ifllm_hf.alignment.pairs.collator import PairCollator, batch_counts
from ifllm_hf.alignment.pairs.head import answer_sums
from ifllm_hf.alignment.policy.trl_version import check_trl
from ifllm_hf.errors import ConfigError, DataError
from ifllm_hf.training.local_paths import WithoutLocalPaths

USES_CONFIDENCE = ("cdpo", "rdpo_paper")


class PairDPOTrainer(WithoutLocalPaths, NamedReferenceTrainer):
    """DPO with a confidence per pair, NLL on the chosen answer, and a reference that is named.

    Args:
        model: The policy: a path (loaded with `args.model_init_kwargs`, in float32 by default), a
            model, or a `PeftModel` with the adapter of an earlier stage. A model without adapter is
            copied as it is now when `args.reference` is `start`; TRL would reload the weights from
            the name in its config, whatever became of them since.
        ref_model: The reference, when it is neither the policy at its start nor its base.
        args: Settings; those of `PairDPOConfig` by default, and then the output goes where TRL's
            would.
        data_collator: None: this trainer has its own.
        train_dataset: Columns `prompt`, `chosen`, `rejected` and maybe `confidence` in [0.5, 1].
        eval_dataset: The same, held out.
        processing_class: The tokenizer; by default that of the model.
        compute_metrics: None: evaluation makes no logits.
        **kwargs: `base_model_name` for what is saved; others are passed to TRL (`peft_config`,
            `quantization_config`, `callbacks`, `optimizers`).

    Attributes:
        step0_margin: Largest absolute scaled margin of the first batch before the first step.
        too_long: Rows per dataset (`train`, `eval`) left out: the prompt fills max_length.
        equal: Rows per dataset left out: the answers are the same up to max_length.
        cut: Rows per dataset whose longer answer is cut at max_length.
        padded: Why batches are padded, or None when they are not.
        gradient_mass: Sum of |d loss / d margin| by decile of confidence over the run, shape (10,).
    """

    # The loss below is already divided by the counts of the whole accumulated batch.
    loss_is_scaled_for_ga = True
    precompute_ref_logps: bool
    train_dataset: Dataset
    eval_dataset: Dataset | None

    def __init__(
        self,
        model: Any,
        ref_model: PreTrainedModel | None = None,
        args: PairDPOConfig | None = None,
        data_collator: Any = None,
        train_dataset: Dataset | None = None,
        eval_dataset: Dataset | None = None,
        processing_class: Any = None,
        compute_metrics: Any = None,
        **kwargs: Any,
    ) -> None:
        """Set the trainer up; see the class for the arguments.

        Raises:
            ConfigError: An argument that this trainer does not use, or cannot.
            DataError: A dataset that is none.
        """
        check_trl()
        refuse_unused(data_collator=data_collator, compute_metrics=compute_metrics)
        args = pair_settings(args, model)
        train_dataset = whole_dataset("train_dataset", train_dataset)
        if eval_dataset is not None:
            eval_dataset = whole_dataset("eval_dataset", eval_dataset)
        processing_class = tokenizer_of(processing_class, model, args)
        if isinstance(model, str):
            model = load_by_path(model, args, kwargs.pop("quantization_config", None))
        refuse_router_loss(model, args)
        if isinstance(ref_model, str):
            raise ConfigError(f"ref_model is {ref_model!r}; expected a model: load it first")
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
        self.noise_rate = _noise_rate(args, confidence)
        self._shares = GradientShare(confidence)
        self._shares_matter = args.preference_loss in USES_CONFIDENCE and np.ptp(confidence) > 0
        self._unlogged: dict[str, list[torch.Tensor]] = {"train": [], "eval": []}
        self._measured: tuple[str, ...] = ()
        self.too_long: dict[str, int] = {}
        self.equal: dict[str, int] = {}
        self.cut: dict[str, int] = {}
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
        differ = _rows_that_differ(prepared, args.max_length)
        self.equal[dataset_name] = len(prepared) - len(differ)
        if not differ:
            raise DataError(
                f"{dataset_name} pairs: chosen and rejected of all {len(prepared)} are the same up "
                f"to max_length {args.max_length}; raise max_length"
            )
        if len(differ) < len(prepared):
            prepared = prepared.select(differ)
        limit = args.max_length or float("inf")
        self.cut[dataset_name] = int((row_lengths(prepared) > limit).sum())
        return prepared

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Any:
        processes = self.accelerator.num_processes
        if (
            processes == 1
            or self.padded is not None
            or self.accelerator.split_batches
            or self.args.train_sampling_strategy != "random"
        ):
            return super()._get_train_sampler(train_dataset)
        dataset = self.train_dataset if train_dataset is None else train_dataset
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        tokens = _tokens_read(dataset, self.args.max_length)
        return BalancedSampler(tokens, self.args.train_batch_size, processes, seed)

    def _get_num_items_in_batch(
        self, batch_samples: list[dict[str, Any]], device: torch.device
    ) -> torch.Tensor | None:
        """Count pairs and chosen tokens of the accumulated batch on all ranks; shape (2,)."""
        if not batch_samples:
            return None
        counts = torch.stack([batch_counts(b) for b in batch_samples]).sum(dim=0).to(device)
        total: torch.Tensor = self.accelerator.reduce(counts, reduction="sum")
        return total

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
        answers = answer_sums(token_logps)
        reference = self._reference_logps(inputs)
        if mode == "train" and self.step0_margin is None and self.state.global_step == 0:
            self._check_reference(model, inputs, answers, reference)
        chosen, rejected = answers.chunk(2, dim=0)
        ref_chosen, ref_rejected = reference
        chosen_mask, _ = inputs["answer_mask"].chunk(2, dim=0)
        # TRL counts the first answer token too when the answer starts the sequence; so do we.
        chosen_length, rejected_length = inputs["answer_lengths"].clamp(min=1).chunk(2, dim=0)
        chosen_ratio, rejected_ratio = chosen - ref_chosen, rejected - ref_rejected
        delta = (chosen_ratio - rejected_ratio).float()
        per_token = chosen_ratio / chosen_length - rejected_ratio / rejected_length
        confidence = inputs["confidence"].to(delta.device)

        in_training = num_items_in_batch is not None
        counts = num_items_in_batch if num_items_in_batch is not None else batch_counts(inputs)
        n_pairs, n_tokens = counts.to(delta.device)
        loss_of = partial(
            preference_loss,
            self.args.preference_loss,
            delta_per_token=per_token.float(),
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
        """Gather values per pair of all ranks in one exchange; the log waits for it, not we."""
        columns = torch.stack([value.float() for value in values.values()], dim=1)
        if pulls is not None:
            columns = torch.cat([columns, pulls.float()], dim=1)
        gather = self.accelerator.gather if mode == "train" else self.accelerator.gather_for_metrics
        everywhere = gather(columns)
        self._measured = tuple(values)
        self._unlogged[mode].append(everywhere[:, : len(values)])
        if pulls is not None:
            self._shares.add(everywhere[:, len(values) :])

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the averages, and the share of gradient by decile of confidence in training."""
        mode = "train" if self.model.training else "eval"
        if self._unlogged[mode]:
            means = torch.cat(self._unlogged[mode]).mean(dim=0).tolist()  # over pairs
            self._unlogged[mode].clear()
            for name, mean in zip(self._measured, means, strict=True):
                self._metrics[mode][name].append(mean)
        if mode == "train":
            logs.update(self._shares.flush())
        super().log(logs, start_time)


def _rows_that_differ(prepared: Dataset, max_length: int | None) -> list[int]:
    """Return the rows whose answers are still two answers where they are cut."""
    differ = []
    for i, row in enumerate(prepared.select_columns(["prompt_ids", "chosen_ids", "rejected_ids"])):
        room = None if max_length is None else max_length - len(row["prompt_ids"])
        if row["chosen_ids"][:room] != row["rejected_ids"][:room]:
            differ.append(i)
    return differ


def _tokens_read(prepared: Dataset, max_length: int | None) -> list[int]:
    """Return the tokens of each pair as `unpadded` lays it out."""
    tokens = []
    for row in prepared.select_columns(["prompt_ids", "chosen_ids", "rejected_ids"]):
        prompt = len(row["prompt_ids"])
        room = None if max_length is None else max_length - prompt
        answers = (len(row[side][:room]) for side in ("chosen_ids", "rejected_ids"))
        tokens.append(max(prompt - 1, 0) + sum(answers))
    return tokens


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
