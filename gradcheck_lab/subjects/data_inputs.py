"""Which inputs are data by the convention of whoever wrote the backward: it gives them no gradient, and they are no parameter.

Position says nothing of that. What does: a loss that holds its prediction against labels, and the usual names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.subjects.subject import Subject

TARGETS = frozenset(
    "t target targets label labels y_true ytrue true truth ground_truth onehot one_hot gt expected teacher y_trues".split()
)
_MASKS = frozenset("mask masks keep m_keep attn_mask attention_mask padding_mask key_padding_mask src_mask valid".split())
Shape = tuple[int, ...]
_LABELS = ((0.0, 1.0), (-1.0, 1.0))


def data_inputs(subject: Subject, inputs: Sequence[Any], returned: Sequence[Any], outputs: Sequence[Shape]) -> frozenset[int]:
    """The inputs that the backward gives no gradient and that are data: masks, and the target of a loss.

    A mask holds infinities, which nothing that is trained does, or is called one and holds zeros and ones. A loss has one
    output, of fewer axes than its prediction; its target has the prediction's shape or one entry for each row of it, and is
    called so or holds labels: zeros and ones, or -1 and 1. Where the user said of an input that it needs a gradient, it is
    no data. `outputs` are the shapes of the floating outputs.
    """
    pairs = list(enumerate(zip(inputs, returned, strict=False)))
    trained = subject.declared | subject.constants | subject.parameters
    free = [i for i, (v, g) in pairs if g is None and is_differentiable(v) and i not in trained]
    given = [v for v, g in (pair for _, pair in pairs) if g is not None and is_differentiable(v)]
    predictions = [v for v in given if len(outputs) == 1 and _sums_over_rows(outputs[0], v)]

    def is_data(name: str, value: torch.Tensor) -> bool:
        if bool(torch.isinf(value).any()):
            return True
        if not given or value.is_complex():
            return False
        labels = holds_labels(value)
        is_target = any(_goes_with(value, p) for p in predictions)
        return (is_target and (labels or is_named(name, TARGETS))) or (labels and is_named(name, _MASKS | TARGETS))

    return frozenset(i for i in free if is_data(subject.names[i], inputs[i]))


def data_note(subject: Subject, index: int, wanted: Sequence[str]) -> Finding:
    """The note that no gradient of an input was compared, and how to have it compared."""
    both = [*wanted, subject.names[index]]
    return Finding(
        "not-compared",
        "note",
        f"the backward of {subject.name} gives {subject.labels[index]} no gradient, so that none was compared",
        explanation="it was taken for data: a mask, the target of a loss, or a number that the call is set with",
        suggestion=f"pass wrt={both} where its gradient is wanted, wrt={list(wanted)} where it is not",
    )


def is_named(name: str, among: frozenset[str]) -> bool:
    """Whether an input has one of these names, but for case and underscores around it."""
    return name.lower().strip("_") in among


def holds_labels(value: torch.Tensor) -> bool:
    """Whether a tensor holds zeros and ones, or -1 and 1, and both of them: all zeros or ones are as a parameter starts."""
    if not value.numel():
        return False
    low, high = value.min(), value.max()
    return any(bool(low == a) and bool(high == b) and bool(((value == a) | (value == b)).all()) for a, b in _LABELS)


def _sums_over_rows(output: Shape, prediction: torch.Tensor) -> bool:
    """Whether an output is a number, or one for each row of an input."""
    return len(output) < prediction.ndim and output == tuple(prediction.shape[: len(output)])


def _goes_with(value: torch.Tensor, prediction: torch.Tensor) -> bool:
    """Whether an input has the shape of a prediction, or an entry for each row of it."""
    return value.ndim > 0 and value.shape == prediction.shape[: value.ndim]
