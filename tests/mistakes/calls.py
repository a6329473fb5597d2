"""Mistakes that one ordinary call hides: in the use of the upstream, between calls, and in what inputs may be."""

from tests.mistakes.calls_inputs import MISTAKES as OF_INPUTS
from tests.mistakes.calls_state import MISTAKES as OF_STATE
from tests.mistakes.calls_upstream import MISTAKES as OF_UPSTREAM
from tests.mistakes.row import Mistake

MISTAKES: list[Mistake] = [*OF_UPSTREAM, *OF_STATE, *OF_INPUTS]
