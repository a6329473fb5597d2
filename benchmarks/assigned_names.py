"""What it costs to find the names that a call's result is assigned to: by the bytecode after it, and by `executing`.

Asks both in a function of eight assignments: at the first run of new code, later, and in code whose source nobody has, as
`exec(compile(...))` makes it. Prints the microseconds for one call and what is found.
Run it as `python benchmarks/assigned_names.py`; `pip install executing` first.
"""

from __future__ import annotations

import ast
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from types import FrameType

from executing import Source

from gradcheck_lab.rules import naming

Finder = Callable[[FrameType], tuple[str, ...]]
Program = Callable[[Callable[[int], object]], tuple[object, ...]]
CODE = """def program(find):
    Z1 = find(1)
    A1 = find(2)
    Z2 = find(3)
    A2 = find(4)
    Z3 = find(5)
    mean, rstd = find(6)
    scaled = find(7)
    loss = find(8)
    return Z1, A1, Z2, A2, Z3, (mean, rstd), scaled, loss
"""
EXPECTED = (("Z1",), ("A1",), ("Z2",), ("A2",), ("Z3",), ("mean", "rstd"), ("scaled",), ("loss",))
RUNS = 2_000
FRESH = 30


def by_bytecode(frame: FrameType) -> tuple[str, ...]:
    """As `gradcheck_lab.rules.naming` finds them."""
    return naming._stores_after(frame.f_code, frame.f_lasti)


def by_executing(frame: FrameType) -> tuple[str, ...]:
    """From the syntax tree: the node of the call, and the assignment whose value it is."""
    node = Source.executing(frame).node
    parent = getattr(node, "parent", None)
    if not isinstance(parent, ast.Assign):
        return ()
    target = parent.targets[0]
    names = target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target]
    return tuple(name.id for name in names if isinstance(name, ast.Name))


def asked(finder: Finder) -> Callable[[int], tuple[str, ...]]:
    """What a program calls in the place of an op; two names, so that the result can be unpacked."""
    return lambda number: finder(sys._getframe(1)) if number != 6 else (finder(sys._getframe(1)), None)  # type: ignore[return-value]


def flat(found: tuple[object, ...]) -> tuple[object, ...]:
    """What the eight calls found, in order."""
    return tuple(each[0] if index == 5 else each for index, each in enumerate(found))  # type: ignore[index]


def program(number: int, folder: Path | None) -> Program:
    """Code that is equal to no other, with its source in a file, or with none."""
    space: dict[str, Program] = {}
    text = CODE.replace("find(1)", f"find({100 + number})")  # equal code would share the cached answers
    path = None if folder is None else folder / f"program_{number}.py"
    if path is not None:
        path.write_text(text, encoding="utf-8")
    exec(compile(text, "<no file>" if path is None else str(path), "exec"), space)
    return space["program"]


def microseconds(run: Program, ask: Callable[[int], object]) -> float:
    """For one of the eight calls of a run."""
    started = time.perf_counter()
    run(ask)
    return (time.perf_counter() - started) / len(EXPECTED) * 1e6


def main() -> None:
    """Measure both."""
    costs = []
    for finder in (by_bytecode, by_executing):
        ask = asked(finder)
        with tempfile.TemporaryDirectory() as folder:
            fresh = [program(number, Path(folder)) for number in range(FRESH)]
            cold = median(microseconds(new, ask) for new in fresh)
            warm = median(microseconds(fresh[0], ask) for _ in range(RUNS))
            found = [flat(new(ask)) == EXPECTED for new in (fresh[0], program(FRESH, None))]
        costs.append((cold, warm))
        print(f"{finder.__name__}: {cold:.1f} us at the first run, {warm:.2f} us later; "
              f"names found with source: {found[0]}, without: {found[1]}")  # fmt: skip
    cold, warm = (executing / bytecode for bytecode, executing in zip(*costs, strict=True))
    print(f"executing takes {cold:.1f} times as long at the first run and {warm:.1f} times later")


if __name__ == "__main__":
    main()
