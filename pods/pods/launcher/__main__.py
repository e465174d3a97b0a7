"""`python -P -m pods.launcher`: started by the supervisor, for nobody else."""

from __future__ import annotations

import sys

from pods.launcher.main import main

if __name__ == "__main__":
    sys.exit(main())
