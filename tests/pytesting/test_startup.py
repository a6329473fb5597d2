"""Loading the plugin: it imports next to nothing, and a run that checks no gradient stays as it was."""

import subprocess
import sys
from pathlib import Path

HEAVY = ("torch", "numpy", "hypothesis", "rich", "typer")
CONFTEST = """
import sys

def pytest_unconfigure(config):
    with open("modules.txt", "w") as file:
        file.write("\\n".join(sys.modules))
"""
# what is imported when nothing of the plugin is used: hooks, options, and the bridge to the rest
LIGHT = {
    "gradcheck_lab",
    "gradcheck_lab.model",
    "gradcheck_lab.model.observers",
    "gradcheck_lab.pytest_plugin",
    "gradcheck_lab.pytesting",
    "gradcheck_lab.pytesting.lazy",
    "gradcheck_lab.pytesting.options",
    "gradcheck_lab.version",
}


def modules(folder: Path, *arguments: str) -> set[str]:
    """The modules of a run in a process of its own, without the plugins of Hypothesis and jaxtyping, which import much."""
    (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (folder / "test_empty.py").write_text("def test_empty():\n    pass\n", encoding="utf-8")
    others = [word for name in ("cacheprovider", "hypothesispytest", "jaxtyping") for word in ("-p", f"no:{name}")]
    command = [sys.executable, "-m", "pytest", "-q", *others, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "gradcheck" not in done.stdout
    return set((folder / "modules.txt").read_text(encoding="utf-8").split())


def test_unrelated_run_imports_only_the_hooks(tmp_path: Path) -> None:
    found = modules(tmp_path)
    assert {name for name in found if name.partition(".")[0] == "gradcheck_lab"} == LIGHT
    assert not [name for name in HEAVY if name in found]


def test_options_alone_import_no_torch(tmp_path: Path) -> None:
    found = modules(tmp_path, "--gradcheck-seed=1", "--gradcheck-dtype=float32", "--gradcheck-examples=3")
    assert "gradcheck_lab.pytesting.settings" in found
    assert not [name for name in HEAVY if name in found]


def test_plugin_can_be_left_out(tmp_path: Path) -> None:
    assert not [name for name in modules(tmp_path, "-p", "no:gradcheck") if name.startswith("gradcheck_lab")]
