"""Out of descriptors: what the system says then, and what people are told.

Owns both. A process may be at its own limit (EMFILE) or the whole machine at its (ENFILE): neither
says anything of the file that was to be opened, so whoever looks at one must not take it for
damaged, missing or gone. Used wherever that would be a mistake, and where requests are answered.
"""

from __future__ import annotations

import errno
from typing import Final, TypeGuard

from pods_protocol.errors import CapacityReached

NO_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE})

OVERLOAD: Final = NO_DESCRIPTORS | {errno.ENOBUFS, errno.ENOMEM}
"""Why a connection may not be taken, and may be a moment later."""


def is_out_of_descriptors(error: BaseException) -> TypeGuard[OSError]:
    """Whether an error of the system says that none is left."""
    return isinstance(error, OSError) and error.errno in NO_DESCRIPTORS


def no_descriptors(act: str, error: OSError) -> CapacityReached:
    """The error where this process, or the machine, has none left to `act` with."""
    if error.errno == errno.ENFILE:
        return CapacityReached(
            f"cannot {act}: the machine has no open file left; stop some pods or end what holds so "
            "many files, or raise fs.file-max (`sysctl fs.file-nr` shows both)",
            limit_name="open_files",
        )
    import resource  # the light verbs have no use for it

    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CapacityReached(
        f"cannot {act}: the limit of {limit} open files is reached; stop some pods or close some "
        "clients, or start the supervisor with a higher `ulimit -n`",
        limit_name="open_files",
        limit=limit,
    )
