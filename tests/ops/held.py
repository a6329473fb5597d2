"""What tests of ops share: calls held against torch's own function, and mistakes planted in a sound op."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import gradcheck_lab as gl
from gradcheck_lab.fuzzing.run import FuzzRun
from gradcheck_lab.rules.op import Op, as_tuple


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Ordinary numbers of a shape."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def assert_agrees(op: Op, torchs: Callable[..., Any], *inputs: torch.Tensor, **options: Any) -> None:
    """Hold the outputs and every gradient against autograd of torch's own function of the same inputs."""
    leaves = [value.clone().requires_grad_() if value.is_floating_point() else value for value in inputs]
    expected, output = as_tuple(torchs(*leaves, **options)), op(*inputs, **options)
    torch.testing.assert_close(as_tuple(output), tuple(value.detach() for value in expected))
    upstream = [torch.linspace(-1, 2, v.numel(), dtype=v.dtype).reshape(v.shape) for v in expected]
    wanted = [(index, leaf) for index, leaf in enumerate(leaves) if leaf.requires_grad]
    theirs = torch.autograd.grad(expected, [leaf for _, leaf in wanted], upstream, allow_unused=True)
    several = isinstance(output, tuple)
    ours = op.backward(tuple(upstream) if several else upstream[0], output, *inputs, **options)
    for (index, leaf), reference in zip(wanted, theirs, strict=True):
        torch.testing.assert_close(ours[index], torch.zeros_like(leaf) if reference is None else reference)


def passes(op: Op, *inputs: torch.Tensor, probes: Any = (), seed: int = 0, **options: Any) -> None:
    """Hold a call against the oracle, with the given probes."""
    report = gl.check(op, *inputs, options=options, probes=probes, seed=seed)
    assert report.verdict == "pass", report


def mistaken(op: Op, rule: Callable[..., Any]) -> Op:
    """The op with another backward."""
    found = Op(op.forward, rule, name=op.name, specs=op.specs, choices=op.choices)
    found.signatures, found.admitted = op.signatures, op.admitted
    found.validator(lambda *inputs, **options: op.validate(inputs, options))
    return found


def fuzzed_until_wrong(op: Op, max_examples: int) -> gl.Report:
    """The report of a fuzz run that ends at the first wrong call; tests/fuzzing is about shrinking it."""

    def end(examples: int, wrong: int) -> None:
        if wrong:
            raise KeyboardInterrupt

    return FuzzRun(op, (), max_examples=max_examples, on_example=end).run()


def scaled(op: Op, which: int, by: float) -> Op:
    """The op with one gradient times a number."""

    def rule(grad_output: Any, output: Any, *inputs: Any, **options: Any) -> Any:
        grads = list(op.backward(grad_output, output, *inputs, **options))
        grads[which] = grads[which] * by
        return tuple(grads)

    return mistaken(op, rule)
