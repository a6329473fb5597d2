"""Evaluate expressions that a file's author wrote, as long as they only compute: nothing is opened, printed or run.

The file was imported, since its user named it; what stands under `if __name__ == "__main__":` was not run. Of that, only the
arguments of one call are evaluated, and the assignments that these depend on.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Mapping, Sequence
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch

from gradcheck_lab.model.exceptions import Contained
from gradcheck_lab.rules.layer import Layer
from gradcheck_lab.rules.op import Op

_COMPUTING = ("numpy", "torch", "math", "cmath", "random")
_BUILTINS = frozenset(
    getattr(builtins, name)
    for name in "abs bool complex dict divmod enumerate float int len list max min pow range reversed round set slice sorted "
    "str sum tuple zip".split()
)
_FORMS = (Op, Layer)  # of this package, which hold functions and run none
# what reaches out of the process, writes files or runs code, in the words of Python, NumPy, torch and what plots
_REACHING = frozenset(
    "open print input exec eval compile __import__ breakpoint exit quit load loads loadtxt genfromtxt fromfile fromregex "
    "memmap open_memmap save savez savez_compressed savetxt tofile dump dumps savefig show imread imsave imshow write "
    "writelines write_text write_bytes system popen remove unlink rmdir mkdir makedirs rename kill fork _exit hub urlopen "
    "urlretrieve os sys subprocess shutil socket requests urllib pathlib Path plt pyplot pickle importlib set_default_dtype "
    "set_printoptions set_num_threads from_file load_library utils".split()
)
_VALUES = (np.ndarray, np.generic, np.random.Generator, np.random.RandomState, torch.Tensor, torch.Size, torch.Generator,
           str, int, float, complex, tuple, list, dict, set, range)  # fmt: skip


class NotPlain(Exception):
    """An expression does more than compute, or does not work by itself; the message says what, as the end of a sentence."""


def evaluate(expressions: Sequence[ast.expr], before: Sequence[ast.stmt], space: Mapping[str, Any], own: str) -> list[Any]:
    """The values of expressions after those of the statements `before` them that they depend on.

    `space` are the names of the module `own`, whose functions may be called where they only compute too. Raises `NotPlain`.
    """
    checked = _Checked(own, space)
    names: dict[str, Any] = {**space, "__method__": checked.method, "__function__": checked.function}
    try:
        with Contained(), np.errstate(all="ignore"):
            for statement in _needed(expressions, before):
                exec(_compiled(ast.Module([_guarded(statement)], []), "exec"), names)
            return [eval(_compiled(ast.Expression(_guarded(each)), "eval"), names) for each in expressions]
    except NotPlain:
        raise
    except Exception as error:
        raise NotPlain(f"raised {type(error).__name__}: {error}") from error


def names_behind(expression: ast.expr, before: Sequence[ast.stmt]) -> set[str]:
    """The names that an expression depends on, through the assignments before it."""
    found = _loaded(expression)
    for statement in _needed([expression], before):
        found |= _loaded(statement)
    return found


def _needed(expressions: Iterable[ast.AST], before: Sequence[ast.stmt]) -> list[ast.stmt]:
    needed = {name for each in expressions for name in _loaded(each)}
    chosen = []
    for statement in reversed(before):
        if _assigned(statement) & needed:
            chosen.append(statement)
            needed |= _loaded(statement)
    return chosen[::-1]


def _loaded(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load)}


def _assigned(statement: ast.stmt) -> set[str]:
    """The names that a statement binds or writes to: of an import, of `x = ...`, `x[0] = ...`, `x += ...`."""
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        kept = [each for each in statement.names if _is_computing(statement, each.name)]
        return {each.asname or each.name.partition(".")[0] for each in kept}
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, (ast.AugAssign, ast.AnnAssign)) and statement.value is not None:
        targets = [statement.target]
    else:
        return set()
    return {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}


def _is_computing(statement: ast.Import | ast.ImportFrom, name: str) -> bool:
    module = name if isinstance(statement, ast.Import) else statement.module or ""
    return _root(module) in _COMPUTING


def _compiled(tree: Any, mode: str) -> CodeType:
    code: CodeType = compile(ast.fix_missing_locations(tree), "<the author's call>", mode)
    return code


def _guarded(node: Any) -> Any:
    return _Guard().visit(ast.parse(ast.unparse(node), mode="eval").body if isinstance(node, ast.expr) else
                          ast.parse(ast.unparse(node)).body[0])  # fmt: skip


class _Guard(ast.NodeTransformer):
    """Lets every function be looked at before it is called."""

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        if isinstance(node.func, ast.Attribute):
            asked = ast.Call(ast.Name("__method__", ast.Load()), [node.func.value, ast.Constant(node.func.attr)], [])
        else:
            asked = ast.Call(ast.Name("__function__", ast.Load()), [node.func], [])
        return ast.Call(asked, node.args, node.keywords)

    def visit_Attribute(self, node: ast.Attribute) -> ast.Attribute:
        if node.attr.startswith("__"):
            raise NotPlain(f"reads {node.attr}")
        self.generic_visit(node)
        return node


class _Checked:
    def __init__(self, own: str, space: Mapping[str, Any]) -> None:
        self._own, self._space = own, space

    def method(self, value: Any, name: str) -> Any:
        """The attribute of a value that is called next."""
        if name in _REACHING:
            raise NotPlain(f"calls {name}")
        found = getattr(value, name)
        of_module = isinstance(value, ModuleType) and value.__name__ != self._own
        if of_module:
            computes = _root(value.__name__) in _COMPUTING or any(found is each for each in _FORMS)
        else:
            computes = isinstance(value, _VALUES) or self._may_call(found)
        if not computes:
            raise NotPlain(f"calls {name} of {value.__name__ if of_module else f'a {type(value).__name__}'}")
        return found

    def function(self, found: Any) -> Any:
        """A function that is called next."""
        if not self._may_call(found):
            raise NotPlain(f"calls {getattr(found, '__name__', type(found).__name__)}")
        return found

    def _may_call(self, found: Any) -> bool:
        if isinstance(found, MethodType) and isinstance(found.__self__, type):
            return issubclass(found.__self__, torch.autograd.Function)  # its apply
        if isinstance(found, MethodType):
            return self._may_call(found.__func__)
        if isinstance(found, FunctionType) and found.__module__ == self._own:
            return self._only_computes(found.__code__, set())
        if isinstance(found, type) and found.__module__ == self._own:
            made = found.__init__  # type: ignore[misc]
            return not isinstance(made, FunctionType) or self._only_computes(made.__code__, set())
        if any(found is each for each in (*_BUILTINS, *_FORMS)) or isinstance(found, (Op, torch.nn.Module)):
            return True
        own = type(found).__module__ == self._own
        return own or (getattr(found, "__name__", "") not in _REACHING and _home(found) in _COMPUTING)

    def _only_computes(self, code: CodeType, seen: set[CodeType]) -> bool:
        """Whether a function of the module, with those of it that it names, has no word of what reaches out."""
        if code in seen:
            return True
        seen.add(code)
        names = set(code.co_names)
        called = [self._space.get(name) for name in names]
        inner = [each for each in code.co_consts if isinstance(each, CodeType)]
        inner += [each.__code__ for each in called if isinstance(each, FunctionType) and each.__module__ == self._own]
        return not names & _REACHING and all(self._only_computes(each, seen) for each in inner)


def _home(found: Any) -> str:
    """The package that a function or class belongs to."""
    holder = getattr(found, "__self__", None)
    return _root(str(getattr(found, "__module__", None) or getattr(holder, "__name__", None) or type(holder).__module__))


def _root(module: str) -> str:
    return module.partition(".")[0]
