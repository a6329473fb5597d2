"""A Function's vmap rule against a loop: sound rules pass, wrong ones are named."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl

PROBE = {"vmap"}


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


class Generated(torch.autograd.Function):
    """x exp(-|y|) and an integer output, which torch maps by itself."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x * torch.exp(-y.abs()), x.argmax(-1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor, _: Any) -> Any:
        x, y = ctx.saved_tensors
        decay = torch.exp(-y.abs())
        return grad_output * decay, -grad_output * x * decay * y.sign()


class Normalized(torch.autograd.Function):
    """x / |x| over all elements, times a number; the rule is left to the subclasses."""

    @staticmethod
    def forward(x: Tensor, scale: float) -> Tensor:
        return scale * x / x.norm()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, ctx.scale = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        size = x.norm()
        return ctx.scale * (grad_output / size - x * (grad_output * x).sum() / size**3), None


def normalized(rule: Any) -> Any:
    return type(torch.autograd.Function)("Normalized", (Normalized,), {"vmap": staticmethod(rule)})


def over_rows(x: Tensor, scale: float) -> Tensor:
    flat = x.reshape(len(x), -1)
    return (scale * flat / flat.norm(dim=1, keepdim=True)).reshape(x.shape)


def sound(info: Any, in_dims: tuple[int | None, ...], x: Tensor, scale: float) -> Any:
    return over_rows(x.movedim(in_dims[0], 0), scale), 0


def over_everything(info: Any, in_dims: tuple[int | None, ...], x: Tensor, scale: float) -> Any:
    return Normalized.apply(x, scale), in_dims[0]


def ignores_in_dims(info: Any, in_dims: tuple[int | None, ...], x: Tensor, scale: float) -> Any:
    return over_rows(x, scale), 0


def detaches(info: Any, in_dims: tuple[int | None, ...], x: Tensor, scale: float) -> Any:
    return over_rows(x.movedim(in_dims[0], 0), scale).detach(), 0


def wrong_shape(info: Any, in_dims: tuple[int | None, ...], x: Tensor, scale: float) -> Any:
    return over_rows(x.movedim(in_dims[0], 0), scale).movedim(1, 2), 0


def without_axis(info: Any, in_dims: tuple[int | None, ...], x: Tensor, scale: float) -> Any:
    return over_rows(x.movedim(in_dims[0], 0), scale)


def refuses(info: Any, in_dims: tuple[int | None, ...], x: Tensor, scale: float) -> Any:
    raise NotImplementedError("one at a time")


class Product(torch.autograd.Function):
    """a @ b, whose rule multiplies stacks of matrices."""

    @staticmethod
    def forward(a: Tensor, b: Tensor) -> Tensor:
        return a @ b

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        a, b = ctx.saved_tensors
        return grad_output @ b.mT, a.mT @ grad_output

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], a: Tensor, b: Tensor) -> Any:
        a, b = (v if d is None else v.movedim(d, 0) for v, d in zip((a, b), in_dims, strict=True))
        return a @ b, 0


class ProductBothBatched(Product):
    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], a: Tensor, b: Tensor) -> Any:
        return a.movedim(in_dims[0], 0) @ b.movedim(in_dims[1], 0), 0


class ProductHalfGradient(Product):
    """The rule scales a so that its value is right and its gradient is not."""

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], a: Tensor, b: Tensor) -> Any:
        out, dim = Product.vmap(info, in_dims, (a + a.detach()) / 2, b)
        return out, dim


class NumpySort(torch.autograd.Function):
    """Autograd cannot follow this forward, and the rule still maps it."""

    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        order = torch.from_numpy(np.argsort(x.detach().numpy(), -1))
        return x.gather(-1, order), order

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor, _: Any) -> Tensor:
        return torch.zeros_like(grad_output).scatter(-1, ctx.saved_tensors[0], grad_output)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], x: Tensor) -> Any:
        return NumpySort.apply(x.movedim(in_dims[0], 0)), (0, 0)


