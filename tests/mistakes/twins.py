"""Sound backwards written in other ways: other summation orders, rewritten algebra, other conventions at kinks."""

from typing import Any

import torch

from gradcheck_lab.ops import linear, matmul, mse_loss, mul, relu, softmax_cross_entropy
from gradcheck_lab.rules.op import Op
from gradcheck_lab.specs import positive, real
from tests.mistakes import Twin

Tensor = torch.Tensor


# linear


def linear_row_by_row(grad_output: Tensor, output: Tensor, x: Tensor, weight: Tensor, bias: Tensor) -> Any:
    d_out, d_in = weight.shape
    n = x.shape[:-1].numel()
    dweight, dbias = torch.zeros_like(weight), torch.zeros_like(bias)
    for g, row in zip(grad_output.reshape(n, d_out), x.reshape(n, d_in), strict=True):
        dweight = dweight + torch.outer(g, row)
        dbias = dbias + g
    return grad_output @ weight, dweight, dbias


def linear_by_products(grad_output: Tensor, output: Tensor, x: Tensor, weight: Tensor, bias: Tensor) -> Any:
    d_out, d_in = weight.shape
    n = x.shape[:-1].numel()
    g, rows = grad_output.reshape(n, d_out), x.reshape(n, d_in)
    dx = (g.unsqueeze(-1) * weight).sum(1).reshape(x.shape)
    return dx, (g.unsqueeze(-1) * rows.unsqueeze(1)).flip(0).sum(0), g.flip(0).sum(0)


def linear_in_float32_inside(grad_output: Tensor, output: Tensor, x: Tensor, weight: Tensor, bias: Tensor) -> Any:
    wide = torch.promote_types(x.dtype, torch.float32)
    grads = linear.backward(grad_output.to(wide), output.to(wide), x.to(wide), weight.to(wide), bias.to(wide))
    return tuple(grad.to(x.dtype) for grad in grads)


# relu


def relu_with_one_at_zero(grad_output: Tensor, output: Tensor, x: Tensor) -> Any:
    return (torch.where(x >= 0, grad_output, 0),)


def relu_with_half_at_zero(grad_output: Tensor, output: Tensor, x: Tensor) -> Any:
    return (grad_output * torch.heaviside(x, torch.full_like(x, 0.5)),)


def relu_by_output(grad_output: Tensor, output: Tensor, x: Tensor) -> Any:
    return (grad_output * output.sign(),)


def relu_by_average_of_signs(grad_output: Tensor, output: Tensor, x: Tensor) -> Any:
    return (grad_output * (x.sign() + 1) / 2,)


# softmax cross-entropy


def upstream_rows(grad_output: Tensor, logits: Tensor, reduction: str) -> Tensor:
    rows = logits.shape[:-1]
    return (grad_output / rows.numel() if reduction == "mean" else grad_output).expand(rows).unsqueeze(-1)


def weights_of(logits: Tensor, target: Tensor) -> Tensor:
    if target.is_floating_point():
        return target
    return torch.nn.functional.one_hot(target.long(), logits.shape[-1]).to(logits.dtype)


def cross_entropy_by_softmax(
    grad_output: Tensor, output: Tensor, logits: Tensor, target: Tensor, *, reduction: str = "mean"
) -> Any:
    t, g = weights_of(logits, target), upstream_rows(grad_output, logits, reduction)
    dlogits = g * torch.softmax(logits, -1) * t.sum(-1, keepdim=True) - g * t
    return dlogits, -g * torch.log_softmax(logits, -1) if target.is_floating_point() else None


def cross_entropy_by_shifted_exponentials(
    grad_output: Tensor, output: Tensor, logits: Tensor, target: Tensor, *, reduction: str = "mean"
) -> Any:
    t, g = weights_of(logits, target), upstream_rows(grad_output, logits, reduction)
    shifted = logits - logits.amax(-1, keepdim=True) if logits.numel() else logits
    exponentials = shifted.exp()
    total = exponentials.sum(-1, keepdim=True)
    dlogits = g * (t.sum(-1, keepdim=True) * exponentials / total - t)
    return dlogits, g * (total.log() - shifted) if target.is_floating_point() else None


