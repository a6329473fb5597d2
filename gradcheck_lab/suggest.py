"""The verb `suggest`: propose a change of a backward after which the full check passes. `repair/search.py` has the steps."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.isolation import refuse_timeout
from gradcheck_lab.model.amounts import SHARE_OF_EDITS
from gradcheck_lab.model.arguments import Wrt, name_of, refuse_unknown, seed_of
from gradcheck_lab.model.shown import quoted
from gradcheck_lab.model.suggestions import Suggested, Suggestion
from gradcheck_lab.repair.search import Search
from gradcheck_lab.repair.time_limit import OutOfTime, limited
from gradcheck_lab.repair.trial import Call, trial_of
from gradcheck_lab.repair.verified import Verification
from gradcheck_lab.repair.written import written_suggestion
from gradcheck_lab.report import Report
from gradcheck_lab.specs import Spec


def suggest(
    subject: Any,
    *inputs: Any,
    options: Mapping[str, Any] | None = None,
    reference: Any = None,
    grad_output: torch.Tensor | Sequence[torch.Tensor] | None = None,
    order: int = 1,
    allow: Collection[str] = (),
    wrt: Wrt | None = None,
    seed: int = 0,
    specs: Sequence[Spec | str] = (),
    seconds: float = 10.0,
    most: int = 3,
    **unknown: Any,
) -> list[Suggestion]:
    """Search for changes of a hand-written backward after which `gl.check` of the same call passes.

    `subject` and the arguments up to `seed` are those of `gl.check`. Its backward has to stand in a file, a cell or a text that
    `inspect` can read: single edits of it and of what it calls in the same file are tried, then pairs, in this process; the
    file is only read. What is suggested passed the full check on the call, on other values with another seed, and, where
    `specs` are given or the subject has some, on drawn calls. Where no edit helps, the wrong gradients are read off
    autograd's graph of the forward and verified likewise. The search ends after about `seconds`, or with `most` suggestions.

    Returns the suggestions, the smallest change first: none where the check passes or nothing was found. Raises
    `InvalidArgument` as `gl.check` does.

    >>> import torch
    >>> from gradcheck_lab import Op
    >>> def wrong(grad_output, output, x):
    ...     return (grad_output * x,)
    >>> [print(each.after) for each in suggest(Op(lambda x: x * x, wrong), torch.tensor([1.0, -2.0, 3.0]), most=1)]
    return (2 * (grad_output * x),)
    [None]
    """
    refuse_unknown("suggest", unknown, options)
    refuse_search(seconds, most)
    if not inputs:
        name = name_of(subject)
        raise InvalidArgument(f"{name} was given no inputs; pass its tensors: gl.suggest({name}, x, ...)")
    call = Call(inputs, options, reference, grad_output, order, allow, wrt, seed_of(seed))
    return list(suggested(subject, call, call.check(subject), specs, seconds, most).suggestions)


def refuse_search(seconds: Any, most: Any) -> None:
    """Raise `InvalidArgument` for a time or a number of suggestions that no search can have."""
    try:
        refuse_timeout(seconds)
    except InvalidArgument:
        raise InvalidArgument(f"seconds is {quoted(seconds)}; pass a number of seconds above 0") from None
    if seconds is None:
        raise InvalidArgument("seconds is None; pass a number of seconds above 0")
    if type(most) is not int or most < 1:
        raise InvalidArgument(f"most is {quoted(most)}; pass a whole number of at least 1")


def suggested(
    subject: Any, call: Call, report: Report, specs: Sequence[Any] = (), seconds: float = 10.0, most: int = 3
) -> Suggested:
    """What is found for a subject whose check gave `report`, and what was tried for it."""
    started = time.perf_counter()
    if report.verdict != "fail":
        return Suggested(why=f"its verdict is {report.verdict}: there is nothing to mend")
    verification = Verification(call, report, specs)
    why = ""
    try:
        trial = trial_of(subject, call)
    except InvalidArgument as error:
        return Suggested(seconds=time.perf_counter() - started, why=str(error))
    search = Search(trial, verification, most, started + SHARE_OF_EDITS.value * seconds)
    found: tuple[Suggestion, ...] = ()
    try:
        found = tuple(search.run())
    except InvalidArgument as error:
        why = str(error)
    if not found:
        with suppress(OutOfTime), limited(started + seconds - time.perf_counter()):
            written = written_suggestion(subject, verification)
            found = () if written is None else (written,)
    return Suggested(found, search.tried, time.perf_counter() - started, search.finished, why)
