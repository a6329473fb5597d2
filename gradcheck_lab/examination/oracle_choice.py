"""Which oracle decides: autograd on the subject's own forward where it can be followed, else numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck_lab.calls.randomness import seed_all
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.user_errors import class_and_line, first_line
from gradcheck_lab.oracles.autograd.passes import Pass
from gradcheck_lab.oracles.numeric.oracle import NumericOracle
from gradcheck_lab.subjects.untraceable import Untraceable

if TYPE_CHECKING:
    from gradcheck_lab.examination.pipeline import Examination


def followed(examination: Examination) -> Pass | None:
    """The float64 autograd pass over the subject's own forward; None where autograd cannot follow it.

    `examination.unfollowed` then says why.
    """
    subject = examination.subject
    if subject.trace is None:
        examination.unfollowed = "there is no forward in torch to follow"
        return None
    try:
        truth = examination.oracle.truth()
    except InvalidArgument:
        raise
    except Exception as error:
        known = isinstance(error, Untraceable)
        examination.unfollowed = first_line(error) if known else class_and_line(error)
        return None
    if not truth.tracked:
        examination.unfollowed = f"no output of {subject.name} depends on an input through torch functions"
        return None
    return truth


def numeric_oracle(examination: Examination) -> NumericOracle | None:
    """The numeric oracle on the examined case; None, with a reason for the verdict, where the forward cannot be evaluated."""
    subject, why = examination.subject, examination.unfollowed
    seed_all(examination.case.seed)
    try:
        oracle = NumericOracle(subject, examination.case, examination.evaluations)
        method = oracle.method
    except Exception as error:
        examination.reasons.append(
            f"there is no oracle for {subject.name}: autograd cannot follow it ({why}), and evaluating it raised "
            f"{class_and_line(error)}; pass reference=, the same function in torch"
        )
        return None
    examination.oracle_name = f"{method} (autograd cannot follow {subject.name}: {why})"
    return oracle
