"""What runs ranks on several machines: Ray; for Slurm and Hugging Face Jobs a dry run.

All machines have the same version of this package, and see the working folder at the same path or
exchange ranks through a URL.
"""

from __future__ import annotations

import inspect
import json
import shlex
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ifllm_hf.data.ranks.engines import Engine, engine_for
from ifllm_hf.data.ranks.exchange import check_exchange, exchanging, run_rank_at
from ifllm_hf.errors import ConfigError, UnfinishedError
from ifllm_hf.files import write_whole
from ifllm_hf.remote_path import RemotePath, is_remote, place_of
from ifllm_hf.version import __version__

ENGINES = ("local", "ray", "slurm", "jobs")
_RETRIES = 3  # of a rank that is lost with its process or its node
Settings = Mapping[str, Any]
Done = Callable[[int], None]


def find_engine(
    name: str = "local",
    workers: int | None = None,
    *,
    exchange: str | None = None,
    settings: Settings | None = None,
) -> Engine:
    """Return what runs ranks.

    Args:
        name: One of `ENGINES`.
        workers: Ranks at once; None: the cores of this machine or of the Ray cluster; no limit for
            Slurm and Jobs.
        exchange: A URL that all machines read and write; None: they share a disk.
        settings: Of the executor of `datatrove`, for Slurm and Jobs.

    Raises:
        ConfigError: A setting is missing or unknown.
        RemoteError: The exchange cannot be read or written.
    """
    settings = settings or {}
    if exchange is not None and not is_remote(exchange):
        raise ConfigError(
            f"{exchange}: no URL. Machines that share a disk need no exchange; else expected is "
            "one such as s3://bucket/exchange."
        )
    if settings and name in ("local", "ray"):
        raise ConfigError(f"engine {name} has no settings, but {', '.join(settings)} was given")
    if name == "jobs" and exchange is None:
        raise ConfigError(
            "Hugging Face Jobs share no disk: name an exchange, such as hf://buckets/ORG/NAME/ranks"
        )
    if name == "local":
        engine = engine_for(workers, rank=partial(_rank, exchange))
    elif name == "ray":
        engine = partial(_on_ray, workers, exchange)
    elif name == "slurm":
        engine = partial(_for_slurm, workers, exchange, settings)
    else:
        engine = partial(_for_jobs, workers, str(exchange), settings)
    if exchange is None:
        return engine
    check_exchange(exchange)
    return exchanging(exchange, engine)


def _rank(exchange: str | None, work: Path, rank: int) -> None:
    run_rank_at(work if exchange is None else RemotePath(exchange), rank)


def _on_ray(
    workers: int | None, exchange: str | None, work: Path, ranks: Sequence[int], done: Done
) -> None:
    import ray
    from ray.exceptions import RayError, RayTaskError

    begun = not ray.is_initialized()
    if begun:  # the cluster of $RAY_ADDRESS, else one of this machine
        ray.init(log_to_driver=False, include_dashboard=False)
    # Ray itself starts a rank anew where its process or its node is lost.
    task = ray.remote(num_cpus=1, max_retries=_RETRIES)(_rank)
    left, lost = deque(ranks), []
    running: dict[Any, int] = {}
    try:
        while left or running:
            while left and (workers is None or len(running) < workers):
                rank = left.popleft()
                running[task.remote(exchange, work, rank)] = rank
            (ended, *_), _ = ray.wait(list(running), num_returns=1)
            rank = running.pop(ended)
            try:
                ray.get(ended)
            except RayTaskError as error:
                raise (error.cause or error) from None
            except RayError:
                lost.append(rank)
            else:
                done(rank)
    finally:
        for waiting in running:
            ray.cancel(waiting, force=True)
        if begun:
            ray.shutdown()
    if lost:
        raise UnfinishedError(
            f"{work}: {len(lost)} of {len(ranks)} ranks were lost with their processes or machines "
            f"again and again: {', '.join(map(str, sorted(lost)))}. The others are kept; run the "
            "same command again to do these."
        )


