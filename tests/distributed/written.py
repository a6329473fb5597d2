"""Functions over torch.distributed whose backward communicates: each sound, and with the mistakes that people make in it.

A row is one function: how its inputs lie on the ranks, the same function of whole tensors, and what a check has to say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, distributed
from torch.autograd import Function

Placed = Mapping[str | int, Any]


def here() -> int:
    return distributed.get_rank()


def ranks() -> int:
    return distributed.get_world_size()


def all_reduced(x: Tensor) -> Tensor:
    total = x.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(total)
    return total


def reduced_on_rank_0(x: Tensor) -> Tensor:
    total = x.clone(memory_format=torch.contiguous_format)
    distributed.reduce(total, 0)
    return total


def all_gathered(x: Tensor, dim: int) -> Tensor:
    parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(ranks())]
    distributed.all_gather(parts, x.contiguous())
    return torch.cat(parts, dim)


def own_part(x: Tensor, dim: int) -> Tensor:
    return x.tensor_split(ranks(), dim)[here()].contiguous()


def scattered_sum(x: Tensor, dim: int) -> Tensor:
    return own_part(all_reduced(x), dim)


def exchanged(x: Tensor, cut: int, join: int) -> Tensor:
    """Cut along one dimension, send part r to rank r, and join what arrives along another."""
    sent = [part.contiguous() for part in x.tensor_split(ranks(), cut)]
    received = [torch.empty_like(sent[0]) for _ in sent]
    distributed.all_to_all(received, sent)
    return torch.cat(received, join)


class Copy(Function):
    """Into a tensor-parallel region: the identity, whose gradient is summed over the ranks."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return all_reduced(grad_output)


class CopyWithoutReduction(Copy):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return grad_output


class CopyReducedTwice(Copy):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return all_reduced(all_reduced(grad_output))


class CopyWithMean(Copy):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return all_reduced(grad_output) / ranks()


class CopyInPlace(Function):
    """As the paper of Megatron-LM has it (Code 1): right, where nobody else holds grad_output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        distributed.all_reduce(grad_output)
        return grad_output


class ReduceInPlace(Function):
    """The other of the two."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        distributed.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return grad_output


class ReduceMarkedDirty(Function):
    """In place, as torch is told: what it is given must be no leaf."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        distributed.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return grad_output


class ReduceMarkedDirtyAgain(ReduceMarkedDirty):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return all_reduced(grad_output)


class CopyOnOneRank(Copy):
    """Rank 1 takes another path than the others."""

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        total = all_reduced(grad_output)
        return total if here() != 1 else grad_output


class CopyReducedOnRank0(Copy):
    """The sum arrives on one rank alone."""

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return reduced_on_rank_0(grad_output)


class CopyLosesTheSum(Copy):
    """`contiguous()` of what is contiguous is that itself, and a copy of anything else."""

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        total = grad_output.clone()
        distributed.all_reduce(total.contiguous())
        return total


class Reduce(Function):
    """Out of a tensor-parallel region: the sum over the ranks, whose gradient is the identity."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return all_reduced(x)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return grad_output


class ReduceAgain(Reduce):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return all_reduced(grad_output)


class ReduceWithMean(Reduce):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return grad_output / ranks()


class ReduceOnRank0(Reduce):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return reduced_on_rank_0(x)


class MeanForward(Reduce):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return all_reduced(x) / ranks()


class Gather(Function):
    """The parts of all ranks joined along the last dimension; each rank's gradient is its own part."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return all_gathered(x, -1)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return own_part(grad_output, -1)


class GatherNotCut(Gather):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return grad_output


class GatherCutsAnother(Gather):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return grad_output.tensor_split(ranks(), -1)[ranks() - 1 - here()].contiguous()


class GatherCutsASum(Gather):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return scattered_sum(grad_output, -1)


class GatherJoinsReversed(Gather):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.cat(all_gathered(x, -1).tensor_split(ranks(), -1)[::-1], -1)


class GatherSummed(Function):
    """The parts joined along dimension 0, for ranks that use them for something of their own: reduce and scatter."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return all_gathered(x, 0)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return scattered_sum(grad_output, 0)


class GatherSummedCut(GatherSummed):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return own_part(grad_output, 0)


class GatherSummedAveraged(GatherSummed):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return scattered_sum(grad_output, 0) / ranks()


