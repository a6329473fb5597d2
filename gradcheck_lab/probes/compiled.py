"""Under `torch.compile` the outputs and gradients are those of the call uncompiled. No default probe, for its cost."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from gradcheck_lab.calls.case import Case, is_differentiable
from gradcheck_lab.calls.dimensions import dimensions_of
from gradcheck_lab.calls.drawn_again import similar_inputs
from gradcheck_lab.calls.layouts import TRANSPOSED
from gradcheck_lab.calls.randomness import draws_random
from gradcheck_lab.calls.upstream import random_like
from gradcheck_lab.model.arguments import refuse_names
from gradcheck_lab.model.causes import CAUSES
from gradcheck_lab.model.exceptions import class_name
from gradcheck_lab.model.findings import Finding, Severity
from gradcheck_lab.model.limits import COMPILED_SIZES, COMPILER_REASONS
from gradcheck_lab.model.precision import widened
from gradcheck_lab.model.user_errors import first_line, user_traceback
from gradcheck_lab.probes.support import compiling
from gradcheck_lab.probes.support.compiling import Backend, Compiler, backends, fresh_compiler
from gradcheck_lab.probes.support.context import Context, Probe, Run
from gradcheck_lab.probes.support.derived_calls import derived_call_examiner, derived_case, shapes_text
from gradcheck_lab.probes.support.fake_kernels import Broken, FakeKernels
from gradcheck_lab.probes.support.opchecked import opchecked, registration_ran
from gradcheck_lab.probes.support.repeats import (
    compared_inputs,
    equal_within_noise,
    is_zero,
    outputs_equal_within_noise,
    snapshot,
)
from gradcheck_lab.probes.support.size_variants import variants
from gradcheck_lab.subjects.compiled import UsersRun
from gradcheck_lab.subjects.custom_op import operator_name
from gradcheck_lab.subjects.subject import Subject

AS_GIVEN, OTHER_SIZES = "as given", "other sizes"


@dataclass(frozen=True, slots=True)
class _Call:
    """One call, in words and as a case, with the uncompiled run that the compiled ones are held against.

    `resizes` is set for the first call of other sizes than those that were compiled.
    """

    words: str
    case: Case
    plain: Run
    resizes: bool = False


def compiled(context: Context) -> Iterator[Finding]:
    """Run the call, other values and other sizes under each backend of torch's compiler, and uncompiled."""
    return _compiled(context, compiling.NAMES)


def compiled_quickly(context: Context) -> Iterator[Finding]:
    """Do so without inductor, which compiles C++ code: a check takes seconds."""
    return _compiled(context, [name for name in compiling.NAMES if name != "inductor"])


def compiled_with(*names: str) -> Probe:
    """The probe with some backends alone, of "eager", "aot_eager" and "inductor".

    Raises `InvalidArgument` for another name.

    >>> compiled_with("eager", "aot_eager").__name__
    'compiled'
    """
    refuse_names("compiled_with", names, compiling.NAMES)

    def compiled(context: Context) -> Iterator[Finding]:
        return _compiled(context, names)

    return compiled


def _compiled(context: Context, names: Sequence[str]) -> Iterator[Finding]:
    started = time.perf_counter()
    users = UsersRun(context.subject)
    plain = users.under()
    if plain is None:
        yield _note(context, f"{context.subject.name} was not compiled", "nobody compiles a layer that computes in NumPy")
        return
    of_operator = opchecked(context)
    of_fakes = list(_of_fake_kernels(context, plain, of_operator))
    yield from of_fakes if registration_ran(context) else (*of_operator, *of_fakes)
    known = {finding.severity for finding in (*of_operator, *of_fakes)}
    if "error" in known:
        return  # what the compiler makes of a kernel that is not what it promises says no more
    yield from _compared(context, users, plain, names, started, known)


def _compared(
    context: Context, users: UsersRun, plain: Subject, names: Sequence[str], started: float, known: Collection[Severity]
) -> Iterator[Finding]:
    """What each backend makes of the call, and what it cost. A refusal is not told where it was, by a warning."""
    calls = list(_calls(context, plain))
    chosen, lacking = backends(names, context.case.inputs)
    if lacking:
        yield _note(context, "inductor was not tried", f"it did not find {lacking}")
    told: set[tuple[str, Severity]] = {("unsupported", severity) for severity in known}
    tried: list[str] = []
    for backend in chosen:
        tried.append(backend.name)
        with fresh_compiler() as said:
            subject = users.under(backend.compile)
            assert subject is not None
            found, further = _under(context, backend, plain, subject, calls, said)
            yield from (finding for finding in found if (finding.cause, finding.severity) not in told)
            told |= {(finding.cause, finding.severity) for finding in found}
            if backend is chosen[0]:
                yield from _of_graphs(context, said(), further)
        if any(finding.severity == "error" for finding in found):
            break  # the next one has this mistake too
    seconds = time.perf_counter() - started
    count = f"{len(tried)} backend{'s' if len(tried) > 1 else ''}"
    yield _note(context, f"compiled with {count} in {seconds:.0f} s", ", ".join(tried))


