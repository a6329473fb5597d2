"""The gradients of linear_operator's Kronecker solve at values near ±1000, held against 60 digits of mpmath.

Prints the condition of the matrix and, relative to the largest element of each gradient, the errors of the package's and of
those of autograd through a dense solve in the same float64. Needs no gradcheck_lab; a draw takes some seconds.
"""

from __future__ import annotations

import mpmath
import torch
from linear_operator.operators import KroneckerProductLinearOperator, to_linear_operator

ROWS, INNER, COLUMNS = 12, 3, 4
Matrix = mpmath.matrix


def definite(a: torch.Tensor) -> torch.Tensor:
    return a @ a.mT + 3 * torch.eye(len(a), dtype=a.dtype)


def of_package(a: torch.Tensor, c: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return KroneckerProductLinearOperator(to_linear_operator(definite(a)), to_linear_operator(definite(c))).solve(b)


def dense(a: torch.Tensor, c: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.linalg.solve(torch.kron(definite(a), definite(c)), b)


def exact(a: torch.Tensor, c: torch.Tensor, b: torch.Tensor, upstream: torch.Tensor) -> list[Matrix]:
    """The gradients of a, c and b, from the inverse of the whole matrix."""
    A, C, B, G = (Matrix(each.tolist()) for each in (a, c, b, upstream))
    P, Q = A * A.T + 3 * mpmath.eye(ROWS), C * C.T + 3 * mpmath.eye(INNER)
    of_p, of_q = mpmath.zeros(ROWS), mpmath.zeros(INNER)
    places = [(i, k) for i in range(ROWS) for k in range(INNER)]
    whole = Matrix([[P[i, j] * Q[k, m] for j, m in places] for i, k in places])
    inverse = whole**-1
    of_b = inverse.T * G
    of_whole = -of_b * (inverse * B).T
    for row, (i, k) in enumerate(places):
        for column, (j, m) in enumerate(places):
            of_p[i, j] += of_whole[row, column] * Q[k, m]
            of_q[k, m] += of_whole[row, column] * P[i, j]
    return [(of_p + of_p.T) * A, (of_q + of_q.T) * C, of_b]


def error(gradient: torch.Tensor, truth: Matrix) -> float:
    """The largest error, relative to the largest element."""
    off = Matrix(gradient.tolist()) - truth
    return float(max(map(abs, off)) / max(map(abs, truth)))


def main() -> None:
    mpmath.mp.dps = 60
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        shapes = ((ROWS, ROWS), (INNER, INNER), (ROWS * INNER, COLUMNS))
        signs = [torch.randint(0, 2, shape, generator=generator) * 2.0 - 1 for shape in shapes]
        drawn = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
        inputs = [(1e3 * sign + each).requires_grad_() for sign, each in zip(signs, drawn, strict=True)]
        upstream = torch.randn(shapes[2], generator=generator, dtype=torch.float64)
        truth = exact(*(each.detach() for each in inputs), upstream)
        conditions = [float(torch.linalg.cond(definite(each.detach()))) for each in inputs[:2]]
        print(f"condition {conditions[0] * conditions[1]:.0e}")
        for solve in (of_package, dense):
            gradients = torch.autograd.grad(solve(*inputs), inputs, upstream)
            errors = [error(gradient, wanted) for gradient, wanted in zip(gradients, truth, strict=True)]
            print(f"  {solve.__name__}: " + ", ".join(f"{each:.0e}" for each in errors))


if __name__ == "__main__":
    main()
