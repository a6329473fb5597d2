"""Calls on which interpreted kernels are watched: the user's, and such with sizes beside those of the kernels' blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice

import torch

from gradcheck_lab.calls.case import Case, copy_inputs, is_differentiable
from gradcheck_lab.calls.dimensions import NamedDimensions, dimensions_of
from gradcheck_lab.calls.upstream import random_like
from gradcheck_lab.kernels.launches import MONITOR, Division, Seen, Watching
from gradcheck_lab.kernels.starting import launches
from gradcheck_lab.model.limits import KERNEL_BLOCK, KERNEL_CALL_ELEMENTS, KERNEL_CALLS, RELATED_PARTS
from gradcheck_lab.probes.support.context import Context, Run
from gradcheck_lab.probes.support.derived_calls import derived_case, is_valid, shapes_text
from gradcheck_lab.probes.support.implied_contract import is_implied


@dataclass(frozen=True, slots=True)
class KernelCall:
    """A call that launches kernels: what it is called, its case with upstream gradients, its run, and what was seen of it."""

    label: str
    case: Case
    run: Run
    seen: Seen

    def is_implied(self, context: Context) -> bool:
        """Whether the user's call implies its sizes."""
        return not self.label or is_implied(context, self.case, self.case.grad_outputs or ())

    @property
    def suffix(self) -> str:
        """What a message says of the call: nothing of the user's own."""
        return f", at {self.label}" if self.label else ""


def kernel_calls(context: Context) -> Sequence[KernelCall]:
    """The calls; none where no interpreted kernel runs in the user's."""
    if launches() == context.runner.evaluations.launched:
        return ()
    return context.once("kernel calls", lambda: tuple(_kernel_calls(context)))


def run_watched(context: Context, case: Case, watching: Watching) -> tuple[Run, Seen, Case]:
    """Run a case with its kernels watched; upstream gradients that it lacks are drawn."""
    inputs = copy_inputs(case.inputs)
    with MONITOR.watch(watching) as seen:
        recording = context.record_on(inputs, case)
        if isinstance(recording, Exception):
            return Run(error=recording), seen, case
        if case.grad_outputs is None:
            generator = torch.Generator().manual_seed(case.seed)
            outputs = [o.detach() if isinstance(o, torch.Tensor) else o for o in recording.outputs]
            drawn = (random_like(o, generator) if is_differentiable(o) else o for o in outputs)
            case = replace(case, grad_outputs=tuple(drawn))
        run = context.backward(recording, case.grad_outputs or (), case.seed)
    return run, seen, case


def run_in_place(context: Context, case: Case, watching: Watching) -> tuple[Run, Seen]:
    """Run a case with upstream gradients, all tensors as they are and not copies, with its kernels watched."""
    with MONITOR.watch(watching) as seen:
        recording = context.record_on(case.inputs, case)
        if isinstance(recording, Exception):
            return Run(error=recording), seen
        return context.backward_on(recording, case.grad_outputs or (), case.seed), seen


