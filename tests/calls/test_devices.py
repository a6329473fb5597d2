"""The comparison waits for each GPU that holds a result, once."""

from typing import Any

import pytest
import torch

from gradcheck_lab.calls.devices import finished


class OnDevice(torch.Tensor):
    """A tensor that says it is on a GPU, where there is none."""

    where: torch.device

    @property
    def is_cuda(self) -> bool:
        return True

    @property
    def device(self) -> torch.device:
        return self.where


def on(name: str) -> Any:
    made = torch.ones(2).as_subclass(OnDevice)
    made.where = torch.device(name)
    return made


def test_each_gpu_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    finished([on("cuda:0"), on("cuda:0"), None, 3, torch.ones(2), on("cuda:1")])
    assert sorted(map(str, waited)) == ["cuda:0", "cuda:1"]


def test_nothing_is_waited_for_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: pytest.fail("there is no GPU"))
    finished([torch.ones(2), None])
