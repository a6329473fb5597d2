"""A solve whose matrix has a condition of 1e13: what rounding leaves of its gradients is no mistake, and a mistake still is."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

import gradcheck_lab as gl

F64 = torch.float64


def definite(a: torch.Tensor) -> torch.Tensor:
    return a @ a.mT + 3 * torch.eye(len(a), dtype=a.dtype)


def solve(a: torch.Tensor, c: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(P ⊗ Q)⁻¹ b with P and Q made of a and c: a triangular solve for each factor."""
    rows, inner, columns = len(a), len(c), b.shape[1]
    half = torch.cholesky_solve(b.reshape(rows, inner * columns), torch.linalg.cholesky(definite(a)))
    turned = half.reshape(rows, inner, columns).transpose(0, 1).reshape(inner, rows * columns)
    whole = torch.cholesky_solve(turned, torch.linalg.cholesky(definite(c)))
    return whole.reshape(inner, rows, columns).transpose(0, 1).reshape(rows * inner, columns)


def solve_backward(grad_output, output, a, c, b):
    """db = (P ⊗ Q)⁻¹ g, and -db outputᵀ contracted with the other factor is that of P and of Q."""
    solved = solve(a, c, grad_output)
    s, y = (each.reshape(len(a), len(c), -1) for each in (solved, output))
    of_p = -torch.einsum("imk,jlk,ml->ij", s, y, definite(c))
    of_q = -torch.einsum("imk,jlk,ij->ml", s, y, definite(a))
    return (of_p + of_p.mT) @ a, (of_q + of_q.mT) @ c, solved


def without_transpose(grad_output, output, a, c, b):
    """The same, and P takes its gradient from the left factor of a aᵀ alone, twice."""
    solved = solve(a, c, grad_output)
    s, y = (each.reshape(len(a), len(c), -1) for each in (solved, output))
    of_p = -torch.einsum("imk,jlk,ml->ij", s, y, definite(c))
    return 2 * of_p @ a, solve_backward(grad_output, output, a, c, b)[1], solved


def ill_conditioned(seed: int) -> Sequence[torch.Tensor]:
    """Elements near ±1000: a matrix of signs, and so its square, is nearly singular by chance."""
    generator = torch.Generator().manual_seed(seed)
    shapes = ((12, 12), (3, 3), (36, 4))
    signs = (torch.randint(0, 2, shape, generator=generator) * 2.0 - 1 for shape in shapes)
    return [1e3 * each.to(F64) + torch.randn(each.shape, generator=generator, dtype=F64) for each in signs]


def condition(a: torch.Tensor, c: torch.Tensor) -> float:
    return float(torch.linalg.cond(definite(a)) * torch.linalg.cond(definite(c)))


@pytest.mark.parametrize("seed", range(3))
def test_rounding_of_an_ill_conditioned_solve_is_no_error(seed: int) -> None:
    report = gl.check(gl.Op(solve, solve_backward), *ill_conditioned(seed), probes=())
    assert report.verdict == "pass", report.message


def test_a_gradient_of_half_a_product_is_found_there() -> None:
    inputs = max((ill_conditioned(seed) for seed in range(3)), key=lambda each: condition(*each[:2]))
    assert condition(*inputs[:2]) > 1e12
    report = gl.check(gl.Op(solve, without_transpose), *inputs, probes=())
    assert [gradient.name for gradient in report.gradients if gradient.verdict == "fail"] == ["a"]
