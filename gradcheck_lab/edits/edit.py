"""`Edit`: one change of a file, as the text before and after it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of one function.

    `kind` is the name of a row in `edits.kinds`, `function` the qualified name of the function that it changes, `path` the file
    as its code objects name it, and `line` where the change begins. `original` and `text` are the whole file before and after.
    """

    kind: str
    function: str
    path: str
    line: int
    original: str
    text: str

    @property
    def diff(self) -> str:
        """The unified diff of the file."""
        return diff_of(self.path, self.original, self.text)

    @property
    def before(self) -> str:
        """The lines that are changed, without the space around them."""
        return _changed(self.original, self.text)

    @property
    def after(self) -> str:
        """The lines that stand in their place."""
        return _changed(self.text, self.original)

    def __str__(self) -> str:
        return f"{Path(self.path).name}:{self.line} {self.kind}: {self.before} -> {self.after or '(nothing)'}"


def diff_of(path: str, original: str, text: str) -> str:
    """The unified diff of two texts of a file, three lines around each change; "" where they are equal.

    >>> print(diff_of("a.py", "x = 1\\n", "x = 2\\n"))
    --- a.py
    +++ a.py
    @@ -1 +1 @@
    -x = 1
    +x = 2
    """
    lines = difflib.unified_diff(original.splitlines(), text.splitlines(), path, path, lineterm="")
    return "\n".join(lines)


def _changed(text: str, other: str) -> str:
    """The lines of `text` that `other` has not at the same place, joined to one."""
    lines, others = text.splitlines(), other.splitlines()
    start = 0
    while start < min(len(lines), len(others)) and lines[start] == others[start]:
        start += 1
    end = 0
    while end < min(len(lines), len(others)) - start and lines[-1 - end] == others[-1 - end]:
        end += 1
    return " ".join(line.strip() for line in lines[start : len(lines) - end])
