"""Specs: how they are written and read, and how a call's shapes bind to them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradcheck_lab import specs
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.specs import Dim, Spec, bind, parse

names = st.sampled_from(["n", "d_in", "batch", "c", "k2", "_x"])
sizes = st.integers(0, 12).map(str)
dims = st.one_of(names, sizes, names.map("#{}".format))
shapes = st.tuples(st.lists(dims, max_size=3), st.sampled_from([None, "*b", "*#s"])).map(
    lambda drawn: " ".join([drawn[1], *drawn[0]] if drawn[1] else drawn[0])
)


@given(shape=shapes, kind=st.sampled_from(["real", "positive", "probabilities", "one_hot", "mask"]))
def test_spec_reads_as_it_is_written(shape: str, kind: str) -> None:
    spec: Spec = getattr(specs, kind)(shape)
    assert parse(str(spec)) == spec
    assert str(spec) == f"{kind}({shape!r})"


@given(shape=shapes, low=st.integers(-5, 5), width=st.integers(1, 5))
def test_integers_read_as_they_are_written(shape: str, low: int, width: int) -> None:
    spec = specs.integers(shape, low=low, high=low + width)
    assert parse(str(spec)) == spec


def test_labels_read_as_they_are_written() -> None:
    spec = specs.labels("*b n", classes="c")
    assert str(spec) == "labels('*b n', classes='c')"
    assert parse(str(spec)) == spec


@pytest.mark.parametrize(
    ("text", "dim"),
    [
        ("n", Dim("n")),
        ("7", Dim("7")),
        ("#n", Dim("n", broadcast=True)),
        ("*b", Dim("b", variadic=True)),
        ("*#s", Dim("s", variadic=True, broadcast=True)),
    ],
)
def test_dimension_is_read(text: str, dim: Dim) -> None:
    assert specs.real(text).dims == (dim,)
    assert str(dim) == text


def test_fixed_dimension_has_its_size() -> None:
    assert [dim.size for dim in specs.real("n 3").dims] == [None, 3]


@pytest.mark.parametrize("kind", ["labels", "integers", "mask"])
def test_whole_numbers_want_no_gradient(kind: str) -> None:
    spec = specs.labels("n", classes="c") if kind == "labels" else getattr(specs, kind)("n")
    assert not spec.differentiable


@pytest.mark.parametrize("kind", ["real", "positive", "probabilities", "one_hot"])
def test_floating_kinds_want_a_gradient(kind: str) -> None:
    assert getattr(specs, kind)("n").differentiable


@given(batch=st.lists(st.integers(0, 5), max_size=3), n=st.integers(0, 5), d=st.integers(0, 5))
def test_letters_take_their_sizes_from_the_shapes(batch: list[int], n: int, d: int) -> None:
    found = bind([specs.real("*b n"), specs.real("d n")], [(*batch, n), (d, n)], ["x", "w"])
    assert found == {"b": tuple(batch), "n": (n,), "d": (d,)}


@given(n=st.integers(0, 5), first=st.booleans())
def test_broadcast_letter_takes_the_larger_of_one_and_its_size(n: int, first: bool) -> None:
    shapes = [(1,), (n,)] if first else [(n,), (1,)]
    assert bind([specs.real("#n"), specs.real("#n")], shapes, ["a", "b"]) == {"n": (n,)}


@given(joint=st.lists(st.integers(0, 4), max_size=4), data=st.data())
def test_broadcast_dimensions_bind_as_torch_broadcasts(joint: list[int], data: st.DataObject) -> None:
    import torch

    shapes = [
        tuple(data.draw(st.sampled_from([1, size])) for size in joint[data.draw(st.integers(0, len(joint))) :])
        for _ in range(2)
    ]
    found = bind([specs.real("*#s"), specs.real("*#s")], shapes, ["a", "b"])
    assert found == {"s": tuple(torch.broadcast_shapes(*shapes))}


@pytest.mark.parametrize(
    ("signature", "shapes", "message"),
    [
        (
            ["n d", "n"],
            [(3, 2), (4,)],
            "'y' has shape (4,), so 'n' is 4, but 'x' has 3; its spec is real('n')",
        ),
        (
            ["*b d", "*b"],
            [(3, 2, 5), (3,)],
            "'y' has shape (3,), so '*b' is 3, but 'x' has (3, 2); its spec is real('*b')",
        ),
        (
            ["#n", "#n"],
            [(3,), (2,)],
            "'y' has shape (2,), so '#n' is 2, but 'x' has 3; its spec is real('#n')",
        ),
        (
            ["n", "n d"],
            [(3,), (3,)],
            "'y' has shape (3,) with 1 dimensions; its spec real('n d') needs 2",
        ),
        (
            ["n", "*b n d"],
            [(3,), (3,)],
            "'y' has shape (3,) with 1 dimensions; its spec real('*b n d') needs at least 2",
        ),
        (
            ["n", "4n"],
            [(3,), (8,)],
            "'y' has shape (8,), so '4n' is 8, but 'x' has 3 for 'n'; its spec is real('4n')",
        ),
        (
            ["4n"],
            [(6,)],
            "'x' has shape (6,), so '4n' is 6, no multiple of 4; its spec is real('4n')",
        ),
    ],
)
def test_shape_that_does_not_fit_is_refused_with_both_sides(
    signature: list[str], shapes: list[tuple[int, ...]], message: str
) -> None:
    with pytest.raises(InvalidArgument) as error:
        bind([specs.real(dims) for dims in signature], shapes, ["x", "y"])
    assert str(error.value) == message


@given(d=st.integers(0, 5), h=st.integers(0, 5))
def test_multiple_is_that_many_times_its_letter(d: int, h: int) -> None:
    found = bind([specs.real("4h d"), specs.real("h")], [(4 * h, d), (h,)], ["weight", "state"])
    assert found == {"h": (h,), "d": (d,)}


def test_one_is_not_broadcast_without_a_hash() -> None:
    with pytest.raises(InvalidArgument):
        bind([specs.real("n"), specs.real("n")], [(3,), (1,)], ["x", "y"])
