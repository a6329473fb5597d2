"""The package itself: its public names."""

from __future__ import annotations

import importlib
import subprocess
import sys
import types

import pytest

import gradcheck_lab as gl


@pytest.mark.parametrize("name", gl.__all__)
def test_public_name_is_no_module(name: str) -> None:
    assert not isinstance(getattr(gl, name), types.ModuleType)


@pytest.mark.parametrize("module", ["check", "compare", "rules.op"])
def test_importing_a_submodule_first_leaves_the_function_of_its_name(module: str) -> None:
    name = module.rpartition(".")[2]
    code = f"import gradcheck_lab.{module}, gradcheck_lab as gl; assert not isinstance(gl.{name}, type(gl)), gl.{name}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'gradcheck_lab' has no attribute 'chekc'"):
        importlib.import_module("gradcheck_lab").chekc  # noqa: B018
