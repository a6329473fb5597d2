"""The engine `local`: worker processes of this machine, each of which checks what one module defines."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from gradcheck_lab.campaigns.by_module import Waiting
from gradcheck_lab.campaigns.cases import Case, CheckCase, Finished
from gradcheck_lab.campaigns.in_worker import call_of, finished_of
from gradcheck_lab.campaigns.lanes import lanes_of, prepare_worker
from gradcheck_lab.model.limits import CASES_OF_A_PROCESS

_EVERY = 0.1  # seconds between two looks at the workers


def run_locally(cases: Iterable[Case], check: CheckCase, jobs: int) -> Iterator[Finished]:
    """Run the cases in `jobs` processes, and yield each as it ends. A case that ends its process ends no other.

    A case runs in a process that has imported no other module of the plan, since that is what its hash stands for.
    """
    with lanes_of(2 * jobs) as lanes, lanes.workers(jobs, prepare_worker, (), CASES_OF_A_PROCESS.value) as workers:
        # as many lanes again as cases run, so that each worker has its next case before the result of the last is read
        waiting, running, free = Waiting(cases), dict[int, Case](), deque(range(2 * jobs))

        def hand_out(module: str | None) -> None:
            case = waiting.next(module)
            if case is not None:
                lane = free.popleft()
                running[lane] = case
                workers.submit(call_of(case, check, lanes, lane))

        for _ in range(jobs):
            hand_out(None)
        while running:
            ended = [(lane, running.pop(lane), outcome) for lane, outcome in workers.finished(within=_EVERY)]
            for _, case, _ in ended:
                hand_out(case.module)
            for lane, case, outcome in ended:
                finished = finished_of(case, outcome, lanes, lane)
                free.append(lane)
                yield finished
