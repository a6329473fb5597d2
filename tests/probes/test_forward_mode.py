"""A Function's own `jvp` against the gradient: sound rules pass, wrong ones are named."""

from typing import Any

import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl

PROBE = {"forward_mode"}


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def functions(**members: Any) -> Any:
    """A Function class of the given static methods, `name` its name and `bases` what it derives from."""
    name, base = members.pop("name", "Swish"), members.pop("base", torch.autograd.Function)
    return type(base)(name, (base,), {key: staticmethod(value) for key, value in members.items()})


def swish_forward(ctx: Any, x: Tensor) -> Tensor:
    ctx.save_for_backward(x)
    ctx.save_for_forward(x)
    return x * torch.sigmoid(x)


def swish_slope(x: Tensor) -> Tensor:
    s = torch.sigmoid(x)
    return s + x * s * (1 - s)


def swish_backward(ctx: Any, grad_output: Tensor) -> Tensor:
    return grad_output * swish_slope(ctx.saved_tensors[0])


def swish(jvp: Any) -> Any:
    return functions(forward=swish_forward, backward=swish_backward, jvp=jvp)


def sound_jvp(ctx: Any, tangent: Tensor) -> Tensor:
    return tangent * swish_slope(ctx.saved_tensors[0])


class MatMul(torch.autograd.Function):
    """Two inputs, an option that is no tensor, and None for the tangents that are missing."""

    @staticmethod
    def forward(a: Tensor, scale: float, b: Tensor) -> tuple[Tensor, Tensor]:
        return scale * (a @ b), (a @ b).argmax(-1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        a, ctx.scale, b = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(a, b)
        ctx.save_for_forward(a, b)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor, _: Any) -> Any:
        a, b = ctx.saved_tensors
        return ctx.scale * grad_output @ b.mT, None, ctx.scale * a.mT @ grad_output

    @staticmethod
    def jvp(ctx: Any, tangent_a: Tensor | None, _: None, tangent_b: Tensor | None) -> Any:
        a, b = ctx.saved_tensors
        terms = [] if tangent_a is None else [tangent_a @ b]
        terms += [] if tangent_b is None else [a @ tangent_b]
        return ctx.scale * sum(terms), None


class MatMulSecond(MatMul):
    @staticmethod
    def jvp(ctx: Any, tangent_a: Tensor | None, _: None, tangent_b: Tensor | None) -> Any:
        a, b = ctx.saved_tensors
        first = 0 if tangent_a is None else ctx.scale * tangent_a @ b
        return first + (0 if tangent_b is None else a @ tangent_b), None


class MatMulBoth(MatMul):
    @staticmethod
    def jvp(ctx: Any, tangent_a: Tensor, _: None, tangent_b: Tensor) -> Any:
        a, b = ctx.saved_tensors
        return ctx.scale * (tangent_a @ b + a @ tangent_b), None


