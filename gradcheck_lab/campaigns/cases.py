"""A case of a campaign: one check, as plain data whose hash says whether anything that it depends on has changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from gradcheck_lab.model.conversion import as_dict
from gradcheck_lab.report import Report

Probing = Literal["all", "compare"]
NOT_CHECKED = "not-checked"  # the verdict of a case without a report
_EXPECTED = "seconds"  # of a case, and not part of its hash
_KEY_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Case:
    """One check: the object, the axes on which it lies, and the settings; the fields are those of the command `check`.

    `dtype` None leaves the choice to the check. `timeout` is in seconds, `memory` in bytes, None for no limit. `source` is the
    digest of the code that the case depends on: see `gradcheck_lab.campaigns.sources`. `seconds` is how long the case took in
    an earlier campaign, None where that is not known.
    """

    target: str
    dtype: str | None = None
    device: str = "cpu"
    options: tuple[str, ...] = ()
    probes: Probing = "all"
    seed: int = 0
    timeout: float | None = None
    memory: int | None = None
    source: str = ""
    seconds: float | None = None

    @property
    def key(self) -> str:
        """The hash of all that the result depends on.

        >>> Case("layers:relu").key == Case("layers:relu", seconds=3.0).key
        True
        >>> Case("layers:relu").key == Case("layers:relu", source="another").key
        False
        """
        fields = {name: value for name, value in as_dict(self).items() if name != _EXPECTED}
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:_KEY_DIGITS]

    @property
    def module(self) -> str:
        """The module of the object, by its name or the path of its file."""
        return self.target.partition(":")[0]

    @property
    def name(self) -> str:
        """What the case is called: the same in every campaign, whatever its code is.

        >>> Case("layers:relu", "float32", options=("p=2",)).name
        'layers:relu float32 p=2'
        """
        device = () if self.device == "cpu" else (self.device,)
        dtype = () if self.dtype is None else (self.dtype,)
        probes = () if self.probes == "all" else (self.probes,)
        seed = () if self.seed == 0 else (f"seed {self.seed}",)
        return " ".join((self.target, *dtype, *device, *self.options, *probes, *seed))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a check of a case gives: its report, or why there is none."""

    report: Report | None
    why: str = ""


# a function of a module, called in a worker process
CheckCase = Callable[[Case], Answer]


@dataclass(frozen=True, slots=True)
class Finished:
    """A case with its result: a report as JSON-safe data, or why it could not be checked, and the seconds that it took."""

    case: Case
    report: dict[str, Any] | None
    why: str
    seconds: float

    @property
    def verdict(self) -> str:
        """That of the report, or `not-checked`."""
        return NOT_CHECKED if self.report is None else str(self.report["verdict"])
