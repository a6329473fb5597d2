"""The engine `ray`: the cases of a manifest as tasks of an existing Ray cluster, their results written here.

A task runs its case in a worker process of its node, as the engine `local` does, so that a case which ends its process is a
finding and no failure of the task. A task that fails all the same was on a node or in a process of Ray that was lost: it runs
again on another.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

from gradcheck_lab.campaigns.by_module import by_module
from gradcheck_lab.campaigns.cases import Case, CheckCase, Finished
from gradcheck_lab.campaigns.in_worker import call_of, finished_of
from gradcheck_lab.campaigns.lanes import lanes_of, prepare_worker
from gradcheck_lab.campaigns.manifest import Plan
from gradcheck_lab.campaigns.sources import refuse_changed
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.isolation import Subjected, ended_report
from gradcheck_lab.model.conversion import as_dict, from_dict
from gradcheck_lab.model.limits import CASES_OF_A_PROCESS, RUNS_OF_A_LOST_CASE
from gradcheck_lab.model.shown import one_line, quoted
from gradcheck_lab.model.user_errors import class_and_line
from gradcheck_lab.workers.outcome import Died
from gradcheck_lab.workers.progress import SharedProgress

EXISTING = "auto"
_EVERY = 0.1  # seconds between two looks at the worker of a node
_AHEAD = 2  # tasks that are handed out for each core, so that no core waits for the driver
_LOOK = 10.0  # seconds between two looks at how many cores the cluster has
_GPUS = "CUDA_VISIBLE_DEVICES"
_SPECIAL, _ESCAPED = r"([\\*?[\] ])", r"\\\1"  # in a pattern of .gitignore
_RESERVED = 1.0  # of a core, and of a GPU for a case on one


class _Node:
    """What a process of Ray keeps from one task to the next: a worker process, for the GPUs that Ray gave to the task."""

    def __init__(self, gpus: str | None) -> None:
        self.kept = ExitStack()  # as long as the process of Ray
        self.lanes = self.kept.enter_context(lanes_of(1))
        self.workers = self.lanes.workers(1, _prepare, (gpus,), CASES_OF_A_PROCESS.value)

    def run(self, case: Case, check: CheckCase) -> Finished:
        """Run one case in the worker process."""
        self.workers.submit(call_of(case, check, self.lanes, 0))
        while True:
            for lane, outcome in self.workers.finished(within=_EVERY):
                return finished_of(case, outcome, self.lanes, lane)


_nodes: dict[str | None, _Node] = {}  # of a process of Ray, by the GPUs that a task may use
_sound: set[str] = set()  # the plans whose files and versions were found here


def run_on_ray(
    cases: Iterable[Case], check: CheckCase, plan: Plan, address: str | None, left_here: Sequence[Path] = ()
) -> Iterator[Finished]:
    """Run the cases as tasks of the cluster at an address, and yield each as it ends.

    Each takes one core, and one GPU where its device is cuda. The current directory is sent to the nodes, but for the files
    that are `left_here`. Raises `InvalidArgument` where Ray is not installed, no cluster is found, it does not take the
    directory, it has no GPU for a case on one, or a node has other versions than the plan.
    """
    ray = _ray()
    with _connected(address, _excluded(left_here)):
        remote = ray.remote(max_retries=RUNS_OF_A_LOST_CASE.value - 1, retry_exceptions=False)(_task)
        shared = ray.put((check, json.dumps(as_dict(plan))))
        # module by module, since a worker process of a node checks what one module defines
        waiting, running = chain.from_iterable(by_module(cases).values()), dict[Any, Case]()
        most, looked = 0, 0.0
        while True:
            if not most or time.monotonic() - looked > _LOOK:  # nodes come and go
                most, looked = _AHEAD * max(1, int(_resources().get("CPU", 1))), time.monotonic()
            while len(running) < most and (case := next(waiting, None)) is not None:
                gpus = _gpus_of(case)
                task = remote.options(num_cpus=_RESERVED, num_gpus=gpus).remote(as_dict(case), shared)
                running[task] = case
            if not running:
                return
            ended, _ = ray.wait(list(running), num_returns=1)
            for task in ended:
                yield _finished(task, running.pop(task))


def _ray() -> Any:
    """Ray, which takes a second to import and need not be installed."""
    try:
        return import_module("ray")
    except ImportError as error:
        raise InvalidArgument("--engine ray needs Ray; install it with pip install 'gradcheck_lab[ray]'") from error


class _connected:
    """The connection to a cluster, which ends with the block; one that stood before stays."""

    def __init__(self, address: str | None, excluded: Sequence[str]) -> None:
        self._excluded = list(excluded)
        self._address = address or os.environ.get("RAY_ADDRESS") or EXISTING
        self._own = not _ray().is_initialized()

    def __enter__(self) -> None:
        if not self._own:
            return
        sent = {"working_dir": os.getcwd(), "excludes": self._excluded}
        try:
            _ray().init(
                address=self._address, runtime_env=sent, log_to_driver=False, logging_level="error", configure_logging=False
            )
        except _ray().exceptions.RuntimeEnvSetupError as error:
            _ray().shutdown()
            raise InvalidArgument(
                f"the Ray cluster does not take the current directory ({one_line(str(error))}); "
                "name in a file .rayignore what the nodes do not need"
            ) from error
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise InvalidArgument(
                f"there is no Ray cluster at {quoted(self._address)} ({one_line(str(error))}); "
                "start one with ray start --head, or name its address with --ray-address"
            ) from error

    def __exit__(self, *ignored: object) -> None:
        if self._own:
            _ray().shutdown()


def _excluded(files: Sequence[Path]) -> list[str]:
    """Patterns, as those of .gitignore, of the files that lie in the current directory."""
    here = Path.cwd().resolve()
    inside = [path.resolve().relative_to(here) for path in files if here in path.resolve().parents]
    return [f"/{re.sub(_SPECIAL, _ESCAPED, path.as_posix())}" for path in inside]


def _resources() -> Mapping[str, float]:
    found: Mapping[str, float] = _ray().cluster_resources()
    return found


def _gpus_of(case: Case) -> float:
    """The GPUs that a task takes; Ray shows it no other, so that its only one is the first."""
    if not case.device.startswith("cuda"):
        return 0.0
    if case.device not in ("cuda", "cuda:0"):
        raise InvalidArgument(f"{case.name} names one GPU of several, and Ray chooses the GPU of a task; plan it on cuda")
    if not _resources().get("GPU"):
        raise InvalidArgument(f"{case.name} needs a GPU and the Ray cluster has none; plan without --device {case.device}")
    return _RESERVED


def _finished(task: Any, case: Case) -> Finished:
    ray = _ray()
    try:
        answer = ray.get(task)
    except ray.exceptions.RayError as error:
        if not isinstance(error, _lost()):
            raise InvalidArgument(
                f"a node of the Ray cluster cannot run {case.name} ({class_and_line(error)}); "
                "install there what is installed here"
            ) from error
        lost = ended_report(None, Subjected(case.name, case.seed, ""), Died(None), "the process of Ray, in every run,")
        return Finished(case, lost.to_dict(), one_line(str(error)), 0.0)
    data = json.loads(answer)
    if "refused" in data:
        raise InvalidArgument(data["refused"])
    return Finished(case, data["report"], data["why"], data["seconds"])


def _lost() -> tuple[type[Exception], ...]:
    """The exceptions of Ray that a task ends with whose process or node is lost, as often as it may run."""
    names = ("WorkerCrashedError", "NodeDiedError", "LocalRayletDiedError", "ObjectLostError", "OutOfMemoryError")
    return tuple(getattr(_ray().exceptions, name) for name in names if hasattr(_ray().exceptions, name))


def _prepare(progress: SharedProgress, gpus: str | None) -> None:
    """Prepare a worker; the server that it is forked from has the GPUs of the first task."""
    if gpus is None:
        os.environ.pop(_GPUS, None)
    else:
        os.environ[_GPUS] = gpus
    prepare_worker(progress)


def _task(data: dict[str, Any], shared: tuple[CheckCase, str]) -> str:
    """Run one case on this node; the result, or why this node cannot run the cases of the plan, is text of JSON."""
    check, plan = shared
    if plan not in _sound:
        try:
            known = from_dict(json.loads(plan), Plan, "plan")
            refuse_changed(known.files, known.versions)
        except InvalidArgument as error:
            return json.dumps({"refused": f"on the node {_ray().util.get_node_ip_address()}, {error}"})
        _sound.add(plan)
    gpus = os.environ.get(_GPUS)
    if gpus not in _nodes:
        _nodes[gpus] = _Node(gpus)
    done = _nodes[gpus].run(from_dict(data, Case, "case"), check)
    return json.dumps({"report": done.report, "why": done.why, "seconds": done.seconds})
