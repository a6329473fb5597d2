"""Adapters, one kind of user object a file. Each returns a `Subject` for an object and the inputs of a call, or None."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.kernels.starting import install_where_interpreting
from gradcheck_lab.model.arguments import Wrt, reading
from gradcheck_lab.subjects.array_options import with_array_options
from gradcheck_lab.subjects.autograd_function import adapt_autograd_function
from gradcheck_lab.subjects.contained import contained
from gradcheck_lab.subjects.custom_op import adapt_custom_op
from gradcheck_lab.subjects.forms.adapters import adapt_context_class, adapt_loss_with_gradient, adapt_static_class
from gradcheck_lab.subjects.forms.graph import adapt_graph
from gradcheck_lab.subjects.forms.loss_objects import adapt_loss_object
from gradcheck_lab.subjects.heard import heard
from gradcheck_lab.subjects.layers.adapter import adapt_layer
from gradcheck_lab.subjects.layers.paths import is_user_class
from gradcheck_lab.subjects.marked_inputs import with_marks
from gradcheck_lab.subjects.module import adapt_module
from gradcheck_lab.subjects.op import adapt_op
from gradcheck_lab.subjects.pair import adapt_pair
from gradcheck_lab.subjects.plain_function import adapt_plain_function
from gradcheck_lab.subjects.readings.layers import unread_layer
from gradcheck_lab.subjects.subject import Subject

Adapter = Callable[[Any, tuple[Any, ...], dict[str, Any]], Subject | None]

ADAPTERS: tuple[Adapter, ...] = (
    adapt_op,
    adapt_pair,
    adapt_autograd_function,
    adapt_custom_op,
    adapt_context_class,
    adapt_static_class,
    adapt_graph,
    adapt_loss_object,
    adapt_layer,
    adapt_module,
    adapt_loss_with_gradient,
    adapt_plain_function,
)


def adapt(value: Any, inputs: tuple[Any, ...], options: dict[str, Any], wrt: Wrt | None = None) -> Subject:
    """Find the adapter for `value` and let it translate it with the inputs and options of a call.

    `wrt` names the inputs that need a gradient; None leaves that to their marks and to the object.

    Raises `InvalidArgument` for an object that none of them knows, that raises when it is looked at, and for inputs or options
    that it cannot take.
    """
    install_where_interpreting()
    for adapter in ADAPTERS:
        with reading(f"the {type(value).__name__} and its inputs"):
            subject = adapter(value, inputs, options)
            if subject is not None:
                return heard(contained(with_marks(with_array_options(subject, options), wrt)))
    raise _unread(value, inputs, options) or InvalidArgument(
        f"cannot check an object of type {type(value).__name__}; pass gl.Op(forward, backward) or a function that calls ops"
    )


def _unread(value: Any, inputs: tuple[Any, ...], options: dict[str, Any]) -> InvalidArgument | None:
    """The refusal of an object, or of a class that needs no arguments, with methods of other names than the usual ones."""
    kind = value if isinstance(value, type) else type(value)
    if not is_user_class(kind) or not inputs:
        return None
    with reading(f"the {kind.__name__}"):
        obj, shown = (value(), f"{kind.__name__}()") if isinstance(value, type) else (value, "")
        problem = f"cannot tell which methods of {kind.__name__} are its forward and its backward"
        return unread_layer(problem, obj, inputs, options, shown=shown)
