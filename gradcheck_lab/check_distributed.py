"""The verb `check_distributed`: the gradients of a function that several processes compute together."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.calls.drawing import draw_inputs
from gradcheck_lab.calls.tensor_kinds import what_else
from gradcheck_lab.distributed.placements import Placement, Replicate, Shard, placement_of, refuse_uneven
from gradcheck_lab.distributed.plan import Plan
from gradcheck_lab.distributed.rank import is_plain
from gradcheck_lab.distributed.run import run
from gradcheck_lab.distributed.together import Layout
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.examination.reporting import Asked
from gradcheck_lab.isolation import refuse_timeout
from gradcheck_lab.model.arguments import Wrt, name_of, options_of, refuse_names, refuse_unknown, seed_of, wanted_of
from gradcheck_lab.model.causes import CAUSES
from gradcheck_lab.model.limits import RANKS
from gradcheck_lab.model.shown import quoted
from gradcheck_lab.report import Report
from gradcheck_lab.reproduction.caller import caller
from gradcheck_lab.reproduction.line import Call, line_of
from gradcheck_lab.rules.naming import input_names
from gradcheck_lab.rules.op import Op
from gradcheck_lab.specs import Spec, parse
from gradcheck_lab.subjects.subject import input_labels

OUTPUT = "output"
_SIZES = (2, 3, 1, 4, 5)  # of the letters of specs, times the number of ranks
_SECONDS = 30.0
_EXAMPLE = "placement={'x': gl.Replicate(), 'w': gl.Shard(0), 'output': gl.Shard(1)}"
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
    _refuse_arguments(function, specs, world_size, backend, reference, allow, probes)
    refuse_timeout(timeout)
    if timeout is None:
        raise InvalidArgument(f"timeout is None; pass a number of seconds, such as {_SECONDS:g}")
    rule = _rule_of(function)
    seed, name, keywords = seed_of(seed), name_of(rule), options_of(options)
    own = _callable(rule)
    names = _names(rule, own, len(specs))
    labels = input_labels(names)
    lying, outputs = _placements(placement, names, name)
    given = _inputs(specs, lying, world_size, seed)
    for value, each, label in zip(given, lying, labels, strict=True):
        _refuse_input(value, label)
        refuse_uneven(value, each, label, world_size)
    floating = frozenset(i for i, value in enumerate(given) if is_differentiable(value))
    if not floating:
        raise InvalidArgument(f"nothing to compare: no input of {name} is a floating tensor; pass x.double() or a spec of one")
    wanted = floating if wrt is None else wanted_of(wrt, name, names, floating)
    layout = Layout(names, labels, lying, outputs, world_size, seed)
    ranks_run = _Bound(own, keywords) if keywords and not isinstance(own, Op) else own
    constants = floating - wanted
    plan = Plan(name, ranks_run, given, layout, reference, keywords, constants, frozenset(allow), float(timeout), probes)
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


def _callable(function: Any) -> Callable[..., Any] | Op:
    """What runs on a rank: an Op, or a function that torch's engine differentiates."""
    if isinstance(function, Op):
        return function
    if isinstance(function, tuple) and len(function) == 2 and all(callable(each) for each in function):
        return Op(*function)
    if _is_rule(function):
        applied: Callable[..., Any] = function.apply
        return applied
    if isinstance(function, torch.nn.Module) and any(each.requires_grad for each in function.parameters()):
        raise InvalidArgument(
            f"{name_of(function)} is a module with parameters, whose placement nobody can say; pass a function of its inputs "
            "and parameters, such as one that calls torch.func.functional_call"
        )
    if not callable(function) or isinstance(function, type):
        raise InvalidArgument(
            f"the function is a {type(function).__name__}; pass a function of tensors, an autograd Function or a gl.Op"
        )
    found: Callable[..., Any] = function
    return found


def _names(function: Any, own: Callable[..., Any] | Op, count: int) -> tuple[str, ...]:
    if isinstance(own, Op):
        return own.names(count)
    if _is_rule(function):
        context = int(_takes_context(function))
        return input_names(function.forward, count + context)[context:]
    return input_names(own, count)


def _is_rule(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, torch.autograd.Function)


def _rule_of(function: Any) -> Any:
    """The autograd Function whose `apply` this is; anything else as it is."""
    owner = getattr(function, "__self__", None)
    return owner if _is_rule(owner) and getattr(function, "__name__", "") == "apply" else function


def _takes_context(function: type) -> bool:
    """Whether the forward of an autograd Function takes ctx first; with `setup_context` it does not."""
    return getattr(function, "setup_context", None) is torch.autograd.Function.setup_context


