"""What runs ranks: this process, or several on this machine.

A process that is killed takes its own rank along and no other: the rest is done, then one error
says what is left.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path

from ifllm_hf.data.ranks.rank import run_rank
from ifllm_hf.errors import UnfinishedError

Rank = Callable[[Path, int], None]
Engine = Callable[[Path, Sequence[int], Callable[[int], None]], None]
"""Gets the working folder, the ranks to run, and what to call when one is done.

Raises UnfinishedError if ranks are left, and what a rank raised.
"""

_IDLE_S = 10
"""After so long without work a process leaves, also when the one that it worked for was killed."""


def engine_for(workers: int | None = None, *, rank: Rank = run_rank) -> Engine:
    """Return what runs so many ranks at once; a single one in this process.

    Args:
        workers: How many; None: the cores of this machine.
        rank: What a rank does.
    """
    if workers is None:
        from loky import cpu_count

        workers = cpu_count()
    return partial(_here, rank) if workers == 1 else partial(_processes, rank, workers)


def _here(rank: Rank, work: Path, ranks: Sequence[int], done: Callable[[int], None]) -> None:
    for number in ranks:
        rank(work, number)
        done(number)


def _processes(
    rank: Rank, workers: int, work: Path, ranks: Sequence[int], done: Callable[[int], None]
) -> None:
    # Not `datatrove`'s pool, nor any of `multiprocessing`: where one of its processes is killed it
    # waits for ever. A pool of one process each, so that a death breaks that one alone.
    from loky import ProcessPoolExecutor
    from loky.process_executor import BrokenProcessPool

    left, died = deque(ranks), []
    threads = {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
    env = {name: os.environ.get(name, value) for name, value in threads.items()}
    pools: set[ProcessPoolExecutor] = set()

    def worker() -> None:
        pool = None
        while left:
            number = left.popleft()
            if pool is None:
                pool = ProcessPoolExecutor(1, timeout=_IDLE_S, env=env)
                pools.add(pool)
            try:
                pool.submit(rank, work, number).result()
            except BrokenProcessPool:
                died.append(number)
                pool = None
            else:
                done(number)

    with ThreadPoolExecutor(workers) as threads_of_workers:
        running = [threads_of_workers.submit(worker) for _ in range(min(workers, len(ranks)))]
        try:
            # In short turns: a wait without end saw Ctrl-C only when a rank was done.
            while busy := [of_worker for of_worker in running if not of_worker.done()]:
                wait(busy, timeout=0.5)
                if any(of_worker.done() and of_worker.exception() for of_worker in running):
                    left.clear()  # nothing new is begun, and what runs is done
            interrupted = False
        except BaseException:  # Ctrl-C
            left.clear()
            interrupted = True
            raise
        finally:
            for pool in list(pools):
                pool.shutdown(wait=True, kill_workers=interrupted)
    for of_worker in running:
        of_worker.result()
    if died:
        raise UnfinishedError(
            f"{work}: {len(died)} of {len(ranks)} ranks ended without a word (killed, or out of "
            f"memory): {', '.join(map(str, sorted(died)))}. The others are kept; run the same "
            "command again to do these."
        )
