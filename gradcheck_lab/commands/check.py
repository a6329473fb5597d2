"""The command `gradcheck-lab check pkg.module:name`: inputs drawn from specs, and one check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from gradcheck_lab import specs
from gradcheck_lab.calls.placement import placed
from gradcheck_lab.check import checked_here
from gradcheck_lab.discovery.description import DESCRIPTION
from gradcheck_lab.discovery.inputs import Call, as_guessed, call_of
from gradcheck_lab.discovery.targets import DTYPES, CannotConstruct, NoSpecs, check_command, read_option
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.kernels.starting import INTERPRETED
from gradcheck_lab.model.suggestions import Suggested
from gradcheck_lab.probes import ALL
from gradcheck_lab.report import Report

Probing = Literal["all", "compare"]
# looks for a mend of a subject with its inputs, the arguments of its check, the specs that were given, and its report
Search = Callable[[Any, tuple[Any, ...], dict[str, Any], Sequence[str], Report], Suggested | None]


@dataclass(frozen=True, slots=True)
class CheckJob:
    """One check of the command line, as plain data that can be sent to a worker process."""

    target: str
    specs: tuple[str, ...] = ()
    seed: int = 0
    dtype: str | None = None
    options: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    order: int = 1
    wrt: tuple[str, ...] = ()
    device: str = "cpu"
    probes: Probing = "all"
    compiled: bool = False

    @property
    def name(self) -> str:
        """What the object is called in its module."""
        return self.target.partition(":")[2]

    @property
    def command(self) -> str:
        """The command that runs it again."""
        return check_command(
            self.target, self.specs, self.seed, self.dtype, self.options, self.allow, self.order, self.wrt, self.compiled
        )

    def run(self, search: Search | None = None) -> Checked:
        """Run it in this process; what fails is given to `search`."""
        try:
            report = check_target(
                self.target, self.specs, seed=self.seed, dtype=self.dtype, options=self.options, allow=self.allow,
                order=self.order, wrt=self.wrt, device=self.device, probes=self.probes, compiled=self.compiled,
                search=search,
            )  # fmt: skip
        except NoSpecs as error:
            hint = f"add {DESCRIPTION} = {{{self.name!r}: \"real('n d')\"}} to the module"
            return Checked(None, str(error), "; ".join([f"nothing describes its inputs; {hint}", *error.refusals]))
        except CannotConstruct as error:
            return Checked(None, str(error), error.why)
        except InvalidArgument as error:
            return Checked(None, str(error), str(error))
        return Checked(report)


@dataclass(frozen=True, slots=True)
class Checked:
    """The report of a check, or the message why there is none, and `why` without the target's name."""

    report: Report | None
    refused: str = ""
    why: str = ""


def single_report(checked: Checked) -> Report:
    """The report of the only check of a command. Raises `InvalidArgument` with the reason where there is none."""
    if checked.report is None:
        raise InvalidArgument(checked.refused)
    return checked.report


def check_target(
    target: str,
    written: Sequence[str] = (),
    *,
    seed: int = 0,
    dtype: str | None = None,
    options: Sequence[str] = (),
    allow: Sequence[str] = (),
    order: int = 1,
    wrt: Sequence[str] = (),
    device: str = "cpu",
    probes: Probing = "all",
    compiled: bool = False,
    search: Search | None = None,
) -> Report:
    """Import `target`, find its inputs by `gradcheck_lab.discovery.inputs.call_of`, and check it.

    `options` are texts such as "reduction=sum", `wrt` names or positions of the inputs that need a gradient. Where the file
    itself calls `gl.check`, its `reference`, `allow`, `order` and `wrt` hold too, if nothing else is said. Inputs, and the
    parameters of a module, are moved to the `device`; "compare" instead of "all" `probes` compares the one call alone, and
    `compiled` runs it under `torch.compile` as well. `search` looks for a mend. Raises `InvalidArgument` for what cannot be
    found or checked.

    >>> check_target("gradcheck_lab.ops:mse_loss", options=["reduction=sum"]).verdict
    'pass'
    """
    if dtype is not None and dtype not in DTYPES:
        raise InvalidArgument(f"there is no dtype {dtype!r} to check in; pass one of {', '.join(DTYPES)}")
    keywords = dict(read_option(text) for text in options)
    call = call_of(target, tuple(specs.parse(text) for text in written), seed, dtype, keywords)
    wanted = [int(each) if each.isdigit() else each for each in wrt] or call.settings.get("wrt")
    if device != "cpu":
        call = replace(call, subject=_moved(call.subject, device), inputs=placed(call.inputs, device, None))
    asked: dict[str, Any] = {
        "options": call.options,
        "reference": call.settings.get("reference"),
        "allow": {*allow, *call.settings.get("allow", ())},
        "seed": seed,
        "order": order if order != 1 else call.settings.get("order", 1),
        "wrt": wanted,
    }
    report = checked_here(call.subject, *call.inputs, probes=_chosen(probes, compiled), **asked)
    if call.guess:
        _refuse_guess(target, call, report)
    if search is not None:
        report = replace(report, suggested=search(call.subject, call.inputs, asked, written, report))
    command = check_command(target, written, seed, dtype, options, allow, order, wrt, compiled)
    command += " --triton-interpret" if INTERPRETED in report.environment else ""
    command += f"  # it ran on {device}" if device != "cpu" else ""
    return replace(report, reproduce=command, inputs="" if call.source == "specs" else call.source)


def _chosen(probes: Probing, compiled: bool) -> frozenset[str]:
    return (ALL if probes == "all" else frozenset()) | ({"compiled"} if compiled else frozenset())


def _moved(subject: Any, device: str) -> Any:
    return subject if isinstance(subject, tuple) else placed(subject, device, None)


def _refuse_guess(target: str, call: Call, report: Report) -> None:
    """Raise `InvalidArgument` where the forward does not take inputs of the shapes that were read from a docstring."""
    raised = next((f for f in report.findings if f.stage == "forward" and f.severity == "error"), None)
    if raised is not None:
        raise NoSpecs(target, (as_guessed(call.inputs, str(raised.exception)),))
