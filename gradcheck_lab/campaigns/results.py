"""Results of a campaign: JSON lines that are only ever added to, each on the disk before the next case is counted as done.

A line that was cut off, as by `kill -9` or a full disk, is no result: a prefix of a JSON object is none. The next run ends that
line and goes on below it, and its case runs again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from gradcheck_lab.campaigns.cases import NOT_CHECKED, Case, Finished
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.shown import quoted
from gradcheck_lab.model.tally import reason_of

try:
    import fcntl
except ImportError:  # no POSIX: two runs at once are not told apart
    fcntl = None  # type: ignore[assignment]

VERDICTS = ("pass", "fail", "inconclusive", NOT_CHECKED)


@dataclass(frozen=True, slots=True)
class Result:
    """One line of a file of results. `report` is JSON-safe data, None where the case could not be checked, which `why` says."""

    key: str
    name: str
    verdict: str
    seconds: float
    why: str
    report: dict[str, Any] | None

    @property
    def reason(self) -> str:
        """In words, why the case did not pass; empty where it did."""
        return "" if self.verdict == "pass" else reason_of(self.report, self.why)


def line_of(finished: Finished) -> bytes:
    """The line of a finished case, with its end."""
    data = {
        "case": finished.case.key,
        "name": finished.case.name,
        "verdict": finished.verdict,
        "seconds": round(finished.seconds, 6),
        "why": finished.why,
        "report": finished.report,
    }
    return json.dumps(data, separators=(",", ":")).encode() + b"\n"


class ResultsFile:
    """A file of results that one run adds to; others that try meanwhile are refused.

    To be used as a context manager. Raises `InvalidArgument` where the file cannot be written, or another run writes to it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        try:
            new = not self._path.exists()
            self._file: BinaryIO = self._path.open("ab")
        except OSError as error:
            raise InvalidArgument(
                f"cannot write {quoted(str(self._path))}: {error.strerror}; name another file with --results"
            ) from error
        try:
            self._lock()
            if new:
                _sync_folder(self._path.parent)
            self._end_torn_line()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def add(self, line: bytes) -> None:
        """Add a line, and return once the disk has it. Raises `OSError` where the disk does not take it."""
        self._file.write(line)
        self._file.flush()
        os.fsync(self._file.fileno())

    def _lock(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            name = quoted(str(self._path))
            raise InvalidArgument(f"another run writes to {name}; wait for it, or name another file with --results") from error

    def _end_torn_line(self) -> None:
        if os.fstat(self._file.fileno()).st_size == 0:
            return
        with self._path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                self.add(b"\n")


def results_in(paths: Iterable[Path]) -> Iterator[tuple[Result, bytes]]:
    """The results in files, each case once, with their lines; lines that are no results are passed over.

    Raises `InvalidArgument` for a file that cannot be read.
    """
    seen: set[str] = set()
    for path in paths:
        try:
            with path.open("rb") as file:
                for line in file:
                    result = _read(line)
                    if result is not None and result.key not in seen:
                        seen.add(result.key)
                        yield result, line.rstrip(b"\n") + b"\n"
        except OSError as error:
            raise InvalidArgument(f"cannot read {quoted(str(path))}: {error.strerror}; name files of results") from error


def results_of(cases: Iterable[Case], paths: Iterable[Path]) -> Iterator[tuple[Result, bytes]]:
    """The results of these cases that the files have, as `results_in`."""
    wanted = {case.key for case in cases}
    return ((result, line) for result, line in results_in(paths) if result.key in wanted)


def _read(line: bytes) -> Result | None:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, Mapping):
        return None
    report, seconds = data.get("report"), data.get("seconds")
    texts = [data.get(name) for name in ("case", "name", "verdict", "why")]
    sound = all(isinstance(text, str) for text in texts) and isinstance(seconds, (int, float)) and data["verdict"] in VERDICTS
    if not sound or not (report is None or isinstance(report, dict)):
        return None
    return Result(data["case"], data["name"], data["verdict"], float(seconds or 0), data["why"], report)


def _sync_folder(folder: Path) -> None:
    """Let the disk have the name of a new file too, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