def _for_slurm(
    workers: int | None,
    exchange: str | None,
    settings: Settings,
    work: Path,
    ranks: Sequence[int],
    done: Done,
) -> None:
    from datatrove.executor import SlurmPipelineExecutor

    _check(SlurmPipelineExecutor, settings, needed=("partition", "time"))
    at_once = "" if workers is None else f"%{workers}"
    array = {"array": ",".join(map(str, ranks)) + at_once}
    executor = SlurmPipelineExecutor(
        [],
        tasks=len(ranks),
        logging_dir=str(work / "slurm"),
        **{
            "job_name": "ifllm-prepare",
            **settings,
            "sbatch_args": {**settings.get("sbatch_args", {}), **array},
        },
    )
    command = shlex.join(
        [sys.executable, "-m", "ifllm_hf.data.ranks.one_rank", str(exchange or work)]
    )
    script = work / "slurm" / "launch.sh"
    text = executor.get_launch_file_contents(
        executor.get_sbatch_args(len(ranks)), f"srun -l -n 1 {command} $SLURM_ARRAY_TASK_ID"
    )
    write_whole(script, text)
    raise UnfinishedError(
        f"Nothing was submitted: for Slurm this is a dry run. The script for {len(ranks)} ranks is "
        f"{script}; submit it with sbatch. When they are done run the same command: it joins them."
    )


class RankStep:
    """A step of a `datatrove` pipeline: one rank of an exchange."""

    def __init__(self, exchange: str, ranks: Sequence[int]) -> None:
        """Name the exchange, and which of its ranks are to be run."""
        self.exchange = exchange
        self.ranks = list(ranks)

    def __repr__(self) -> str:
        """Say what is run."""
        return f"RankStep({self.exchange!r}, {self.ranks})"

    def __call__(self, data: object = None, rank: int = 0, world_size: int = 1) -> None:
        """Run the rank at this place of the list."""
        run_rank_at(place_of(self.exchange), self.ranks[rank])


def _for_jobs(
    workers: int | None,
    exchange: str,
    settings: Settings,
    work: Path,
    ranks: Sequence[int],
    done: Done,
) -> None:
    from datatrove.executor import JobsPipelineExecutor
    from datatrove.executor.base import ExecutorJSONEncoder

    _check(JobsPipelineExecutor, settings)
    executor = JobsPipelineExecutor(
        [RankStep(exchange, ranks)],
        tasks=len(ranks),
        workers=-1 if workers is None else workers,
        logging_dir=f"{exchange}/jobs",
        **{
            "job_name": "ifllm-prepare",
            "dependencies": [f"ifllm-hf=={__version__}", "datatrove>=0.10.1"],
            **settings,
        },
    )
    executor.token = executor.secrets = None  # not for a file
    plan = work / "jobs.json"
    write_whole(plan, json.dumps(executor, cls=ExecutorJSONEncoder, indent=2) + "\n")
    raise UnfinishedError(
        f"Nothing was started: for Hugging Face Jobs this is a dry run. {plan} has the settings of "
        f"the {len(ranks)} jobs. When their ranks are in {exchange} run the same command: it joins "
        "them."
    )


def _check(executor: type, settings: Settings, needed: Sequence[str] = ()) -> None:
    ours = {"self", "pipeline", "tasks", "workers", "logging_dir", "depends", "skip_completed"}
    known = [name for name in inspect.signature(executor).parameters if name not in ours]
    unknown = sorted(set(settings) - set(known))
    missing = [name for name in needed if name not in settings]
    if unknown or missing:
        raise ConfigError(
            f"{executor.__name__}: unknown settings: {', '.join(unknown) or 'none'}, missing: "
            f"{', '.join(missing) or 'none'}. It knows {', '.join(known)}."
        )
