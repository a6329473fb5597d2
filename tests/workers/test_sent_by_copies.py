"""What is sent to a new process beside an accelerator has copies of its tensors: few kinds of device share their memory."""

import pickle
from functools import partial
from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch

from gradcheck_lab.workers.apart import _Copied


def filled(value: torch.Tensor, line: Any) -> torch.Tensor:
    return value.fill_(3.0)


def test_a_function_is_sent_with_copies_of_its_tensors() -> None:
    given = torch.zeros(2)
    sent = pickle.loads(ForkingPickler.dumps(_Copied(partial(filled, given))))
    assert sent(None).tolist() == [3.0, 3.0]
    assert given.tolist() == [0.0, 0.0]
