"""Attention, and the rotation of queries and keys by their positions."""

from __future__ import annotations

import math

import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.ops._precision import rounded_once, wide
from gradcheck_lab.ops._reduce import sum_to
from gradcheck_lab.rules.op import op
from gradcheck_lab.specs import mask as booleans
from gradcheck_lab.specs import real

Grads = tuple[torch.Tensor | None, ...]


@op(
    real("*b n d"),
    real("*b m d"),
    real("*b m e"),
    choices={"is_causal": (False, True), "scale": (None, 0.5), "enable_gqa": (False, True)},
)
def scaled_dot_product_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None = None,
    /,
    *,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """softmax(q kᵀ · scale + mask) v for every leading index, such as example and head.

    `query` (*b, n, d), `key` (*b, m, d), `value` (*b, m, e); the output is (*b, n, e). `mask` broadcasts to (*b, n, m):
    booleans are True where a key is attended to, numbers are added to the scores and have a gradient. `is_causal` hides from
    row i the keys after i. `scale` is 1 / sqrt(d) where it is None. With `enable_gqa` the last leading dimension counts heads,
    of which `key` and `value` have fewer: each serves as many neighbouring heads of `query`.
    A row that may attend to nothing gives zeros, and no gradient. There is no dropout.
    Raises `InvalidArgument` for a mask beside `is_causal`, for heads that do not divide, and for d = 0.
    Source: Vaswani et al., "Attention is all you need", 2017, section 3.2.1; grouped heads: Ainslie et al., "GQA", 2023.

    >>> q, v = torch.zeros(1, 2), torch.tensor([[1.0], [3.0]])
    >>> scaled_dot_product_attention(q, torch.ones(2, 2), v)
    tensor([[2.]])
    """
    q, k, v = wide(query), _per_head(wide(key), query, enable_gqa), _per_head(wide(value), query, enable_gqa)
    bias, hidden = _bias(q, k, wide(mask), is_causal)
    output = (_weights(q, k, bias, scale) @ v).to(query.dtype)
    return output if hidden is None else output.masked_fill(hidden, 0)


@scaled_dot_product_attention.accepts(real("*b n d"), real("*b m d"), real("*b m e"), booleans("*#b #n #m"))
@scaled_dot_product_attention.accepts(real("*b n d"), real("*b m d"), real("*b m e"), real("*#b #n #m"))
@scaled_dot_product_attention.accepts(real("b 2h n d"), real("b h m d"), real("b h m e"))
@scaled_dot_product_attention.admits(real("*b h n d"), real("*b g m d"), real("*b g m e"))
@scaled_dot_product_attention.admits(real("*b h n d"), real("*b g m d"), real("*b g m e"), booleans("*#b #h #n #m"))
@scaled_dot_product_attention.admits(real("*b h n d"), real("*b g m d"), real("*b g m e"), real("*#b #h #n #m"))
@scaled_dot_product_attention.validator
def check_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None = None,
    /,
    *,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> None:
    """Raise `InvalidArgument` for a mask or heads that cannot be meant."""
    name = "scaled_dot_product_attention"
    if mask is not None and is_causal:
        raise InvalidArgument(f"{name}: it has a mask and is_causal; hide the later keys in the mask")
    if not all(isinstance(x, torch.Tensor) and x.ndim >= 2 for x in (query, key, value)):
        return
    if query.shape[-1] == 0:
        raise InvalidArgument(f"{name}: query has shape {tuple(query.shape)}, vectors of no elements; pass d of at least 1")
    heads, fewer = query.shape[:-2], key.shape[:-2]
    if not enable_gqa and heads != fewer:
        raise InvalidArgument(
            f"{name}: query has leading dimensions {tuple(heads)} and key {tuple(fewer)}; "
            "pass the same, or enable_gqa=True for fewer heads of keys and values"
        )
    if enable_gqa and (len(heads) < 1 or len(fewer) < 1 or not fewer[-1] or heads[-1] % fewer[-1]):
        raise InvalidArgument(
            f"{name}: query has shape {tuple(query.shape)} and key {tuple(key.shape)}; "
            "with enable_gqa the third last dimension of query is a multiple of key's"
        )


