"""Planted mistakes of torch code without a hand-written rule, in the situations where sound code of that sort was once flagged.

A hook on the way spoils the gradient, as a scaled or clipped one does that stayed in; numbers know nothing of hooks.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.mistakes.registry import Table, complex_normal, normal, positive

table = Table()
X, Y = normal(4, 3), normal(4, 3, seed=1)
LABELS = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
MASKED = normal(3, 4).masked_fill(torch.eye(3, 4).bool(), -torch.inf)
ENDS = torch.linspace(-1, 1, 401)[:, None].expand(401, 2).contiguous()
WHOLE = torch.arange(-200.0, 200.0).reshape(20, 20)


def hooked(value: Tensor, wrong: bool, hook: Callable[[Tensor], Tensor] = lambda grad: 2 * grad) -> Tensor:
    """The value itself, whose gradient the hook spoils where `wrong`."""
    value = value.clone()
    if wrong and value.requires_grad:
        value.register_hook(hook)
    return value


@table("constant-factor", "plain-several-outputs-some-without-gradient", X)
def statistics(wrong: bool) -> Any:
    return lambda x: torch.native_layer_norm(hooked(x, wrong), [3], None, None, 1e-5)


@table("constant-factor", "plain-running-statistics", X, torch.zeros(3).double(), torch.ones(3).double())
def running_statistics(wrong: bool) -> Any:
    return lambda x, mean, variance: F.batch_norm(hooked(x, wrong), mean, variance, training=True, momentum=0.5)


@table("constant-factor", "plain-target-that-torch-cannot-differentiate", X[0], LABELS[:3])
def refused_target(wrong: bool) -> Any:
    return lambda x, target: F.soft_margin_loss(hooked(x, wrong), target)


@table("constant-factor", "plain-target-that-selects", X, Y, LABELS)
def selecting_target(wrong: bool) -> Any:
    return lambda a, b, target: F.cosine_embedding_loss(hooked(a, wrong), b, target)


@table("constant-factor", "plain-random-numbers", X)
def random_numbers(wrong: bool) -> Any:
    return lambda x: F.dropout(hooked(x, wrong), 0.5)


@table("constant-factor", "plain-parameters-of-a-distribution", X, positive(4, 3))
def distribution(wrong: bool) -> Any:
    return lambda x, scale: torch.normal(x, scale) * hooked(scale, wrong)


@table("constant-factor", "plain-masked-scores", MASKED)
def masked_scores(wrong: bool) -> Any:
    return lambda scores: torch.softmax(hooked(scores, wrong), -1)


@table("non-finite", "plain-masked-scores", MASKED)
def masked_to_nan(wrong: bool) -> Any:
    return lambda scores: torch.softmax(hooked(scores, wrong, lambda grad: grad + 0 * scores.detach()), -1)


@table("constant-factor", "plain-cast-inside", X)
def cast_inside(wrong: bool) -> Any:
    return lambda x: (hooked(x, wrong).half() * 3).double().sin()


@table("constant-factor", "plain-cast-at-the-end", X)
def cast_at_the_end(wrong: bool) -> Any:
    return lambda x: hooked(x, wrong).bfloat16()


@table("constant-factor", "plain-bfloat16", normal(6, 5, dtype=torch.bfloat16))
def sine_of_bfloat16(wrong: bool) -> Any:
    return lambda x: torch.sin(hooked(x, wrong, lambda grad: 1.125 * grad))


@table("constant-factor", "plain-bfloat16-alone", normal(20, 20, dtype=torch.bfloat16))
def wrong_in_bfloat16(wrong: bool) -> Any:
    return lambda x: torch.sin(hooked(x, wrong, lambda grad: 1.125 * grad if grad.dtype == torch.bfloat16 else grad))


@table("wrong-value", "plain-jumps-everywhere", WHOLE)
def fractions(wrong: bool) -> Any:
    return lambda x: torch.frac(hooked(x, wrong))


@table("outside-subdifferential", "plain-kinks-everywhere", torch.zeros(4, 5, dtype=torch.float64))
def kinks(wrong: bool) -> Any:
    return lambda x: torch.relu(hooked(x, wrong, lambda grad: grad + 2))


@table("wrong-value", "plain-end-of-a-domain", ENDS)
def end_of_domain(wrong: bool) -> Any:
    return lambda x: torch.asin(hooked(x, wrong))


@table("non-finite", "plain-end-of-a-domain", ENDS)
def infinite_within(wrong: bool) -> Any:
    def spoil(grad: Tensor) -> Tensor:
        return torch.where(ENDS.abs() < 1e-6, torch.inf, grad)

    return lambda x: torch.asin(hooked(x, wrong and x.shape == ENDS.shape, spoil))


@table("constant-factor", "plain-one-end-of-a-domain", torch.tensor([0.5, 1.0, -1.0, 0.25, -0.75]))
def one_end(wrong: bool) -> Any:
    return lambda x: torch.atanh(hooked(x, wrong) * 0.5).asin() + torch.asin(hooked(x, wrong))


@table("constant-factor", "plain-logcumsumexp", 100 * normal(5, 4))
def cumulative(wrong: bool) -> Any:
    return lambda x: torch.logcumsumexp(hooked(x, wrong), 0)


@table("constant-factor", "plain-batch-norm", X)
def batch_norm(wrong: bool) -> Any:
    class Normalised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(3, dtype=torch.float64)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(hooked(x, wrong))  # type: ignore[no-any-return]

    return Normalised()


@table("constant-factor", "plain-sort", X)
def sort(wrong: bool) -> Any:
    return lambda x: torch.sort(hooked(x, wrong), 0)


@table("constant-factor", "plain-zeros-without-memory", complex_normal(2, 2), complex_normal(2, 3), complex_normal(3, 2))
def scaled_product(wrong: bool) -> Any:
    return lambda m, a, b: torch.addmm(m, hooked(a, wrong), b, beta=0.2, alpha=0.6)


@table("constant-factor", "plain-ill-conditioned", torch.eye(4).double() + 1 - 1e-7 * normal(4, 4), normal(4, 2))
def ill_conditioned(wrong: bool) -> Any:
    return lambda a, b: torch.linalg.solve(a, hooked(b, wrong))


ROWS = table.rows
