"""Reads and refuses the arguments of `check_distributed`: the function of a rank, the placements and the whole inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.calls.drawing import draw_inputs
from gradcheck_lab.calls.tensor_kinds import what_else
from gradcheck_lab.distributed.placements import OUTPUT, Placement, Replicate, Shard, placement_of
from gradcheck_lab.distributed.rank import is_plain
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.arguments import name_of, refuse_names
from gradcheck_lab.model.causes import CAUSES
from gradcheck_lab.model.limits import RANKS
from gradcheck_lab.model.shown import quoted
from gradcheck_lab.rules.naming import input_names
from gradcheck_lab.rules.op import Op
from gradcheck_lab.specs import Spec, parse

OTHER_SIZES = (3, 1, 2, 5, 4)
_SIZES = (2, 3, 1, 4, 5)  # of the letters of specs, times the number of ranks
_EXAMPLE = "placement={'x': gl.Replicate(), 'w': gl.Shard(0), 'output': gl.Shard(1)}"


def function_of_rank(function: Any) -> Callable[..., Any] | Op:
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


def names_of(function: Any, own: Callable[..., Any] | Op, count: int) -> tuple[str, ...]:
    if isinstance(own, Op):
        return own.names(count)
    if _is_rule(function):
        context = int(_takes_context(function))
        return input_names(function.forward, count + context)[context:]
    return input_names(own, count)


def _is_rule(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, torch.autograd.Function)


def rule_of(function: Any) -> Any:
    """The autograd Function whose `apply` this is; anything else as it is."""
    owner = getattr(function, "__self__", None)
    return owner if _is_rule(owner) and getattr(function, "__name__", "") == "apply" else function


def _takes_context(function: type) -> bool:
    """Whether the forward of an autograd Function takes ctx first; with `setup_context` it does not."""
    return getattr(function, "setup_context", None) is torch.autograd.Function.setup_context


def placements_of(placement: Any, names: tuple[str, ...], name: str) -> tuple[tuple[Placement, ...], tuple[Placement, ...]]:
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


def has_free_sizes(specs: Sequence[Any]) -> bool:
    """Whether specs alone say what the inputs are, with a size that is free."""
    read = [parse(each) if isinstance(each, str) else each for each in specs]
    return all(isinstance(each, Spec) for each in read) and any(dim.size is None for each in read for dim in each.dims)


def whole_inputs(
    specs: Sequence[Any], lying: Sequence[Placement], ranks: int, seed: int, multiples: Sequence[int] = _SIZES
) -> tuple[Any, ...]:
    """The whole inputs: those of specs are drawn, with sizes that the ranks can share."""
    read = [parse(each) if isinstance(each, str) else each for each in specs]
    described = [each for each in read if isinstance(each, Spec)]
    sizes: dict[str, tuple[int, ...]] = {}
    for spec in described:
        for dim in spec.dims:
            if dim.name not in sizes and dim.size is None:
                sizes[dim.name] = (ranks * multiples[len(sizes) % len(multiples)],)
    for spec, each in zip(read, lying, strict=True):
        if isinstance(spec, Spec) and isinstance(each, Shard) and not -len(spec.dims) <= each.dim < len(spec.dims):
            raise InvalidArgument(f"{spec} is sharded along dimension {each.dim}, which it does not have")
    drawn = iter(draw_inputs(described, seed, sizes))
    return tuple(next(drawn) if isinstance(each, Spec) else _detached(each) for each in read)


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, torch.Tensor) else value


def refuse_input(value: Any, label: str) -> None:
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


def refuse_arguments(
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
