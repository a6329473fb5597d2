"""The verb `mutate`: edit a backward as people get it wrong, and see who notices. `mutation/run.py` has the steps."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from os import PathLike
from typing import Any

from gradcheck_lab.edits.kinds import MISTAKES
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.isolation import refuse_timeout
from gradcheck_lab.model.arguments import Wrt, name_of, refuse_names, refuse_order, refuse_unknown, seed_of
from gradcheck_lab.model.shown import quoted
from gradcheck_lab.mutation.by_check import CheckCall
from gradcheck_lab.mutation.by_tests import arguments_of
from gradcheck_lab.mutation.report import MutationReport
from gradcheck_lab.mutation.run import Mutation, Shown


def mutate(
    subject: Any,
    *inputs: Any,
    tests: str | Sequence[str | PathLike[str]] | None = None,
    options: Mapping[str, Any] | None = None,
    reference: Any = None,
    order: int = 1,
    allow: Collection[str] = (),
    wrt: Wrt | None = None,
    kinds: Collection[str] | None = None,
    max_mutants: int | None = None,
    seed: int = 0,
    timeout: float = 120.0,
    shown: Shown | None = None,
    **unknown: Any,
) -> MutationReport:
    """Make mutants of the backward of `subject`, one edit each, and see whether `check` and the author's `tests` notice them.

    `subject` is what `check` takes, as far as its backward has source at hand: a `gl.Op`, a pair (forward, backward), an
    `autograd.Function`, a custom op, a layer; `inputs`, `options`, `reference`, `order`, `allow` and `wrt` are those of the
    call of `check`, which has to pass as it stands. `tests` is the command of the author's tests, as "pytest -k linear tests/":
    only those that run the backward are run, and they have to pass as they stand. `kinds` names the kinds of edits, all where
    left out; of more than `max_mutants`, that many are drawn by `seed`. `timeout` is the seconds that one mutant may take.

    The user's file is never written to: the edited code runs in processes of its own. A mutant counts unless its gradients are
    the same, or right as well, on everything that was tried.

    Returns a `MutationReport`, whose `survivors` the tests, or where there are none the check, did not notice. Raises
    `InvalidArgument` for a wrong argument, and where the backward or a test fails without any edit.

    >>> import torch
    >>> from gradcheck_lab import ops
    >>> report = mutate(ops.relu, torch.tensor([-1.0, 0.0, 2.0]), kinds={"double", "other-comparison"})
    >>> print(report)
    relu: 1 of 1 mutants noticed by check
    not counted: 1 equivalent
    """
    refuse_unknown("mutate", unknown, options)
    if not inputs:
        raise InvalidArgument(f"mutate was given no inputs; pass its tensors: gl.mutate({name_of(subject)}, x, ...)")
    refuse_order(order)
    if kinds is not None:
        refuse_names("kinds", kinds, {kind.name for kind in MISTAKES})
    if max_mutants is not None and (type(max_mutants) is not int or max_mutants < 1):
        raise InvalidArgument(f"max_mutants is {quoted(max_mutants)}; pass a whole number of at least 1")
    if timeout is None:
        raise InvalidArgument("timeout is None; pass a number of seconds above 0")
    refuse_timeout(timeout)
    call = CheckCall(subject, inputs, options, reference, order, allow, wrt, seed_of(seed))
    arguments = None if tests is None else arguments_of(tests)
    mutation = Mutation(call, arguments, None if kinds is None else tuple(kinds), max_mutants, float(timeout))
    return mutation.run() if shown is None else mutation.run(shown)
