"""What came of the campaign over published packages: stored as data, and written as the table of docs/found_with_it.md.

`run.py --store` writes `found.json`; `python benchmarks/packages/table.py` prints the lines of the page, which
`tests/benchmarks/test_packages.py` compares with it. Needs neither the packages nor torch.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from triage import GENUINE, INTENDED, MENDED, PACKAGES, TRIAGE

HERE = Path(__file__).resolve().parent
STORED = HERE / "found.json"
HEAD = ("packages", "checked", "pass", "intended", "genuine", "open", "false alarms, mended")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one object: the verdict, the cause of its first error, and the seconds that the check took."""

    verdict: str
    cause: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Found:
    """The versions that the campaign ran with, by what is imported, and the outcomes by file and object."""

    versions: Mapping[str, str]
    outcomes: Mapping[str, Mapping[str, Outcome]]


def found_in(manifest: Path) -> Found:
    """Read what came of the cases of a manifest from the results beside it. Raises KeyError where a case has no result."""
    first, *cases = map(json.loads, manifest.read_text(encoding="utf-8").splitlines())
    results = {line["case"]: line for line in _lines(manifest.with_name(f"{manifest.stem}.results.jsonl"))}
    outcomes: dict[str, dict[str, Outcome]] = {}
    for case in cases:
        result = results[case["case"]]
        file, _, name = case["target"].rpartition(":")
        findings = (result["report"] or {}).get("findings", ())
        cause = next((finding["cause"] for finding in findings if finding["severity"] == "error"), "")
        outcomes.setdefault(Path(file).stem, {})[name] = Outcome(result["verdict"], cause, round(result["seconds"], 1))
    return Found(first["versions"], outcomes)


def _lines(path: Path) -> Iterator[dict]:
    """The results of a file; a line that was cut off is none."""
    for line in path.read_bytes().splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def store(found: Found, path: Path) -> None:
    """Write it as JSON, an object a line."""
    path.write_text(json.dumps(asdict(found), indent=1, sort_keys=True) + "\n", encoding="utf-8")


def stored(path: Path = STORED) -> Found:
    """Read what `store` wrote."""
    data = json.loads(path.read_text(encoding="utf-8"))
    outcomes = {file: {name: Outcome(**each) for name, each in of.items()} for file, of in data["outcomes"].items()}
    return Found(data["versions"], outcomes)


def kind_of(file: str, name: str, outcome: Outcome) -> str:
    """pass, intended or genuine where `triage.py` says so of this object and this cause, else open."""
    known = TRIAGE.get((file, name))
    if outcome.verdict == "pass":
        return "pass"
    explained = known is not None and (outcome.cause or outcome.verdict) in known.causes
    return known.kind if known is not None and explained else "open"


def unexplained(found: Found) -> list[str]:
    """A line for each object that is open."""
    every = ((file, name, each) for file, of in found.outcomes.items() for name, each in of.items())
    return [f"open: {file}:{name}: {o.verdict} {o.cause}" for file, name, o in every if kind_of(file, name, o) == "open"]


def lines_of(found: Found) -> list[str]:
    """The lines of the table, a row a file, and a last one of all."""
    rows, total = [], Counter[str]()
    for file, packages in PACKAGES.items():
        if file not in found.outcomes:
            continue
        outcomes = found.outcomes[file]
        counts = Counter(kind_of(file, name, each) for name, each in outcomes.items())
        counts["checked"], counts["mended"] = len(outcomes), MENDED.get(file, (0, ""))[0]
        mended = ": ".join(str(part) for part in MENDED.get(file, (0,)))
        rows.append(_row(", ".join(f"{name} {_versions()[name]}" for name in packages), counts, mended))
        total += counts
    return ["| " + " | ".join(HEAD) + " |", "| --- " * len(HEAD) + "|", *rows, _row("all", total, str(total["mended"]))]


def sentence_of(found: Found) -> str:
    """How many cases there were, of how many packages, and how long the checks took."""
    outcomes = [each for of in found.outcomes.values() for each in of.values()]
    packages = sum(len(names) for file, names in PACKAGES.items() if file in found.outcomes)
    return f"{len(outcomes)} cases of {packages} packages, {sum(each.seconds for each in outcomes) / 60:.0f} minutes of checks"


def _row(title: str, counts: Counter[str], last: str) -> str:
    numbers = (str(counts[key]) for key in ("checked", "pass", INTENDED, GENUINE, "open"))
    return f"| {' | '.join([title, *numbers, last])} |"


def _versions() -> dict[str, str]:
    """The pinned versions, by the name on the registry."""
    lines = (HERE / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


if __name__ == "__main__":
    print(sentence_of(stored()))
    print("\n".join(lines_of(stored())))
