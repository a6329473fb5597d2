"""`python -m gradcheck_lab` is `gradcheck-lab`."""

from __future__ import annotations

from gradcheck_lab.commands.cli import main

if __name__ == "__main__":
    main()
