"""Values read from JSON, MessagePack and plain Python, by many threads at once too."""

from __future__ import annotations

import json
import subprocess
import sys

import msgspec
import pytest

from orchestrator import decoder

RACE = """
import sys
import threading

import msgspec

from orchestrator import decoder

sys.setswitchinterval(1e-7)
MANY = "".join(f"    f{n}: Optional[Inner] = None\\n" for n in range(20))
TEXT = f'''
from typing import Optional
from msgspec import Struct
class Inner(Struct):
    x: int = 0
    y: Optional[str] = None
class Outer(Struct):
{MANY}
'''
DATA = b'{"f3": {"x": 1}, "f19": {"y": "z"}}'


def work():
    gate.wait()
    read.append(decoder.from_json(DATA, classes["Outer"]))


for _ in range(100):
    classes, read, gate = {}, [], threading.Barrier(8)
    exec(TEXT, classes)
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(one.f3.x, one.f19.y, one.f0) for one in read] == [(1, "z", None)] * 8, read
"""


class Known(msgspec.Struct):
    name: str
    size: int = 0


def test_what_was_written_is_read() -> None:
    value = Known("a", 3)
    assert decoder.from_json(msgspec.json.encode(value), Known) == value
    assert decoder.from_json(json.dumps({"name": "a"}), Known) == Known("a")
    assert decoder.from_msgpack(msgspec.msgpack.encode(value), Known) == value
    assert decoder.from_plain({"name": "a", "size": 3}, Known) == value
    assert decoder.from_json(b'{"a": "b"}', dict[str, str]) == {"a": "b"}


def test_what_is_no_such_value_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$\.size"):
        decoder.from_json(b'{"name": "a", "size": "many"}', Known)
    with pytest.raises(msgspec.DecodeError):
        decoder.from_msgpack(b"\xc1", Known)
    with pytest.raises(msgspec.ValidationError, match="name"):
        decoder.from_plain({}, Known)


def test_threads_may_be_the_first_to_read_a_class() -> None:
    # Seen once in some thousand commands: two threads read the first job of a project, and the program was gone.
    ended = subprocess.run([sys.executable, "-X", "faulthandler", "-c", RACE], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
