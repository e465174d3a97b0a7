"""`python -P -m pods.launcher`: started by the supervisor, for nobody else."""

from __future__ import annotations

import sys

from pods.launcher.huge_pages import gather

if __name__ == "__main__":
    gathered = gather()  # held for good, and before all that fills it is imported

    from pods.launcher.main import main

    sys.exit(main())
