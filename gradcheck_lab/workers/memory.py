"""A block of this process that may take so much more memory, and no more."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STATISTICS = Path("/proc/self/statm")  # pages of: size, resident, shared, text, 0, data and stack, 0; see proc(5)
_DATA = 5
CAN_LIMIT = sys.platform == "linux" and _STATISTICS.exists()


@contextmanager
def memory_limited(limit: int | None) -> Iterator[None]:
    """Let allocations fail once the block holds `limit` bytes more than this process did before it; None for no limit.

    The kernel's limit is on private writable memory (RLIMIT_DATA of getrlimit(2)): neither the code of libraries nor address
    space that is only reserved counts.
    """
    if limit is None or not CAN_LIMIT:
        yield
        return
    import resource  # only where the system has it

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    held = int(_STATISTICS.read_text(encoding="ascii").split()[_DATA]) * resource.getpagesize()
    wanted = held + limit
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
