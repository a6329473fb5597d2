"""Manifests: what is written is read again, and what nobody planned is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gradcheck_lab.campaigns.cases import Case
from gradcheck_lab.campaigns.manifest import read_manifest
from gradcheck_lab.errors import InvalidArgument
from tests.campaigns.checks import planned

CASES = [
    Case("layers.py:relu", "float32", "cuda:1", ("p=2", "q='a'"), "compare", 7, 2.5, 2**20, "digest", 0.25),
    Case("layers.py:relu"),
]
FIX = "write it with gradcheck-lab campaign plan"
REFUSED = {
    "empty": ("", "'m.jsonl' is no manifest; " + FIX),
    "no JSON": ("plan\n", "line 1 of 'm.jsonl' is no line of a manifest; " + FIX),
    "no object": ("[1]\n", "line 1 of 'm.jsonl' is no line of a manifest; " + FIX),
    "results": ('{"case": "1", "verdict": "pass"}\n', "line 1 of 'm.jsonl' is no case; " + FIX),
    "later format": ('{"campaign": 2}\n', "line 1 of 'm.jsonl' is of format 2 and this version reads 1; plan again"),
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_manifest_is_read_as_it_was_written() -> None:
    assert planned(Path("m.jsonl"), CASES).cases == tuple(CASES)


def test_case_that_is_planned_twice_is_one() -> None:
    assert planned(Path("m.jsonl"), [CASES[0], CASES[1], CASES[0]]).cases == tuple(CASES)


def test_two_manifests_in_one_file_are_one() -> None:
    first, second = (planned(Path(f"{k}.jsonl"), [case]) for k, case in enumerate(CASES))
    Path("m.jsonl").write_text(first.path.read_text() + second.path.read_text(), encoding="utf-8")
    assert read_manifest(Path("m.jsonl")).cases == tuple(CASES)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_manifest_is_refused(name: str) -> None:
    text, message = REFUSED[name]
    Path("m.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(InvalidArgument) as refused:
        read_manifest(Path("m.jsonl"))
    assert str(refused.value) == message


def test_missing_manifest_is_refused() -> None:
    with pytest.raises(InvalidArgument) as refused:
        read_manifest(Path("m.jsonl"))
    assert str(refused.value) == f"cannot read 'm.jsonl': No such file or directory; {FIX}"


def test_case_that_was_changed_by_hand_is_refused() -> None:
    manifest = planned(Path("m.jsonl"), CASES)
    lines = manifest.path.read_text(encoding="utf-8").splitlines()
    entry = json.loads(lines[1]) | {"seed": 8}
    manifest.path.write_text("\n".join([lines[0], json.dumps(entry)]), encoding="utf-8")
    with pytest.raises(InvalidArgument) as refused:
        read_manifest(manifest.path)
    assert str(refused.value) == f"line 2 of 'm.jsonl' has another hash than what it says; {FIX}"


def test_expected_seconds_are_no_part_of_the_hash_and_all_else_is() -> None:
    changes = [
        {"target": "layers.py:tanh"}, {"dtype": "float64"}, {"device": "cpu"}, {"options": ("p=2",)}, {"probes": "all"},
        {"seed": 8}, {"timeout": None}, {"memory": None}, {"source": "another"},
    ]  # fmt: skip
    base = {name: getattr(CASES[0], name) for name in Case.__dataclass_fields__}
    keys = {Case(**{**base, **change}).key for change in changes}
    assert len(keys | {CASES[0].key}) == len(changes) + 1
    assert Case(**{**base, "seconds": 9.0}).key == CASES[0].key


def test_results_beside_a_manifest_are_found_and_those_of_others_are_not(tmp_path: Path) -> None:
    manifest = planned(Path("m[1].jsonl"), CASES)
    for name in ("m[1].results.jsonl", "m[1].results.2-of-2.jsonl", "m1.results.1-of-2.jsonl", "m.results.jsonl"):
        Path(name).touch()
    assert [path.name for path in manifest.every_results] == ["m[1].results.jsonl", "m[1].results.2-of-2.jsonl"]
