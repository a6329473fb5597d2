"""What operators of torch send back, as expressions: a row each, with the expression of their value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Formula:
    """An operator as Python: `value` of its arguments {0}, {1}, ..., and `sent`, what it sends to each of its tensors.

    In `sent` stand {g}, the gradient of the result, {y}, the result, and {s}, a tensor of the shape of {0}. None is sent to
    arguments that have no gradient.
    """

    value: str
    sent: tuple[str | None, ...]


def _along(arguments: dict[str, Any]) -> str:
    """The gradient of a reduction, in the shape that it has where the dimension is kept."""
    if arguments.get("dim") in (None, [], ()) or arguments.get("keepdim"):
        return "{g}"
    dims = arguments["dim"] if isinstance(arguments["dim"], (list, tuple)) else [arguments["dim"]]
    if len(dims) > 1:
        raise LookupError("a reduction over several dimensions")
    return f"{{g}}.unsqueeze({dims[0]})"


def _reduced(name: str, arguments: dict[str, Any]) -> str:
    if arguments.get("dim") in (None, [], ()):
        return f"{{0}}.{name}()"
    return f"{{0}}.{name}({arguments['dim']!r}, keepdim={bool(arguments.get('keepdim'))})"


def _sum(arguments: dict[str, Any]) -> Formula:
    return Formula(_reduced("sum", arguments), (f"({_along(arguments)}).expand({{s}}.shape)",))


def _mean(arguments: dict[str, Any]) -> Formula:
    if arguments.get("dim") in (None, [], ()):
        return Formula(_reduced("mean", arguments), ("({g} / {s}.numel()).expand({s}.shape)",))
    dims = arguments["dim"] if isinstance(arguments["dim"], (list, tuple)) else [arguments["dim"]]
    return Formula(_reduced("mean", arguments), (f"(({_along(arguments)}) / {{s}}.shape[{dims[0]}]).expand({{s}}.shape)",))


def _softmax(arguments: dict[str, Any]) -> Formula:
    dim = arguments["dim"]
    return Formula(f"torch.softmax({{0}}, {dim})", (f"{{y}} * ({{g}} - ({{g}} * {{y}}).sum({dim}, keepdim=True))",))


def _log_softmax(arguments: dict[str, Any]) -> Formula:
    dim = arguments["dim"]
    return Formula(f"torch.log_softmax({{0}}, {dim})", (f"{{g}} - {{y}}.exp() * {{g}}.sum({dim}, keepdim=True)",))


def _with_alpha(operator: str) -> Callable[[dict[str, Any]], Formula]:
    sign = "" if operator == "+" else "-"

    def formula(arguments: dict[str, Any]) -> Formula:
        alpha = arguments.get("alpha", 1)
        if alpha == 1:
            return Formula(f"{{0}} {operator} {{1}}", ("{g}", f"{sign}{{g}}"))
        return Formula(f"{{0}} {operator} {alpha} * {{1}}", ("{g}", f"{sign}{alpha} * {{g}}"))

    return formula


def _pow(arguments: dict[str, Any]) -> Formula:
    exponent = arguments.get("exponent")
    if not isinstance(exponent, (int, float)):
        return Formula("{0} ** {1}", ("{g} * {1} * {0} ** ({1} - 1)", "{g} * {y} * {0}.log()"))
    slope = "{0}" if exponent == 2 else f"{{0}} ** {exponent - 1}"
    return Formula(f"{{0}} ** {exponent}", (f"{{g}} * {exponent} * {slope}",))


def _permute(arguments: dict[str, Any]) -> Formula:
    dims = [each % len(arguments["dims"]) for each in arguments["dims"]]
    back = sorted(range(len(dims)), key=lambda axis: dims[axis])
    if dims == [1, 0]:
        return Formula("{0}.mT", ("{g}.mT",))
    return Formula(f"{{0}}.permute({dims})", (f"{{g}}.permute({back})",))


def _transpose(arguments: dict[str, Any]) -> Formula:
    one, other = arguments["dim0"], arguments["dim1"]
    return Formula(f"{{0}}.transpose({one}, {other})", (f"{{g}}.transpose({one}, {other})",))


def _shaped(name: str) -> Callable[[dict[str, Any]], Formula]:
    """An operator that changes the shape alone, whose sizes hold for one call only."""

    def formula(arguments: dict[str, Any]) -> Formula:
        word = arguments["dim"]
        return Formula(f"{{0}}.{name}({word})", ("{g}.reshape({s}.shape)",))

    return formula


FORMULAS: dict[str, Formula | Callable[[dict[str, Any]], Formula]] = {
    "add": _with_alpha("+"),
    "sub": _with_alpha("-"),
    "rsub": Formula("{1} - {0}", ("-{g}", "{g}")),
    "mul": Formula("{0} * {1}", ("{g} * {1}", "{g} * {0}")),
    "div": Formula("{0} / {1}", ("{g} / {1}", "-{g} * {0} / {1}**2")),
    "neg": Formula("-{0}", ("-{g}",)),
    "reciprocal": Formula("1 / {0}", ("-{g} * {y}**2",)),
    "pow": _pow,
    "square": Formula("{0}**2", ("2 * {g} * {0}",)),
    "exp": Formula("{0}.exp()", ("{g} * {y}",)),
    "expm1": Formula("{0}.expm1()", ("{g} * ({y} + 1)",)),
    "log": Formula("{0}.log()", ("{g} / {0}",)),
    "log1p": Formula("{0}.log1p()", ("{g} / (1 + {0})",)),
    "sqrt": Formula("{0}.sqrt()", ("{g} / (2 * {y})",)),
    "rsqrt": Formula("{0}.rsqrt()", ("-0.5 * {g} * {y}**3",)),
    "sin": Formula("{0}.sin()", ("{g} * {0}.cos()",)),
    "cos": Formula("{0}.cos()", ("-{g} * {0}.sin()",)),
    "tan": Formula("{0}.tan()", ("{g} * (1 + {y}**2)",)),
    "atan": Formula("{0}.atan()", ("{g} / (1 + {0}**2)",)),
    "sinh": Formula("{0}.sinh()", ("{g} * {0}.cosh()",)),
    "cosh": Formula("{0}.cosh()", ("{g} * {0}.sinh()",)),
    "tanh": Formula("torch.tanh({0})", ("{g} * (1 - {y}**2)",)),
    "sigmoid": Formula("torch.sigmoid({0})", ("{g} * {y} * (1 - {y})",)),
    "erf": Formula("torch.erf({0})", ("{g} * 2 / torch.pi**0.5 * (-{0}**2).exp()",)),
    "abs": Formula("{0}.abs()", ("{g} * {0}.sign()",)),
    "relu": Formula("torch.relu({0})", ("{g} * ({0} > 0)",)),
    "silu": Formula(
        "torch.nn.functional.silu({0})",
        ("{g} * torch.sigmoid({0}) * (1 + {0} * (1 - torch.sigmoid({0})))",),
    ),
    "softplus": Formula("torch.nn.functional.softplus({0})", ("{g} * torch.sigmoid({0})",)),
    "maximum": Formula("torch.maximum({0}, {1})", ("{g} * ({0} > {1})", "{g} * ({0} <= {1})")),
    "minimum": Formula("torch.minimum({0}, {1})", ("{g} * ({0} < {1})", "{g} * ({0} >= {1})")),
    "mm": Formula("{0} @ {1}", ("{g} @ {1}.mT", "{0}.mT @ {g}")),
    "bmm": Formula("{0} @ {1}", ("{g} @ {1}.mT", "{0}.mT @ {g}")),
    "addmm": Formula("{0} + {1} @ {2}", ("{g}", "{g} @ {2}.mT", "{1}.mT @ {g}")),
    "t": Formula("{0}.mT", ("{g}.mT",)),
    "permute": _permute,
    "transpose": _transpose,
    "clone": Formula("{0}", ("{g}",)),
    "unsqueeze": _shaped("unsqueeze"),
    "squeeze": _shaped("squeeze"),
    "sum": _sum,
    "mean": _mean,
    "_softmax": _softmax,
    "_log_softmax": _log_softmax,
}
