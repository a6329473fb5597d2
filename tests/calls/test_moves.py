"""Values moved a little: by the distances that are named, and drawn in the rooms of calls alone."""

import ast
import zlib
from collections.abc import Callable

import pytest
import torch

from gradcheck_lab.calls.moves import jittered, moved, random_lengths, random_normal, random_signs, size_among, size_at_least
from gradcheck_lab.model.amounts import SECOND_ORDER_DISTANCE, SECOND_ORDER_TINY_DISTANCE
from tests.package_trees import trees

VALUE = torch.tensor([[0.0, 2.0, -300.0], [1e-5, -0.5, 7.0]], dtype=torch.float64)
# six digits of what one seed gives: the same in every version
DRAWN = {"random_normal": 2985311953, "random_lengths": 3546604775, "random_signs": 3243118870, "jittered": 3625623356}


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(11)


def checksum(value: torch.Tensor) -> int:
    return zlib.crc32(" ".join(f"{each:.6g}" for each in value.reshape(-1).tolist()).encode())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_move_is_in_units_of_the_size(dtype: torch.dtype) -> None:
    value, step = VALUE.to(dtype), random_lengths(VALUE, generator())
    size = size_at_least(value, 1e-2)
    assert torch.equal(moved(value, 1e-3, step, size), value + 1e-3 * value.abs().clamp(min=1e-2) * step.to(dtype))
    assert torch.equal(moved(value, 1e-3, step), value + 1e-3 * step.to(dtype))
    assert moved(value, 1e-3, step, size).dtype == dtype


@pytest.mark.parametrize("draw", [random_normal, random_lengths, random_signs])
def test_random_numbers_are_on_the_device_of_the_value(draw: Callable[..., torch.Tensor]) -> None:
    drawn = draw(torch.empty(2, 3, device="meta"), torch.Generator())
    assert (drawn.device.type, tuple(drawn.shape)) == ("meta", (2, 3))


def test_a_power_of_two_moves_without_a_rounding_of_its_own() -> None:
    step = random_lengths(VALUE, generator()) * random_signs(VALUE, generator())
    for distance in (SECOND_ORDER_DISTANCE.value, SECOND_ORDER_TINY_DISTANCE.value):
        assert torch.equal(moved(VALUE, distance, step, VALUE.abs()), VALUE + distance * step * VALUE.abs())


def test_zeros_and_huge_values_move_by_what_is_small_among_the_others() -> None:
    assert size_among(VALUE).tolist() == [[0.01, 2.0, 100.0], [0.01, 0.5, 7.0]]
    assert size_among(torch.zeros(2)).tolist() == pytest.approx([0.01, 0.01])
    assert size_among(torch.tensor([0.0, 0.25])).tolist() == pytest.approx([0.0025, 0.25])
    assert size_among(torch.zeros(0)).shape == (0,)


def test_random_directions_are_what_they_say() -> None:
    many = torch.zeros(1000)
    assert set(random_signs(many, generator()).tolist()) == {1, -1}
    assert 0.5 <= float(random_lengths(many, generator()).min()) < float(random_lengths(many, generator()).max()) < 1.5
    assert 0.9 <= float(jittered(many + 1, 0.2, generator()).min()) < 0.91
    assert 1.0 <= float(jittered(many + 1, 1e-3, generator(), below=0.0).min()) < 1.0001


def test_a_complex_number_keeps_its_phase_when_jittered() -> None:
    value = torch.complex(VALUE, VALUE + 1)
    assert torch.allclose(jittered(value, 0.2, generator()).angle(), value.angle())


def test_a_seed_draws_what_it_always_drew() -> None:
    drawn = {each.__name__: checksum(each(VALUE, generator())) for each in (random_normal, random_lengths, random_signs)}
    assert drawn | {"jittered": checksum(jittered(VALUE, 0.2, generator()))} == DRAWN


def test_random_tensors_are_drawn_in_calls_alone() -> None:
    def draws(node: ast.AST) -> bool:
        return isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.rand", "torch.randn", "torch.randint")

    found = [
        f"{place}:{node.lineno}"
        for place, tree in trees().items()
        if place.split("/")[0] not in ("calls", "networks", "ops", "commands")
        for node in ast.walk(tree)
        if draws(node)
    ]
    assert not found, f"use calls.moves or calls.drawing: {found}"
