"""Early stopping: nothing more is trained of a source that judges find worse than its best so far.

After each run of a model and source, the judge of the pipeline compares its result with the best so
far, question by question, on readers who train nothing. Where the interval of the difference over
these readers lies below 0, the source stops. What was said of a run is kept beside all answers in
`early-stopping/MODEL/`, as a `Run`; `early-stopping/best.json` and `report.md` follow from that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ifllm_hf.alignment.judge.report import shown
from ifllm_hf.alignment.judge.run import run_judge
from ifllm_hf.alignment.pipeline.config import PipelineConfig
from ifllm_hf.alignment.pipeline.data import Data
from ifllm_hf.alignment.pipeline.judge import judging, model_spec
from ifllm_hf.alignment.pipeline.state import DONE, Run, beside, read_state
from ifllm_hf.errors import OutputError
from ifllm_hf.files import digest, write_json, write_whole
from ifllm_hf.training.tiny_models import TINY_PREFIX

BETTER, NOT_BETTER, FELL = "better", "not better", "fell"
FOLDER = "early-stopping"
State = dict[str, Any]
_STARTS = ("model_name_or_path", "sft_adapter", "public_name")
"""What a run goes on from: the same recipe has others in each run."""


def decide(compared: Mapping[str, Any]) -> str:
    """Say what became of a model that was compared with the best so far.

    By the score where the judge gives one, else by the win rate with ties as half. Of one reader
    there is no interval, so nothing falls.

    Args:
        compared: What `judge.report.compare` says of the model.

    Returns:
        `FELL` where the whole interval lies below even; else `BETTER` where the estimate lies above
        even, and `NOT_BETTER`.
    """
    found, even = difference(compared)
    if found["high"] is not None and found["high"] < even:
        return FELL
    return BETTER if found["estimate"] > even else NOT_BETTER


def difference(compared: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
    """Return the interval that decides, and the number at which two models are even."""
    if compared["score_rise"] is not None:
        return compared["score_rise"], 0.0
    return compared["win_rate"], 0.5


@dataclass(frozen=True)
class EarlyStopping:
    """The runs of one model and source, and what was said of each.

    Attributes:
        config: The pipeline.
        model: Name of the model.
        source: Name of the source.
        settings: Of `recipes/dpo.py`, without what a run goes on from.
        start: State of the SFT run that DPO starts from; None: it starts from the model itself.
        data: Whose questions are asked.
    """

    config: PipelineConfig
    model: str
    source: str
    settings: Mapping[str, Any]
    start: State | None
    data: Data

    @property
    def _out(self) -> Path:
        return Path(self.config.output_dir)

    def verdicts(self) -> list[State]:
        """Return what was said of the runs so far, in their order."""
        return read_verdicts(self._out / FOLDER / self.model).get(self.source, [])

    def best(self) -> State | None:
        """Return the state of the best run; None: what training starts from is better."""
        name = best_of(self.verdicts())
        return None if name is None else self._run(name)

    def is_over(self) -> bool:
        """Tell whether the last run fell, with the very settings that a new one would have."""
        verdicts = self.verdicts()
        if not verdicts or verdicts[-1]["said"] != FELL:
            return False
        return _recipe(self._run(verdicts[-1]["run"])["inputs"]["dpo"]) == _recipe(self.settings)

    def has_fallen(self) -> bool:
        """Tell whether the last run fell, whatever its settings."""
        verdicts = self.verdicts()
        return bool(verdicts) and verdicts[-1]["said"] == FELL

    def judge(self, state: State) -> str | None:
        """Have a finished run judged, unless it was; return a line about it.

        Raises:
            IFLLMError: See `run_judge`; nothing is decided then.
        """
        name = Path(state["folder"]).name
        if any(one["run"] == name for one in self.verdicts()):
            return None
        best = self.best()
        against = None if best is None else Path(best["folder"]).name
        run = Run(self._out / FOLDER / self.model, self.source, {"run": name, "against": against})
        number = {"number": state["number"], "run": name, "against": against}
        with run.working(**number) as known:
            before = self._spec("best", best or self.start, state)
            after = self._spec("new", state, state)
            report = run_judge(
                judging(self.config, self.data, self._out, before, [after], run.folder)
            )
            compared = report["candidates"]["new"]
            found, even = difference(compared)
            known |= {
                "said": decide(compared),
                "difference": found,
                "even": even,
                "questions": compared["n"],
                "readers": compared["workers"],
            }
        return f"{self.model} x {self.source}: {_line(self.verdicts()[-1])}"

    def _run(self, name: str) -> State:
        folder = self._out / "runs" / self.model / name
        state = read_state(beside(folder, ".json"))
        if state["status"] != DONE:
            raise OutputError(
                f"{folder}: was judged, and is no finished run any more; put it back with the file "
                "beside it, or take another output_dir"
            )
        return state

    def _spec(self, name: str, state: State | None, latest: State) -> dict[str, Any]:
        """Return who answers; `state` None: the model that training starts from.

        `latest` knows the tiny random model, if it is one.
        """
        base = str(self.settings["model_name_or_path"])
        if base.startswith(TINY_PREFIX):
            base = (state or latest)["tiny_model"]
        full = self.settings.get("method") == "full"
        return model_spec(name, base, None if state is None else state["folder"], full=full)


def read_verdicts(place: Path) -> dict[str, list[State]]:
    """Return by source what was said of its runs, in their order."""
    found: dict[str, list[State]] = {}
    states = [read_state(file) for file in place.glob("*.json")] if place.is_dir() else []
    for state in sorted((s for s in states if s["status"] == DONE), key=lambda s: s["number"]):
        found.setdefault(state["name"], []).append(state)
    return found


def best_of(verdicts: list[State]) -> str | None:
    """Return the folder of the best run; None: what training started from is better."""
    better = [one["run"] for one in verdicts if one["said"] == BETTER]
    return better[-1] if better else None


def write_standing(out: Path) -> None:
    """Write `best.json` and `report.md` anew from what was said of all models and sources.

    Raises:
        OutputError: They cannot be written.
    """
    best: dict[str, dict[str, Any]] = {}
    rows = []
    for place in sorted(p for p in (out / FOLDER).glob("*") if p.is_dir()):
        for source, verdicts in sorted(read_verdicts(place).items()):
            name = best_of(verdicts)
            best.setdefault(place.name, {})[source] = {
                "folder": None if name is None else f"runs/{place.name}/{name}",
                "stopped": verdicts[-1]["said"] == FELL,
            }
            rows += [
                f"| {place.name} | {source} | {k} | {one['run']} | {one['against'] or 'the start'} "
                f"| {one['questions']} | {one['readers']} | {_measured(one)} | {one['said']} |"
                for k, one in enumerate(verdicts, start=1)
            ]
    if not best:
        return
    head = [
        "# Early stopping",
        "",
        "Each result against the best so far, paired by question, on readers who train nothing; "
        "95 %, bootstrap over these readers. *Fell*: the whole interval lies below even, and "
        "nothing more is trained with these settings. `best.json` names what is best.",
        "",
        "| model | labels | run | result | against | questions | readers | difference | it is |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    write_whole(out / FOLDER / "report.md", "\n".join([*head, *rows]) + "\n")
    write_json(out / FOLDER / "best.json", best)


def _line(verdict: State) -> str:
    against = verdict["against"] or "what training started from"
    said = f"{_measured(verdict)} against {against}"
    said += f" ({verdict['questions']} questions of {verdict['readers']} readers)"
    if verdict["said"] == FELL:
        return f"stopped: {verdict['run']} fell, {said}; {against} is kept"
    return f"{verdict['run']} is {verdict['said']}, {said}"


def _measured(verdict: State) -> str:
    by_score = verdict["even"] == 0
    return ("score " if by_score else "win rate ") + shown(
        verdict["difference"], "+.2f" if by_score else ".2f"
    )


def _recipe(settings: Mapping[str, Any]) -> str:
    return digest({k: v for k, v in settings.items() if k not in _STARTS}, 16)
