"""Every launch of an interpreted kernel: it gets guarded copies of its tensors, and its programs run in a chosen order."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.kernels.memory import Zone, zone_of
from gradcheck_lab.kernels.refusals import is_limit, refusal, root_of
from gradcheck_lab.model.limits import ACCESSES_IN_ANOTHER_ORDER, FEW_ACCESSES, GUARD_BYTES
from gradcheck_lab.triton_internals import Access, is_interpreter_error, is_of_triton, quiet, rounded_to_bfloat16

Array = npt.NDArray[Any]
Order = Literal["first to last", "last to first", "shuffled", "at once"]
Kind = Literal["reads", "writes"]
_PACKAGE = str(Path(__file__).parent.parent)
_INTEGER_CANARY = 0x5A


class NeverEnds(InvalidArgument):
    """A program that waits for another which runs after it in the chosen order."""


@dataclass(frozen=True, slots=True)
class Outside:
    """An access beyond a tensor: `past` elements behind its end, or, where negative, before its start; 0 for a gap of a view.

    None where it is further off than any guard. `line` is the place in the kernel, `count` the number of elements.
    """

    kernel: str
    argument: str
    kind: Kind
    past: int | None
    line: str
    count: int


@dataclass(frozen=True, slots=True)
class Launch:
    """A launch: the kernel, its integer constants by name, the sizes of its grid, and the most accesses of one program."""

    kernel: str
    constants: dict[str, int]
    grid: tuple[int, int, int]
    accesses: int

    @property
    def programs(self) -> int:
        """How many programs it has."""
        return math.prod(self.grid)


@dataclass(frozen=True, slots=True)
class Division:
    """A size that `triton.cdiv` divided into blocks of so many elements, as for a grid."""

    size: int
    block: int


@dataclass(slots=True)
class Seen:
    """What was seen while kernels were watched."""

    launches: list[Launch] = field(default_factory=list)
    outside: list[Outside] = field(default_factory=list)
    divisions: list[Division] = field(default_factory=list)

    @property
    def blocks(self) -> set[int]:
        """The sizes of blocks that the kernels' constants and the divisions may be."""
        return {n for each in self.launches for n in each.constants.values()} | {each.block for each in self.divisions}


@dataclass(frozen=True, slots=True)
class Watching:
    """How kernels are run: in which order, and what memory outside of their tensors holds, `canary`.

    Of a tensor in `views` that is the rest of its storage too, whichever view of it a kernel is handed. `most` accesses end a
    program: 0 for no such limit. `only` names the kernel whose programs run in that order: empty for all.
    """

    order: Order = "first to last"
    canary: float = 0.0
    views: tuple[torch.Tensor, ...] = ()
    most: int = 0
    only: str = ""
    seed: int = 0


@dataclass(slots=True)
class Running:
    """A launch that runs."""

    kernel: str
    constants: dict[str, int]
    zones: dict[int, Zone] = field(default_factory=dict)
    sizes: tuple[int, int, int] = (1, 1, 1)
    order: Array | None = None
    program: int = 0
    accesses: int = 0
    most_accesses: int = 0
    seen_by: set[int] = field(default_factory=set)
    saw: dict[int, set[int]] = field(default_factory=dict)
    makes_pointers: bool = False
    sorted_zones: list[Zone] = field(default_factory=list)


