"""What the traits of a cause mean to somebody who reads its page; `model/traits.py` says it to readers of the program."""

from __future__ import annotations

from gradcheck_lab.model.traits import Trait

WORDS: dict[Trait, str] = {
    "unexplained": "It is told where no other cause explains the gradient.",
    "explains": "It is told in the place of a wrong value without a reason.",
    "overrules": "It spoils whole gradients, so it is told in the place of factors and terms that these seem to have.",
    "pattern": "It is read from the numbers of one gradient.",
    "consequence": "It is told where the call as given is right, and some values, sizes, options or dtypes are not.",
    "says_only_where": "It says where the gradient is wrong; why is left to you.",
    "no_result": "The code ended without a gradient, so that call compares nothing.",
    "arity": "It depends on how many arguments the call gives.",
    "shape": "The shape alone tells it. torch's engine may sum such a gradient to the right shape without a word.",
    "keeps_name": "A derived call that shows it gives it the same name.",
    "seen_by_running": "Another run of the same call shows it: a call of other sizes or values that has it gives it this name.",
    "dtype": "It depends on the dtype of the call.",
    "size": "It depends on the sizes of the call.",
    "ties": "It is seen where values are equal or lie on a kink.",
    "at_values": "It is seen at special values, such as zeros, ties or large numbers.",
    "fix_by_call": "What to do depends on the call that shows it, and the message says it.",
    "never_rounding": "No tolerance takes part: no rounding explains it.",
    "sure_at_kinks": "It counts at kinks, jumps and the edge of the domain too.",
    "admitted": "The gradient is right: another choice than autograd's.",
    "whole_call": "It is about the call and no single gradient, and is judged once, on the call as given.",
    "forward": "It is about the outputs: the gradients are compared once the forwards agree.",
    "changes_the_call": "The call is another one once it has run, so it is not repeated.",
    "ends_process": "The process of the call ended with it; `isolate=True` keeps yours alive.",
    "digits": "The gradient is right but for its last digits.",
    "of_later_calls": "It is seen once the code is called again: the first call may be right.",
    "foreseen": "Another mistake in the same gradient is told beside it.",
    "of_gradients": "It is about which gradient is returned where.",
}
