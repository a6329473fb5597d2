"""A forward and a backward that take different defaults of one option: seen by running the backward with the forward's."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from types import FunctionType

from gradcheck_lab.examination.examined import Examined
from gradcheck_lab.model.causes import CAUSES
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import TRIED_DEFAULTS
from gradcheck_lab.model.places import place_of
from gradcheck_lab.subjects.code.source import plain_function

_CAUSE = "default-mismatch"
Value = bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class Difference:
    """A parameter of each of two functions of the user that may be one option, with the default of each."""

    name: str
    own: str
    forward: FunctionType
    backward: FunctionType
    taken: Value
    other: Value

    def __str__(self) -> str:
        ours, theirs = (f" ({place})" if place else "" for place in map(place_of, (self.forward, self.backward)))
        return f"forward takes {self.name}={self.taken!r} by default{ours}, and backward {self.own}={self.other!r}{theirs}"

    @contextmanager
    def equal(self) -> Iterator[None]:
        """A block in which the backward has the default of the forward."""
        function = self.backward
        before = function.__defaults__, function.__kwdefaults__
        parameters = inspect.signature(function).parameters.values()
        plain = [p for p in parameters if p.kind is not p.KEYWORD_ONLY and p.default is not p.empty]
        function.__defaults__ = tuple(self.taken if p.name == self.own else p.default for p in plain) or None
        if before[1] is not None:
            function.__kwdefaults__ = {n: self.taken if n == self.own else value for n, value in before[1].items()}
        try:
            yield
        finally:
            function.__defaults__, function.__kwdefaults__ = before


def with_defaults_named(examined: Examined, again: Callable[[], Examined]) -> Examined:
    """The same, where different defaults explain wrong gradients: these are right in `again`, with equal ones."""
    if examined.run is None or examined.passed or examined.policy.derived:
        return examined
    differences = _differences(examined)
    for tried in [*([d] for d in differences), *([differences] if len(differences) > 1 else [])]:
        with ExitStack() as stack:
            for difference in tried:
                stack.enter_context(difference.equal())
            mended = again()
        right = examined.right_in(mended)
        if right:
            return replace(examined, findings=tuple(_explained(f, right, tried) for f in examined.findings))
    return examined


def _explained(finding: Finding, right: frozenset[str], differences: Sequence[Difference]) -> Finding:
    if finding.severity != "error" or finding.op is not None or finding.gradient not in right:
        return finding
    values = ", ".join(f"{each.own}={each.taken!r}" for each in differences)
    told = f"{'; '.join(map(str, differences))}: the gradient is right with {values}"
    return replace(finding, cause=_CAUSE, explanation=told, suggestion=CAUSES[_CAUSE].fix, kept=())


def _differences(examined: Examined) -> list[Difference]:
    """The options that the call leaves out and that forward and backward have different plain defaults of.

    Options go by one name; those that have none in the other function may be one option by two names.
    """
    subject, found = examined.subject, list[Difference]()
    forward = plain_function(subject.signature)
    given = {*subject.names, *examined.case.options}
    for backward in map(plain_function, subject.backwards()):
        if forward is None or backward is None:
            continue
        ours = {name: value for name, value in _defaults(forward).items() if name not in given}
        theirs = _defaults(backward)
        pairs = [(name, name) for name in ours if name in theirs]
        pairs += [(name, own) for name in ours for own in theirs if name not in theirs and own not in ours]
        found += [
            Difference(name, own, forward, backward, ours[name], theirs[own])
            for name, own in pairs
            if ours[name] != theirs[own] and (name == own or type(ours[name]) is type(theirs[own]))
        ]
    return found[: TRIED_DEFAULTS.value]


def _defaults(function: FunctionType) -> dict[str, Value]:
    """The parameters with a plain default."""
    parameters = inspect.signature(function).parameters.items()
    return {name: each.default for name, each in parameters if isinstance(each.default, Value)}
