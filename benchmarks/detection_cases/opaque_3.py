"""Forwards that leave torch: solvers, sparse matrices, kernels, order statistics, and what a call leaves behind."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from scipy import linalg, signal, sparse, special
from scipy.spatial import distance
from sklearn.isotonic import isotonic_regression
from sklearn.metrics.pairwise import rbf_kernel
from torch import Tensor
from torch.autograd import Function

from benchmarks.detection_cases.opaque_1 import back, wide
from benchmarks.detection_forms import function, layer, module, pair
from tests.mistakes.registry import Table, array, normal, positive

table = Table()
STABLE = normal(4, 4) - 4 * torch.eye(4, dtype=torch.float64)


@table("wrong-operand|transposed", "matrix-exponential", normal(3, 3))
def matrix_exponential(wrong: bool) -> Any:
    """Matrix exponential: the derivative in the direction of the upstream, at the matrix and not at its transpose."""

    def rule(g: Tensor, out: Tensor, a: Tensor) -> Any:
        at = wide(a) if wrong else wide(a).T
        return (back(linalg.expm_frechet(at, wide(g), compute_expm=False), a),)

    return pair(lambda a: back(linalg.expm(wide(a)), a), rule)


@table("option-specialised", "triangular-solve", normal(4, 4) + 3 * torch.eye(4, dtype=torch.float64), normal(4, 2, seed=1))
def triangular(wrong: bool) -> Any:
    """Triangular system: backward takes the matrix as lower triangular whatever was asked for."""

    class Solve(Function):
        @staticmethod
        def forward(ctx: Any, a: Tensor, b: Tensor, lower: bool = True) -> Tensor:
            x = back(linalg.solve_triangular(wide(a), wide(b), lower=lower), b)
            ctx.save_for_backward(a, x)
            ctx.lower = lower
            return x

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            a, x = ctx.saved_tensors
            lower = True if wrong else ctx.lower
            db = linalg.solve_triangular(wide(a), wide(grad_output), lower=lower, trans="T")
            da = -db.reshape(len(a), -1) @ wide(x).reshape(len(a), -1).T
            return back(np.tril(da) if lower else np.triu(da), a), back(db, x), None

    return Solve


@table("missing-term", "lyapunov-equation", STABLE, normal(4, 4, seed=1))
def lyapunov(wrong: bool) -> Any:
    """A X + X Aᵀ = Q: of the two places of A only the first counts."""

    class Lyapunov(Function):
        @staticmethod
        def forward(ctx: Any, a: Tensor, q: Tensor) -> Tensor:
            if np.linalg.eigvals(wide(a)).real.max() > -1e-3:
                raise ValueError("the matrix has to be stable")
            x = back(linalg.solve_continuous_lyapunov(wide(a), wide(q)), q)
            ctx.save_for_backward(a, x)
            return x

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            a, x = ctx.saved_tensors
            dq = back(linalg.solve_continuous_lyapunov(wide(a).T, wide(grad_output)), x)
            da = -dq @ x.T
            if not wrong:
                da = da - dq.T @ x
            return da, dq

    return Lyapunov


ROWS_AT, COLUMNS_AT = torch.tensor([0, 1, 1, 3, 4, 4]), torch.tensor([2, 0, 3, 1, 1, 2])


@table("duplicate-index", "sparse-product", normal(6), ROWS_AT, COLUMNS_AT, normal(4, 3, seed=1))
def sparse_product(wrong: bool) -> Any:
    """Product with a matrix of triplets: the transpose is filled by assignment, so that an entry given twice counts once."""

    def build(values: Tensor, rows: Tensor, columns: Tensor, width: int) -> Any:
        return sparse.coo_matrix((wide(values), (rows.numpy(), columns.numpy())), shape=(5, width)).tocsr()

    def forward(values: Tensor, rows: Tensor, columns: Tensor, x: Tensor) -> Tensor:
        return back(build(values, rows, columns, len(x)) @ wide(x), x)

    def rule(g: Tensor, out: Tensor, values: Tensor, rows: Tensor, columns: Tensor, x: Tensor) -> Any:
        up = wide(g)
        if wrong:
            turned = np.zeros((len(x), 5))
            turned[columns.numpy(), rows.numpy()] = wide(values)
        else:
            turned = build(values, rows, columns, len(x)).T
        dvalues = (up[rows.numpy()] * wide(x)[columns.numpy()]).sum(-1)
        return back(dvalues, values), None, None, back(turned @ up, x)

    return function(forward, rule)


@table("size-specialised|duplicate-index", "quantile", normal(3, 6))
def quantile(wrong: bool) -> Any:
    """Median by rank: with an odd number both neighbours are one element, and the second share overwrites the first."""

    class Quantile(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, q: float = 0.5) -> Tensor:
            ctx.save_for_backward(x)
            ctx.q = q
            return back(np.quantile(wide(x), q, axis=-1), x)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            (x,) = ctx.saved_tensors
            a, up = wide(x).reshape(-1, x.shape[-1]), wide(grad_output).ravel()
            order = np.argsort(a, axis=-1, kind="stable")
            place = ctx.q * (a.shape[-1] - 1)
            share = place - math.floor(place)
            low, high = order[:, math.floor(place)], order[:, math.ceil(place)]
            grad, row = np.zeros_like(a), np.arange(len(a))
            grad[row, low] = up * (1 - share)
            if wrong:
                grad[row, high] = up * share
            else:
                grad[row, high] += up * share
            return back(grad, x).reshape(x.shape), None

    return Quantile


@table("option-specialised", "isotonic-fit", normal(8))
def isotonic(wrong: bool) -> Any:
    """Isotonic regression: blocks are found where the fit rises, which a falling fit never does."""

    class Isotonic(Function):
        @staticmethod
        def forward(ctx: Any, y: Tensor, increasing: bool = True) -> Tensor:
            fit = isotonic_regression(wide(y).copy(), increasing=increasing)
            ctx.fit = fit
            return back(fit, y)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            steps = np.diff(ctx.fit)
            block = np.concatenate([[0], np.cumsum(steps > 0 if wrong else steps != 0)])
            sums = np.bincount(block, weights=wide(grad_output))
            return back((sums / np.bincount(block))[block], grad_output), None

    return Isotonic


@table("size-specialised|constant-factor", "gaussian-kernel-default-width", normal(4, 4), normal(5, 4, seed=1))
def gaussian_kernel(wrong: bool) -> Any:
    """Gaussian kernel of scikit-learn: its default width is one over the features, backward takes the rows."""

    class Kernel(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
            k = back(rbf_kernel(wide(x), wide(y)), x)
            ctx.save_for_backward(x, y, k)
            return k

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            x, y, k = ctx.saved_tensors
            gamma = 1.0 / x.shape[0 if wrong else 1]
            w = 2 * gamma * grad_output * k
            gaps = x[:, None] - y
            return -(w[..., None] * gaps).sum(1), (w[..., None] * gaps).sum(0)

    return Kernel


@table("non-finite", "matern-kernel", normal(5, 2), normal(4, 2, seed=1))
def matern(wrong: bool) -> Any:
    """Matérn 3/2 by SciPy's distances: the direction of two equal points is 0/0, as reported for Gaussian processes."""
    root = math.sqrt(3)

    def forward(x: Tensor, y: Tensor) -> Tensor:
        d = root * distance.cdist(wide(x), wide(y))
        return back((1 + d) * np.exp(-d), x)

    def rule(g: Tensor, out: Tensor, x: Tensor, y: Tensor) -> Any:
        d = distance.cdist(wide(x), wide(y))[..., None]
        gaps = wide(x)[:, None] - wide(y)
        slopes = -3 * d * np.exp(-root * d) * (gaps / d) if wrong else -3 * np.exp(-root * d) * gaps
        slopes = wide(g)[..., None] * slopes
        return back(slopes.sum(1), x), back(-slopes.sum(0), y)

    return layer(forward, rule)