class Scatter(Function):
    """Each rank's part of what all hold; the gradient is joined."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return own_part(x, -1)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return all_gathered(grad_output, -1)


class ScatterJoinsReversed(Scatter):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return torch.cat(all_gathered(grad_output, -1).tensor_split(ranks(), -1)[::-1], -1)


class ScatterOfOwn(Scatter):
    """Zeros in the place of what the other ranks have."""

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        parts = [torch.zeros_like(grad_output) for _ in range(ranks())]
        parts[here()] = grad_output
        return torch.cat(parts, -1)


def column_linear(copy: type[Function]) -> Callable[..., Tensor]:
    def column(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return copy.apply(x) @ w.T + b

    return column


def row_linear(reduce: type[Function], biased_on_all: bool = False) -> Callable[..., Tensor]:
    def row(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return reduce.apply(x @ w.T + b / ranks()) if biased_on_all else reduce.apply(x @ w.T) + b

    return row


def row_linear_of_copies(copy: type[Function]) -> Callable[..., Tensor]:
    """Sums over the ranks what arrives at the parts of x, as is due where x is whole on each."""
    return lambda x, w, b: Reduce.apply(copy.apply(x) @ w.T) + b


def data_parallel(copy: type[Function]) -> Callable[..., Tensor]:
    def own_rows(x: Tensor, w: Tensor) -> Tensor:
        return torch.tanh(x @ copy.apply(w).T)

    return own_rows


class VocabularyParallel(Function):
    """The cross-entropy of logits whose classes are spread over the ranks (Megatron-LM, section 3)."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        most = logits.amax(-1).contiguous()
        distributed.all_reduce(most, op=distributed.ReduceOp.MAX)
        shifted = logits - most.unsqueeze(-1)
        classes = logits.shape[-1]
        local = labels - here() * classes
        mine = (local >= 0) & (local < classes)
        picked = shifted.gather(-1, local.clamp(0, classes - 1).unsqueeze(-1)).squeeze(-1) * mine
        total = all_reduced(shifted.exp().sum(-1))
        ctx.save_for_backward(shifted.exp() / total.unsqueeze(-1), local, mine)
        return total.log() - all_reduced(picked)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        weights, local, mine = ctx.saved_tensors
        hot = torch.nn.functional.one_hot(local.clamp(0, weights.shape[-1] - 1), weights.shape[-1]).to(weights)
        return (weights - hot * mine.unsqueeze(-1)) * grad_output.unsqueeze(-1), None


class VocabularyHotOnEveryRank(VocabularyParallel):
    """A label of another rank's classes is taken for one of this rank's."""

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        weights, local, _ = ctx.saved_tensors
        hot = torch.nn.functional.one_hot(local % weights.shape[-1], weights.shape[-1]).to(weights)
        return (weights - hot) * grad_output.unsqueeze(-1), None


class VocabularyReducesAgain(VocabularyParallel):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        found, _ = VocabularyParallel.backward(ctx, all_reduced(grad_output))
        return found, None


class VocabularyWithOwnSum(VocabularyParallel):
    """Weights over this rank's classes alone."""

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        weights, local, mine = ctx.saved_tensors
        own = weights / weights.sum(-1, keepdim=True)
        hot = torch.nn.functional.one_hot(local.clamp(0, weights.shape[-1] - 1), weights.shape[-1]).to(weights)
        return (own - hot * mine.unsqueeze(-1)) * grad_output.unsqueeze(-1), None


class Exchange(Function):
    """Each rank had part of the sequence and all heads, and has all of the sequence and part of the heads."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return exchanged(x, 1, 0)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return exchanged(grad_output, 0, 1)


class ExchangeReversed(Exchange):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return torch.cat(exchanged(grad_output, 0, 1).tensor_split(ranks(), 1)[::-1], 1)


class ExchangeViews(Exchange):
    """What arrives is written into one buffer, and grad_output is read as if it were contiguous."""

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        flat = grad_output.as_strided(grad_output.shape, torch.empty(grad_output.shape).stride())
        return exchanged(flat, 0, 1)


class ExchangeWithoutBackward(Exchange):
    """The gradient stays where it is, cut to the shape that it has to have."""

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        own = own_part(grad_output, 0)
        return torch.cat([own] * ranks(), 1)


class PassOn(Function):
    """Each rank sends what it has to the next one; the gradient goes the other way."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: int) -> Tensor:
        ctx.step = step
        return passed(x, step)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        return passed(grad_output, -ctx.step), None


class PassOnForwards(PassOn):
    """The gradient goes the way that the values went."""

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        return passed(grad_output, ctx.step), None


class PassOnDropped(PassOn):
    """Keeps the gradient of what it received from another rank."""

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        return grad_output, None


class PassOnAsItLies(PassOn):
    """Sends grad_output without making it contiguous."""

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        return passed(grad_output, -ctx.step, contiguous=False), None


def passed(x: Tensor, step: int, contiguous: bool = True) -> Tensor:
    received = torch.empty(x.shape, dtype=x.dtype)
    sent = distributed.isend(x.contiguous() if contiguous else x, (here() + step) % ranks())
    distributed.recv(received, (here() - step) % ranks())
    sent.wait()
    return received


