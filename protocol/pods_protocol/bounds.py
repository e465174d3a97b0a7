"""Every bound that both ends of a socket must know, with its reason.

Owns numbers only. A bound that one side alone applies stands beside the code that applies it.
"""

from __future__ import annotations

from typing import Final

PROTOCOL_VERSION: Final = 1
"""Raised when an old reader would misread a new line; `hello` compares it."""

MAX_LINE_BYTES: Final = 1024 * 1024
"""One JSON line, newline excluded. Bigger payloads go as files inside the scope: 1 MiB is above any
prompt that models take at once and small enough that a hostile line costs nobody their memory."""

MAX_NAME_LENGTH: Final = 64
"""A pod's name: it stands in tables, paths and prompts."""

MAX_QUEUE_LENGTH: Final = 50
"""Messages that wait in one pod; a sender that is fifty ahead is not talking to anybody."""

MAX_MESSAGE_ID_LENGTH: Final = 200
"""Characters of an idempotency key, which is kept for long; a UUID has 36."""

MAX_TEXT_EVENT_BYTES: Final = 16 * 1024
"""UTF-8 bytes of text in one event; longer output becomes several events. Small enough that a
reader with a small `max_bytes` always gets at least one."""

MAX_INLINE_ARTIFACT_BYTES: Final = 256 * 1024
"""An artifact up to this size travels in its event, a larger one as a path."""

DEFAULT_READ_LIMIT: Final = 1000
MAX_READ_LIMIT: Final = 10_000
"""Events in one `read`: the answer must fit a line."""

DEFAULT_READ_BYTES: Final = 256 * 1024
MAX_READ_BYTES: Final = 768 * 1024
"""Encoded event bytes in one `read` answer, below the line cap with room for the envelope."""

DEFAULT_LIST_LIMIT: Final = 256
MAX_LIST_LIMIT: Final = 1000
"""Rows in one page of `list`. A row is some 1.5 KB and costs the supervisor a look at the disk: a
page holds what people run at once, and is made in some hundredths of a second."""

MAX_LIST_BYTES: Final = 768 * 1024
"""Encoded bytes of rows in one page, below the line cap with room for the envelope."""

MAX_COUNTED_PROCESSES: Final = 4096
"""Processes of a pod that are counted in one go, in some tenths of a second. A limit on their
number must be below it, and of a pod that has so many nobody knows what memory they take."""

DEFAULT_WAIT_SECONDS: Final = 30.0
MAX_WAIT_SECONDS: Final = 3600.0
"""A wait ends within an hour: a client that wants longer asks again, so a lost client frees its
task."""

HELLO_SECONDS: Final = 10.0
"""A peer that connects and says nothing is let go after this."""

MAX_DEPTH: Final = 3
MAX_CHILDREN: Final = 8
MAX_PODS: Final = 1000
"""Defaults of the caps on the tree; a supervisor may be started with others."""

DEFAULT_RESTARTS: Final = 5
"""Restarts in a row where `on-failure` names no limit: their pauses span ten seconds, long enough
for a passing shortage, too short to burn a night of model calls."""

MAX_RESTARTS: Final = 1000
"""A limit above it is none: with the longest pause it is most of a day of crashing."""

DEFAULT_GRACE_SECONDS: Final = 5.0
"""Between the steps of a stop."""

MAX_GRACE_SECONDS: Final = 600.0
"""A stop that may take longer than ten minutes a step is a pod that nobody stops."""

MAX_SPAWNS_PER_MINUTE: Final = 120
"""Of one pod. Eight children side by side that each live four seconds are within it; an agent that
spawns in a loop is not."""

MAX_SAME_MESSAGES_PER_MINUTE: Final = 20
"""Messages with the same words from one sender to one child. Who asks every few seconds whether it
is done is within it; who sends in a loop is not."""

SECRET_PREFIX: Final = "PODS_SECRET_"
"""A variable of a pod's `env` whose name begins so is for its agent itself, not for programs: it is
in nobody's environment."""
