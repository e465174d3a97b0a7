"""`python -P -m pods.pod FD`: the pod under another interpreter than the launcher's."""

from __future__ import annotations

import sys

from pods.pod.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
