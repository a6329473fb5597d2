"""All single edits of a backward, kind by kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import libcst as cst

from gradcheck_lab.edits.edit import Edit
from gradcheck_lab.edits.kinds import MISTAKES
from gradcheck_lab.edits.kinds.kind import Kind
from gradcheck_lab.edits.place import place_of
from gradcheck_lab.edits.source import source_of
from gradcheck_lab.edits.written import Written, written_of


def edits_of(subject: Any, kinds: Sequence[Kind] = MISTAKES) -> tuple[Edit, ...]:
    """Every edit of these kinds of the backward of `subject` and of what it calls in the same file, in the order of the lines.

    Two kinds that make the same text of the file are one edit, of the first of them. Raises `InvalidArgument` where the
    backward, or its source, cannot be found: `edits.written` says for which subjects it can.
    """
    found: dict[str, Edit] = {}
    for written in written_of(subject):
        for edit in _edits_of_function(written, kinds):
            found.setdefault(edit.text, edit)
    return tuple(sorted(found.values(), key=lambda edit: edit.line))


def _edits_of_function(written: Written, kinds: Sequence[Kind]) -> Iterator[Edit]:
    source = source_of(written.function)
    if source is None:
        return
    place = place_of(written, source.node)
    for node in parts_of(source.node):
        for kind in kinds:
            for new in kind.replacements(node, place):
                text = source.replaced(node, new)
                if text is not None and text != source.text:
                    yield Edit(kind.name, written.name, written.path, source.line_of(node), source.text, text)


def parts_of(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """What a function's body consists of, outer parts first; annotations, decorators and defaults are none of it."""
    if isinstance(node, cst.Lambda):
        yield node
    yield from _below(node.body if isinstance(node, (cst.FunctionDef, cst.Lambda)) else node)


def _below(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    yield node
    for child in node.children:
        if not isinstance(child, (cst.Annotation, cst.Decorator)):
            yield from _below(child)
