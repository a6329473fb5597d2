"""Outputs and gradients by a Function's vmap rule equal those of a loop over the batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.calls.moves import jittered
from gradcheck_lab.calls.randomness import draws_random
from gradcheck_lab.calls.similar_values import with_structure_of
from gradcheck_lab.comparison.budget import judge
from gradcheck_lab.model.amounts import BATCH_FACTORS, BATCH_JITTER
from gradcheck_lab.model.exceptions import class_name
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import BATCHED_ALONE
from gradcheck_lab.model.precision import is_narrow, unit_roundoff, widened
from gradcheck_lab.model.precision.budget import SAME_ROUNDINGS, SAME_ROUNDINGS_16_BITS
from gradcheck_lab.model.precision.derived_calls import BATCHED_SUM
from gradcheck_lab.model.raised import raised_cause
from gradcheck_lab.model.torch_messages import cannot_be_mapped
from gradcheck_lab.model.user_errors import first_line, user_traceback
from gradcheck_lab.oracles.autograd.simulated_rounding import perturb
from gradcheck_lab.oracles.numeric.scalar_problem import rms
from gradcheck_lab.probes.forward_mode import overrides
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.repeats import compared_inputs

Row = tuple[Any, ...]
Result = tuple[list[torch.Tensor], dict[int, torch.Tensor]]


@dataclass(frozen=True, slots=True)
class _Batch:
    """`rows` are the inputs of each call; `dims` the axis along which each input is stacked, None for one that is not.

    `description` is what messages call it.
    """

    rows: tuple[Row, ...]
    dims: tuple[int | None, ...]
    description: str


def vmap(context: Context) -> Iterator[Finding]:
    """Run three calls with different values through the Function's vmap rule, its own or a generated one, and in a loop."""
    function = context.subject.autograd_function
    if function is None or not _has_rule(function):
        return
    rows = _rows(context, _jittered)
    if _looped(context, rows) is None:
        rows = _rows(context, _scaled)
    for batch in _batches(context, rows):
        wanted = _looped(context, batch.rows)
        if wanted is None:
            continue
        if draws_random(context.case.seed):
            return
        try:
            found = _mapped(context, batch)
        except Exception as error:
            yield _raised(context, batch, error)
            return
        finding = _difference(context, batch, found, wanted)
        if finding is not None:
            yield finding
            return


def _has_rule(function: Any) -> bool:
    return overrides(function, "vmap") or bool(getattr(function, "generate_vmap_rule", False))


def _batches(context: Context, rows: tuple[Row, ...]) -> Iterator[_Batch]:
    tensors = [isinstance(value, torch.Tensor) for value in rows[0]]
    yield _Batch(rows, tuple(0 if t else None for t in tensors), "batched along axis 0")
    last = tuple(v.ndim if isinstance(v, torch.Tensor) else None for v in rows[0])
    if any(last):
        yield _Batch(rows, last, "batched along the last axis")
    for i in compared_inputs(context)[: BATCHED_ALONE.value] if sum(tensors) > 1 else ():
        one_batched = tuple((*rows[0][:i], row[i], *rows[0][i + 1 :]) for row in rows)
        yield _Batch(one_batched, tuple(0 if k == i else None for k in range(len(tensors))), f"only {context.label(i)} batched")


def _rows(context: Context, change: Any) -> tuple[Row, ...]:
    wanted = compared_inputs(context)
    return tuple(
        tuple(change(v, row) if row and i in wanted else v for i, v in enumerate(context.case.inputs))
        for row in range(len(BATCH_FACTORS.value))
    )


def _jittered(value: torch.Tensor, row: int) -> torch.Tensor:
    if not value.is_complex() and torch.equal(value, value.round()):
        return value
    return with_structure_of(value, jittered(value, BATCH_JITTER.value, torch.Generator().manual_seed(row)))


def _scaled(value: torch.Tensor, row: int) -> torch.Tensor:
    return with_structure_of(value, value * (1 + row / 8))


def _looped(context: Context, rows: Sequence[Row]) -> Result | None:
    """Run the calls one by one and stack their results along a new first axis; None where one raises or is not finite."""
    try:
        grads = context.case.grad_outputs or ()
        results = [_gradients(context, row, [g * f for g in grads]) for row, f in zip(rows, BATCH_FACTORS.value, strict=True)]
        outputs = [torch.stack(values) for values in zip(*(outputs for outputs, _ in results), strict=True)]
        gradients = {i: torch.stack([found[i] for _, found in results]) for i in results[0][1]}
    except Exception:  # the forward need not take these values
        return None
    finite = all(bool(torch.isfinite(v).all()) for v in [*outputs, *gradients.values()])
    return (outputs, gradients) if finite else None


def _mapped(context: Context, batch: _Batch) -> Result:
    """Run the calls as one through `torch.func.vmap`; gradients of batched inputs have the batch dimension first."""
    given = tuple(
        value if dim is None else torch.stack([row[i] for row in batch.rows], dim)
        for i, (value, dim) in enumerate(zip(batch.rows[0], batch.dims, strict=True))
    )
    upstream = [torch.stack([grad * factor for factor in BATCH_FACTORS.value]) for grad in context.case.grad_outputs or ()]
    outputs, gradients = _gradients(context, given, upstream, batch.dims)
    return outputs, {i: g.movedim(dim, 0) if (dim := batch.dims[i]) is not None else g for i, g in gradients.items()}


