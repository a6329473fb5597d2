"""Run each test of `torch.library.opcheck`; every failure becomes a finding."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch

from gradcheck_lab.calls.case import copy_tensor, is_differentiable
from gradcheck_lab.calls.randomness import has_drawn_since, random_states
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.exceptions import class_name
from gradcheck_lab.model.findings import Finding, Severity
from gradcheck_lab.model.torch_messages import lacks_fake_kernel, writes_undeclared
from gradcheck_lab.model.user_errors import first_line
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects.custom_op import operator_call
from gradcheck_lab.torch_internals import schema

STATIC = ("test_schema", "test_autograd_registration", "test_faketensor")
COMPILED = "test_aot_dispatch_dynamic"

_SUGGESTIONS = {
    "test_schema": "declare what the kernel writes to in mutates_args, and return clones instead of inputs",
    "test_autograd_registration": "register the backward with register_autograd, or put the kernel at the Autograd key",
    "test_faketensor": "make the function given to register_fake return the kernel's shapes, strides and dtypes",
    COMPILED: "write the backward with torch functions or further custom ops, so that torch.compile can trace it",
}


def opcheck_findings(value: Any, inputs: tuple[Any, ...], options: dict[str, Any]) -> list[Finding]:
    """Run opcheck's tests on one call of a custom op or operator. Importing them costs a few seconds, once.

    The test that traces the backward as torch.compile would is skipped where another test fails, and where the kernel draws
    random numbers, which would differ under tracing.

    Source of the tests: `torch.library.opcheck`. Raises `InvalidArgument` for anything that is no operator.
    """
    call = operator_call(value, inputs, options)
    if call is None:
        raise InvalidArgument(f"{type(value).__name__} is no custom op; pass a torch.library.custom_op or torch.ops.ns.name")
    operator, arguments, keywords = call
    given = tuple(_leaf(argument) for argument in arguments)
    findings: list[Finding] = []
    for test in STATIC:
        findings += _run(operator, given, keywords, test)
    if not findings and not _is_random(operator, given, keywords):
        findings += _run(operator, given, keywords, COMPILED)
    return findings


def _is_random(operator: Any, arguments: Sequence[Any], keywords: dict[str, Any]) -> bool:
    """Whether the kernel draws from a global random generator, or returns different values in two calls."""
    before = random_states()
    with torch.no_grad():
        once = operator(*[_leaf(a) for a in arguments], **keywords)
        moved = has_drawn_since(before)
        again = operator(*[_leaf(a) for a in arguments], **keywords)
    pairs = zip(as_tuple(once), as_tuple(again), strict=True)
    return moved or not all(_same(a, b) for a, b in pairs)


def _same(a: Any, b: Any) -> bool:
    return not isinstance(a, torch.Tensor) or torch.equal(torch.nan_to_num(a), torch.nan_to_num(b))


def _run(operator: Any, arguments: Sequence[Any], keywords: dict[str, Any], test: str) -> list[Finding]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = torch.library.opcheck(operator, tuple(arguments), keywords, test_utils=test, raise_exception=False)
    error: Any = results[test]
    if not isinstance(error, Exception):
        return []
    cause, severity = _classify(test, error)
    unregistered = cause == "unsupported" and test != COMPILED
    explanation = "it has no fake kernel, which torch.compile and torch.export need" if unregistered else first_line(error)
    suggestion = "add one with register_fake" if unregistered else _SUGGESTIONS[test]
    message = f"opcheck's {test} failed for {schema(operator).name}"
    return [Finding(cause, severity, message, explanation=explanation, suggestion=suggestion, probe="opcheck",
                    exception=class_name(error))]  # fmt: skip


def _classify(test: str, error: Exception) -> tuple[str, Severity]:
    if test == "test_autograd_registration":
        return "disconnected", "error"
    if test == "test_schema" and writes_undeclared(error):
        return "mutates-input", "error"
    if test == "test_faketensor":
        if lacks_fake_kernel(error):
            return "unsupported", "warning"
        if type(error).__name__ == "MetadataMismatchError":
            return "forward-mismatch", "error"
    if test == COMPILED:
        return ("wrong-value", "error") if isinstance(error, AssertionError) else ("unsupported", "warning")
    return "raises", "error"


def _leaf(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_leaf(item) for item in value]
    if not isinstance(value, torch.Tensor):
        return value
    return copy_tensor(value).requires_grad_(is_differentiable(value))
