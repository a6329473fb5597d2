"""The notebooks in examples/ run, and their cells show what is stored in them."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).parent.parent / "examples"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
# what depends on the machine: how rounding fell, what training came to, and durations
ROUNDED = re.compile(r"-?\b\d+(?:\.\d+)?(?:e[+-]?\d+)?(?= s\b| %)|-?\b\d+\.\d+(?:e[+-]?\d+)?|-?\b\d+e[+-]\d+|\[\d+(?:, \d+)*\]")
ROW = re.compile(r"^( *'\S+' .*? (?:pass|fail|inconclusive)) .*$", re.MULTILINE)
ASSURANCE = re.compile(r"^ *would have caught.*$", re.MULTILINE)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script that runs notebooks, which needs a kernel; nothing of that is kept."""
    for module in ("nbformat", "nbclient", "ipykernel"):
        pytest.importorskip(module, reason=f"no {module} to run notebooks with; pip install 'gradcheck_lab[test]'")
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parent))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as in conftest.py: other tests have the other cores
    spec = importlib.util.spec_from_file_location("run_examples", FOLDER / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def texts(notebook: Any) -> Iterator[tuple[str, str]]:
    """The text of each output, by the cell that it belongs to."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            text = output.get("text") or output.get("data", {}).get("text/plain", "")
            yield cell["id"], shortened("".join(text))


def shortened(text: str) -> str:
    """What a cell says, without numbers that another machine rounds otherwise."""
    text = ROUNDED.sub("#", ASSURANCE.sub("", ROW.sub(r"\1", text)))
    return "\n".join(" ".join(line.split()) for line in text.splitlines())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_show_what_is_stored(path: Path, run: ModuleType) -> None:
    stored = run.nbformat.read(path, as_version=4)
    assert list(texts(run.executed(path))) == list(texts(stored))
    assert stored.metadata == run.METADATA


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_mistake_is_shown_before_it_is_mended(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.index(": fail - ") < text.rindex(": pass - ")
    assert not re.search(r"/(?:home|root|tmp|usr|work)/|ipykernel_\d|\"execution\"", text)
    assert len(text) < 50_000


def test_numbers_of_the_machine_are_left_out() -> None:
    row = "  'h' (dh)  (32, 64)  float32  pass     1.9e-09        0.1\n  compared: 5 gradients\n"
    assert shortened(row) == "'h' (dh) (32, 64) float32 pass\ncompared: 5 gradients"
    assert shortened("loss 0.09, 95 % right, at [3, 1]: 2 wrong") == "loss #, # % right, at #: 2 wrong"
