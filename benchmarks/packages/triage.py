"""What is known of each object that does not pass: a mistake of the package, or meant so, with the evidence in docs/found_with_it.md."""

from __future__ import annotations

from dataclasses import dataclass

INTENDED, GENUINE = "intended", "genuine"


@dataclass(frozen=True, slots=True)
class Known:
    """The triage of one object: its kind, and the causes that the tool may name first."""

    kind: str
    causes: tuple[str, ...]


TRIAGE: dict[tuple[str, str], Known] = {}
