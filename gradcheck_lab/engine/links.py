"""What each step of a recorded program is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gradcheck_lab.engine.variable import Node, Variable


@dataclass(frozen=True, slots=True)
class Link:
    """A step: the input or the op call of this number, or a native step by its name, and the steps that it is made of."""

    name: str
    inputs: tuple[int, ...]
    input: int | None = None
    call: int | None = None
    is_output: bool = False


def links(leaves: Sequence[Any], tape: Sequence[Node], outputs: Sequence[Variable]) -> tuple[Link, ...]:
    """The inputs, and the steps in the order in which they ran."""
    found = [Link("", (), input=i) for i, leaf in enumerate(leaves) if isinstance(leaf, Variable)]
    places: dict[int, int] = {id(leaf): k for k, leaf in enumerate(leaf for leaf in leaves if isinstance(leaf, Variable))}
    numbers = {id(node): k for k, node in enumerate(tape)}
    ends = {id(variable.node) for variable in outputs}
    for node in sorted(_nodes(tape, outputs), key=lambda node: node.index):
        made_of = (places.get(id(value)) for value in node.inputs if isinstance(value, Variable))
        inputs = tuple(dict.fromkeys(place for place in made_of if place is not None))
        places |= {id(variable): len(found) for variable in node.outputs}
        found.append(Link(node.op.name, inputs, call=numbers.get(id(node)), is_output=id(node) in ends))
    return tuple(found)


def _nodes(tape: Sequence[Node], outputs: Sequence[Variable]) -> list[Node]:
    """The nodes on the tape, and the native ones that these and the outputs are made of."""
    found = {id(node): node for node in tape}
    todo = [*tape, *(variable.node for variable in outputs)]
    while todo:
        node = todo.pop()
        if node is None:
            continue
        found[id(node)] = node
        made_of = (value.node for value in node.inputs if isinstance(value, Variable))
        todo += [each for each in made_of if each is not None and id(each) not in found]
    return list(found.values())
