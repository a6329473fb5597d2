"""Layers where specs draw little: groups, masks, grouped heads, repeated ids, long unrolled cells; misuse, and mistakes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from gradcheck_lab import ops
from gradcheck_lab.engine.variable import Variable
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.rules.op import Op
from tests.lanes import examples
from tests.ops.held import assert_agrees, drawn, fuzzed_until_wrong, mistaken, passes
from tests.ops.torch_ops import TORCH
from tests.sound import DTYPES

few = st.integers(1, 3)
dtypes = st.sampled_from(DTYPES)


@examples(40)
@given(
    groups=st.integers(1, 4),
    into=few,
    outof=few,
    kernel=st.tuples(few, few),
    stride=st.tuples(few, few),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.tuples(few, few),
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    batch=st.integers(1, 3),
    bias=st.booleans(),
)
def test_convolution_takes_any_groups_and_numbers_by_axis(
    groups: int,
    into: int,
    outof: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    size: tuple[int, int],
    batch: int,
    bias: bool,
) -> None:
    channels = groups * outof
    plane = drawn(batch, groups * into, *size), drawn(channels, into, *kernel, seed=1), drawn(channels, seed=2)
    options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    inputs = plane if bias else plane[:2]
    assume(ops.conv2d.takes(inputs, options))
    assert_agrees(ops.conv2d, TORCH[ops.conv2d], *inputs, **options)
    passes(ops.conv2d, *inputs, **options)
    line = [inputs[0].select(-2, 0), inputs[1].select(-2, 0), *inputs[2:]]
    options = {name: value if name == "groups" else value[1] for name, value in options.items()}
    assert_agrees(ops.conv1d, TORCH[ops.conv1d], *line, **options)


@examples(40)
@given(
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    kernel=st.tuples(few, few),
    stride=st.none() | st.tuples(few, few),
    padding=st.tuples(st.integers(0, 1), st.integers(0, 1)),
    dilation=st.tuples(few, few),
    flag=st.booleans(),
    tied=st.booleans(),
)
def test_pooling_takes_any_windows(
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int] | None,
    padding: tuple[int, int],
    dilation: tuple[int, int],
    flag: bool,
    tied: bool,
) -> None:
    x = drawn(2, 2, *size)
    x = x.round() if tied else x
    shared: dict[str, Any] = {"kernel_size": kernel, "stride": stride, "padding": padding}
    options = {**shared, "dilation": dilation, "ceil_mode": flag}
    assume(ops.max_pool2d.takes((x,), options))
    assert_agrees(ops.max_pool2d, TORCH[ops.max_pool2d], x, **options)
    assert_agrees(ops.max_pool2d, TORCH[ops.max_pool2d], x.masked_fill(x < 0, -torch.inf), **options)
    if ops.avg_pool2d.takes((x,), shared):
        assert_agrees(ops.avg_pool2d, TORCH[ops.avg_pool2d], x, **shared, count_include_pad=flag)


@examples(30)
@given(
    heads=st.integers(1, 3),
    groups=st.integers(1, 3),
    n=st.integers(1, 4),
    m=st.integers(1, 4),
    kind=st.sampled_from(["none", "causal", "boolean", "additive"]),
    dtype=dtypes,
)
def test_attention_takes_masks_and_grouped_heads(
    heads: int, groups: int, n: int, m: int, kind: str, dtype: torch.dtype
) -> None:
    shapes = ((2, heads * groups, n, 3), (2, groups, m, 3), (2, groups, m, 2))
    inputs = [drawn(*shape, seed=seed, dtype=dtype) for seed, shape in enumerate(shapes)]
    options: dict[str, Any] = {"enable_gqa": True, "is_causal": kind == "causal"}
    if kind in ("boolean", "additive"):
        scores = drawn(2, 1, n, m, seed=3, dtype=dtype)
        inputs.append(scores > 0 if kind == "boolean" else scores)
    passes(ops.scaled_dot_product_attention, *inputs, **options)
    if dtype == torch.float64:
        assert_agrees(ops.scaled_dot_product_attention, TORCH[ops.scaled_dot_product_attention], *inputs, **options)


@pytest.mark.parametrize("additive", [False, True])
def test_row_that_attends_to_nothing_gives_zeros_and_no_gradient(additive: bool) -> None:
    q, k, v = drawn(2, 3), drawn(4, 3, seed=1), drawn(4, 2, seed=2)
    mask = torch.tensor([[False] * 4, [True, False, True, True]])
    mask = torch.zeros(2, 4).double().masked_fill(~mask, -torch.inf) if additive else mask
    output = ops.scaled_dot_product_attention(q, k, v, mask)
    assert not output[0].any()
    torch.testing.assert_close(output, TORCH[ops.scaled_dot_product_attention](q, k, v, mask))
    grads = ops.scaled_dot_product_attention.backward(torch.ones_like(output), output, q, k, v, mask)
    assert not grads[0][0].any()
    assert all(bool(torch.isfinite(grad).all()) for grad in grads[:3])


@examples(25)
@given(ids=st.lists(st.integers(0, 3), max_size=8), padding_idx=st.sampled_from([None, 0, 3, -1]), dtype=dtypes)
def test_repeated_ids_accumulate_and_padding_gets_none(ids: list[int], padding_idx: int | None, dtype: torch.dtype) -> None:
    rows, weight = torch.tensor(ids, dtype=torch.int64), drawn(4, 3, dtype=dtype)
    g = torch.ones(len(ids), 3, dtype=dtype)
    _, grad = ops.embedding.backward(g, None, rows, weight, padding_idx=padding_idx)
    counts = torch.tensor([0 if padding_idx is not None and i == padding_idx % 4 else ids.count(i) for i in range(4)])
    torch.testing.assert_close(grad, counts.to(dtype).unsqueeze(1).expand(4, 3))


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.int16], ids=str)
def test_ids_are_of_any_integer_dtype(dtype: torch.dtype) -> None:
    ids, weight = torch.tensor([[1, 0], [1, 2]], dtype=dtype), drawn(3, 2)
    assert torch.equal(ops.embedding(ids, weight), weight[ids.long()])
    passes(ops.embedding, ids, weight)


@examples(25)
@given(p=st.sampled_from([0.0, 0.25, 0.5, 1.0]), seed=st.integers(0, 99), dtype=dtypes)
def test_dropout_replays_its_mask_and_leaves_generators_alone(p: float, seed: int, dtype: torch.dtype) -> None:
    x, before = torch.ones(40, dtype=dtype), torch.get_rng_state()
    output = ops.dropout(x, p=p, seed=seed)
    (grad,) = ops.dropout.backward(x, output, x, p=p, seed=seed)
    assert torch.equal(grad, output)
    kept = output[output != 0]
    torch.testing.assert_close(kept * (1 - p), torch.ones_like(kept))
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_drops_about_its_share_and_another_seed_drops_others() -> None:
    masks = [ops.dropout(torch.ones(10000), p=0.3, seed=seed) == 0 for seed in (0, 1)]
    assert all(abs(float(mask.double().mean()) - 0.3) < 0.03 for mask in masks)
    assert not torch.equal(*masks)


def test_rotation_keeps_lengths_and_depends_on_the_distance_of_positions() -> None:
    angles = torch.arange(6).double().unsqueeze(1) * torch.tensor([1.0, 0.1]).double()
    q, k = (drawn(4, seed=seed).expand(6, 4) for seed in (0, 1))
    for interleaved in (False, True):
        turned = [ops.rotary_embedding(x, angles.cos(), angles.sin(), interleaved=interleaved) for x in (q, k)]
        torch.testing.assert_close(turned[0].norm(dim=-1), q.norm(dim=-1))
        scores = turned[0] @ turned[1].T
        torch.testing.assert_close(scores[1:, 1:], scores[:-1, :-1])


@pytest.mark.parametrize("cell", [torch.nn.LSTMCell, torch.nn.GRUCell], ids=lambda cell: cell.__name__)
def test_unrolled_cell_has_the_gradients_of_torchs_layer(cell: Any) -> None:
    layer = cell(3, 4).double()
    weights = [layer.weight_ih, layer.weight_hh, layer.bias_ih, layer.bias_hh]
    leaves = [Variable(weight) for weight in weights]
    xs, state = drawn(5, 2, 3), torch.zeros(2, 4).double()
    h, c = Variable(state), Variable(state)
    theirs: Any = None
    for x in xs:
        if cell is torch.nn.LSTMCell:
            h, c = ops.lstm_cell(Variable(x), h, c, *leaves)
        else:
            h = ops.gru_cell(Variable(x), h, *leaves)
        theirs = layer(x, theirs)
    g = drawn(2, 4, seed=9)
    h.backward(g)
    expected = theirs[0] if isinstance(theirs, tuple) else theirs
    torch.testing.assert_close(h.data, expected.detach())
    for leaf, grad in zip(leaves, torch.autograd.grad(expected, weights, g), strict=True):
        torch.testing.assert_close(leaf.grad, grad)


def flipped(g: Any, y: Any, *inputs: Any, **options: Any) -> Any:
    dx, dweight, *rest = ops.conv2d.backward(g, y, *inputs, **options)
    return (dx, dweight.flip(-2, -1), *rest)


def assigning(g: Any, y: Any, x: Any, **options: Any) -> Any:
    from torch.nn import functional as F

    _, index = F.max_pool2d(x, options.pop("kernel_size", 2), return_indices=True, **options)
    return (torch.zeros_like(x).flatten(-2).scatter(-1, index.flatten(-2), g.flatten(-2)).reshape(x.shape),)


def padding_counted(g: Any, y: Any, x: Any, *, count_include_pad: bool = True, **options: Any) -> Any:
    return ops.avg_pool2d.backward(g, y, x, **options)


def last_one_wins(g: Any, y: Any, ids: Any, weight: Any, *, padding_idx: Any = None) -> Any:
    grad = torch.zeros_like(weight)
    grad[ids.reshape(-1)] = g.reshape(-1, weight.shape[1])
    return None, grad


def with_another_mask(g: Any, y: Any, x: Any, *, p: float = 0.5, training: bool = True, seed: int = 0) -> Any:
    return ops.dropout.backward(g, y, x, p=p, training=training, seed=seed + 1)


def scale_forgotten(g: Any, y: Any, q: Any, k: Any, v: Any, *mask: Any, scale: Any = None, **options: Any) -> Any:
    dq, *rest = ops.scaled_dot_product_attention.backward(g, y, q, k, v, *mask, scale=scale, **options)
    return (dq * q.shape[-1] ** 0.5 if scale is None else dq / scale, *rest)


def rotated_on(g: Any, y: Any, x: Any, cos: Any, sin: Any, *, interleaved: bool = False) -> Any:
    _, *rest = ops.rotary_embedding.backward(g, y, x, cos, sin, interleaved=interleaved)
    return (ops.rotary_embedding(g, cos, sin, interleaved=interleaved), *rest)


def cell_state_forgotten(g: Any, y: Any, *inputs: Any) -> Any:
    return ops.lstm_cell.backward((g[0], torch.zeros_like(g[1])), y, *inputs)


def biases_alike(g: Any, y: Any, *inputs: Any) -> Any:
    grads = ops.gru_cell.backward(g, y, *inputs)
    return grads if len(inputs) == 4 else (*grads[:-1], grads[-2])


@pytest.mark.parametrize(
    ("op", "rule"),
    [
        (ops.conv2d, flipped),
        (ops.max_pool2d, assigning),
        (ops.avg_pool2d, padding_counted),
        (ops.embedding, last_one_wins),
        (ops.dropout, with_another_mask),
        (ops.scaled_dot_product_attention, scale_forgotten),
        (ops.rotary_embedding, rotated_on),
        pytest.param(ops.lstm_cell, cell_state_forgotten, marks=pytest.mark.thorough),
        (ops.gru_cell, biases_alike),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_mistake_in_a_layer_is_found(op: Op, rule: Callable[..., Any]) -> None:
    assert fuzzed_until_wrong(mistaken(op, rule), 300).verdict == "fail"


PLANE, KERNEL = drawn(1, 2, 4, 4), drawn(3, 2, 2, 2)

ROWS: dict[str, tuple[Callable[[], Any], str]] = {
    "channels-that-differ": (
        lambda: ops.conv2d(PLANE, drawn(3, 1, 2, 2)),
        "conv2d: x has shape (1, 2, 4, 4) and weight (3, 1, 2, 2) with 1 groups; "
        "pass a weight of shape (o, channels / groups, ...), o a multiple of groups",
    ),
    "groups-that-do-not-divide": (
        lambda: ops.conv1d(drawn(1, 4, 5), drawn(3, 2, 2), groups=2),
        "conv1d: x has shape (1, 4, 5) and weight (3, 2, 2) with 2 groups; "
        "pass a weight of shape (o, channels / groups, ...), o a multiple of groups",
    ),
    "kernel-larger-than-the-plane": (
        lambda: ops.conv2d(PLANE, drawn(3, 2, 5, 1)),
        "conv2d: a kernel of (5, 1) with dilation 1 does not fit into (4, 4) with padding 0; pad more, or pass a larger input",
    ),
    "no-channels": (
        lambda: ops.conv2d(drawn(1, 0, 4, 4), drawn(3, 0, 2, 2)),
        "conv2d: x has shape (1, 0, 4, 4) and weight (3, 0, 2, 2); all sizes but that of the batch are at least 1",
    ),
    "padding-by-name": (
        lambda: ops.conv2d(PLANE, KERNEL, padding="same"),
        "conv2d: padding is 'same'; pass a whole number of at least 0, or a tuple of 2",
    ),
    "no-stride": (
        lambda: ops.conv2d(PLANE, KERNEL, stride=0),
        "conv2d: stride is 0; pass a whole number of at least 1, or a tuple of 2",
    ),
    "plane-without-batch": (
        lambda: ops.conv2d(drawn(2, 4, 4), KERNEL),
        "conv2d: 'x' has shape (2, 4, 4) with 3 dimensions; its spec real('n c h w') needs 4",
    ),
    "pool-larger-than-the-plane": (
        lambda: ops.max_pool2d(PLANE, kernel_size=5),
        "max_pool2d: a kernel of (5, 5) with dilation 1 does not fit into (4, 4) with padding 0; "
        "pad more, or pass a larger input",
    ),
    "too-much-padding": (
        lambda: ops.avg_pool2d(PLANE, kernel_size=3, padding=2),
        "avg_pool2d: padding 2 is more than half of the kernel (3, 3); pad less",
    ),
    "window-of-padding": (
        lambda: ops.max_pool2d(drawn(1, 1, 1), padding=1, dilation=2),
        "max_pool2d: dilation 2 steps over all of x, which has shape (1, 1, 1), from padding to padding; dilate less",
    ),
    "ids-out-of-range": (
        lambda: ops.embedding(torch.tensor([0, 5]), drawn(3, 2)),
        "embedding: ids range from 0 to 5 and weight has shape (3, 2), rows 0 to 2; renumber the ids or pass a taller weight",
    ),
    "padding-that-is-no-row": (
        lambda: ops.embedding(torch.tensor([0]), drawn(3, 2), padding_idx=3),
        "embedding: padding_idx is 3 and weight has shape (3, 2); pass a row from -3 to 2",
    ),
    "ids-that-are-floats": (
        lambda: ops.embedding(drawn(2), drawn(3, 2)),
        "embedding: input 'ids' is float64 and labels('*s', classes='v') wants whole numbers; pass ids.long()",
    ),
    "no-probability": (
        lambda: ops.dropout(PLANE, p=1.5),
        "dropout: p is 1.5; pass the probability of a zero, from 0 to 1",
    ),
    "mask-and-causal": (
        lambda: ops.scaled_dot_product_attention(drawn(2, 3), drawn(2, 3), drawn(2, 3), drawn(2, 2), is_causal=True),
        "scaled_dot_product_attention: it has a mask and is_causal; hide the later keys in the mask",
    ),
    "vectors-of-nothing": (
        lambda: ops.scaled_dot_product_attention(drawn(2, 0), drawn(2, 0), drawn(2, 3)),
        "scaled_dot_product_attention: query has shape (2, 0), vectors of no elements; pass d of at least 1",
    ),
    "fewer-heads": (
        lambda: ops.scaled_dot_product_attention(drawn(4, 2, 3), drawn(2, 2, 3), drawn(2, 2, 3)),
        "scaled_dot_product_attention: query has leading dimensions (4,) and key (2,); "
        "pass the same, or enable_gqa=True for fewer heads of keys and values",
    ),
    "heads-that-do-not-divide": (
        lambda: ops.scaled_dot_product_attention(drawn(3, 2, 3), drawn(2, 2, 3), drawn(2, 2, 3), enable_gqa=True),
        "scaled_dot_product_attention: query has shape (3, 2, 3) and key (2, 2, 3); "
        "with enable_gqa the third last dimension of query is a multiple of key's",
    ),
    "odd-vectors-to-rotate": (
        lambda: ops.rotary_embedding(drawn(2, 3), drawn(2, 1), drawn(2, 1)),
        "rotary_embedding: 'x' has shape (2, 3), so '2d' is 3, no multiple of 2; its spec is real('*b n 2d')",
    ),
    "gates-of-another-size": (
        lambda: ops.gru_cell(drawn(2, 3), drawn(2, 4), drawn(9, 3), drawn(9, 4)),
        "gru_cell: 'weight_ih' has shape (9, 3), so '3h' is 9, but 'h' has 4 for 'h'; its spec is real('3h d')",
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_misuse_of_a_layer_says_what_to_do(row: str) -> None:
    call, message = ROWS[row]
    with pytest.raises(InvalidArgument) as error:
        call()
    assert str(error.value) == message
