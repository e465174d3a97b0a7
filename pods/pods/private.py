"""What makes a directory private: the one rule by which ours are used, refused and mended.

Owns the rule and its words, and looks at nothing itself: whoever makes a directory (`rpc.unix`,
`scope.storage`) and whoever looks for what is wrong (`pods doctor`) hands over what `lstat` said.
Standard library only, for the light verbs need it.
"""

from __future__ import annotations

import os
import stat


def is_own_directory(seen: os.stat_result) -> bool:
    """Whether this is a directory of this user's, and no link to one."""
    return stat.S_ISDIR(seen.st_mode) and seen.st_uid == os.geteuid()


def fault_of_directory(seen: os.stat_result) -> str | None:
    """Why this is no directory that only this user may enter; None where it is one."""
    if stat.S_ISLNK(seen.st_mode):
        return "it is a symbolic link, not a directory; name what it leads to"
    if not stat.S_ISDIR(seen.st_mode):
        return "it is not a directory"
    if seen.st_uid != os.geteuid():
        return f"it belongs to user {seen.st_uid}, not to you ({os.geteuid()})"
    if stat.S_IMODE(seen.st_mode) & 0o077:
        return f"its mode is {stat.S_IMODE(seen.st_mode):04o}, which lets others in"
    return None
