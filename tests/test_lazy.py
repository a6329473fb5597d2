"""Importing the package, and the parts that need no tensors, leaves torch unimported."""

import subprocess
import sys

HEAVY = ("torch", "numpy", "hypothesis", "rich", "typer", "sklearn", "matplotlib")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


def test_import_time_shows_no_torch() -> None:
    done = run("-X", "importtime", "-c", "import gradcheck_lab")
    assert done.returncode == 0, done.stderr
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert "gradcheck_lab" in imported
    assert not [name for name in imported if name.split(".")[0] in HEAVY]


def test_parts_without_tensors_leave_torch_alone() -> None:
    code = (
        "import sys, gradcheck_lab.errors, gradcheck_lab.specs, gradcheck_lab.report; "
        f"print('check' in dir(gradcheck_lab), *[name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = run("-c", code)
    assert done.stdout.split() == ["True"], done.stderr


def test_every_public_name_is_found_on_first_use_without_hypothesis() -> None:
    code = (
        "import sys, torch, gradcheck_lab as gl; "
        "print(*[name for name in gl.__all__ if not callable(getattr(gl, name))]); "
        "assert gl.check(gl.ops.relu, torch.ones(2), probes=()).verdict == 'pass'; "
        "print(gl.specs.__name__, 'hypothesis' in sys.modules, gl.strategies.__name__)"
    )
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "ALL",
        "gradcheck_lab.specs False gradcheck_lab.strategies",
    ]
