"""The verb `check_distributed`: the gradients of a function that several processes compute together."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.distributed.arguments import (
    OTHER_SIZES,
    function_of_rank,
    has_free_sizes,
    names_of,
    placements_of,
    refuse_arguments,
    refuse_input,
    rule_of,
    whole_inputs,
)
from gradcheck_lab.distributed.placements import OUTPUT, placement_of, refuse_uneven
from gradcheck_lab.distributed.plan import Plan
from gradcheck_lab.distributed.run import run
from gradcheck_lab.distributed.together import Layout
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.examination.reporting import Asked
from gradcheck_lab.isolation import refuse_timeout
from gradcheck_lab.model.arguments import Wrt, name_of, options_of, refuse_unknown, seed_of, wanted_of
from gradcheck_lab.report import Report
from gradcheck_lab.reproduction.caller import caller
from gradcheck_lab.reproduction.line import Call, line_of
from gradcheck_lab.rules.op import Op
from gradcheck_lab.specs import Spec
from gradcheck_lab.subjects.subject import input_labels

_SECONDS = 30.0
Placements = Mapping[str | int, Any] | Sequence[Any]


def check_distributed(
    function: Any,
    *specs: Spec | str | torch.Tensor | Any,
    world_size: int = 2,
    backend: str = "gloo",
    placement: Placements | None = None,
    reference: Callable[..., Any] | None = None,
    options: Mapping[str, Any] | None = None,
    allow: Collection[str] = (),
    wrt: Wrt | None = None,
    seed: int = 0,
    timeout: float = _SECONDS,
    probes: bool = True,
    **unknown: Any,
) -> Report:
    """Check every gradient of a function that `world_size` processes compute together over `torch.distributed`.

    `function(*inputs, **options)` runs on each rank, in a process with a process group on loopback, on this rank's part of the
    inputs. It is a function or an autograd Function whose backward communicates, a `gl.Op`, or a pair of forward and backward.
    `specs` say what the *whole* inputs are, as for `gl.fuzz`, or are whole tensors; the same ones are cut for all ranks.
    `placement` says how each input, by name or position, and the "output" (or a list of outputs) lies on the ranks; left out,
    it is replicated. A list has the placements of the inputs in order, and then those of the outputs.

    | placement | an input | its gradient, on each rank | an output | the upstream gradient that each rank is given |
    | --- | --- | --- | --- | --- |
    | `Replicate()` | whole on each rank | the whole gradient | whole on each rank | the whole one, the same on each |
    | `Shard(d)` | cut along d | this rank's part of it | joined along d | this rank's part |
    | `Partial()` | a term of a sum | the whole gradient of the sum | summed over the ranks | the whole one, the same on each |
    | `Replicate("partial")` | whole on each | a term of it | whole on each | a term: they add up to it |

    This is the convention of Megatron-LM: what is replicated has a replicated gradient, and the loss of all ranks is one
    number. `torch.distributed.nn.functional` has another, in which each rank's copy of an output is used for something of its
    own: the placement of such an output is `Replicate("partial")`.

    `reference(*inputs, **options)` is the same function of whole tensors in torch: outputs and gradients are compared with it
    in float64, under autograd in one process. Without one, central differences of the ranks' own forward in float64 decide:
    the identity ⟨J u, v⟩ = ⟨u, J* v⟩ summed over the ranks, for unit vectors u or random ones. It says whether the backward is
    the adjoint of the forward, whatever that computes. Then derived calls follow, with other layouts, values, upstreams and
    frozen inputs, unless `probes` is False. `allow`, `wrt` and `seed` are those of `gl.check`; a call of the ranks may take
    `timeout` seconds.

    Returns a `Report`. A rank that raises, ends, does not come back or disagrees with the others is a finding that names it;
    all ranks have ended when this returns. Raises `InvalidArgument` for a wrong argument. Source of the convention: Shoeybi et
    al., "Megatron-LM: Training multi-billion parameter language models using model parallelism", 2019, section 3.

    >>> import torch
    >>> from torch import distributed
    >>> class Reduce(torch.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         y = x.clone()
    ...         distributed.all_reduce(y)
    ...         return y
    ...     @staticmethod
    ...     def backward(ctx, grad_output):
    ...         return grad_output
    >>> check_distributed(Reduce, "real('n')", placement={"x": "partial"}, reference=lambda x: x, probes=False).verdict
    'pass'
    """
    refuse_unknown("check_distributed", unknown, options)
    started = time.perf_counter()
    refuse_arguments(function, specs, world_size, backend, reference, allow, probes)
    refuse_timeout(timeout)
    if timeout is None:
        raise InvalidArgument(f"timeout is None; pass a number of seconds, such as {_SECONDS:g}")
    rule = rule_of(function)
    seed, name, keywords = seed_of(seed), name_of(rule), options_of(options)
    own = function_of_rank(rule)
    names = names_of(rule, own, len(specs))
    labels = input_labels(names)
    lying, outputs = placements_of(placement, names, name)
    given = whole_inputs(specs, lying, world_size, seed)
    for value, each, label in zip(given, lying, labels, strict=True):
        refuse_input(value, label)
        refuse_uneven(value, each, label, world_size)
    floating = frozenset(i for i, value in enumerate(given) if is_differentiable(value))
    if not floating:
        raise InvalidArgument(f"nothing to compare: no input of {name} is a floating tensor; pass x.double() or a spec of one")
    wanted = floating if wrt is None else wanted_of(wrt, name, names, floating)
    layout = Layout(names, labels, lying, outputs, world_size, seed)
    ranks_run = _Bound(own, keywords) if keywords and not isinstance(own, Op) else own
    constants = floating - wanted
    plan = Plan(
        name, ranks_run, given, layout, reference, keywords, constants, frozenset(allow), float(timeout), probes,
        whole_inputs(specs, lying, world_size, seed + 1, OTHER_SIZES) if has_free_sizes(specs) else None,
    )  # fmt: skip
    report = run(plan, Asked(1, allow, seed, started))
    if report.verdict == "pass":
        return report
    asked = {
        "world_size": world_size, "placement": _written(placement), "reference": reference, "options": keywords or None,
        "allow": set(allow) or None, "wrt": wrt, "seed": seed or None,
    }  # fmt: skip
    positional = [("function", function), *((f"input_{i}", _spec_text(each)) for i, each in enumerate(specs))]
    call = Call("gl.check_distributed", positional, {key: value for key, value in asked.items() if value is not None})
    return replace(report, reproduce=line_of(call, caller()))


@dataclass(frozen=True, slots=True)
class _Bound:
    """A function with its options; it can be sent to another process where the function can."""

    function: Callable[..., Any]
    options: Mapping[str, Any]

    def __call__(self, *inputs: Any) -> Any:
        return self.function(*inputs, **self.options)


def _written(placement: Placements | None) -> Any:
    """The placements as the line of a failure writes them: as text."""
    if placement is None:
        return None
    if isinstance(placement, Mapping):
        return {key: _text(value) for key, value in placement.items()}
    return _text(placement)


def _text(value: Any) -> Any:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [placement_of(each, OUTPUT).text for each in value]
    return placement_of(value, OUTPUT).text


def _spec_text(value: Any) -> Any:
    return str(value) if isinstance(value, Spec) else value
