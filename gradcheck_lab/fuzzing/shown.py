"""A fuzz run that shows its progress where a cell of a notebook called it."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from gradcheck_lab.calls.recipe import CallRecipe
from gradcheck_lab.fuzzing.run import FuzzRun
from gradcheck_lab.fuzzing.wording import call_text, sizes_of
from gradcheck_lab.render.notebook import fuzz_progress
from gradcheck_lab.report import Report


def run_shown(make: Callable[..., FuzzRun]) -> Report:
    """The report of the run that `make` makes; in a notebook its calls are counted in the cell while it runs."""
    run = make()
    with fuzz_progress(run.name, run.max_examples) as progress:
        if progress is None:
            return run.run()
        numbers = itertools.count(1)

        def begins(call: CallRecipe, probed: bool) -> None:
            progress.begins(next(numbers), call_text(call, run.input_names(call)), sizes_of(call), probed)

        return make(on_example=progress.counted, before_call=begins).run()
