"""A campaign divided among machines: each takes the cases of its shard, and all shards take about as long."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median

from gradcheck_lab.campaigns.cases import Case
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.shown import quoted


def with_durations(cases: Sequence[Case], seconds: Mapping[str, float]) -> list[Case]:
    """The cases with how long those of the same name took before."""
    return [replace(case, seconds=seconds.get(case.name)) for case in cases]


def expected_seconds(cases: Sequence[Case]) -> list[float]:
    """How long each case is expected to take: as before; those without a record as the median of the others, or 1.

    >>> expected_seconds([Case("a:f", seconds=4.0), Case("a:g")])
    [4.0, 4.0]
    """
    known = [case.seconds for case in cases if case.seconds is not None]
    usual = median(known) if known else 1.0
    return [usual if case.seconds is None else case.seconds for case in cases]


def shard(cases: Sequence[Case], index: int, count: int) -> list[Case]:
    """The cases of shard `index` (from 1) of `count`, in the order of the plan.

    Each case, the longest first, goes to the shard that has the least so far: the longest shard then takes at most 4/3 of what
    the best division would (Graham, Bounds on multiprocessing timing anomalies, 1969). It depends on the manifest alone, so
    that machines which know nothing of each other divide it alike.
    """
    seconds = expected_seconds(cases)
    order = sorted(range(len(cases)), key=lambda k: (-seconds[k], cases[k].key))
    loads = [(0.0, 0, number) for number in range(count)]
    mine: list[int] = []
    for k in order:
        load, held, number = heapq.heappop(loads)
        heapq.heappush(loads, (load + seconds[k], held + 1, number))
        if number == index - 1:
            mine.append(k)
    return [cases[k] for k in sorted(mine)]


def read_shard(text: str) -> tuple[int, int]:
    """Read "1/4" as the first of four shards. Raises `InvalidArgument`.

    >>> read_shard("1/4")
    (1, 4)
    """
    first, slash, last = text.partition("/")
    if slash and first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last):
        return int(first), int(last)
    raise InvalidArgument(f"shard is {quoted(text)}; pass i/n with i from 1 to n, such as 1/4")
