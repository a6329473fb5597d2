"""What the cases of a campaign of the command line are: planned from modules and folders, each in a worker, and checked."""

from __future__ import annotations

import inspect
import itertools
import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gradcheck_lab.calls.placement import refuse_no_device
from gradcheck_lab.campaigns.cases import Answer, Case
from gradcheck_lab.campaigns.manifest import Plan
from gradcheck_lab.campaigns.results import results_in
from gradcheck_lab.campaigns.shards import with_durations
from gradcheck_lab.campaigns.sources import Source, installed_modules, source_of, versions_of
from gradcheck_lab.commands.check import CheckJob, Probing
from gradcheck_lab.commands.check_processes import in_worker
from gradcheck_lab.discovery.description import forward_of
from gradcheck_lab.discovery.folder import folder_of, is_folder
from gradcheck_lab.discovery.partners import subject_at
from gradcheck_lab.discovery.scan import names_of
from gradcheck_lab.discovery.targets import DTYPES, import_module, listed, public, read_option
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.arguments import refuse_names
from gradcheck_lab.model.shown import quoted
from gradcheck_lab.workers.apart import Limits

PROBES: tuple[Probing, ...] = ("all", "compare")


@dataclass(frozen=True, slots=True)
class Axes:
    """What each object is checked in: every combination of a dtype, a device, a value of each option, and probes.

    `options` are texts such as "p=2"; several of one key are values of that option, and an object gets those that its forward
    takes. `also` are files and folders that the code reads. Raises `InvalidArgument` for what no check takes.
    """

    dtypes: Sequence[str] = ()
    devices: Sequence[str] = ()
    options: Sequence[str] = ()
    probes: Sequence[str] = ()
    seed: int = 0
    limits: Limits = field(default_factory=Limits)
    also: Sequence[str] = ()

    def __post_init__(self) -> None:
        refuse_names("dtype", self.dtypes, DTYPES)
        refuse_names("probes", self.probes, PROBES)
        for device in self.devices:
            try:
                refuse_no_device(device)
            except ValueError as error:
                raise InvalidArgument(str(error)) from error
        for text in self.options:
            read_option(text)

    def cases(self, target: str, taken: Collection[str] | None, source: str) -> Iterator[Case]:
        """The cases of one object whose forward takes the options `taken`, None for any."""
        values: dict[str, list[str]] = {}
        for text in self.options:
            key = read_option(text)[0]
            if taken is None or key in taken:
                values.setdefault(key, []).append(text)
        dtypes, devices = self.dtypes or (None,), self.devices or ("cpu",)
        for dtype, device, chosen, probes in itertools.product(
            dtypes, devices, itertools.product(*values.values()), self.probes or ("all",)
        ):
            yield Case(
                target, dtype, device, chosen, "compare" if probes == "compare" else "all", self.seed, self.limits.seconds,
                self.limits.memory, source,
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Described:
    """What a module has to check: the options that the forward of each takes, None for any, and the source of all."""

    taken: dict[str, tuple[str, ...] | None]
    public: str
    source: Source


@dataclass(frozen=True, slots=True)
class Planned:
    """The cases, what they depend on, and why some modules have none."""

    plan: Plan
    cases: tuple[Case, ...]
    refused: Mapping[str, str]


def plan_cases(targets: Sequence[str], axes: Axes, durations: Sequence[Path] = ()) -> Planned:
    """Plan a case for each object of the modules and folders, on each combination of the axes.

    Each module is imported in a worker process. `durations` are files of results of earlier campaigns, which say how long cases
    take. A module that cannot be imported has no case, which `refused` says. Raises `InvalidArgument` where there is no case,
    and for an option that no object takes.
    """
    found: dict[str, Described] = {}
    refused: dict[str, str] = {}
    for target in targets:
        for module in _modules(target):
            try:
                found[module] = in_worker(
                    described, (module, installed_modules(), tuple(axes.also)), Described, module, axes.limits
                )
            except InvalidArgument as error:
                if not is_folder(target):
                    raise
                refused[module] = str(error)
    versions = versions_of({name for each in found.values() for name in each.source.installed})
    cases: dict[str, Case] = {}
    for module, each in found.items():
        source = each.source.digest(versions)
        for name, taken in each.taken.items():
            cases |= {case.key: case for case in axes.cases(f"{module.partition(':')[0]}:{name}", taken, source)}
    _refuse_nothing(targets, found, refused)
    _refuse_untaken(axes, found)
    seconds = {result.name: result.seconds for result, _ in results_in(durations)}
    files = {name: digest for each in found.values() for name, digest in each.source.files.items()}
    return Planned(Plan(files, versions), tuple(with_durations(list(cases.values()), seconds)), refused)


def described(target: str, installed: frozenset[str], also: tuple[str, ...]) -> Described:
    """What a module, or one object `module:name`, has to check. It is imported in this process, a new one."""
    os.dup2(2, 1)  # what the module prints is no line of the manifest
    module_name, colon, name = target.partition(":")
    before = set(sys.modules)
    module = import_module(module_name)
    loaded = set(sys.modules) - before
    names = [name] if colon else names_of(module)
    taken = {each: _options_of(f"{module_name}:{each}") for each in names}
    return Described(taken, listed(public(module)), source_of(getattr(module, "__file__", None), loaded, installed, also))


def check_case(case: Case) -> Answer:
    """Check a case in this process, as the command `check` does."""
    done = CheckJob(
        case.target, seed=case.seed, dtype=case.dtype, options=case.options, device=case.device, probes=case.probes
    ).run()  # fmt: skip
    return Answer(done.report, done.why)


def _modules(target: str) -> Sequence[str]:
    """The modules of a target: a module, an object of one, or the files of a folder."""
    if is_folder(target):
        return folder_of(target).files
    module, colon, name = target.partition(":")
    if colon and not (module and name):
        raise InvalidArgument(f"{target!r} names nothing to check; write it as pkg.module:name, or a module or folder")
    return [target]


def _options_of(target: str) -> tuple[str, ...] | None:
    """The names that the forward of an object takes by keyword; None for any. An object without a forward takes none."""
    forward = forward_of(subject_at(target))
    if forward is None:
        return ()
    try:
        parameters: Collection[Any] = inspect.signature(forward).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return None
    return tuple(each.name for each in parameters if each.kind in (each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD))


def _refuse_nothing(targets: Sequence[str], found: Mapping[str, Described], refused: Mapping[str, str]) -> None:
    for target in targets:
        if not is_folder(target) and not found[target].taken:
            what = "no op, autograd Function, custom op, layer or module"
            raise InvalidArgument(f"the module {target!r} defines {what}; it has {found[target].public}")
    if not any(each.taken for each in found.values()) and not refused:
        raise InvalidArgument(f"nothing of {', '.join(map(quoted, targets))} can be checked; name modules or folders that can")


def _refuse_untaken(axes: Axes, found: Mapping[str, Described]) -> None:
    taken = [names for each in found.values() for names in each.taken.values()]
    for text in axes.options:
        key = read_option(text)[0]
        if not any(names is None or key in names for names in taken):
            raise InvalidArgument(f"no object of the plan takes the option {key!r}; leave --option {text} out")
