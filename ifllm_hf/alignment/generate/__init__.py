"""Answers of a model to questions: `answers`, by `transformers_backend` or `vllm_backend`."""
