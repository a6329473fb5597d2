"""Settings that every test shares."""

import os

import pytest
import torch
from hypothesis import HealthCheck, settings

import gradcheck_lab.probes

settings.register_profile("local", deadline=None)
# Same examples on every run, and nothing that depends on how fast the machine is.
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ci" if os.environ.get("CI") else "local")

# The tensors are small, xdist's workers share the cores, and one thread means one order of summation.
torch.set_num_threads(1)


gradcheck_lab.probes.STRICT = True  # a defect of a probe fails its test


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
