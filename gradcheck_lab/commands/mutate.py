"""The command `gradcheck-lab mutate pkg.module:name`: inputs found as for `check`, and the mutants of one backward."""

from __future__ import annotations

from collections.abc import Sequence

from gradcheck_lab import specs
from gradcheck_lab.discovery.inputs import call_of
from gradcheck_lab.discovery.targets import DTYPES, read_option
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.mutate import mutate
from gradcheck_lab.mutation.report import MutationReport
from gradcheck_lab.mutation.run import Shown


def mutate_target(
    target: str,
    written: Sequence[str] = (),
    *,
    tests: str | None = None,
    kinds: Sequence[str] = (),
    max_mutants: int | None = None,
    seed: int = 0,
    dtype: str | None = None,
    options: Sequence[str] = (),
    timeout: float = 120.0,
    shown: Shown | None = None,
) -> MutationReport:
    """Import `target`, find its inputs by `gradcheck_lab.discovery.inputs.call_of`, and mutate its backward.

    Where the file itself calls `gl.check`, its `reference`, `allow`, `order` and `wrt` hold too. Raises `InvalidArgument`.
    """
    if ":" not in target:
        raise InvalidArgument(f"mutate takes one object; write {target} as {target}:name")
    if dtype is not None and dtype not in DTYPES:
        raise InvalidArgument(f"there is no dtype {dtype!r} to check in; pass one of {', '.join(DTYPES)}")
    keywords = dict(read_option(text) for text in options)
    call = call_of(target, tuple(specs.parse(text) for text in written), seed, dtype, keywords)
    settings = {name: call.settings[name] for name in ("reference", "allow", "order", "wrt") if name in call.settings}
    return mutate(
        call.subject, *call.inputs, tests=tests, options=call.options, kinds=kinds or None, max_mutants=max_mutants, seed=seed,
        timeout=timeout, shown=shown, **settings,
    )  # fmt: skip
