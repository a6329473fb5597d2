"""What the answers of a candidate's process show by themselves, and answers of another form: made up here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any, cast

import numpy as np
import pytest
import torch

from gradcheck_lab.judging.connection import Malformed, Worker, WorkerLimits
from gradcheck_lab.judging.remote import CandidateRaised, Remote
from gradcheck_lab.judging.worker.messages import pack, restored, unpack

NAMED = [["x", True, "POSITIONAL_OR_KEYWORD"]]
LOADED = {"form": "callable", "signatures": [NAMED], "node": ""}


class Canned:
    """A worker that gives the answers it was made with, one after the other, and keeps what it was asked."""

    limits = WorkerLimits(1.0, None)

    def __init__(self, *answers: Mapping[str, Any]) -> None:
        self.answers = list(answers)
        self.asked: list[Mapping[str, Any]] = []

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.asked.append(request)
        return {"ok": True, "again": [], "later": [], "called": [], "started": [], **self.answers.pop(0)}


def remote(*answers: Mapping[str, Any], loaded: Mapping[str, Any] = LOADED, arrays: bool = False) -> Remote:
    """A candidate that is loaded, and gives these answers to what it is asked next."""
    worker = Canned(loaded, *answers)
    made = Remote(cast(Worker, worker), Path("answer.py"), "answer", (), Random(1), arrays)
    made.load()
    return made


def returned(value: torch.Tensor) -> dict[str, Any]:
    return {"result": ["tensor", value], "graph": [], "needing": [True], "written": []}


FORGED = {
    "no name of a form": {"form": "something"},
    "a form that no dict has": {"form": [1]},
    "no form": {"form": None},
    "a pair of one function": {"form": "pair"},
    "a function of two": {"signatures": [NAMED, NAMED]},
    "no list of signatures": {"signatures": 3},
    "a signature of numbers": {"signatures": [[1]]},
    "a parameter of no kind": {"signatures": [[["x", True, "NOPE"]]]},
    "a parameter of no name": {"signatures": [[["not a name", True, "POSITIONAL_ONLY"]]]},
    "again without results": {"again": [[1, 2]]},
    "again of a list": {"again": [[[1], 2, 3]]},
    "again of nothing": {"again": [[]]},
    "later of a number": {"later": 3},
    "no list of calls": {"called": "aten.softmax"},
}


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_answer_to_an_import_is_the_candidates_own(what: str) -> None:
    made = Remote(cast(Worker, Canned({**LOADED, **FORGED[what]})), Path("answer.py"), "answer", (), Random(1))
    with pytest.raises(CandidateRaised):
        made.load()
    assert isinstance(made.broken, Malformed)


def test_what_was_forged_about_a_former_call_is_the_candidates_own() -> None:
    made = remote(returned(torch.ones(2)), {"again": [[1, 2]]})
    made.call([torch.ones(2)], {}, [True])
    with pytest.raises(CandidateRaised, match="its answer has another form"):
        made.read_again()
    assert isinstance(made.broken, Malformed)


def causes(made: Remote) -> list[str]:
    return [cause for cause, _ in made.evidence]


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [(torch.float32, []), (torch.float64, []), (torch.bfloat16, ["wrong-dtype"]), (torch.float16, ["wrong-dtype"])],
)
def test_results_in_the_tolerated_dtype_are_told_from_those_with_its_digits(dtype: torch.dtype, expected: list[str]) -> None:
    value = torch.arange(3.0).to(dtype)
    made = remote(returned(value), {"result": ["list", [["tensor", value]]], "written": []})
    made.sent, made.read_as = torch.float32, torch.bfloat16
    result, answer = made.call([torch.ones(3).bfloat16()], {}, [True])
    assert causes(made) == expected
    assert result.dtype == (torch.bfloat16 if dtype == torch.float32 else dtype)
    made.evidence.clear()
    made.gradients(answer, [torch.ones(3).bfloat16()], [True])
    assert causes(made) == expected


@pytest.mark.parametrize(("names", "expected"), [("dout cache", []), ("dout output x", ["wrong-dtype"])])
def test_a_cache_may_be_in_any_dtype(names: str, expected: list[str]) -> None:
    backward = [[name, True, "POSITIONAL_OR_KEYWORD"] for name in names.split()]
    pair = {"form": "pair", "signatures": [NAMED, backward], "node": ""}
    both = ["tuple", [["tensor", torch.ones(3)], ["tensor", torch.ones(3).bfloat16()]]]
    made = remote({**returned(torch.ones(3)), "result": both}, loaded=pair)
    made.sent, made.read_as = torch.float32, torch.bfloat16
    made.call([torch.ones(3).bfloat16()], {})
    assert causes(made) == expected


def test_options_are_sent_as_what_they_are() -> None:
    made = remote(returned(torch.ones(2)))
    options = {"shape": torch.Size([2, 3]), "table": {"k": [1.5, None]}, "dtype": torch.float16, "mask": np.ones(2)}
    made.call([torch.ones(2)], options)
    asked = cast(Canned, made.worker).asked[-1]
    found = {name: restored(value, []) for name, value in unpack(bytearray(pack(asked)))["options"]}
    assert torch.equal(found.pop("mask"), torch.ones(2).double())
    assert found == {"shape": (2, 3), "table": {"k": [1.5, None]}, "dtype": torch.float16}


@pytest.mark.parametrize(("arrays", "kind"), [(True, torch.Tensor), (False, np.ndarray)])
def test_arrays_stand_for_the_tensors_that_were_given_as_arrays(arrays: bool, kind: type) -> None:
    made = remote({**returned(torch.ones(2)), "result": ["array", torch.ones(2)]}, arrays=arrays)
    result, _ = made.call([torch.ones(2)], {})
    assert type(result) is kind
    assert cast(Canned, made.worker).asked[-1]["arguments"][0][0] == ("array" if arrays else "tensor")


def test_what_is_held_is_read_again_at_the_end_alone() -> None:
    made = remote(*[returned(torch.ones(2))] * 3, *[{}] * 2)
    made.hold()
    for _ in range(3):
        made.call([torch.ones(2)], {})
    made.read_again()
    made.read_again(0.1)
    first, last = cast(Canned, made.worker).asked[-2:]
    assert (first["again"], last["again"]) == ([2, 3], [1, 2, 3])