def cross_entropy_through_log_softmax(
    grad_output: Tensor, output: Tensor, logits: Tensor, target: Tensor, *, reduction: str = "mean"
) -> Any:
    t, g = weights_of(logits, target), upstream_rows(grad_output, logits, reduction)
    log_p = torch.log_softmax(logits, -1)
    upstream = -g * t
    dlogits = upstream - log_p.exp() * upstream.sum(-1, keepdim=True)
    return dlogits, -g * log_p if target.is_floating_point() else None


# mean squared error


def divisor_of(prediction: Tensor, reduction: str) -> int:
    sizes = {"none": 1, "sum": 1, "mean": prediction.numel(), "batchmean": prediction.shape[:-1].numel()}
    return sizes[reduction]


def mse_divided_first(
    grad_output: Tensor, output: Tensor, prediction: Tensor, target: Tensor, *, reduction: str = "mean"
) -> Any:
    grad = grad_output / divisor_of(prediction, reduction) * 2 * (prediction - target)
    return grad, -grad


def mse_expanded(grad_output: Tensor, output: Tensor, prediction: Tensor, target: Tensor, *, reduction: str = "mean") -> Any:
    factor = 2 * grad_output / divisor_of(prediction, reduction)
    return factor * prediction - factor * target, factor * target - factor * prediction


# others


def mul_by_output(grad_output: Tensor, output: Tensor, a: Tensor, b: Tensor) -> Any:
    da, db = grad_output * b, grad_output * a
    return da.sum_to_size(a.shape), db.sum_to_size(b.shape)


def matmul_by_products(grad_output: Tensor, output: Tensor, a: Tensor, b: Tensor) -> Any:
    g = grad_output.unsqueeze(-2)
    da = (g * b.unsqueeze(-3)).sum(-1)
    db = (a.unsqueeze(-1) * g).sum(-3)
    return da.sum_to_size(a.shape), db.sum_to_size(b.shape)


TWINS = (
    Twin("row-by-row", linear, linear_row_by_row),
    Twin("by-products", linear, linear_by_products),
    Twin("in-float32-inside", linear, linear_in_float32_inside),
    Twin("one-at-zero", relu, relu_with_one_at_zero),
    Twin("half-at-zero", relu, relu_with_half_at_zero),
    Twin("by-output", relu, relu_by_output),
    Twin("by-average-of-signs", relu, relu_by_average_of_signs),
    Twin("by-softmax", softmax_cross_entropy, cross_entropy_by_softmax),
    Twin("by-shifted-exponentials", softmax_cross_entropy, cross_entropy_by_shifted_exponentials),
    Twin("through-log-softmax", softmax_cross_entropy, cross_entropy_through_log_softmax),
    Twin("divided-first", mse_loss, mse_divided_first),
    Twin("expanded", mse_loss, mse_expanded),
    Twin("sum-to-size", mul, mul_by_output),
    Twin("by-products", matmul, matmul_by_products, first_signature=True),
)


def op_of(name: str, forward: Any, rule: Any, spec: Any = None) -> Op:
    return Op(forward, rule, name=name, specs=(spec or real("*b d"),))


def norm_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    centred = x - x.mean(-1, keepdim=True)
    scale = (centred.square().mean(-1, keepdim=True) + 1e-5).rsqrt()
    return centred * scale, scale


def layer_norm(x: Tensor) -> Tensor:
    return norm_statistics(x)[0]


def layer_norm_backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
    normal, scale = norm_statistics(x)
    return (scale * (g - g.mean(-1, keepdim=True) - normal * (g * normal).mean(-1, keepdim=True)),)


def layer_norm_backward_by_sums(g: Tensor, y: Tensor, x: Tensor) -> Any:
    n = x.shape[-1]
    normal, scale = norm_statistics(x)
    return (scale / max(n, 1) * (n * g - g.sum(-1, keepdim=True) - normal * (g * normal).sum(-1, keepdim=True)),)


