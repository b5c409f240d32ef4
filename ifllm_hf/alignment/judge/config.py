"""Every setting of a judging run; the YAML of `recipes/judge.py` has these names.

The texts under `Attributes:` are what its `--help` says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ifllm_hf.alignment.generate.config import ModelSpec, Sampling
from ifllm_hf.alignment.pairs.config import JUDGE_FOLD, PromptFormat
from ifllm_hf.errors import ConfigError, require_one_of

JUDGES = ("endpoint", "huggingface", "reward", "function", "people")
STRUCTURED = ("json_schema", "json_object", "none")


@dataclass(frozen=True)
class PromptSelection:
    """Which questions are asked.

    Attributes:
        dataset: `ifllm`, a prepared folder, a file, or a Hub dataset with a column `prompt`.
        configs: Configs to take questions from; default for IFLLM: pairwise and pointwise.
        split: Split of the dataset.
        fold: Only questions of readers with this `fold`; those that another reader asked too are
            left out. Null: all questions (nothing then says that training did not see them).
        max_prompts: At most so many, chosen by `seed`.
        seed: Of the choice.
    """

    dataset: str = "ifllm"
    configs: tuple[str, ...] | None = None
    split: str = "train"
    fold: int | None = JUDGE_FOLD
    max_prompts: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class JudgeSettings:
    """Who judges.

    Attributes:
        kind: `endpoint` (any OpenAI-compatible server), `huggingface` (Inference Providers or an
            Inference Endpoint), `reward` (a local reward model), `function` (of answer and
            question, yours), or `people` (in the terminal).
        model: Model at the endpoint; or the reward model; or the function, as
            `package.module.function`; or, of people, the name of who judges.
        base_url: Address of the endpoint, up to and with `/v1`. One of your own is asked under
            `HF_HUB_OFFLINE` too.
        api_key_env: Environment variable with its key; the key itself is never written anywhere.
        provider: With `huggingface`: the inference provider.
        structured: What the endpoint is asked for: `json_schema`, `json_object` or `none`. Answers
            are checked against the schema in any case.
        request: More fields of the request, for models that want other names: null takes one out,
            as in `{max_tokens: null, max_completion_tokens: 512, temperature: null}`.
        concurrency: Requests at a time.
        timeout_s: Of one request.
        tries: Requests for one verdict before it is given up.
        stop_after: Stop when the first so many questions get no verdict, or later so many in a row
            no answer (four times as many: none that can be used).
        ask_again: Ask again what the judge refused in an earlier run (too long, content filter).
        max_tokens: Longest answer of the judge.
        input_price: Price of a million tokens read, in any currency; null: the cost is not known.
        output_price: Price of a million tokens written.
        batch_size: With `reward`: answers at a time.
        trust_remote_code: With `reward`: run the code that the model brings along. Read it first.
        seed: With `people`: of the order of sides.
    """

    kind: str
    model: str | None = None
    base_url: str = "https://api.openai.com/v1"
    api_key_env: str = "OPENAI_API_KEY"
    provider: str = "auto"
    structured: str = "json_schema"
    request: dict[str, Any] = field(default_factory=dict)
    concurrency: int = 8
    timeout_s: float = 60.0
    tries: int = 6
    stop_after: int = 5
    ask_again: bool = False
    max_tokens: int = 512
    input_price: float | None = None
    output_price: float | None = None
    batch_size: int = 8
    trust_remote_code: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Check what can be known at once.

        Raises:
            ConfigError: An unknown kind, or a judge without a name.
        """
        require_one_of("judge.kind", self.kind, JUDGES)
        require_one_of("judge.structured", self.structured, STRUCTURED)
        if self.kind != "people" and not self.model:
            raise ConfigError(f"judge.model is missing; a judge of kind {self.kind} needs one")
        names = ("concurrency", "tries", "timeout_s", "batch_size", "max_tokens", "stop_after")
        if any(getattr(self, name) <= 0 for name in names):
            seen = ", ".join(f"{name} {getattr(self, name)}" for name in names)
            raise ConfigError(f"judge: {seen}; expected more than 0 each")


@dataclass(frozen=True)
class JudgeConfig:
    """A judging run: one baseline, one or more candidates, one judge.

    Attributes:
        baseline: What the candidates started from: the SFT model, or the base model.
        candidates: The models after DPO, one for each label source, say.
        judge: Who judges.
        prompts: Which questions.
        generation: How answers are generated.
        format: How a question looks to the models; default: as the first candidate was trained.
        ratio_to: The candidate that others' improvements are divided by; default: the first.
        draws: Bootstrap draws.
        seed: Of the bootstrap.
        cache: File of verdicts; several runs may share it, one after the other. Default:
            `verdicts.jsonl` in the output folder.
        output_dir: Folder for answers, verdicts and the report.
    """

    baseline: ModelSpec
    candidates: tuple[ModelSpec, ...]
    judge: JudgeSettings
    prompts: PromptSelection = field(default_factory=PromptSelection)
    generation: Sampling = field(default_factory=Sampling)
    format: PromptFormat | None = None
    ratio_to: str | None = None
    draws: int = 2000
    seed: int = 0
    cache: str | None = None
    output_dir: str = "outputs/judge"

    def __post_init__(self) -> None:
        """Check the names.

        Raises:
            ConfigError: No candidate, a name twice or unusable as a file name, or an unknown
                `ratio_to`.
        """
        names = [spec.name for spec in (self.baseline, *self.candidates)]
        if len(names) < 2:
            raise ConfigError("candidates is empty; name at least one model to be judged")
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"two models are named {name!r}; give each its own name")
            if not name or "/" in name or name.startswith("."):
                raise ConfigError(f"{name!r} names a model; expected a name that a file can have")
        if self.ratio_to is not None and self.ratio_to not in names[1:]:
            raise ConfigError(
                f"ratio_to is {self.ratio_to!r}; expected a candidate: {', '.join(names[1:])}"
            )
        if self.baseline.answers is None and self.baseline.model is None:
            raise ConfigError("baseline: neither model nor answers; name one of them")
