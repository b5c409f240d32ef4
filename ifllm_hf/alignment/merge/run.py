"""One merge, from an adapter to a folder that is served; `ifllm merge` calls `merge_adapter`."""

from __future__ import annotations

import gc
import logging
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifllm_hf.alignment.merge.adapter import TRUST, Adapter, bytes_needed, check_fit, find_adapter
from ifllm_hf.alignment.merge.card import is_far, merge_card
from ifllm_hf.alignment.merge.chat_template import chat_template_of
from ifllm_hf.alignment.merge.questions import Questions, find_questions, style_of
from ifllm_hf.alignment.policy.load import load_in_precision, load_tokenizer
from ifllm_hf.alignment.policy.precision import MERGE_FILE, Precision
from ifllm_hf.errors import ConfigError, OutputError, require_one_of
from ifllm_hf.files import whole_folder, write_json, write_whole
from ifllm_hf.training.local_paths import remove_local_paths
from ifllm_hf.training.pretrained import loading
from ifllm_hf.training.run_record import versions, write_run

if TYPE_CHECKING:
    import torch

    from ifllm_hf.alignment.merge.divergence import Trained
    from ifllm_hf.alignment.pairs.config import PromptFormat

logger = logging.getLogger(__name__)

DTYPES = ("bfloat16", "float16", "float32")
_SIZE = re.compile(r"[1-9]\d*(KB|MB|GB|TB)")


@dataclass(frozen=True)
class Merge:
    """What was merged.

    Attributes:
        folder: Where it is.
        record: The content of `merge.json` there.
    """

    folder: Path
    record: Mapping[str, Any]

    def text(self) -> str:
        """Return what was measured, for people."""
        kl = self.record["kl"]
        if kl is None:
            return "not measured how near it is to what was trained"
        lines = [
            f"KL(trained, served)  {kl['trained_served']:.2g} nats per answer token",
            f"KL(trained, base)    {kl['trained_base']:.2g}, which is how far training moved",
            f"on {kl['prompts']} prompts, {kl['tokens']} answer tokens, {kl['source']}; "
            f"{kl['answers']}",
        ]
        if is_far(kl):
            lines.append(
                "merging changed the model by more than a tenth of what training did: keep the "
                "adapter on the base it was trained on"
            )
        return "\n".join(lines)


def merge_adapter(
    place: str,
    out: Path,
    *,
    base: str | None = None,
    load_in_4bit: bool | None = None,
    dtype: str = "bfloat16",
    shard_size: str = "4GB",
    check: bool = True,
    prompts: str | None = None,
    n_prompts: int = 50,
    max_tokens: int = 64,
    trust_remote_code: bool = False,
    say: Callable[[str], object] = logger.info,
    show: bool = True,
) -> Merge:
    """Merge an adapter into the weights that it was trained on, and measure what that changed.

    Args:
        place: Folder of a run, of a checkpoint or of any PEFT adapter; or `ORG/NAME`.
        out: The folder to write; it does not exist, or is empty.
        base: Where the base is; default: as the adapter says.
        load_in_4bit: Whether an adapter of others was trained on NF4 weights.
        dtype: Of what is saved.
        shard_size: Largest file of weights.
        check: Whether to measure.
        prompts: Dataset to measure on; default: the held-out readers of the run.
        n_prompts: How many prompts.
        max_tokens: At most so many tokens of each answer.
        trust_remote_code: Whether code that lies beside the base may run.
        say: Takes a line about what is done.
        show: Whether to draw progress bars on stderr.

    Returns:
        What was merged, and what was measured.

    Raises:
        IFLLMError: Anything a user can act on, before weights are loaded where it can be known.
    """
    from transformers import AutoConfig

    require_one_of("--dtype", dtype, DTYPES)
    if not _SIZE.fullmatch(shard_size):
        raise ConfigError(f"--shard-size is {shard_size!r}; expected a size such as 4GB or 500MB")
    adapter = find_adapter(place, base=base, load_in_4bit=load_in_4bit)
    _check_free(out)
    with loading(adapter.base, trust_remote_code=trust_remote_code, setting=TRUST) as trusted:
        config = AutoConfig.from_pretrained(adapter.base, revision=adapter.revision, **trusted)
    n_weights = check_fit(adapter, config, trust_remote_code=trust_remote_code)
    _check_room(out, bytes_needed(n_weights, dtype))
    tokenizer = _tokenizer(adapter, trust_remote_code)
    style = style_of(adapter.run, tokenizer)
    questions = find_questions(adapter.run, style, n_prompts, prompts) if check else None
    compared = Compared(questions, tokenizer, style, max_tokens) if questions is not None else None
    with whole_folder(out) as folder:
        say(f"{adapter.name}: trained on {adapter.precision.words} weights of {adapter.base_name}")
        merged, trained = _merged(adapter, compared, n_weights, dtype, trust_remote_code, show)
        say(f"writing {n_weights / 1e6:,.0f} million weights in {dtype}")
        own_template = _save(
            merged, tokenizer, style if adapter.run else None, folder, dtype, shard_size
        )
        del merged
        gc.collect()
        record: dict[str, Any] = {
            "adapter": adapter.name,
            "base_model": adapter.base_name,
            "trained_on": {**asdict(adapter.precision), "words": adapter.precision.words},
            "dtype": dtype,
            "prompt": _prompt_in_words(adapter, style),
            "writes_chat_template": own_template,
            "eos": tokenizer.eos_token,
            "kl": None,
            "versions": versions(),
        }
        if trained is not None and questions is not None:
            record["kl"] = _measured(folder, trained, questions, n_weights, trust_remote_code, show)
        remove_local_paths(folder, adapter.base_name)
        write_json(folder / MERGE_FILE, record)
        if adapter.run is not None:
            write_run(folder, dict(adapter.run))
        write_whole(folder / "README.md", merge_card(record, adapter.run))
    return Merge(out, record)


