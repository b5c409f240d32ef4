"""Answers of a model to questions.

* `config`: which model, and how to sample; `backend`: what every backend takes and gives
* `answering`: what a model answers with, as it was trained; `backend_choice`: by which backend
* `answers`: what is not there yet is generated, by `transformers_backend` or `vllm_backend`
"""
