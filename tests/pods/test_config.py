"""The configuration file: what it may say, and what is said of a fault in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pods.config import DEFAULT, MAX_CONFIG_BYTES, Config, load_config, parse_config, with_caps
from pods.journal.retention import Retention
from pods_protocol.errors import ExitCode, InvalidParams
from pods_protocol.process_messages import PodSettings

WHOLE = """\
[bounds]
depth = 5
children = 20
total = 200
queue = 10
wait = "10m"

[journal]
max_bytes = 268435456
max_age = "4w"

[pods]
keep_ended_for = "1.5d"
"""


def test_without_a_file_or_with_an_empty_one_the_defaults_hold(tmp_path: Path) -> None:
    assert load_config(f"{tmp_path}/config.toml") == DEFAULT
    assert load_config(f"{tmp_path}/none/config.toml") == DEFAULT
    assert parse_config("", "c") == DEFAULT == Config()
    assert DEFAULT.for_pods == PodSettings()


def test_everything_that_can_be_said_is_heard(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(WHOLE)
    config = load_config(f"{tmp_path}/config.toml")
    assert config == Config(
        max_depth=5,
        max_children=20,
        max_pods=200,
        max_queue_length=10,
        longest_wait_seconds=600.0,
        retention=Retention(max_bytes=268435456, max_age_seconds=28 * 86400.0),
        keep_ended_seconds=1.5 * 86400,
    )
    assert config.for_pods == PodSettings(
        max_queue_length=10,
        longest_wait_seconds=600.0,
        journal_max_bytes=268435456,
        journal_max_age_seconds=28 * 86400.0,
    )


@pytest.mark.parametrize(
    ("text", "path", "nearest", "says"),
    [
        ("[bounds]\ndepht = 3", "bounds.depht", "depth", "did you mean `depth`"),
        ("[bound]\ndepth = 3", "bound", "bounds", "did you mean `bounds`"),
        ("[bounds]\ndepth = '3'", "bounds.depth", None, "a whole number"),
        ("[bounds]\ndepth = 3.5", "bounds.depth", None, "a whole number"),
        ("[bounds]\ndepth = true", "bounds.depth", None, "a whole number"),
        ("[bounds]\ndepth = 1979-05-27", "bounds.depth", None, "a whole number"),
        ("[bounds]\ndepth = 0", "bounds.depth", None, "from 1 to 100, not 0"),
        ("[bounds]\nwait = 30", "bounds.wait", None, "a string"),
        ("[bounds]\nwait = '2h'", "bounds.wait", None, "from 1 to 3600 seconds"),
        ("[pods]\nkeep_ended_for = '7 days'", "pods.keep_ended_for", None, "such as"),
        ("[pods]\nkeep_ended_for = '-1d'", "pods.keep_ended_for", None, "such as"),
        ("[journal]\nmax_bytes = 1000", "journal.max_bytes", None, "from 4194304 to"),
        ("bounds = 3", "bounds", None, "an object"),
        ("[bounds", "", None, "it is not TOML"),
    ],
)
def test_a_fault_is_named_with_its_place_and_what_comes_closest(
    text: str, path: str, nearest: str | None, says: str
) -> None:
    with pytest.raises(InvalidParams) as refused:
        parse_config(text, "/home/me/config.toml")
    error = refused.value
    assert error.message.startswith("cannot use the configuration /home/me/config.toml: ")
    assert says in error.message
    assert error.data["path"] == path
    assert error.data.get("nearest") == nearest
    assert error.EXIT_CODE == ExitCode.USAGE


def test_what_cannot_be_a_configuration_is_refused(tmp_path: Path) -> None:
    path = f"{tmp_path}/config.toml"
    Path(path).write_bytes(b"#" * (MAX_CONFIG_BYTES + 1))
    with pytest.raises(InvalidParams, match="more than"):
        load_config(path)
    Path(path).write_bytes(b"\xff")
    with pytest.raises(InvalidParams, match="not UTF-8"):
        load_config(path)
    os.unlink(path)
    os.mkdir(path)
    with pytest.raises(InvalidParams, match="cannot be read"):
        load_config(path)


def test_what_a_program_gives_goes_before_the_file() -> None:
    config = with_caps(Config(max_depth=5, max_pods=7), max_depth=2, max_children=1)
    assert config == Config(max_depth=2, max_children=1, max_pods=7)
