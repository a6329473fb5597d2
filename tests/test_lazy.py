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


CHECKED = """
import sys, types
sys.modules["pytest"] = None
import torch, gradcheck_lab as gl
for name in gl.__all__:
    assert not isinstance(getattr(gl, name), types.ModuleType), f"{name} is a module"
print(*[name for name in gl.__all__ if not callable(getattr(gl, name))])
for probes in ((), gl.ALL):
    assert gl.check(gl.ops.relu, torch.randn(4, 3).double(), probes=probes).verdict == "pass"
print(gl.specs.__name__, "hypothesis" in sys.modules)
heavy = ("torch._dynamo", "torch.testing._internal.optests", "gradcheck_lab.subjects.operator_checks")
print("imported:", *[name for name in sys.modules if name.startswith(heavy)])
print(gl.strategies.__name__)
for module in ("check", "compare", "rules.op"):
    for known in [known for known in sys.modules if known.partition(".")[0] == "gradcheck_lab"]:
        del sys.modules[known]
    __import__(f"gradcheck_lab.{module}")
    found = getattr(sys.modules["gradcheck_lab"], module.rpartition(".")[2])
    print(module, type(found).__name__)
"""


def test_check_in_a_new_process_imports_neither_hypothesis_nor_pytest_nor_a_compiler() -> None:
    """Every public name is there on first use, and no module shadows the function of its name, whichever comes first."""
    done = run("-c", CHECKED)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "ALL",
        "gradcheck_lab.specs False",
        "imported:",
        "gradcheck_lab.strategies",
        "check function",
        "compare function",
        "rules.op function",
    ]
