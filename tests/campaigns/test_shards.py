"""Shards: every case is in one of them, and all take about as long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradcheck_lab.campaigns.cases import Case, Finished
from gradcheck_lab.campaigns.progress import progress_of
from gradcheck_lab.campaigns.shards import expected_seconds, read_shard, shard, with_durations
from gradcheck_lab.errors import InvalidArgument

SECONDS = st.lists(st.none() | st.floats(0.001, 1000), max_size=40)


def cases_of(seconds: list[float | None]) -> list[Case]:
    return [Case(f"m:{k}", seconds=each) for k, each in enumerate(seconds)]


@given(SECONDS, st.integers(1, 6))
def test_every_case_is_in_one_shard(seconds: list[float | None], count: int) -> None:
    cases = cases_of(seconds)
    parts = [shard(cases, index, count) for index in range(1, count + 1)]
    assert sorted(case.target for part in parts for case in part) == sorted(case.target for case in cases)


@given(SECONDS, st.integers(1, 6))
def test_longest_shard_takes_no_longer_than_the_mean_and_the_longest_case(seconds: list[float | None], count: int) -> None:
    cases = cases_of(seconds)
    known = dict(zip((case.key for case in cases), expected_seconds(cases), strict=True))
    loads = [sum(known[case.key] for case in shard(cases, index, count)) for index in range(1, count + 1)]
    longest = max(known.values(), default=0.0)
    assert max(loads) <= sum(known.values()) / count + longest * (1 - 1 / count) + 1e-9


def test_durations_divide_better_than_counts() -> None:
    cases = cases_of([9.0, 3.0, 3.0, 3.0])
    assert [[case.target for case in shard(cases, index, 2)] for index in (1, 2)] == [["m:0"], ["m:1", "m:2", "m:3"]]


def test_durations_are_those_of_the_name_whatever_the_code_is_now() -> None:
    before, now = Case("m:f", "float32", source="old"), Case("m:f", "float32", source="new")
    assert with_durations([now, Case("m:g")], {before.name: 2.0}) == [
        Case("m:f", "float32", source="new", seconds=2.0),
        Case("m:g"),
    ]


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "a/2", "1/2/3", "-1/2", "1/²"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        read_shard(text)
    assert str(refused.value) == f"shard is {text!r}; pass i/n with i from 1 to n, such as 1/4"


def test_estimate_weighs_cases_by_how_long_they_took() -> None:
    now = 0.0
    cases = cases_of([1.0, 1.0, 2.0, 6.0])
    progress = progress_of(5, cases)
    progress.clock = lambda: now
    assert (progress.done, progress.left) == (1, None)
    now = 60.0
    progress.count(Finished(cases[0], None, "no specs", 1.0))
    assert (progress.done, progress.left) == (2, None)
    now = 66.0
    for case in cases[1:3]:
        progress.count(Finished(case, None, "no specs", 1.0))
    assert (progress.done, progress.left) == (4, pytest.approx(12.0))
    progress.count(Finished(cases[3], None, "no specs", 1.0))
    assert progress.left == 0
    assert progress.verdicts["not-checked"] == 4
