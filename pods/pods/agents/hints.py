"""What is said at the end of a turn that failed to whoever can look further.

Owns the words, which an agent gives (`programs`) and the command line takes back where the pod is
gone by the time that they are read (`pods run`). Pure.
"""

from __future__ import annotations


def refused(pod: str) -> str:
    """Where the output says that something was refused.

    Args:
        pod: its name.
    """
    return (
        f"something was refused to it: `pods explain {pod} -- COMMAND` says what stands in the way"
    )


def refused_and_gone() -> str:
    """The same where that pod is gone once it is read."""
    return (
        "something was refused to it: more `--read PATH` or `--write PATH` may help; `pods spawn` "
        "keeps a pod, of which `pods explain NAME -- COMMAND` says what stands in the way"
    )
