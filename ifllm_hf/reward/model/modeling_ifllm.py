"""The reward model: text, behaviour on its tokens, and the trajectory, each of them optional.

Travels with a model: imports its siblings, torch and transformers alone.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel
from transformers.utils.generic import can_return_tuple

from .configuration_ifllm import IFLLMConfig
from .data_error import DataError
from .modeling_behavior_ifllm import (
    TokenBehavior,
    TrajectoryEncoder,
    TrajectoryJoin,
    drop_modalities,
)
from .modeling_checks_ifllm import check_inputs, refuse_misfit, refuse_unread
from .modeling_evidence_ifllm import EvidenceHead
from .modeling_outputs_ifllm import IFLLMModelOutput, IFLLMRewardOutput, pair_loss
from .modeling_placement_ifllm import parts_in_float32
from .modeling_shared_ifllm import IFLLMPreTrainedModel, keep_four_bits_unpacked
from .padding import left_aligned, put_back

_HEADS = (r"^score\.", r"^likert\.")


class IFLLMModel(IFLLMPreTrainedModel):
    """Text backbone, token behaviour, trajectory and evidence; no score."""

    _keys_to_ignore_on_load_unexpected = list(_HEADS)

    def __init__(self, config: IFLLMConfig, text: Any = None) -> None:
        """Build with random weights, or around a text backbone; behaviour starts shut out."""
        config.check_labels()  # they can be set on a config that is there already
        super().__init__(config)
        self.text: Any = None
        self.no_text: Any = None
        self.token_path: Any = None
        self.trajectory_path: Any = None
        self.join: Any = None
        self.evidence = EvidenceHead() if config.evidence_head else None
        self.hidden_size = config.trajectory_hidden_size
        if config.use_text:
            self.text = AutoModel.from_config(config.text_config) if text is None else text
            for module in text.modules() if text is not None else ():
                module._is_hf_initialized = True  # or post_init would draw its weights anew
            if getattr(self.text, "pooler", None) is not None:
                self.text.pooler = None  # not used, and weights without a gradient stall DDP
            self.hidden_size = self.text.get_input_embeddings().weight.shape[1]
            self.no_text = nn.Parameter(torch.zeros(self.hidden_size))
        if config.use_token_behavior:
            self.token_path = TokenBehavior(config, self.hidden_size)
        if config.use_trajectory:
            self.trajectory_path = TrajectoryEncoder(config)
            self.join = TrajectoryJoin(config, self.hidden_size)
        self.has_states = bool(config.use_text or config.use_trajectory)
        self._keep_in_fp32_modules = parts_in_float32(self)
        self.post_init()

    def get_input_embeddings(self) -> Any:
        """Return the token embeddings of the backbone."""
        return self.text.get_input_embeddings() if self.text is not None else None

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the token embeddings of the backbone."""
        self.text.set_input_embeddings(value)

    @can_return_tuple  # type: ignore[misc, untyped-decorator, unused-ignore]
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_behavior: Tensor | None = None,
        token_behavior_mask: Tensor | None = None,
        trajectory: Tensor | None = None,
        trajectory_observed: Tensor | None = None,
        trajectory_time_ms: Tensor | None = None,
        trajectory_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        text_vector: Tensor | None = None,
        context: Tensor | None = None,
        trajectory_history: Tensor | None = None,
        pairs: int = 0,
        inputs_embeds: Tensor | None = None,
        position_ids: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        **kwargs: Any,
    ) -> IFLLMModelOutput:
        """Read one answer per row.

        A row without text has an `attention_mask` of zeros; one without behaviour has masks of
        zeros. Inputs of a path that the config turns off are ignored.

        Args:
            input_ids: `[batch, tokens]`.
            attention_mask: `[batch, tokens]`, 1 where a token is; padding may lie anywhere.
            token_behavior: `[batch, tokens, token_channels]`.
            token_behavior_mask: The same shape, bool: what was observed. Default: everything.
            trajectory: `[batch, time, channels]`.
            trajectory_observed: The same shape, bool. Default: everything.
            trajectory_time_ms: `[batch, time]`, since the first tick of reading; never decreasing.
            trajectory_mask: `[batch, time]` bool, 1 where a tick is. Default: everywhere.
            token_type_ids: `[batch, tokens]`, for backbones that take them.
            text_vector: `[batch, hidden]` of `pool_text`, instead of tokens: what a backbone that
                stays as it is would say of them.
            context: `[batch, 5]` characters of the answer, of all answers and of the question,
                number of the turn in its conversation, and number of answers; 0 unknown.
            trajectory_history: `[batch, 9]` where the end of reading rested in the reader's earlier
                turns, from the processor. Default: nothing is known of the reader.
            pairs: In training, rows i and `pairs` + i are one pair and lose the same modalities.
            inputs_embeds: `[batch, tokens, hidden]`, instead of `input_ids`: embedded tokens.
            position_ids: `[batch, tokens]`; must be the positions that are counted here anyway.
            output_hidden_states: Return those of the text; default as in the config.
            output_attentions: The same for its attentions; needs `attn_implementation="eager"`.
            kwargs: `return_dict` and `use_cache`; others are refused.

        Raises:
            DataError: An input has the wrong shape, is not finite, or runs backwards, or is none of
                this model's; the message names the row and the field.
        """
        refuse_unread(kwargs)
        inputs = check_inputs(
            self.config,
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_behavior=token_behavior,
            token_behavior_mask=token_behavior_mask,
            trajectory=trajectory,
            trajectory_observed=trajectory_observed,
            trajectory_time_ms=trajectory_time_ms,
            trajectory_mask=trajectory_mask,
            text_vector=text_vector,
            context=context,
            trajectory_history=trajectory_history,
            inputs_embeds=inputs_embeds,
            position_ids=position_ids,
        )
        evidence = None
        if self.evidence is not None:  # before anything is dropped: it is not trained here
            evidence = self.evidence(inputs, self.config.channels).parts
        rows = next(iter(inputs.values())).shape[0]
        inputs = self._of_the_paths(inputs)
        if self.training and self.config.modality_dropout and inputs:
            inputs = drop_modalities(inputs, self.config.modality_dropout, pairs)
        pooled, read = None, IFLLMModelOutput()
        if self.text is not None:
            if "text_vector" in inputs:
                vector = inputs["text_vector"]
                pooled = torch.where(inputs["text_mask"], vector, self.no_text.to(vector.device))
            elif "attention_mask" in inputs:
                wanted = self._wanted(output_hidden_states, output_attentions)
                pooled, read = self._read_text(inputs, token_type_ids, wanted)
            else:
                pooled = self.no_text.expand(rows, -1)
        if "trajectory" in inputs:
            behavior, valid = self.trajectory_path(
                inputs["trajectory"],
                inputs["trajectory_observed"],
                inputs["trajectory_time_ms"],
                inputs["trajectory_mask"],
            )
            answer = self.join(pooled, behavior, valid)
            pooled = answer if pooled is None else pooled.to(answer) + answer
        read.pooler_output, read.evidence = pooled, evidence
        return read

    def pool_text(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> Tensor:
        """Return the text alone, pooled, `[batch, hidden]`: a `text_vector` to keep."""
        inputs = check_inputs(self.config, input_ids=input_ids, attention_mask=attention_mask)
        return self._read_text(inputs, token_type_ids, {})[0]

    def _of_the_paths(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the inputs without those that the evidence head alone reads."""
        unread = "trajectory" if self.trajectory_path is None else "trajectory_history"
        return {n: v for n, v in inputs.items() if n != "context" and not n.startswith(unread)}

    def _wanted(self, hidden_states: bool | None, attentions: bool | None) -> dict[str, bool]:
        """Return what the text is to give beside its last states."""
        given = {"output_hidden_states": hidden_states, "output_attentions": attentions}
        default = {name: getattr(self.config, name, None) or None for name in given}
        wanted = {n: default[n] if value is None else value for n, value in given.items()}
        if wanted["output_attentions"] and self.text.config._attn_implementation != "eager":
            raise DataError(
                "output_attentions: only attn_implementation='eager' knows them, and the text has "
                f"{self.text.config._attn_implementation!r}"
            )
        return {name: value for name, value in wanted.items() if value is not None}

    def _read_text(
        self, inputs: dict[str, Tensor], token_type_ids: Tensor | None, wanted: dict[str, bool]
    ) -> tuple[Tensor, IFLLMModelOutput]:
        """Return the text pooled, and its states in the places where the tokens were given."""
        given = inputs["attention_mask"]
        if "inputs_embeds" in inputs:
            order, mask, embedded = left_aligned(given, inputs["inputs_embeds"])
        else:
            order, mask, ids = left_aligned(given, inputs["input_ids"])
            embedded = self.get_input_embeddings()(ids)
        if "token_behavior" in inputs:
            _, _, values, observed = left_aligned(
                given, inputs["token_behavior"], inputs["token_behavior_mask"]
            )
            embedded = embedded + self.token_path(values, observed & mask.unsqueeze(-1)).to(
                embedded
            )
        accepted = inspect.signature(self.text.forward).parameters
        extra: dict[str, Any] = {"use_cache": False} if "use_cache" in accepted else {}
        if token_type_ids is not None and "token_type_ids" in accepted:
            extra["token_type_ids"] = token_type_ids.gather(1, order)
        # A row without text still attends to something; what comes of it is not used.
        attended = mask.clone()
        attended[:, 0] = True
        read = self.text(
            inputs_embeds=embedded,
            attention_mask=attended.to(embedded.device, torch.long),
            return_dict=True,
            **extra,
            **wanted,
        )
        states = read.last_hidden_state
        mask, back = mask.to(states.device), order.argsort(dim=1).to(states.device)
        if self.config.pooling == "last":
            last = (mask.sum(1) - 1).clamp(min=0)
            pooled = states[torch.arange(states.shape[0], device=states.device), last]
        else:
            weight = mask.to(states.dtype).unsqueeze(-1)
            pooled = (states * weight).sum(1) / weight.sum(1).clamp(min=1)
        pooled = torch.where(mask.any(1, keepdim=True), pooled, self.no_text.to(pooled))
        layers = (getattr(read, name, None) for name in ("hidden_states", "attentions"))
        hidden_states, attentions = (
            given if given is None else tuple(put_back(back, part) for part in given)
            for given in layers
        )
        return pooled, IFLLMModelOutput(
            last_hidden_state=put_back(back, states),
            hidden_states=hidden_states,
            attentions=attentions,
        )


class IFLLMForRewardModeling(IFLLMPreTrainedModel):
    """The score of an answer, and in training what it costs to get a preference wrong."""

    # The loss is a mean over this batch; the trainer divides by accumulation steps itself.
    accepts_loss_kwargs = False

    def __init__(self, config: IFLLMConfig, text: Any = None) -> None:
        """Build with random weights, or around a text backbone."""
        super().__init__(config)
        self.model = IFLLMModel(config, text)
        self.dropout = nn.Dropout(config.score_dropout)
        states = self.model.hidden_size if self.model.has_states else 0
        self.score = nn.Linear(states, 1, bias=False) if states else None
        self.likert = nn.Linear(states, 1) if config.likert_head else None
        heads = ["score", "likert"] if config.likert_head else ["score"]
        self._keep_in_fp32_modules = parts_in_float32(self.model, "model.", heads)
        self.post_init()
        if config.evidence_head and self.score is not None:
            nn.init.zeros_(self.score.weight)  # what is learned starts on top of the head

    @classmethod
    def from_text_backbone(
        cls, name_or_path: str, *, text_kwargs: dict[str, Any] | None = None, **settings: Any
    ) -> IFLLMForRewardModeling:
        """Start from a pretrained text model: a fresh reward model that equals it.

        Args:
            name_or_path: Whatever `AutoModel.from_pretrained` takes.
            text_kwargs: Passed to it (`dtype`, `attn_implementation`, `quantization_config`).
            settings: Of `IFLLMConfig`.

        Raises:
            DataError: The checkpoint does not fill the backbone.
        """
        text, info = AutoModel.from_pretrained(
            name_or_path, output_loading_info=True, **(text_kwargs or {})
        )
        # A head of the pre-training may be left over; a pooler is not used.
        info = {
            **info,
            "unexpected_keys": [],
            "missing_keys": [key for key in info["missing_keys"] if not key.startswith("pooler.")],
        }
        refuse_misfit(type(text).__name__, info)
        keep_four_bits_unpacked(text)
        # A config without one would take the backbone's attention, and with it its masks, away.
        attention = text.config._attn_implementation
        config = IFLLMConfig(text_config=text.config, attn_implementation=attention, **settings)
        return cls(config, text)

    @property
    def behavior_modules(self) -> list[str]:
        """Full names of the new modules: what an adapter (`modules_to_save`) must train whole."""
        names = ["model.token_path", "model.trajectory_path", "model.join", "score", "likert"]
        present = dict(self.named_modules())
        return [name for name in names if present.get(name) is not None]

    @can_return_tuple  # type: ignore[misc, untyped-decorator, unused-ignore]
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_behavior: Tensor | None = None,
        token_behavior_mask: Tensor | None = None,
        trajectory: Tensor | None = None,
        trajectory_observed: Tensor | None = None,
        trajectory_time_ms: Tensor | None = None,
        trajectory_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        text_vector: Tensor | None = None,
        context: Tensor | None = None,
        trajectory_history: Tensor | None = None,
        confidence: Tensor | None = None,
        margin: Tensor | None = None,
        likert: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        position_ids: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        **kwargs: Any,
    ) -> IFLLMRewardOutput:
        """Score answers; see `IFLLMModel.forward` for the inputs.

        Rows of a batch with targets: first the B preferred answers, then the B others in the same
        order, then any number of single answers.

        Args:
            input_ids: See `IFLLMModel.forward`, as all that is not explained here.
            attention_mask: See there.
            token_behavior: See there.
            token_behavior_mask: See there.
            trajectory: See there.
            trajectory_observed: See there.
            trajectory_time_ms: See there.
            trajectory_mask: See there.
            token_type_ids: See there.
            text_vector: See there.
            context: See there.
            trajectory_history: See there.
            confidence: `[B]` in [0, 1], probability that the first answer of a pair is preferred.
            margin: `[B]`, how much better it must score. Not used without `confidence`: trainers
                that make the loss themselves pass it all the same.
            likert: `[rows]` ratings, NaN where there is none; needs `likert_head`.
            inputs_embeds: See there.
            position_ids: See there.
            output_hidden_states: See there.
            output_attentions: See there.
            kwargs: `return_dict` and `use_cache`; others are refused.

        Returns:
            The scores, and the loss: for pairs `pair_loss`, for ratings the mean squared error
            times `likert_weight`; their sum where both are given.
        """
        refuse_unread(kwargs)
        if likert is not None and self.likert is None:
            raise DataError("likert is given, and this model has no likert_head to learn it")
        pairs = 0 if confidence is None else confidence.shape[0]
        read = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_behavior=token_behavior,
            token_behavior_mask=token_behavior_mask,
            trajectory=trajectory,
            trajectory_observed=trajectory_observed,
            trajectory_time_ms=trajectory_time_ms,
            trajectory_mask=trajectory_mask,
            token_type_ids=token_type_ids,
            text_vector=text_vector,
            context=context,
            trajectory_history=trajectory_history,
            pairs=pairs,
            inputs_embeds=inputs_embeds,
            position_ids=position_ids,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=True,
        )
        logits, ratings = self._heads(read)
        loss = None
        if confidence is not None and pairs:
            if 2 * pairs > logits.shape[0]:
                raise DataError(
                    f"confidence has {pairs} values and the batch {len(logits)} rows; expected "
                    "both answers of every pair"
                )
            loss = pair_loss(logits[:pairs, 0], logits[pairs : 2 * pairs, 0], confidence, margin)
        if likert is not None and ratings is not None:
            likert = likert.to(ratings.device)
            known = ~torch.isnan(likert)
            error = (ratings[:, 0] - likert.nan_to_num()).square() * known
            rating_loss = self.config.likert_weight * error.sum() / known.sum().clamp(min=1)
            loss = rating_loss if loss is None else loss + rating_loss
        return IFLLMRewardOutput(
            loss=loss,
            logits=logits,
            likert_logits=ratings,
            evidence=read.evidence,
            hidden_states=read.hidden_states,
            attentions=read.attentions,
        )

    def _heads(self, read: IFLLMModelOutput) -> tuple[Tensor, Tensor | None]:
        """Return scores `[batch, 1]` and, with that head, ratings."""
        evidence = 0.0 if read.evidence is None else read.evidence.sum(1, keepdim=True)
        if self.score is None or read.pooler_output is None:
            assert isinstance(evidence, Tensor)  # else there was nothing to read
            return evidence, None
        pooled = self.dropout(read.pooler_output.to(self.score.weight.dtype))
        logits = self.score(pooled).float()
        ratings = self.likert(pooled).float() if self.likert is not None else None
        return logits + torch.as_tensor(evidence, device=logits.device), ratings


IFLLMModel.register_for_auto_class("AutoModel")
IFLLMForRewardModeling.register_for_auto_class("AutoModelForSequenceClassification")