@table("wrong-axis", "squared-distances", normal(5, 3), normal(5, 3, seed=1))
def squared_distances(wrong: bool) -> Any:
    """Squared distances of all pairs: the second cloud's own term is summed over the wrong side."""

    def rule(g: Tensor, out: Tensor, x: Tensor, y: Tensor) -> Any:
        a, b, up = wide(x), wide(y), wide(g)
        da = 2 * (up.sum(1)[:, None] * a - up @ b)
        db = 2 * (up.sum(1 if wrong else 0)[:, None] * b - up.T @ a)
        return back(da, x), back(db, y)

    return module(lambda x, y: back(distance.cdist(wide(x), wide(y), "sqeuclidean"), x), rule)


@table("needs-input-grad", "factored-solve", normal(4, 4) + 3 * torch.eye(4, dtype=torch.float64), normal(4, 2, seed=1))
def factored_solve(wrong: bool) -> Any:
    """Solve by LU: the adjoint system is solved only where the matrix wants a gradient, and the right side needs it too."""

    class Solve(Function):
        @staticmethod
        def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
            ctx.factors = linalg.lu_factor(wide(a))
            x = back(linalg.lu_solve(ctx.factors, wide(b)), b)
            ctx.save_for_backward(x)
            return x

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            (x,) = ctx.saved_tensors
            da = db = None
            if ctx.needs_input_grad[0] or not wrong:
                db = back(linalg.lu_solve(ctx.factors, wide(grad_output), trans=1), x)
            if ctx.needs_input_grad[0]:
                da = -db @ x.T if x.dim() == 2 else -torch.outer(db, x)
            return da, db

    return Solve


