"""YAML text as plain data: what is refused, where, and that nothing ever raises."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import document
from orchestrator.document import REFUSED

BOMB = b"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n"


def problems(text: bytes | str) -> list[tuple[int, int, str]]:
    read = document.read(text.encode() if isinstance(text, str) else text)
    return [(problem.line, problem.column, problem.message) for problem in read.problems]


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        (b"a: 1\nb: \xff\n", 2, 4, "not UTF-8 text (byte 0xff)"),
        (b"a: \x00\n", 1, 4, "the character \\x00"),
        ("a: é\x1b[31m\n", 1, 5, "the character \\x1b"),
        ("a: 1\n---\nb: 2\n", 2, 1, "second document"),
        ("\ta: 1\n", 1, 1, "a tab cannot indent"),
        ("a: b: c\n", 1, 5, "quote the text"),
        ("source: *.png\n", 1, 9, '"*.png"'),
        ("source: [a.png, *.png]\n", 1, 17, '"*.png"'),
        ("a: &.png\n", 1, 4, "text that begins with & must be quoted"),
        ("a: @x\n", 1, 4, "text that begins with @ must be quoted"),
        ("a: [1\nb: 2\n", 2, 2, "not YAML"),
        ("a: 'open\n", 2, 1, "not YAML"),
        ("a: 1\nb: 2\na: 3\n", 3, 1, 'duplicate key "a": it stands on line 1 already'),
        ("name: a\ntextures\n  - source: a.png\n", 2, 1, 'a ":" is missing after the key "textures"'),
        ("name: a\ntextures\n\n# mine\n- source: a.png\n", 2, 1, 'a ":" is missing after the key "textures"'),
        ("name: a\n'textures'  # mine\n  - source: a.png\n", 2, 1, 'a ":" is missing after the key "textures"'),
        ("name: a\ntextures:\n- source: a\n  size\n  seed: 1\n", 4, 3, 'a ":" is missing after the key "size"'),
        ("name: a\nretries 3\nspot: true\n", 2, 1, 'a ":" is missing after the key "retries"'),
        ("# mine\nname\ntextures:\n- source: a\n", 2, 1, 'a ":" is missing after the key "name"'),
        ("a:\n  - source\n    seed: 1\n", 2, 5, 'a ":" is missing after the key "source"'),
        ("a:  # mine\n  seed [1, 2]\n  size: 4\n", 2, 3, 'a ":" is missing after the key "seed"'),
        ("command: do\n  this\n  so: x\n", 3, 5, "quote the text"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * (document.MAX_BYTES + 1), 1, 1, "a picture (PNG), not a manifest"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0", 1, 1, "a picture (JPEG), not a manifest"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", 1, 1, "a picture (WebP), not a manifest"),
        (b"BM\x36\0\0\0\0\0", 1, 1, "a picture (BMP), not a manifest"),
        (b"II*\0\x08\0\0\0", 1, 1, "a picture (TIFF), not a manifest"),
        (b"GIF89a\x20\0", 1, 1, "a picture (GIF), not a manifest"),
        (b"\x7fELF\x02\x01\0\0\xff\xfe", 1, 1, "this is no text, and so no manifest"),
        ("name: é\n".encode("utf-16"), 1, 1, "not UTF-8 text (byte 0xff): save the file as UTF-8"),
        ("1: x\n", 1, 1, "a key must be text, got 1"),
        ("? [a]\n: 1\n", 1, 3, "a key must be text, not a list"),
        ("x: {a}: 1\n", 1, 7, "quote the text"),
        ("a: !!python/object/apply:os.system [x]\n", 1, 4, "a tag (!!python/object/apply:os.system) is not read"),
        ("a: !x y\n", 1, 4, "a tag (!x)"),
        ("a: &x 1\n", 1, 4, "an anchor (&x)"),
        ("a: *x\n", 1, 4, "an alias (*x)"),
        ("*x : 1\n", 1, 1, "an alias (*x)"),
        ('a: "\\0"\n', 1, 4, "no text can hold"),
        ("a: " + "[" * 25 + "]" * 25, 1, 23, "nested more than 20"),
        ("[" + "1," * 100_001 + "]", 1, 200_000, "more than 100,000 entries"),
        (b"x" * (document.MAX_BYTES + 1), 1, 1, "larger than 1 MiB"),
    ],
)
def test_refusals_stand_at_their_place(text: bytes | str, line: int, column: int, words: str) -> None:
    found = problems(text)
    assert (line, column) in [(row, letter) for row, letter, message in found if words in message], found


def test_a_bomb_is_every_alias_and_anchor_and_nothing_expanded() -> None:
    read = document.read(BOMB)
    assert [problem.line for problem in read.problems] == [1, 2, 2, 2, 3, 3, 3, 4, 4]
    assert read.data["d"] == [REFUSED, REFUSED]
    assert [problem.where for problem in read.problems[-2:]] == ["d[0]", "d[1]"]


def test_deep_nesting_costs_no_stack() -> None:
    assert len(problems("[" * 500_000)) == 1
    assert len(problems("? " * 200_000)) >= 1


def test_problems_before_a_syntax_error_are_kept() -> None:
    assert [line for line, _, _ in problems("a: 1\na: 2\nb: [\n")] == [2, 4]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("", None), ("~", None), ("null", None), ("true", True), ("False", False),
        ("yes", "yes"), ("on", "on"), ("n", "n"),
        ("12", 12), ("-4", -4), ("+3", 3), ("0", 0), ("007", "007"), ("0x10", "0x10"), ("0o7", "0o7"), ("1_000", "1_000"),
        ("1:30", "1:30"), ("2h", "2h"), ("512x256", "512x256"), ("2026-01-02", "2026-01-02"),
        ("1e3", 1000.0), ("1.5", 1.5), (".5", 0.5), ("1.", 1.0), ("-1E-2", -0.01), ("e3", "e3"), (".", "."), ("-", "-"),
        (".inf", ".inf"), (".nan", ".nan"), ("1e999", "1e999"), ("9" * 101, "9" * 101), ("=", "="), ("<<", "<<"),
    ],
)  # fmt: skip
def test_scalars(written: str, meant: Any) -> None:
    value = document.scalar(written)
    assert value == meant
    assert type(value) is type(meant)


def test_quoted_scalars_and_blocks_are_text() -> None:
    assert document.read(b"a: '12'\nb: \"true\"\nc: |\n  12\n").data == {"a": "12", "b": "true", "c": "12\n"}


def test_a_plain_number_keeps_its_spelling() -> None:
    assert document.read(b"a: [0.10, 1e-3, x]").texts == {("a", 0): "0.10", ("a", 1): "1e-3"}


def test_places_are_keys_and_items() -> None:
    read = document.read("\ufeffa:\n  - b: 1\n    c: [x, y]\n".encode())
    assert read.at() == (1, 1)
    assert read.at("a") == (1, 1)
    assert read.at("a", 0) == (2, 5)
    assert read.at("a", 0, "c") == (3, 5)
    assert read.at("a", 0, "c", 1) == (3, 12)
    assert read.at("a", 0, "missing", 7) == (2, 5)


@pytest.mark.parametrize("text", [b"", b"# nothing\n", b"---\n", b"~"])
def test_an_empty_text_is_none(text: bytes) -> None:
    read = document.read(text)
    assert read.data is None
    assert read.problems == []


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_read(text: bytes) -> None:
    read = document.read(text)
    assert all(problem.line >= 1 and problem.column >= 1 for problem in read.problems)


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("ab1:-?*&!|>'\"[]{},#%@ \n\t\\x0"), max_size=60))
def test_any_punctuation_is_read(text: str) -> None:
    for problem in document.read(text.encode()).problems:
        assert "\n" not in problem.message


# One character, one escape: beyond these, JSON writes two halves, which YAML does not put together.
texts = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=8)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(plain)
def test_what_is_dumped_is_read_back(value: Any) -> None:
    read = document.read(json.dumps(value).encode())  # JSON is YAML, and quotes every text
    if not read.problems:
        assert read.data == value
    else:
        assert all("text" in problem.message or "character" in problem.message for problem in read.problems)
