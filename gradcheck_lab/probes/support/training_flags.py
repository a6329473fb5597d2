"""Flags that say whether a call trains, and whether a backward is meant for the other value of one as well."""

from __future__ import annotations

import re
from typing import Any, Literal

from gradcheck_lab.probes.support.code_of import code_of, read_by_backward
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.option_names import plain_name
from gradcheck_lab.subjects.code.stores import stored_on_both_sides
from gradcheck_lab.subjects.subject import Recording

_FLAG = re.compile(r"(is_?|in_?)?(train|training|eval|evaluation|test|testing|infer|inference)(_?(flg|flag|mode|phase|time))?")
_WORDS = frozenset("train training test testing eval evaluation val valid validation infer inference predict".split())


def is_training_flag(name: str, value: Any) -> bool:
    """Whether an option or attribute says whether a call trains: `train_flg=True`, `mode="test"`."""
    if isinstance(value, str):
        return value.lower() in _WORDS
    return isinstance(value, bool) and _FLAG.fullmatch(plain_name(name).lower().strip("_")) is not None


def meant_for(
    context: Context, name: str, here: Recording | Exception, there: Recording | Exception, attribute: bool
) -> Literal["error", "warning"] | None:
    """How serious it is that a backward of an object is wrong after a forward with another value of a training flag.

    `here` is a forward with the value of the call, `there` one with the other. Torch's engine calls a backward in either mode.
    An object's is called by its author, often in training alone: it is meant for the other mode too where it reads the flag.
    Where it does not, but reads nothing that only the forward of the call stores, it goes through in the other mode and is
    silently wrong: an error where the flag is at hand, as an attribute of the object (`attribute`) or stored by the forward, or
    where the forward stores what the backward reads in either mode apart, else a warning. A backward that reads what only one
    mode leaves belongs to that mode, which is None.
    """
    if not context.subject.keeps_last_call:
        return "error"
    read, facts, plain = read_by_backward(context), code_of(context), plain_name(name)
    if any(plain in facts.tells(each) for each in read):
        return "error"
    if isinstance(here, Exception) or isinstance(there, Exception) or (read & here.stored) - there.stored:
        return None
    at_hand = attribute or any(plain in facts.tells(each) for each in here.stored | there.stored)
    apart = at_hand or stored_on_both_sides(context.subject.signature, plain) & read
    return "error" if apart else "warning"
