"""Findings on ranks that raised, ended or did not come back: each names the rank and where it was."""

from __future__ import annotations

from collections.abc import Sequence

from gradcheck_lab.distributed.ranks import Problem, RankRaised, RanksEnded
from gradcheck_lab.model.causes import CAUSES
from gradcheck_lab.model.findings import Finding, Stage
from gradcheck_lab.model.shown import one_line
from gradcheck_lab.model.user_errors import users_frames

_STAGES: dict[str, Stage] = {"forward": "forward", "backward": "backward"}


def raised_finding(error: RankRaised, doing: str = "") -> Finding:
    """The finding that the user's code raised on some ranks; `doing` is the derived call, empty for the one as given."""
    raised = [each for each in error.problems if each.how == "raised"]
    first, waiting = raised[0], [each for each in error.problems if each.how == "waits"]
    where = on_ranks([each.rank for each in raised])
    if first.shapes is not None:
        return _wrong_shape(first, where, error.stage)
    waits = "".join(f"; rank {each.rank} waits {_at(each)}" for each in waiting)
    return Finding(
        "raises",
        "error",
        f"{error.stage} raised {first.kind} {where}",
        explanation=f"{one_line(first.message.splitlines()[0] if first.message else first.kind)}{waits}",
        suggestion=f"look at the traceback of rank {first.rank} below",
        case=doing or "as given",
        traceback=first.traceback,
        stage=_STAGES.get(error.stage, ""),
        exception=first.kind,
    )


def _wrong_shape(problem: Problem, where: str, stage: str) -> Finding:
    assert problem.shapes is not None
    returned, expected = problem.shapes
    longer = [k for k, (a, b) in enumerate(zip(returned, expected, strict=False)) if b and a > b and a % b == 0]
    is_uncut = len(returned) == len(expected) and len(longer) == 1
    why = f"it is {returned[longer[0]] // expected[longer[0]]} times as long along dimension {longer[0]}" if is_uncut else ""
    what = "; the gradient of a gather is cut to this rank's part" if is_uncut else ""
    return Finding(
        "wrong-shape",
        "error",
        f"backward returned a gradient of shape {list(returned)} for an input of shape {list(expected)} {where}",
        explanation=f"{why or 'torch cannot make it the shape of the input'}{what}",
        suggestion="cut the gradient, or reduce and scatter it, to what this rank holds of the input",
        traceback=problem.traceback,
        stage=_STAGES.get(stage, ""),
        exception=problem.kind,
    )


def ended_finding(error: RanksEnded, doing: str) -> Finding:
    """The finding that a call did not come back: a rank ended its process, or all time was used up."""
    ended = [each for each in error.problems if each.how == "ended"]
    others = [each for each in error.problems if each.how != "ended"]
    told = "; ".join(f"rank {each.rank} {_did(each)}" for each in others)
    if ended:
        cause, first = "crashed", ended[0]
        what = f"{doing} {first.message} {on_ranks([each.rank for each in ended])}"
        why = told if told else "every rank ended"
        fix = CAUSES[cause].fix
    else:
        waiting = [each.rank for each in error.problems if each.how == "waits"]
        cause, first = "timed-out", next((each for each in error.problems if each.traceback), error.problems[0])
        what = f"{doing} did not come back {on_ranks(waiting)} within {error.seconds or 0:g} seconds"
        why, fix = told, "let every rank enter the same collectives in the same order, or allow more time: timeout="
    frames = "".join(each.traceback for each in (*ended, *others) if each.traceback)
    return Finding(
        cause, "error", what, explanation=why, suggestion=fix, traceback=frames or None, stage=_STAGES.get(error.stage, "")
    )


def on_ranks(ranks: Sequence[int]) -> str:
    """`on rank 1`, or `on ranks 0, 1 and 3`.

    >>> on_ranks([1]), on_ranks([0, 1, 3])
    ('on rank 1', 'on ranks 0, 1 and 3')
    """
    names = [str(rank) for rank in ranks]
    return f"on rank {names[0]}" if len(names) == 1 else f"on ranks {', '.join(names[:-1])} and {names[-1]}"


def _did(problem: Problem) -> str:
    if problem.how == "raised":
        return f"raised {problem.kind}"
    return "returned" if problem.how == "returned" else f"is {_at(problem)}"


def _at(problem: Problem) -> str:
    frames = users_frames(problem.traceback)
    return f"at {frames[-1]}" if frames else "in code that does not say where"
