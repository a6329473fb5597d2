"""The package itself: its public names."""

from __future__ import annotations

import importlib
import types

import pytest

import gradcheck_lab as gl


def test_public_names_are_no_modules() -> None:
    for name in gl.__all__:
        assert not isinstance(getattr(gl, name), types.ModuleType), f"{name} is a module"


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'gradcheck_lab' has no attribute 'chekc'"):
        importlib.import_module("gradcheck_lab").chekc  # noqa: B018
