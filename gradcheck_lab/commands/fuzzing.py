"""What `gradcheck-lab fuzz` does: one object or a whole module, in this process or several, with live counts."""

from __future__ import annotations

from dataclasses import replace

from gradcheck_lab.commands.fuzz_job import Counts, Job, divided, plan_of
from gradcheck_lab.commands.fuzz_workers import fuzz_here, fuzz_in_workers
from gradcheck_lab.discovery.description import DESCRIPTION
from gradcheck_lab.discovery.scan import names_of
from gradcheck_lab.discovery.targets import CannotConstruct, NoSpecs, import_module, listed, public
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.several import Fuzzed

__all__ = ["Counts", "Job", "fuzz_targets", "plan_of"]


def fuzz_targets(job: Job, jobs: int, counts: Counts) -> Fuzzed:
    """Fuzz `pkg.module:name`, or everything in `pkg.module` whose inputs are described; Ctrl-C ends it with what is known.

    With several `jobs`, the objects, or the examples of one, are divided among as many processes, and one that ends its
    process fails as `crashed`. Raises `InvalidArgument` for what cannot be found or fuzzed.
    """
    if jobs < 1:
        raise InvalidArgument(f"jobs is {jobs}; pass at least 1")
    if job.examples < 1:
        raise InvalidArgument(f"examples is {job.examples}; pass at least 1")
    fuzzed = Fuzzed(job.target)
    ready = _ready(job, fuzzed)
    work = [part for each in ready for part in divided(each, -(-jobs // max(1, len(ready))))]
    if jobs == 1:
        fuzz_here(fuzzed, work, counts)
    else:
        fuzz_in_workers(fuzzed, work, jobs, counts)
    return fuzzed


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
