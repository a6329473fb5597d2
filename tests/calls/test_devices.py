"""What is asked of an accelerator, of a pretended one where there is none; `tests/pytesting/test_gpu.py` has the real one."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from gradcheck_lab.calls import devices
from gradcheck_lab.calls.devices import finished, free_memory
from gradcheck_lab.calls.process_state import preserved_state
from gradcheck_lab.calls.randomness import has_drawn_since, preserved_randomness, random_states, seed_all, torch_states

KINDS = ["cuda", "xpu", "mps"]


class OnDevice(torch.Tensor):
    """A tensor that says it is on an accelerator, where there is none."""

    where: torch.device

    @property
    def is_cpu(self) -> bool:
        return False

    @property
    def device(self) -> torch.device:
        return self.where


def on(name: str) -> Any:
    made = torch.ones(2).as_subclass(OnDevice)
    made.where = torch.device(name)
    return made


@dataclass
class Pretended:
    """Two devices with a generator each, as torch's module for a kind of accelerator has them."""

    started: bool = True
    waited: list[torch.device] = field(default_factory=list)
    stream: Any = None
    free: int = 1000
    generators: list[torch.Generator] = field(default_factory=lambda: [torch.Generator(), torch.Generator()])

    def is_initialized(self) -> bool:
        return self.started

    def device_count(self) -> int:
        return len(self.generators)

    def get_rng_state(self, index: int) -> torch.Tensor:
        return self.generators[index].get_state()

    def set_rng_state(self, state: torch.Tensor, index: int) -> None:
        self.generators[index].set_state(state)

    def manual_seed(self, seed: int) -> None:
        self.generators[0].manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        for each in self.generators:
            each.manual_seed(seed)

    def draw(self) -> float:
        return float(torch.rand((), generator=self.generators[1]))


@pytest.fixture(params=KINDS)
def pretended(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Pretended:
    made = Pretended()
    kind = torch.device(request.param)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: kind)
    monkeypatch.setattr(torch.accelerator, "synchronize", made.waited.append)
    monkeypatch.setattr(torch.accelerator, "current_stream", lambda: made.stream)
    monkeypatch.setattr(torch.accelerator, "set_stream", lambda stream: setattr(made, "stream", stream))
    monkeypatch.setattr(torch.accelerator, "set_device_index", lambda index: None)
    monkeypatch.setattr(torch.accelerator, "get_memory_info", lambda device: (made.free, 4000))
    monkeypatch.setattr(torch.accelerator, "memory_reserved", lambda device: 500)
    monkeypatch.setattr(torch.accelerator, "memory_allocated", lambda device: 200)
    monkeypatch.setattr(torch, "get_device_module", lambda device: made)
    return made


def kind() -> str:
    found = devices.accelerator()
    assert found is not None
    return found


def test_each_device_is_waited_for_once(pretended: Pretended) -> None:
    first, second = f"{kind()}:0", f"{kind()}:1"
    finished([on(first), on(first), None, 3, torch.ones(2), on(second), on("meta")])
    assert sorted(map(str, pretended.waited)) == [first, second]


def test_nothing_is_waited_for_on_the_cpu(pretended: Pretended) -> None:
    finished([torch.ones(2), None])
    assert not pretended.waited


def test_the_generators_of_devices_are_seeded_compared_and_put_back(pretended: Pretended) -> None:
    with preserved_randomness(5):
        before = random_states()
        first = pretended.draw()
        assert has_drawn_since(before)
        before.restore()
        assert not has_drawn_since(before)
        assert pretended.draw() == first
        seed_all(7)
        other = pretended.draw()
        seed_all(7)
        assert pretended.draw() == other != first


def test_an_accelerator_that_nobody_uses_is_not_started(pretended: Pretended) -> None:
    pretended.started = False
    kept = pretended.get_rng_state(1)
    seed_all(7)
    assert (len(torch_states()), devices.current_stream()) == (1, None)
    assert torch.equal(pretended.get_rng_state(1), kept)


@dataclass(frozen=True)
class Stream:
    number: int
    device_index: int = 0


def test_the_current_stream_is_put_back(pretended: Pretended) -> None:
    pretended.stream = Stream(0)
    with preserved_state():
        pretended.stream = Stream(1)
    assert pretended.stream == Stream(0)


def test_what_the_allocator_keeps_of_freed_tensors_is_free(pretended: Pretended) -> None:
    assert free_memory(torch.device(kind(), 0)) == 1300
    assert free_memory(torch.device("cpu")) is None


def test_a_device_that_does_not_tell_its_memory_has_none_known(pretended: Pretended, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(device: torch.device) -> None:
        raise RuntimeError("not implemented")

    monkeypatch.setattr(torch.accelerator, "get_memory_info", refuse)
    assert free_memory(torch.device(kind(), 0)) is None
