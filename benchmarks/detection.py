"""How many planted mistakes are caught, under which name, and how many sound twins are flagged, by which method.

Runs the catalogue of the tests and the rows beside this file, on which no probe was made, through `gl.check`,
`torch.autograd.gradcheck`, its fast mode, `torch.library.opcheck`, and `.sum().backward()` with `allclose`. Run it as
`python benchmarks/detection.py`; `--only beyond` leaves the other groups out, `--method gl.check` the other methods. What this
project misses, misnames or flags is listed by name.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import pkgutil
import platform
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from benchmarks import detection_cases
from benchmarks.detection_methods import METHODS, asked
from tests.mistakes.catalogue import ROWS as CATALOGUE
from tests.mistakes.registry import Mistake

AFFORDABLE = 10_000  # elements of a call: gradcheck writes a whole Jacobian, of 3e5 elements more than any memory


def is_affordable(row: Mistake) -> bool:
    """Whether every method can be asked about a row."""
    return sum(value.numel() for value in row.inputs if isinstance(value, torch.Tensor)) <= AFFORDABLE


def rows_of(area: str) -> tuple[Mistake, ...]:
    """The rows of an area, of all files `AREA.py` and `AREA_1.py`, `AREA_2.py` and so on beside this one."""
    names = sorted(name for _, name, _ in pkgutil.iter_modules(detection_cases.__path__) if name.rstrip("_0123456789") == area)
    return tuple(row for name in names for row in importlib.import_module(f"{detection_cases.__name__}.{name}").ROWS)


# of `beyond`, no row had been tried before it was there; the others were written by people who had not read the toolkit, and
# docs/compared.md has what those of `fresh` showed before anything but a false alarm was mended for them
BEYOND = tuple(row for area in ("networks", "algebra", "losses") for row in rows_of(area))
UNSEEN = {area: rows_of(area) for area in ("functions", "kernels", "layers", "opaque", "fresh")}
GROUPS: dict[str, Sequence[Mistake]] = {"catalogue": tuple(filter(is_affordable, CATALOGUE)), "beyond": BEYOND, **UNSEEN}


@dataclass
class Score:
    """What a method did on a group of rows."""

    caught: int = 0
    named: int = 0
    alarms: int = 0
    seconds: float = 0.0
    rows_of_cause: Counter[str] = field(default_factory=Counter)
    caught_of_cause: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)
    misnamed: list[str] = field(default_factory=list)
    flagged: list[str] = field(default_factory=list)


def score(method: str, rows: Sequence[Mistake]) -> Score:
    """Ask a method about every row and its twin."""
    result = Score()
    for row in rows:
        wrong, sound = asked(METHODS[method], row, row.wrong), asked(METHODS[method], row, row.sound)
        result.seconds += wrong.seconds + sound.seconds
        result.caught += wrong.objects
        cause = row.cause.partition("|")[0]
        result.rows_of_cause[cause] += 1
        result.caught_of_cause[cause] += wrong.objects
        result.alarms += sound.objects
        if not wrong.objects:
            result.missed.append(str(row))
        elif wrong.says in row.cause.split("|"):
            result.named += 1
        else:
            result.misnamed.append(f"{row}: {wrong.says}")
        if sound.objects:
            result.flagged.append(f"{row}: {sound.says}")
    return result


def by_cause(found: Mapping[str, Sequence[Score]]) -> Iterator[str]:
    """A table of how many mistakes of each cause each method catches, over all groups."""
    yield "".join(f"{name:>16}" for name in ("mistakes", *found)).rjust(26 + 16 * (1 + len(found)))
    causes = sum((each.rows_of_cause for scores in list(found.values())[:1] for each in scores), Counter[str]())
    for cause, count in sorted(causes.items()):
        caught = (sum(each.caught_of_cause[cause] for each in scores) for scores in found.values())
        yield f"{cause:26}" + "".join(f"{number:>16}" for number in (count, *caught))


def main() -> None:
    """Print the table, and the names of what this project got wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=sorted(GROUPS), action="append", help="one group of rows; repeat it for several")
    parser.add_argument("--method", choices=sorted(METHODS), action="append", help="one method; repeat it for several")
    parser.add_argument("--list", choices=sorted(METHODS), help="list by name what this method got wrong, too")
    parser.add_argument("--by-cause", action="store_true", help="add a table of the mistakes of each cause")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    print(f"torch {torch.__version__}, Python {platform.python_version()}, {torch.get_num_threads()} threads, CPU\n")
    print(f"{'rows':12}{'method':16}{'mistakes':>9}{'caught':>8}{'right cause':>13}{'false alarms':>14}{'seconds':>9}")
    listed: dict[str, Score] = {}
    scores: dict[str, list[Score]] = {}
    for group, rows in GROUPS.items():
        if arguments.only and group not in arguments.only:
            continue
        for method in arguments.method or METHODS:
            found = score(method, rows)
            scores.setdefault(method, []).append(found)
            named = str(found.named) if method == "gl.check" else "-"
            print(
                f"{group:12}{method:16}{len(rows):>9}{found.caught:>8}{named:>13}{found.alarms:>14}{found.seconds:>9.1f}",
                flush=True,
            )
            if method in ("gl.check", arguments.list):
                listed[f"{group}, {method}"] = found
    if arguments.by_cause:
        print(*by_cause(scores), sep="\n")
    for group, found in listed.items():
        misnamed = found.misnamed if group.endswith("gl.check") else []
        for title, names in (("missed", found.missed), ("other cause", misnamed), ("false alarm", found.flagged)):
            for name in names:
                print(f"{group}, {title}: {name}")


if __name__ == "__main__":
    main()
