"""Worker processes as they are started: how one ended is known to everybody who asks."""

import os
import threading

import pytest

from gradcheck_lab.workers.starting import UninterruptedContext

ROUNDS, THREADS = 8, 6


@pytest.mark.parametrize(("end", "arguments", "code"), [(os.abort, (), -6), (os._exit, (3,), 3)], ids=["signal", "exit"])
def test_threads_that_ask_together_are_told_one_exit_code(end: object, arguments: tuple[int, ...], code: int) -> None:
    context = UninterruptedContext()
    for _ in range(ROUNDS):
        process = context.Process(target=end, args=arguments)
        process.start()
        told: list[int] = []

        def ask(process: object = process, told: list[int] = told) -> None:
            while (found := process.exitcode) is None:  # type: ignore[attr-defined]
                pass
            told.append(found)

        threads = [threading.Thread(target=ask) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        process.join()
        for thread in threads:
            thread.join()
        assert [*told, process.exitcode] == [code] * (THREADS + 1)
        assert not process.is_alive()
