"""What came of the mutants of a backward, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from gradcheck_lab.errors import InvalidArgument

Outcome = Literal["noticed", "missed", "equivalent", "unreached", "invalid", "not run"]
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Mutant:
    """One edit of a backward, and who noticed it.

    `kind` and `sentence` say what the edit does to `function` in `line` of `path`; `before` and `after` are the lines, `diff`
    the unified diff. `check` is what came of `gl.check`: "equivalent" where the gradients are the same on everything that was
    tried, or are right as well, "unreached" where no call runs the line, "invalid" where the edit cannot be run. `cause` and
    `what` say how check noticed it, or why it did not. `tests` is what came of the author's tests, "not run" where there are
    none; `by` names the test that failed.
    """

    kind: str
    sentence: str
    function: str
    path: str
    line: int
    before: str
    after: str
    diff: str
    check: Outcome
    cause: str = ""
    what: str = ""
    tests: Outcome = "not run"
    by: str = ""

    @property
    def counts(self) -> bool:
        """Whether it is wrong: neither equivalent nor invalid, as far as that was looked at."""
        if self.check == "not run":
            return self.tests in ("noticed", "missed")
        return self.tests == "noticed" or self.check in ("noticed", "missed")


@dataclass(frozen=True, slots=True)
class MutationData:
    """The mutants of one subject.

    `tests` are the arguments of pytest, "" where no tests were run, and `touching` the number of tests that run the backward.
    `test` is a test to paste that notices what check noticed. `left_out` counts mutants beyond the number asked for.
    """

    subject: str
    mutants: tuple[Mutant, ...]
    tests: str = ""
    touching: int = 0
    test: str = ""
    left_out: int = 0
    seed: int = 0
    seconds: float = 0.0
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def counted(self) -> tuple[Mutant, ...]:
        """The mutants that are wrong."""
        return tuple(mutant for mutant in self.mutants if mutant.counts)

    @property
    def unnoticed_by_tests(self) -> tuple[Mutant, ...]:
        """The wrong mutants with which every test of the author passes; none where no tests were run."""
        return tuple(mutant for mutant in self.counted if mutant.tests == "missed")

    @property
    def unnoticed_by_check(self) -> tuple[Mutant, ...]:
        """The wrong mutants that check passes."""
        return tuple(mutant for mutant in self.counted if mutant.check not in ("noticed", "not run"))

    @property
    def survivors(self) -> tuple[Mutant, ...]:
        """Those that the tests do not notice, or, where no tests were run, that check does not."""
        return self.unnoticed_by_tests if self.tests else self.unnoticed_by_check

    @property
    def verdict(self) -> Literal["pass", "fail", "inconclusive"]:
        """ "fail" where a wrong mutant survives, "inconclusive" where none is wrong."""
        if not self.counted:
            return "inconclusive"
        return "fail" if self.survivors else "pass"

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON-safe data, with the verdict and the counts."""
        counts = {"counted": len(self.counted), "missed_by_check": len(self.unnoticed_by_check)}
        counts |= {"missed_by_tests": len(self.unnoticed_by_tests)} if self.tests else {}
        return {"schema": SCHEMA, "verdict": self.verdict, **counts, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> MutationData:
        """The data of `to_dict` as an object. Raises `InvalidArgument` for data of another form."""
        if not isinstance(data, Mapping) or data.get("schema") != SCHEMA:
            raise InvalidArgument(f"this is no report of mutants of schema {SCHEMA}; pass what to_dict() returned")
        known = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
        try:
            return cls(**{**known, "mutants": tuple(Mutant(**each) for each in data["mutants"])})
        except (TypeError, KeyError) as error:
            raise InvalidArgument(f"this is no report of mutants ({error}); pass what to_dict() returned") from error
