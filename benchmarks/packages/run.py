"""Check the hand-written backwards of published packages as a campaign, in an environment of their own.

    python benchmarks/packages/run.py --environment /tmp/packages --results /tmp/results

makes the environment, where there is none, from `requirements.txt` and this checkout, runs `gradcheck-lab campaign plan`, `run`
and `report` on the files beside this one, and prints the table of `table.py`. What is killed goes on by the same command.
`--only entmax,timm` plans the files of these packages alone; `--store` writes `found.json` anew, of which the page's table is
made.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from table import STORED, found_in, lines_of, store, unexplained

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def environment_at(folder: Path) -> Path:
    """The interpreter of the environment, which is made where there is none; one that was left half made is completed."""
    python, whole = folder / "bin" / "python", folder / "installed"
    if not whole.exists():
        if not python.exists():
            venv.create(folder, with_pip=True)
        pip = [str(python), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "--constraint", str(ROOT / "constraints.txt"), str(ROOT)], check=True)
        # without their dependencies, some of which are CUDA builds or pins of older versions; these are listed too
        subprocess.run([*pip, "--no-deps", "--requirement", str(HERE / "requirements.txt")], check=True)
        whole.touch()
    return python


def files_of(only: str) -> list[str]:
    """The files of calls, by their paths in the checkout; those whose names begin with one of `only`, which commas part."""
    files = [file for file in sorted(HERE.glob("*_calls.py")) if file.stem.startswith(tuple(only.split(",")))]
    if not files:
        raise SystemExit(f"no file of calls begins with {only!r}; pass --only with the beginning of one, such as entmax")
    return [str(file.relative_to(ROOT)) for file in files]


def campaign(python: Path, *arguments: str, out: Path | None = None) -> int:
    """Run a command of `gradcheck-lab campaign` at the root of this checkout, whose code it runs; return its exit code."""
    command = [str(python), "-W", "ignore", "-m", "gradcheck_lab", "campaign", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    if out is None:
        return subprocess.run(command, cwd=ROOT, env=environment).returncode
    with out.open("w") as file:
        return subprocess.run(command, cwd=ROOT, env=environment, stdout=file).returncode


def run(python: Path, files: Sequence[str], manifest: Path, timeout: int, jobs: int) -> None:
    """Plan the files, run what has no result yet, and write the page; results are beside the manifest."""
    pins = str((HERE / "requirements.txt").relative_to(ROOT))  # some packages are run by their files, which no import shows
    if campaign(python, "plan", *files, "--source", pins, "--timeout", str(timeout), out=manifest):
        raise SystemExit("the campaign could not be planned")
    if campaign(python, "run", str(manifest), "--jobs", str(jobs)) == 2:
        raise SystemExit("the campaign could not be run")
    campaign(python, "report", str(manifest))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True, help="the folder of the manifest, the results and the page")
    parser.add_argument("--only", default="", metavar="PACKAGE,...")
    parser.add_argument("--timeout", type=int, default=600, help="seconds for each object")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--store", action="store_true")
    options = parser.parse_args()
    python = environment_at(options.environment.resolve())
    options.results.mkdir(parents=True, exist_ok=True)
    manifest = options.results.resolve() / "packages.jsonl"
    run(python, files_of(options.only), manifest, options.timeout, options.jobs)
    found = found_in(manifest)
    print("\n".join(lines_of(found)))
    for text in unexplained(found):
        print(text, file=sys.stderr)
    if options.store:
        store(found, STORED)


if __name__ == "__main__":
    main()
