"""`gl.fuzz`: draw calls of a hand-written backward until one is wrong, and shrink it. `fuzzing/run.py` has the steps."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from gradcheck_lab.fuzzing.apart import fuzz_apart
from gradcheck_lab.fuzzing.run import FuzzRun
from gradcheck_lab.fuzzing.shown import run_shown
from gradcheck_lab.isolation import limits_of
from gradcheck_lab.model.arguments import Wrt, refuse_unknown
from gradcheck_lab.report import Report
from gradcheck_lab.specs import Spec

# Hypothesis is imported on use, so that naming gl.fuzz stays quick.


def fuzz(
    op: Any,
    *specs: Spec | str,
    options: Mapping[str, Any] | None = None,
    reference: Any = None,
    max_examples: int = 100,
    order: int = 1,
    allow: Collection[str] = (),
    wrt: Wrt | None = None,
    seed: int = 0,
    isolate: bool | None = None,
    timeout: float | None = None,
    memory_limit: int | None = None,
    **unknown: Any,
) -> Report:
    """Check drawn calls of `op` until one is wrong, and shrink that to the smallest call that shows it.

    `op` is whatever `gl.check` takes. `specs` describe its inputs, one each (`real("n d")`, or its text); left out, they are
    those that the op declares or its annotations imply. Shapes, layouts, dtypes, kinds of values and the options that
    `strategies.OPTIONS` knows are drawn; `options` are passed to every call. Calls that the forward does not take are
    left out. Where `max_examples` calls are sound, an ordinary one has to pass all probes of `gl.check` as well.
    `reference`, `order`, `allow` and `wrt` are those of `gl.check`; the same `seed` draws the same calls, after those
    that Hypothesis's database has from earlier failures. `isolate`, `timeout` and `memory_limit` are those of `gl.check`,
    where the seconds are those of one drawn call with all that are derived from it. In a notebook the cell shows how far it is.

    Returns a `Report` of the smallest failing call, or of the ordinary one; `report.examples` is how many calls were examined,
    `report.failing_case` the failing one as data and as Python. Raises `InvalidArgument` for a wrong
    argument. Source of the method: MacIver and Donaldson, "Test-case reduction via test-case generation", ECOOP 2020.

    >>> import torch
    >>> from gradcheck_lab import Op
    >>> from gradcheck_lab.specs import real
    >>> square = Op(lambda x: x * x, lambda grad_output, output, x: (grad_output * x,), name="square")
    >>> fuzz(square, real("n d")).failing_case["words"]
    'x: float64[1, 1]'
    """
    refuse_unknown("fuzz", unknown, options)
    limits = limits_of(isolate, timeout, memory_limit)
    run = partial(FuzzRun, op, specs, options, reference, max_examples, order, allow, seed, wrt=wrt)
    return run_shown(run) if limits is None else fuzz_apart(run, limits)
