"""Docstrings as the reference shows them: doctests as code, and with each op the formula of its backward."""

from __future__ import annotations

import re
from typing import Any

import griffe

CODE = re.compile(r"(```.*?```|`[^`]*`)", re.DOTALL)
DOCTEST = re.compile(r"(?:^>>> .*\n?(?:^(?!\s*$).*\n?)*)", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Rewrites docstrings once they are read."""

    def on_module(self, *, mod: griffe.Module, **unused: Any) -> None:
        """Give each op of a module the formula that stands with its backward."""
        for function in mod.functions.values():
            for decorator in function.decorators:
                name = str(decorator.value).partition(".backward")[0]
                if str(decorator.value).endswith(".backward") and name in mod.members:
                    _say_backward(mod.members[name], function)

    def on_object(self, *, obj: griffe.Object, **unused: Any) -> None:
        """Fence the doctests of a docstring, and take asterisks and brackets of its text for what they are."""
        if obj.docstring is not None:
            fenced = DOCTEST.sub(lambda found: f"```pycon\n{found[0].rstrip()}\n```\n", obj.docstring.value)
            parts = CODE.split(fenced)  # text and code by turns
            obj.docstring.value = "".join(part if i % 2 else re.sub(r"[*\[]", r"\\\g<0>", part) for i, part in enumerate(parts))


def _say_backward(op: Any, backward: griffe.Function) -> None:
    if op.docstring is not None and backward.docstring is not None:
        formula = backward.docstring.value.strip().splitlines()[0]
        first, gap, rest = op.docstring.value.partition("\n\n")
        op.docstring.value = f"{first}\n\nBackward: `{formula}`{gap}{rest}"