class DoubleInPlace(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        return x.mul_(2)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:  # type: ignore[override]
        return 2 * grad_output

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:  # type: ignore[override]
        return tangent.mul_(2)


class Relu(torch.autograd.Function):
    """The forward-mode rule takes another side of the kink than the backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:  # type: ignore[override]
        return grad_output * (ctx.saved_tensors[0] > 0)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:  # type: ignore[override]
        return tangent * (ctx.saved_tensors[0] >= 0)


class Inverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = torch.linalg.inv(x)
        ctx.save_for_backward(y)
        ctx.save_for_forward(y)
        return y

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:  # type: ignore[override]
        (y,) = ctx.saved_tensors
        return -y.mH @ grad_output @ y.mH

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:  # type: ignore[override]
        (y,) = ctx.saved_tensors
        return -y @ tangent @ y


class ThroughNumpy(torch.autograd.Function):
    """Autograd cannot follow this forward: the oracle is numeric."""

    factor = 1.0

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)
        return torch.from_numpy(x.detach().numpy() ** 3)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:  # type: ignore[override]
        return 3 * ctx.saved_tensors[0] ** 2 * grad_output

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:  # type: ignore[override]
        return 3 * ctx.saved_tensors[0] ** 2 * tangent


class ThroughNumpyWrong(ThroughNumpy):
    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:  # type: ignore[override]
        return 2 * ctx.saved_tensors[0] * tangent


class Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        mask = torch.rand_like(x) > 0.5
        ctx.save_for_backward(mask)
        ctx.save_for_forward(mask)
        return x * mask

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:  # type: ignore[override]
        return grad_output * ctx.saved_tensors[0]

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:  # type: ignore[override]
        return tangent * ctx.saved_tensors[0]


HILBERT = 1 / (torch.arange(6).double().unsqueeze(1) + torch.arange(6) + 1)
SOUND = {
    "swish": (swish(sound_jvp), (normal(4, 3),)),
    "swish-float32": (swish(sound_jvp), (normal(4, 3, dtype=torch.float32),)),
    "swish-bfloat16": (swish(sound_jvp), (normal(40, 30, dtype=torch.bfloat16),)),
    "swish-float16": (swish(sound_jvp), (normal(4, 3, dtype=torch.float16),)),
    "swish-expanded": (swish(sound_jvp), (normal(1, 3).expand(4, 3),)),
    "swish-0-d": (swish(sound_jvp), (normal(),)),
    "matmul": (MatMul, (normal(4, 3), 0.5, normal(3, 2, seed=1))),
    "matmul-one-frozen": (MatMul, (normal(4, 3), 0.5, normal(3, 2, seed=1).requires_grad_())),
    "in-place": (DoubleInPlace, (normal(4, 3),)),
    "kink": (Relu, (torch.tensor([-1.0, 0.0, 2.0, 0.0], dtype=torch.float64),)),
    "hilbert": (Inverse, (HILBERT,)),
    "hilbert-float32": (Inverse, (HILBERT[:3, :3].float(),)),
    "complex": (Inverse, (torch.complex(normal(3, 3), normal(3, 3, seed=1)),)),
    "numeric": (ThroughNumpy, (normal(4, 3),)),
    "dropout": (Dropout, (normal(4, 3),)),
    "dropout-float32": (Dropout, (normal(40, 3, dtype=torch.float32),)),
}


@pytest.mark.parametrize("name", SOUND)
def test_sound_rule_passes(name: str) -> None:
    function, inputs = SOUND[name]
    report = gl.check(function, *inputs, probes=PROBE)
    assert [finding for finding in report.findings if finding.probe == "forward_mode"] == []


def halved_in_float32(ctx: Any, tangent: Tensor) -> Tensor:
    slope = swish_slope(ctx.saved_tensors[0])
    return tangent * slope * (1 + 3e-6)


def raising(ctx: Any, tangent: Tensor) -> Tensor:
    raise ValueError("no tangents today")


def other_shape(ctx: Any, tangent: Tensor) -> Tensor:
    return tangent.sum()


X, MATRICES = (normal(4, 3),), (normal(4, 3), 0.5, normal(3, 2, seed=1))
WRONG_X = "forward-mode rule (jvp) of Swish is wrong for a tangent of input 0 'x'"
WRONG = {
    "sign": (swish(lambda ctx, t: -sound_jvp(ctx, t)), X, "sign", WRONG_X, "it is exactly -1 times the reference"),
    "double": (
        swish(lambda ctx, t: 2 * sound_jvp(ctx, t)), X, "constant-factor", WRONG_X, "it is exactly 2 times the reference",
    ),
    "third": (
        swish(lambda ctx, t: sound_jvp(ctx, t) / 3), X, "constant-factor", WRONG_X, "it is 0.333333 times the reference",
    ),
    "zero": (
        swish(lambda ctx, t: torch.zeros_like(t)), X, "zero-gradient", WRONG_X, "it is zero, and the gradient is not",
    ),
    "nan": (
        swish(lambda ctx, t: t / 0 - t / 0), X, "non-finite", WRONG_X, "it holds NaN or inf, and the gradient is finite",
    ),
    "value": (
        swish(lambda ctx, t: t * torch.sigmoid(ctx.saved_tensors[0])), X, "wrong-value", WRONG_X,
        "<g, J v> is 4.93276 by the rule and 5.07117 by the gradient, with random g and v",
    ),
    "bfloat16": (
        swish(lambda ctx, t: 2 * sound_jvp(ctx, t)), (normal(40, 30, dtype=torch.bfloat16),), "constant-factor", WRONG_X,
        "it is exactly 2 times the reference",
    ),
    "float32-small": (
        swish(halved_in_float32), (normal(4, 3, dtype=torch.float32),), "constant-factor", WRONG_X + ", in float64",
        "it is 1.000003 times the reference",
    ),
    "raises": (
        swish(raising), X, "raises", "forward-mode rule (jvp) of Swish raised ValueError", "no tangents today",
    ),
    "none": (
        swish(lambda ctx, t: None), X, "missing-gradient",
        "forward-mode rule (jvp) of Swish returns no tangent for a differentiable output",
        "it returned None, or a tensor that is not floating, for it",
    ),
    "second-input": (
        MatMulSecond, MATRICES, "constant-factor",
        "forward-mode rule (jvp) of MatMulSecond is wrong for a tangent of input 2 'b'", "it is exactly 2 times the reference",
    ),
    "only-one": (
        MatMulBoth, MATRICES, "raises",
        "forward-mode rule (jvp) of MatMulBoth raised TypeError when only input 0 'a' has a tangent",
        "unsupported operand type(s) for @: 'Tensor' and 'NoneType'",
    ),
    "numeric": (
        ThroughNumpyWrong, X, "wrong-value",
        "forward-mode rule (jvp) of ThroughNumpyWrong is wrong for a tangent of input 0 'x'",
        "<g, J v> is -17.6507 by the rule and 51.9025 by the gradient, with random g and v",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_rule_is_found(name: str) -> None:
    function, inputs, cause, message, explanation = WRONG[name]
    report = gl.check(function, *inputs, probes=PROBE)
    found = [(f.cause, f.severity, f.message) for f in report.findings if f.probe == "forward_mode"]
    assert found == [(cause, "error", message)]
    assert report.findings[-1].explanation == explanation
    assert report.verdict == "fail"


def test_refusal_is_a_note() -> None:
    def refuse(ctx: Any, tangent: Tensor) -> Tensor:
        raise NotImplementedError("only for vectors")

    report = gl.check(swish(refuse), *X, probes=PROBE)
    assert [(f.cause, f.severity, f.message, f.explanation) for f in report.findings] == [
        ("unsupported", "note", "forward-mode rule (jvp) of Swish refuses this call", "only for vectors")
    ]
    assert report.verdict == "pass"


def test_wrong_rule_is_accepted_by_allow() -> None:
    function = swish(lambda ctx, tangent: -sound_jvp(ctx, tangent))
    assert gl.check(function, *X, probes=PROBE, allow={"sign"}).verdict == "pass"


def test_wrong_backward_and_wrong_rule_are_two_findings() -> None:
    function = functions(
        forward=swish_forward,
        backward=lambda ctx, g: g * torch.sigmoid(ctx.saved_tensors[0]),
        jvp=lambda ctx, t: t * torch.sigmoid(ctx.saved_tensors[0]),
    )
    found = [(f.cause, f.probe) for f in gl.check(function, *X, probes=PROBE).findings]
    assert found == [("missing-term", "comparison"), ("wrong-value", "forward_mode")]


def test_function_without_jvp_costs_nothing() -> None:
    function = functions(forward=swish_forward, backward=swish_backward)
    bare, probed = (gl.check(function, *X, probes=probes) for probes in ({"indices"}, {"indices", "forward_mode"}))
    assert bare.evaluations == probed.evaluations


def test_rule_costs_few_forwards() -> None:
    bare, probed = (gl.check(MatMul, *MATRICES, probes=probes) for probes in ({"second_backward"}, {"second_backward", *PROBE}))
    assert probed.evaluations["forward"] - bare.evaluations["forward"] == 4
    assert probed.evaluations["backward"] == bare.evaluations["backward"]
