"""The reward model: text, behaviour on its tokens, and the trajectory, each of them optional.

Travels with a model: imports its siblings, torch and transformers alone.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel
from transformers import initialization as init

from .configuration_ifllm import IFLLMConfig
from .data_error import DataError
from .modeling_behavior_ifllm import (
    TokenBehavior,
    TrajectoryEncoder,
    TrajectoryJoin,
    left_aligned,
)
from .modeling_checks_ifllm import check_inputs, refuse_misfit
from .modeling_outputs_ifllm import IFLLMModelOutput, IFLLMRewardOutput, pair_loss

_HEADS = (r"^score\.", r"^likert\.")


class IFLLMPreTrainedModel(PreTrainedModel):  # type: ignore[misc, unused-ignore]
    """What both models share: initial weights, and loading that never drops one in silence."""

    config: IFLLMConfig
    config_class = IFLLMConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _no_split_modules = ["TrajectoryLayer"]
    # Small and new: not worth quantising, and trained beside a quantised backbone.
    _keep_in_fp32_modules = [".*token_path", ".*trajectory_path", ".*join", "score", "likert"]

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, TokenBehavior | TrajectoryEncoder | TrajectoryJoin):
            for part in module.modules():
                # These are narrow; the usual 0.02 would all but silence them.
                if isinstance(part, nn.Linear):
                    init.xavier_uniform_(part.weight)
            if getattr(module, "gate", None) is not None:
                init.zeros_(module.gate)
            for name in ("start", "query"):
                if getattr(module, name, None) is not None:
                    init.normal_(getattr(module, name), std=0.5)
        if isinstance(module, IFLLMModel) and module.no_text is not None:
            init.zeros_(module.no_text)

    @classmethod
    def from_pretrained(cls, *args: Any, output_loading_info: bool = False, **kwargs: Any) -> Any:
        """Load weights, all of them: see `PreTrainedModel.from_pretrained`.

        Raises:
            DataError: Weights are missing, left over or of another shape. (transformers would
                warn and go on with random ones.)
        """
        model, info = super().from_pretrained(*args, output_loading_info=True, **kwargs)
        refuse_misfit(cls.__name__, info)
        return (model, info) if output_loading_info else model


class IFLLMModel(IFLLMPreTrainedModel):
    """Text backbone, token behaviour and trajectory; no head."""

    _keys_to_ignore_on_load_unexpected = list(_HEADS)

    def __init__(self, config: IFLLMConfig, text: Any = None) -> None:
        """Build with random weights, or around a text backbone; behaviour starts shut out."""
        super().__init__(config)
        self.text: Any = None
        self.no_text: Any = None
        self.token_path: Any = None
        self.trajectory_path: Any = None
        self.join: Any = None
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
        self.post_init()

    def get_input_embeddings(self) -> Any:
        """Return the token embeddings of the backbone."""
        return self.text.get_input_embeddings() if self.text is not None else None

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the token embeddings of the backbone."""
        self.text.set_input_embeddings(value)

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
        pairs: int = 0,
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
            pairs: In training, rows i and `pairs` + i are one pair and lose the same modalities.
            kwargs: Ignored (`use_cache` and the like, which trainers pass).

        Raises:
            DataError: An input has the wrong shape, is not finite, or runs backwards; the message
                names the row and the field.
        """
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
        )
        if self.training and self.config.modality_dropout:
            inputs = _drop_modalities(inputs, self.config.modality_dropout, pairs)
        pooled = states = None
        if self.text is not None:
            if "text_vector" in inputs:
                seen = inputs["text_mask"]
                pooled = torch.where(seen, inputs["text_vector"], self.no_text)
            elif "input_ids" in inputs:
                pooled, states = self._read_text(inputs, token_type_ids)
            else:
                pooled = self.no_text.expand(len(inputs["trajectory"]), -1)
        if "trajectory" in inputs:
            behavior, valid = self.trajectory_path(
                inputs["trajectory"],
                inputs["trajectory_observed"],
                inputs["trajectory_time_ms"],
                inputs["trajectory_mask"],
            )
            answer = self.join(pooled, behavior, valid)
            pooled = answer if pooled is None else pooled.to(answer.dtype) + answer
        return IFLLMModelOutput(last_hidden_state=states, pooler_output=pooled)

    def pool_text(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> Tensor:
        """Return the text alone, pooled, `[batch, hidden]`: a `text_vector` to keep."""
        inputs = check_inputs(self.config, input_ids=input_ids, attention_mask=attention_mask)
        return self._read_text(inputs, token_type_ids)[0]

    def _read_text(
        self, inputs: dict[str, Tensor], token_type_ids: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        order, mask, ids = left_aligned(inputs["attention_mask"], inputs["input_ids"])
        embedded = self.get_input_embeddings()(ids)
        if "token_behavior" in inputs:
            _, _, values, observed = left_aligned(
                inputs["attention_mask"], inputs["token_behavior"], inputs["token_behavior_mask"]
            )
            added = self.token_path(values, observed & mask.unsqueeze(-1))
            embedded = embedded + added.to(embedded.dtype)
        accepted = inspect.signature(self.text.forward).parameters
        extra: dict[str, Any] = {"use_cache": False} if "use_cache" in accepted else {}
        if token_type_ids is not None and "token_type_ids" in accepted:
            extra["token_type_ids"] = token_type_ids.gather(1, order)
        # A row without text still attends to something; what comes of it is not used.
        attended = mask.clone()
        attended[:, 0] = True
        states = self.text(
            inputs_embeds=embedded, attention_mask=attended.to(torch.long), **extra
        ).last_hidden_state
        if self.config.pooling == "last":
            last = (mask.sum(1) - 1).clamp(min=0)
            pooled = states[torch.arange(len(states), device=states.device), last]
        else:
            weight = mask.to(states.dtype).unsqueeze(-1)
            pooled = (states * weight).sum(1) / weight.sum(1).clamp(min=1)
        pooled = torch.where(mask.any(1, keepdim=True), pooled, self.no_text.to(pooled.dtype))
        back = order.argsort(dim=1).unsqueeze(-1).expand_as(states)
        return pooled, states.gather(1, back)


def _drop_modalities(inputs: dict[str, Tensor], rate: float, pairs: int) -> dict[str, Tensor]:
    """Take inputs from rows at random, the same ones from both rows of a pair."""
    out = dict(inputs)
    some = next(iter(inputs.values()))

    def keep(*shape: int) -> Tensor:
        kept = torch.rand(len(some), *shape, device=some.device) >= rate
        if pairs:
            kept[pairs : 2 * pairs] = kept[:pairs]
        return kept

    if "token_behavior" in out:
        channels = out["token_behavior"].shape[-1]
        out["token_behavior_mask"] = out["token_behavior_mask"] & keep(1, channels) & keep(1, 1)
    if "trajectory" in out:
        channels = out["trajectory"].shape[-1]
        out["trajectory_observed"] = out["trajectory_observed"] & keep(1, channels)
        with_ticks = out["trajectory_mask"].any(1, keepdim=True)
        # Text may go only where a trajectory stays, so a row never becomes empty.
        no_text = with_ticks & ~keep(1)
        out["trajectory_mask"] = out["trajectory_mask"] & (keep(1) | no_text)
        for mask in ("attention_mask", "text_mask"):
            if mask in out:
                out[mask] = out[mask] & ~no_text
    return out


class IFLLMForRewardModeling(IFLLMPreTrainedModel):
    """The score of an answer, and in training what it costs to get a preference wrong."""

    # The loss is a mean over this batch; the trainer divides by accumulation steps itself.
    accepts_loss_kwargs = False

    def __init__(self, config: IFLLMConfig, text: Any = None) -> None:
        """Build with random weights, or around a text backbone."""
        super().__init__(config)
        self.model = IFLLMModel(config, text)
        self.dropout = nn.Dropout(config.score_dropout)
        self.score = nn.Linear(self.model.hidden_size, 1, bias=False)
        self.likert = nn.Linear(self.model.hidden_size, 1) if config.likert_head else None
        self.post_init()

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
        confidence: Tensor | None = None,
        margin: Tensor | None = None,
        likert: Tensor | None = None,
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
            confidence: `[B]` in [0, 1], probability that the first answer of a pair is preferred.
            margin: `[B]`, how much better it must score.
            likert: `[rows]` ratings, NaN where there is none; needs `likert_head`.
            kwargs: Ignored.

        Returns:
            The scores, and the loss: for pairs `pair_loss`, for ratings the mean squared error
            times `likert_weight`; their sum where both are given.
        """
        pairs = 0 if confidence is None else len(confidence)
        pooled = self.model(
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
            pairs=pairs,
        ).pooler_output
        pooled = self.dropout(pooled.to(self.score.weight.dtype))
        logits = self.score(pooled).float()
        ratings = self.likert(pooled).float() if self.likert is not None else None
        loss = None
        if confidence is not None and pairs:
            if 2 * pairs > len(logits):
                raise DataError(
                    f"confidence has {pairs} values and the batch {len(logits)} rows; expected "
                    "both answers of every pair"
                )
            loss = pair_loss(logits[:pairs, 0], logits[pairs : 2 * pairs, 0], confidence, margin)
        if likert is not None and ratings is not None:
            known = ~torch.isnan(likert)
            error = (ratings[:, 0] - likert.nan_to_num()).square() * known
            rating_loss = self.config.likert_weight * error.sum() / known.sum().clamp(min=1)
            loss = rating_loss if loss is None else loss + rating_loss
        return IFLLMRewardOutput(loss=loss, logits=logits, likert_logits=ratings)


IFLLMModel.register_for_auto_class("AutoModel")
IFLLMForRewardModeling.register_for_auto_class("AutoModelForSequenceClassification")
