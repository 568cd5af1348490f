"""YAML text as plain data, with the place of every entry. No tracebacks: whatever is wrong becomes a `Problem`.

Only the plain half of YAML is read: mappings with text keys, lists, scalars. Anchors, aliases, tags and second
documents are refused, so that a file means what it shows. Scalars follow YAML 1.2 instead of PyYAML's 1.1: `yes` and
`on` are text, `1:30` and `2h` are text, `1e3` is a number, and `007` and `0x10` stay the text they are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from orchestrator.errors import Problem
from orchestrator.wording import Path, escaped, shown, where

if TYPE_CHECKING:
    import yaml

MAX_BYTES = 1 << 20
MAX_DEPTH = 20
MAX_NODES = 100_000

Place = tuple[int, int]
"""Line and column, both counted from 1."""


class _Refused:
    """The one value of its kind: stands for an entry that has its Problem already, so that nobody reports it again."""

    def __repr__(self) -> str:
        return "REFUSED"


REFUSED: Final = _Refused()

_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_UNSAYABLE = re.compile("[\x00\ud800-\udfff]")
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,99})")
_NUMBER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,99})?(?:\.[0-9]{0,99})?(?:[eE][-+]?[0-9]{1,3})?")
_KEY = re.compile(r"""\s*(?:- +)*(?P<key>[A-Za-z_]\w*|"[^"]*"|'[^']*')(?:\s[^:]*)?""")
"""The line of a key whose colon was forgotten."""
_PICTURES = {
    b"\x89PNG\r\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_CONSTANTS = {"": None, "~": None} | {
    spelt: value
    for word, value in (("null", None), ("true", True), ("false", False))
    for spelt in (word, word.title(), word.upper())
}


class Document:
    """What a YAML text says: `data` (None if nothing can be read), `places` of every entry, and `problems`.

    The place of a mapping's entry is its key, that of a list's entry its first character. `texts` holds the scalars
    that were written plainly and read as something other than text, as they were written: `1e-3`, `0.10`.
    """

    def __init__(self, data: Any, places: dict[Path, Place], texts: dict[Path, str], problems: list[Problem]) -> None:
        self.data = data
        self.places = places
        self.texts = texts
        self.problems = problems

    def at(self, *path: str | int) -> Place:
        """The place of an entry, or of the nearest one around it."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, (1, 1))


def read(text: bytes) -> Document:
    """Reads a YAML text. Never raises; a text that cannot be read at all gives `data` None and one problem or more."""
    try:
        return _Reader(_decoded(text)).document()
    except _Unreadable as unreadable:
        return Document(None, {}, {}, [*unreadable.before, unreadable.problem])


def scalar(text: str) -> bool | int | float | str | None:
    """What a plain scalar means, by YAML 1.2's core rules less octal, hexadecimal, infinities and leading zeros."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in "-+.0123456789":
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text) and any(letter.isdigit() for letter in re.split("[eE]", text)[0]):
        number = float(text)
        return number if math.isfinite(number) else text
    return text


class _Unreadable(Exception):
    def __init__(self, place: Place, message: str) -> None:
        self.problem = Problem(*place, "", message)
        self.before: list[Problem] = []


