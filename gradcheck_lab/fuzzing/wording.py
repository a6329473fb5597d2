"""A drawn call in one line of text, as findings, saved cases and crash reports show it."""

from __future__ import annotations

from collections.abc import Collection

from gradcheck_lab.calls.recipe import CallRecipe


def which_call(words: str, probed: bool) -> str:
    """A drawn call, or one that a probe made of it, as the start of a sentence."""
    return f"a call that a probe made of the one on {words}" if probed else f"the call on {words}"


def call_text(call: CallRecipe, names: Collection[str] = ()) -> str:
    """The shape and dtype of each input and the options, with each special profile and layout.

    `names` are those of the inputs; without them they are numbered.

    >>> from gradcheck_lab.calls.recipe import TensorRecipe
    >>> call_text(CallRecipe((TensorRecipe("real", (2, 3), layout="transposed"),), {"dim": 1}), ["x"])
    'x: float64[2, 3] transposed, dim=1'
    """
    names = list(names) or [f"input {index}" for index in range(len(call.tensors))]
    parts = []
    for name, tensor in zip(names, call.tensors, strict=True):
        special = [tensor.profile] if tensor.profile != "ordinary" and tensor.values is None else []
        special += [tensor.layout] if tensor.layout != "contiguous" else []
        dtype = str(tensor.dtype).removeprefix("torch.")
        parts.append(f"{name}: {dtype}{list(tensor.shape)}{' ' if special else ''}{', '.join(special)}")
    return ", ".join([*parts, *(f"{name}={value!r}" for name, value in call.options.items())])


def sizes_of(call: CallRecipe) -> set[int]:
    """The sizes of the dimensions of a call.

    >>> from gradcheck_lab.calls.recipe import TensorRecipe
    >>> sizes_of(CallRecipe((TensorRecipe("real", (2, 3)), TensorRecipe("real", (3,)))))
    {2, 3}
    """
    return {size for tensor in call.tensors for size in tensor.shape}
