"""The engine `local`: worker processes of this machine, each of which checks what one module defines."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from gradcheck_lab.campaigns.by_module import Waiting
from gradcheck_lab.campaigns.cases import Case, CheckCase, Finished
from gradcheck_lab.campaigns.in_worker import Lanes, prepare_worker
from gradcheck_lab.model.limits import CASES_OF_A_PROCESS
from gradcheck_lab.workers.pool import Workers
from gradcheck_lab.workers.progress import SharedProgress

_EVERY = 0.1  # seconds between two looks at the workers


def run_locally(cases: Iterable[Case], check: CheckCase, jobs: int) -> Iterator[Finished]:
    """Run the cases in `jobs` processes, and yield each as it ends. A case that ends its process ends no other.

    A case runs in a process that has imported no other module of the plan, since that is what its hash stands for.
    """
    progress = SharedProgress(2 * jobs, numbers=1)
    with (
        TemporaryDirectory(prefix="gradcheck-lab-") as folder,
        Workers(jobs, prepare_worker, (progress,), CASES_OF_A_PROCESS.value) as workers,
    ):
        board = Lanes(progress, Path(folder))
        # as many lanes again as cases run, so that each worker has its next case before the result of the last is read
        waiting, running, free = Waiting(cases), dict[int, Case](), deque(range(2 * jobs))

        def hand_out(module: str | None) -> None:
            case = waiting.next(module)
            if case is not None:
                lane = free.popleft()
                running[lane] = case
                workers.submit(board.call(lane, case, check))

        for _ in range(jobs):
            hand_out(None)
        while running:
            ended = [(lane, running.pop(lane), outcome) for lane, outcome in workers.finished(within=_EVERY)]
            for _, case, _ in ended:
                hand_out(case.module)
            for lane, case, outcome in ended:
                finished = board.finished(lane, case, outcome)
                free.append(lane)
                yield finished
