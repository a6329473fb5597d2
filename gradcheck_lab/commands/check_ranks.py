"""The command `gradcheck-lab check pkg.module:function --world 2`: one check of a function that several ranks compute."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from gradcheck_lab.check_distributed import check_distributed
from gradcheck_lab.discovery.description import specs_of
from gradcheck_lab.discovery.partners import subject_at
from gradcheck_lab.discovery.targets import NoSpecs, check_command, locate, module_name_of, read_option
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.report import Report


@dataclass(frozen=True, slots=True)
class RanksJob:
    """One check of the command line, of `world` ranks; the texts are those of its options."""

    target: str
    world: int
    specs: tuple[str, ...] = ()
    placements: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    wrt: tuple[str, ...] = ()
    reference: str | None = None
    seed: int = 0
    timeout: float | None = None

    @property
    def command(self) -> str:
        """The command that runs it again."""
        words = ["--world", str(self.world)]
        words += [word for value in self.placements for word in ("--placement", value)]
        words += ["--reference", self.reference] if self.reference is not None else []
        words += ["--timeout", f"{self.timeout:g}"] if self.timeout is not None else []
        known = check_command(self.target, self.specs, self.seed, None, self.options, self.allow, 1, self.wrt)
        return f"{known} {shlex.join(words)}"

    def run(self) -> Report:
        """Run it. Raises `InvalidArgument` for what cannot be found or checked."""
        module, _, name = self.target.partition(":")
        function = subject_at(self.target)
        specs: Sequence[Any] = self.specs or specs_of(function, module_name_of(module), name)
        if not specs:
            raise NoSpecs(self.target)
        asked: dict[str, Any] = {} if self.timeout is None else {"timeout": self.timeout}
        report = check_distributed(
            function,
            *specs,
            world_size=self.world,
            placement=_placements(self.placements),
            reference=None if self.reference is None else locate(self.reference),
            options=dict(read_option(text) for text in self.options),
            allow=set(self.allow),
            wrt=[int(each) if each.isdigit() else each for each in self.wrt] or None,
            seed=self.seed,
            **asked,
        )
        return report if report.verdict == "pass" else replace(report, reproduce=self.command)


def _placements(texts: Sequence[str]) -> dict[str | int, Any] | None:
    """The placements by name, of "x=shard:0"; those of several outputs are in order, of "output=partial" more than once."""
    found: dict[str | int, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise InvalidArgument(
                f"the placement {text!r} cannot be read; write it as x=shard:0, w=replicate or output=partial"
            )
        key = int(name) if name.isdigit() else name
        if key == "output":
            found.setdefault(key, []).append(value)
        elif key in found:
            raise InvalidArgument(f"{name!r} is placed twice, as {found[key]} and as {value}; leave one out")
        else:
            found[key] = value
    return found or None
