"""Hypothesis' example database shared by a team through Redis: what one finds, another tries first."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis.database import ExampleDatabase

import gradcheck_lab as gl
from gradcheck_lab.calls.case import Case
from gradcheck_lab.specs import real
from gradcheck_lab.strategies import calls

redis = pytest.importorskip("redis", reason="install the client `redis` to share Hypothesis' examples")
from hypothesis.extra.redis import RedisExampleDatabase  # noqa: E402 - it imports redis


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """The port of a Redis server on loopback."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("install redis-server (apt-get install redis-server) to share Hypothesis' examples")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
    command = [program, "--port", str(number), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_for(number)
        yield number
    finally:
        server.terminate()
        server.wait()


def wait_for(port: int) -> None:
    until = time.monotonic() + 30
    while True:
        try:
            redis.Redis(host="127.0.0.1", port=port).ping()
        except redis.ConnectionError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return


def backward(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor]:
    """Wrong for rows of exactly five numbers."""
    return (grad_output * (3 if x.shape[-1] == 5 else 2),)


double = gl.Op(lambda x: 2 * x, backward, name="double", specs=(real("n d"),))


def run_test(database: ExampleDatabase, examples: int) -> list[int]:
    """Run the team's test on a machine that has this database; returns the row lengths that it tried, in their order."""
    tried: list[int] = []

    @settings(database=database, max_examples=examples, derandomize=False, deadline=None)
    @given(calls(double))
    def gradients_are_right(call: Case) -> None:
        tried.append(call.inputs[0].shape[-1])
        gl.assert_gradients(double, *call.inputs, probes=())

    with pytest.raises(gl.GradientMismatch):
        gradients_are_right()
    return tried


def test_call_that_one_finds_is_the_first_that_another_tries(port: int) -> None:
    first, second = (RedisExampleDatabase(redis.Redis(host="127.0.0.1", port=port)) for _ in range(2))
    found = run_test(first, 2000)
    assert found[0] != 5, "it is the database that knows"
    assert run_test(second, 1)[0] == 5


def test_fuzz_takes_the_database_of_the_profile(port: int) -> None:
    before = settings()
    database = RedisExampleDatabase(redis.Redis(host="127.0.0.1", port=port))
    settings.register_profile("team", database=database, derandomize=False, deadline=None)
    try:
        settings.load_profile("team")
        first = gl.fuzz(double, max_examples=300)
        second = gl.fuzz(double, max_examples=1)
    finally:
        settings.register_profile("before", before)
        settings.load_profile("before")
    assert (first.verdict, second.verdict) == ("fail", "fail")
    assert (first.examples > 1, second.examples) == (True, 1)


def test_profiles_of_the_page_share_examples(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "campaigns.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```Python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EXAMPLES", f"redis://127.0.0.1:{port}")
    before = settings()
    try:
        for ci, name in (("true", "ci"), ("", "developer")):
            monkeypatch.setenv("CI", ci)
            exec(compile(shown, "conftest.py", "exec"), {})
            database = settings().database
            assert database is not None
            if name == "ci":
                assert run_test(database, 2000)[0] != 5
            else:
                assert run_test(database, 1)[0] == 5
    finally:
        settings.register_profile("before", before)
        settings.load_profile("before")


def test_server_that_is_gone_is_told_by_its_client(port: int) -> None:
    gone = RedisExampleDatabase(redis.Redis(host="127.0.0.1", port=1))
    with pytest.raises(redis.ConnectionError):
        list(gone.fetch(b"key"))