class Monitor:
    """The hooks of the interpreter: one for the process, as the interpreter is."""

    def __init__(self) -> None:
        self.watching = Watching()
        self.seen: Seen | None = None
        self.running: Running | None = None
        self.count = 0

    @contextmanager
    def watch(self, watching: Watching) -> Iterator[Seen]:
        """Run kernels so within the block; yields what is seen."""
        before, seen = (self.watching, self.seen), Seen()
        self.watching, self.seen = watching, seen
        try:
            yield seen
        finally:
            self.watching, self.seen = before

    def launch(
        self, kernel: Any, names: Sequence[str], constants: Sequence[str], values: dict[str, Any], run: Callable[[], Any]
    ) -> Any:
        """Run a launch. Raises `InvalidArgument` where the interpreter cannot run the kernel."""
        name = getattr(kernel, "__name__", "kernel")
        numbers = {key: values[key] for key in constants if type(values.get(key)) is int}
        outer, self.running = self.running, Running(name, numbers)
        self.count += 1
        try:
            with quiet():
                return run()
        except Exception as error:
            root = root_of(error)
            if isinstance(root, InvalidArgument):
                raise root from None
            if is_interpreter_error(error) and is_limit(root):
                raise refusal(name, root) from error
            raise
        finally:
            self.running = outer

    def argument(self, name: str, tensor: Any) -> Any:
        """The copy of a tensor that the kernel gets in its place."""
        running = self._now
        storage = tensor.untyped_storage()
        key = storage.data_ptr() or -1 - len(running.zones)
        zone = running.zones.get(key)
        if zone is None:
            zone = running.zones[key] = zone_of(tensor, self.watching.views)
            if self._order == "at once":
                zone.run_at_once()
            running.sorted_zones = sorted(running.zones.values(), key=lambda each: each.start)
        zone.names.append(name)
        return zone.view(tensor)

    def finish(self) -> None:
        """Copy what the kernel wrote back, and note the launch."""
        running = self._now
        for zone in running.zones.values():
            zone.restore()
        most = max(running.most_accesses, running.accesses)
        if self.seen is not None:
            self.seen.launches.append(Launch(running.kernel, running.constants, running.sizes, most))

    def grid(self, sizes: tuple[int, int, int]) -> None:
        """Choose the order of the programs."""
        running, count = self._now, math.prod(sizes)
        running.sizes = sizes
        if self._order == "last to first":
            running.order = np.arange(count)[::-1]
        elif self._order == "shuffled":
            running.order = np.random.default_rng(self.watching.seed).permutation(count)

    def program(self, index: tuple[int, int, int]) -> tuple[int, int, int]:
        """The program that runs where the interpreter would run this one."""
        running = self._now
        _, y, z = running.sizes
        place = (index[0] * y + index[1]) * z + index[2]
        running.most_accesses = max(running.most_accesses, running.accesses)
        running.program = place if running.order is None else int(running.order[place])
        running.accesses, running.seen_by = 0, running.saw.setdefault(running.program, set())
        return running.program // (y * z), running.program // z % y, running.program % z

    def read(self, pointers: Array, mask: Array, dtype: np.dtype[Any]) -> Access:
        """Which elements a load reads, and what stands in for those outside, or as other programs have not written them."""
        inside = self._inside(pointers, mask, dtype.itemsize, "reads")
        found = Access(mask if inside is None else np.broadcast_to(mask, pointers.shape) & inside)
        if inside is not None:
            outside = np.nonzero(np.broadcast_to(mask, pointers.shape) & ~inside)
            found = Access(found.mask, outside, np.full(len(outside[0]), self._canary(dtype), dtype=dtype))
        if self._order == "at once":
            found = self._before(pointers, found, dtype)
        return found

    def write(self, pointers: Array, mask: Array, size: int) -> Array:
        """Which elements a store writes."""
        inside = self._inside(pointers, mask, size, "writes")
        made = mask if inside is None else np.broadcast_to(mask, pointers.shape) & inside
        if self._order == "at once":
            for zone, places, _ in self._by_zone(pointers, made):
                assert zone.writers is not None
                zone.writers[places] = self._now.program
        return made

    def atomic(self, pointers: Array, mask: Array, size: int) -> Array:
        """Which elements an atomic operation updates: it also sees what those wrote that have updated one of them before."""
        inside = self._inside(pointers, mask, size, "writes")
        made = mask if inside is None else np.broadcast_to(mask, pointers.shape) & inside
        if self._order == "at once":
            running = self._now
            for zone, places, _ in self._by_zone(pointers, made):
                for place in set(places.tolist()):
                    others = zone.touched.setdefault(place, set())
                    for other in others:
                        running.seen_by |= {other} | running.saw.get(other, set())
                    others.add(running.program)
        return made

    def makes_pointers(self) -> None:
        """The kernel makes pointers of integers: what they point to is not known."""
        self._now.makes_pointers = True

    def divided(self, size: int, block: int) -> None:
        """Note a division into blocks."""
        if self.seen is not None and (found := Division(size, block)) not in self.seen.divisions:
            self.seen.divisions.append(found)

    @property
    def _order(self) -> Order:
        """The order of the programs of the kernel that runs."""
        only = self.watching.only
        return self.watching.order if not only or self._now.kernel == only else "first to last"

    @property
    def _now(self) -> Running:
        if self.running is None:  # a device function that is called by itself
            self.running = Running("kernel", {})
        return self.running

    def _canary(self, dtype: np.dtype[Any]) -> Any:
        """A value that memory outside may hold, in a dtype; unsigned numbers of 16 bits are those of bfloat16."""
        canary = self.watching.canary
        if not canary:
            return dtype.type(0)
        if dtype == np.uint16:
            return rounded_to_bfloat16(np.array(canary, dtype=np.float32))
        if dtype.kind == "f":
            return np.array(canary).astype(dtype)
        return dtype.type(_INTEGER_CANARY) if dtype.kind in "iu" else dtype.type(1)

    def _inside(self, pointers: Array, mask: Array, size: int, kind: Kind) -> Array | None:
        """Which elements lie within the tensors of the launch, None for all; what does not is noted."""
        running = self._now
        running.accesses += 1
        if self.watching.most and running.accesses > self.watching.most:
            raise NeverEnds(f"a program of {running.kernel} waits for one that runs after it")
        wanted = np.broadcast_to(mask, pointers.shape)
        chosen = pointers[wanted].astype(np.int64)
        if not chosen.size:
            return None
        low, high = int(chosen.min()), int(chosen.max()) + size
        zones = running.sorted_zones
        if any(zone.closed is None and zone.start <= low and high <= zone.start + zone.size for zone in zones):
            return None
        if not zones:
            return None if running.makes_pointers else np.zeros(pointers.shape, dtype=bool)
        index, relative = _places(zones, pointers)
        sizes = np.array([zone.size for zone in zones], dtype=np.int64)
        inside = (index >= 0) & (relative >= 0) & (relative + size <= sizes[index])
        gaps = np.zeros(pointers.shape, dtype=bool)
        for k, zone in enumerate(zones):
            if zone.closed is not None:
                here = inside & (index == k) & wanted
                gaps[here] = zone.closed[relative[here]]
        beyond = (relative < -GUARD_BYTES.value) | (relative >= sizes[index] + GUARD_BYTES.value)
        inside &= ~gaps
        if running.makes_pointers:
            inside |= beyond
        wrong = wanted & ~inside
        if not bool(wrong.any()):
            return None
        self._note(zones, kind, wrong, index, relative, sizes, gaps, beyond, size)
        return inside

    def _note(
        self, zones: Sequence[Zone], kind: Kind, wrong: Array, index: Array, relative: Array, sizes: Array, gaps: Array,
        beyond: Array, size: int,
    ) -> None:  # fmt: skip
        line, kernel = _line_of_kernel(), self._now.kernel
        for k in np.unique(index[wrong]):
            here, zone = wrong & (index == k), zones[int(k)]
            behind = here & (relative >= 0) & ~gaps & ~beyond
            ahead = here & (relative < 0) & ~beyond
            for where, past in ((behind, 1), (ahead, -1), (here & gaps, 0), (here & beyond, None)):
                if not bool(where.any()):
                    continue
                far = past
                if past == 1:
                    far = int(-(-(relative[where].max() + size - sizes[k]) // size))
                elif past == -1:
                    far = int(relative[where].min() // size)
                self._add(Outside(kernel, zone.name, kind, far, line, int(where.sum())))

    def _add(self, found: Outside) -> None:
        if self.seen is None:
            return
        for k, known in enumerate(self.seen.outside):
            if _place(known) == _place(found):
                farther = found if abs(found.past or 0) > abs(known.past or 0) else known
                count = known.count + found.count
                self.seen.outside[k] = Outside(known.kernel, known.argument, known.kind, farther.past, known.line, count)
                return
        self.seen.outside.append(found)

    def _by_zone(self, pointers: Array, mask: Array) -> Iterator[tuple[Zone, Array, Array]]:
        zones = self._now.sorted_zones
        if not zones:
            return
        index, relative = _places(zones, pointers)
        wanted = np.broadcast_to(mask, pointers.shape)
        for k, zone in enumerate(zones):
            here = wanted & (index == k) & (relative >= 0) & (relative < zone.size)
            if bool(here.any()):
                yield zone, relative[here], here

    def _before(self, pointers: Array, access: Access, dtype: np.dtype[Any]) -> Access:
        """The same with what other programs have written read as it was before the launch, unless an atomic says it is seen."""
        running = self._now
        positions, values = [], []
        seen_by = np.array([running.program, -1, *running.seen_by])
        for zone, places, here in self._by_zone(pointers, access.mask):
            assert zone.writers is not None
            assert zone.before is not None
            others = ~np.isin(zone.writers[places], seen_by)
            if bool(others.any()):
                rows = zone.before[places[others][:, None] + np.arange(dtype.itemsize)]
                positions.append(tuple(axis[others] for axis in np.nonzero(here)))
                values.append(np.ascontiguousarray(rows).view(dtype).reshape(-1))
        if not positions:
            return access
        if access.positions is not None:
            positions.append(access.positions)
            values.append(access.values if access.values is not None else np.zeros(0))
        merged = tuple(np.concatenate([each[axis] for each in positions]) for axis in range(pointers.ndim))
        return Access(access.mask, merged, np.concatenate(values))


def most_accesses(launches: Sequence[Launch]) -> int:
    """The accesses that a program may make in another order than the usual, by what it makes in that."""
    most = max((launch.accesses for launch in launches), default=0)
    return max(FEW_ACCESSES.value, ACCESSES_IN_ANOTHER_ORDER.value * most)


def _place(found: Outside) -> tuple[Any, ...]:
    """What two accesses have in common that are told as one."""
    side = None if found.past is None else (found.past > 0) - (found.past < 0)
    return found.kernel, found.argument, found.kind, found.line, side


def _places(zones: Sequence[Zone], pointers: Array) -> tuple[Array, Array]:
    """For each pointer the zone that it lies in, or the nearest, and its place there relative to the start of the tensor."""
    addresses = pointers.astype(np.int64)
    firsts = np.array([zone.first for zone in zones], dtype=np.int64)
    starts = np.array([zone.start for zone in zones], dtype=np.int64)
    index = np.clip(np.searchsorted(firsts, addresses, side="right") - 1, 0, len(zones) - 1)
    return index, addresses - starts[index]


def _line_of_kernel() -> str:
    """The file and line within the user's kernel that runs: `kernels.py:12`."""
    frame = inspect.currentframe()
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith(_PACKAGE) and not is_of_triton(file) and "numpy" not in Path(file).parts:
            return f"{Path(file).name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


MONITOR = Monitor()
