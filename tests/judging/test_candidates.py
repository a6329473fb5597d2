"""The candidates are what their rows say, by a comparison that has nothing to do with `judge`."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gradcheck_lab.model.causes import CAUSES
from tests.judging.outcomes import CHEATING, MISTAKEN, ROWS, SOUND, Row
from tests.judging.running import TASKS, answered, apart, calls, loaded, stressed, truth


class Called(TorchDispatchMode):
    """Records the operators that are called, by overload packet."""

    def __init__(self) -> None:
        super().__init__()
        self.packets: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.packets.add(str(func.overloadpacket))
        return func(*args, **(kwargs or {}))


def differences(row: Row, dtype: torch.dtype, stress: bool = False) -> list[float]:
    """How far a candidate is from the reference in float64, in each of several calls; infinite where it raises."""
    task, candidate = loaded(row.task, "task"), loaded(row.task, row.candidate)
    ordinary = list(calls(task.specs, dtype, seed=1))
    found = []
    for seed, inputs in enumerate([*ordinary, *(each for call in ordinary for each in stressed(call))] if stress else ordinary):
        true, upstream = truth(task, inputs, seed)
        try:
            found.append(apart(answered(candidate, getattr(task, "options", {}), inputs, upstream), true))
        except (RuntimeError, IndexError, ValueError):
            found.append(float("inf"))
    return found


@pytest.mark.parametrize("row", SOUND, ids=str)
def test_sound_candidate_agrees_with_the_reference(row: Row) -> None:
    double = 1e-6 if hasattr(loaded(row.task, "task"), "tolerance_dtype") else 1e-12
    assert max(differences(row, torch.float64)) < double
    assert max(differences(row, torch.float32)) < 1e-4


@pytest.mark.parametrize("row", SOUND, ids=str)
def test_sound_candidate_calls_no_forbidden_operator(row: Row) -> None:
    task, candidate = loaded(row.task, "task"), loaded(row.task, row.candidate)
    with Called() as called:
        for seed, inputs in enumerate(calls(task.specs, torch.float64, seed=2)):
            _, upstream = truth(task, inputs, seed)
            called.packets.clear()
            answered(candidate, getattr(task, "options", {}), inputs, upstream)
            assert not called.packets & set(getattr(task, "forbidden", ()))


@pytest.mark.parametrize("row", MISTAKEN, ids=str)
def test_mistaken_candidate_differs_from_the_reference(row: Row) -> None:
    assert max(differences(row, torch.float64, stress=True)) > 1e-9


def test_every_candidate_has_one_row_and_every_row_a_candidate() -> None:
    files = {(path.parent.name, path.stem) for path in TASKS.glob("*/*.py") if path.stem != "task"}
    assert Counter((row.task, row.candidate) for row in ROWS) == Counter(files)


def test_every_task_has_a_sound_candidate_and_a_wrong_one() -> None:
    tasks = {path.parent.name for path in TASKS.glob("*/task.py")}
    assert len(tasks) >= 30
    assert {row.task for row in SOUND} == tasks
    assert {row.task for row in MISTAKEN} == tasks
    assert len(CHEATING) >= 40


def test_causes_of_the_rows_are_known() -> None:
    named = {cause for row in ROWS for cause in row.causes}
    assert named - {"forbidden-op", "tampered"} <= set(CAUSES)
    assert all((row.verdict == "fail") == bool(row.causes) for row in ROWS)
