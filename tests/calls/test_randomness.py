"""The global generators: seeded, compared and put back in one place."""

import ast
import random
import re

import numpy as np
import pytest
import torch

from gradcheck_lab.calls.randomness import (
    draws_random,
    has_drawn_since,
    has_torch_drawn_since,
    preserved_randomness,
    random_states,
    seed_all,
    torch_states,
)
from tests.package_trees import trees

DRAWS = {
    "torch": lambda: torch.rand(3).tolist(),
    "Python": random.random,
    "NumPy": lambda: np.random.rand(3).tolist(),
    "the second of NumPy's pair of normal numbers": np.random.randn,
}


@pytest.fixture(autouse=True)
def own_randomness():
    with preserved_randomness(5):
        np.random.randn()
        yield


@pytest.mark.parametrize("source", DRAWS)
def test_a_draw_is_noticed_and_taken_back(source):
    before, of_torch = random_states(), torch_states()
    assert not has_drawn_since(before)
    first = DRAWS[source]()
    assert (has_drawn_since(before), has_torch_drawn_since(of_torch)) == (True, source == "torch")
    before.restore()
    assert not has_drawn_since(before)
    assert DRAWS[source]() == first


@pytest.mark.parametrize("source", [source for source in DRAWS if "second" not in source])
def test_a_seeded_run_says_whether_it_drew_and_goes_on_from_there(source):
    seed_all(7)
    assert not draws_random(7)
    first = DRAWS[source]()
    assert draws_random(7)
    second = DRAWS[source]()
    seed_all(7)
    assert [DRAWS[source](), DRAWS[source]()] == [first, second]


def test_a_generator_of_numpy_that_is_no_mersenne_twister_is_put_back():
    kept = np.random.get_bit_generator()
    np.random.set_bit_generator(np.random.PCG64(3))
    try:
        with preserved_randomness():
            first = np.random.rand()
        assert np.random.rand() == first
    finally:
        np.random.set_bit_generator(kept)


def test_only_one_place_touches_the_global_generators():
    touching = re.compile(r"_rng_state|manual_seed_all|default_generator|random\.(get|set)_?state|random\.seed|fork_rng")
    found = {
        f"{place}:{node.lineno}"
        for place, tree in trees().items()
        if place != "calls/randomness.py" and not place.startswith("judging/worker/")  # a process without this package
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and (touching.search(ast.unparse(node)) or ast.unparse(node) == "torch.manual_seed")
    }
    assert not found, f"use calls.randomness: {sorted(found)}"
