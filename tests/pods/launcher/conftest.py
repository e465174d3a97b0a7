"""The launcher that the tests of a file share."""

from __future__ import annotations

from launcher_fixtures import client, launcher, shared_launcher

__all__ = ["client", "launcher", "shared_launcher"]
