"""TRL's `DPOTrainer` without padding, and with a reference that is the one that was named.

`PairDPOTrainer` in `dpo` adds the loss; see there for all that is overridden.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast_object_list, gather_object, is_peft_model
from datasets import Dataset
from torch.utils.data import DataLoader
from trl import DPOTrainer
from trl.models.utils import disable_gradient_checkpointing, prepare_deepspeed
from trl.trainer.utils import add_fused_lm_head, use_adapter

from ifllm_hf.alignment.dpo import reference_cache
from ifllm_hf.alignment.dpo.reference_cache import LogProbs
from ifllm_hf.alignment.dpo.reference_ranks import (
    ReferenceRanks,
    Rows,
    parse_rank,
    parts_of,
    reference_folder,
)
from ifllm_hf.alignment.pairs import unpadded
from ifllm_hf.alignment.pairs.attention import IN_GROUPS, attention_for
from ifllm_hf.alignment.pairs.head import add_answer_head, answer_sums
from ifllm_hf.alignment.policy.adapter_precision import AdapterPrecision
from ifllm_hf.errors import ConfigError
from ifllm_hf.files import digest
from ifllm_hf.progress import progress_bar
from ifllm_hf.training.run_record import versions

logger = logging.getLogger(__name__)


class NamedReferenceTrainer(AdapterPrecision, DPOTrainer):  # type: ignore[misc, unused-ignore]
    """How answers are scored by the policy and by its reference.

    Attributes:
        step0_margin: Largest absolute scaled margin of the first batch before the first step.
        padded: Why batches are padded, or None when they are not.
    """

    _precompute_engine: Any
    step0_margin: float | None = None
    padded: str | None = None
    _form_chosen = False
    _kept_reference = ""

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
            self.padded = next(filter(None, map(unpadded.reason_to_pad, models)), None)
        self.data_collator.padded = self.padded is not None
        if self.padded is None:
            half = {"bf16": torch.bfloat16, "fp16": torch.float16}
            device, mixed = self.accelerator.device, self.accelerator.mixed_precision
            forms = {attention_for(m, device, half.get(mixed, m.dtype)) for m in models}
            form = forms.pop() if len(forms) == 1 else IN_GROUPS
            self.data_collator.variable = form != IN_GROUPS
            if device.type == "cpu":
                self.data_collator.most_groups = unpadded.MOST_GROUPS_ON_CPU
            for model in models:
                model.set_attn_implementation(form)
        else:
            logger.info("batches are padded: %s", self.padded)
        # TRL's head also returns entropy, mean logits and accuracy, each a pass over all logits.
        add_fused_lm_head(policy)
        for model in models:
            add_answer_head(model)

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
            answers = answer_sums(self._answer_log_probs(model, inputs))
        chosen, rejected = answers.chunk(2, dim=0)
        return chosen, rejected

    def _precompute_ref_logps(self, dataset: Dataset, name: str, batch_size: int) -> Dataset:
        self._choose_form()
        identity, key = self._reference_key(dataset)
        kept = self._on_main(lambda: reference_cache.load(key))
        if kept is not None and len(kept) != len(dataset):
            kept = None
        ranks = self._ranks(name, batch_size, identity, key)
        if self.args.reference_rank is not None:
            self._compute_rank(dataset, name, batch_size, ranks, kept)
            return dataset
        if kept is None:
            kept = self._computed(dataset, name, batch_size, ranks)
            if self.accelerator.is_main_process:
                reference_cache.save(key, kept)
        else:
            file = reference_cache.file_of(key)
            if name == "train":
                self._kept_reference = f", or remove {file}, where an earlier run kept it"
            logger.info(
                "%s: log probabilities of the reference from an earlier run: %s", name, file
            )
        dataset = dataset.add_column("ref_chosen_logps", kept[:, 0])
        return dataset.add_column("ref_rejected_logps", kept[:, 1])

    def _computed(
        self, dataset: Dataset, name: str, batch_size: int, ranks: ReferenceRanks
    ) -> LogProbs:
        """Return the values of all rows, shape (pairs, 2): of ranks that are whole, as they are."""
        number = self._on_main(ranks.number) or 1
        parts = parts_of(reference_cache.row_lengths(dataset), batch_size, number)
        kept = np.empty((len(dataset), 2))
        for rank, rows in enumerate(parts):
            values = self._on_main(partial(ranks.read, rank))
            if values is None and number > 1:
                logger.info("%s: rank %d of %d of the reference is computed", name, rank, number)
            kept[rows] = self._values(dataset, rows, name, batch_size) if values is None else values
        if number > 1:
            logger.info("%s: the reference is put together from %s", name, ranks.folder)
            if name == "train":
                file = reference_cache.file_of(ranks.made_of["pairs"])
                self._kept_reference = f", or remove {file}, which ranks have made"
        return kept

    def _compute_rank(
        self,
        dataset: Dataset,
        name: str,
        batch_size: int,
        ranks: ReferenceRanks,
        kept: LogProbs | None,
    ) -> None:
        """Keep the rank that the settings name: it is there, all values are, or it is computed."""
        rank, number = parse_rank(self.args.reference_rank)
        self._on_main(partial(ranks.check, number))
        if self._on_main(partial(ranks.read, rank)) is not None:
            logger.info("%s: rank %d of %d is there", name, rank, number)
            return
        rows = parts_of(reference_cache.row_lengths(dataset), batch_size, number)[rank]
        values = self._values(dataset, rows, name, batch_size) if kept is None else kept[rows]
        self._on_main(partial(ranks.write, rank, number, values))
        left = ", ".join(map(str, self._on_main(partial(ranks.left, number)))) or "none"
        logger.info("%s: rank %d of %d is done; left: %s", name, rank, number, left)

    def _values(self, dataset: Dataset, rows: Rows, name: str, batch_size: int) -> LogProbs:
        """Compute the values of some rows, shape (rows, 2), in their order.

        As TRL does, but for the file: TRL hands the values to other processes through a cache of
        `datasets`, which of pairs in memory is a folder that each process has to itself.
        """
        if not len(rows):
            return np.empty((0, 2))
        loader = DataLoader(
            dataset.select(rows),
            batch_size=batch_size,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )
        model = self.ref_model or self.model
        if self.ref_model is None and self.is_deepspeed_enabled:
            # It places and gathers the weights, once for training and held-out pairs.
            if self._precompute_engine is None:
                self._precompute_engine = prepare_deepspeed(self.model, self.accelerator)
            model = self._precompute_engine
        found = []
        title, shown = f"reference of {name} pairs", self._shows_progress()
        with progress_bar(len(rows), title, shown, unit="pair") as bar:
            for batch in self.accelerator.prepare(loader):
                sides = torch.stack(self.compute_ref_log_probs(model, batch), dim=1)
                found.append(self.accelerator.gather_for_metrics(sides).cpu())
                bar.update(len(found[-1]))
        values: LogProbs = torch.cat(found).numpy().astype(np.float64)
        return values

    def _shows_progress(self) -> bool:
        return self.accelerator.is_main_process and not self.args.disable_tqdm

    def _on_main(self, read: Callable[[], Any]) -> Any:
        """Return to all processes what the first one finds."""
        found = [read()] if self.accelerator.is_main_process else [None]
        broadcast_object_list(found, from_process=0)
        return found[0]

    def _ranks(self, name: str, batch_size: int, identity: str, key: str) -> ReferenceRanks:
        # Of two references the first difference is named; `pairs` differs with most others.
        made_of = {
            **versions(),
            "device": self.accelerator.device.type,
            "padding": self.padded or f"none (variable length: {self.data_collator.variable})",
            "batch size": batch_size,
            "max_length": self.args.max_length,
            "model": digest(identity, 16),
            "pairs": key,
        }
        return ReferenceRanks(reference_folder(self.args.output_dir) / name, made_of)

    def _reference_key(self, dataset: Dataset) -> tuple[str, str]:
        """Return what names the reference, and what names its values of these pairs."""
        reference, adapter = self.ref_model or self.model, None
        if self.ref_model is None and is_peft_model(self.model):
            # `start` and `base` share all weights but the frozen copy of the adapter.
            adapter = self._frozen_adapter(self.model)
        mine = reference_cache.reference_identity(reference, adapter)
        identity = reference_cache.identity_of_all(gather_object([mine]))
        # Autocast rounds: the same weights are another function in it.
        identity += f" {self.accelerator.mixed_precision}"
        key: str = self._on_main(
            lambda: reference_cache.reference_key(dataset, identity, self.args.max_length)
        )
        return identity, key

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
                answers = answer_sums(self._answer_log_probs(model, inputs))
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
                f"it is now; pass the model as a path, or the right ref_model{self._kept_reference}"
            )
