"""The command `gradcheck-lab check` of a module or folder: a check of everything in it whose inputs are described."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from gradcheck_lab.commands.check import Checked, CheckJob
from gradcheck_lab.commands.check_processes import check_in_workers, in_worker
from gradcheck_lab.discovery.folder import folder_of
from gradcheck_lab.discovery.scan import Defined, defined
from gradcheck_lab.discovery.targets import DTYPES, NothingToCheck
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.several import Scan
from gradcheck_lab.workers.apart import Limits


def scan_module(
    name: str, *, seed: int = 0, dtype: str | None = None, limits: Limits | None = None, compiled: bool = False
) -> Scan:
    """Import the module `name` and check what it defines: ops, autograd Functions, custom ops, layers and modules.

    Inputs are drawn by `seed` from the specs that describe them: see `gradcheck_lab.discovery.description.specs_of`. What is
    imported from elsewhere is left out unless `__gradcheck_specs__` names it. With `limits` the code runs in a worker
    process, so that an object that ends its process, or takes more time or memory, fails and the others are checked.
    `compiled` runs each under `torch.compile` as well.
    Ctrl-C ends the scan with what is known. Raises `InvalidArgument` for a module that does not import or defines nothing of
    the kind.

    >>> scan_module("gradcheck_lab.ops.linear").verdict
    'pass'
    """
    if dtype is not None and dtype not in DTYPES:
        raise InvalidArgument(f"there is no dtype {dtype!r} to check in; pass one of {', '.join(DTYPES)}")
    found = in_worker(defined, (name,), Defined, name, limits) if limits is not None else defined(name)
    names = found.names
    if not names:
        what = "no op, autograd Function, custom op, layer or module"
        raise NothingToCheck(f"the module {name!r} defines {what}; it has {found.public}")
    jobs = [CheckJob(f"{name}:{key}", seed=seed, dtype=dtype, compiled=compiled) for key in names]
    scan = Scan(name, {}, {})
    checks = check_in_workers(jobs, limits) if limits is not None else _check_here(jobs)
    try:
        for key, checked in zip(names, checks, strict=True):
            if checked.report is None:
                scan.skipped[key] = checked.why
            else:
                scan.reports[key] = replace(checked.report, subject=key)
    except KeyboardInterrupt:
        left = (key for key in names if key not in scan.reports and key not in scan.skipped)
        scan.skipped.update(dict.fromkeys(left, "interrupted"))
        return replace(scan, interrupted=True)
    return scan


def scan_folder(path: str, *, seed: int = 0, dtype: str | None = None, limits: Limits, compiled: bool = False) -> Scan:
    """Check what the Python files of a folder define, each file in worker processes of its own.

    Names are those of `path/file.py:name`. A file that cannot be imported is not checked, and the others are. Ctrl-C ends the
    scan with what is known. Raises `InvalidArgument` for a folder in which nothing is to be checked.
    """
    folder = folder_of(path)
    scan = Scan(path, {}, {}, left_out=folder.left_out)
    for file in folder.files:
        try:
            found = scan_module(file, seed=seed, dtype=dtype, limits=limits, compiled=compiled)
        except NothingToCheck:
            continue
        except InvalidArgument as error:
            scan.skipped[file] = str(error)
            continue
        except KeyboardInterrupt:
            return replace(scan, interrupted=True)
        named = {f"{file}:{name}": report for name, report in found.reports.items()}
        scan.reports.update({name: replace(report, subject=name) for name, report in named.items()})
        scan.skipped.update({f"{file}:{name}": why for name, why in found.skipped.items()})
        if found.interrupted:
            return replace(scan, interrupted=True)
    if not scan.reports and not scan.skipped:
        what = "no op, autograd Function, custom op, layer or module"
        raise InvalidArgument(f"the {folder.count} Python files of {path!r} define {what}")
    return scan


def _check_here(jobs: Sequence[CheckJob]) -> Iterator[Checked]:
    return (job.run() for job in jobs)
