"""The command `gradcheck-lab list`: the hand-written ops by family, what each takes and the formula of its backward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.ops import FAMILIES
from gradcheck_lab.rules.op import Op

Families = Mapping[str, Sequence[Op]]


def chosen_families(names: Sequence[str]) -> Families:
    """The families in `names`, and the families of the ops in `names` with these ops only; all families for no names.

    Raises `InvalidArgument` for a name that is neither.

    >>> {family: [op.name for op in members] for family, members in chosen_families(["relu"]).items()}
    {'activations': ['relu']}
    """
    known = {*FAMILIES, *(op.name for members in FAMILIES.values() for op in members)}
    for name in names:
        if name not in known:
            raise InvalidArgument(f"there is no op or family {name!r}; the families are {', '.join(FAMILIES)}")
    chosen = {
        family: [op for op in members if not names or family in names or op.name in names]
        for family, members in FAMILIES.items()
    }
    return {family: members for family, members in chosen.items() if members}


def listing_lines(families: Families) -> list[str]:
    """A paragraph for each family: every signature of each op, and below them its formula; then how many there are."""
    lines: list[str] = []
    for family, members in families.items():
        lines += [family]
        for op in members:
            lines += [f"  {op.name}({', '.join(map(str, signature))})" for signature in op.signatures]
            lines += [f"    {op.formula}"]
        lines += [""]
    ops, kinds = sum(len(members) for members in families.values()), len(families)
    return [*lines, f"{ops} op{'s' * (ops != 1)} in {kinds} famil{'ies' if kinds != 1 else 'y'}"]
