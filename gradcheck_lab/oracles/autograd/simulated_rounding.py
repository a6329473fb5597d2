"""Simulated rounding: what an honest implementation in a narrow dtype would get, run in float64.

Every operation that rounds gets its result multiplied by 1 ± u, forward and backward, as in Monte Carlo arithmetic (Parker,
"Monte Carlo arithmetic", 1997). The sign is a hash of the value, so equal values stay equal, as they do in a machine:
ties and repeated numbers stay equal, unless that is asked for. A sum of K terms gets the error of adding them one
after the other. Numbers below the smallest normal one of the dtype err by the spacing of those, however small they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from gradcheck_lab.torch_internals import DispatchMode, decomposition, is_zero_tensor

EXACT = frozenset(
    "abs alias amax amin argmax argmin as_strided bernoulli cat clamp clamp_max clamp_min clone constant_pad_nd "
    "copy detach diagonal empty empty_like empty_strided expand eye fill flip full full_like gather ge gt heaviside "
    "index index_select isfinite isinf isnan le lift_fresh logical_and logical_not logical_or lt masked_fill max "
    "maximum max_pool2d_with_indices mean_dim min minimum ne neg new_empty new_full new_ones new_zeros ones "
    "ones_like permute rand rand_like randn randn_like relu repeat roll round floor ceil trunc scatter "
    "scalar_tensor select sgn sign slice sort split squeeze stack t topk transpose tril triu unbind unfold "
    "unsqueeze view view_as_complex view_as_real where zeros zeros_like _conj _local_scalar_dense _neg_view "
    "_reshape_alias _to_copy _unsafe_view conj_physical fft_r2c nonzero eq select_backward slice_backward "
    "threshold_backward".split()
)
_FUSED = frozenset(
    "gelu gelu_backward softplus softplus_backward elu elu_backward silu silu_backward mish mish_backward tanh_backward "
    "sigmoid_backward logit_backward log_sigmoid_backward hardsigmoid_backward hardswish_backward _softmax_backward_data "
    "_log_softmax_backward_data native_layer_norm native_layer_norm_backward native_group_norm native_group_norm_backward "
    "native_batch_norm native_batch_norm_backward".split()
)
_SOLVERS = frozenset(
    "linalg_solve_ex _linalg_solve_ex linalg_inv_ex linalg_lu_factor_ex linalg_lu linalg_lu_solve linalg_solve_triangular "
    "triangular_solve linalg_cholesky_ex cholesky cholesky_solve cholesky_inverse _linalg_det _linalg_slogdet _linalg_eigh "
    "_linalg_svd linalg_qr linalg_eig linalg_lstsq linalg_pinv linalg_matrix_exp".split()
)
_TRANSFORMS = frozenset({"_fft_c2c", "_fft_r2c", "_fft_c2r"})
_SUMS = frozenset("sum mean cumsum var std var_mean norm linalg_vector_norm logsumexp nansum prod".split())
_PRODUCTS = {"mm": 0, "bmm": 0, "mv": 0, "dot": 0, "addmm": 1, "baddbmm": 1, "addmv": 1}


class SimulatedRounding(DispatchMode):
    """A dispatch mode under which every rounding operation errs by about `u`, in directions that `salt` decides."""

    def __init__(
        self,
        u: float,
        salt: int,
        *,
        long_sums: bool,
        independent: bool = False,
        modulus: bool = False,
        other: SimulatedRounding | None = None,
        dtype: torch.dtype = torch.float64,
        own: bool = False,
    ) -> None:
        super().__init__()
        # of code that runs in a dtype of its own, what it computes in another one is its own choice and no rounding
        self.only = dtype.to_real() if own else None
        self.u, self.salt, self.long_sums, self.independent, self.modulus = u, salt, long_sums, independent, modulus
        # the softmaxes of this forward, and those of another, from which a backward may take what it computes again
        self.softmaxes: list[torch.Tensor] = []
        self.other = other
        limits = torch.finfo(dtype)
        self.normal, self.spacing = limits.smallest_normal, limits.smallest_normal * limits.eps

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = func.overloadpacket.__name__
        result = self._in_steps(func, name, args, kwargs)
        if result is not None:
            return result
        if name in _SOLVERS:  # a stable method gives the exact result of operands nearby: its error grows with their condition
            args = tuple(self._round(a, 1) if isinstance(a, torch.Tensor) and not a.is_sparse else a for a in args)
        result = func(*args, **kwargs)
        if isinstance(result, torch.Tensor) and self.only not in (None, result.dtype, result.dtype.to_real()):
            return result
        if name in ("_softmax", "_log_softmax"):
            self.softmaxes.append(self._shifted(name, args[0], result))
            return self.softmaxes[-1]
        if name in _TRANSFORMS:
            return self._transformed(result, args[1])
        if name in EXACT or name.endswith("_") or func.is_view:
            return result
        if isinstance(result, torch.Tensor):
            return self._round(result, self._terms(name, args, result))
        if isinstance(result, (tuple, list)):
            return type(result)(
                self._round(value, self._terms(name, args, value)) if isinstance(value, torch.Tensor) else value
                for value in result
            )
        return result

    def _in_steps(self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A fused operation by its steps, each of which rounds, as 1 - y does where y is near 1; None where it has none."""
        steps = decomposition(func) if name in _FUSED else None
        if steps is None:
            return None
        again = self._computed_again(args[1]) if name == "_softmax_backward_data" else None
        with self:
            if again is not None:  # the sum is that of the output, as a fused attention has it, and the rest is not
                return again * (args[0] - (args[0] * args[1]).sum(args[2], keepdim=True))
            return steps(*args, **kwargs)

    def _computed_again(self, output: torch.Tensor) -> torch.Tensor | None:
        """What the other forward has in the place of a softmax of this one."""
        others = self.other.softmaxes if self.other is not None else []
        places = [k for k, made in enumerate(self.softmaxes) if made.data_ptr() == output.data_ptr()]
        found = others[places[0]] if places and places[0] < len(others) else None
        return found if found is not None and found.shape == output.shape and found.dtype == output.dtype else None

    def _shifted(self, name: str, scores: torch.Tensor, result: torch.Tensor) -> torch.Tensor:
        """What exp(s - logsumexp(s)) makes of large scores: s itself is rounded before the difference is taken."""
        size = torch.nan_to_num(scores.detach().abs(), 0.0, 0.0, 0.0).clamp(min=1.0)
        error = max(self.u, float(torch.finfo(result.dtype).eps)) * size * signs(result, self.salt, self.independent)
        return self._underflown(result * (1 + error)) if name == "_softmax" else result + error

    def _transformed(self, result: torch.Tensor, axes: Sequence[int]) -> torch.Tensor:
        """A fast Fourier transform errs by u log n in the norm: each element by as much as the others, also if all cancels."""
        if not result.numel() or result.requires_grad:
            return result
        parts = torch.view_as_real(result.resolve_conj()) if result.is_complex() else result
        over = [axis % result.ndim for axis in axes]
        size = result.abs().square().mean(over, keepdim=True).sqrt()
        size = (size[..., None] if result.is_complex() else size).expand(parts.shape)
        levels = max(1.0, math.log2(math.prod(result.shape[axis] for axis in over)))
        u = max(self.u, float(torch.finfo(parts.dtype).eps))
        moved = parts + u * levels * size * signs(parts, self.salt, independent=True)
        return torch.view_as_complex(moved.contiguous()) if result.is_complex() else moved

    def _terms(self, name: str, args: tuple[Any, ...], result: torch.Tensor) -> int:
        if not self.long_sums or not result.numel():
            return 1
        if name in _SUMS and isinstance(args[0], torch.Tensor):
            return max(1, args[0].numel() // (1 if name == "cumsum" else result.numel()))
        if name in _PRODUCTS:
            return int(args[_PRODUCTS[name]].shape[-1])
        return 1

    def _round(self, value: torch.Tensor, terms: int) -> torch.Tensor:
        if not (value.is_floating_point() or value.is_complex()) or value.requires_grad or is_zero_tensor(value):
            return value  # a zero tensor has no memory that could be read
        growth = max(1.0, math.sqrt(terms) / 3)
        return self._underflown(perturb(value, self.u * growth, self.salt, self.independent, self.modulus))

    def _underflown(self, value: torch.Tensor) -> torch.Tensor:
        """The value with its small numbers, but for zeros, moved by the spacing that these have in the dtype."""
        if self.spacing <= torch.finfo(torch.float64).tiny or value.requires_grad:
            return value
        parts = torch.view_as_real(value.resolve_conj()) if value.is_complex() else value
        small = (parts.abs() < self.normal) & (parts != 0)
        if not bool(small.any()):
            return value
        moved = torch.where(small, parts + self.spacing * signs(parts, self.salt, self.independent), parts)
        return torch.view_as_complex(moved) if value.is_complex() else moved


def perturb(value: torch.Tensor, u: float, salt: int, independent: bool = False, modulus: bool = False) -> torch.Tensor:
    """Multiply each element by 1 ± u; equal elements get equal signs. `value` keeps its shape and dtype.

    With `modulus` both parts of a complex number move by u times its modulus, as a product moves them; without it each moves
    by its own size, as where an imaginary part carries a derivative (complex step).
    """
    u = max(u, float(torch.finfo(value.dtype).eps))
    if value.is_complex() and not modulus:
        parts = torch.view_as_real(value.resolve_conj())
        return torch.view_as_complex(perturb(parts, u, salt, independent))
    if value.is_complex():
        return value + u * value.abs() * torch.complex(
            signs(value.real, salt, independent), signs(value.imag, ~salt, independent)
        )
    return value * (1 + signs(value, salt, independent) * u)


def signs(value: torch.Tensor, salt: int, independent: bool = False) -> torch.Tensor:
    """1 or -1 for each element, by a hash of its value; of its place too where `independent`, so that equal values differ."""
    bits = value.detach().double().view(torch.int64)
    if independent:
        bits = bits ^ (torch.arange(1, bits.numel() + 1, device=bits.device) * 6364136223846793005).reshape(bits.shape)
    mixed = (bits ^ (bits >> 29) ^ salt) * -7046029254386353131
    mixed = (mixed ^ (mixed >> 31)) * -4658895280553007687
    return ((mixed >> 63) | 1).to(value.dtype)


Noise = Callable[[], SimulatedRounding]