def _of_fake_kernels(context: Context, plain: Subject, of_operator: Sequence[Finding]) -> Iterator[Finding]:
    """The custom operators within the call whose fake kernel says something else than their kernel does.

    Strides that it keeps on the call as given, and not on transposed inputs, are a warning: such a call need not be meant.
    """
    operator, inputs = context.subject.operator, context.case.inputs
    own = None if operator is None else operator_name(operator)
    placed = tuple(TRANSPOSED.apply(v) if is_differentiable(v) and v.ndim > 1 else v for v in inputs)
    told: set[str] = set()
    for given, words, skip in ((inputs, AS_GIVEN, own), (placed, TRANSPOSED.words_of_input, own if of_operator else None)):
        mode = FakeKernels(skip)
        with mode:
            _run(context, plain, context.case_with(inputs=given))
        for name, broken in mode.broken.items():
            if name not in told:
                told.add(name)
                yield _broken(broken, words)


def _broken(broken: Broken, words: str) -> Finding:
    if broken.missing:
        return Finding(
            "unsupported",
            "warning",
            f"{broken.operator} has no fake kernel",
            explanation="torch.compile and torch.export need it, and leave the graph there or refuse the call",
            suggestion="add one with register_fake",
            probe="compiled",
            case=words,
        )
    return Finding(
        "forward-mismatch",
        "error" if words == AS_GIVEN else "warning",
        f"the fake kernel of {broken.operator} is not that of its kernel",
        explanation=broken.difference,
        suggestion="make the function given to register_fake return the kernel's shapes, strides and dtypes",
        probe="compiled",
        case=words if words == AS_GIVEN else f"the inputs {words}",
    )


def _calls(context: Context, plain: Subject) -> Iterator[_Call]:
    """The base call, one with other values, and two with other sizes, as far as they run uncompiled."""
    case = context.case
    cases = [(AS_GIVEN, case), ("other values", context.case_with(inputs=similar_inputs(case.inputs)(case.seed + 1)))]
    dims = dimensions_of(case.inputs, context.subject.specs)
    for variant in variants(context, dims, case.inputs) if context.derives else ():
        if variant.change == OTHER_SIZES and len(cases) < 2 + COMPILED_SIZES.value:
            shapes = shapes_text(context, variant.inputs)
            cases.append((f"{OTHER_SIZES}: {shapes}", derived_case(context, inputs=variant.inputs, label=OTHER_SIZES)))
    sized = False
    for words, each in cases:
        run = _run(context, plain, each)
        if run is not None and run[1].error is None and _is_finite(run[1]):
            yield _Call(words, *run, resizes=each.label == OTHER_SIZES and not sized)
            sized = sized or each.label == OTHER_SIZES


def _run(context: Context, subject: Subject, case: Case) -> tuple[Case, Run] | None:
    """The case with upstream gradients, and its run; None where the forward raises."""
    runs = context.for_case(replace(context.runner, subject=subject), case)
    recording = runs.record(case)
    if isinstance(recording, Exception):
        return None
    if case.grad_outputs is None:
        generator = torch.Generator().manual_seed(case.seed)
        case = replace(case, grad_outputs=tuple(random_like(output, generator) for output in recording.outputs))
    outputs = snapshot(recording.outputs)
    run = runs.backward(recording, case.grad_outputs or (), case.seed)
    return case, Run(outputs, snapshot(run.gradients), run.error)


def _is_finite(run: Run) -> bool:
    return all(bool(torch.isfinite(value).all()) for value in run.outputs if is_differentiable(value))


def _under(
    context: Context,
    backend: Backend,
    plain: Subject,
    subject: Subject,
    calls: Sequence[_Call],
    said: Callable[[], Compiler],
) -> tuple[list[Finding], list[str]]:
    """The findings of the calls under one backend, and the guards that failed on calls for which nothing need be compiled.

    The first call is compiled, and once more the first of other sizes, which makes sizes dynamic.
    """
    found: list[Finding] = []
    failed: list[str] = []
    known: set[str] = set()
    for call in calls:
        runs = context.for_case(replace(context.runner, subject=subject), call.case)
        run = runs.run(call.case)
        if run.error is not None:
            return [*found, _refused(context, backend, call, run.error)], failed
        failed += [guard for guard in said().again if guard not in known and not call.resizes]
        known |= set(said().again)
        if draws_random(call.case.seed) and backend.name == "inductor":
            break  # it draws other numbers, or the same ones in another order
        compared = _differences(context, plain, runs, backend, call, Run(run.outputs, snapshot(run.gradients)))
        found += (each for each in compared if each.gradient not in {known.gradient for known in found})
        if any(finding.gradient is None for finding in found):
            break  # where the outputs differ, gradients say no more
    return found, failed