@scaled_dot_product_attention.backward
@rounded_once
def scaled_dot_product_attention_backward(
    grad_output: torch.Tensor,
    output: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None = None,
    *,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Grads:
    """dv = pᵀ g,  dq = scale · ds k,  dk = scale · dsᵀ q,  dmask = ds, where dp = g vᵀ and ds = p (dp - Σ p dp)."""
    k, v = _per_head(key, query, enable_gqa), _per_head(value, query, enable_gqa)
    bias, hidden = _bias(query, k, mask, is_causal)
    p, g, c = _weights(query, k, bias, scale), grad_output, _scale(query, scale)
    if hidden is not None:
        g = g.masked_fill(hidden, 0)
    dp = g @ v.mT
    dscores = (dp - (p * dp).sum(-1, keepdim=True)).mul_(p)
    dkey, dvalue = dscores.mT @ (query * c), p.mT @ g
    grads = (dscores @ (k * c), _per_group(dkey, key, enable_gqa), _per_group(dvalue, value, enable_gqa))
    if mask is None:
        return grads
    return (*grads, sum_to(dscores, mask.shape) if mask.is_floating_point() else None)


def _scale(query: torch.Tensor, scale: float | None) -> float:
    return 1 / math.sqrt(query.shape[-1]) if scale is None else scale


def _weights(query: torch.Tensor, key: torch.Tensor, bias: torch.Tensor | None, scale: float | None) -> torch.Tensor:
    """The softmax of the scores."""
    scores = (query * _scale(query, scale)) @ key.mT
    return torch.softmax(scores if bias is None else scores + bias, -1)


def _bias(
    query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None, is_causal: bool
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """What is added to the scores, -inf where a key is hidden, and the rows that may attend to nothing, where it is 0."""
    if is_causal:  # no row hides its first key
        return query.new_full((query.shape[-2], key.shape[-2]), -torch.inf).triu(1), None
    if mask is None:
        return None, None
    bias = mask.to(query.dtype).log() if mask.dtype == torch.bool else mask  # log 1 = 0 and log 0 = -inf
    hidden = (bias == -torch.inf).all(-1, keepdim=True)
    return bias.masked_fill(hidden, 0), hidden


def _per_head(x: torch.Tensor, query: torch.Tensor, grouped: bool) -> torch.Tensor:
    """Keys or values, repeated for every head of the queries that they serve."""
    return x.repeat_interleave(query.shape[-3] // x.shape[-3], -3) if grouped else x


def _per_group(grad: torch.Tensor, x: torch.Tensor, grouped: bool) -> torch.Tensor:
    """The sum over the heads that shared `x`."""
    if not grouped:
        return grad
    heads = x.shape[-3]
    return grad.reshape(*grad.shape[:-3], heads, grad.shape[-3] // heads, *grad.shape[-2:]).sum(-3)


@op(real("*b n 2d"), real("n d"), real("n d"), choices={"interleaved": (False, True)})
def rotary_embedding(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, *, interleaved: bool = False) -> torch.Tensor:
    """Rotate each pair (a, b) of elements at position n by its angle: (a cos - b sin, a sin + b cos).

    `x` (*b, n, 2 d), `cos` and `sin` (n, d), of positions times frequencies; the output has the shape of `x`. Pairs are
    elements i and d + i, the halves split as in GPT-NeoX and LLaMA's transformers port; with `interleaved` elements 2 i and
    2 i + 1, as in the paper.
    Source: Su, Lu, Pan, Murtadha, Wen and Liu, "RoFormer: enhanced transformer with rotary position embedding", 2021.

    >>> rotary_embedding(torch.tensor([[1.0, 2.0]]), torch.zeros(1, 1), torch.ones(1, 1))
    tensor([[-2.,  1.]])
    """
    a, b = _pairs(wide(x), interleaved)
    c, s = wide(cos), wide(sin)
    return _joined(a * c - b * s, a * s + b * c, interleaved).to(x.dtype)


@rotary_embedding.backward
@rounded_once
def rotary_embedding_backward(
    grad_output: torch.Tensor,
    output: torch.Tensor,
    x: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    *,
    interleaved: bool = False,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """dx = g rotated back, dcos = Σ (g_a a + g_b b), dsin = Σ (g_b a - g_a b) over the leading dimensions, for pairs (a, b)."""
    (a, b), (ga, gb) = _pairs(x, interleaved), _pairs(grad_output, interleaved)
    dx = _joined(ga * cos + gb * sin, gb * cos - ga * sin, interleaved)
    return dx, sum_to(ga * a + gb * b, cos.shape), sum_to(gb * a - ga * b, sin.shape)


def _pairs(x: torch.Tensor, interleaved: bool) -> tuple[torch.Tensor, torch.Tensor]:
    half = x.shape[-1] // 2
    return (x[..., ::2], x[..., 1::2]) if interleaved else (x[..., :half], x[..., half:])


def _joined(a: torch.Tensor, b: torch.Tensor, interleaved: bool) -> torch.Tensor:
    return torch.stack((a, b), -1).flatten(-2) if interleaved else torch.cat((a, b), -1)
