"""The cases of a campaign by the module that they check, since a process that has imported one checks no other."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from gradcheck_lab.campaigns.cases import Case


def by_module(cases: Iterable[Case]) -> dict[str, deque[Case]]:
    """The cases of each module in their order, the module of the first case first.

    >>> [len(each) for each in by_module([Case("a:f"), Case("b:f"), Case("a:g")]).values()]
    [2, 1]
    """
    found: dict[str, deque[Case]] = {}
    for case in cases:
        found.setdefault(case.module, deque()).append(case)
    return found


class Waiting:
    """The cases that wait. Each worker stays with a module while there are cases of it, so that few processes start.

    >>> waiting = Waiting([Case("a:f"), Case("b:f"), Case("a:g")])
    >>> [waiting.next(module).target for module in (None, "a", "a")]
    ['a:f', 'a:g', 'b:f']
    """

    def __init__(self, cases: Iterable[Case]) -> None:
        self._modules = by_module(cases)
        self._new = deque(self._modules)

    def next(self, module: str | None) -> Case | None:
        """The next case for a worker that has run those of a module, None for one that has run none; None where none waits.

        Where no case of its module is left, it is of a module that no worker has, else of the one that has the most left.
        """
        if module not in self._modules:
            module = self._other()
        if module is None:
            return None
        cases = self._modules[module]
        case = cases.popleft()
        if not cases:
            del self._modules[module]
        return case

    def _other(self) -> str | None:
        if self._new:
            return self._new.popleft()
        return max(self._modules, key=lambda each: len(self._modules[each]), default=None)