def _gradients(context: Context, given: Row, upstream: Sequence[torch.Tensor], dims: Sequence[int | None] = ()) -> Result:
    """Outputs of one call, mapped over `dims` if given, and gradients by input; zeros where there is no path."""
    context.runner.begin(context.case.seed, forward=1, backward=1)
    leaves = {i: given[i].detach().clone().requires_grad_() for i in compared_inputs(context)}
    tensors = [i for i, value in enumerate(given) if isinstance(value, torch.Tensor)]

    def call(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        arguments = list(given)
        for i, value in zip(tensors, values, strict=True):
            arguments[i] = value
        result = context.subject.user.apply(*arguments)
        return tuple(v for v in (result if isinstance(result, (tuple, list)) else (result,)) if isinstance(v, torch.Tensor))

    with torch.enable_grad():
        values = [leaves[i].clone() if i in leaves else given[i].clone() for i in tensors]
        mapped = torch.func.vmap(call, tuple(dims[i] for i in tensors)) if dims else call
        outputs = mapped(*values)
    pairs = [(o, g.to(o)) for o, g in zip(outputs, upstream, strict=True) if o.requires_grad and o.shape == g.shape]
    found: Sequence[Any] = [None] * len(leaves)
    if pairs:
        roots, grads = zip(*pairs, strict=True)
        found = torch.autograd.grad(roots, list(leaves.values()), grads, allow_unused=True)
    gradients = {i: torch.zeros_like(v) if g is None else g.detach() for (i, v), g in zip(leaves.items(), found, strict=True)}
    return [output.detach() for output in outputs], gradients


def _difference(context: Context, batch: _Batch, found: Result, wanted: Result) -> Finding | None:
    several = len(wanted[0]) > 1
    compare = [
        (f"output {k}" if several else "output", mine, theirs, False)
        for k, (mine, theirs) in enumerate(zip(found[0], wanted[0], strict=True))
    ]
    compare += [(f"gradient of {context.label(i)}", found[1][i], wanted[1][i], batch.dims[i] is None) for i in wanted[1]]
    terms = max(value.numel() for value in batch.rows[0] if isinstance(value, torch.Tensor))
    perturbed: list[Result] | None = None
    for index, (what, mine, theirs, summed) in enumerate(compare):
        expected = theirs.sum(0) if summed else theirs
        if mine.shape != expected.shape:
            shapes = f"its shape is {tuple(mine.shape)}, and {tuple(expected.shape)} in a loop"
            return _finding(context, batch, "wrong-shape", what, shapes)
        if not is_differentiable(expected):
            if not torch.equal(mine, expected):
                return _finding(context, batch, "wrong-value", what, "it holds other integers than in a loop")
            continue
        if _is_equal_within_noise(mine, expected, (), terms):
            continue
        perturbed = _perturbed_results(context, batch) if perturbed is None else perturbed
        others = [[*outputs, *gradients.values()][index] for outputs, gradients in perturbed]
        if not _is_equal_within_noise(mine, expected, [other.sum(0) if summed else other for other in others], terms):
            error = (widened(mine) - widened(expected)).abs()
            at = tuple(int(k) for k in torch.unravel_index(error.argmax(), error.shape))
            values = f"at {list(at)} it is {mine[at].item():.6g}, and {expected[at].item():.6g} in a loop"
            return _finding(context, batch, "wrong-value", what, values, float(error[at]))
    return None


def _is_equal_within_noise(mine: torch.Tensor, expected: torch.Tensor, references: Sequence[torch.Tensor], terms: int) -> bool:
    roundings = (SAME_ROUNDINGS if not is_narrow(expected.dtype) else SAME_ROUNDINGS_16_BITS).value
    # a batched kernel may sum a strided axis sequentially, at least in float32, where the single one sums pairwise
    tolerance = BATCHED_SUM.value * math.sqrt(terms) * min(unit_roundoff(expected.dtype), 2.0**-24) * rms(widened(expected))
    wide = [widened(reference) for reference in references]
    return judge(mine, widened(expected), expected.dtype, wide, roundings=roundings, truth_error=tolerance).passed


def _perturbed_results(context: Context, batch: _Batch) -> list[Result]:
    """Results of the loop on inputs perturbed by rounding, which show how ill-conditioned the calls are."""
    found = []
    for salt in (1, 2):
        rows = [
            tuple(perturb(v, 2 * unit_roundoff(v.dtype), salt) if is_differentiable(v) else v for v in row)
            for row in batch.rows
        ]
        looped = _looped(context, rows)
        found += [looped] if looped is not None else []
    return found


def _rule(context: Context) -> str:
    function = context.subject.user
    generated = not overrides(function, "vmap")
    return f"generated vmap rule of {function.__name__}" if generated else f"vmap rule of {function.__name__}"


def _finding(
    context: Context, batch: _Batch, cause: str, what: str, explanation: str, measured: float | None = None
) -> Finding:
    generated = not overrides(context.subject.user, "vmap")
    return Finding(
        cause,
        "error",
        f"{_rule(context)}: {what} differs from that of a loop, {batch.description}",
        explanation=explanation,
        suggestion="keep tensors with save_for_backward and leave the shapes alone, or write vmap by hand"
        if generated
        else "move every batched axis (in_dims) to the front first, and return the axis of each output (out_dims)",
        probe="vmap",
        case=f"three calls through torch.func.vmap, {batch.description}",
        measured=measured,
    )


def _raised(context: Context, batch: _Batch, error: Exception) -> Finding:
    first = first_line(error)
    refused = isinstance(error, NotImplementedError) or cannot_be_mapped(error)
    return Finding(
        "unsupported" if refused else raised_cause(error),
        "note" if refused else "error",
        f"{_rule(context)} {'refuses this call' if refused else f'raised {type(error).__name__}'}, {batch.description}",
        explanation=first,
        suggestion="" if refused else "look at the traceback of vmap below",
        probe="vmap",
        case=f"three calls through torch.func.vmap, {batch.description}",
        traceback=None if refused else user_traceback(error),
        exception=class_name(error),
    )
