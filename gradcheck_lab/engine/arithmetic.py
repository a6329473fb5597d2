"""Python's operators on Variables: each is an op, or a step that torch differentiates."""

from __future__ import annotations

from typing import Any

from gradcheck_lab.engine.native import takes_native


class Arithmetic:
    """The operators of a Variable, by what `_operator` does for those that have an op and `_native` for the others."""

    __slots__ = ()

    def _operator(self, name: str, *operands: Any) -> Any:
        raise NotImplementedError

    def _native(self, name: str, *others: Any) -> Any:
        raise NotImplementedError

    def __getitem__(self, index: Any) -> Any:
        return self._native("__getitem__", index)

    def __gt__(self, other: Any) -> Any:
        return self._native("__gt__", other)

    def __ge__(self, other: Any) -> Any:
        return self._native("__ge__", other)

    def __lt__(self, other: Any) -> Any:
        return self._native("__lt__", other)

    def __le__(self, other: Any) -> Any:
        return self._native("__le__", other)

    def __eq__(self, other: object) -> Any:
        return self._native("__eq__", other) if takes_native("__eq__") else self is other

    def __ne__(self, other: object) -> Any:
        return self._native("__ne__", other) if takes_native("__ne__") else self is not other

    __hash__ = object.__hash__

    def __mod__(self, other: Any) -> Any:
        return self._native("__mod__", other)

    def __floordiv__(self, other: Any) -> Any:
        return self._native("__floordiv__", other)

    def __abs__(self) -> Any:
        return self._native("abs")

    def __add__(self, other: Any) -> Any:
        return self._operator("add", self, other)

    def __radd__(self, other: Any) -> Any:
        return self._operator("add", other, self)

    def __sub__(self, other: Any) -> Any:
        return self._operator("sub", self, other)

    def __rsub__(self, other: Any) -> Any:
        return self._operator("sub", other, self)

    def __mul__(self, other: Any) -> Any:
        return self._operator("mul", self, other)

    def __rmul__(self, other: Any) -> Any:
        return self._operator("mul", other, self)

    def __truediv__(self, other: Any) -> Any:
        return self._operator("div", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return self._operator("div", other, self)

    def __matmul__(self, other: Any) -> Any:
        return self._operator("matmul", self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return self._operator("matmul", other, self)

    def __pow__(self, other: Any) -> Any:
        return self._operator("pow", self, other)

    def __rpow__(self, other: Any) -> Any:
        return self._operator("pow", other, self)

    def __neg__(self) -> Any:
        return self._operator("neg", self)
