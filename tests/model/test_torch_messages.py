"""torch says what `model.torch_messages` listens for: each kind of failure, made on purpose, and others that are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from gradcheck_lab.model import torch_messages as said


def version_check() -> None:
    x = torch.ones(2, requires_grad=True)
    y = x.exp()
    z = y * y
    y.data.add_(0)
    with torch.no_grad():
        y.add_(1)
    z.sum().backward()


def too_large() -> None:
    torch.empty(2**60)


def leaf_written() -> None:
    torch.ones(2, requires_grad=True).add_(1)


class NoTangent(torch.autograd.Function):
    """A rule of forward mode that returns None."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> None:
        return None


def no_tangent() -> None:
    with forward_ad.dual_level():
        NoTangent.apply(forward_ad.make_dual(torch.ones(2), torch.ones(2)))


class ThroughNumpy(torch.autograd.Function):
    """A backward in NumPy, which torch cannot differentiate."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return torch.from_numpy(2 * grad_output.numpy())


def through_numpy() -> None:
    x = torch.ones(2, requires_grad=True)
    torch.autograd.grad(ThroughNumpy.apply(x), x, torch.ones(2, requires_grad=True), create_graph=True)


def unmapped() -> None:
    torch.func.vmap(lambda x: x * x.sum().item())(torch.ones(3, 2))


def opcheck(test: str, body: Callable[[Tensor], Tensor]) -> None:
    with torch.library._scoped_library("gradcheck_lab_said", "DEF") as library:
        library.define("op(Tensor x) -> Tensor")
        library.impl("op", body, "CPU")
        operator = torch.ops.gradcheck_lab_said.op.default
        found = torch.library.opcheck(operator, (torch.ones(2),), test_utils=test, raise_exception=False)
    if isinstance(error := found[test], Exception):
        raise error


def no_fake() -> None:
    opcheck("test_faketensor", lambda x: x + 1)


def written() -> None:
    opcheck("test_schema", lambda x: x.add_(1).clone())


def refused() -> None:
    torch.nn.functional.soft_margin_loss(torch.ones(2), torch.ones(2, requires_grad=True))


class TooLong(torch.autograd.Function):
    """A backward that returns twice the rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return torch.cat([grad_output, grad_output])


def too_long() -> None:
    TooLong.apply(torch.ones(2, 3, requires_grad=True)).sum().backward()


FAILURES = {
    said.refused_shape: too_long,
    said.refused_argument: refused,
    said.writes_to_saved: version_check,
    said.writes_to_leaf: leaf_written,
    said.lacks_tangent: no_tangent,
    said.cannot_be_differentiated: through_numpy,
    said.cannot_be_mapped: unmapped,
    said.lacks_fake_kernel: no_fake,
    said.writes_undeclared: written,
    said.out_of_memory: too_large,
}


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own, of the first dual tensor
@pytest.mark.parametrize(("listens", "fails"), FAILURES.items(), ids=[listens.__name__ for listens in FAILURES])
def test_torch_says_what_is_listened_for(
    listens: Callable[[BaseException], Any], fails: Callable[[], None]
) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        fails()
    assert listens(caught.value), caught.value


@pytest.mark.parametrize("listens", FAILURES, ids=lambda listens: listens.__name__)
def test_other_failures_are_none_of_these(listens: Callable[[BaseException], Any]) -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.ones(2, 3) @ torch.ones(2, 3)
    assert not listens(caught.value)
    assert not listens(RuntimeError())


def test_every_function_of_the_module_is_tested() -> None:
    own = {
        name
        for name, value in vars(said).items()
        if getattr(value, "__module__", "") == said.__name__ and not name.startswith("_")
    }
    assert own == {listens.__name__ for listens in FAILURES}


def test_the_shapes_of_a_refused_gradient_are_read() -> None:
    with pytest.raises(RuntimeError) as caught:
        too_long()
    assert said.refused_shape(caught.value) == ((4, 3), (2, 3))
