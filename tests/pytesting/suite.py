"""Test files that the tests of the pytest plugin run, and what they share."""

import importlib
import pkgutil

import pytest
import rich.table
import rich.text  # noqa: F401
import torch

from gradcheck_lab import pytesting
from gradcheck_lab.fuzz import fuzz
from gradcheck_lab.ops import relu
from gradcheck_lab.render import html  # noqa: F401
from gradcheck_lab.rules.op import Op

# a run within this process drops the modules that it was the first to import (also rich, whose console is cached), and a module
# that is imported again has other classes
for module in pkgutil.iter_modules(pytesting.__path__):
    importlib.import_module(f"{pytesting.__name__}.{module.name}")
fuzz(Op(torch.relu, lambda grad_output, output, x: (2 * grad_output,), specs=relu.specs), max_examples=5)

HEAD = """
import pytest
import rich.table
import rich.text  # noqa: F401
import torch
import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.specs import real

doubled = gl.Op(torch.relu, lambda g, output, x: (2 * g * (x > 0),), name="doubled", specs=(real("n d"),))
"""
# right as given, wrong for an upstream gradient with other strides
STRIDED = """
def strided_backward(g, output, x):
    return (g.as_strided(x.shape, x.contiguous().stride()) * (x > 0),)

strided = gl.Op(torch.relu, strided_backward, name="strided", specs=(real("n d"),))
"""


def run(pytester: pytest.Pytester, body: str, *arguments: str) -> pytest.RunResult:
    """Run a test file, with what `HEAD` defines before it, in this process."""
    pytester.makepyfile(HEAD + body)
    return pytester.runpytest("-p", "no:cacheprovider", *arguments)
