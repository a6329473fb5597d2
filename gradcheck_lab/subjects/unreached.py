"""Hand-written gradients that a call never reaches: it runs a forward whose backward only `apply`, or the caller, would run.

What the user handed in is looked at first, by its names. Then the first run of its forward is watched: which functions it
calls, and whether a backward of the user's stands beside one of them.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import CellType, CodeType, FrameType, FunctionType, MethodType
from typing import Any

import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.rules.methods import (
    gradient_beside,
    hand_written_methods,
    is_automatic,
    methods_of,
    own_functions,
    reached_from,
    words_of,
)
from gradcheck_lab.rules.op import FORWARD_OF, Op, ops_alive
from gradcheck_lab.subjects.readings.users_names import name_in_use, spaces_in_use

_NOT_THE_USERS = frozenset("gradcheck_lab torch numpy builtins functools contextlib importlib inspect copy typing abc".split())

_INSTALLED = ("site-packages", "dist-packages")


def refuse_unreached(value: Any, name: str) -> None:
    """Raise `InvalidArgument` where a callable has a hand-written gradient that calling it does not run.

    Helpers that ask torch for a gradient, and methods that its forward calls, are none.
    """
    value = value.func if isinstance(value, partial) else value
    if isinstance(value, MethodType) and not isinstance(value.__self__, type):
        _refuse_method(value)
    elif isinstance(value, FunctionType):
        op = next((op for op in ops_alive() if op.forward is value and op.rule is not None), None)
        if op is not None:
            raise InvalidArgument(f"{name} is the forward of the op {op.name}, whose backward it never runs; "
                                  f"check the op: gl.check({name_in_use(op, op.name)}, ...)")  # fmt: skip
        _refuse_static(value)
        _refuse_function(value)
    elif not inspect.isroutine(value):
        start = "forward" if callable(getattr(value, "forward", None)) else "__call__"
        for method in _unreached(value, start):
            obj = name_in_use(value, "obj")
            raise InvalidArgument(
                f"{name} has a method {method!r}, and calling {name} never runs it; check it with "
                f"gl.Layer({obj}, backward={method!r}), or pass {obj}.{start} for what torch differentiates by itself"
            )


def _refuse_method(method: MethodType) -> None:
    owner = method.__self__
    pair = methods_of(owner)
    if pair is None or pair.forward != method.__name__ or isinstance(owner, (torch.nn.Module, Op)):
        return
    if pair.backward not in _unreached(owner, pair.forward):
        return
    kind, obj = type(owner).__name__, name_in_use(owner, "obj")
    raise InvalidArgument(f"{kind}.{method.__name__} alone never runs {kind}.{pair.backward}; check both: gl.check({obj}, ...)")


def _refuse_static(function: FunctionType) -> None:
    owner = _class_of(function.__code__, spaces_in_use())
    if owner is None:
        return
    name, words = owner.__name__, f"{owner.__name__}.{function.__name__}"
    if issubclass(owner, torch.autograd.Function):
        raise InvalidArgument(f"{words} alone never runs {name}.backward; check both: gl.check({name}, ...)")
    beside = gradient_beside(function.__name__, vars(owner))
    if beside is not None and not is_automatic(beside):
        raise InvalidArgument(
            f"{words} alone never runs {name}.{beside.__name__}; check both: gl.check(({words}, {name}.{beside.__name__}), ...)"
        )


def _refuse_function(function: FunctionType) -> None:
    for space in (*spaces_in_use(), function.__globals__):
        beside = gradient_beside(function.__name__, space)
        if beside is not None and not is_automatic(beside) and not _mentions(function, {beside.__name__}):
            raise InvalidArgument(
                f"{function.__name__} alone never runs {beside.__name__}; check both: "
                f"gl.check(({function.__name__}, {beside.__name__}), ...)"
            )


def _unreached(obj: Any, start: str) -> list[str]:
    """The hand-written gradients of an object that the method `start` neither calls nor hands to a Function that calls them."""
    own = own_functions(obj)
    reached = reached_from(own, start)
    return [
        name
        for name in hand_written_methods(obj)
        if name not in reached and not any(_mentions(own[each], {name}) for each in reached if each in own)
    ]


def _mentions(function: FunctionType, names: set[str], depth: int = 3) -> bool:
    """Whether a function, or what it calls by name, mentions one of these names, also in the backward of a Function."""
    words = words_of(function.__code__)
    if words & names:
        return True
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    enclosed = {name: cell.cell_contents for name, cell in cells if cell != CellType()}
    for word in (*words, *enclosed) if depth else ():
        value = enclosed.get(word, function.__globals__.get(word))
        backward = getattr(value, "backward", None) if isinstance(value, type) else value
        if isinstance(backward, FunctionType) and _mentions(backward, names, depth - 1):
            return True
    return False


@dataclass
class Watched:
    """What a run called: `missed` are refusals of a forward that was called past its backward, the first of them counts.

    `doubtful` are those that count only where nothing of the run was written by hand, as `hand_written` says.
    `words` are all names in the code that ran.
    """

    package: str = ""
    missed: dict[str, str] = field(default_factory=dict)
    doubtful: dict[str, str] = field(default_factory=dict)
    words: set[str] = field(default_factory=set)
    hand_written: bool = False
    seen: set[Any] = field(default_factory=set)

    def refuse(self, name: str) -> None:
        """Raise `InvalidArgument` for the first gradient that the run has not reached, and that no code of it names."""
        found = self.missed if self.hand_written else {**self.doubtful, **self.missed}
        for method, text in found.items():
            if method.startswith("apply:") or method.rpartition(".")[2] not in self.words:
                raise InvalidArgument(f"{name} {text}")


@contextmanager
def watched(subject: Any) -> Iterator[Watched]:
    """Watch which functions of the user's the block calls; one run, since this takes time for each call in it.

    Those of installed packages are none of the user's, but for the one that the `subject` is of.
    """
    found = Watched(_package(getattr(subject, "__module__", None) or type(subject).__module__))
    functions = {f.__code__: kind for kind in _functions_of_torch() if isinstance(f := kind.forward, FunctionType)}
    before = sys.getprofile()

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            _notice(found, frame, functions)

    sys.setprofile(profile)
    try:
        yield found
    finally:
        sys.setprofile(before)


def _notice(found: Watched, frame: FrameType, functions: dict[CodeType, type]) -> None:
    code = frame.f_code
    if code is FORWARD_OF:
        _notice_op(found, frame)
        return
    if code in found.seen and not code.co_argcount:
        return
    kind = functions.get(code)
    if kind is not None:
        _notice_function(found, frame, kind)
        return
    package = _package(frame.f_globals.get("__name__", ""))
    installed = any(folder in code.co_filename for folder in _INSTALLED)
    if package in _NOT_THE_USERS or (installed and package != found.package):
        return
    found.words |= words_of(code) if code not in found.seen else set()
    found.seen.add(code)
    owner = frame.f_locals.get(code.co_varnames[0]) if code.co_argcount else None
    if getattr(getattr(type(owner), code.co_name, None), "__code__", None) is code:
        _notice_method(found, owner, code)
    else:
        _notice_plain(found, frame)


def _notice_function(found: Watched, frame: FrameType, kind: type) -> None:
    above: FrameType | None = frame
    while above is not None:
        if above.f_globals.get("__name__") == "torch.autograd.function":
            found.hand_written = True
            found.words |= words_of(kind.backward.__code__) if isinstance(kind.backward, FunctionType) else set()  # type: ignore[attr-defined]
            return
        above = above.f_back
    name = kind.__name__
    found.missed.setdefault(
        f"apply:{name}.backward",
        f"calls {name}.forward, which torch differentiates by itself, so that {name}.backward never runs; call {name}.apply",
    )


def _notice_op(found: Watched, frame: FrameType) -> None:
    op, caller = frame.f_locals["self"], frame.f_back
    module = str(caller.f_globals.get("__name__", "")) if caller is not None else ""
    if module.partition(".")[0] != "gradcheck_lab" and op.rule is not None:
        found.missed.setdefault(
            f"apply:{op.name}",
            f"calls {op.name}.forward, so that the backward of the op {op.name} never runs; call the op: {op.name}(...)",
        )


def _notice_method(found: Watched, owner: Any, code: CodeType) -> None:
    key = (type(owner), code)
    if key in found.seen or (code.co_name.startswith("__") and code.co_name != "__call__"):
        return
    found.seen.add(key)
    kind = type(owner).__name__
    for method in _unreached(owner, code.co_name):
        found.missed.setdefault(
            f"{kind}.{method}",
            f"calls {kind}.{code.co_name}, and {kind}.{method} never runs; check that object: gl.check({kind}(...), x)",
        )


def _notice_plain(found: Watched, frame: FrameType) -> None:
    code = frame.f_code
    if code in found.seen and (code, "plain") in found.seen:
        return
    found.seen.add((code, "plain"))
    for op in ops_alive():
        if getattr(op.forward, "__code__", None) is code and op.rule is not None:
            found.doubtful.setdefault(
                f"apply:{op.name}", f"calls the forward of the op {op.name}, whose backward never runs; call the op"
            )
    owner = _class_of(code, [frame.f_globals, *([frame.f_back.f_locals] if frame.f_back is not None else [])])
    space = frame.f_globals if owner is None else vars(owner)
    beside = gradient_beside(code.co_name, space)
    if beside is None or is_automatic(beside):
        return
    prefix = "" if owner is None else f"{owner.__name__}."
    called, backward = f"{prefix}{code.co_name}", f"{prefix}{beside.__name__}"
    into = found.doubtful if owner is None else found.missed
    both = f"gl.check(({called}, {backward}), ...)"
    into.setdefault(backward, f"calls {called}, and {backward} never runs; check the pair by itself: {both}")


def _class_of(code: CodeType, spaces: list[dict[str, Any]]) -> type | None:
    """The class that a static method is of, found by its qualified name."""
    path = code.co_qualname.rpartition("<locals>.")[2].split(".")
    for space in spaces if len(path) == 2 else ():
        kind = space.get(path[0])
        function = inspect.getattr_static(kind, path[1], None) if isinstance(kind, type) else None
        if isinstance(function, staticmethod) and getattr(function.__func__, "__code__", None) is code:
            return kind
    return None


def _package(module: Any) -> str:
    return str(module).partition(".")[0]


def _functions_of_torch() -> Iterator[Any]:
    """Every class of torch Functions that has a backward of its own."""
    todo: list[Any] = [torch.autograd.Function]
    while todo:
        for kind in type.__subclasses__(todo.pop()):
            todo.append(kind)
            if kind.backward is not torch.autograd.Function.backward and kind.__module__.partition(".")[0] != "torch":
                yield kind


