"""The command `gradcheck-lab fuzz`, of one object or of a whole module.

1. The target becomes jobs: one for each object that can be fuzzed, each split among the processes (`fuzz_jobs`).
2. The jobs run in this process or in worker processes, which show their counts while they run (`fuzz_processes`).
3. A job whose call ends its process is reported with that call (`fuzz_crash`).
4. `gradcheck_lab.model.several.Fuzzed` gathers the reports; `gradcheck_lab.render.fuzz` shows them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gradcheck_lab.commands.check_processes import in_worker
from gradcheck_lab.commands.fuzz_jobs import Job, ShowCounts, fuzz_run_of, split
from gradcheck_lab.commands.fuzz_processes import fuzz_here, fuzz_in_workers
from gradcheck_lab.discovery.description import DESCRIPTION
from gradcheck_lab.discovery.scan import names_of
from gradcheck_lab.discovery.targets import CannotConstruct, NoSpecs, import_module, listed, public
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.several import Fuzzed
from gradcheck_lab.workers.apart import Limits


def fuzz_targets(job: Job, processes: int, show: ShowCounts, limits: Limits | None = None) -> Fuzzed:
    """Fuzz `pkg.module:name`, or everything in `pkg.module` whose inputs are described; Ctrl-C ends it with what is known.

    `job` has the options of the command for all objects. With several `processes`, or with `limits`, the objects, or the
    examples of one, are divided among worker processes: an object that ends its process fails as `crashed`, one that takes more
    than the limits as `timed-out` or `memory-exceeded`. Raises `InvalidArgument` for a target that
    cannot be imported or fuzzed.
    """
    if processes < 1:
        raise InvalidArgument(f"jobs is {processes}; pass at least 1")
    if job.examples < 1:
        raise InvalidArgument(f"examples is {job.examples}; pass at least 1")
    fuzzed = Fuzzed(job.target)
    found = targets_of(job) if limits is None else in_worker(targets_of, (job,), Targets, job.target, limits)
    fuzzed.skipped.update(found.skipped)
    ready = [replace(job, target=target) for target in found.ready]
    work = [part for each in ready for part in split(each, -(-processes // max(1, len(ready))))]
    if processes == 1 and limits is None:
        fuzz_here(fuzzed, work, show)
    else:
        fuzz_in_workers(fuzzed, work, processes, limits or Limits(), show)
    return fuzzed


@dataclass(frozen=True, slots=True)
class Targets:
    """Each object that can be fuzzed, as `pkg.module:name`, and the reason for each other one, by name."""

    ready: tuple[str, ...]
    skipped: dict[str, str]


def targets_of(job: Job) -> Targets:
    """What of a job's target can be fuzzed; the module is imported."""
    if ":" in job.target:
        fuzz_run_of(job)
        return Targets((job.target,), {})
    if job.specs or job.options or job.allow or job.order != 1:
        raise InvalidArgument(f"--spec, --option, --allow and --order are for one object; write it as {job.target}:name")
    module = import_module(job.target)
    ready, skipped = list[str](), dict[str, str]()
    for name in names_of(module):
        each = replace(job, target=f"{job.target}:{name}")
        try:
            fuzz_run_of(each)
            ready.append(each.target)
        except NoSpecs:
            skipped[name] = f"nothing describes its inputs; add {DESCRIPTION} = {{{name!r}: \"real('n d')\"}} to the module"
        except CannotConstruct as error:
            skipped[name] = error.why
        except InvalidArgument as error:
            skipped[name] = str(error)
    if not ready and not skipped:
        raise InvalidArgument(
            f"the module {job.target!r} defines no op, autograd Function, custom op, layer or module; "
            f"it has {listed(public(module))}"
        )
    return Targets(tuple(ready), skipped)
