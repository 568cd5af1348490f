"""Values held against botocore's own model of a service: what SageMaker checks before it looks at an account.

The model (botocore/data/.../service-2.json) is what AWS publishes. botocore's client itself checks types, required
members and minima only; the service checks maxima, patterns and enumerations too.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from orchestrator.simulator.wire import ApiError, Invalid


@functools.cache
def service_model(service: str) -> Any:
    """botocore's ServiceModel."""
    import botocore.session

    return botocore.session.get_session().get_service_model(service)


def check(service: str, operation: str, value: dict[str, Any]) -> None:
    """Raise ApiError as the service does: SerializationException for a wrong type, else one ValidationException that
    counts everything that is wrong."""
    problems: list[str] = []
    _check(service_model(service).operation_model(operation).input_shape, value, "", problems)
    if problems:
        many = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected: "
        raise Invalid(many + "; ".join(problems))


def shaped(service: str, operation: str, value: dict[str, Any]) -> dict[str, Any]:
    """Of the value only what the operation's reply has a member for."""
    members = service_model(service).operation_model(operation).output_shape.members
    return {name: value[name] for name in value if name in members}


def _check(shape: Any, value: Any, where: str, problems: list[str]) -> None:
    kind = shape.type_name
    if kind == "structure":
        _expect(value, dict, "structure")
        for name in shape.required_members:
            if value.get(name) is None:
                problems.append(_wrong(None, _step(where, name), "Member must not be null"))
        for name, member in shape.members.items():
            if value.get(name) is not None:
                _check(member, value[name], _step(where, name), problems)
    elif kind == "list":
        _expect(value, list, "list")
        _size(shape, len(value), value, where, problems)
        for index, one in enumerate(value):
            _check(shape.member, one, f"{where}.{index + 1}.member", problems)
    elif kind == "map":
        _expect(value, dict, "map")
        _size(shape, len(value), value, where, problems)
        for key, one in value.items():
            _check(shape.key, key, f"{where}.{key}.key", problems)
            _check(shape.value, one, f"{where}.{key}.value", problems)
    elif kind == "string":
        _expect(value, str, "string")
        _string(shape, value, where, problems)
    elif kind == "boolean":
        _expect(value, bool, "boolean")
    elif kind in ("integer", "long", "float", "double"):
        _expect(value, (int, float) if kind in ("float", "double") else int, kind)
        low, high = shape.metadata.get("min"), shape.metadata.get("max")
        if low is not None and value < low:
            problems.append(_wrong(value, where, f"Member must have value greater than or equal to {low}"))
        if high is not None and value > high:
            problems.append(_wrong(value, where, f"Member must have value less than or equal to {high}"))
    elif kind == "timestamp":
        _expect(value, (int, float), "timestamp")


def _expect(value: Any, types: Any, kind: str) -> None:
    if not isinstance(value, types) or (isinstance(value, bool) and types is not bool):
        raise ApiError("SerializationException", f"class {type(value).__name__} can not be converted to a {kind}")


def _string(shape: Any, value: str, where: str, problems: list[str]) -> None:
    before = len(problems)
    _size(shape, len(value), value, where, problems)
    if shape.enum and value not in shape.enum:
        said = f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"
        problems.append(_wrong(value, where, said))
    pattern = shape.metadata.get("pattern")
    if pattern and len(problems) == before and not _compiled(pattern).fullmatch(value):
        problems.append(_wrong(value, where, f"Member must satisfy regular expression pattern: {pattern}"))


def _size(shape: Any, size: int, value: Any, where: str, problems: list[str]) -> None:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and size < low:
        problems.append(_wrong(value, where, f"Member must have length greater than or equal to {low}"))
    if high is not None and size > high:
        problems.append(_wrong(value, where, f"Member must have length less than or equal to {high}"))


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """AWS writes Java's patterns: its classes of letters, numbers and separators in Python's words."""
    separators = " \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
    for java, python in (("\\p{L}", r"\w"), ("\\p{N}", r"\w"), ("\\p{Z}", separators), ("\\p{Alnum}", "A-Za-z0-9")):
        pattern = pattern.replace(java, python)
    return re.compile(pattern)


def _wrong(value: Any, where: str, constraint: str) -> str:
    return f"Value {_shown(value)} at '{where}' failed to satisfy constraint: {constraint}"


def _shown(value: Any) -> str:
    text = str(value)
    text = text if len(text) <= 200 else text[:200] + "..."
    return "null" if value is None else f"'{text}'"


def _step(where: str, name: str) -> str:
    name = name[0].lower() + name[1:]
    return f"{where}.{name}" if where else name
