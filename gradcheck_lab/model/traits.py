"""The traits of causes, by which the program decides: each trait once, with what it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gradcheck_lab.model.findings import Severity

Trait = Literal[
    "unexplained", "explains", "overrules", "pattern", "consequence", "says_only_where", "no_result", "arity", "shape",
    "keeps_name", "dtype", "size", "ties", "at_values", "fix_by_call", "never_rounding", "sure_at_kinks", "admitted",
    "whole_call", "forward", "changes_the_call", "ends_process", "digits", "of_later_calls", "foreseen",
    "of_gradients", "seen_by_running",
]  # fmt: skip

TRAITS: Mapping[Trait, str] = {
    "unexplained": "no reason is known; the reason that a probe finds takes its place",
    "explains": "a reason that a probe finds, which takes the place of a wrong value without one",
    "overrules": "spoils whole gradients, which may then look like a pattern by chance; it takes the place of that as well",
    "pattern": "a factor, a term, an order or a loss of digits, read from the numbers of one gradient alone",
    "consequence": "seen on some values, sizes, options or dtypes; where the call as given is wrong, it is the same mistake",
    "says_only_where": "says at which values the gradient is wrong, and not why",
    "no_result": "the user's code ended without a gradient",
    "arity": "depends on how many arguments the call gives, so that an argument which it left out may bring it about",
    "shape": "the gradient has another shape than its input; its user sees that, and torch's engine may sum it away",
    "keeps_name": "says all by itself: a probe that meets it on a call of its own gives it no other name",
    "dtype": "about the dtype of the call rather than its values and sizes",
    "size": "about the sizes of the call rather than its values",
    "ties": "seen where values are equal or lie on a kink, whatever the sizes",
    "at_values": "seen at special values; the fix is the same whatever the op is",
    "fix_by_call": "what to do depends on the call that shows it, so that the probe which made the call says it",
    "never_rounding": "true or false without a tolerance: no rounding explains it",
    "sure_at_kinks": "wrong whatever the derivative does beside the values, at a kink, a jump or the edge of the domain",
    "admitted": "right, and another choice than autograd's, so that what is computed from it differs from autograd too",
    "whole_call": "about the call and no gradient of it; judged once, on the user's own call",
    "forward": "about the outputs and no gradient: the forward is not that of the user's reference",
    "changes_the_call": "the call is another one once it has run, so that repeating it shows nothing",
    "digits": "right but for its last digits; an option that leaves the outputs as they are may trade these for memory",
    "of_later_calls": "seen once the code is called again; a gradient that is wrong on the first call has another mistake",
    "foreseen": "what it makes of the gradient is known on every call, so that it explains no other gradient",
    "of_gradients": "about which gradient is returned where, and no value that it is computed from",
    "seen_by_running": "shown by another run of the same call; that other sizes or values bring it about is not why",
    "ends_process": "the process of the call ended with it, by itself or by force; nothing was compared or shrunk after it",
}


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason why a gradient is wrong, or a note on one that is right.

    `sentence` says what the mistake is and `fix` what to do about it; `severity` is what a finding of it has unless the call
    says otherwise. `compared_as` are the causes that the comparison, which sees one call, may give the same mistake;
    `probed_as` those that probes of other promises may give it on the same gradient, which then say no more.
    """

    name: str
    sentence: str
    fix: str
    traits: frozenset[Trait] = frozenset()
    severity: Severity = "error"
    compared_as: frozenset[str] = frozenset()
    probed_as: frozenset[str] = frozenset()
