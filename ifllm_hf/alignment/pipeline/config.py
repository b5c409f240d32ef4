"""Settings of a pipeline: models x label sources, and how data arrive.

The texts under `Attributes:` are what `recipes/pipeline.py --help` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ifllm_hf.alignment.labels.noise import DEFAULT_NU
from ifllm_hf.alignment.pairs.config import JUDGE_FOLD
from ifllm_hf.errors import ConfigError, require_one_of
from ifllm_hf.training.settings_file import read_settings, read_yaml

ALL, NEW = "all", "new"


@dataclass(frozen=True)
class LabelSource:
    """Where the labels of a run come from; one YAML in `recipes/configs/sources/`.

    Attributes:
        name: Name in tables and folders.
        source: `explicit`, `reward`, `both` or `all`, as in `ifllm label --source`.
        inputs: What the labelling model sees, as in `ifllm label --inputs`.
        nu: Rate of wrong clicks, used by `both` and `all`.
        seed: Of the folds.
        dpo: Settings of `recipes/dpo.py` that belong to these labels.
    """

    name: str
    source: str
    inputs: str = "best"
    nu: float = DEFAULT_NU
    seed: int = 0
    dpo: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PipelineConfig:
    """A loop over models and label sources.

    Paths of YAML files are relative to the pipeline's own file.

    Attributes:
        models: YAML files of `recipes/dpo.py`, one for each language model.
        sources: YAML files of `LabelSource`.
        data: A prepared folder; or a release, or a folder of collected sessions, which is then
            prepared; null: what `load_dataset("ifllm")` finds.
        judge_fold: Readers with this `fold` train neither labellers nor language models. A reader
            keeps the fold of the first run in this output folder, whoever joins later.
        train_on: `all`: each run starts from the model of its YAML, on all pairs. `new`: it goes on
            from the last finished run of the same model and source, on the pairs since then.
        min_new_pairs: With `new`: wait until there are so many.
        sft: Settings of `recipes/sft.py` beside the model's own YAML: SFT then comes before DPO,
            once for each model, on the pairs of the first source; null: no such stage.
        judge: YAML file of `recipes/judge.py` to run when all sources of a model are done.
        early_stopping: After each run of a model and source, `judge` compares its result with the
            best so far, on the questions of `judge_fold`. Where the interval of the difference lies
            below 0, nothing more is trained of that source; `early-stopping/best.json` names the
            best. Needs `judge`.
        settings: Settings of `recipes/dpo.py` for every run.
        launch: Command in front of `recipes/dpo.py`, such as `[accelerate, launch]`; null: train in
            this process.
        workers: Processes that read sessions and compute features.
        output_dir: Folder for data, labels, runs and their state.
    """

    models: tuple[str, ...]
    sources: tuple[str, ...]
    data: str | None = None
    judge_fold: int | None = JUDGE_FOLD
    train_on: str = ALL
    min_new_pairs: int = 1
    sft: dict[str, Any] | None = None
    judge: str | None = None
    early_stopping: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    launch: tuple[str, ...] | None = None
    workers: int = 1
    output_dir: str = "outputs/pipeline"

    def __post_init__(self) -> None:
        """Check what can be known at once.

        Raises:
            ConfigError: Nothing to do, or an unknown way to train.
        """
        if not self.models or not self.sources:
            raise ConfigError("models or sources is empty; name at least one of each")
        require_one_of("train_on", self.train_on, (ALL, NEW))
        if self.min_new_pairs < 1:
            raise ConfigError(f"min_new_pairs is {self.min_new_pairs}; expected 1 or more")
        if self.workers < 1:
            raise ConfigError(f"workers is {self.workers}; expected 1 or more")
        if self.early_stopping and (self.judge is None or self.judge_fold is None):
            raise ConfigError(
                f"early_stopping is true, judge {self.judge}, judge_fold {self.judge_fold}; "
                "expected a YAML of recipes/judge.py and the fold of readers who train nothing"
            )
        taken = {"dataset", "output_dir", "eval_fold", "resume_from_checkpoint", "config"}
        taken.add("reference_rank")  # a part of a run leaves no adapter
        wrong = taken & {*self.settings, *(self.sft or {})}
        if wrong:
            raise ConfigError(f"{min(wrong)} is decided by the pipeline; remove it from settings")


def read_pipeline(
    path: Path | str, overrides: Sequence[str] = ()
) -> tuple[PipelineConfig, dict[str, Path], list[LabelSource]]:
    """Read a pipeline and the files that it names.

    Returns:
        The settings; the YAML of each model by its name; the label sources.

    Raises:
        ConfigError: A file or setting that cannot be used, or two of one name.
    """
    config = read_settings(PipelineConfig, path, overrides)
    here = Path(path).parent

    def beside(name: str) -> Path:
        found = here / name
        if not found.is_file():
            raise ConfigError(f"{path}: names {name}, but there is no {found}; correct it")
        return found

    models: dict[str, Path] = {}
    for name in config.models:
        file = beside(name)
        if file.stem in models:
            raise ConfigError(f"{path}: two models are named {file.stem}; rename one of the files")
        models[file.stem] = file
    sources = [read_settings(LabelSource, beside(name)) for name in config.sources]
    names = [source.name for source in sources]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{path}: two sources are named {name!r}; give each its own name")
    if len(models) * len(sources) + (config.sft is not None) > 1:
        given = [(path, config.settings), (path, config.sft or {})]
        given += [(file, read_yaml(file)) for file in models.values()]
        given += [(source.name, source.dpo) for source in sources]
        for place, settings in given:
            if "hub_model_id" in settings:
                raise ConfigError(
                    f"{place}: hub_model_id names one repository, and this pipeline makes several "
                    "runs, of which each would replace the one before; remove it, and push the run "
                    "that you choose: hf upload ORG/NAME FOLDER"
                )
    if config.judge is not None:
        config = replace(config, judge=str(beside(config.judge)))
    return config, models, sources
