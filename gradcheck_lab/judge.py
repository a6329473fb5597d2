"""The verb `judge`: decide whether a file that nobody trusts computes what a task asks for. `judging/run.py` has the steps."""

from __future__ import annotations

import inspect
import secrets
import shlex
from pathlib import Path
from typing import Any

from gradcheck_lab.calls.process_state import preserved_state
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.isolation import refuse_timeout
from gradcheck_lab.judging.connection import WorkerLimits
from gradcheck_lab.judging.run import Judgement
from gradcheck_lab.judging.task import load_task
from gradcheck_lab.model.arguments import is_number, refuse_unknown, seed_of
from gradcheck_lab.model.shown import quoted
from gradcheck_lab.report import Report


def judge(
    task: str | Path,
    candidate: str | Path,
    examples: int = 20,
    timeout: float = 60.0,
    memory: float | None = None,
    seed: int | None = None,
    command: str | None = None,
    **unknown: Any,
) -> Report:
    """Judge the file `candidate` by the file `task`, in processes that know of neither the task nor the truth.

    `task` is trusted and imported here. It defines `reference(*inputs, **options)` in plain torch and `specs`, one for each
    input, and may define `options` (a dict, or a list of dicts that are each tried), `dtypes` (float32 and float64 where left
    out), `tolerance_dtype` (a dtype whose rounding the results may have) and `forbidden` (names such as
    "aten.convolution_backward" of operators that a candidate may not call). `candidate` is never imported here. It defines
    `candidate`: a function that autograd goes through, an `autograd.Function`, a pair (forward, backward), an `nn.Module`
    class without parameters, or a layer with `forward` and `backward`; a folder has it in its candidate.py.

    In each dtype `examples` calls are drawn from the specs. `timeout` is the seconds that one call may take, `memory` the GiB
    of resident memory that its process may hold. `seed` draws the same calls again; left out, nobody can foresee them.
    `command` wraps the processes, with {} for the interpreter, as "bwrap --ro-bind / / --unshare-net {}" does.

    Returns a `Report`: what the candidate says of itself has no part in it. Raises `InvalidArgument` for a wrong argument and
    for a task that cannot be used. `docs/judge.md` says what it withstands.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     task, answer = Path(folder, "task.py"), Path(folder, "answer.py")
    ...     head = "from gradcheck_lab.specs import real\\nspecs = (real('n d'),)\\n"
    ...     _ = task.write_text(head + "def reference(x): return x.tanh()")
    ...     _ = answer.write_text("def candidate(x): return (x.exp() - (-x).exp()) / (x.exp() + (-x).exp())")
    ...     judge(task, answer, examples=5).verdict
    'fail'
    """
    refuse_unknown("judge", unknown, None)
    if type(examples) is not int or examples < 1:
        raise InvalidArgument(f"examples is {quoted(examples)}; pass a whole number of at least 1")
    if timeout is None:
        raise InvalidArgument("timeout is None; pass a number of seconds above 0")
    refuse_timeout(timeout)
    if memory is not None and not (is_number(memory) and 0 < memory < float("inf")):
        raise InvalidArgument(f"memory is {quoted(memory)}; pass a number of GiB above 0")
    seed = secrets.randbits(32) if seed is None else seed_of(seed)
    path = _candidate(candidate, Path(task))
    with preserved_state(seed):
        limits = WorkerLimits(float(timeout), None if memory is None else int(memory * 2**30))
        return Judgement(load_task(task), path, examples, limits, seed, command, _said(timeout, memory, command)).run()


def _said(timeout: float, memory: float | None, command: str | None) -> str:
    """The arguments that are not the usual ones, as options of the command."""
    usual = inspect.signature(judge).parameters
    given = {"timeout": timeout, "memory": memory, "command": command}
    return "".join(f" --{name} {shlex.quote(str(value))}" for name, value in given.items() if value != usual[name].default)


def _candidate(candidate: Any, task: Path) -> Path:
    path = Path(candidate)
    if path.name in ("", ".."):  # as "." is
        path = path.resolve()
    if path.is_dir() and not (path / "candidate.py").is_file():
        raise InvalidArgument(f"the folder {path} has no candidate.py; judge a file, or the folder of one candidate")
    if not path.exists():
        raise InvalidArgument(f"there is no candidate {path}")
    if path.is_dir() and path.resolve() in task.resolve().parents:
        raise InvalidArgument(f"the folder {path} has {task.name} in it, and its candidate would too; move the task elsewhere")
    return path
