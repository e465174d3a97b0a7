"""The README's generated parts are those of the tables, and its example runs."""

from __future__ import annotations

import pickle
import re

import pytest

from pods_protocol import bounds, codec, connection, reference, states
from pods_protocol.descriptions import describe
from pods_protocol.errors import ERROR_CLASSES, PodsError, error_from_wire, error_to_wire
from pods_protocol.events import EVENT_KINDS
from pods_protocol.supervisor_api import APIS

README = reference.README.read_text("utf-8")


def test_the_generated_parts_are_the_tables() -> None:
    assert reference.fill(README) == README, (
        "after a change to a table: python -m pods_protocol.reference"
    )


def test_every_error_event_and_method_is_there() -> None:
    for name in (*ERROR_CLASSES, *EVENT_KINDS):
        assert f"| `{name}` |" in README
    for api in APIS.values():
        for method in api.methods:
            assert f"#### `{method}`" in README


def test_the_state_diagram_is_drawn_from_the_table() -> None:
    assert f"```text\n{states.draw()}```" in README
    for state in states.State:
        assert f"\n{state.value}\n" in f"\n{states.draw()}"


def test_a_readme_without_a_mark_is_noticed() -> None:
    with pytest.raises(ValueError, match="no marks"):
        reference.fill(README.replace("<!-- begin errors -->", ""))


def test_the_numbers_in_the_text_are_the_bounds() -> None:
    assert f"{bounds.MAX_LINE_BYTES:,} bytes" in README
    assert f"{codec.MAX_ERROR_BYTES:,} bytes" in README
    assert f"at most {connection.MAX_ID_CHARACTERS} characters" in README
    assert f"within {bounds.HELLO_SECONDS:g} seconds" in README
    assert f"holds {bounds.MAX_QUEUE_LENGTH} messages" in README
    assert f"The version is **{bounds.PROTOCOL_VERSION}**" in README


def test_the_example_in_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    for example in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(compile(example, "README.md", "exec"), {})
    assert "RequestReceived(request_id=1, method='hello'" in capsys.readouterr().out


class Described:
    """First line,
    second line.

    Another paragraph.

    Attributes:
        one: a thing
            and more.
        two, three: things.

    Raises:
        Busy: often.
    """


class NotDescribed: ...


def test_a_docstring_is_taken_apart() -> None:
    made = describe(Described)
    assert made.text == "First line, second line.\nAnother paragraph."
    assert made.attributes == {"one": "a thing and more.", "two": "things.", "three": "things."}
    assert made.raises == {"Busy": "often."}
    assert describe(NotDescribed).text == ""


@pytest.mark.parametrize("kind", ERROR_CLASSES.values(), ids=ERROR_CLASSES)
def test_every_error_crosses_the_wire_as_itself(kind: type[PodsError]) -> None:
    error = kind("cannot do it: no", a=[1])
    back = error_from_wire(error_to_wire(error))
    assert type(back) is kind
    assert (back.message, back.data) == (error.message, error.data)


def test_an_error_can_be_pickled_with_any_fact() -> None:
    error = ERROR_CLASSES["busy"]("cannot: busy", message="m", self=1, limit=5)
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert (back.message, back.data) == (error.message, error.data)


def test_numbers_of_errors_are_their_own() -> None:
    numbers = [kind.NUMBER for kind in ERROR_CLASSES.values()]
    assert len(numbers) == len(set(numbers))
