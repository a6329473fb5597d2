"""Sound backwards of losses, with their options."""

import math
from typing import Any

import torch
from torch import Tensor

from tests.random_sound.draws import WIDE, Draw
from tests.random_sound.forms import Rule, in_float32, sound

REDUCTIONS = ("none", "sum", "mean")


def reduced(loss: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return loss
    return loss.sum() if reduction == "sum" else loss.mean()


def shared(g: Tensor, loss_elements: int, reduction: str) -> Tensor:
    """The upstream of each element of the loss before its reduction."""
    return g / max(1, loss_elements) if reduction == "mean" else g


@sound()
def cross_entropy(draw: Draw) -> Rule:
    def forward(logits: Tensor, target: Tensor, reduction: str = "mean", smoothing: float = 0.0) -> Tensor:
        logp = logits - logits.logsumexp(-1, keepdim=True)
        picked = logp.gather(-1, target.unsqueeze(-1)).squeeze(-1)
        return reduced(-(1 - smoothing) * picked - smoothing * logp.mean(-1), reduction)

    def backward(g: Tensor, y: Tensor, logits: Tensor, target: Tensor, reduction: str = "mean", smoothing: float = 0.0) -> Any:
        classes = logits.shape[-1]
        wanted = torch.zeros_like(logits).scatter_(-1, target.unsqueeze(-1), 1) * (1 - smoothing) + smoothing / max(1, classes)
        rows = shared(g, target.numel(), reduction).expand(target.shape).unsqueeze(-1)
        return (logits.softmax(-1) - wanted) * rows, None

    n, c = draw.size(1, 4), draw.size(2, 5)
    options = {"reduction": draw.of(REDUCTIONS), "smoothing": draw.of((0.0, 0.1, 0.3))}
    return Rule(forward, in_float32(backward), (draw.real(n, c), draw.whole(c, n)), options)


@sound()
def cross_entropy_ignoring(draw: Draw) -> Rule:
    def forward(logits: Tensor, target: Tensor, ignore_index: int = -100) -> Tensor:
        kept = target != ignore_index
        picked = logits.log_softmax(-1).gather(-1, target.clamp(min=0).unsqueeze(-1)).squeeze(-1)
        return -(picked * kept).sum() / kept.sum().clamp(min=1)

    def backward(g: Tensor, y: Tensor, logits: Tensor, target: Tensor, ignore_index: int = -100) -> Any:
        kept = target != ignore_index
        grad = logits.softmax(-1)
        grad = grad.scatter_add(-1, target.clamp(min=0).unsqueeze(-1), -torch.ones_like(grad[..., :1]))
        return grad * (g / kept.sum().clamp(min=1)) * kept.unsqueeze(-1), None

    n, c = draw.size(1, 5), draw.size(2, 4)
    target = draw.whole(c, n)
    ignored = draw.of((-100, 0))
    target[draw.mask(n)] = ignored if ignored == 0 else -100
    return Rule(forward, in_float32(backward), (draw.real(n, c), target), {"ignore_index": ignored})


@sound()
def binary_cross_entropy_with_logits(draw: Draw) -> Rule:
    def forward(x: Tensor, target: Tensor, pos_weight: float = 1.0, reduction: str = "mean") -> Tensor:
        log_p, log_q = torch.nn.functional.logsigmoid(x), torch.nn.functional.logsigmoid(-x)
        return reduced(-(pos_weight * target * log_p + (1 - target) * log_q), reduction)

    def backward(g: Tensor, y: Tensor, x: Tensor, target: Tensor, pos_weight: float = 1.0, reduction: str = "mean") -> Any:
        each, p, q = shared(g, x.numel(), reduction), torch.sigmoid(x), torch.sigmoid(-x)
        log_p, log_q = torch.nn.functional.logsigmoid(x), torch.nn.functional.logsigmoid(-x)
        dtarget = each * (log_q - pos_weight * log_p)
        return each * ((1 - target) * p - pos_weight * target * q), dtarget

    shape = draw.shape(1)
    inputs = (draw.real(*shape), draw.mask(*shape).to(draw.dtype) * 0.8 + 0.1)
    options = {"pos_weight": draw.number(0.3, 3), "reduction": draw.of(REDUCTIONS)}
    return Rule(forward, in_float32(backward), inputs, options)


@sound()
def huber(draw: Draw) -> Rule:
    def forward(a: Tensor, b: Tensor, delta: float = 1.0, reduction: str = "mean") -> Tensor:
        d = (a - b).abs()
        return reduced(torch.where(d < delta, 0.5 * d * d, delta * (d - 0.5 * delta)), reduction)

    def backward(g: Tensor, y: Tensor, a: Tensor, b: Tensor, delta: float = 1.0, reduction: str = "mean") -> Any:
        grad = (a - b).clamp(-delta, delta) * shared(g, a.numel(), reduction)
        return grad, -grad

    shape = draw.shape(1)
    options = {"delta": draw.number(0.3, 2), "reduction": draw.of(REDUCTIONS)}
    return Rule(forward, in_float32(backward), (draw.real(*shape), draw.real(*shape)), options)


@sound()
def log_cosh(draw: Draw) -> Rule:
    def forward(a: Tensor, b: Tensor) -> Tensor:
        d = a - b
        return (torch.logaddexp(d, -d) - math.log(2)).mean()

    def backward(g: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Any:
        grad = torch.tanh(a - b) * (g / a.numel())
        return grad, -grad

    shape = draw.shape(1, smallest=1)
    return Rule(forward, in_float32(backward), (draw.real(*shape), draw.real(*shape)))


@sound()
def hinge(draw: Draw) -> Rule:
    def forward(scores: Tensor, sign: Tensor, margin: float = 1.0) -> Tensor:
        return (margin - scores * sign).clamp(min=0).sum(-1)

    def backward(g: Tensor, y: Tensor, scores: Tensor, sign: Tensor, margin: float = 1.0) -> Any:
        grad = torch.where(scores * sign < margin, -g.unsqueeze(-1), 0)
        return grad * sign, grad * scores

    shape = draw.shape(1)
    sign = draw.mask(*shape).to(draw.dtype) * 2 - 1
    return Rule(forward, backward, (draw.real(*shape), sign), {"margin": draw.number(0.2, 2)})


@sound()
def multi_class_margin(draw: Draw) -> Rule:
    def forward(scores: Tensor, target: Tensor) -> Tensor:
        own = scores.gather(1, target.unsqueeze(1))
        violation = (scores - own + 1).clamp(min=0)
        return violation.scatter(1, target.unsqueeze(1), 0).sum() / scores.shape[0]

    def backward(g: Tensor, y: Tensor, scores: Tensor, target: Tensor) -> Any:
        own = scores.gather(1, target.unsqueeze(1))
        active = ((scores - own + 1) > 0).to(scores.dtype)
        rows = torch.arange(scores.shape[0])
        active[rows, target] = 0
        active[rows, target] = -active.sum(1)
        return active * g / scores.shape[0], None

    n, c = draw.size(1, 4), draw.size(2, 5)
    return Rule(forward, backward, (draw.real(n, c), draw.whole(c, n)))


@sound()
def pinball(draw: Draw) -> Rule:
    def forward(prediction: Tensor, target: Tensor, q: float = 0.5) -> Tensor:
        d = target - prediction
        return torch.maximum(q * d, (q - 1) * d).sum()

    def backward(g: Tensor, y: Tensor, prediction: Tensor, target: Tensor, q: float = 0.5) -> Any:
        grad = g * torch.where(target > prediction, torch.full_like(target, q), q - 1)
        return -grad, grad

    shape = draw.shape(1)
    return Rule(forward, backward, (draw.real(*shape), draw.real(*shape)), {"q": draw.of((0.1, 0.5, 0.9))})


@sound(dtypes=WIDE)
def divergence(draw: Draw) -> Rule:
    def forward(logits: Tensor, target: Tensor) -> Tensor:
        return (target * (target.log() - logits.log_softmax(-1))).sum() / logits.shape[0]

    def backward(g: Tensor, y: Tensor, logits: Tensor, target: Tensor) -> Any:
        logq, each = logits.log_softmax(-1), g / logits.shape[0]
        return each * (logq.exp() * target.sum(-1, keepdim=True) - target), each * (target.log() + 1 - logq)

    shape = (draw.size(1, 4), draw.size(2, 4))
    return Rule(forward, backward, (draw.real(*shape), draw.probabilities(*shape)))


@sound(dtypes=WIDE)
def focal(draw: Draw) -> Rule:
    def forward(x: Tensor, gamma: float = 2.0) -> Tensor:
        return -((torch.sigmoid(-x) ** gamma) * torch.nn.functional.logsigmoid(x)).sum()

    def backward(g: Tensor, y: Tensor, x: Tensor, gamma: float = 2.0) -> Any:
        p, q = torch.sigmoid(x), torch.sigmoid(-x)
        return (g * q**gamma * (gamma * p * torch.nn.functional.logsigmoid(x) - q),)

    return Rule(forward, backward, (draw.real(*draw.shape(1)),), {"gamma": draw.of((0.5, 1.0, 2.0))})


@sound()
def triplet(draw: Draw) -> Rule:
    def forward(a: Tensor, p: Tensor, n: Tensor, margin: float = 1.0) -> Tensor:
        gap = (a - p).square().sum(-1) - (a - n).square().sum(-1)
        return (gap + margin).clamp(min=0)

    def backward(g: Tensor, y: Tensor, a: Tensor, p: Tensor, n: Tensor, margin: float = 1.0) -> Any:
        share = (2 * g * (y > 0)).unsqueeze(-1)
        return share * (n - p), share * (p - a), share * (a - n)

    shape = draw.shape(1, 2, smallest=1)
    kind = draw.of(("ordinary", "tied", "zero"))
    return Rule(forward, in_float32(backward), tuple(draw.real(*shape, kind=kind) for _ in range(3)))


@sound(dtypes=WIDE)
def dice(draw: Draw) -> Rule:
    shape = draw.shape(1, 2, smallest=1)
    inputs = (draw.positive(*shape), draw.positive(*shape))
    return Rule(dice_loss, dice_loss_backward, inputs, {"smooth": draw.of((0.5, 1.0))})


def dice_loss(p: Tensor, t: Tensor, smooth: float = 1.0) -> Tensor:
    return 1 - (2 * (p * t).sum(-1) + smooth) / (p.square().sum(-1) + t.square().sum(-1) + smooth)


def dice_loss_backward(g: Tensor, y: Tensor, p: Tensor, t: Tensor, smooth: float = 1.0) -> Any:
    below = (p * p + t * t).sum(-1, keepdim=True) + smooth
    overlap = 1 - y.unsqueeze(-1)
    share = -g.unsqueeze(-1) / below
    return share * (2 * t - 2 * p * overlap), share * (2 * p - 2 * t * overlap)