@table("wrong-operand", "recursive-filter", normal(2, 9), torch.tensor([0.4, -0.2], dtype=torch.float64))
def recursive_filter(wrong: bool) -> Any:
    """Recursive filter: the feedback coefficients are correlated with the delayed input, not with the delayed output."""

    def forward(x: Tensor, a: Tensor) -> Tensor:
        return back(signal.lfilter([1.0], np.concatenate([[1.0], wide(a)]), wide(x), axis=-1), x)

    def rule(g: Tensor, out: Tensor, x: Tensor, a: Tensor) -> Any:
        up = wide(g)[..., ::-1]
        dx = signal.lfilter([1.0], np.concatenate([[1.0], wide(a)]), up, axis=-1)[..., ::-1]
        seen, length = wide(x if wrong else out), x.shape[-1]
        da = [-(dx[..., k:] * seen[..., : length - k]).sum() if k < length else 0.0 for k in range(1, len(a) + 1)]
        return back(dx, x), back(da, a)

    return function(forward, rule)


@table("wrong-shape", "smoothing-weight", array(8), np.array([0.3]))
def smoothing(wrong: bool) -> Any:
    """Exponential smoothing with its weight in an array of one element: the weight's gradient is a plain number."""

    def smooth(x: Any, alpha: Any) -> Any:
        rest, state, out = float(alpha[0]), 0.0, []
        for value in x.tolist():
            state = rest * state + (1 - rest) * value
            out.append(state)
        return np.array(out, dtype=x.dtype), (x, alpha, np.array([0.0, *out]))

    def smooth_backward(dout: Any, cache: Any) -> Any:
        x, alpha, states = cache
        rest, carried, dalpha, dx = float(alpha[0]), 0.0, 0.0, np.zeros_like(x)
        for t in reversed(range(len(x))):
            carried = carried * rest + float(dout[t])
            dx[t] = carried * (1 - rest)
            dalpha += carried * float(states[t] - x[t])
        return dx, np.float64(dalpha) if wrong else np.array([dalpha], dtype=alpha.dtype)

    return smooth, smooth_backward


@table("aliased-inputs", "log-binomial", positive(4, 3) + 3, positive(4, 3, seed=1))
def log_binomial(wrong: bool) -> Any:
    """Logarithm of binomials: gradients are kept by the address of their tensor, where n and k may be the same."""

    def forward(n: Tensor, k: Tensor) -> Tensor:
        a, b = wide(n), wide(k)
        return back(special.gammaln(a + 1) - special.gammaln(b + 1) - special.gammaln(a - b + 1), n)

    def rule(g: Tensor, out: Tensor, n: Tensor, k: Tensor) -> Any:
        a, b = wide(n), wide(k)
        rest = special.psi(a - b + 1)
        found = {}
        found[n.data_ptr() if wrong else "n"] = g * back(special.psi(a + 1) - rest, n)
        found[k.data_ptr() if wrong else "k"] = g * back(rest - special.psi(b + 1), k)
        dn, dk = (found[n.data_ptr()], found[k.data_ptr()]) if wrong else (found["n"], found["k"])
        return dn.sum_to_size(n.shape), dk.sum_to_size(k.shape)

    return function(forward, rule)


ROWS = tuple(table.rows)