def _differences(
    context: Context, plain: Subject, runs: Context, backend: Backend, call: _Call, run: Run
) -> Iterator[Finding]:
    """The first output, or else the gradients, that are others than uncompiled and not right by the oracle either."""
    uncompiled = context.for_case(replace(context.runner, subject=plain), call.case)
    if not outputs_equal_within_noise(uncompiled, run.outputs, call.plain.outputs):
        yield _mismatch(backend, call, "the output", None, *_values(run.outputs, call.plain.outputs))
        return
    indices = [i for i in compared_inputs(context) if i not in context.wrong_inputs]
    if len(run.gradients) != len(call.plain.gradients):
        indices = []
        yield _mismatch(backend, call, "the number of gradients", None, f"it returns {len(run.gradients)}", None)
    unlike = [i for i in indices if not _is_equal(runs, run.gradients[i], call.plain.gradients[i])]
    if not unlike:
        return
    errors = _new_errors(context, plain, runs.subject, call.case)
    for i in unlike:
        mine, theirs = run.gradients[i], call.plain.gradients[i]
        wrong = context.name(i) in errors if errors is not None else not equal_within_noise(uncompiled, i, mine, theirs)
        if wrong:
            what = f"gradient of {context.label(i)}"
            yield _mismatch(backend, call, what, context.name(i), *_values((mine,), (theirs,)))


def _is_equal(context: Context, mine: Any, theirs: Any) -> bool:
    if mine is None or theirs is None:
        return is_zero(mine) and is_zero(theirs)
    return context.equal(mine, theirs)


def _new_errors(context: Context, plain: Subject, compiled: Subject, case: Case) -> set[str | None] | None:
    """The gradients that are wrong by the oracle compiled, and not uncompiled; None where there is no oracle for the case."""
    examiner = derived_call_examiner(context)
    found = replace(examiner, runner=replace(examiner.runner, subject=compiled)).examine(case)
    own = replace(examiner, runner=replace(examiner.runner, subject=plain)).examine(case)
    if found is None or own is None:
        return None
    return {error.gradient for error in found.new_errors} - {error.gradient for error in own.new_errors}


def _values(mine: Sequence[Any], theirs: Sequence[Any]) -> tuple[str, float | None]:
    """Where two results differ most, in words, and by how much."""
    for a, b in zip(mine, theirs, strict=False):
        if a is None or b is None:
            return f"it is {'None' if a is None else 'there'}, and {'None' if b is None else 'there'} uncompiled", None
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"it is {_kind(a)}, and {_kind(b)} uncompiled", None
        error = torch.nan_to_num((widened(a) - widened(b)).abs(), math.inf) if is_differentiable(b) else (a != b).double()
        if error.numel() and float(error.max()) > 0:
            at = tuple(int(k) for k in torch.unravel_index(error.argmax(), error.shape))
            return f"at {list(at)} it is {a[at].item():.6g}, and {b[at].item():.6g} uncompiled", float(error[at])
    return "another number of them", None


def _kind(value: torch.Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} of shape {tuple(value.shape)}"


def _mismatch(
    backend: Backend, call: _Call, what: str, gradient: str | None, explanation: str, measured: float | None
) -> Finding:
    return Finding(
        "compiled-mismatch",
        "error",
        f"{what} is another under torch.compile ({backend.name})",
        gradient=gradient,
        explanation=explanation,
        suggestion=CAUSES["compiled-mismatch"].fix,
        probe="compiled",
        case=f"backend {backend.name}, {call.words}",
        measured=measured,
    )


def _refused(context: Context, backend: Backend, call: _Call, error: Exception) -> Finding:
    return Finding(
        "unsupported",
        "warning",
        f"{context.subject.name} runs uncompiled, and torch.compile ({backend.name}) raised {type(error).__name__}",
        explanation=first_line(error),
        suggestion="write it with torch functions or custom ops with fake kernels, or call it under torch.compiler.disable",
        probe="compiled",
        case=f"backend {backend.name}, {call.words}",
        exception=class_name(error),
        traceback=user_traceback(error),
    )


def _of_graphs(context: Context, said: Compiler, further: Sequence[str]) -> Iterator[Finding]:
    for reason in said.breaks[: COMPILER_REASONS.value]:
        yield _note(context, f"torch.compile leaves the graph in {context.subject.name}", reason)
    if further:
        listed = "; ".join(further[: COMPILER_REASONS.value])
        yield _note(context, f"torch.compile compiles {context.subject.name} again and again", f"these guards failed: {listed}")
    if not said.graphs:
        yield _note(context, f"torch.compile made no graph of {context.subject.name}", "it ran as it runs uncompiled")


def _note(context: Context, message: str, explanation: str) -> Finding:
    return Finding("compiled", "note", message, explanation=explanation, probe="compiled")