class _Reader:
    """Walks the parser's events, which costs a bounded stack and stops at the limits whatever the text says."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.nodes = 0
        self.places: dict[Path, Place] = {}
        self.texts: dict[Path, str] = {}
        self.problems: list[Problem] = []

    def document(self) -> Document:
        try:
            data = self._data()
        except _Unreadable as unreadable:
            unreadable.before = self.problems
            raise
        return Document(data, self.places, self.texts, self.problems)

    def _data(self) -> Any:
        import yaml

        self.events = self._events()
        next(self.events)  # the stream's start
        if isinstance(next(self.events), yaml.StreamEndEvent):
            return None
        first = next(self.events)
        data = self._node(first, (), 1)
        next(self.events)  # the document's end
        after = next(self.events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise _Unreadable(_place(after), "a second document starts here: a manifest is one document, drop the ---")
        return data

    def _events(self) -> Iterator[yaml.Event]:
        import yaml

        try:
            yield from yaml.parse(self.text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            if error.context_mark and "simple key" in (error.context or ""):  # the parser stands behind the key
                mark = error.context_mark
            place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            raise self._syntax(place, " ".join(part for part in (error.context, error.problem) if part)) from None
        except yaml.YAMLError as error:
            raise _Unreadable((1, 1), f"this is not YAML: {shown(str(error))[1:-1]}") from None

    def _syntax(self, place: Place, said: str) -> _Unreadable:
        """The parser's words, and where they hide the usual cause, that cause."""
        lines = self.text.splitlines()
        line = lines[place[0] - 1] if place[0] <= len(lines) else ""
        for word, sign, example in (("alias", "*", ': "*.png"'), ("anchor", "&", "")):
            if word in said:  # the parser stands behind the sign
                before = (place[0], line.rfind(sign, 0, place[1]) + 1)
                return _Unreadable(before, f"text that begins with {sign} must be quoted{example}")
        letter = line[place[1] - 1 : place[1]]
        if "cannot start any token" in said:
            cause = "a tab cannot indent YAML: use spaces"
            return _Unreadable(place, cause if letter == "\t" else f"text that begins with {letter} must be quoted")
        if "simple key" in said:
            return _Unreadable(place, _no_colon(line))
        if "mapping values are not allowed" in said:
            first = self._first_of_block(lines[: place[0] - 1])
            if first:
                return _Unreadable(first, _no_colon(lines[first[0] - 1]))
            cause = 'a ": " stands where no key can: quote the text around it, or check the indentation'
            return _Unreadable(place, cause)
        return _Unreadable(place, f"this is not YAML: {said}")

    @staticmethod
    def _first_of_block(lines: list[str]) -> Place | None:
        """Where the last line with content begins, if it looks like the first key of a block that lacks its colon."""
        content = [number for number, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")]
        found = _KEY.fullmatch(lines[content[-1]]) if content else None
        if not found:
            return None
        opens = len(content) == 1 or lines[content[-2]].partition(" #")[0].rstrip().endswith((":", "---"))
        opens = opens or found.string.lstrip().startswith("- ")
        return (content[-1] + 1, found.start("key") + 1) if opens else None

    def _problem(self, event: yaml.Event, path: Path, message: str) -> None:
        self.problems.append(Problem(*_place(event), where(path), message))

    def _count(self, event: yaml.Event) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise _Unreadable(_place(event), f"more than {MAX_NODES:,} entries: split the manifest")

    def _node(self, event: yaml.Event, path: Path, depth: int) -> Any:
        import yaml

        self._count(event)
        self.places.setdefault(path, _place(event))
        refused = self._marked(event, path)
        if isinstance(event, yaml.ScalarEvent):
            return REFUSED if refused else self._scalar(event, path)
        if depth > MAX_DEPTH:
            raise _Unreadable(_place(event), f"nested more than {MAX_DEPTH} levels deep")
        if isinstance(event, yaml.AliasEvent):
            return REFUSED
        value = self._list(path, depth) if isinstance(event, yaml.SequenceStartEvent) else self._mapping(path, depth)
        return REFUSED if refused else value

    def _marked(self, event: yaml.Event, path: Path) -> bool:
        """Reports an alias, an anchor or a tag; true if what the entry means is not known then."""
        import yaml

        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if isinstance(event, yaml.AliasEvent):
            message = f"an alias (*{anchor}) is not read here: write the value out, or quote it if it is text"
            self._problem(event, path, message)
            return True
        if anchor is not None:
            self._problem(event, path, f"an anchor (&{anchor}) is not read here: write each value out")
        if tag is not None:
            message = f"a tag ({_tag(tag)}) is not read here: write the value alone, quoted if it is text"
            self._problem(event, path, message)
        return tag is not None

    def _scalar(self, event: yaml.ScalarEvent, path: Path) -> Any:
        if _UNSAYABLE.search(event.value):
            self._problem(event, path, "holds a character that no text can hold (NUL or half a surrogate pair)")
            return REFUSED
        if event.style:  # quoted, or a block: text whatever it looks like
            return event.value
        value = scalar(event.value)
        if not isinstance(value, str):
            self.texts[path] = event.value
        return value

    def _list(self, path: Path, depth: int) -> list[Any]:
        import yaml

        values: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            values.append(self._node(event, (*path, len(values)), depth + 1))
        return values

    def _mapping(self, path: Path, depth: int) -> dict[str, Any]:
        import yaml

        values: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self._key(event, path)
            if key is not None and key in values:
                line = self.places[(*path, key)][0]
                self._problem(event, (*path, key), f"duplicate key {shown(key)}: it stands on line {line} already")
                key = None
            if key is None:
                self._skip(next(self.events))
                continue
            self.places[(*path, key)] = _place(event)
            values[key] = self._node(next(self.events), (*path, key), depth + 1)
        return values

    def _key(self, event: yaml.Event, path: Path) -> str | None:
        """The key, or None once its problem is reported."""
        import yaml

        if not isinstance(event, yaml.ScalarEvent):
            if not self._marked(event, path):
                self._problem(event, path, "a key must be text, not a list or a mapping; quote text that holds braces")
            self._skip(event)
            return None
        self._count(event)
        if self._marked(event, path):
            return None
        key = event.value if event.style else scalar(event.value)
        if not isinstance(key, str):
            self._problem(event, path, f"a key must be text, got {shown(key)}: put it in quotes")
            return None
        if _UNSAYABLE.search(key):
            self._problem(event, path, "a key holds a character that no text can hold")
            return None
        return key

    def _skip(self, event: yaml.Event) -> None:
        """Passes over a node that will not be read."""
        import yaml

        depth = 0
        while True:
            self._count(event)
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if not depth:
                return
            event = next(self.events)


def _decoded(text: bytes) -> str:
    """The characters of the file, less a byte order mark. Refuses what YAML cannot hold before the parser sees it."""
    kind = _picture(text)
    if kind:
        raise _Unreadable((1, 1), f"this is a picture ({kind}), not a manifest: a manifest is text that names pictures")
    if len(text) > MAX_BYTES:
        raise _Unreadable((1, 1), f"larger than {MAX_BYTES >> 20} MiB: that is no manifest; split it")
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError as error:
        if b"\0" in text and not text.startswith(_UTF_16):
            raise _Unreadable((1, 1), "this is no text, and so no manifest: check the file's name") from None
        place = _place_of(text[: error.start].decode("utf-8"))
        raise _Unreadable(place, f"not UTF-8 text (byte 0x{text[error.start]:02x}): save the file as UTF-8") from None
    decoded = decoded.removeprefix("\ufeff")
    found = _FORBIDDEN.search(decoded)
    if found:
        message = f"the character {escaped(found.group())} cannot stand in a manifest"
        raise _Unreadable(_place_of(decoded[: found.start()]), message)
    return decoded


def _picture(data: bytes) -> str | None:
    """The format of a picture, by its first bytes."""
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP"
    if data.startswith(b"BM") and b"\0" in data[:16]:
        return "BMP"
    return next((kind for magic, kind in _PICTURES.items() if data.startswith(magic)), None)


def _no_colon(line: str) -> str:
    found = _KEY.fullmatch(line)
    key = shown(found["key"].strip("'\"")) if found else ""
    return f'a ":" is missing after the key {key}' if key else 'a ":" is missing after this key'


def _place_of(before: str) -> Place:
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def _place(event: yaml.Event) -> Place:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _tag(tag: str) -> str:
    return shown(tag.replace("tag:yaml.org,2002:", "!!"))[1:-1]
