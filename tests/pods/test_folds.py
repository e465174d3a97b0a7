"""What a fold remembers, as JSON and back: nothing is forgotten, and what does not fit is told."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from io import StringIO
from typing import Any, ClassVar, NamedTuple

import orjson
import pytest
from attrs import frozen

from pods.folds import Fold, meaning, memory, restore
from pods.journal.fold import PodFold
from pods.records.table import PodTable
from pods_protocol.events import Event


class Pair(NamedTuple):
    name: str
    number: int


@frozen
class Inner:
    text: str
    pairs: tuple[Pair, ...]


class Everything:
    MEANING: ClassVar[int] = 3
    DERIVED: ClassVar[frozenset[str]] = frozenset({"lookup"})
    FORMERLY: ClassVar[Mapping[str, Mapping[str, str]]] = {}

    number: int
    maybe: float | None
    words: set[str]
    by_number: dict[int, Inner]
    newest: deque[Pair]
    text: StringIO

    def __init__(self) -> None:
        self.number = 0
        self.maybe = None
        self.words = set()
        self.by_number = {}
        self.newest = deque(maxlen=2)
        self.text = StringIO()
        self.lookup = {"a": self.apply}

    def apply(self, event: Event) -> None:
        self.number = event.seq


class Forgetful(Everything):
    def __init__(self) -> None:
        super().__init__()
        self.undeclared = 1


def there_and_back(value: Any) -> Any:
    return orjson.loads(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS))


def full() -> Everything:
    fold = Everything()
    fold.number, fold.maybe, fold.words = 7, 1.5, {"b", "a"}
    fold.by_number[3] = Inner("x", (Pair("p", 1), Pair("q", 2)))
    fold.newest.extend([Pair("new", 9)])
    fold.text.write("said")
    return fold


def test_every_declared_attribute_comes_back_with_its_type() -> None:
    fold = Everything()
    assert restore(fold, there_and_back(memory(full()))) == []
    assert fold.by_number == {3: Inner("x", (Pair("p", 1), Pair("q", 2)))}
    assert (fold.number, fold.maybe, fold.words) == (7, 1.5, {"a", "b"})
    assert fold.newest == deque([Pair("new", 9)])
    assert fold.newest.maxlen == 2, "what is bounded stays bounded"
    fold.text.write(" more")
    assert fold.text.getvalue() == "said more"
    assert fold.lookup


def test_an_attribute_that_is_not_declared_cannot_be_forgotten_in_silence() -> None:
    with pytest.raises(TypeError, match="would forget \\['undeclared'\\]"):
        memory(Forgetful())


@pytest.mark.parametrize("fold", [PodFold(), PodTable()])
def test_the_folds_there_are_declare_all_that_they_have(fold: Fold) -> None:
    assert there_and_back(memory(fold)) == memory(fold)


def test_what_does_not_fit_changes_nothing_or_is_left_out_by_name() -> None:
    remembered = there_and_back(memory(full()))
    del remembered["words"]
    remembered["by_number"] = {"3": {"text": "x"}}
    remembered["of a newer version"] = 1
    fold = Everything()
    assert restore(fold, remembered) == ["words", "by_number"]
    assert fold.number == 0
    assert restore(fold, remembered, partly=True) == ["words", "by_number"]
    assert (fold.number, fold.words) == (7, set())


def test_what_was_written_before_a_part_was_one_is_taken_whole() -> None:
    told = PodFold()
    events: list[tuple[str, dict[str, Any]]] = [
        ("message_accepted", {"message_id": "a", "input": "go", "state": "started"}),
        ("turn_started", {"message_id": "a"}),
        ("text", {"text": "going"}),
        ("usage", {"input_tokens": 3}),
        ("message_accepted", {"message_id": "b", "input": "next", "state": "queued"}),
        ("message_accepted", {"message_id": "n", "input": "psst", "notify": True}),
        ("message_accepted", {"message_id": "c", "input": "never", "state": "queued"}),
        ("message_withdrawn", {"message_id": "c", "reason": "undelivered"}),
    ]
    for seq, (kind, data) in enumerate(events, 1):
        told.apply(Event(seq=seq, time=float(seq), turn=1, type=kind, data=data))
    written = there_and_back(memory(told))
    former = dict(written)
    for part, fields in PodFold.FORMERLY.items():
        held = former.pop(part)
        assert held.keys() == fields.keys(), "each of its fields is found"
        former |= {fields[name]: value for name, value in held.items()}
    fold = PodFold()
    assert restore(fold, former) == []
    assert there_and_back(memory(fold)) == written
    assert fold.running_text == "going"
    del former["_queue"]
    assert restore(PodFold(), former) == ["_mailbox"]


def test_another_set_of_attributes_or_another_meaning_of_them_is_another_meaning() -> None:
    class More(Everything):
        extra: int

    class Other(Everything):
        MEANING: ClassVar[int] = 4

    names = {meaning(Everything()), meaning(More()), meaning(Other()), meaning(PodFold())}
    assert len(names) == 4
