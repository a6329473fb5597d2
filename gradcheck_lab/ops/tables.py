"""Looking rows up, and dropping elements out."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.ops._precision import rounded_once
from gradcheck_lab.rules.op import op
from gradcheck_lab.specs import labels, real


@op(labels("*s", classes="v"), real("v d"), choices={"padding_idx": (None, 0, -1)})
def embedding(ids: torch.Tensor, weight: torch.Tensor, *, padding_idx: int | None = None) -> torch.Tensor:
    """The row of `weight` for each id.

    `ids` (*s) of an integer dtype, `weight` (v, d); the output is (*s, d). An id that is repeated has the sum of its
    gradients. The row `padding_idx` is looked up like any other and gets no gradient, as in torch: a convention,
    not its derivative. Raises `InvalidArgument` for ids that are no rows.
    Source: Bengio, Ducharme, Vincent and Jauvin, "A neural probabilistic language model", 2003.

    >>> embedding(torch.tensor([1, 1]), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[3., 4.],
            [3., 4.]])
    """
    return F.embedding(ids.long(), weight, padding_idx)


@embedding.validator
def check_ids(ids: torch.Tensor, weight: torch.Tensor, *, padding_idx: int | None = None) -> None:
    """Raise `InvalidArgument` for ids out of range."""
    if not (isinstance(ids, torch.Tensor) and isinstance(weight, torch.Tensor)) or weight.ndim != 2:
        return
    rows = weight.shape[0]
    if padding_idx is not None and not -rows <= padding_idx < rows:
        raise InvalidArgument(
            f"embedding: padding_idx is {padding_idx} and weight has shape {tuple(weight.shape)}; "
            f"pass a row from {-rows} to {rows - 1}"
        )
    if not ids.is_floating_point() and ids.numel() and not (int(ids.min()) >= 0 and int(ids.max()) < rows):
        raise InvalidArgument(
            f"embedding: ids range from {int(ids.min())} to {int(ids.max())} and weight has shape {tuple(weight.shape)}, "
            f"rows 0 to {rows - 1}; renumber the ids or pass a taller weight"
        )


@embedding.backward
@rounded_once
def embedding_backward(
    grad_output: torch.Tensor,
    output: torch.Tensor,
    ids: torch.Tensor,
    weight: torch.Tensor,
    *,
    padding_idx: int | None = None,
) -> tuple[None, torch.Tensor]:
    """dweight = g added to the row of each id, none to the row `padding_idx`."""
    rows = ids.reshape(-1).long()
    g = grad_output.reshape(rows.shape[0], weight.shape[1])
    if padding_idx is not None:
        g = torch.where((rows != padding_idx % weight.shape[0]).unsqueeze(-1), g, 0)
    return None, torch.zeros_like(weight).index_add(0, rows, g)


@op(real("*s"), choices={"p": (0.5, 0.0, 0.9, 1.0), "training": (True, False), "seed": (0, 1)})
def dropout(x: torch.Tensor, *, p: float = 0.5, training: bool = True, seed: int = 0) -> torch.Tensor:
    """x m / (1 - p), where each element of m is 0 with probability `p`, else 1; x itself outside of training.

    `x` and the output have any shape. The mask is drawn from a generator of its own, seeded by `seed`, so that forward and
    backward draw the same one, in any dtype, and no generator of the caller's moves: pass another seed at every step.
    Raises `InvalidArgument` for a `p` outside of [0, 1].
    Source: Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, "Dropout", 2014.

    >>> dropout(torch.ones(40), p=0.5, seed=1).unique()
    tensor([0., 2.])
    """
    return x * _kept(x, p, seed) if training else x.clone()


@dropout.validator
def check_probability(x: torch.Tensor, *, p: float = 0.5, training: bool = True, seed: int = 0) -> None:
    """Raise `InvalidArgument` for what is no probability."""
    if not 0 <= p <= 1:
        raise InvalidArgument(f"dropout: p is {p!r}; pass the probability of a zero, from 0 to 1")


@dropout.backward
def dropout_backward(
    grad_output: torch.Tensor,
    output: torch.Tensor,
    x: torch.Tensor,
    *,
    p: float = 0.5,
    training: bool = True,
    seed: int = 0,
) -> tuple[torch.Tensor]:
    """dx = g m / (1 - p) with the forward's mask m, drawn again from its seed."""
    return (grad_output * _kept(x, p, seed) if training else grad_output.clone(),)


def _kept(x: torch.Tensor, p: float, seed: int) -> torch.Tensor:
    """0 where an element is dropped, else 1 / (1 - p)."""
    generator = torch.Generator(x.device).manual_seed(seed)
    kept = torch.rand(x.shape, device=x.device, generator=generator) >= p
    return kept.to(x.dtype).mul_(1 / (1 - p) if p < 1 else 0.0)
