"""A task and candidates that a test writes itself."""

from __future__ import annotations

from pathlib import Path

TASK = """
import torch
from gradcheck_lab.specs import real

specs = (real("n d"), real("d"))
options = {"eps": 1e-5}
forbidden = ("aten.rms_norm", "aten._fused_rms_norm")

def reference(x, weight, eps=1e-5):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight
"""
SOUND = """
def candidate(x, weight, eps):
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight
"""


def task_in(folder: Path, text: str = TASK) -> Path:
    """Write a task file into a folder of its own."""
    path = folder / "assignment" / "root_mean_square.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def candidate_in(folder: Path, text: str = SOUND, name: str = "answer") -> Path:
    """Write a candidate file."""
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    return path
