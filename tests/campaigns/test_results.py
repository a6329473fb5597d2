"""Files of results: wherever a line is cut off, what was whole before is kept, and what follows is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradcheck_lab import Report
from gradcheck_lab.campaigns.cases import Case, Finished
from gradcheck_lab.campaigns.results import ResultsFile, line_of, results_in
from gradcheck_lab.errors import InvalidArgument

FIRST = Finished(Case("m:a"), Report("pass", "a", "op", (), (), "none").to_dict(), "", 0.5)
SECOND, THIRD = (Finished(Case(f"m:{name}"), None, "no specs", 0.5) for name in "bc")


def keys(*paths: Path) -> list[str]:
    return [result.key for result, _ in results_in(paths)]


def test_file_that_is_cut_anywhere_keeps_its_whole_lines_and_takes_new_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, whole = tmp_path / "r.jsonl", line_of(THIRD) + line_of(SECOND)
    first = len(line_of(THIRD))
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # of some hundred files, and a test of their bytes alone
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        kept = [THIRD.case.key] * (cut >= first - 1) + [SECOND.case.key] * (cut >= len(whole) - 1)
        assert keys(path) == kept, cut
        with ResultsFile(path) as file:
            file.add(line_of(FIRST))
        assert keys(path) == [*kept, FIRST.case.key], cut
        assert path.read_bytes().startswith(whole[:cut]), "what was written is never changed"


def test_lines_that_are_no_results_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    junk = [b"\0\0\0\n", b"[1, 2]\n", b"7\n", b'{"case": 1}\n', b"\xff\n", b"[" * 100_000 + b"\n", b"\n"]
    junk += [line_of(FIRST).replace(b'"pass"', b'"perfect"'), line_of(FIRST).replace(b"0.5", b'"long"')]
    path.write_bytes(b"".join(junk) + line_of(FIRST))
    assert keys(path) == [FIRST.case.key]


def test_case_counts_once_however_often_it_is_there(tmp_path: Path) -> None:
    one, other = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    one.write_bytes(line_of(FIRST) * 2)
    other.write_bytes(line_of(SECOND) + line_of(FIRST))
    assert keys(one, other) == [FIRST.case.key, SECOND.case.key]


def test_file_that_another_run_writes_to_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    with ResultsFile(path), pytest.raises(InvalidArgument) as refused, ResultsFile(path):
        pass
    assert str(refused.value) == f"another run writes to '{path}'; wait for it, or name another file with --results"
    with ResultsFile(path):
        pass


def test_file_in_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "no" / "r.jsonl"
    with pytest.raises(InvalidArgument) as refused, ResultsFile(path):
        pass
    assert str(refused.value) == f"cannot write '{path}': No such file or directory; name another file with --results"


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument) as refused:
        keys(tmp_path / "r.jsonl")
    assert str(refused.value) == f"cannot read '{tmp_path / 'r.jsonl'}': No such file or directory; name files of results"
