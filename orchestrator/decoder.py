"""What was written as JSON or MessagePack, read again as values: msgspec's own functions, made safe for threads.

msgspec gathers what it knows of a Struct class when the class is first decoded, and shows it to other threads while it
is still gathering: a thread that decodes the same class at that moment ends the whole program with a segmentation fault
(seen with 0.22.0, which calls its functions thread-safe). So the first use of each class is under a lock. Nothing else
in this package calls msgspec's decoding functions: ruff refuses them.
"""

from __future__ import annotations

import threading
from typing import TypeVar

import msgspec

Value = TypeVar("Value")

_known: set[object] = set()
_gathering = threading.Lock()


def from_json(data: bytes | str, kind: type[Value]) -> Value:
    """The value of that type. Raises msgspec.DecodeError where the data says no such value."""
    return msgspec.json.decode(data, type=_gathered(kind))  # noqa: TID251 - this is the place


def from_msgpack(data: bytes, kind: type[Value]) -> Value:
    """The value of that type. Raises msgspec.DecodeError where the data says no such value."""
    return msgspec.msgpack.decode(data, type=_gathered(kind))  # noqa: TID251 - this is the place


def from_plain(said: object, kind: type[Value]) -> Value:
    """The value of that type, from dictionaries, lists and scalars. Raises msgspec.ValidationError where it is none."""
    return msgspec.convert(said, _gathered(kind))  # noqa: TID251 - this is the place


def _gathered(kind: type[Value]) -> type[Value]:
    """The type, once msgspec knows it and all types in it: making a decoder has it gather everything."""
    if kind not in _known:
        with _gathering:
            msgspec.json.Decoder(kind)  # noqa: TID251 - this is the place
        _known.add(kind)
    return kind
