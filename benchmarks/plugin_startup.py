"""What the pytest plugin adds to a run that has nothing to do with gradients: milliseconds, and the modules that it imports.

Imports the plugin into a process that has pytest, and runs one empty test with it and with `-p no:gradcheck`, each in a
fresh process. Other work on the machine only ever adds time, so the least processor times count; those of whole runs need an
idle machine to differ by the plugin alone.
Run it as `python benchmarks/plugin_startup.py`.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMIT = 20.0
WITHOUT = ("-p", "no:gradcheck")
HEAVY = ("torch", "numpy", "hypothesis")
SHOWN = f"""
import sys

def pytest_unconfigure(config):
    ours = [name for name in sys.modules if name.startswith("gradcheck_lab")]
    print("imported:", ", ".join(sorted(ours)) or "nothing of gradcheck_lab")
    print("heavy:", ", ".join(name for name in {HEAVY!r} if name in sys.modules) or "none")
"""


def pytest_run(folder: Path, *arguments: str) -> str:
    """What a run of the empty test prints, in a fresh process; Hypothesis's own plugin stays out of both sides."""
    others = [word for name in ("cacheprovider", "hypothesispytest", "jaxtyping") for word in ("-p", f"no:{name}")]
    command = [sys.executable, "-m", "pytest", "-q", *others, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def import_milliseconds(runs: int) -> float:
    """The least processor time of importing the plugin into a process that has pytest."""
    timed = "start = time.process_time(); import gradcheck_lab.pytest_plugin; print(1000 * (time.process_time() - start))"
    command = [sys.executable, "-c", f"import time, pytest; {timed}"]
    return min(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(runs))


def milliseconds(folder: Path, *arguments: str) -> tuple[float, float]:
    """Processor and wall milliseconds of one run."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    pytest_run(folder, *arguments)
    after, end = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return 1000 * used, 1000 * (end - start)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=30, help="pairs of runs")
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_empty.py").write_text("def test_empty():\n    pass\n", encoding="utf-8")
        for arguments in ((), WITHOUT):
            milliseconds(folder, *arguments)
        pairs = [(milliseconds(folder), milliseconds(folder, *WITHOUT)) for _ in range(runs)]
        (folder / "conftest.py").write_text(SHOWN, encoding="utf-8")
        shown = [line for line in pytest_run(folder).splitlines() if line.startswith(("imported:", "heavy:"))]
    imported = import_milliseconds(runs)
    print(f"importing the plugin: {imported:.1f} ms, {imported / LIMIT:.2f} of the {LIMIT:.0f} ms allowed, the least of {runs}")
    for what, kind in (("processor", 0), ("wall", 1)):
        ours, theirs = min(a[kind] for a, _ in pairs), min(b[kind] for _, b in pairs)
        print(f"{what} time: {ours:.0f} ms with the plugin, {theirs:.0f} ms without, the least of {runs} runs each")
        print(f"  added {ours - theirs:.1f} ms, {(ours - theirs) / LIMIT:.2f} of the {LIMIT:.0f} ms allowed")
    print("\n".join(shown))


if __name__ == "__main__":
    main()
