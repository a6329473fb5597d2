"""Code that torch differentiates and that calls hand-written backwards: the common part of modules and plain functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.calls.randomness import random_states
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.torch_messages import refused_argument, writes_to_leaf
from gradcheck_lab.model.user_errors import first_line
from gradcheck_lab.subjects.engine_backward import EngineBackward, as_leaves
from gradcheck_lab.subjects.flat_arguments import tensors_of
from gradcheck_lab.subjects.forward_bodies import forward_bodies
from gradcheck_lab.subjects.leaving_autograd import LeavingAutograd
from gradcheck_lab.subjects.subject import Recording, Trace
from gradcheck_lab.subjects.untraceable import NothingHandWritten

Run = Callable[[tuple[Any, ...], Mapping[str, Any]], Any]


@dataclass(slots=True)
class Differentiable:
    """The three runs of a subject that torch differentiates.

    `run(inputs, options)` calls the user's object on flat inputs, of which the first `arguments` are the call's own;
    `inputs` are those given by the user, whose dtypes say what a wider run has to widen.
    """

    name: str
    run: Run
    inputs: tuple[Any, ...]
    arguments: int
    plain: bool = False  # the last trace found no hand-written backward in it
    in_place: bool = False  # it writes to its inputs
    constants: frozenset[int] = frozenset()  # inputs that torch refused to differentiate
    backwards: dict[Any, None] = field(default_factory=dict)  # those of the Functions inside, once a trace has found them

    def record(self, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> Recording:
        """Run it as its users do; hand-written Functions inside go through their own backward."""
        leaves = as_leaves(inputs)
        with torch.enable_grad():
            output, leaves = self._tracked(leaves, options)
        outputs = self._tensors(output)
        engine = EngineBackward(outputs, leaves, lambda call, returned: call(), tuple)
        return Recording(
            tuple(o.detach() for o in outputs),
            not isinstance(output, torch.Tensor),
            engine.backward,
            unused=self._unused(outputs, leaves, options),
            constants=self.constants,
            keeps_in=partial(self._keeps_in, inputs, options, outputs),
        )

    def _keeps_in(
        self, inputs: tuple[Any, ...], options: Mapping[str, Any], outputs: tuple[Any, ...], place: int | str
    ) -> bool:
        """Whether torch has no derivative of this argument alone, and another run finds the outputs where it was written to."""
        laid = tuple(v.detach().clone() if is_differentiable(v) else v for v in inputs)
        given = {name: v.detach().clone() if is_differentiable(v) else v for name, v in options.items()}
        with torch.no_grad():
            again = self._tensors(self._run(laid, given))
        same = len(again) == len(outputs) and all(torch.equal(a, b) for a, b in zip(again, outputs, strict=True))
        marked = laid[place] if isinstance(place, int) else given.get(place)
        if not same or not isinstance(marked, torch.Tensor) or not is_differentiable(marked):
            return False
        marked.requires_grad_()
        try:
            with torch.enable_grad():
                self.run(laid, given)
        except RuntimeError as error:
            return bool(refused_argument(error))
        return False

    def _tracked(self, leaves: tuple[Any, ...], options: Mapping[str, Any]) -> tuple[Any, tuple[Any, ...]]:
        """Run it, and again without tracking inputs that torch has no derivative for, as the running mean of a batch norm."""
        before = random_states()
        while True:
            try:
                return self._run(leaves, options), self._without_constants(leaves)
            except RuntimeError as error:
                refused = refused_argument(error)
                culprit = self._refused(leaves, options, refused) if refused else None
                if culprit is None:
                    raise
                self.constants |= {culprit}
                before.restore()

    def _without_constants(self, leaves: tuple[Any, ...]) -> tuple[Any, ...]:
        if not self.constants:
            return leaves
        return tuple(v.detach() if i in self.constants and v.requires_grad else v for i, v in enumerate(leaves))

    def _refused(self, leaves: tuple[Any, ...], options: Mapping[str, Any], argument: str) -> int | None:
        """The input that a refusal is about: without tracking it, torch does not refuse, or refuses another one."""
        for i, value in enumerate(leaves):
            if is_differentiable(value) and value.requires_grad and i not in self.constants:
                try:
                    self._run(tuple(v.detach() if i == j else v for j, v in enumerate(leaves)), options)
                except RuntimeError as error:
                    if refused_argument(error) == argument:
                        continue
                return i
        return None

    def _unused(self, outputs: tuple[Any, ...], leaves: tuple[Any, ...], options: Mapping[str, Any]) -> frozenset[int]:
        """The floating outputs that torch itself marks as not differentiable, beside others; not what the code detaches."""
        marked = frozenset(i for i, o in enumerate(outputs) if is_differentiable(o) and not o.requires_grad)
        if not marked or not any(o.requires_grad for o in outputs):
            return frozenset()
        with torch.enable_grad(), LeavingAutograd() as watch:
            try:
                self._run(leaves, options)
            except Exception:  # it runs without the watch: whatever it does under it, it is not plain torch
                return frozenset()
        return frozenset() if watch.left else marked

    def connected(self, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> tuple[torch.Tensor, ...]:
        """Run it on tensors that autograd tracks, through the hand-written Functions inside."""
        with self._widened(inputs):
            return self._tensors(self._run(inputs, options))

    def trace(self, inputs: tuple[Any, ...], options: Mapping[str, Any], substitute: frozenset[int]) -> Trace:
        """Run it with the forward bodies of the Functions inside; raises `NothingHandWritten` where there are none."""
        if not self.plain:
            with forward_bodies() as bodies, self._widened(inputs):
                try:
                    output = self._run(inputs, options)
                except Exception as error:
                    if bodies.replaced:
                        raise
                    raise NothingHandWritten(f"no hand-written backward ran within {self.name}: {first_line(error)}") from error
            self.plain = not bodies.replaced
            self.backwards.update(bodies.backwards)
        if self.plain:
            raise NothingHandWritten(f"nothing inside {self.name} has a hand-written backward, so autograd would check itself")
        return Trace(self._tensors(output), cut=bodies.cut)

    def forward(self, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> tuple[Any, ...]:
        """Evaluate it."""
        with self._widened(inputs):
            return self._tensors(self._run(inputs, options))

    def _run(self, leaves: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
        leaves = self._without_constants(leaves)
        if not self.in_place:
            try:
                return self.run(leaves, options)
            except RuntimeError as error:
                if not writes_to_leaf(error):
                    raise
            self.in_place = True
        # torch allows in-place work on anything but a leaf
        given = tuple(v.clone() if is_differentiable(v) else v for v in leaves[: self.arguments])
        return self.run((*given, *leaves[self.arguments :]), options)

    def _tensors(self, output: Any) -> tuple[torch.Tensor, ...]:
        found = tensors_of(output)
        if not found:
            raise InvalidArgument(
                f"{self.name} returned a {type(output).__name__} without a tensor; "
                "return a tensor, or a tuple, dict or dataclass of tensors"
            )
        return found

    @contextmanager
    def _widened(self, inputs: tuple[Any, ...]) -> Iterator[None]:
        """Make constants such as `torch.zeros(n)` in the dtype that the inputs were widened to.

        The default belongs to the process: other threads see it while the user's code runs on inputs wider than the given.
        """
        default = torch.get_default_dtype()
        wide = dtype_changes(self.inputs, inputs).get(default, default)
        torch.set_default_dtype(wide)
        try:
            yield
        finally:
            torch.set_default_dtype(default)


def dtype_changes(before: tuple[Any, ...], after: tuple[Any, ...]) -> dict[torch.dtype, torch.dtype]:
    """Maps each floating or complex dtype in `before` to the dtype of the same inputs in `after`."""
    pairs = [(a.dtype, b.dtype) for a, b in zip(before, after, strict=True) if is_differentiable(a) and is_differentiable(b)]
    return {a: b for a, b in pairs if a.is_complex == b.is_complex}
