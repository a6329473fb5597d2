"""Mistakes that ordinary random inputs hide: rows of a name, a cause, and a function that makes the wrong and the sound one.

Each function returns (wrong subject, sound subject, inputs, options); the inputs are those that a user would bring.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

import gradcheck_lab as gl
from tests.mistakes import copy_of
from tests.mistakes.modes import dropout_function, norm_module, scaled_module

Made = tuple[Any, Any, tuple[Any, ...], dict[str, Any]]


class Row(NamedTuple):
    """One planted mistake beside its sound twin."""

    name: str
    cause: str
    make: Callable[[], Made]


def drawn(*shape: int, seed: int = 0, positive: bool = False, dtype: torch.dtype = torch.float64) -> Tensor:
    value = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (value.abs() + 0.3 if positive else value).to(dtype)


def ops(name: str, forward: Any, wrong: Any, sound: Any, *inputs: Any, **options: Any) -> Made:
    return gl.Op(forward, wrong, name=name), gl.Op(forward, sound, name=name), inputs, options


def functions(forward: Any, wrong: Any, sound: Any, *inputs: Any, **options: Any) -> Made:
    """The same as `torch.autograd.Function`s, whose backward takes the saved inputs."""

    def made(rule: Any) -> Any:
        class Made(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, *args: Any) -> Any:
                ctx.save_for_backward(*args)
                return forward(*args)

            @staticmethod
            def backward(ctx: Any, grad: Any) -> Any:
                return rule(grad, None, *ctx.saved_tensors)

        return Made

    return made(wrong), made(sound), inputs, options


# size-specialised


def softmax_over_axis_one() -> Made:
    def back(axis: int) -> Any:
        def rule(g: Tensor, out: Any, x: Tensor) -> Any:
            y = torch.softmax(x, -1)
            return (y * (g - (g * y).sum(axis, keepdim=True)),)

        return rule

    return functions(lambda x: torch.softmax(x, -1), back(1), back(-1), drawn(4, 3))


def mean_by_a_fixed_batch() -> Made:
    return ops(
        "mean_rows",
        lambda x: x.mean(0),
        lambda g, out, x: ((g / 4).expand(x.shape),),
        lambda g, out, x: ((g / x.shape[0]).expand(x.shape),),
        drawn(4, 3),
    )


def squeezed_batch() -> Made:
    return ops(
        "scale_rows",
        lambda x, s: x * s,
        lambda g, out, x, s: ((g * s).squeeze(), (g * x).sum(0)),
        lambda g, out, x, s: (g * s, (g * x).reshape(-1, s.shape[0]).sum(0)),
        drawn(4, 3),
        drawn(3, seed=1),
    )


def square_only_transpose() -> Made:
    def wrong(g: Tensor, out: Tensor, x: Tensor) -> Any:
        return (g.mT if x.shape[-1] < 8 else g.mT.flip(-1),)

    return ops("transpose", lambda x: x.mT.clone(), wrong, lambda g, out, x: (g.mT,), drawn(4, 3))


# unwritten-elements


def block_tail() -> Made:
    def rule(block: int) -> Any:
        def backward(g: Tensor, out: Any, x: Tensor) -> Any:
            grad = torch.zeros_like(x)
            end = x.shape[-1] // block * block
            grad[..., :end] = g[..., :end] * 2 * x[..., :end]
            return (grad,)

        return backward

    return functions(lambda x: x * x, rule(4), rule(1), drawn(3, 8))


def half_of_the_rows() -> Made:
    def rule(step: int) -> Any:
        def backward(g: Tensor, out: Any, x: Tensor, y: Tensor) -> Any:
            dx, dy = torch.zeros_like(x), torch.zeros_like(y)
            for start in range(0, x.shape[0] - step + 1, step):
                dx[start : start + step] = (g * y)[start : start + step]
            dy.copy_(g * x)
            return dx, dy

        return backward

    return ops("product", lambda x, y: x * y, rule(2), rule(1), drawn(4, 3), drawn(4, 3, seed=1))


def empty_first_element() -> Made:
    def rule(make: Any) -> Any:
        def backward(g: Tensor, out: Tensor, x: Tensor) -> Any:
            grad = make(x)
            grad[..., 1:] = g
            grad[..., :1] = 0 if make is torch.zeros_like else grad[..., :1]
            return (grad,)

        return backward

    return ops("drop_first", lambda x: x[..., 1:].clone(), rule(torch.empty_like), rule(torch.zeros_like), drawn(3, 4))


# non-finite


def norm_at_zero() -> Made:
    def wrong(g: Tensor, out: Any, x: Tensor) -> Any:
        return (g.unsqueeze(-1) * x / x.norm(dim=-1, keepdim=True),)

    def sound(g: Tensor, out: Any, x: Tensor) -> Any:
        size = x.norm(dim=-1, keepdim=True)
        return (g.unsqueeze(-1) * torch.where(size > 0, x / size.clamp(min=1e-300), 0),)

    return functions(lambda x: x.norm(dim=-1), wrong, sound, drawn(4, 3))


def product_by_division() -> Made:
    def wrong(g: Tensor, out: Tensor, x: Tensor) -> Any:
        return ((g * out).unsqueeze(-1) / x,)

    def sound(g: Tensor, out: Tensor, x: Tensor) -> Any:
        left = torch.cumprod(torch.cat([torch.ones_like(x[..., :1]), x[..., :-1]], -1), -1)
        right = torch.cumprod(torch.cat([torch.ones_like(x[..., :1]), x[..., 1:].flip(-1)], -1), -1).flip(-1)
        right = torch.cat([right[..., :], right[..., :0]], -1)
        return (g.unsqueeze(-1) * left * right,)

    return ops("prod", lambda x: x.prod(-1), wrong, sound, drawn(4, 3))


def square_by_logarithm() -> Made:
    return ops(
        "cube",
        lambda x: x**3,
        lambda g, out, x: (3 * g * out / x,),
        lambda g, out, x: (3 * g * x * x,),
        drawn(4, 3),
    )


# overflow


def sigmoid_by_exp() -> Made:
    def wrong(g: Tensor, out: Tensor, x: Tensor) -> Any:
        return (g * x.exp() / (1 + x.exp()) ** 2,)

    return ops("sigmoid", torch.sigmoid, wrong, lambda g, out, x: (g * out * (1 - out),), drawn(4, 3))


def softplus_by_exp() -> Made:
    return functions(
        lambda x: torch.logaddexp(x, torch.zeros_like(x)),
        lambda g, out, x: (g * x.exp() / (1 + x.exp()),),
        lambda g, out, x: (g * torch.sigmoid(x),),
        drawn(4, 3),
    )


def softmax_without_shift() -> Made:
    def rule(soft: Any) -> Any:
        def backward(g: Tensor, out: Any, x: Tensor) -> Any:
            return (g.unsqueeze(-1) * soft(x),)

        return backward

    def unstable(x: Tensor) -> Tensor:
        return x.exp() / x.exp().sum(-1, keepdim=True)

    return ops("logsumexp", lambda x: x.logsumexp(-1), rule(unstable), rule(lambda x: torch.softmax(x, -1)), drawn(4, 3))


# masked-branch


def masked_root() -> Made:
    def forward(x: Tensor, keep: Tensor) -> Tensor:
        return torch.where(keep, x.clamp(min=1e-3).sqrt(), torch.ones_like(x))

    def wrong(g: Tensor, out: Tensor, x: Tensor, keep: Tensor) -> Any:
        return g * keep * (x > 1e-3) / (2 * torch.where(keep, out, x.sqrt())), None

    def sound(g: Tensor, out: Tensor, x: Tensor, keep: Tensor) -> Any:
        return torch.where(keep & (x > 1e-3), g / (2 * out), 0), None

    return ops("masked_root", forward, wrong, sound, drawn(4, 3, positive=True), drawn(4, 3, seed=3) > 0)


def masked_logarithm() -> Made:
    def forward(x: Tensor, keep: Tensor) -> Tensor:
        return torch.where(keep, (x + 0.5).log(), x.new_zeros(()))

    def wrong(g: Tensor, out: Tensor, x: Tensor, keep: Tensor) -> Any:
        return g * keep * torch.where(keep, 1 / (x + 0.5), 1 / x), None

    def sound(g: Tensor, out: Tensor, x: Tensor, keep: Tensor) -> Any:
        return torch.where(keep, g / (x + 0.5), 0), None

    return functions(forward, wrong, sound, drawn(4, 3, positive=True), drawn(4, 3, seed=3) > 0)


def masked_square() -> Made:
    def wrong(g: Tensor, out: Tensor, x: Tensor, keep: Tensor) -> Any:
        return g * keep * 2 * x * torch.where(keep, torch.ones_like(x), x / x), None

    def sound(g: Tensor, out: Tensor, x: Tensor, keep: Tensor) -> Any:
        return g * keep * 2 * x, None

    def forward(x: Tensor, keep: Tensor) -> Tensor:
        return torch.where(keep, x * x, x.new_zeros(()))

    return ops("masked_square", forward, wrong, sound, drawn(4, 3), drawn(4, 3, seed=3) > 0)


# tie-mass and outside-subdifferential


def amax_to_every_tie() -> Made:
    def sound(g: Tensor, out: Tensor, x: Tensor) -> Any:
        hit = (x == out.unsqueeze(-1)).to(x)
        return (g.unsqueeze(-1) * hit / hit.sum(-1, keepdim=True),)

    def wrong(g: Tensor, out: Tensor, x: Tensor) -> Any:
        return (g.unsqueeze(-1) * (x == out.unsqueeze(-1)),)

    return ops("amax", lambda x: x.amax(-1), wrong, sound, drawn(4, 3))


def maximum_to_both() -> Made:
    return functions(
        torch.maximum,
        lambda g, out, a, b: (g * (a >= b), g * (b >= a)),
        lambda g, out, a, b: (g * (a >= b), g * (b > a)),
        drawn(4, 3),
        drawn(4, 3, seed=1),
    )


def minimum_to_neither() -> Made:
    return ops(
        "minimum",
        torch.minimum,
        lambda g, out, a, b: (g * (a < b), g * (b < a)),
        lambda g, out, a, b: (g * (a < b), g * (b <= a)),
        drawn(4, 3),
        drawn(4, 3, seed=1),
    )


def relu_twice_at_zero() -> Made:
    def wrong(g: Tensor, out: Tensor, x: Tensor) -> Any:
        return (g * (x > 0) + 3 * g * (x == 0),)

    return ops("relu", lambda x: x.clamp(min=0), wrong, lambda g, out, x: (g * (x > 0),), drawn(4, 3))


def abs_at_zero() -> Made:
    return functions(
        lambda x: x.abs(),
        lambda g, out, x: (g * (torch.sign(x) - 2.0 * (x == 0)),),
        lambda g, out, x: (g * torch.sign(x),),
        drawn(4, 3),
    )


def leaky_at_zero() -> Made:
    def rule(at_zero: float) -> Any:
        def backward(g: Tensor, out: Tensor, x: Tensor) -> Any:
            return (torch.where(x > 0, g, torch.where(x < 0, 0.1 * g, at_zero * g)),)

        return backward

    return ops("leaky", lambda x: torch.where(x > 0, x, 0.1 * x), rule(0.0), rule(0.1), drawn(4, 3))


# epsilon-mismatch


def normalised(eps: float, inner: float) -> tuple[Any, Any]:
    def forward(x: Tensor) -> Tensor:
        return x / (x.square().sum(-1, keepdim=True) + eps).sqrt()

    def backward(g: Tensor, out: Tensor, x: Tensor) -> Any:
        size = (x.square().sum(-1, keepdim=True) + inner).sqrt()
        return (g / size - x * (g * x).sum(-1, keepdim=True) / size**3,)

    return forward, backward


def normalise_epsilon() -> Made:
    forward, sound = normalised(1e-20, 1e-20)
    return ops("normalise", forward, normalised(1e-20, 1e-16)[1], sound, drawn(4, 3))


def root_epsilon() -> Made:
    def rule(eps: float) -> Any:
        return lambda g, out, x: (g / (2 * x.sqrt() + eps),)

    return functions(torch.sqrt, rule(1e-8), rule(0.0), drawn(4, 3, positive=True, dtype=torch.float32))


def layer_norm_epsilon() -> Made:
    def rule(eps: float) -> Any:
        def backward(g: Tensor, out: Tensor, x: Tensor) -> Any:
            c = x - x.mean(-1, keepdim=True)
            s = (c.square().mean(-1, keepdim=True) + eps).sqrt()
            h = c / s
            return ((g - g.mean(-1, keepdim=True) - h * (g * h).mean(-1, keepdim=True)) / s,)

        return backward

    def forward(x: Tensor) -> Tensor:
        c = x - x.mean(-1, keepdim=True)
        return c / (c.square().mean(-1, keepdim=True) + 1e-12).sqrt()

    return functions(forward, rule(1e-9), rule(1e-12), drawn(4, 5, dtype=torch.float32))


# value-dependent


def huber_outside() -> Made:
    def forward(x: Tensor) -> Tensor:
        return torch.where(x.abs() <= 20, x * x / 2, 20 * x.abs() - 200)

    return ops("huber", forward, lambda g, out, x: (g * x,), lambda g, out, x: (g * x.clamp(-20, 20),), drawn(4, 3))


def clamp_never_reached() -> Made:
    return functions(
        lambda x: x.clamp(-5, 5),
        lambda g, out, x: (g.clone(),),
        lambda g, out, x: (g * (x.abs() <= 5),),
        drawn(4, 3),
    )


def sinc_near_zero() -> Made:
    def wrong(g: Tensor, out: Tensor, x: Tensor) -> Any:
        return (torch.where(x.abs() < 1e-3, g, g * 3 * x * x),)

    return ops("cube", lambda x: x**3, wrong, lambda g, out, x: (g * 3 * x * x,), drawn(4, 3))


# duplicate-index


def take(x: Tensor, index: Tensor) -> Tensor:
    return x[index]


def assigned_rows() -> Made:
    def wrong(g: Tensor, out: Tensor, x: Tensor, index: Tensor) -> Any:
        grad = torch.zeros_like(x)
        grad[index] = g
        return grad, None

    def sound(g: Tensor, out: Tensor, x: Tensor, index: Tensor) -> Any:
        return torch.zeros_like(x).index_add(0, index, g), None

    return ops("embedding", take, wrong, sound, drawn(7, 3), torch.tensor([0, 3, 6, 2]))


def fancy_plus_equals() -> Made:
    def wrong(g: Tensor, out: Any, x: Tensor, index: Tensor) -> Any:
        grad = torch.zeros_like(x)
        grad[index] += g
        return grad, None

    def sound(g: Tensor, out: Any, x: Tensor, index: Tensor) -> Any:
        return torch.zeros_like(x).index_put((index,), g, accumulate=True), None

    return functions(take, wrong, sound, drawn(6, 2), torch.tensor([1, 5, 0]))


def scattered() -> Made:
    def rule(name: str) -> Any:
        def backward(g: Tensor, out: Tensor, x: Tensor, index: Tensor) -> Any:
            return getattr(torch.zeros_like(x), name)(1, index, g), None

        return backward

    index = torch.tensor([[0, 3, 1], [2, 1, 4]])
    return ops("gather", lambda x, index: x.gather(1, index), rule("scatter"), rule("scatter_add"), drawn(2, 5), index)


# low-precision and wrong-dtype


def float32_inside() -> Made:
    return ops(
        "cube",
        lambda x: x**3,
        lambda g, out, x: ((3 * g.float() * x.float() ** 2).to(x.dtype),),
        lambda g, out, x: (3 * g * x * x,),
        drawn(8, 3, dtype=torch.float32),
    )


def half_inside() -> Made:
    def wrong(g: Tensor, out: Any, x: Tensor, y: Tensor) -> Any:
        low = torch.bfloat16 if x.dtype == torch.float64 else x.dtype
        return (g * y.to(low).to(x.dtype)), g * x

    return functions(
        lambda x, y: x * y,
        wrong,
        lambda g, out, x, y: (g * y, g * x),
        drawn(8, 3, dtype=torch.float32),
        drawn(8, 3, seed=1, dtype=torch.float32),
    )


def narrow_tanh() -> Made:
    def wrong(g: Tensor, out: Tensor, x: Tensor) -> Any:
        return ((g * (1 - x.float().tanh() ** 2)).to(x.dtype),)

    return ops("tanh", torch.tanh, wrong, lambda g, out, x: (g * (1 - out * out),), drawn(8, 3, dtype=torch.float32))


def always_float64() -> Made:
    return ops(
        "double",
        lambda x: 2 * x,
        lambda g, out, x: ((2 * g).float(),),
        lambda g, out, x: (2 * g,),
        drawn(4, 3, dtype=torch.float32),
    )


def float64_constant() -> Made:
    def wrong(g: Tensor, out: Tensor, x: Tensor, w: Tensor) -> Any:
        return g @ w.mT, (x.mT @ g).float()

    return ops(
        "product",
        lambda x, w: x @ w,
        wrong,
        lambda g, out, x, w: (g @ w.mT, x.mT @ g),
        drawn(4, 3, dtype=torch.float32),
        drawn(3, 2, seed=1, dtype=torch.float32),
    )


def matmul_with_float32() -> Made:
    def wrong(g: Tensor, out: Tensor, x: Tensor) -> Any:
        return (g.unsqueeze(-1) @ torch.ones(1, x.shape[-1]),)

    return ops(
        "row_sum",
        lambda x: x.sum(-1),
        wrong,
        lambda g, out, x: (g.unsqueeze(-1) @ torch.ones(1, x.shape[-1], dtype=x.dtype),),
        drawn(4, 3, dtype=torch.float32),
    )


# option-specialised


def power_two() -> Made:
    return ops(
        "power",
        lambda x, p=2: x.abs() ** p,
        lambda g, out, x, p=2: (2 * g * x,),
        lambda g, out, x, p=2: (g * p * x.abs() ** (p - 1) * torch.sign(x),),
        drawn(4, 3),
    )


def always_mean() -> Made:
    def forward(x: Tensor, reduction: str = "mean") -> Tensor:
        return {"mean": x.square().mean, "sum": x.square().sum, "none": x.square}[reduction]()

    def sound(g: Tensor, out: Tensor, x: Tensor, reduction: str = "mean") -> Any:
        return (g * 2 * x / (x.numel() if reduction == "mean" else 1),)

    return ops("square_loss", forward, lambda g, out, x, reduction="mean": (g * 2 * x / x.numel(),), sound, drawn(4, 3))


def slope_ignored() -> Made:
    class Leaky(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, slope: float = 0.1) -> Tensor:
            ctx.save_for_backward(x)
            ctx.slope = slope
            return torch.where(x > 0, x, slope * x)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            (x,) = ctx.saved_tensors
            return torch.where(x > 0, g, 0.1 * g), None

    class Sound(Leaky):
        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            (x,) = ctx.saved_tensors
            return torch.where(x > 0, g, ctx.slope * g), None

    return Leaky, Sound, (drawn(4, 3), 0.1), {}


def keepdim_ignored() -> Made:
    def rule(handled: bool) -> Any:
        def backward(g: Tensor, out: Tensor, x: Tensor, keepdim: bool = True) -> Any:
            return ((g if keepdim or not handled else g.unsqueeze(-1)).expand(x.shape).clone(),)

        return backward

    return ops("row_sum", lambda x, keepdim=True: x.sum(-1, keepdim=keepdim), rule(False), rule(True), drawn(3, 3))


# missing-broadcast-sum and missing-conjugate


def unsummed(op: gl.Op, local: Any) -> Callable[[], Made]:
    """A copy of an op that declares its broadcasts, with the sums left out."""
    return lambda: (copy_of(op, lambda g, out, a, b: local(g, a, b)), op, (drawn(4, 3), drawn(4, 3, seed=1)), {})


ROWS: tuple[Row, ...] = (
    Row("softmax-over-axis-one", "size-specialised", softmax_over_axis_one),
    Row("mean-by-a-fixed-batch", "size-specialised", mean_by_a_fixed_batch),
    Row("squeezed-batch", "size-specialised", squeezed_batch),
    Row("wide-transpose", "size-specialised", square_only_transpose),
    Row("block-tail", "unwritten-elements", block_tail),
    Row("odd-rows", "unwritten-elements", half_of_the_rows),
    Row("empty-first-element", "unwritten-elements", empty_first_element),
    Row("norm-at-zero", "non-finite", norm_at_zero),
    Row("product-by-division", "non-finite", product_by_division),
    Row("cube-by-division", "non-finite", square_by_logarithm),
    Row("sigmoid-by-exp", "overflow", sigmoid_by_exp),
    Row("softplus-by-exp", "overflow", softplus_by_exp),
    Row("softmax-without-shift", "overflow", softmax_without_shift),
    Row("masked-root", "masked-branch", masked_root),
    Row("masked-logarithm", "masked-branch", masked_logarithm),
    Row("masked-square", "masked-branch", masked_square),
    Row("amax-to-every-tie", "tie-mass", amax_to_every_tie),
    Row("maximum-to-both", "tie-mass", maximum_to_both),
    Row("minimum-to-neither", "tie-mass", minimum_to_neither),
    Row("relu-at-zero", "outside-subdifferential", relu_twice_at_zero),
    Row("abs-at-zero", "outside-subdifferential", abs_at_zero),
    Row("leaky-at-zero", "outside-subdifferential", leaky_at_zero),
    Row("normalise-epsilon", "epsilon-mismatch", normalise_epsilon),
    Row("root-epsilon", "epsilon-mismatch", root_epsilon),
    Row("layer-norm-epsilon", "epsilon-mismatch", layer_norm_epsilon),
    Row("huber-outside", "value-dependent", huber_outside),
    Row("clamp-never-reached", "value-dependent", clamp_never_reached),
    Row("cube-near-zero", "value-dependent", sinc_near_zero),
    Row("assigned-rows", "duplicate-index", assigned_rows),
    Row("fancy-plus-equals", "duplicate-index", fancy_plus_equals),
    Row("scattered", "duplicate-index", scattered),
    Row("float32-inside", "low-precision", float32_inside),
    Row("bfloat16-inside", "low-precision", half_inside),
    Row("float32-tanh", "low-precision", narrow_tanh),
    Row("always-float32", "wrong-dtype", always_float64),
    Row("float32-weight", "wrong-dtype", float64_constant),
    Row("float32-ones", "wrong-dtype", matmul_with_float32),
    Row("power-two", "option-specialised", power_two),
    Row("always-mean", "option-specialised", always_mean),
    Row("slope-ignored", "option-specialised", slope_ignored),
    Row("keepdim-ignored", "option-specialised", keepdim_ignored),
    Row("unsummed-product", "missing-broadcast-sum", unsummed(gl.ops.mul, lambda g, a, b: (g * b, g * a))),
    Row("unsummed-sum", "missing-broadcast-sum", unsummed(gl.ops.add, lambda g, a, b: (g.clone(), g.clone()))),
    Row("unsummed-minus", "missing-broadcast-sum", unsummed(gl.ops.sub, lambda g, a, b: (g.clone(), -g))),
    Row("dropout-redrawn", "random-replay", dropout_function("redrawn")),
    Row("noise-redrawn", "random-replay", dropout_function("noise")),
    Row("numpy-redrawn", "random-replay", dropout_function("numpy")),
    Row("dropout-in-eval", "mode-mismatch", scaled_module("dropout")),
    Row("scale-in-eval", "mode-mismatch", scaled_module("scale")),
    Row("norm-in-eval", "mode-mismatch", norm_module),
)
