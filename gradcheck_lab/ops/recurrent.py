"""Cells of recurrent networks, one step each; their weights lie as in torch."""

from __future__ import annotations

import torch

from gradcheck_lab.ops._precision import rounded_once, wide
from gradcheck_lab.rules.op import op
from gradcheck_lab.specs import real

Two = tuple[torch.Tensor, torch.Tensor]
Grads = tuple[torch.Tensor, ...]
Optional = torch.Tensor | None


@op(real("n d"), real("n h"), real("n h"), real("4h d"), real("4h h"), real("4h"), real("4h"))
def lstm_cell(
    x: torch.Tensor,
    h: torch.Tensor,
    c: torch.Tensor,
    weight_ih: torch.Tensor,
    weight_hh: torch.Tensor,
    bias_ih: Optional = None,
    bias_hh: Optional = None,
    /,
) -> Two:
    """c' = σ(f) c + σ(i) tanh(u), h' = σ(o) tanh(c') with i, f, u, o = x W_ihᵀ + b_ih + h W_hhᵀ + b_hh; returns h' and c'.

    `x` (n, d), `h` and `c` (n, h), `weight_ih` (4 h, d), `weight_hh` (4 h, h), `bias_ih` and `bias_hh` (4 h,), which may
    be left out; both outputs are (n, h). The parts are in the order i, f, u, o, as in torch.nn.LSTMCell.
    Source: Hochreiter and Schmidhuber, "Long short-term memory", 1997; forget gate: Gers et al., "Learning to forget", 2000.

    >>> one, four = torch.ones(1, 1), torch.zeros(4, 1)
    >>> [value.item() for value in lstm_cell(one, one, 2 * one, four, four)][1]
    1.0
    """
    i, f, u, o = _activated(wide(x), wide(h), wide(weight_ih), wide(weight_hh), wide(bias_ih), wide(bias_hh))
    cell: torch.Tensor = f * wide(c) + i * u
    return (o * cell.tanh()).to(x.dtype), cell.to(x.dtype)


lstm_cell.accepts(real("n d"), real("n h"), real("n h"), real("4h d"), real("4h h"))


@lstm_cell.backward
@rounded_once
def lstm_cell_backward(
    grad_output: Two,
    output: Two,
    x: torch.Tensor,
    h: torch.Tensor,
    c: torch.Tensor,
    weight_ih: torch.Tensor,
    weight_hh: torch.Tensor,
    bias_ih: Optional = None,
    bias_hh: Optional = None,
) -> Grads:
    """dc = d' σ(f) with d' = gc + gh σ(o) (1 - tanh² c'); dx = da W_ih,  dW_ih = daᵀ x,  db = Σ da, and alike for h.

    da = (d' tanh(u) σ'(i), d' c σ'(f), d' σ(i) (1 - tanh² u), gh tanh(c') σ'(o)) with σ' = σ (1 - σ).
    """
    gh, gc = grad_output
    i, f, u, o = _activated(x, h, weight_ih, weight_hh, bias_ih, bias_hh)
    squashed = (f * c + i * u).tanh()
    dcell = gc + gh * o * (1 - squashed * squashed)
    da = torch.cat((dcell * u * i * (1 - i), dcell * c * f * (1 - f), dcell * i * (1 - u * u), gh * squashed * o * (1 - o)), -1)
    grads = (da @ weight_ih, da @ weight_hh, dcell * f, da.T @ x, da.T @ h)
    return grads if bias_ih is None else (*grads, da.sum(0), da.sum(0))


@op(real("n d"), real("n h"), real("3h d"), real("3h h"), real("3h"), real("3h"))
def gru_cell(
    x: torch.Tensor,
    h: torch.Tensor,
    weight_ih: torch.Tensor,
    weight_hh: torch.Tensor,
    bias_ih: Optional = None,
    bias_hh: Optional = None,
    /,
) -> torch.Tensor:
    """h' = (1 - z) tanh(a_n + r b_n) + z h with r = σ(a_r + b_r), z = σ(a_z + b_z), a = x W_ihᵀ + b_ih and b = h W_hhᵀ + b_hh.

    `x` (n, d), `h` (n, h), `weight_ih` (3 h, d), `weight_hh` (3 h, h), `bias_ih` and `bias_hh` (3 h,), which may be left out;
    the output is (n, h). The parts are in the order r, z, n, and r multiplies after the product, as in torch.nn.GRUCell.
    Source: Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014.

    >>> gru_cell(torch.ones(1, 1), torch.full((1, 1), 4.0), torch.zeros(3, 1), torch.zeros(3, 1))
    tensor([[2.]])
    """
    _, z, n, _ = _gates(wide(x), wide(h), wide(weight_ih), wide(weight_hh), wide(bias_ih), wide(bias_hh))
    state: torch.Tensor = n + z * (wide(h) - n)
    return state.to(x.dtype)


gru_cell.accepts(real("n d"), real("n h"), real("3h d"), real("3h h"))


@gru_cell.backward
@rounded_once
def gru_cell_backward(
    grad_output: torch.Tensor,
    output: torch.Tensor,
    x: torch.Tensor,
    h: torch.Tensor,
    weight_ih: torch.Tensor,
    weight_hh: torch.Tensor,
    bias_ih: Optional = None,
    bias_hh: Optional = None,
) -> Grads:
    """dh = g z + db W_hh, dx = da W_ih, dW_ih = daᵀ x, dW_hh = dbᵀ h, and both biases Σ over the examples, by the gates.

    da = (dn b_n r (1 - r), g (h - n) z (1 - z), dn) with dn = g (1 - z) (1 - n²); db is da with its last part times r.
    """
    r, z, n, hidden = _gates(x, h, weight_ih, weight_hh, bias_ih, bias_hh)
    dn = grad_output * (1 - z) * (1 - n * n)
    dr, dz = dn * hidden * r * (1 - r), grad_output * (h - n) * z * (1 - z)
    da, db = torch.cat((dr, dz, dn), -1), torch.cat((dr, dz, dn * r), -1)
    grads = (da @ weight_ih, grad_output * z + db @ weight_hh, da.T @ x, db.T @ h)
    return grads if bias_ih is None else (*grads, da.sum(0), db.sum(0))


def _through(x: torch.Tensor, weight: torch.Tensor, bias: Optional) -> torch.Tensor:
    return x @ weight.T if bias is None else x @ weight.T + bias


def _activated(
    x: torch.Tensor, h: torch.Tensor, weight_ih: torch.Tensor, weight_hh: torch.Tensor, bias_ih: Optional, bias_hh: Optional
) -> tuple[torch.Tensor, ...]:
    """σ(i), σ(f), tanh(u) and σ(o) of an LSTM."""
    i, f, u, o = (_through(x, weight_ih, bias_ih) + _through(h, weight_hh, bias_hh)).chunk(4, -1)
    return i.sigmoid(), f.sigmoid(), u.tanh(), o.sigmoid()


def _gates(
    x: torch.Tensor, h: torch.Tensor, weight_ih: torch.Tensor, weight_hh: torch.Tensor, bias_ih: Optional, bias_hh: Optional
) -> tuple[torch.Tensor, ...]:
    """r, z and n of a GRU, and b_n, what the state contributes to n before r."""
    a, b = _through(x, weight_ih, bias_ih).chunk(3, -1), _through(h, weight_hh, bias_hh).chunk(3, -1)
    r, z = (a[0] + b[0]).sigmoid(), (a[1] + b[1]).sigmoid()
    return r, z, (a[2] + r * b[2]).tanh(), b[2]
