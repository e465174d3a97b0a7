"""`python -m pods`: the command line."""

import sys

from pods.cli import main

if __name__ == "__main__":
    sys.exit(main())
