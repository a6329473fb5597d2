"""State of the process that the user's code may change: read before a verb runs, and put back afterwards."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch

from gradcheck_lab.calls.devices import accelerator, current_stream, set_current_stream
from gradcheck_lab.calls.precision_settings import set_settings, settings
from gradcheck_lab.calls.randomness import preserved_randomness
from gradcheck_lab.torch_internals import within_a_mode, without_modes

# the signals that programs handle, where the system has them; to look at all 64 would take longer than a small check
_HANDLED = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGALRM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGCHLD", "SIGBREAK")
    if hasattr(signal, name)
)


@dataclass(frozen=True, slots=True)
class _Setting:
    """One part of the state: `read` returns it as a value that `==` compares, `write` puts it back."""

    read: Callable[[], Any]
    write: Callable[[Any], object]


def _autocast() -> tuple[Any, ...]:
    flags = tuple((torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in _device_types())
    return torch.is_autocast_cache_enabled(), *flags


def _set_autocast(state: tuple[Any, ...]) -> None:
    torch.set_autocast_cache_enabled(state[0])
    for kind, (enabled, dtype) in zip(_device_types(), state[1:], strict=True):
        torch.set_autocast_enabled(kind, enabled)
        torch.set_autocast_dtype(kind, dtype)


def _device_types() -> tuple[str, ...]:
    kind = accelerator()
    return ("cpu",) if kind is None else ("cpu", kind)


def _deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _set_deterministic(state: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(state[0], warn_only=state[1])


def _anomaly() -> tuple[bool, bool]:
    return torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()


def set_default_device(device: torch.device) -> None:
    """Make new tensors on a device; on the CPU without the mode by which torch does it for others."""
    torch.set_default_device(None if device.type == "cpu" else device)


def set_filters(filters: list[Any]) -> None:
    """Make these the filters of warnings."""
    warnings.resetwarnings()
    list.extend(warnings.filters, filters)  # type: ignore[arg-type]  # typeshed has a Sequence


def _environment() -> dict[Any, Any]:
    """The variables as the system writes them, where it does: decoding all of them would take longer than a small check."""
    return dict(getattr(os, "environb", os.environ))


def _set_environment(raw: dict[Any, Any]) -> None:
    variables = {os.fsdecode(name): os.fsdecode(value) for name, value in raw.items()}
    for name in os.environ.keys() - variables.keys():
        del os.environ[name]
    for name, value in variables.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _signals() -> dict[int, Any]:
    if threading.current_thread() is not threading.main_thread():
        return {}  # only the main thread can set handlers
    return {number: signal.getsignal(number) for number in _HANDLED}


def _set_signals(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        if handler is not None and signal.getsignal(number) is not handler:
            signal.signal(number, handler)


def _numpy() -> ModuleType | None:
    return sys.modules.get("numpy")


def _numpy_errors() -> dict[str, str] | None:
    numpy = _numpy()
    return None if numpy is None else dict(numpy.geterr())


def _set_numpy_errors(state: dict[str, str] | None) -> None:
    numpy = _numpy()
    if numpy is not None and state is not None:
        numpy.seterr(**state)


def _logging() -> tuple[int, int, list[logging.Handler]]:
    root = logging.getLogger()
    return root.level, root.manager.disable, list(root.handlers)


def _set_logging(state: tuple[int, int, list[logging.Handler]]) -> None:
    root = logging.getLogger()
    root.setLevel(state[0])
    logging.disable(state[1])
    root.handlers[:] = state[2]


def _working_folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was deleted
        return None


def _set_working_folder(path: str | None) -> None:
    if path is not None:
        os.chdir(path)


_SETTINGS = (
    _Setting(torch.get_default_dtype, torch.set_default_dtype),
    _Setting(torch.is_grad_enabled, torch.set_grad_enabled),
    _Setting(torch.get_default_device, set_default_device),
    _Setting(current_stream, set_current_stream),
    _Setting(torch.get_num_threads, torch.set_num_threads),
    _Setting(_autocast, _set_autocast),
    _Setting(_anomaly, lambda state: torch.autograd.set_detect_anomaly(*state)),
    _Setting(_deterministic, _set_deterministic),
    _Setting(lambda: list(warnings.filters), set_filters),
    _Setting(_numpy_errors, _set_numpy_errors),
    _Setting(_working_folder, _set_working_folder),
    _Setting(_environment, _set_environment),
    _Setting(_signals, _set_signals),
    _Setting(lambda: (sys.stdin, sys.stdout, sys.stderr), lambda streams: _set_streams(*streams)),
    _Setting(lambda: list(sys.path), lambda state: sys.path.__setitem__(slice(None), state)),
    _Setting(lambda: list(sys.argv), lambda state: sys.argv.__setitem__(slice(None), state)),
    _Setting(_logging, _set_logging),
    _Setting(settings, set_settings),
    _Setting(lambda: (gc.isenabled(), gc.get_threshold()), lambda state: _set_collection(*state)),
    _Setting(sys.getswitchinterval, sys.setswitchinterval),
    _Setting(sys.getrecursionlimit, sys.setrecursionlimit),
)


def _set_collection(enabled: bool, threshold: tuple[int, ...]) -> None:
    (gc.enable if enabled else gc.disable)()
    gc.set_threshold(*threshold)


def _set_streams(given: Any, out: Any, err: Any) -> None:
    sys.stdin, sys.stdout, sys.stderr = given, out, err


@contextmanager
def preserved_state(seed: int | None = None) -> Iterator[None]:
    """Run a block that calls the user's code, and put back what that changes: generators, dtype, modes, folder, signals.

    The generators are seeded by `seed` (None: as they are). Within the block gradients are on, and inference mode, autocast, a
    default device without values and modes that see every call are off, so that a result does not depend on what surrounds a
    call. One thread at a time runs such a block.
    """
    with preserved_randomness(seed):
        before = [setting.read() for setting in _SETTINGS]
        try:
            with _neutral_modes():
                yield
        finally:
            for setting, state in zip(_SETTINGS, before, strict=True):
                with suppress(Exception):  # a folder that is gone: the rest is put back all the same
                    if setting.read() != state:
                        setting.write(state)


@contextmanager
def _neutral_modes() -> Iterator[None]:
    with ExitStack() as modes:
        if within_a_mode():
            modes.enter_context(without_modes())
        if torch.is_inference_mode_enabled():
            modes.enter_context(torch.inference_mode(False))
        for kind in _device_types():
            if torch.is_autocast_enabled(kind):
                modes.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type == "meta":
            modes.enter_context(torch.device("cpu"))
        if not torch.is_grad_enabled():
            modes.enter_context(torch.enable_grad())
        yield
