"""What a fold over a journal remembers, as JSON and back: by the annotations of its class.

Owns that nothing is forgotten: a fold declares each of its attributes in its class body, and one
that has an attribute it did not declare cannot be written. Pure. Called by `pods.journal` for the
snapshots of every fold, with `PodFold` and `PodTable` as the folds there are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import cache
from io import StringIO
from typing import Any, ClassVar, Final, NamedTuple, Protocol, get_origin, get_type_hints

from cattrs.preconf.orjson import make_converter

from pods_protocol.events import Event


class Fold(Protocol):
    """State that follows from the events of a journal.

    Every attribute is declared in the class body with its type (`ClassVar` and `Final` are not
    state); `restore` and `memory` go by that.

    Attributes:
        MEANING: raised by whoever changes what an attribute means, or what an event does to it: a
            snapshot of another meaning is not trusted while the events can still be replayed.
        DERIVED: attributes that every new instance has by itself.
        FORMERLY: parts that were attributes of the fold's own in older snapshots: part -> its
            field -> the attribute that it was.
    """

    MEANING: ClassVar[int]
    DERIVED: ClassVar[frozenset[str]]
    FORMERLY: ClassVar[Mapping[str, Mapping[str, str]]]

    def apply(self, event: Event, /) -> None:
        """Take one event into account."""
        ...


class _Codec(NamedTuple):
    dump: Callable[[Any], Any]
    load: Callable[[Any], Any]


_CONVERTER: Final = make_converter()


def _buffer(text: str, _: object) -> StringIO:
    buffer = StringIO()
    buffer.write(text)
    return buffer


_CONVERTER.register_unstructure_hook(StringIO, StringIO.getvalue)
_CONVERTER.register_structure_hook(StringIO, _buffer)


def _is_named_tuple(kind: Any) -> bool:
    return getattr(kind, "_fields", None) is not None and isinstance(kind, type)


@_CONVERTER.register_structure_hook_factory(_is_named_tuple)
def _named_tuple(kind: Any) -> Callable[[Any, Any], Any]:
    # cattrs' own takes the annotations as they are written, and they are strings here.
    hints = tuple(get_type_hints(kind).values())

    def build(values: Any, _: Any) -> Any:
        pairs = zip(values, hints, strict=True)
        return kind(*(_CONVERTER.structure(value, hint) for value, hint in pairs))

    return build


def _codec(hint: Any) -> _Codec:
    def dump(value: Any) -> Any:
        return _CONVERTER.unstructure(value, unstructure_as=hint)

    def load(value: Any) -> Any:
        return _CONVERTER.structure(value, hint)

    return _Codec(dump, load)


@cache
def _codecs(kind: type[Any]) -> dict[str, _Codec]:
    return {
        name: _codec(hint)
        for name, hint in get_type_hints(kind).items()
        if get_origin(hint) not in (ClassVar, Final) and hint is not Final
    }


def meaning(fold: Fold) -> str:
    """What tells whether a snapshot is of this very kind of fold."""
    kind = type(fold)
    return f"{kind.__name__}/{kind.MEANING}/{','.join(sorted(_codecs(kind)))}"


def memory(fold: Fold) -> dict[str, Any]:
    """All that the fold remembers, as plain JSON values (keys may be numbers).

    Raises:
        TypeError: it has an attribute that its class does not declare: a bug of ours.
    """
    kind = type(fold)
    codecs = _codecs(kind)
    state = {name: value for name, value in vars(fold).items() if name not in kind.DERIVED}
    if state.keys() != codecs.keys():
        raise TypeError(
            f"{kind.__name__} would forget {sorted(state.keys() ^ codecs.keys())}: declare each "
            "attribute with its type in the class body"
        )
    return {name: codecs[name].dump(value) for name, value in state.items()}


def restore(fold: Fold, remembered: Mapping[str, Any], *, partly: bool = False) -> list[str]:
    """Give a fold what another one remembered, in place of all that it held.

    Args:
        fold: changed here.
        remembered: what `memory` gave.
        partly: take what can be taken where something cannot; else nothing is changed then.

    Returns:
        What cannot be taken, because it is missing or of another type: nothing, where the
        `meaning` of both is the same.
    """
    lost: list[str] = []
    values: dict[str, Any] = {}
    for name, codec in _codecs(type(fold)).items():
        try:
            values[name] = codec.load(_written(type(fold), remembered, name))
        except Exception:
            # Whatever the hooks raise, it is not of this type.
            lost.append(name)
    if partly or not lost:
        for name, value in values.items():
            bound = getattr(getattr(fold, name), "maxlen", None)  # of a deque: it stays bounded
            setattr(fold, name, value if bound is None else deque(value, bound))
    return lost


def _written(kind: type[Fold], remembered: Mapping[str, Any], name: str) -> Any:
    """An attribute as it was written, also by a version that had the fields of a part for itself.

    Raises:
        KeyError: it was not.
    """
    former = kind.FORMERLY.get(name)
    if former is None or name in remembered:
        return remembered[name]
    return {part: remembered[was] for part, was in former.items()}
