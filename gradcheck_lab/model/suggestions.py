"""What mends a wrong backward, as frozen data: edits of the user's file, or what has to be returned, each verified."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One change after which the full check passes.

    `diff` is the unified diff of the user's file, of one edit or two; `path` is that file, `line` where it changes first,
    `before` and `after` its lines, `kinds` the kinds of the edits. Where no edit helps, `diff` is empty and `expressions` are
    the wrong gradients as lines of torch, `dx = grad_output * (1 - output**2)`. `size` counts the characters that are
    taken away and put in. `verified` says what it passed.
    """

    diff: str = ""
    path: str = ""
    line: int = 0
    before: str = ""
    after: str = ""
    kinds: tuple[str, ...] = ()
    expressions: tuple[str, ...] = ()
    size: int = 0
    verified: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.diff or "\n".join(self.expressions)


@dataclass(frozen=True, slots=True)
class Suggested:
    """What a search found: its suggestions, the best first, and what was tried for them.

    `tried` counts the edits and pairs of edits that were run, `seconds` is how long that took, and `finished` says whether it
    ended before its time was over. `why` says why nothing could be edited, where that is so.
    """

    suggestions: tuple[Suggestion, ...] = ()
    tried: int = 0
    seconds: float = 0.0
    finished: bool = True
    why: str = ""
