"""The engine `local`: worker processes of this machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from gradcheck_lab.campaigns.cases import Case, CheckCase, Finished
from gradcheck_lab.campaigns.in_worker import Lanes, prepare_worker
from gradcheck_lab.model.limits import CASES_OF_A_PROCESS
from gradcheck_lab.workers.pool import Workers
from gradcheck_lab.workers.progress import SharedProgress

_EVERY = 0.1  # seconds between two looks at the workers


def run_locally(cases: Iterable[Case], check: CheckCase, jobs: int) -> Iterator[Finished]:
    """Run the cases in `jobs` processes, and yield each as it ends. A case that ends its process ends no other.

    Twice as many cases as processes are handed out, so that no process waits while a result is written.
    """
    lanes = 2 * jobs
    progress = SharedProgress(lanes, numbers=1)
    with (
        TemporaryDirectory(prefix="gradcheck-lab-") as folder,
        Workers(jobs, prepare_worker, (progress,), CASES_OF_A_PROCESS.value) as workers,
    ):
        board = Lanes(progress, Path(folder))
        waiting, running = iter(cases), dict[int, Case]()
        for lane, case in zip(range(lanes), waiting):  # noqa: B905 - there may be fewer cases than lanes
            running[lane] = case
            workers.submit(board.call(lane, case, check))
        while running:
            for lane, outcome in workers.finished(within=_EVERY):
                finished = board.finished(lane, running.pop(lane), outcome)
                following = next(waiting, None)
                if following is not None:
                    running[lane] = following
                    workers.submit(board.call(lane, following, check))
                yield finished