def variance(x: Tensor) -> Tensor:
    return (x - x.mean(-1, keepdim=True)).square().mean(-1)


def variance_backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
    return (2 * g.unsqueeze(-1) / max(1, x.shape[-1]) * (x - x.mean(-1, keepdim=True)),)


# ops that a user could have brought, each row right
OPS = (
    op_of("tanh_by_output", torch.tanh, lambda g, y, x: (g * (1 - y * y),)),
    op_of("tanh_by_sech", torch.tanh, lambda g, y, x: (g / torch.cosh(x) / torch.cosh(x),)),
    op_of("sigmoid_by_output", torch.sigmoid, lambda g, y, x: (g * y * (1 - y),)),
    op_of("sigmoid_by_both_sides", torch.sigmoid, lambda g, y, x: (g * torch.sigmoid(x) * torch.sigmoid(-x),)),
    op_of("softmax", lambda x: torch.softmax(x, -1), lambda g, y, x: (y * (g - (g * y).sum(-1, keepdim=True)),)),
    op_of("softmax_expanded", lambda x: torch.softmax(x, -1), lambda g, y, x: (y * g - y * (g * y).sum(-1, keepdim=True),)),
    op_of(
        "log_softmax",
        lambda x: torch.log_softmax(x, -1),
        lambda g, y, x: (g - y.exp() * g.sum(-1, keepdim=True),),
    ),
    op_of("logsumexp", lambda x: torch.logsumexp(x, -1), lambda g, y, x: (g.unsqueeze(-1) * torch.softmax(x, -1),)),
    op_of("layer_norm", layer_norm, layer_norm_backward),
    op_of("layer_norm_by_sums", layer_norm, layer_norm_backward_by_sums),
    op_of("mean", lambda x: x.mean(-1), lambda g, y, x: ((g / max(1, x.shape[-1])).unsqueeze(-1).expand(x.shape),)),
    op_of("variance", variance, variance_backward),
    op_of("absolute", torch.abs, lambda g, y, x: (g * x.sign(),)),
    op_of("absolute_with_one_at_zero", torch.abs, lambda g, y, x: (torch.where(x >= 0, g, -g),)),
    op_of("hardtanh", lambda x: x.clamp(-1, 1), lambda g, y, x: (g * ((x > -1) & (x < 1)),)),
    op_of("hardtanh_with_bounds", lambda x: x.clamp(-1, 1), lambda g, y, x: (g * ((x >= -1) & (x <= 1)),)),
    op_of("softplus", lambda x: torch.logaddexp(x, torch.zeros_like(x)), lambda g, y, x: (g * torch.sigmoid(x),)),
    op_of("square", torch.square, lambda g, y, x: (2 * x * g,)),
    op_of("cube", lambda x: x * x * x, lambda g, y, x: (3 * x * x * g,)),
    op_of("exp_clamped", lambda x: x.clamp(max=5).exp(), lambda g, y, x: (torch.where(x <= 5, g * y, 0),)),
    op_of("log", torch.log, lambda g, y, x: (g / x,), positive("*b d")),
    op_of("sqrt", torch.sqrt, lambda g, y, x: (g / (2 * y),), positive("*b d")),
    op_of("reciprocal", torch.reciprocal, lambda g, y, x: (-g * y * y,), positive("*b d")),
    op_of("rsqrt", torch.rsqrt, lambda g, y, x: (-g * y * y * y / 2,), positive("*b d")),
    op_of("cumsum", lambda x: x.cumsum(-1), lambda g, y, x: (g.flip(-1).cumsum(-1).flip(-1),)),
    op_of("cumsum_by_total", lambda x: x.cumsum(-1), lambda g, y, x: (g.sum(-1, keepdim=True) - g.cumsum(-1) + g,)),
    op_of("difference", lambda x: x - x.mean(-1, keepdim=True), lambda g, y, x: (g - g.mean(-1, keepdim=True),)),
    op_of("ignored", lambda x: x * 0 + 1, lambda g, y, x: (torch.zeros_like(x),)),
    op_of("ignored_with_none", lambda x: x * 0 + 1, lambda g, y, x: (None,)),
)
