"""Every misuse of check_distributed, with its whole message; no rank is started for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import gradcheck_lab as gl
from gradcheck_lab.errors import InvalidArgument

X = torch.ones(4, 6, dtype=torch.float64)
CALLED = "pass gl.Replicate(), gl.Shard(0) or gl.Partial(), or their text 'replicate', 'shard:0', 'partial'"


def double(x: Any) -> Any:
    return 2 * x


def two(x: Any, w: Any) -> Any:
    return x * w


def check(*inputs: Any, function: Any = double, **arguments: Any) -> Callable[[], object]:
    return lambda: gl.check_distributed(function, *inputs, **arguments)


ROWS = {
    "no-inputs": (
        check(),
        "double was given no inputs; pass its specs or whole tensors: gl.check_distributed(double, \"real('n d')\")",
    ),
    "no-ranks": (check(X, world_size=0), "world_size is 0; pass a whole number of ranks from 1 to 64"),
    "ranks-as-text": (check(X, world_size="2"), "world_size is '2'; pass a whole number of ranks from 1 to 64"),
    "another-backend": (check(X, backend="nccl"), "backend is 'nccl'; the ranks compute on the CPU: pass 'gloo'"),
    "reference-not-callable": (
        check(X, reference=X),
        "reference is a Tensor; pass the same function of whole tensors, written with torch's own functions",
    ),
    "probes-by-name": (check(X, probes={"state"}), "probes is a set; pass False to compare the one call alone"),
    "unknown-allowed": (check(X, allow="sign"), "allow is a string; pass a set: allow={'sign'}"),
    "no-timeout": (check(X, timeout=None), "timeout is None; pass a number of seconds, such as 30"),
    "timeout-of-nothing": (check(X, timeout=0), "timeout is 0; pass a number of seconds above 0"),
    "unknown-keyword": (
        check(X, dim=1),
        "check_distributed has no argument 'dim'; what the forward takes by keyword goes into options: options={'dim': 1}",
    ),
    "no-function": (
        check(X, function=3),
        "the function is a int; pass a function of tensors, an autograd Function or a gl.Op",
    ),
    "a-class": (
        check(X, function=dict),
        "the function is a type; pass a function of tensors, an autograd Function or a gl.Op",
    ),
    "module-with-parameters": (
        check(X, function=torch.nn.Linear(6, 2)),
        "Linear is a module with parameters, whose placement nobody can say; pass a function of its inputs and parameters, "
        "such as one that calls torch.func.functional_call",
    ),
    "placement-of-nothing": (
        check(X, placement={"y": "partial"}),
        "placement names 'y', which is no input of double; its inputs are x, and 'output'",
    ),
    "placement-as-text": (
        check(X, placement="partial"),
        "placement is 'partial'; pass a dict by name: placement={'x': gl.Replicate(), 'w': gl.Shard(0), 'output': gl.Shard(1)}",
    ),
    "placement-too-short": (
        check(X, X, function=two, placement=["partial"]),
        "placement has 1 entries and two has 2 inputs; give one for each, then one for each output",
    ),
    "unknown-placement": (check(X, placement={"x": "cut"}), f"the placement of x is 'cut'; {CALLED}"),
    "unknown-placement-of-an-output": (
        check(X, placement={"output": ["partial", 7]}),
        f"the placement of output 1 is 7; {CALLED}",
    ),
    "no-placement-of-an-output": (
        check(X, placement={"output": []}),
        "the placement of the output is an empty list; give one for each output",
    ),
    "shard-without-a-number": (lambda: gl.Shard("0"), "the dimension of Shard is '0'; pass a whole number: gl.Shard(0)"),
    "another-gradient": (lambda: gl.Replicate("sum"), "the gradient of Replicate is 'sum'; pass 'replicate' or 'partial'"),
    "uneven": (
        check(X, placement={"x": "shard:0"}, world_size=3),
        "input 0 'x' has size 4 along dimension 0, which 3 ranks cannot share evenly; pass a multiple of 3",
    ),
    "no-such-dimension": (
        check(X, placement={"x": "shard:2"}),
        "input 0 'x' is sharded along dimension 2 and has shape (4, 6)",
    ),
    "no-such-dimension-of-a-spec": (
        check("real('n d')", placement={"x": "shard:2"}),
        "real('n d') is sharded along dimension 2, which it does not have",
    ),
    "terms-of-labels": (
        check(X, X.long(), function=two, placement={"w": "partial"}),
        "input 1 'w' is int64, which is not cut into the terms of a sum; replicate or shard it",
    ),
    "shard-of-a-number": (
        check(X, 3, function=two, placement={"w": "shard:0"}),
        "input 1 'w' is a int and is placed as shard:0; leave its placement out",
    ),
    "an-array": (
        check(X, X.numpy(), function=two),
        "input 1 'w' is a ndarray; pass a tensor, a spec, a number, text or None, and anything else in options=",
    ),
    "not-finite": (
        check(X / 0),
        "input 0 'x' holds NaN or inf, where no gradient is defined; pass finite numbers",
    ),
    "nothing-to-compare": (
        check(X.long()),
        "nothing to compare: no input of double is a floating tensor; pass x.double() or a spec of one",
    ),
    "unknown-spec": (
        check("reals('n')"),
        "the spec \"reals('n')\" has an unknown kind 'reals'; known kinds: integers, labels, mask, nonzero, one_hot, positive, "
        "probabilities, real",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("call", "message"), ROWS.values(), ids=list(ROWS))
def test_misuse_says_what_to_do(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        call()
    assert str(caught.value) == message


def test_output_that_is_no_tensor_is_refused() -> None:
    with pytest.raises(InvalidArgument) as caught:
        gl.check_distributed(lambda x: "text", X)
    assert str(caught.value) == ("the forward of <lambda> returned a str as output 0; return a tensor or a tuple of tensors")


def test_output_that_is_no_floating_tensor_is_refused() -> None:
    with pytest.raises(InvalidArgument) as caught:
        gl.check_distributed(lambda x: x > 0, X)
    assert str(caught.value) == "no output of <lambda> is a floating tensor; return one that a gradient is wanted of"


def test_process_that_is_in_a_group_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    with pytest.raises(InvalidArgument) as caught:
        gl.check_distributed(double, X)
    assert str(caught.value) == (
        "this process is in a process group, and the ranks make their own; call torch.distributed.destroy_process_group() first"
    )
