"""How far two distributions, or the directions of two vectors, are apart."""

from __future__ import annotations

import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.ops._losses import divisor, refuse_different_shapes
from gradcheck_lab.ops._reduce import refuse_reduction, sum_to
from gradcheck_lab.rules.op import op
from gradcheck_lab.specs import probabilities, real

Pair = tuple[torch.Tensor, torch.Tensor]
KL_CHOICES = {"reduction": ("mean", "sum", "none", "batchmean"), "log_target": (False, True)}


@op(real("*b c"), probabilities("*b c"), choices=KL_CHOICES)
def kl_div(
    log_probabilities: torch.Tensor, target: torch.Tensor, *, reduction: str = "mean", log_target: bool = False
) -> torch.Tensor:
    """t (log t - log_probabilities), elementwise, then `reduction`; 0 log 0 is 0.

    `log_probabilities` and `target` have the same shape (*b, c); the target t holds probabilities, or with `log_target` their
    logarithms. `reduction` is "none" (the output has their shape), "sum", "mean" over all elements, or "batchmean": summed,
    and divided by the size of the first dimension, which is the divergence of a mean row.
    At t = 0 the term 0 log 0 counts as a constant: the gradient to the target leaves it out, where the slope is infinite.
    Raises `InvalidArgument` for different shapes.
    Source: Kullback and Leibler, "On information and sufficiency", 1951.

    >>> kl_div(torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[1.0, 0.0]]), reduction="sum")
    tensor(0.6931)
    """
    weight, log_t = (target.exp(), target) if log_target else (target, _safe_log(target))
    losses = weight * (log_t - log_probabilities)
    if reduction == "none":
        return losses
    return losses.mean() if reduction == "mean" else losses.sum() / _divisor(losses.shape, reduction)


@kl_div.validator
def refuse_other_shape(
    log_probabilities: torch.Tensor, target: torch.Tensor, *, reduction: str = "mean", log_target: bool = False
) -> None:
    """Raise `InvalidArgument` for distributions of different shapes."""
    refuse_reduction("kl_div", reduction, ("none", "mean", "sum", "batchmean"))
    refuse_different_shapes("kl_div", "log_probabilities", log_probabilities, "target", target)


@kl_div.backward
def kl_div_backward(
    grad_output: torch.Tensor,
    output: torch.Tensor,
    log_probabilities: torch.Tensor,
    target: torch.Tensor,
    *,
    reduction: str = "mean",
    log_target: bool = False,
) -> Pair:
    """dlog_probabilities = -g t, dtarget = g (log t + 1 - log_probabilities), t times that to a logarithm; g as reduced."""
    g = grad_output / _divisor(log_probabilities.shape, reduction)
    if log_target:
        weighted = g * target.exp()
        return -weighted, weighted * (target - log_probabilities + 1)
    return -g * target, g * (_safe_log(target) + (target != 0) - log_probabilities)


@op(real("*#b #d"), real("*#b #d"), choices={"dim": (-1, 0), "eps": (1e-8, 0.5)})
def cosine_similarity(a: torch.Tensor, b: torch.Tensor, *, dim: int = -1, eps: float = 1e-8) -> torch.Tensor:
    """Σ a b / (max(‖a‖, ε) max(‖b‖, ε)) over `dim`: the cosine of the angle between two vectors, 0 where one is zero.

    `a` and `b` have shapes that broadcast; the output has the broadcast shape without `dim`, which is the last one where
    torch's is 1. Where a norm is 0 the subgradient is that of the sum; below ε it is divided by ε, not by the norm.
    Raises `InvalidArgument` for a `dim` that the operands do not have, and an `eps` that is not above 0.
    Source: Salton, Wong and Yang, "A vector space model for automatic indexing", 1975.

    >>> cosine_similarity(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.tensor([[3.0, 4.0], [1.0, 2.0]]))
    tensor([1., 0.])
    """
    a, b = torch.broadcast_tensors(a, b)
    return (a / _size(a, dim, eps) * (b / _size(b, dim, eps))).sum(dim)


@cosine_similarity.validator
def refuse_axis(a: torch.Tensor, b: torch.Tensor, *, dim: int = -1, eps: float = 1e-8) -> None:
    """Raise `InvalidArgument` for an axis that is not there, and an epsilon that would not stop a division by 0."""
    if not eps > 0:
        raise InvalidArgument(f"cosine_similarity: eps is {eps}; pass a small number above 0, such as 1e-8")
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        rank = max(a.ndim, b.ndim)
        if not -rank <= dim < rank:
            raise InvalidArgument(
                f"cosine_similarity: dim is {dim} and operands of shapes {tuple(a.shape)} and {tuple(b.shape)} have {rank} "
                f"dimensions; pass one from {-rank} to {rank - 1}"
            )


@cosine_similarity.backward
def cosine_similarity_backward(
    grad_output: torch.Tensor, output: torch.Tensor, a: torch.Tensor, b: torch.Tensor, *, dim: int = -1, eps: float = 1e-8
) -> Pair:
    """da = g (v - y u) / max(‖a‖, ε) with u and v the unit vectors and y their product, without y u where ‖a‖ < ε; db alike."""
    g, y = grad_output.unsqueeze(dim), output.unsqueeze(dim)
    wide_a, wide_b = torch.broadcast_tensors(a, b)
    size_a, size_b = _size(wide_a, dim, eps), _size(wide_b, dim, eps)
    u, v = wide_a / size_a, wide_b / size_b
    da = g * (v - y.where(_norm(wide_a, dim) >= eps, 0) * u) / size_a
    db = g * (u - y.where(_norm(wide_b, dim) >= eps, 0) * v) / size_b
    return sum_to(da, a.shape), sum_to(db, b.shape)


def _norm(x: torch.Tensor, dim: int) -> torch.Tensor:
    norm: torch.Tensor = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    return norm


def _size(x: torch.Tensor, dim: int, eps: float) -> torch.Tensor:
    # float16 has no 1e-8: there the smallest number it has, below which no norm but 0 lies
    return _norm(x, dim).clamp(min=max(eps, torch.finfo(x.dtype).smallest_normal * torch.finfo(x.dtype).eps))


def _safe_log(t: torch.Tensor) -> torch.Tensor:
    return t.where(t != 0, 1).log()


def _divisor(shape: torch.Size, reduction: str) -> int:
    return shape[0] if reduction == "batchmean" else divisor(shape, reduction)
