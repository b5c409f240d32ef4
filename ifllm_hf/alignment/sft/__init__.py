"""Supervised fine-tuning before DPO: `config`, and `run`, which `recipes/sft.py` calls."""
