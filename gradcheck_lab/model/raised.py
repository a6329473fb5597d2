"""What the user's code raised, as a cause and as a finding."""

from __future__ import annotations

from gradcheck_lab.model.exceptions import class_name
from gradcheck_lab.model.findings import Finding, Stage
from gradcheck_lab.model.torch_messages import out_of_memory
from gradcheck_lab.model.user_errors import first_line, user_traceback


def raised_cause(error: BaseException) -> str:
    """The cause of a finding on what the user's code raised.

    >>> raised_cause(ValueError()), raised_cause(MemoryError())
    ('raises', 'memory-exceeded')
    """
    return "memory-exceeded" if out_of_memory(error) else "raises"


def raises_again(error: Exception, stage: Stage, probe: str, case: str) -> Finding:
    """The finding that a call raises that did not raise when it was made first."""
    return Finding(
        raised_cause(error),
        "error",
        f"{stage} raised {type(error).__name__}, and did not in the first call",
        explanation=first_line(error),
        suggestion="let nothing that the first call used up, closed or changed be needed by the next",
        probe=probe,
        case=case,
        traceback=user_traceback(error),
        stage=stage,
        exception=class_name(error),
    )