def ring_attention(pass_on: type[Function]) -> Callable[..., Tensor]:
    """Attention of this rank's queries to the keys and values of all, which go round (Liu et al. 2023)."""

    def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores, values = [], []
        for step in range(ranks()):
            scores.append(q @ k.T / math.sqrt(q.shape[-1]))
            values.append(v)
            if step + 1 < ranks():
                k, v = pass_on.apply(k, 1), pass_on.apply(v, 1)
        return torch.softmax(torch.cat(scores, -1), -1) @ torch.cat(values, 0)

    return attention


def attention_of_all(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.softmax(q @ k.T / math.sqrt(q.shape[-1]), -1) @ v


@dataclass(frozen=True)
class Row:
    """One function: `specs` of its whole inputs, and `mistakes` with the cause that a check names, empty for any."""

    name: str
    specs: tuple[str, ...]
    placement: Placed
    reference: Callable[[int], Callable[..., Tensor]]  # of the number of ranks
    sound: Any
    mistakes: Mapping[str, tuple[Any, str]] = field(default_factory=dict)


class BatchNorm(Function):
    """Normalised by the statistics of the rows of all ranks."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        rows = x.shape[0] * ranks()
        mean = all_reduced(x.sum(0)) / rows
        variance = all_reduced((x - mean).square().sum(0)) / rows
        normal = (x - mean) * (variance + 1e-5).rsqrt()
        ctx.save_for_backward(normal, variance)
        return normal

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        normal, variance = ctx.saved_tensors
        rows = normal.shape[0] * ranks()
        mean, along = all_reduced(grad_output.sum(0)) / rows, all_reduced((grad_output * normal).sum(0)) / rows
        return (grad_output - mean - normal * along) * (variance + 1e-5).rsqrt()


class BatchNormOfOwnRows(BatchNorm):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        normal, variance = ctx.saved_tensors
        mean, along = grad_output.mean(0), (grad_output * normal).mean(0)
        return (grad_output - mean - normal * along) * (variance + 1e-5).rsqrt()


def batch_norm(x: Tensor) -> Tensor:
    return (x - x.mean(0)) * (x.var(0, correction=0) + 1e-5).rsqrt()


def embedding(reduce: type[Function]) -> Callable[..., Tensor]:
    def rows_of(indices: Tensor, w: Tensor) -> Tensor:
        local = indices - here() * w.shape[0]
        mine = (local >= 0) & (local < w.shape[0])
        return reduce.apply(w[local.clamp(0, w.shape[0] - 1)] * mine.unsqueeze(-1))

    return rows_of


class LinearOfOneInput(Function):
    """The gradient of x is reduced only where w requires one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return x @ w.T

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, Tensor]:
        x, w = ctx.saved_tensors
        own = grad_output @ w
        return all_reduced(own) if ctx.needs_input_grad[1] else own, grad_output.T @ x


class LinearOfLastCall(LinearOfOneInput):
    """Keeps the tensors of the last call on the class."""

    last: tuple[Tensor, Tensor]

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        LinearOfLastCall.last = x, w
        return x @ w.T

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, Tensor]:
        x, w = LinearOfLastCall.last
        return all_reduced(grad_output @ w), grad_output.T @ x


def linear(x: Tensor, w: Tensor) -> Tensor:
    return Copy.apply(x) @ w.T


