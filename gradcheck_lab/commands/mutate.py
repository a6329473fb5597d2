"""The command `gradcheck-lab mutate pkg.module:name`: inputs found as for `check`, and the mutants of one backward."""

from __future__ import annotations

from collections.abc import Sequence

from gradcheck_lab import specs
from gradcheck_lab.discovery.inputs import call_of
from gradcheck_lab.discovery.targets import DTYPES, read_option
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.shown import quoted
from gradcheck_lab.mutate import mutate
from gradcheck_lab.mutation.by_tests import arguments_of
from gradcheck_lab.mutation.injected import inject
from gradcheck_lab.mutation.report import MutationReport
from gradcheck_lab.mutation.run import Shown


def single_target(words: Sequence[str]) -> str:
    """The one object to mutate. Raises `InvalidArgument` for several words."""
    if len(words) != 1:
        raise InvalidArgument(
            f"mutate takes one object, and {len(words)} were given; the tests go into --tests '{' '.join(words[1:])}'"
        )
    return words[0]


def inject_into(what: str, words: Sequence[str], timeout: float) -> MutationReport:
    """Run the suite of a command with every gradient of its rules perturbed. Raises `InvalidArgument` for another `what`."""
    if what != "torch":
        raise InvalidArgument(
            f"--inject is {quoted(what)}; only the rules of torch are perturbed: --inject torch -- pytest tests/"
        )
    return inject(arguments_of(list(words)), timeout)


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
