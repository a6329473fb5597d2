"""Train a network twice from the same parameters, once with hand-written gradients and once with autograd's, and compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from gradcheck_lab.engine.variable import Variable, record
from gradcheck_lab.rules.naming import input_names
from gradcheck_lab.rules.op import Op, active_recorder, as_tuple

Program = Callable[..., Any]
Parameters = tuple[torch.Tensor, ...]
# A gradient whose terms cancel, such as that of a bias before a mean is subtracted, is only rounding error of larger ones. So
# errors are relative to at least this share of the largest gradient of the step.
CANCELLED = 1e-6


@dataclass(frozen=True, slots=True)
class Gradients:
    """The loss of one batch, and its gradients by the parameters and by the intermediates, in order of the calls.

    `names` are those that the program assigns the intermediates to; only the hand-written side knows them.
    """

    loss: float
    parameters: Parameters
    intermediates: Parameters
    names: tuple[str, ...] = ()


@dataclass(slots=True)
class Run:
    """One training in lockstep: the parameters and the loss of every step of both sides.

    `differences` maps each gradient to its largest relative difference over the steps: the largest element of
    the difference, relative to the largest element of autograd's; one that cancels is measured against the others.
    """

    hand_written: Parameters
    autograd: Parameters
    hand_written_losses: list[float] = field(default_factory=list)
    autograd_losses: list[float] = field(default_factory=list)
    differences: dict[str, float] = field(default_factory=dict)


def train(
    network: Program,
    x: torch.Tensor,
    target: torch.Tensor,
    start: Parameters,
    *,
    epochs: int,
    rate: float,
    batch: int,
    seed: int,
    on_step: Callable[[], None] = lambda: None,
) -> Run:
    """Train both sides by stochastic gradient descent on the same batches, each by its own gradients.

    `x` (n, d_in), `target` (n, ...); `start` the parameters that both begin with, left as they are. `batch` is a
    number of rows, drawn by `seed`. `on_step` is called after every step.
    """
    generator = torch.Generator().manual_seed(seed)
    run = Run(start, start)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(batch):
            ours = hand_written_gradients(network, x[rows], target[rows], run.hand_written)
            theirs = autograd_gradients(network, x[rows], target[rows], run.autograd)
            _note(run, ours, theirs, parameter_names(network, len(start)))
            run.hand_written = _stepped(run.hand_written, ours.parameters, rate)
            run.autograd = _stepped(run.autograd, theirs.parameters, rate)
            on_step()
    return run


def hand_written_gradients(network: Program, x: torch.Tensor, target: torch.Tensor, parameters: Parameters) -> Gradients:
    """Run `network` on Variables, then its hand-written backward."""
    variables = [Variable(value) for value in parameters]
    with record() as tape:
        loss = network(x, target, *variables)
    loss.backward()
    named = [
        (node.names[j] if j < len(node.names) else f"{node.op.name}#{k}", value)
        for k, node in enumerate(tape)
        for j, value in enumerate(node.outputs)
        if value is not loss
    ]
    values = _grads([value for _, value in named])
    return Gradients(loss.item(), _grads(variables), values, tuple(name for name, _ in named))


def autograd_gradients(network: Program, x: torch.Tensor, target: torch.Tensor, parameters: Parameters) -> Gradients:
    """Run `network` on tensors and let torch differentiate it, `retain_grad` on every intermediate."""
    leaves = [value.detach().requires_grad_() for value in parameters]
    retained = _Retained([])
    token = active_recorder.set(retained)
    try:
        loss = network(x, target, *leaves)
    finally:
        active_recorder.reset(token)
    loss.backward()
    return Gradients(
        float(loss.detach()),
        _grads(leaves),
        _grads([value for value in retained.outputs if value is not loss]),
    )


def parameter_names(network: Program, count: int) -> tuple[str, ...]:
    """The names of a network's parameters, which come after its data and targets.

    >>> parameter_names(lambda x, target, W, b: None, 2)
    ('W', 'b')
    """
    return input_names(network, 2 + count)[2:]


def relative_difference(ours: torch.Tensor, theirs: torch.Tensor, least: float = 0.0) -> float:
    """The largest |ours - theirs| over the largest |theirs|, or over `least` where that is larger; 0 where both are equal.

    >>> relative_difference(torch.tensor([1.0, 4.0]), torch.tensor([2.0, 4.0]))
    0.25
    """
    if torch.equal(ours, theirs):
        return 0.0
    return float((ours - theirs).abs().amax() / theirs.abs().amax().clamp(min=least))


@dataclass(frozen=True, slots=True)
class _Retained:
    outputs: list[torch.Tensor]

    def apply(self, op: Op, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
        op.validate(inputs, options)
        output = op.forward(*inputs, **options)
        for value in as_tuple(output):
            if value.requires_grad:  # values that depend on data only have no gradient on the manual side either
                value.retain_grad()
                self.outputs.append(value)
        return output


def _grads(values: Sequence[Variable | torch.Tensor]) -> Parameters:
    return tuple(torch.zeros(value.shape, dtype=value.dtype) if value.grad is None else value.grad for value in values)


def _note(run: Run, ours: Gradients, theirs: Gradients, parameters: Sequence[str]) -> None:
    run.hand_written_losses.append(ours.loss)
    run.autograd_losses.append(theirs.loss)
    names = (*ours.names, *parameters)
    left, right = ((*side.intermediates, *side.parameters) for side in (ours, theirs))
    least = CANCELLED * max((float(grad.abs().amax()) for grad in right if grad.numel()), default=0.0)
    for name, mine, reference in zip(names, left, right, strict=True):
        found = relative_difference(mine, reference, least)
        # The larger of the two, and NaN is the largest.
        if not found <= run.differences.setdefault(name, found):
            run.differences[name] = found


def _stepped(parameters: Parameters, grads: Parameters, rate: float) -> Parameters:
    return tuple(value - rate * grad for value, grad in zip(parameters, grads, strict=True))
