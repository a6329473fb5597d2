"""A test that a user can paste: the call of `assert_gradients` with the subject and inputs of a check."""

from __future__ import annotations

import re

from gradcheck_lab.model.arguments import name_of
from gradcheck_lab.model.exceptions import Contained
from gradcheck_lab.mutation.by_check import CheckCall
from gradcheck_lab.reproduction.caller import caller
from gradcheck_lab.reproduction.check_call import given
from gradcheck_lab.reproduction.drawn import drawn_text
from gradcheck_lab.reproduction.line import merged
from gradcheck_lab.reproduction.writer import Writer


def test_to_paste(call: CheckCall) -> str:
    """The test as Python; what nothing can import is a name in it. "" where the arguments cannot be written."""
    writer = Writer(caller().scopes)
    keywords = given({"options": call.options, "reference": call.reference, "order": call.order, "allow": call.allow})
    keywords |= given({"wrt": call.wrt})
    try:
        with Contained():
            writer.need("import gradcheck_lab as gl")
            positional = [("op", call.subject), *((f"input_{index}", value) for index, value in enumerate(call.inputs))]
            text = writer.call("gl.assert_gradients", positional, keywords)
            drawn = [f"{name} = {drawn_text(value, seed)}" for seed, (name, value) in enumerate(writer.large.items())]
    except Exception:  # an object of the user whose attributes cannot be read
        return ""
    if drawn:
        writer.need("import torch")
    imports = [each for each in writer.before if each.startswith(("import ", "from "))]
    others = [each for each in writer.before if each not in imports]
    name = re.sub(r"\W+", "_", name_of(call.subject)).strip("_").lower()
    body = "\n".join(f"    {each}" for each in (*others, *drawn, text))
    return "\n".join(merged(imports)) + f"\n\n\ndef test_gradients_of_{name}():\n{body}\n"
