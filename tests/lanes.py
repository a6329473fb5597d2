"""The suite's two lanes: README's command draws the same calls for everybody, `pytest -m thorough` fresh ones and many more."""

from __future__ import annotations

from pathlib import Path
from random import SystemRandom
from typing import Any

import pytest
from hypothesis import HealthCheck, is_hypothesis_test, settings

MORE = 20  # times as many examples as in README's command, where a test does not say how many

# nothing depends on how fast the machine is, nor on what an earlier run has found
_BOTH = settings(deadline=None, database=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same draws for everybody", _BOTH, derandomize=True)
settings.register_profile("thorough", _BOTH, derandomize=False, max_examples=100 * MORE)

# tests that take a second and more, and of whose function the usual lane has others
DEAR = frozenset(Path(__file__).with_name("dear.txt").read_text(encoding="utf-8").splitlines())

_fresh: int | None = None


def enter(config: pytest.Config) -> None:
    """Choose the lane by `-m`; the thorough lane draws by `--hypothesis-seed`, or by a new seed."""
    global _fresh
    words = config.option.markexpr.split()
    if "thorough" not in words or "not thorough" in config.option.markexpr:
        settings.load_profile("same draws for everybody")
        return
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = str(SystemRandom().randrange(2**32))
    _fresh = int(config.option.hypothesis_seed)
    settings.load_profile("thorough")


def mark(items: list[pytest.Item]) -> None:
    """Leave dear tests to the thorough lane, in which every test that draws takes part as well."""
    for item in items:
        if item.nodeid in DEAR:
            item.add_marker("thorough")
    if _fresh is None:
        return
    for item in items:
        if is_hypothesis_test(getattr(item, "obj", None)) or item.get_closest_marker("drawn"):
            item.add_marker("thorough")


def how_to_repeat() -> str | None:
    """What to add to a thorough run to have the same draws again."""
    return None if _fresh is None else f"thorough: these draws come again with --hypothesis-seed={_fresh}"


def examples(count: int, many: int | None = None, **options: Any) -> settings:
    """Settings for `count` examples, and for `many` in the thorough lane."""
    return settings(max_examples=times(count, many), **options)


def times(count: int, many: int | None = None) -> int:
    """A number of examples; in the thorough lane `many`, or 20 times the number."""
    return count if _fresh is None else many or MORE * count


def thorough() -> bool:
    """Whether this is the thorough lane, for what README's command takes by turns."""
    return _fresh is not None


def seed_of(usual: int) -> int:
    """A seed, or in the thorough lane another one in every run."""
    return usual if _fresh is None else (_fresh + usual) % 2**32
