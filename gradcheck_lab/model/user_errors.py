"""What the user's code raised, as findings: the traceback without this package's own frames."""

from __future__ import annotations

import traceback
from pathlib import Path

from gradcheck_lab.model.findings import Finding

_ENGINE = tuple(
    str(Path(__file__).parent.parent / name)
    for name in ("calls", "comparison", "engine", "examination", "oracles", "probes", "rules", "subjects")
)


def wrong_count(returned: int, inputs: int, op: str | None) -> Finding:
    """The finding for a backward that returned another number of gradients than there are inputs."""
    return Finding(
        "gradient-count",
        "error",
        f"backward returned {returned} gradients for {inputs} inputs",
        explanation=f"returned {returned} for {inputs} inputs",
        suggestion="return one gradient per input, in order, None where not differentiable",
        op=op,
    )


def user_traceback(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    kept = [frame for frame in frames if not frame.filename.startswith(_ENGINE)] or list(frames)
    return "".join(traceback.format_list(kept) + traceback.format_exception_only(error))