ROWS = (
    Row(
        "copy to region", ("real('n d')",), {"output": "shard:0"}, lambda count: lambda x: torch.cat([x] * count), Copy,
        {
            "identity for a reduction": (CopyWithoutReduction, "missing-reduction"),
            "reduced twice": (CopyReducedTwice, "reduced-twice"),
            "mean for sum": (CopyWithMean, "constant-factor"),
            "another path on rank 1": (CopyOnOneRank, "ranks-disagree"),
            "reduced on one rank": (CopyReducedOnRank0, "ranks-disagree"),
            "not contiguous": (CopyLosesTheSum, "upstream-layout"),
        },
    ),
    Row(
        "reduce from region", ("real('n d')",), {"x": "partial"}, lambda _: lambda x: x.clone(), Reduce,
        {
            "reduced twice": (ReduceAgain, "reduced-twice"),
            "mean for sum": (ReduceWithMean, "constant-factor"),
            "mean in the forward": (MeanForward, "constant-factor"),
            "reduced on one rank": (ReduceOnRank0, "ranks-disagree"),
        },
    ),
    Row(
        "reduce in place", ("real('n d')",), {"x": "partial"}, lambda _: lambda x: x.clone(), ReduceMarkedDirty,
        {"reduced twice": (ReduceMarkedDirtyAgain, "reduced-twice")},
    ),
    Row(
        "gather", ("real('n d')",), {"x": "shard:-1"}, lambda _: lambda x: x.clone(), Gather,
        {
            "not cut": (GatherNotCut, "wrong-shape"),
            "another rank's part": (GatherCutsAnother, "rank-order"),
            "reduced before it is cut": (GatherCutsASum, "reduced-twice"),
            "joined in another order": (GatherJoinsReversed, "rank-order"),
        },
    ),
    Row(
        "gather and reduce-scatter", ("real('n d')",), {"x": "shard:0", "output": "replicate:partial"},
        lambda _: lambda x: x.clone(), GatherSummed,
        {
            "cut for reduce-scatter": (GatherSummedCut, "missing-reduction"),
            "mean for sum": (GatherSummedAveraged, "constant-factor"),
        },
    ),
    Row(
        "scatter", ("real('n d')",), {"output": "shard:-1"}, lambda _: lambda x: x.clone(), Scatter,
        {
            "joined in another order": (ScatterJoinsReversed, "rank-order"),
            "zeros for the others": (ScatterOfOwn, "missing-reduction"),
        },
    ),
    Row(
        "column linear", ("real('n d')", "real('m d')", "real('m')"), {"w": "shard:0", "b": "shard:0", "output": "shard:1"},
        lambda _: lambda x, w, b: x @ w.T + b, column_linear(Copy),
        {
            "identity for a reduction": (column_linear(CopyWithoutReduction), "missing-reduction"),
            "reduced twice": (column_linear(CopyReducedTwice), "reduced-twice"),
            "mean for sum": (column_linear(CopyWithMean), "constant-factor"),
        },
    ),
    Row(
        "row linear", ("real('n d')", "real('m d')", "real('m')"), {"x": "shard:1", "w": "shard:1"},
        lambda _: lambda x, w, b: x @ w.T + b, row_linear(Reduce),
        {
            "reduced twice": (row_linear(ReduceAgain), "reduced-twice"),
            "bias within the reduction": (row_linear(Reduce, True), "constant-factor"),
            "parts added": (row_linear_of_copies(Copy), "reduced-twice"),
            "mean of parts": (row_linear_of_copies(CopyWithMean), "reduced-twice"),
        },
    ),
    Row(
        "data parallel", ("real('n d')", "real('m d')"), {"x": "shard:0", "output": "shard:0"},
        lambda _: lambda x, w: torch.tanh(x @ w.T), data_parallel(Copy),
        {"identity for a reduction": (data_parallel(CopyWithoutReduction), "missing-reduction")},
    ),
    Row(
        "vocabulary-parallel cross-entropy", ("real('n c')", "labels('n', classes='c')"), {"logits": "shard:1"},
        lambda _: lambda x, labels: torch.nn.functional.cross_entropy(x, labels, reduction="none"), VocabularyParallel,
        {
            "one-hot on every rank": (VocabularyHotOnEveryRank, ""),
            "reduced twice": (VocabularyReducesAgain, "reduced-twice"),
            "sum of own classes": (VocabularyWithOwnSum, ""),
        },
    ),
    Row(
        "sequence all-to-all", ("real('n h')",), {"x": "shard:0", "output": "shard:1"}, lambda _: lambda x: x.clone(), Exchange,
        {
            "another order": (ExchangeReversed, "rank-order"),
            "not contiguous": (ExchangeViews, "upstream-layout"),
            "no exchange": (ExchangeWithoutBackward, ""),
        },
    ),
    Row(
        "ring attention", ("real('n d')", "real('m d')", "real('m e')"),
        {"q": "shard:0", "k": "shard:0", "v": "shard:0", "output": "shard:0"},
        lambda _: attention_of_all, ring_attention(PassOn),
        {
            "the same way round": (ring_attention(PassOnForwards), ""),
            "not passed back": (ring_attention(PassOnDropped), ""),
        },
    ),
    Row(
        "embedding over the vocabulary", ("labels('n', classes='v')", "real('v d')"), {"w": "shard:0"},
        lambda _: lambda indices, w: w[indices], embedding(Reduce),
        {"reduced twice": (embedding(ReduceAgain), "reduced-twice")},
    ),
    Row(
        "synchronised batch norm", ("real('n d')",), {"x": "shard:0", "output": "shard:0"}, lambda _: batch_norm, BatchNorm,
        {"statistics of own rows": (BatchNormOfOwnRows, "")},
    ),
    Row(
        "linear with a rule", ("real('n d')", "real('m d')"), {"w": "shard:0", "output": "shard:1"},
        lambda _: lambda x, w: x @ w.T, linear,
        {
            "reduced where w requires grad": (LinearOfOneInput, "needs-input-grad"),
            "tensors of the last call": (LinearOfLastCall, "stale-state"),
        },
    ),
)  # fmt: skip
# wrong for three ranks and more: with two, the next rank is the one before as well
OF_FOUR_RANKS = {("ring attention", "the same way round")}
