"""Makes the files beside it. In the root of a clone at 7c7f356: `python .../make.py FOLDER`."""

import io
import json
import os
import runpy
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import torch
from ifllm_hf.benchmark.reference_models import LengthLR, LengthRule, TrainingMean
from ifllm_hf.hub.publish_model import model_files
from ifllm_hf.reward.configuration_ifllm import IFLLMConfig
from ifllm_hf.reward.feature_extraction_ifllm import IFLLMFeatureExtractor
from ifllm_hf.reward.modeling_ifllm import IFLLMForRewardModeling
from ifllm_hf.reward.pointwise import COLUMNS as OF_ONE_ANSWER
from ifllm_hf.reward.processing_ifllm import IFLLMProcessor
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from ifllm_hf.reward import baselines, saving

TINY = runpy.run_path("tests/reward/tiny_reward_model.py")
QUESTION, ANSWERS, TICKS = TINY["QUESTION"], TINY["ANSWERS"], TINY["TICKS"]
WORDS = sorted({w for text in (QUESTION, *ANSWERS) for w in text.split()})
ENDS = [f"{c}_late_{n}pct_log_ratio" for c in ("mouse", "either", "pooled") for n in (10, 20, 30)]
SIGNED = [*ENDS, *(f"{name}_vs_own" for name in ENDS), *baselines.COMPANIONS]


def made_up_rows(n: int) -> pl.DataFrame:
    """Numbers with three decimals, which a CSV keeps; every tenth is missing."""
    rng = np.random.default_rng(0)
    values = {name: rng.normal(size=n) for name in SIGNED}
    values |= {name: rng.lognormal(size=n) for name in OF_ONE_ANSWER}
    values["reading_ms"] *= 9000
    values = {k: np.where(rng.random(n) < 0.1, np.nan, v.round(3)) for k, v in values.items()}
    a, b = ([" ".join(rng.choice(WORDS, rng.integers(3, 12))) for _ in range(n)] for _ in "ab")
    texts = {"prompt": ["why " * (i % 5) for i in range(n)], "response_a": a, "response_b": b}
    return pl.DataFrame({**texts, "turn": np.arange(n) % 3 + 1, **values}).fill_nan(None)


def tokenizer_and_backbone() -> tuple[PreTrainedTokenizerFast, BertConfig]:
    ids = {word: i for i, word in enumerate(["<pad>", "<unk>", "<s>", "</s>", *WORDS])}
    backend = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(name, ids[name]) for name in ("<s>", "</s>")]
    pair = ("<s> $A </s>", "<s> $A </s> $B </s>")
    backend.post_processor = processors.TemplateProcessing(*pair, ends)
    named = {"pad_token": "<pad>", "unk_token": "<unk>", "eos_token": "</s>", "sep_token": "</s>"}
    small = {"vocab_size": len(ids), "hidden_size": 8, "intermediate_size": 8}
    small |= {"num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 32}
    wrapped = PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=32, **named)
    return wrapped, BertConfig(**small)


def make_baselines() -> None:
    tokenizer, encoder = tokenizer_and_backbone()
    tokenizer.save_pretrained("encoder")
    BertModel(encoder).save_pretrained("encoder")
    rows = made_up_rows(60)
    rows[:6].write_csv("rows.csv")
    y = (rows[baselines.LATE[0]].fill_null(0.0).to_numpy() > 0).astype(float)
    expected = {}
    for model in (
        *(TrainingMean(), LengthRule(), LengthLR(), baselines.default_model()),
        baselines.first_behavior_model(),
        baselines.AntisymmetricBooster("b", baselines.LATE, rounds=2, leaves=3, min_leaf=12),
        baselines.PaperForest("f", ["mouse_depth_a", "gaze_depth_a"], trees=3),
        baselines.TfidfLR(columns=baselines.LATE),
        baselines.EncoderLR(folder="encoder", penalty=10.0),
        baselines.PointwiseRidge("r", binary=True, penalties=(1.0, 9.0)),
    ):
        file = Path(f"{type(model).__name__}.skops")
        saving.save_model(model.fit(rows, y, np.arange(60) // 6), file)
        stored = zipfile.ZipFile(io.BytesIO(file.read_bytes()))
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
            for part in stored.namelist():
                packed.writestr(part, stored.read(part))
        expected[file.stem] = model.predict_proba(pl.read_csv("rows.csv")).tolist()
    Path("expected.json").write_text(json.dumps(expected, indent=1) + "\n")


def make_reward_model() -> None:
    tokenizer, backbone = tokenizer_and_backbone()
    small = {"trajectory_hidden_size": 8, "trajectory_heads": 2, "trajectory_layers": 1}
    config = IFLLMConfig(text_config=backbone, token_hidden_size=4, **small)
    model = IFLLMForRewardModeling(config).eval().requires_grad_(False)
    for name, value in model.named_parameters():
        if name.endswith("gate") or name.startswith("score."):
            value.normal_(std=0.5)
    extractor = IFLLMFeatureExtractor(config.token_channels, config.channels)
    processor = IFLLMProcessor(tokenizer, extractor)
    row = {"prompt": QUESTION, **dict(zip(("response_a", "response_b"), ANSWERS, strict=True))}
    processor.fit({name: [value] for name, value in (row | TICKS).items()})
    content = {"question": QUESTION, "answers": ANSWERS, "ticks": TICKS}
    for said, ticks in (("with_behavior", TICKS), ("without_behavior", None)):
        batch = processor(QUESTION, ANSWERS, ticks, return_tensors="pt")
        content[said] = model(**batch).rewards[:, 0].tolist()
    Path("reward_model.json").write_text(json.dumps(content, ensure_ascii=False) + "\n")
    with tempfile.TemporaryDirectory() as place, tarfile.open("reward_model.tar.xz", "w:xz") as out:
        model.save_pretrained(place)
        processor.save_pretrained(place)
        settings = json.loads((Path(place) / "config.json").read_text())
        for name, file in sorted(model_files(Path(place), "lab/reward", settings).items()):
            data = file if isinstance(file, bytes) else file.read_bytes()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            out.addfile(member, io.BytesIO(data))


torch.manual_seed(0)
os.chdir(sys.argv[1])
make_baselines()
make_reward_model()
