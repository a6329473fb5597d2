"""linear_operator: solves, log-determinants, roots and products of structured matrices."""

import linear_operator
import torch
from linear_operator.operators import (
    BlockDiagLinearOperator,
    DiagLinearOperator,
    KroneckerProductLinearOperator,
    ToeplitzLinearOperator,
    to_linear_operator,
)

import gradcheck_lab as gl

torch.manual_seed(0)
A, B = torch.randn(4, 4, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
SMALL, OTHER, SIX = (torch.randn(*shape, dtype=torch.float64) for shape in ((2, 2), (3, 3), (6, 2)))
COLUMN = torch.tensor([4.0, 1.0, 0.5, 0.2], dtype=torch.float64)
BLOCKS = torch.randn(2, 3, 3, dtype=torch.float64)


def positive(a):
    """A positive definite operator."""
    return to_linear_operator(a @ a.mT + 3 * torch.eye(a.shape[-1], dtype=a.dtype))


def solve(a, b):
    return positive(a).solve(b)


def inv_quad(a, b):
    return positive(a).inv_quad(b)


def inv_quad_logdet(a, b):
    return positive(a).inv_quad_logdet(b, logdet=True)


def root_by_lanczos(a):
    root = positive(a).root_decomposition(method="lanczos").root.to_dense()
    return root @ root.mT


def sqrt_inv_matmul(a, b):
    return positive(a).sqrt_inv_matmul(b)


def pivoted_cholesky(a):
    return linear_operator.functions.pivoted_cholesky(positive(a), 4)


def eigenvalues(a):
    return linear_operator.functions.diagonalization(positive(a), method="symeig")[0]


def sparse_matmul(b):
    return linear_operator.dsmm(torch.eye(4, dtype=torch.float64).to_sparse(), b)


def toeplitz(column, b):
    return ToeplitzLinearOperator(column) @ b


def kronecker(a, c, b):
    return KroneckerProductLinearOperator(to_linear_operator(a), to_linear_operator(c)) @ b


def kronecker_solve(a, c, b):
    return KroneckerProductLinearOperator(positive(a), positive(c)).solve(b)


def low_rank_and_diagonal(u, d, b):
    return (to_linear_operator(u @ u.mT) + DiagLinearOperator(d.exp())).solve(b)


def block_diagonal(blocks, b):
    return BlockDiagLinearOperator(to_linear_operator(blocks)) @ b


if __name__ == "__main__":
    gl.check(solve, A, B)
    gl.check(inv_quad, A, B)
    gl.check(inv_quad_logdet, A, B)
    gl.check(root_by_lanczos, A)
    gl.check(sqrt_inv_matmul, A, B)
    gl.check(pivoted_cholesky, A)
    gl.check(eigenvalues, A)
    gl.check(sparse_matmul, B)
    gl.check(toeplitz, COLUMN, B)
    gl.check(kronecker, SMALL, OTHER, SIX)
    gl.check(kronecker_solve, SMALL, OTHER, SIX)
    gl.check(low_rank_and_diagonal, A[:, :2], A[0], B)
    gl.check(block_diagonal, BLOCKS, SIX)
