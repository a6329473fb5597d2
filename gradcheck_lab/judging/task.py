"""The task: a trusted file with the reference, the inputs that it takes, and what a candidate may not do."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from gradcheck_lab import specs
from gradcheck_lab.calls.kinds import KINDS
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.judging.worker.messages import PLAIN
from gradcheck_lab.model.shown import quoted
from gradcheck_lab.model.user_errors import class_and_line
from gradcheck_lab.specs import Spec

_NUMBERS = itertools.count()


@dataclass(frozen=True, slots=True)
class Task:
    """What a candidate has to compute.

    `reference(*inputs, **options)` is in plain torch, `specs` has one spec for each input. Each of `options` is tried, in each
    of `dtypes`. `tolerance_dtype`, where there is one, is the dtype whose rounding the results may have. `forbidden` are the
    overload packets, as aten.convolution_backward, that a candidate may not call.
    """

    path: Path
    reference: Any
    specs: tuple[Spec, ...]
    names: tuple[str, ...]
    options: tuple[dict[str, Any], ...] = ({},)
    dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.float64)
    tolerance_dtype: torch.dtype | None = None
    forbidden: tuple[str, ...] = ()

    def within_specs(self, *inputs: Any, **options: Any) -> Any:
        """What the reference returns. Raises `InvalidArgument` for inputs that are none of the specs."""
        if len(inputs) != len(self.specs):
            raise InvalidArgument(f"{len(inputs)} inputs for {len(self.specs)} specs")
        sizes = specs.bind(self.specs, [tuple(value.shape) for value in inputs], self.names)
        for spec, value, name in zip(self.specs, inputs, self.names, strict=True):
            if not _is_of(spec, value.detach(), sizes):
                raise InvalidArgument(f"{name!r} has values that are not of {spec}")
        return self.reference(*inputs, **options)


def _is_of(spec: Spec, value: torch.Tensor, sizes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether the values of a tensor are those that a spec draws."""
    if spec.kind in ("labels", "integers"):
        low, high = (0, sizes[spec.classes][0]) if spec.classes is not None else (spec.low, spec.high)
        return bool(((value >= low) & (value < high)).all())
    contains = KINDS[spec.kind].contains
    return contains is None or not value.is_floating_point() or bool(contains(value).all())


def load_task(path: Any) -> Task:
    """Import a task file. Raises `InvalidArgument` that says what is missing or wrong in it."""
    file = Path(path)
    module = _imported(file)
    reference = getattr(module, "reference", None)
    if not callable(reference):
        raise InvalidArgument(f"{file.name} has no reference; define reference(*inputs, **options) in plain torch")
    wanted = getattr(module, "specs", None)
    if isinstance(wanted, (str, Spec)):
        wanted = (wanted,)
    if not isinstance(wanted, Sequence) or not wanted:
        raise InvalidArgument(f'{file.name} has no specs; define specs = (real("n d"), ...), one for each input')
    found = tuple(specs.parse(each) if isinstance(each, str) else each for each in wanted)
    if not all(isinstance(each, Spec) for each in found):
        raise InvalidArgument(f'specs of {file.name} is {quoted(wanted)}; make it of specs such as real("n d")')
    return Task(
        file, reference, found, _names(reference, len(found)), _options(file, module), _dtypes(file, module),
        _tolerance(file, module), _forbidden(file, module),
    )  # fmt: skip


def _imported(file: Path) -> ModuleType:
    if not file.is_file():
        raise InvalidArgument(f"there is no task file {file}")
    spec = spec_from_file_location(f"judged_task_{next(_NUMBERS)}", file)
    if spec is None or spec.loader is None:
        raise InvalidArgument(f"{file.name} is no Python file; a task is one, as task.py")
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InvalidArgument(f"{file.name} cannot be imported: {class_and_line(error)}") from error
    return module


def _names(reference: Any, count: int) -> tuple[str, ...]:
    """The names of the inputs, as the reference calls them."""
    try:
        parameters = [p for p in inspect.signature(reference).parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD,)]
    except (TypeError, ValueError):
        parameters = []
    names = [parameter.name for parameter in parameters[:count]]
    return tuple(names + [f"input_{index}" for index in range(len(names), count)])


def _options(file: Path, module: ModuleType) -> tuple[dict[str, Any], ...]:
    value = getattr(module, "options", {})
    several = value if isinstance(value, (list, tuple)) else [value]
    if not several or not all(isinstance(each, Mapping) and all(isinstance(name, str) for name in each) for each in several):
        raise InvalidArgument(f"options of {file.name} is {quoted(value)}; make it a dict by keyword, or a list of such dicts")
    for name, option in (item for each in several for item in each.items()):
        if not _can_be_sent(option):
            raise InvalidArgument(
                f"option {name!r} of {file.name} is {quoted(option)}, which cannot be sent to another process; "
                "make it a number, a string, a dtype, a tensor, an array, or a container of these"
            )
    return tuple(dict(each) for each in several)


def _can_be_sent(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_can_be_sent, value))
    if isinstance(value, dict):
        return all(type(key) in (str, int) for key in value) and all(map(_can_be_sent, value.values()))
    return isinstance(value, (torch.Tensor, np.ndarray, np.generic)) or type(value) in PLAIN


def _dtypes(file: Path, module: ModuleType) -> tuple[torch.dtype, ...]:
    value = getattr(module, "dtypes", Task.__dataclass_fields__["dtypes"].default)
    several = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if not several or not all(isinstance(each, torch.dtype) and each.is_floating_point for each in several):
        raise InvalidArgument(f"dtypes of {file.name} is {quoted(value)}; make it floating dtypes, as (torch.float32,)")
    return several


def _tolerance(file: Path, module: ModuleType) -> torch.dtype | None:
    value = getattr(module, "tolerance_dtype", None)
    if value is not None and not (isinstance(value, torch.dtype) and value.is_floating_point):
        raise InvalidArgument(f"tolerance_dtype of {file.name} is {quoted(value)}; make it a floating dtype, as torch.bfloat16")
    return value


def _forbidden(file: Path, module: ModuleType) -> tuple[str, ...]:
    value = getattr(module, "forbidden", ())
    several = (value,) if isinstance(value, str) else tuple(value)
    for each in several:
        space, _, name = str(each).removeprefix("torch.ops.").partition(".")
        if not name or "." in name or not hasattr(getattr(torch.ops, space), name):
            raise InvalidArgument(
                f"forbidden of {file.name} names {quoted(each)}, which torch.ops has not; "
                'name an overload packet, as "aten.convolution_backward"'
            )
    return tuple(str(each).removeprefix("torch.ops.") for each in several)
