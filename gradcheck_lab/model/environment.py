"""The versions that a figure depends on."""

from __future__ import annotations

import platform
import sys

import torch

from gradcheck_lab.version import __version__


def environment() -> dict[str, str]:
    """The versions that a figure depends on."""
    return {
        "gradcheck_lab": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "platform": sys.platform,
    }
