"""Does plain data have the shape of a type? Every place where it has not is reported, in one sentence each.

msgspec's own decoder stops at the first error; a person who mends a manifest wants to see all of them. The types are
msgspec's, so that the JSON Schema made from them and this reading are one rule.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable
from typing import Any

from msgspec import inspect

from orchestrator.document import REFUSED
from orchestrator.wording import Path, shown

Report = Callable[[Path, str], None]
"""Takes the path of an entry and what is wrong with it."""

Reading = Callable[[Any], Any]
"""`Meta(extra={"read": reading})` on a type: turns a written value into what it means, or raises Unfit."""


class Unfit(Exception):
    """What is wrong with a value, as a sentence."""


def fit(kind: inspect.Type, value: Any, path: Path, report: Report) -> Any:
    """The value as the type `kind` has it, or REFUSED once its problems are reported.

    A struct comes back as a dict of the entries that were given and are right: what is missing or wrong is left out.
    """
    reading: Reading | None = None
    while isinstance(kind, inspect.Metadata):
        reading = reading or (kind.extra or {}).get("read")
        kind = kind.type
    if value is REFUSED:
        return REFUSED
    if reading:
        return _read(reading, value, path, report)
    if isinstance(kind, inspect.UnionType):
        for one in kind.types:
            if _is_a(_bare(one), value):
                return fit(one, value, path, report)
    elif _is_a(kind, value):
        return _fit_inside(kind, value, path, report)
    alternatives = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    wants_text = any(isinstance(_bare(one), inspect.StrType) for one in alternatives)
    hint = ": put it in quotes" if wants_text and isinstance(value, bool | int | float) else ""
    report(path, f"expected {expected(kind)}, got {shown(value)}{hint}")
    return REFUSED


def expected(kind: inspect.Type) -> str:
    """A type as the end of the sentence `expected ...`."""
    kind = _bare(kind)
    if isinstance(kind, inspect.UnionType):
        return ", or ".join(expected(one) for one in kind.types)
    if isinstance(kind, inspect.IntType):
        return f"an integer from {kind.ge} to {kind.le}"
    if isinstance(kind, inspect.FloatType):
        if kind.ge is not None and kind.le is not None:
            return f"a number from {kind.ge:g} to {kind.le:g}"
        return "a number" + (f" above {kind.gt:g}" if kind.gt is not None else "")
    if isinstance(kind, inspect.BoolType):
        return "true or false"
    if isinstance(kind, inspect.LiteralType):
        *words, last = (shown(word) for word in kind.values)
        return f"{', '.join(words)} or {last}" if words else last
    if isinstance(kind, inspect.ListType):
        return "a list"
    if isinstance(kind, inspect.DictType | inspect.StructType):
        return "a mapping"
    if isinstance(kind, inspect.NoneType):
        return "null"
    return "text"


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """`unknown key "widht"; did you mean "width"?`"""
    known = list(known)
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {shown(near[0])}?" if near else f"known are {', '.join(known)}"
    return f"unknown {what} {shown(name)}; {hint}"


def _read(reading: Reading, value: Any, path: Path, report: Report) -> Any:
    try:
        return reading(value)
    except Unfit as unfit:
        report(path, str(unfit))
        return REFUSED


def _bare(kind: inspect.Type) -> inspect.Type:
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    return kind


def _is_a(kind: inspect.Type, value: Any) -> bool:
    """Whether the value is of the type's family; its bounds are looked at later, for a sharper sentence."""
    if isinstance(kind, inspect.IntType):
        return isinstance(value, int) and not isinstance(value, bool)
    if isinstance(kind, inspect.FloatType):
        return isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(kind, inspect.BoolType):
        return isinstance(value, bool)
    if isinstance(kind, inspect.LiteralType):
        return value in kind.values
    if isinstance(kind, inspect.ListType):
        return isinstance(value, list)
    if isinstance(kind, inspect.DictType | inspect.StructType):
        return isinstance(value, dict)
    if isinstance(kind, inspect.NoneType):
        return value is None
    return isinstance(value, str)


def _fit_inside(kind: inspect.Type, value: Any, path: Path, report: Report) -> Any:
    complaint = None
    if isinstance(kind, inspect.StructType):
        return _fit_struct(kind, value, path, report)
    if isinstance(kind, inspect.DictType):
        complaint = _too_short(kind.min_length, value)
        if not complaint:
            return _fit_dict(kind, value, path, report)
    elif isinstance(kind, inspect.ListType):
        complaint = _too_short(kind.min_length, value)
        if kind.max_length is not None and len(value) > kind.max_length:
            complaint = f"expected at most {kind.max_length} entries, got {len(value)}"
        if not complaint:
            # Every item keeps its index, so that paths stay those of the file; the caller passes over REFUSED.
            return [fit(kind.item_type, item, (*path, index), report) for index, item in enumerate(value)]
    elif isinstance(kind, inspect.IntType):
        if kind.ge is not None and value < kind.ge:
            complaint = f"expected an integer of at least {kind.ge}, got {shown(value)}"
        elif kind.le is not None and value > kind.le:
            complaint = f"expected an integer of at most {kind.le}, got {shown(value)}"
    elif isinstance(kind, inspect.FloatType):
        low = (kind.gt is not None and value <= kind.gt) or (kind.ge is not None and value < kind.ge)
        if low or (kind.le is not None and value > kind.le) or not math.isfinite(value):
            complaint = f"expected {expected(kind)}, got {shown(value)}"
        value = float(value)
    elif isinstance(kind, inspect.StrType) and kind.min_length and not value.strip():
        complaint = "expected text, got none"
    if complaint:
        report(path, complaint)
        return REFUSED
    return value


def _too_short(minimum: int | None, value: list[Any] | dict[str, Any]) -> str | None:
    return f"expected at least {minimum} entry, got none" if minimum and not value else None


def _fit_struct(kind: inspect.StructType, value: dict[str, Any], path: Path, report: Report) -> dict[str, Any]:
    fields = {field.encode_name: field for field in kind.fields}
    given: dict[str, Any] = {}
    for name, entry in value.items():
        if name not in fields:
            report((*path, name), unknown("key", name, fields))
            continue
        fitted = fit(fields[name].type, entry, (*path, name), report)
        if fitted is not REFUSED:
            given[name] = fitted
    for name, field in fields.items():
        if field.required and name not in value:
            report(path, f"missing key {shown(name)}")
    return given


def _fit_dict(kind: inspect.DictType, value: dict[str, Any], path: Path, report: Report) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for name, entry in value.items():
        refused = fit(kind.key_type, name, (*path, name), report) is REFUSED
        fitted = fit(kind.value_type, entry, (*path, name), report)
        if fitted is not REFUSED and not refused:
            given[name] = fitted
    return given