def differing_sizes(seen: Seen, sizes: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """Which dimension to give which size, for each block that the kernels' constants and the divisions of a launch tell.

    It is one more than the block, then one less, then the block; beside two blocks too where a division tells what it divides.
    """
    constants = {n for launch in seen.launches for n in launch.constants.values()}
    blocks = sorted(n for n in constants if 2 <= n <= KERNEL_BLOCK.value)
    told = set[tuple[str, int]]()
    for multiple in (1, 2):
        for step in (1, -1, 0):
            ends = [(each, multiple * each.block + step) for each in seen.divisions if 2 <= each.block <= KERNEL_BLOCK.value]
            divided = (pair for each, end in ends for pair in _dividing(each, end, step, sizes))
            constant = ((letter, block + step) for block in blocks for letter in reversed(list(sizes)))
            for letter, size in chain(divided, constant if multiple == 1 else ()):
                if size != sizes[letter] and (letter, size) not in told:
                    told.add((letter, size))
                    yield letter, size


def _dividing(division: Division, end: int, step: int, sizes: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """What makes the size that was divided `end`, or the next on the same side of the block where a product cannot be that.

    It is the dimension of that size; else each that divides it, as one of a product; else it is not known, and is each.
    """
    alone = [letter for letter, size in sizes.items() if size == division.size]
    parts = [letter for letter, size in sizes.items() if size and division.size and not division.size % size]
    for letter in reversed(alone or parts or list(sizes)):
        rest = 1 if alone or not parts else division.size // sizes[letter]
        size, over = divmod(end, rest)
        if step > 0:
            yield letter, size + bool(over)
        elif size and (step < 0 or not over):
            yield letter, size


def _kernel_calls(context: Context) -> Iterator[KernelCall]:
    run, seen, case = run_watched(context, context.case, Watching())
    if run.error is not None or not seen.launches:
        return
    yield KernelCall("", case, run, seen)
    if not context.derives:
        return
    dims = dimensions_of(context.case.inputs, context.subject.specs)
    yield from islice(_of_other_sizes(context, dims, seen), KERNEL_CALLS.value)


def _of_other_sizes(context: Context, dims: NamedDimensions, base: Seen) -> Iterator[KernelCall]:
    for sizes in beside_blocks(context, dims, base):
        inputs = dims.inputs(context.case.inputs, sizes, context.case.seed)
        case = derived_case(context, inputs=inputs)
        if not is_valid(context.subject, case):
            continue
        run, seen, case = run_watched(context, case, Watching())
        if run.error is None:
            yield KernelCall(shapes_text(context, inputs), case, run, seen)


def beside_blocks(context: Context, dims: NamedDimensions, seen: Seen) -> Iterator[dict[str, int]]:
    """The sizes of calls with a dimension as long as a block of a kernel, one longer and one shorter; large calls left out."""
    made = [dict(dims.sizes)]
    for letter, size in differing_sizes(seen, dims.sizes):
        sizes = _together(context, dims, letter, size)
        if sizes is None or sizes in made:
            continue
        made.append(sizes)
        shapes = [[n if name is None else sizes[name] for name, n in zip(axes, v.shape, strict=True)]
                  for axes, v in zip(dims.axes, context.case.inputs, strict=True) if isinstance(v, torch.Tensor)]  # fmt: skip
        if sum(map(math.prod, shapes)) <= KERNEL_CALL_ELEMENTS.value:
            yield sizes


def _together(context: Context, dims: NamedDimensions, letter: str, size: int) -> dict[str, int] | None:
    """The sizes with one dimension changed, and with it those that may be parts or multiples of it; None where none fit.

    So the table of a rotary embedding is half as wide as what it turns: two dimensions that no tensor has both of, and one of
    which is a multiple of the other in the call, stay so, and what is related to one of these as well. A size that a number
    among the arguments divides stays divisible.
    """
    sizes, waiting = {**dims.sizes, letter: size}, [letter]
    known = {letter} if not dims.declared else set(dims.sizes)
    while waiting:
        of = waiting.pop()
        for other in _related(dims, of) - known:
            changed, rest = divmod(size * dims.sizes[other], dims.sizes[letter])
            if rest or not changed:
                return None
            sizes[other] = changed
            known.add(other)
            waiting.append(other)
    numbers = [n for n in (*context.case.inputs, *context.case.options.values()) if type(n) is int and n > 1]
    fits = all(dims.sizes[name] % n or not length % n for name, length in sizes.items() if name in dims.sizes for n in numbers)
    return dims.with_multiples(sizes) if fits else None


def _related(dims: NamedDimensions, letter: str) -> set[str]:
    """The dimensions that no tensor has beside this one, and of which one is a few times the other."""
    found, given = set(), dims.sizes[letter]
    for other, length in dims.sizes.items():
        small, large = sorted((given, length))
        is_multiple = small > 1 and large > small and large % small == 0 and large // small <= RELATED_PARTS.value
        if is_multiple and not any(letter in axes and other in axes for axes in dims.axes):
            found.add(other)
    return found
