"""What `gradcheck-lab fuzz` and `replay` do: one object or a whole module, in this process or several, with live counts."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from gradcheck_lab import specs
from gradcheck_lab.discovery.description import DESCRIPTION, constructed, specs_of
from gradcheck_lab.discovery.scan import names_of
from gradcheck_lab.discovery.targets import CannotConstruct, NoSpecs, import_module, listed, locate, public, read_option
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.fuzzing.examiner import Examiner
from gradcheck_lab.fuzzing.plan import Plan
from gradcheck_lab.fuzzing.portable import NOT_IMPORTABLE, read
from gradcheck_lab.model.several import Fuzzed
from gradcheck_lab.report import Report

Counts = Callable[[str, int, int], None]  # which object, its examples so far, whether one is wrong

_EVERY = 0.1  # seconds between two counts that a worker sends
_shared: tuple[Any, Any] | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One object to fuzz by one process."""

    target: str
    examples: int
    seed: int
    made_with: int
    specs: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    order: int = 1
    folder: Path | None = None




def fuzz_targets(job: Job, jobs: int, counts: Counts) -> Fuzzed:
    """Fuzz `pkg.module:name`, or everything in `pkg.module` whose inputs are described; Ctrl-C ends it with what is known.

    With several `jobs`, the objects, or the examples of one, are divided among as many processes.
    Raises `InvalidArgument` for what cannot be found or fuzzed.
    """
    if jobs < 1:
        raise InvalidArgument(f"jobs is {jobs}; pass at least 1")
    if job.examples < 1:
        raise InvalidArgument(f"examples is {job.examples}; pass at least 1")
    fuzzed = Fuzzed(job.target)
    ready = _ready(job, fuzzed)
    work = [part for each in ready for part in _divided(each, -(-jobs // max(1, len(ready))))]
    if jobs == 1 or len(work) < 2:
        for each in work:
            try:
                _take_one(fuzzed, each, counts)
            except KeyboardInterrupt:
                fuzzed.interrupted = True
            if fuzzed.interrupted:
                break
    else:
        _in_processes(fuzzed, work, min(jobs, len(work)), counts)
    return fuzzed


def replay(path: str | Path) -> Report:
    """Examine the call in a file that fuzzing saved, on what its target is now.

    Raises `InvalidArgument` for a file that is no case, and for one whose op cannot be imported.
    """
    saved = read(path)
    if saved.target is None:
        raise InvalidArgument(
            f"{str(path)!r} does not say where {saved.subject} can be imported from, since it was defined in a script or "
            "function; move it to a module and fuzz again, or run the lines in the entry 'python'"
        )
    if saved.reference == NOT_IMPORTABLE:
        raise InvalidArgument(
            f"the case in {str(path)!r} was held against a reference that cannot be imported; "
            "move it to a module and fuzz again"
        )
    dtypes = [tensor.dtype for tensor in saved.call.tensors if tensor.dtype.is_floating_point]
    found = constructed(locate(saved.target), saved.target.partition(":")[2], saved.made_with, (*dtypes, torch.float64)[0])
    reference = None if saved.reference is None else locate(saved.reference)
    report = Examiner(found, reference, saved.order, saved.allow).report(saved.call)
    return replace(report, reproduce=f"gradcheck-lab replay {path}")


def plan_of(job: Job, counts: Counts = lambda name, examples, found: None) -> Plan:
    """The fuzz run of one job. Raises `InvalidArgument` for what cannot be found, constructed or described."""
    module_name, _, name = job.target.partition(":")
    found = locate(job.target)
    try:
        found = constructed(found, name, job.made_with, torch.float64)
    except InvalidArgument as error:
        raise CannotConstruct(job.target, "fuzzed", str(error)) from error.__cause__
    signature: Sequence[Any] = tuple(specs.parse(text) for text in job.specs)
    if not signature and not getattr(found, "signatures", ()):
        signature = specs_of(found, module_name, name)
        if not signature:
            raise NoSpecs(
                f"{job.target} has no specs to draw its inputs from; give one per input, such as "
                "--spec \"real('n d')\" --spec \"labels('n', classes='d')\""
            )
    options = dict(read_option(text) for text in job.options)
    return Plan(
        found, signature, options, None, job.examples, job.order, set(job.allow), job.seed, job.target, job.folder,
        lambda examples, wrong: counts(name, examples, wrong), made_with=job.made_with,
    )  # fmt: skip


def _ready(job: Job, fuzzed: Fuzzed) -> list[Job]:
    """A job for each object that can be fuzzed; why the others cannot goes to `fuzzed.skipped`."""
    if ":" in job.target:
        plan_of(job)
        return [job]
    if job.specs or job.options or job.allow or job.order != 1:
        raise InvalidArgument(f"--spec, --option, --allow and --order are for one object; write it as {job.target}:name")
    module = import_module(job.target)
    ready = []
    for name in names_of(module):
        each = replace(job, target=f"{job.target}:{name}")
        try:
            plan_of(each)
            ready.append(each)
        except NoSpecs:
            fuzzed.skipped[name] = (
                f"nothing describes its inputs; add {DESCRIPTION} = {{{name!r}: \"real('n d')\"}} to the module"
            )
        except CannotConstruct as error:
            fuzzed.skipped[name] = error.why
        except InvalidArgument as error:
            fuzzed.skipped[name] = str(error)
    if not ready and not fuzzed.skipped:
        raise InvalidArgument(
            f"the module {job.target!r} defines no op, autograd Function, custom op, layer or module; "
            f"it has {listed(public(module))}"
        )
    return ready


def _divided(job: Job, parts: int) -> Iterator[Job]:
    """The job with its examples divided among `parts`, each with a seed of its own."""
    parts = min(parts, job.examples)
    for part in range(parts):
        examples = job.examples * (part + 1) // parts - job.examples * part // parts
        yield replace(job, examples=examples, seed=job.seed + part)


def _take_one(fuzzed: Fuzzed, job: Job, counts: Counts) -> None:
    name = job.target.partition(":")[2]
    plan = plan_of(job, counts)
    try:
        fuzzed.take(name, replace(plan.run(), subject=name))
    except InvalidArgument as error:
        if ":" in fuzzed.target:
            raise
        fuzzed.skipped[name] = str(error)
    fuzzed.interrupted |= plan.interrupted


def _in_processes(fuzzed: Fuzzed, work: Sequence[Job], jobs: int, counts: Counts) -> None:
    context = multiprocessing.get_context("spawn")
    stop, queue = context.Event(), context.Queue()
    seen: dict[str, dict[int, tuple[int, int]]] = {}
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_start, initargs=(stop, queue)) as pool:
        futures = {pool.submit(_run_job, index, job): job for index, job in enumerate(work)}
        pending: set[Future[Any]] = set(futures)
        while pending:
            try:
                done, pending = wait(pending, timeout=_EVERY)
                while not queue.empty():
                    index, name, examples, wrong = queue.get()
                    of_name = seen.setdefault(name, {})
                    of_name[index] = (examples, wrong)
                    counts(name, sum(n for n, _ in of_name.values()), max(w for _, w in of_name.values()))
                for future in done:
                    _gather(fuzzed, futures[future], future)
            except KeyboardInterrupt:
                stop.set()
                fuzzed.interrupted = True
                for future in pending:
                    future.cancel()
                pending = {future for future in pending if not future.cancelled()}


def _gather(fuzzed: Fuzzed, job: Job, future: Future[Any]) -> None:
    name = job.target.partition(":")[2]
    try:
        data, interrupted = future.result()
    except BrokenProcessPool:
        raise InvalidArgument(
            f"a process that fuzzed {name} ended by itself, as a crash does; run with --jobs 1 to see it"
        ) from None
    except InvalidArgument as error:
        if ":" in fuzzed.target:
            raise
        fuzzed.skipped[name] = str(error)
        return
    fuzzed.interrupted |= interrupted
    if data is not None:
        fuzzed.take(name, Report.from_dict(data))


def _start(stop: Any, queue: Any) -> None:
    """Set up a worker: Ctrl-C reaches it through the event alone, and torch uses one thread."""
    global _shared
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    _shared = (stop, queue)


def _run_job(index: int, job: Job) -> tuple[dict[str, Any] | None, bool]:
    assert _shared is not None
    stop, queue = _shared
    sent = [0.0]

    def counts(name: str, examples: int, wrong: int) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        now = time.monotonic()
        if now - sent[0] > _EVERY:
            sent[0] = now
            queue.put((index, name, examples, wrong))

    if stop.is_set():
        return None, True
    name = job.target.partition(":")[2]
    plan = plan_of(job, counts)
    report = replace(plan.run(), subject=name)
    queue.put((index, name, report.examples, int(report.verdict == "fail")))
    return report.to_dict(), plan.interrupted
