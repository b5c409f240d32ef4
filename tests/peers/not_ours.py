"""Which of the peers' tests do not apply to ours, and why; a `*` ends the beginning of names."""

from __future__ import annotations

_ONE_LABEL = "a reward has one label, and a config that says otherwise is refused"
_NOT_A_DROPPED_REQUEST = (
    "asks for attentions under sdpa, which has none; ours refuses, theirs returns None"
)
_OWN_CALL = (
    "the processor takes question, answers and ticks, not text and audio; it refuses other keywords"
)
_AUTO_MAP = "a loaded processor says where its code is (auto_map), so that it can be pushed again"

NOT_OURS: dict[str, str] = {
    # Models
    "test_can_load_ignoring_mismatched_shapes": _ONE_LABEL,
    "test_capture_outputs_decorator": _NOT_A_DROPPED_REQUEST,
    "test_eager_matches_sdpa_inference_24_fp32_pad_left_output_attentions": _NOT_A_DROPPED_REQUEST,
    "test_retain_grad_hidden_states_attentions": (
        "states are returned in the places where the tokens were given, as copies"
    ),
    # Config
    "test_config_with_num_labels": _ONE_LABEL,
    # Processor
    "test_call_arguments_default_none": "include_contaminated_ticks is a switch, off by default",
    "test_call_arguments_not_in_processor_kwargs": _OWN_CALL,
    "test_init_arguments_not_in_processor_kwargs": (
        "max_length is a setting of the processor and saved with it"
    ),
    "test_flat_kwarg_applied_when_modality_dict_lacks_it": _OWN_CALL,
    "test_kwargs_overrides_default_subprocessor_kwargs_2_audio": _OWN_CALL,
    "test_model_input_names": _OWN_CALL,
    "test_overlapping_text_image_kwargs_handling_2_audio": _OWN_CALL,
    "test_processor_from_and_save_pretrained": _AUTO_MAP,
    "test_processor_from_and_save_pretrained_as_nested_dict": _AUTO_MAP,
    "test_processor_with_multiple_inputs": _OWN_CALL,
    "test_structured_kwargs_nested_from_dict_2_audio": _OWN_CALL,
    "test_subprocessor_defaults_3_audio": _OWN_CALL,
    "test_subprocessor_defaults_preserved_by_kwargs_2_audio": _OWN_CALL,
    "test_unstructured_kwargs_2_audio": _OWN_CALL,
    "test_unstructured_kwargs_batched_2_audio": _OWN_CALL,
}
