"""Kinds of values, profiles and layouts: what is drawn, and that the printed Python draws the same."""

import itertools
import subprocess
import sys
import zlib
from dataclasses import replace

import pytest
import torch

from gradcheck_lab import specs
from gradcheck_lab.calls.kinds import KINDS, PROFILES, WRITTEN
from gradcheck_lab.calls.layouts import EXPANDED, LAYOUT_NAMES, LAYOUTS, SLICED, TRANSPOSED, has_same_layout
from gradcheck_lab.calls.recipe import TensorRecipe
from gradcheck_lab.fuzzing.script import tensor_lines
from gradcheck_lab.fuzzing.source import assigned, returned

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
SHAPES = ((10, 9), (2, 5, 8), (80,), (3, 4), (), (0, 3))

# of all values drawn with one seed, six digits each: the same seed gives the same numbers in every version
CHECKSUMS = {
    "real": {
        "ordinary": 3952157378,
        "equal": 1486910050,
        "ties": 415606854,
        "zeros": 2103332107,
        "whole": 2777144516,
        "large": 3960264828,
        "tiny": 3834604608,
    },
    "positive": {
        "ordinary": 4183537321,
        "equal": 1486910050,
        "ties": 48836126,
        "zeros": 4183537321,
        "whole": 3921664918,
        "large": 1619018443,
        "tiny": 1563444358,
    },
    "nonzero": {
        "ordinary": 3192903431,
        "equal": 1486910050,
        "ties": 3082997505,
        "zeros": 3192903431,
        "whole": 3330000681,
        "large": 3147872515,
        "tiny": 2169932039,
    },
    "probabilities": {
        "ordinary": 2022568903,
        "equal": 138007250,
        "ties": 138007250,
        "zeros": 2022568903,
        "whole": 2022568903,
        "large": 2022568903,
        "tiny": 2022568903,
    },
    "one_hot": {
        "ordinary": 999141757,
        "equal": 999141757,
        "ties": 999141757,
        "zeros": 999141757,
        "whole": 999141757,
        "large": 999141757,
        "tiny": 999141757,
    },
    "labels": {
        "ordinary": 1099858019,
        "equal": 716942454,
        "ties": 716942454,
        "zeros": 1099858019,
        "whole": 1099858019,
        "large": 1099858019,
        "tiny": 1099858019,
    },
    "integers": {
        "ordinary": 1099858019,
        "equal": 716942454,
        "ties": 716942454,
        "zeros": 1099858019,
        "whole": 1099858019,
        "large": 1099858019,
        "tiny": 1099858019,
    },
    "mask": {
        "ordinary": 1890049998,
        "equal": 704302997,
        "ties": 704302997,
        "zeros": 1890049998,
        "whole": 1890049998,
        "large": 1890049998,
        "tiny": 1890049998,
    },
}


def recipes(kind: str, profile: str) -> list[TensorRecipe]:
    own = KINDS[kind].dtype
    each = itertools.product(SHAPES, FLOATS if own is None else (own,), LAYOUT_NAMES)
    return [TensorRecipe(kind, shape, dtype, profile, layout, 17) for shape, dtype, layout in each]


def checksum(kind: str, profile: str) -> int:
    values = [f"{value:.6g}" for recipe in recipes(kind, profile) for value in recipe.build().reshape(-1).tolist()]
    return zlib.crc32(" ".join(values).encode())


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.dtype == b.dtype and torch.equal(a, b) and a.stride() == b.stride() and a.storage_offset() == b.storage_offset()


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_draws_what_it_always_drew(kind: str) -> None:
    assert {profile: checksum(kind, profile) for profile in PROFILES} == CHECKSUMS[kind]


def test_every_kind_of_spec_is_drawn_and_has_the_dtype_that_the_spec_says() -> None:
    made = {"labels": {"classes": "c"}}
    for name, kind in KINDS.items():
        spec = getattr(specs, name)("n", **made.get(name, {}))
        assert (spec.kind, spec.differentiable) == (name, kind.dtype is None)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("kind", KINDS)
def test_printed_python_makes_every_kind_profile_and_layout(kind: str, profile: str) -> None:
    for recipe in recipes(kind, profile):
        namespace = {"torch": torch}
        exec("\n".join(tensor_lines("x", recipe)), namespace)
        assert same(namespace["x"], recipe.build()), tensor_lines("x", recipe)


def test_printed_python_runs_where_this_package_is_not() -> None:
    drawn = [recipe for kind in KINDS for profile in PROFILES for recipe in recipes(kind, profile) if recipe.shape == (10, 9)]
    drawn = [recipe for recipe in drawn if recipe.dtype in (torch.float32, torch.int64, torch.bool)]
    lines = ["import sys, torch", "sys.modules['gradcheck_lab'] = None", "sums = []"]
    for recipe in drawn:
        lines += [*tensor_lines("x", recipe), "sums.append(float(x.double().sum()))"]
    code = "\n".join([*lines, "print(sums)"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str([float(recipe.build().double().sum()) for recipe in drawn])


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.contains is not None])
def test_no_profile_leaves_the_kind(name: str) -> None:
    contains = KINDS[name].contains
    assert contains is not None
    for recipe in itertools.chain.from_iterable(recipes(name, profile) for profile in PROFILES):
        assert bool(contains(recipe.build()).all())


@pytest.mark.parametrize("layout", LAYOUT_NAMES)
def test_written_values_lie_in_memory_as_the_drawn_ones(layout: str) -> None:
    drawn = TensorRecipe("real", (3, 4), layout=layout, seed=3)
    assert same(replace(drawn.with_written_values(), profile=WRITTEN).build(), drawn.build())


@pytest.mark.parametrize("place", [*LAYOUTS.values(), TRANSPOSED.apply, SLICED.apply], ids=lambda place: place.__name__)
def test_a_layout_keeps_the_values(place) -> None:
    value = torch.randn(3, 4)
    assert torch.equal(place(value), value)
    assert has_same_layout(place(value), value) == (place is LAYOUTS["contiguous"])


def test_expanded_repeats_its_first_row_without_copies() -> None:
    value = TensorRecipe("real", (3, 4), layout=EXPANDED).build()
    assert value.stride() == (0, 1)
    assert torch.equal(value, value[:1].expand(3, 4))


def test_source_is_written_with_the_names_of_the_call() -> None:
    assert assigned(PROFILES["ordinary"], "x", value="x", generator="g") == []
    assert assigned(PROFILES["ties"], "y", value="x", generator="g") == ["y = x.round().add(0.0123)"]
    positive = KINDS["positive"].contains
    assert positive is not None
    assert returned(positive, value="shaped") == "shaped > 0"
    assert assigned(LAYOUTS["sliced"], "x", value="x") == [
        "room = x.new_zeros([2 * size + 1 for size in x.shape])",
        "x = room[tuple((slice(1, None, 2) for _ in x.shape))].copy_(x)",
    ]
