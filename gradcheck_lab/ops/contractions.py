"""Products of tensors summed over shared indices, beyond matrices: outer, bilinear, einsum."""

from __future__ import annotations

import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.ops._precision import rounded_once, wide
from gradcheck_lab.rules.op import op
from gradcheck_lab.specs import real

Grads = tuple[torch.Tensor, ...]


@op(real("m"), real("n"))
def outer(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Every element of a times every element of b.

    `a` (m,), `b` (n,); the output is (m, n).

    >>> outer(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
    tensor([[3., 4.],
            [6., 8.]])
    """
    return a.unsqueeze(1) * b


@outer.backward
def outer_backward(grad_output: torch.Tensor, output: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> Grads:
    """da = g b̄,  db = gᵀ ā."""
    return grad_output @ b.conj(), grad_output.T @ a.conj()


@op(real("*b d1"), real("*b d2"), real("d_out d1 d2"), real("d_out"))
def bilinear(x1: torch.Tensor, x2: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, /) -> torch.Tensor:
    """y_o = x1ᵀ A_o x2 + b_o, over any leading dimensions.

    `x1` (*b, d1), `x2` (*b, d2), `weight` (d_out, d1, d2), `bias` (d_out,), which may be left out; the output is (*b, d_out).
    Source: Socher, Chen, Manning and Ng, "Reasoning with neural tensor networks for knowledge base completion", 2013.

    >>> bilinear(torch.ones(2, 3), torch.ones(2, 4), torch.ones(5, 3, 4), torch.zeros(5))[0, 0]
    tensor(12.)
    """
    d_out, d1, d2 = weight.shape
    columns = (wide(x2) @ wide(weight).reshape(d_out * d1, d2).T).reshape(*x2.shape[:-1], d_out, d1)
    product: torch.Tensor = (columns @ wide(x1).unsqueeze(-1)).squeeze(-1).to(x1.dtype)
    return product if bias is None else product + bias


bilinear.accepts(real("*b d1"), real("*b d2"), real("d_out d1 d2"))


@bilinear.backward
@rounded_once
def bilinear_backward(
    grad_output: torch.Tensor,
    output: torch.Tensor,
    x1: torch.Tensor,
    x2: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
) -> Grads:
    """dx1 = Σ_o g_o A_o x2,  dx2 = Σ_o g_o A_oᵀ x1,  dA_o = Σ g_o x1 x2ᵀ over the batch,  db = Σ g over the batch."""
    d_out, d1, d2 = weight.shape
    batch = x1.shape[:-1].numel()
    g, first, second = grad_output.reshape(batch, d_out), x1.reshape(batch, d1), x2.reshape(batch, d2)
    # Σ_o g_o A_o, one matrix an example, is what both inputs see
    seen = (g @ weight.reshape(d_out, d1 * d2)).reshape(batch, d1, d2)
    dx1 = (seen @ second.unsqueeze(-1)).reshape(x1.shape)
    dx2 = (first.unsqueeze(1) @ seen).reshape(x2.shape)
    pairs = (first.unsqueeze(-1) * second.unsqueeze(1)).reshape(batch, d1 * d2)
    dweight = (g.T @ pairs).reshape(weight.shape)
    return (dx1, dx2, dweight) if bias is None else (dx1, dx2, dweight, g.sum(0))


@op(
    real("m k"),
    real("k n"),
    choices={"equation": ("ij,jk->ik", "ab,bc->ca", "ij,jk->", "ij,jk->ijk", "ij,jk->j", "ij,jk->i", "ij->ji", "ij->j")},
)
def einsum(a: torch.Tensor, b: torch.Tensor | None = None, /, *, equation: str = "ij,jk->ik") -> torch.Tensor:
    """The product of the operands over every index that `equation` names, summed over those that its output lacks.

    `equation` is written out, "bij,bjk->bik": one letter for each dimension of `a` and of `b`, each once in an operand, and
    those of the output after the arrow; with one operand, "ij->ji". A letter is the same size everywhere.
    Raises `InvalidArgument` for an equation that cannot be read, or that the shapes do not fit.
    Source of the notation: Einstein, "Die Grundlage der allgemeinen Relativitätstheorie", 1916.

    >>> einsum(torch.ones(2, 3), torch.ones(3), equation="ij,j->i")
    tensor([3., 3.])
    """
    operands = (a,) if b is None else (a, b)
    return torch.einsum(equation, *operands)


einsum.accepts(real("m n"))
einsum.admits(real("*s"))
einsum.admits(real("*s"), real("*t"))


@einsum.validator
def check_equation(a: torch.Tensor, b: torch.Tensor | None = None, /, *, equation: str = "ij,jk->ik") -> None:
    """Raise `InvalidArgument` for an equation that is not explicit, or does not fit the shapes."""
    operands = (a,) if b is None else (a, b)
    if not all(isinstance(value, torch.Tensor) for value in operands):
        return
    left, arrow, out = equation.replace(" ", "").partition("->")
    terms, shapes = left.split(","), [tuple(value.shape) for value in operands]
    written = all(not term or term.isalpha() for term in (*terms, out))
    if not (arrow and written and all(len(set(term)) == len(term) for term in (*terms, out)) and set(out) <= set(left)):
        raise InvalidArgument(
            f"einsum: the equation {equation!r} cannot be read; write every index of every operand once, "
            "and the output's after an arrow, such as 'bij,bjk->bik'"
        )
    if [len(term) for term in terms] != [len(shape) for shape in shapes]:
        found = " and ".join(map(str, shapes))
        raise InvalidArgument(
            f"einsum: the equation {equation!r} does not fit shapes {found}; write one letter for each dimension"
        )
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for letter, size in zip(term, shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                raise InvalidArgument(
                    f"einsum: {letter!r} of the equation {equation!r} is {sizes[letter]} and {size}; "
                    "give both operands the same size there, or two letters"
                )


@einsum.backward
@rounded_once
def einsum_backward(
    grad_output: torch.Tensor,
    output: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor | None = None,
    *,
    equation: str = "ij,jk->ik",
) -> Grads:
    """da = g times b̄, summed over the indices that a lacks, db alike; repeated along those that only the operand has."""
    left, _, out = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if b is None:
        return (_of_operand(grad_output, out, None, "", a, terms[0]),)
    return (
        _of_operand(grad_output, out, b, terms[1], a, terms[0]),
        _of_operand(grad_output, out, a, terms[0], b, terms[1]),
    )


def _of_operand(
    g: torch.Tensor, out: str, other: torch.Tensor | None, other_term: str, operand: torch.Tensor, term: str
) -> torch.Tensor:
    """The gradient of one operand: an index that neither g nor the other operand has was summed, and its gradient repeats."""
    known = "".join(letter for letter in term if letter in out or letter in other_term)
    if other is None:
        grad = torch.einsum(f"{out}->{known}", g)
    else:
        grad = torch.einsum(f"{out},{other_term}->{known}", g, other.conj())
    for axis, letter in enumerate(term):
        if letter not in known:
            grad = grad.unsqueeze(axis)
    return grad.expand(operand.shape).clone() if known != term else grad