class Inverse(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return torch.linalg.inv(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return -y.mH @ grad_output @ y.mH


class Noisy(Generated):
    @staticmethod
    def forward(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x * torch.exp(-y.abs()) + torch.rand_like(x), x.argmax(-1)


class OldStyle(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:  # type: ignore[override]
        return 2 * grad_output


class ReadsNumber(Inverse):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return torch.linalg.inv(x) if x.sum().item() else x


HILBERT = 1 / (torch.arange(6).double().unsqueeze(1) + torch.arange(6) + 1)
X, TWO, MATRICES = (normal(2, 4), 0.5), (normal(2, 4), normal(2, 4, seed=1)), (normal(4, 2), normal(2, 5, seed=1))
SOUND = {
    "generated": (Generated, TWO),
    "generated-float32": (Generated, tuple(v.float() for v in TWO)),
    "generated-bfloat16": (Generated, tuple(v.bfloat16() for v in TWO)),
    "generated-broadcast": (Generated, (normal(2, 4), normal(2, 4, seed=1))),
    "own": (normalized(sound), X),
    "own-float32": (normalized(sound), (normal(2, 4).float(), 0.5)),
    "product": (Product, MATRICES),
    "product-float32": (Product, tuple(normal(60, 60, seed=i).float() for i in (0, 1))),
    "numpy": (NumpySort, (normal(2, 4),)),
    "hilbert": (Inverse, (HILBERT,)),
    "complex": (Inverse, (torch.complex(normal(3, 3), normal(3, 3, seed=1)),)),
    "random": (Noisy, TWO),
}


@pytest.mark.parametrize("name", SOUND)
def test_sound_rule_passes(name: str) -> None:
    function, inputs = SOUND[name]
    assert [f for f in gl.check(function, *inputs, probes=PROBE).findings if f.probe == "vmap"] == []


FIRST = "batched along axis 0"
WRONG = {
    "over-the-batch": (
        normalized(over_everything), X, "wrong-value",
        f"vmap rule of Normalized: output differs from that of a loop, {FIRST}",
        "at [1, 0, 2] it is -0.175919, and -0.320178 in a loop",
    ),
    "in-dims": (
        normalized(ignores_in_dims), X, "wrong-shape",
        "vmap rule of Normalized: output differs from that of a loop, batched along the last axis",
        "its shape is (2, 4, 3), and (3, 2, 4) in a loop",
    ),
    "detached": (
        normalized(detaches), X, "wrong-value",
        f"vmap rule of Normalized: gradient of input 0 'x' differs from that of a loop, {FIRST}",
        "at [0, 1, 0] it is 0, and -0.332429 in a loop",
    ),
    "shape": (
        normalized(wrong_shape), X, "wrong-shape",
        f"vmap rule of Normalized: output differs from that of a loop, {FIRST}",
        "its shape is (3, 4, 2), and (3, 2, 4) in a loop",
    ),
    "no-axis": (
        normalized(without_axis), X, "raises",
        f"vmap rule of Normalized raised RuntimeError, {FIRST}",
        "Expected the vmap staticmethod to have two returns, an output and out_dims with pytree structure compatible with the "
        "output. Got a <class 'torch.Tensor'> instead",
    ),
    "unbatched": (
        ProductBothBatched, MATRICES, "raises",
        "vmap rule of ProductBothBatched raised TypeError, only input 0 'a' batched",
        "movedim() received an invalid combination of arguments - got (NoneType, int), but expected one of:",
    ),
    "gradient": (
        ProductHalfGradient, MATRICES, "wrong-value",
        f"vmap rule of ProductHalfGradient: gradient of input 0 'a' differs from that of a loop, {FIRST}",
        "at [0, 2, 1] it is 1.33111, and 2.66222 in a loop",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_rule_is_found(name: str) -> None:
    function, inputs, cause, message, explanation = WRONG[name]
    report = gl.check(function, *inputs, probes=PROBE)
    found = [(f.cause, f.severity, f.message, f.explanation) for f in report.findings if f.probe == "vmap"]
    assert found == [(cause, "error", message, explanation)]
    assert report.verdict == "fail"


NOTES = {
    "refuses": (normalized(refuses), X, f"vmap rule of Normalized refuses this call, {FIRST}", "one at a time"),
    "old-style": (OldStyle, (normal(2, 4),), f"generated vmap rule of OldStyle refuses this call, {FIRST}", ""),
    "number": (ReadsNumber, (normal(3, 3),), f"generated vmap rule of ReadsNumber refuses this call, {FIRST}", ""),
}


@pytest.mark.parametrize("name", NOTES)
def test_refusal_is_a_note(name: str) -> None:
    function, inputs, message, explanation = NOTES[name]
    report = gl.check(function, *inputs, probes=PROBE)
    notes = [f for f in report.findings if f.probe == "vmap"]
    assert [(f.cause, f.severity, f.message) for f in notes] == [("unsupported", "note", message)]
    assert notes[0].explanation.startswith(explanation)
    assert report.verdict == "pass"


def test_function_without_rule_costs_nothing() -> None:
    bare, probed = (gl.check(Normalized, *X, probes=probes) for probes in ({"indices"}, {"indices", "vmap"}))
    assert bare.evaluations == probed.evaluations


def test_rule_is_part_of_a_full_check() -> None:
    report = gl.check(normalized(over_everything), *X)
    assert [f.message for f in report.findings if f.severity == "error"] == [WRONG["over-the-batch"][3]]
