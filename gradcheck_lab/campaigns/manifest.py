"""The manifest of a campaign: JSON lines, first what the plan depended on, then a case each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from gradcheck_lab.campaigns.cases import Case
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.conversion import as_dict, from_dict
from gradcheck_lab.model.shown import quoted

SCHEMA = 1
_FIX = "write it with gradcheck-lab campaign plan"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is known of the files and versions that the cases depend on: the hash of each file, and the text of each version."""

    files: dict[str, str]
    versions: dict[str, str]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The cases in the order of the plan, each once, and what they depend on."""

    path: Path
    plan: Plan
    cases: tuple[Case, ...]

    @property
    def results(self) -> Path:
        """The file of results that belongs to it: `campaign.results.jsonl` beside `campaign.jsonl`."""
        return self.path.with_name(f"{self.path.stem}.results.jsonl")

    def shard_results(self, index: int, count: int) -> Path:
        """The file of results of one shard of several."""
        return self.path.with_name(f"{self.path.stem}.results.{index}-of-{count}.jsonl")

    @property
    def every_results(self) -> list[Path]:
        """All files of results beside it: its own, then those of shards."""
        shards = sorted(self.path.parent.glob(f"{_literal(self.path.stem)}.results.*-of-*.jsonl"))
        return [path for path in (self.results, *shards) if path.is_file()]


def manifest_lines(plan: Plan, cases: Sequence[Case]) -> Iterator[str]:
    """The lines of a manifest, without their ends."""
    yield json.dumps({"campaign": SCHEMA, **as_dict(plan)}, sort_keys=True)
    for case in cases:
        yield json.dumps({"case": case.key, **_written(case)})


def read_manifest(path: Path) -> Manifest:
    """Read a manifest. Manifests written one after the other into one file are one.

    Raises `InvalidArgument` for a file that cannot be read, a line that is no case, and a case whose hash is not that of what
    it says, as somebody changed it by hand.
    """
    name = quoted(str(path))
    files: dict[str, str] = {}
    versions: dict[str, str] = {}
    cases: dict[str, Case] = {}
    planned = False
    try:
        with path.open(encoding="utf-8") as lines:
            for number, text in enumerate(lines, 1):
                entry = _entry(text, f"line {number} of {name}")
                if "campaign" in entry:
                    plan = _plan(entry, f"line {number} of {name}")
                    files, versions, planned = {**files, **plan.files}, {**versions, **plan.versions}, True
                elif entry:
                    case = _case(entry, f"line {number} of {name}")
                    cases[case.key] = case
    except OSError as error:
        raise InvalidArgument(f"cannot read {name}: {error.strerror}; {_FIX}") from error
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"{name} is no UTF-8 text; {_FIX}") from error
    if not planned:
        raise InvalidArgument(f"{name} is no manifest; {_FIX}")
    return Manifest(path, Plan(files, versions), tuple(cases.values()))


def _entry(text: str, where: str) -> dict[str, Any]:
    if not text.strip():
        return {}
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        entry = None
    if not isinstance(entry, dict):
        raise InvalidArgument(f"{where} is no line of a manifest; {_FIX}")
    return entry


def _plan(entry: Mapping[str, Any], where: str) -> Plan:
    if entry["campaign"] != SCHEMA:
        raise InvalidArgument(f"{where} is of format {quoted(entry['campaign'])} and this version reads {SCHEMA}; plan again")
    return from_dict({name: value for name, value in entry.items() if name != "campaign"}, Plan, where)


def _case(entry: Mapping[str, Any], where: str) -> Case:
    known = {field.name for field in fields(Case)}
    if "target" not in entry or not set(entry) - {"case"} <= known:
        raise InvalidArgument(f"{where} is no case; {_FIX}")
    defaults = _written(Case(""), every=True)
    case = from_dict({**defaults, **{name: value for name, value in entry.items() if name in known}}, Case, where)
    if case.key != entry.get("case"):
        raise InvalidArgument(f"{where} has another hash than what it says; {_FIX}")
    return case


def _written(case: Case, every: bool = False) -> dict[str, Any]:
    """The fields of a case, without those that are as ever."""
    data = as_dict(case)
    usual = as_dict(Case(""))
    return data if every else {name: value for name, value in data.items() if name == "target" or value != usual[name]}


def _literal(text: str) -> str:
    """A text as a pattern that matches itself alone."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)
