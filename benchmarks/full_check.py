"""How long a full check of each op takes on its ordinary call, warm, on one thread: the median over the ops.

`python benchmarks/full_check.py` prints it for this checkout, in seconds of processor time. With the path of another checkout,
both are measured by turns, each in processes of its own, and the ratios are printed, with the ops whose verdict or findings
differ.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROUNDS = 3
TURNS = 2
HERE = Path(__file__).resolve()
Measured = dict[str, dict[str, Any]]


def measured() -> Measured:
    """The fastest of a few warm checks of each op, with its evaluations, verdict and findings."""
    import torch

    import gradcheck_lab as gl
    from gradcheck_lab.ops import FAMILIES

    try:
        from gradcheck_lab.calls.drawing import ordinary_call
    except ImportError:  # a checkout from before that module
        from gradcheck_lab.case import ordinary_call  # type: ignore[import-not-found, no-redef]

    torch.set_num_threads(1)
    found: Measured = {}
    for op in (op for family in FAMILIES.values() for op in family):
        case = ordinary_call(op, op.signatures[0], 0)
        seconds = []
        for _ in range(1 + ROUNDS):
            started = time.process_time()
            report = gl.check(op, *case.inputs, options=case.options)
            seconds.append(time.process_time() - started)
        causes = sorted((f.cause, f.severity, str(f.gradient)) for f in report.findings)
        result = {"verdict": report.verdict, "findings": causes}
        found[op.name] = {"seconds": min(seconds[1:]), "evaluations": report.evaluations, "result": result}
    return found


def of_checkout(root: Path) -> Measured:
    """What a process that imports the package from `root` measures."""
    code = f"import json, runpy; print(json.dumps(runpy.run_path({str(HERE)!r})['measured']()))"
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, cwd=root)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def fastest(turns: list[Measured]) -> Measured:
    """Each op as in the turn in which it was fastest: others may have kept the machine busy meanwhile."""
    return {name: min((turn[name] for turn in turns), key=lambda row: float(row["seconds"])) for name in turns[0]}


def median(found: Measured) -> float:
    """The median over the ops, in milliseconds."""
    return 1e3 * statistics.median(row["seconds"] for row in found.values())


def main() -> None:
    checkouts = [HERE.parent.parent, *(Path(path).resolve() for path in sys.argv[1:2])]
    turns = [[of_checkout(checkout) for checkout in checkouts] for _ in range(TURNS)]
    mine, *others = [fastest(list(measured_ones)) for measured_ones in zip(*turns, strict=True)]
    print(f"{len(mine)} ops, median {median(mine):.1f} ms of processor time")
    if not others:
        return
    other = others[0]
    ratios = {name: row["seconds"] / other[name]["seconds"] for name, row in mine.items()}
    print(f"the other checkout: median {median(other):.1f} ms")
    print(
        f"ratio of the medians {median(mine) / median(other):.2f}, "
        f"median of the ratios {statistics.median(ratios.values()):.2f}"
    )
    for name in sorted(ratios, key=lambda name: -ratios[name])[:5]:
        print(f"  {name}: {ratios[name]:.2f}, evaluations {mine[name]['evaluations']} against {other[name]['evaluations']}")
    for name, row in mine.items():
        if row["result"] != other[name]["result"]:
            print(f"  differs: {name}: {row['result']} against {other[name]['result']}")


if __name__ == "__main__":
    main()
