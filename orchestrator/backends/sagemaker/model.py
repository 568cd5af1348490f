"""Does a request keep to what AWS says of it? botocore checks types, required members and minima before it sends; the
service model that it carries says more: maxima, patterns, enumerations. All of it is checked here, and every violation
is said at once, so that a wrong request costs no call and no guess."""

from __future__ import annotations

import difflib
import functools
import re
import unicodedata
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.errors import SwatchError
from orchestrator.wording import escaped

MOST_LINES = 20
_LONGEST_SHOWN = 60
_CLASSES = {"L": "a-zA-Z", "N": "0-9", "Z": " ", "P": "!-/:-@[-`{-~", "S": "$+<=>^`|~", "M": "", "Alnum": "a-zA-Z0-9"}
"""ASCII's share of the classes that patterns of the service models name (\\p{L})."""
_STANDS_FOR = {"L": "a", "N": "0", "Z": " "}
"""An ASCII letter for each class beyond ASCII."""


def check(operation: str, request: Mapping[str, Any], service: str = "sagemaker") -> None:
    """Raises SwatchError that lists every violation: path, value (shortened) and limit. Needs botocore, no network."""
    found = list(violations(operation, request, service))
    if found:
        lines = found[:MOST_LINES] + ([f"and {len(found) - MOST_LINES} more"] if len(found) > MOST_LINES else [])
        raise SwatchError(
            f"AWS would refuse this {operation}:\n" + "\n".join(f"  {line}" for line in lines),
            hint="Mend what of it the manifest or `aws:` in config.yaml says",
        )


def violations(operation: str, request: Mapping[str, Any], service: str = "sagemaker") -> Iterator[str]:
    """Each violation as a line: `ResourceConfig.InstanceType: "ml.g5.l" is none of its 225 values; near ...`."""
    yield from _members(_service(service).operation_model(operation).input_shape, request, "")


@functools.cache
def _service(name: str) -> Any:
    from botocore.loaders import Loader
    from botocore.model import ServiceModel

    return ServiceModel(Loader().load_service_model(name, "service-2"), name)


def _look(shape: Any, value: Any, path: str) -> Iterator[str]:
    kind = _KINDS.get(shape.type_name)
    if kind is not None and (not isinstance(value, kind) or (isinstance(value, bool) and shape.type_name != "boolean")):
        yield f"{path}: {_shown(value)} is no {shape.type_name}"
        return
    yield from _bounds(shape, value, path)
    if shape.type_name == "structure":
        yield from _members(shape, value, path)
    elif shape.type_name == "list":
        for index, item in enumerate(value):
            yield from _look(shape.member, item, f"{path}[{index}]")
    elif shape.type_name == "map":
        for key, item in value.items():
            yield from _look(shape.key, key, f"{path}, its key")
            yield from _look(shape.value, item, f"{path}.{_plain(str(key))}")
    elif shape.type_name == "string":
        yield from _text(shape, value, path)


def _members(shape: Any, value: Any, path: str) -> Iterator[str]:
    def at(name: str) -> str:
        return f"{path}.{name}" if path else name

    for name in shape.required_members:
        if value.get(name) is None:
            yield f"{at(name)} is missing"
    for name, item in value.items():
        if name not in shape.members:
            near = difflib.get_close_matches(name, shape.members, 1)
            yield f"{at(_plain(name))} is unknown" + (f"; did you mean {near[0]}?" if near else "")
        elif item is not None:
            yield from _look(shape.members[name], item, at(name))
        elif name not in shape.required_members:
            yield f"{at(name)}: nothing where a {shape.members[name].type_name} is expected"


def _bounds(shape: Any, value: Any, path: str) -> Iterator[str]:
    """Of a number its size, of anything else its length (characters, entries)."""
    number = shape.type_name in ("integer", "long", "float", "double")
    if not number and shape.type_name not in ("string", "list", "map", "blob"):
        return
    size = value if number else len(value)
    said = "" if number else f" has {size:,} {'characters' if shape.type_name == 'string' else 'entries'}"
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and size < low:
        yield f"{path}: {_shown(value)}{said}: at least {low:,}"
    if high is not None and size > high:
        yield f"{path}: {_shown(value)}{said}: at most {high:,}"


def _text(shape: Any, value: str, path: str) -> Iterator[str]:
    values = shape.enum
    if values and value not in values:
        near = difflib.get_close_matches(value, values, 3)
        hint = f"near: {', '.join(near)}" if near else f"for example {values[0]}"
        yield f"{path}: {_shown(value)} is none of its {len(values)} values; {hint}"
    pattern = shape.metadata.get("pattern")
    compiled = readable(pattern) if pattern else None
    if compiled is not None and not compiled.fullmatch(_ascii(value) if "\\p" in pattern else value):
        yield f"{path}: {_shown(value)} does not match {pattern}"


@functools.cache
def readable(pattern: str) -> re.Pattern[str] | None:
    """The pattern of a service model (Java's dialect) as Python's; None for one that Python cannot read (two of
    SageMaker's, in no request of ours): it is left to AWS. As on AWS, the whole of a text must match."""
    translated = re.sub(r"\\p\{(\w+)\}", lambda found: _CLASSES.get(found[1], found[0]), pattern)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # sets that Python may read otherwise one day
            return re.compile(translated)
    except re.error:
        return None


def _ascii(value: str) -> str:
    """The text with each letter beyond ASCII replaced by one of its class."""
    return "".join(
        letter if letter.isascii() else _STANDS_FOR.get(unicodedata.category(letter)[0], letter) for letter in value
    )


def _plain(text: str) -> str:
    return "".join(escaped(letter) for letter in text[:_LONGEST_SHOWN])


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    quote = '"' if isinstance(value, str) else ""
    return f"{quote}{_plain(text)}{'...' if len(text) > _LONGEST_SHOWN else ''}{quote}"


_KINDS: dict[str, Any] = {
    "structure": Mapping,
    "map": Mapping,
    "list": (list, tuple),
    "string": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
    "timestamp": object,
}
