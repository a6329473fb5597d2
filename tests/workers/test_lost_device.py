"""A call that ends the context of its device ends its process with it; it is made again where each kernel is waited for."""

from __future__ import annotations

import os
import sys
import time
from functools import partial

import pytest

from gradcheck_lab.model.raised import ASYNCHRONOUS, NOT_AGAIN, WAITED_FOR, DeviceError
from gradcheck_lab.workers.apart import Limits, run_apart
from gradcheck_lab.workers.messages import pack_outcome, unpack_outcome
from gradcheck_lab.workers.outcome import LostDevice, Outcome, Returned
from gradcheck_lab.workers.pool import Call, Workers
from tests.workers import calls
from tests.workers.test_pool import outcomes


def value(outcome: Outcome) -> list[object]:
    assert isinstance(outcome, Returned)
    found: list[object] = outcome.value
    return found


def lost(outcome: Outcome) -> LostDevice:
    assert isinstance(outcome, LostDevice)
    return outcome


def test_the_next_call_has_a_device_that_works() -> None:
    texts = iter(["first", "second"])
    with Workers(1, calls.nothing, doing=lambda key: next(texts) if key == 1 else "") as workers:
        for key, lose in enumerate([False, True, False, False]):
            workers.submit(Call(key, calls.device_answer, (lose,)))
        found = outcomes(workers)
    before, after, later = (value(found[key]) for key in (0, 2, 3))
    assert before[0] != after[0] == later[0]
    assert before[1] is after[1] is None, "only the call that lost the device waits for each kernel"
    ended = lost(found[1])
    assert (ended.error.kind, ended.error.message, ended.error.stage) == ("AcceleratorError", "CUDA error: 1", "forward")
    assert (ended.doing, ended.how) == ("second", WAITED_FOR)
    assert str(ended) == "left its device unusable: AcceleratorError: CUDA error: 1"


def test_call_that_does_not_fail_again_is_told_by_its_first_run() -> None:
    texts = iter(["first", "second"])
    with Workers(1, calls.nothing, doing=lambda key: next(texts)) as workers:
        workers.submit(Call(0, calls.device_answer, (True, False)))
        ended = lost(outcomes(workers)[0])
    assert (ended.error.message, ended.doing, ended.how) == ("CUDA error: None", "first", NOT_AGAIN)


def test_call_that_is_withdrawn_before_it_is_made_again_keeps_its_outcome() -> None:
    with Workers(1, calls.nothing) as workers:
        workers.submit(Call(0, calls.device_answer, (True,)))
        workers.submit(Call(1, calls.device_answer, (False,)))
        until = time.monotonic() + 60
        while not workers._lost and time.monotonic() < until:
            assert workers.finished(within=0.1) == []
        workers.withdraw()
        assert workers.pending
        found = outcomes(workers)
        assert not workers.pending
    assert list(found) == [0]
    assert lost(found[0]).how in (ASYNCHRONOUS, WAITED_FOR)  # it may have started already


@pytest.mark.skipif(sys.platform != "linux", reason="partial functions of tests are called apart by fork")
@pytest.mark.parametrize(
    ("again", "message", "doing", "how"),
    [
        (True, "CUDA error: 1", "waits: 1", WAITED_FOR),
        (False, "CUDA error: None", "waits: None", NOT_AGAIN),
    ],
    ids=["fails again", "does not"],
)
def test_call_apart_is_made_again_as_well(again: bool, message: str, doing: str, how: str) -> None:
    before = dict(os.environ)
    ended = run_apart(partial(calls.returning_device_answer, lose=True, again=again), Limits())
    outcome = lost(ended.outcome)
    assert (outcome.error.message, outcome.doing, ended.doing, outcome.how) == (message, doing, doing, how)
    assert dict(os.environ) == before


def test_outcome_crosses_processes_as_data() -> None:
    outcome = LostDevice(DeviceError("AcceleratorError", "CUDA error", "its traceback", "backward"), "the call", WAITED_FOR)
    assert unpack_outcome(pack_outcome(outcome)) == outcome
