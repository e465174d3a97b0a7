"""The `pods` command: words in, one request or a few, text out.

Owns the door: exit codes, how errors are shown, Ctrl-C and broken pipes. Each verb is one file with
`configure(parser)` and `run(args)`; a verb file is imported only when it is asked for, and none of
the light ones may import trio, attrs or rich. Called by the console script and by
`python -m pods`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from pods.cli.parser import parse
from pods_protocol.errors import ExitCode, PodsError, error_to_wire

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; raises nothing for what a user did.

    Args:
        argv: the words after `pods`; None is the process's own.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in words
    _fill_standard_streams()
    try:
        args = parse(words)
        code = int(args.run(args))
        sys.stdout.flush()
        return code
    except SystemExit as ended:  # argparse has said what there is to say
        return ended.code if isinstance(ended.code, int) else ExitCode.USAGE
    except PodsError as error:
        _report(error, as_json)
        return error.EXIT_CODE
    except BrokenPipeError:  # whoever read has had enough
        _discard_output()
        return ExitCode.OK
    except OSError as error:
        _discard_output()
        about = "" if error.filename is None else f" ({error.filename})"
        sys.stderr.write(
            f"pods: cannot go on: the system says: {error.strerror or error}{about}; check that "
            "the current directory still exists and that there is room where the output goes\n"
        )
        return ExitCode.FAILED
    except KeyboardInterrupt:
        sys.stderr.write("pods: interrupted\n")
        return ExitCode.INTERRUPTED


def _fill_standard_streams() -> None:
    """Put the null device where the caller closed a standard stream.

    In ascending order: each takes the number of the one that is missing, so that no socket does.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - stays open


def _discard_output() -> None:
    """What is still buffered must not fail again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report(error: PodsError, as_json: bool) -> None:
    if as_json:
        import json

        sys.stderr.write(json.dumps({"error": error_to_wire(error)}, default=str) + "\n")
        return
    sys.stderr.write(f"pods: {error.message}\n")