def _placements(placement: Any, names: tuple[str, ...], name: str) -> tuple[tuple[Placement, ...], tuple[Placement, ...]]:
    """The placements of the inputs and of the outputs."""
    if placement is None:
        return tuple(Replicate() for _ in names), (Replicate(),)
    if isinstance(placement, Mapping):
        return _by_name(placement, names, name)
    if isinstance(placement, Sequence) and not isinstance(placement, str):
        if not len(names) <= len(placement):
            raise InvalidArgument(
                f"placement has {len(placement)} entries and {name} has {len(names)} inputs; give one for each, "
                "then one for each output"
            )
        found = [placement_of(each, f"entry {k} of placement") for k, each in enumerate(placement)]
        return tuple(found[: len(names)]), tuple(found[len(names) :]) or (Replicate(),)
    raise InvalidArgument(f"placement is {quoted(placement)}; pass a dict by name: {_EXAMPLE}")


def _by_name(
    placement: Mapping[Any, Any], names: tuple[str, ...], name: str
) -> tuple[tuple[Placement, ...], tuple[Placement, ...]]:
    lying: list[Placement] = [Replicate() for _ in names]
    outputs: tuple[Placement, ...] = (Replicate(),)
    for key, value in placement.items():
        if key in (OUTPUT, "outputs") and key not in names:
            several = value if isinstance(value, list | tuple) else [value]
            titles = [OUTPUT] if len(several) == 1 else [f"output {k}" for k in range(len(several))]
            outputs = tuple(placement_of(each, title) for each, title in zip(several, titles, strict=True))
            if not outputs:
                raise InvalidArgument("the placement of the output is an empty list; give one for each output")
            continue
        index = names.index(key) if key in names else key if type(key) is int else -1
        if not 0 <= index < len(names):
            raise InvalidArgument(
                f"placement names {quoted(key)}, which is no input of {name}; its inputs are {', '.join(names)}, and 'output'"
            )
        lying[index] = placement_of(value, names[index])
    return tuple(lying), outputs


def _inputs(specs: Sequence[Any], lying: Sequence[Placement], ranks: int, seed: int) -> tuple[Any, ...]:
    """The whole inputs: those of specs are drawn, with sizes that the ranks can share."""
    read = [parse(each) if isinstance(each, str) else each for each in specs]
    described = [each for each in read if isinstance(each, Spec)]
    sizes: dict[str, tuple[int, ...]] = {}
    for spec in described:
        for dim in spec.dims:
            if dim.name not in sizes and dim.size is None:
                sizes[dim.name] = (ranks * _SIZES[len(sizes) % len(_SIZES)],)
    for spec, each in zip(read, lying, strict=True):
        if isinstance(spec, Spec) and isinstance(each, Shard) and not -len(spec.dims) <= each.dim < len(spec.dims):
            raise InvalidArgument(f"{spec} is sharded along dimension {each.dim}, which it does not have")
    drawn = iter(draw_inputs(described, seed, sizes))
    return tuple(next(drawn) if isinstance(each, Spec) else _detached(each) for each in read)


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, torch.Tensor) else value


def _refuse_input(value: Any, label: str) -> None:
    if isinstance(value, torch.Tensor):
        if (other := what_else(value)) is not None:
            raise InvalidArgument(f"{label} is {other[0]}; pass {other[1]}")
        if value.device.type != "cpu" or value.layout != torch.strided:
            layout = str(value.layout).removeprefix("torch.")
            raise InvalidArgument(f"{label} is on {value.device} in the layout {layout}; pass it dense on the CPU")
        if is_differentiable(value) and not bool(torch.isfinite(value).all()):
            raise InvalidArgument(f"{label} holds NaN or inf, where no gradient is defined; pass finite numbers")
    elif not is_plain(value):
        raise InvalidArgument(
            f"{label} is a {type(value).__name__}; pass a tensor, a spec, a number, text or None, and anything else in options="
        )


def _refuse_arguments(
    function: Any, specs: Sequence[Any], ranks: Any, backend: Any, reference: Any, allow: Any, probes: Any
) -> None:
    name = name_of(function)
    if not specs:
        raise InvalidArgument(
            f"{name} was given no inputs; pass its specs or whole tensors: gl.check_distributed({name}, \"real('n d')\")"
        )
    if type(ranks) is not int or not 1 <= ranks <= RANKS.value:
        raise InvalidArgument(f"world_size is {quoted(ranks)}; pass a whole number of ranks from 1 to {RANKS.value}")
    if backend != "gloo":
        raise InvalidArgument(f"backend is {quoted(backend)}; the ranks compute on the CPU: pass 'gloo'")
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        raise InvalidArgument("this build of torch has no gloo; install one with torch.distributed")
    if torch.distributed.is_initialized():
        raise InvalidArgument(
            "this process is in a process group, and the ranks make their own; "
            "call torch.distributed.destroy_process_group() first"
        )
    if reference is not None and not callable(reference):
        raise InvalidArgument(
            f"reference is a {type(reference).__name__}; pass the same function of whole tensors, "
            "written with torch's own functions"
        )
    if type(probes) is not bool:
        raise InvalidArgument(f"probes is {quoted(probes)}; pass False to compare the one call alone")
    refuse_names("allow", allow, CAUSES)


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
