"""Check the hand-written backwards of published packages, in an environment of their own, and print a table of what was found.

    python benchmarks/packages/run.py --environment /tmp/packages --results /tmp/results

makes the environment, where there is none, from `requirements.txt` and this checkout, runs `gradcheck-lab check` on each file
beside this one, and holds what does not pass against `triage.py`. `--only entmax` runs one file.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import venv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from triage import GENUINE, INTENDED, TRIAGE

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COLUMNS = ("file", "checked", "pass", "intended", "genuine", "not explained", "not checked")


def environment_at(folder: Path) -> Path:
    """The interpreter of the environment, which is made where there is none."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        pip = [str(python), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "--constraint", str(ROOT / "constraints.txt"), str(ROOT)], check=True)
        # without their dependencies, some of which are CUDA builds or pins of older versions; these are listed too
        subprocess.run([*pip, "--no-deps", "--requirement", str(HERE / "requirements.txt")], check=True)
    return python


def checked(python: Path, file: Path, results: Path, timeout: int) -> dict[str, dict[str, str]]:
    """The verdict and first cause of each object of a file, by `gradcheck-lab check`, or why it was not checked."""
    out = results / f"{file.stem}.json"
    program = [str(python), "-W", "ignore", "-m", "gradcheck_lab"]
    command = [*program, "check", str(file), "--timeout", str(timeout), "--json", str(out)]
    with (results / f"{file.stem}.txt").open("w") as log:
        subprocess.run(command, stdout=log, stderr=log)
    data = json.loads(out.read_text())
    found = {name: {"verdict": r["verdict"], "cause": _cause(r["findings"])} for name, r in data["reports"].items()}
    return found | {name: {"verdict": "not checked", "cause": why} for name, why in data["skipped"].items()}


def _cause(findings: Sequence[dict[str, str]]) -> str:
    return next((finding["cause"] for finding in findings if finding["severity"] == "error"), "")


def row_of(stem: str, found: dict[str, dict[str, str]]) -> dict[str, int | str]:
    """The counts of a file; what does not pass is intended or genuine where `triage.py` says so of this object and cause."""
    counts: Counter[str] = Counter()
    for name, result in found.items():
        known = TRIAGE.get((stem, name))
        if result["verdict"] in ("pass", "not checked"):
            counts[result["verdict"]] += 1
        elif known is not None and (result["cause"] or result["verdict"]) in known.causes:
            counts[known.kind] += 1
        else:
            counts["not explained"] += 1
            print(f"not explained: {stem}:{name}: {result['verdict']} {result['cause']}", file=sys.stderr)
    numbers = {key: counts[key] for key in ("pass", INTENDED, GENUINE, "not explained", "not checked")}
    return {"file": stem, "checked": len(found) - counts["not checked"], **numbers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--timeout", type=int, default=120)
    options = parser.parse_args()
    python = environment_at(options.environment)
    options.results.mkdir(parents=True, exist_ok=True)
    files = [file for file in sorted(HERE.glob("*_calls.py")) if file.stem.startswith(options.only)]
    rows = []
    for file in files:
        rows.append(row_of(file.stem, checked(python, file, options.results, options.timeout)))
        print("|", " | ".join(str(rows[-1][column]) for column in COLUMNS), "|", flush=True)
    totals = [sum(int(row[column]) for row in rows) for column in COLUMNS[1:]]
    print("| all |", " | ".join(map(str, totals)), "|")


if __name__ == "__main__":
    main()
