"""Fast tokenizers of every kind that matters, trained on a few lines in milliseconds."""

from __future__ import annotations

from typing import Any

TEXTS = [
    "The river runs to the sea, and the sea rises again as rain.\r\nSo it goes.",
    "1. First of all, light is scattered.\n2. Blue more than red: sky 🌌 and sea 🌊.\n",
    "Überall naïve façade — “quoted” (twice)…\tend   of   it. 日本語のテキスト。",
]
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] + '\n' + m['content'] }}<|im_end|>\n"
    "{% endfor %}"
)
TRIMMING_CHAT = CHAT.replace("m['content']", "(m['content'] | trim)")
KINDS = ("wordpiece", "bytes", "bytes-trimmed", "metaspace", "chat", "trimming chat")


def make_tokenizer(kind: str, texts: list[str] | None = None) -> Any:
    """Return a tokenizer of one of the `KINDS`."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    texts = [*TEXTS, *(texts or [])]
    if kind == "wordpiece":
        backend = Tokenizer(models.WordPiece(unk_token="<unk>"))
        backend.normalizer = normalizers.BertNormalizer(lowercase=True)
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer: Any = trainers.WordPieceTrainer(
            vocab_size=300, special_tokens=special, show_progress=False
        )
    else:
        backend = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=kind == "metaspace"))
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        if kind == "metaspace":
            backend.pre_tokenizer = pre_tokenizers.Metaspace()
            alphabet = []
            special += [f"<0x{byte:02X}>" for byte in range(256)]
        else:
            backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=600,
            special_tokens=special,
            initial_alphabet=alphabet,
            show_progress=False,
        )
    backend.train_from_iterator(texts, trainer)
    if kind == "wordpiece":
        ids = {name: backend.token_to_id(name) for name in ("<s>", "</s>")}
        backend.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=list(ids.items())
        )
    elif kind == "bytes-trimmed":
        backend.post_processor = processors.ByteLevel(trim_offsets=True)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="</s>", model_max_length=512
    )
    if kind == "wordpiece":
        wrapped.sep_token = "</s>"
    if "chat" in kind:
        wrapped.chat_template = TRIMMING_CHAT if "trimming" in kind else CHAT
    return wrapped
