"""Mutants of every op of the library and of the sound twins of the tests: what `check`, gradcheck and `allclose` notice.

`python benchmarks/mutation.py results.jsonl` adds a line for each mutant and goes on where it was ended; `--shard 0/2` takes
every second subject, `--every 4` every fourth edit. `--summary` prints the rates, and each mutant that check did not notice.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from gradcheck_lab import ops
from gradcheck_lab.calls.drawing import ordinary_call
from gradcheck_lab.edits.applied import applied, functions_alive
from gradcheck_lab.edits.edit import Edit
from gradcheck_lab.edits.edits_of import edits_of
from gradcheck_lab.edits.kinds import MISTAKES
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.isolation import apart_as
from gradcheck_lab.mutation.by_check import CheckCall, Noticed, Original, noticed_by_check, noticed_by_comparison, original_of
from gradcheck_lab.rules.op import Op, as_tuple
from gradcheck_lab.subjects import adapt
from gradcheck_lab.workers.apart import Limits
from gradcheck_lab.workers.outcome import Died, Exited, Returned, TimedOut

SECONDS = 300.0


@dataclass(frozen=True)
class Row:
    """One sound subject and the call that a user would bring; `further` ones for other signatures."""

    name: str
    subject: Any
    inputs: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)
    keywords: dict[str, Any] = field(default_factory=dict)
    further: tuple[tuple[tuple[Any, ...], dict[str, Any]], ...] = ()


def of_ops(choices: bool) -> Iterator[Row]:
    """Every op, on a call that its specs draw for each of its signatures, and with `choices` for each value of its options."""
    for family in ops.FAMILIES.values():
        for op in family:
            # a call for each signature, and for each value that the op declares of an option
            options = [{}, *({name: value} for name, values in op.choices.items() for value in values)] if choices else [{}]
            cases = [ordinary_call(op, op.specs, 0, given, torch.float64) for given in options]
            cases += [ordinary_call(op, signature, 0, {}, torch.float64) for signature in op.signatures[1:]]
            cases = [case for case in cases if op.takes(case.inputs, dict(case.options))]
            further = tuple((case.inputs, dict(case.options)) for case in cases[1:])
            yield Row(f"op {op.name}", op, cases[0].inputs, dict(cases[0].options), further=further)


def of_twins() -> Iterator[Row]:
    """The sound twin of every row of the catalogue of mistakes."""
    from tests.mistakes.catalogue import ROWS

    for mistake in ROWS:
        yield Row(f"twin {mistake}", mistake.sound(), mistake.inputs, dict(mistake.options), dict(mistake.check_options))


def mutants_of(row: Row, known: set[str], every: int) -> Iterator[dict[str, Any]]:
    """A line for each mutant that is not known yet, or for every so many of them."""
    try:
        # the rule of an op is run without autograd, so that a detach in it changes nothing
        kinds = [kind for kind in MISTAKES if kind.name != "detach" or not isinstance(row.subject, Op)]
        edits = edits_of(row.subject, kinds)[::every]
    except InvalidArgument as error:
        yield {"subject": row.name, "left_out": str(error)}
        return
    todo = [edit for edit in edits if key_of(row, edit) not in known]
    if not todo:
        return
    keywords = {"reference": None, "order": 1, "allow": (), "wrt": None, **row.keywords}
    keywords = {name: keywords[name] for name in ("reference", "order", "allow", "wrt")}
    given = ((row.inputs, row.options), *row.further)
    calls = [CheckCall(row.subject, deepcopy(inputs), options, **keywords, seed=0) for inputs, options in given]
    originals, refused = [], ""
    for call in calls:
        try:
            originals.append(original_of(call))
        except Exception as error:  # of no elements, say
            refused = str(error)
    if not originals:
        yield {"subject": row.name, "left_out": refused}
        return
    among = functions_alive(edits[0].path)
    for edit in todo:
        line = {"subject": row.name, "key": key_of(row, edit), "kind": edit.kind, "edit": str(edit), "function": edit.function}
        found = in_a_process(Noticed, row, lambda edit=edit: by_any(originals, edit, among))
        if isinstance(found, Noticed):
            line |= {"check": found.outcome, "cause": found.cause, "what": found.what}
        else:
            line |= {"check": "noticed", "cause": type(found).__name__, "what": str(found)}
        theirs = in_a_process(Others, row, lambda edit=edit: others(row, edit, among))
        line |= asdict(theirs) if isinstance(theirs, Others) else {"allclose": True, "gradcheck": True}
        if line["check"] in ("equivalent", "unreached", "missed") and isinstance(row.subject, Op) and row.subject.specs:
            fuzz = in_a_process(Fuzzed, row, lambda edit=edit: fuzzed(row, edit, among))
            line["fuzz"] = fuzz.verdict if isinstance(fuzz, Fuzzed) else str(fuzz)
        yield line


def in_a_process(kind: type[Any], row: Row, call: Callable[[], Any]) -> Any:
    """What a call returns in a process of its own, or how it ended: by its end, or by the limit of time."""
    outcome = apart_as(kind, lambda line: call(), row.name, Limits(SECONDS)).outcome
    if isinstance(outcome, (Died, TimedOut, Exited)):
        return outcome
    if not isinstance(outcome, Returned):
        raise SystemExit(f"{row.name}: a process of its own {outcome}")
    return outcome.value


def by_any(originals: list[Original], edit: Edit, among: Any) -> Noticed:
    """What comes of the checks of one mutant: that of the first that notices it, else a miss of one, else the first."""
    found = []
    try:
        with applied(edit, among):  # far the quickest part of a check, on every call first
            for original in originals:
                if (compared := noticed_by_comparison(original.call)) is not None:
                    return compared
    except InvalidArgument as error:
        return Noticed("invalid", what=str(error))
    for original in originals:
        found.append(noticed_by_check(original, edit, among))
        if found[-1].outcome == "noticed":
            return found[-1]
    return next((each for each in found if each.outcome == "missed"), found[0])


def key_of(row: Row, edit: Edit) -> str:
    """What tells a mutant from all others."""
    return hashlib.blake2b(f"{row.name} {edit.kind} {edit.text}".encode(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class Others:
    """Whether the other tools notice a mutant; None where they do not apply."""

    allclose: bool | None
    gradcheck: bool | None


@dataclass(frozen=True)
class Fuzzed:
    """What a fuzz run says of a mutant."""

    verdict: str


def others(row: Row, edit: Edit, among: Any) -> Others:
    """Whether `allclose` with ones, and gradcheck as it is, notice it; None where they do not apply."""
    with applied(edit, among), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Others(of_any(by_allclose, row), of_any(by_gradcheck, row))


def of_any(noticed: Callable[[Row], bool | None], row: Row) -> bool | None:
    """Whether a tool notices it on any of the calls that `check` is given; None where it applies to none."""
    calls = ((row.inputs, row.options), *row.further)
    found = [noticed(replace(row, inputs=inputs, options=options)) for inputs, options in calls]
    return None if all(each is None for each in found) else any(found)


def by_allclose(row: Row) -> bool | None:
    """Ones as upstream, autograd on the forward, and `torch.allclose` on each gradient, as tests are written."""
    try:
        subject = adapt(row.subject, deepcopy(row.inputs), dict(row.options))
    except Exception:  # a layer's backward runs to see what it keeps
        return True
    if subject.trace is None:
        return None
    floating = [isinstance(v, torch.Tensor) and (v.is_floating_point() or v.is_complex()) for v in subject.inputs]
    leaves = [v.detach().clone().requires_grad_() if f else v for v, f in zip(subject.inputs, floating, strict=True)]
    try:
        outputs = as_tuple(subject.trace(tuple(leaves), row.options, frozenset()).outputs)
        outputs = tuple(each for each in outputs if each.requires_grad)
        wanted = [v for v, f in zip(leaves, floating, strict=True) if f]
        truth = torch.autograd.grad(outputs, wanted, [torch.ones_like(each) for each in outputs], allow_unused=True)
    except Exception:
        return None
    try:
        recording = subject.record(subject.inputs, row.options)
        ones = recording.fixed_grad_outputs or tuple(torch.ones_like(each) for each in recording.outputs)
        returned = as_tuple(recording.backward(ones).returned)
        mine = [grad for grad, f in zip(returned, floating, strict=True) if f]
        pairs = [(one, other) for one, other in zip(mine, truth, strict=True) if other is not None]
        return not all(torch.allclose(one, other) for one, other in pairs)
    except Exception:
        return True


def by_gradcheck(row: Row) -> bool | None:
    """`torch.autograd.gradcheck` with its defaults, on the call in float64."""
    if isinstance(row.subject, Op):
        function = row.subject.as_function()
    elif isinstance(row.subject, type) and issubclass(row.subject, torch.autograd.Function):
        function = row.subject.apply
    else:
        return None
    leaves = [v.detach().double().requires_grad_() if isinstance(v, torch.Tensor) and v.is_floating_point() else v
              for v in deepcopy(row.inputs)]  # fmt: skip
    try:
        return not torch.autograd.gradcheck(lambda *given: function(*given, **row.options), leaves)
    except Exception:
        return True


def fuzzed(row: Row, edit: Edit, among: Any) -> Fuzzed:
    """What `gl.fuzz` says of a mutant that no check noticed: "fail" is a miss, found in another call."""
    import gradcheck_lab as gl

    with applied(edit, among):
        return Fuzzed(gl.fuzz(row.subject, max_examples=30).verdict)


def summary(lines: list[dict[str, Any]]) -> None:
    """Print the rates, and each mutant that check did not notice."""
    mutants = [line for line in lines if "check" in line]
    for title, start in (("ops", "op "), ("twins", "twin "), ("all", "")):
        chosen = [line for line in mutants if line["subject"].startswith(start)]
        counted = [line for line in chosen if line["check"] in ("noticed", "missed") or line.get("fuzz") == "fail"]
        if not counted:
            continue
        noticed = [line for line in counted if line["check"] == "noticed"]
        subjects = len({line["subject"] for line in chosen})
        outcomes = dict(Counter(line["check"] for line in chosen))
        print(f"{title}: {subjects} subjects, {len(chosen)} mutants, {outcomes}, {len(counted)} count")
        print(f"  check     {len(noticed)} of {len(counted)}, {100 * len(noticed) / len(counted):.2f} %")
        for tool in ("gradcheck", "allclose"):
            able = [line for line in counted if line.get(tool) is not None]
            caught = sum(line[tool] for line in able)
            print(f"  {tool:9} {caught} of {len(able)}, {100 * caught / max(1, len(able)):.2f} %")
        raising = [line for line in counted if line["cause"] == "raises"]
        print(f"  {len(raising)} of those that count raise an exception")
    for line in mutants:
        if line["check"] == "missed" or line.get("fuzz") == "fail":
            print(f"missed: {line['subject']}: {line['edit']} ({line['what']}; fuzz: {line.get('fuzz', '-')})")
    for line in lines:
        if "left_out" in line:
            print(f"left out: {line['subject']}: {line['left_out'][:150]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--shard", default="0/1")
    parser.add_argument("--every", type=int, default=1, help="take every so many edits of a subject")
    parser.add_argument(
        "--choices", action="store_true", help="check an op with each value of its options, not the defaults alone"
    )
    parser.add_argument("--only", default="", help="subjects whose name starts so: op, twin")
    parser.add_argument("--summary", action="store_true")
    given = parser.parse_args()
    lines = [json.loads(line) for line in given.results.read_text().splitlines()] if given.results.exists() else []
    if not given.summary:
        number, of = map(int, given.shard.split("/"))
        known = {line.get("key", line["subject"]) for line in lines}
        rows = [row for rows in (of_ops(given.choices), of_twins()) for row in rows if row.name.startswith(given.only)]
        for row in rows[number::of]:
            if row.name in known:
                continue
            for line in mutants_of(row, known, given.every):
                lines.append(line)
                with given.results.open("a") as file:
                    file.write(json.dumps(line) + "\n")
    summary(lines)


if __name__ == "__main__":
    main()
