"""The command line, run in this process."""

import pytest

from gradcheck_lab.commands.cli import main


def exit_code(*arguments: str) -> int:
    """Run it with these arguments, and return the code that it ends with."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert isinstance(stopped.value.code, int)
    return stopped.value.code