@dataclass(frozen=True)
class Compared:
    """What the trained and the served model are compared on.

    Attributes:
        questions: The questions.
        tokenizer: Of both models.
        style: How questions look to them.
        max_tokens: At most so many tokens of each answer.
    """

    questions: Questions
    tokenizer: Any
    style: PromptFormat
    max_tokens: int


def _merged(
    adapter: Adapter,
    compared: Compared | None,
    n_weights: int,
    dtype: str,
    trust_remote_code: bool,
    show: bool,
) -> tuple[Any, Trained | None]:
    """Return the merged model, and what the trained one says."""
    import torch

    from ifllm_hf.alignment.merge import divergence, weights

    cpu = torch.device("cpu")
    in_4bit = adapter.precision.in_4bit
    plain_precision = Precision(dtype=adapter.precision.dtype)
    plain = weights.load_base(
        adapter, cpu, precision=plain_precision, trust_remote_code=trust_remote_code
    )
    base = None
    if in_4bit:
        where = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        base = weights.load_base(adapter, where, trust_remote_code=trust_remote_code)
        # Before anything is computed with them: see `weights`.
        weights.take_4bit_weights(plain, base)
    elif compared is not None:
        base = weights.load_base(adapter, _device(n_weights), trust_remote_code=trust_remote_code)
    trained = None
    if base is not None and compared is not None:
        model = divergence.in_float32(weights.put_on(base, adapter))
        texts = divergence.tokenized(
            compared.questions.asked,
            compared.tokenizer,
            compared.style,
            model,
            max_tokens=compared.max_tokens,
            show=show,
        )
        trained = divergence.trained_answers(model, texts, show=show)
        del model
    del base
    gc.collect()
    return weights.merge(plain, adapter, dtype=dtype, show=show), trained


def _measured(
    folder: Path,
    trained: Trained,
    questions: Questions,
    n_weights: int,
    trust_remote_code: bool,
    show: bool,
) -> dict[str, Any]:
    """Return what `merge.json` says of the distance, read from the weights as they were written."""
    from ifllm_hf.alignment.merge.divergence import in_float32, served_divergence

    model = load_in_precision(
        str(folder),
        Precision(),
        _device(n_weights),
        trust_remote_code=trust_remote_code,
        trusted_by=TRUST,
    )
    served = served_divergence(in_float32(model), trained, show=show)
    written = all(one.answer is None for one in questions.asked)
    return {
        "trained_served": float(served.mean()),
        "trained_served_largest": float(served.max()),
        "trained_base": float(trained.moved.mean()),
        "prompts": len(trained.texts),
        "tokens": len(served),
        "source": questions.source,
        "answers": "the trained model's likeliest answers" if written else "answers of the data",
    }


def _device(n_weights: int) -> torch.device:
    """Return the GPU where a model has room there in float32, else the CPU."""
    import torch

    if torch.cuda.is_available() and torch.cuda.mem_get_info()[0] > 5 * n_weights:
        return torch.device("cuda")
    return torch.device("cpu")


def _save(
    model: Any,
    tokenizer: Any,
    style: PromptFormat | None,
    folder: Path,
    dtype: str,
    shard_size: str,
) -> bool:
    """Write model and tokenizer, which end and ask as the run did; tell whether a template is new.

    Args:
        model: The merged model.
        tokenizer: Of the run.
        style: The run's prompt format; None: nobody knows, and the tokenizer stays as it is.
        folder: Where to.
        dtype: Of the weights.
        shard_size: Largest file of weights.
    """
    from ifllm_hf.alignment.merge.weights import save_model

    own_template = style is not None and style.prompt_format == "template"
    if style is not None and own_template:
        tokenizer.chat_template = chat_template_of(style, tokenizer)
    if model.generation_config is not None:
        model.generation_config.eos_token_id = tokenizer.eos_token_id
        model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.config.get_text_config().eos_token_id = tokenizer.eos_token_id
    save_model(model, folder, dtype=dtype, shard_size=shard_size)
    tokenizer.save_pretrained(folder)
    return own_template


def _tokenizer(adapter: Adapter, trust_remote_code: bool) -> Any:
    """Load the tokenizer that was saved with the adapter, else the base's."""
    settings = (adapter.run or {}).get("settings", {})
    own = (adapter.folder / "tokenizer_config.json").is_file()
    return load_tokenizer(
        str(adapter.folder) if own else adapter.base,
        settings.get("eos_token"),
        of=adapter.name,
        revision=None if own else adapter.revision,
        trust_remote_code=trust_remote_code,
        trusted_by=TRUST,
    )


def _prompt_in_words(adapter: Adapter, style: PromptFormat) -> str:
    if adapter.run is None:
        return "not recorded with the adapter; the tokenizer is as it came"
    if style.prompt_format == "chat":
        return "the tokenizer's chat template"
    return f"`{style.prompt_template!r}`"


def _check_free(out: Path) -> None:
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise OutputError(
            f"{out}: is taken; expected a folder that is empty or not there. Choose another one."
        )


def _check_room(out: Path, needed: int) -> None:
    place = out.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        raise OutputError(
            f"{out}: the merged model needs {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free "
            "there; free some space or choose another place"
        )
