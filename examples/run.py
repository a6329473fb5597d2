"""Run the notebooks of this folder and write them anew, with what their cells show.

`python examples/run.py` runs all, `python examples/run.py manual_backprop` one. It needs `pip install 'gradcheck_lab[test]'`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
# nothing of the machine that ran it
METADATA = {
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python"},
}


def executed(path: Path) -> Any:
    """The notebook with what its cells show now, run in a kernel of its own."""
    notebook = nbformat.read(path, as_version=4)
    quiet = ["--log-level=ERROR"]
    client = NotebookClient(notebook, kernel_name="python3", timeout=300, record_timing=False, extra_arguments=quiet)
    client.execute()
    notebook.metadata = METADATA
    return notebook


def main(names: list[str]) -> None:
    """Run the named notebooks, or all, and write them."""
    for path in NOTEBOOKS:
        if not names or path.stem in names:
            nbformat.write(executed(path), path)
            print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
