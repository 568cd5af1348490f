"""Placeholders: a value reaches the program as one word, whatever it holds; every other byte stays."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import command

VALUES = {"lr": "0.1", "x": "a b"}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("train", "train"),
        ("train --lr {lr}", "train --lr 0.1"),
        ("train {lr} {lr} {x}", "train 0.1 0.1 'a b'"),
        ("--out=/output/{x}.txt", "--out=/output/'a b'.txt"),
        ("{{lr}}", "{lr}"),
        ("{{{lr}}}", "{0.1}"),
        ("{{{{lr}}}}", "{{lr}}"),
        ("'{\"lr\":{lr}}'", "'{\"lr\":0.1}'"),
        ("${lr}", "${lr}"),
        ("${{lr}}", "${lr}"),
        ("$${lr}", "$${lr}"),
    ],
)
def test_filling(text: str, filled: str) -> None:
    assert command.fill(text, VALUES) == filled


@pytest.mark.parametrize(
    "text",
    ["${VAR}", "${lr:-{x,y}}", "awk '{print $1}'", "{a,b}", "{ lr }", "{LR}", "{}", "{{}}", "}}{{", '{"a": {"b": 1}}',
     "{1..3}", "f() { echo; }", "{lr", "lr}", "{l-r}", "%s \\n\t\u00e9 \U0001f600"],
)  # fmt: skip
def test_every_other_brace_stays(text: str) -> None:
    assert command.fill(text, {}) == text
    assert command.placeholders(text) == {}


def test_placeholders_are_named_in_their_order() -> None:
    assert list(command.placeholders("{b} {a} {b} ${c} {{d}} {{{e}}}")) == ["b", "a", "e"]


@pytest.mark.parametrize("text", ["{" * 900_000, "x{" * 400_000, "{a" * 400_000, "{a}" * 3 + "}" * 900_000])
def test_a_megabyte_of_braces_is_read_once(text: str) -> None:
    """A pattern that tried each start anew would not end within a day."""
    assert set(command.placeholders(text)) <= {"a"}


def test_a_missing_value_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        command.fill("{lr}", {})


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{a}", set()), ("'{a}'", {"a"}), ('"{a}"', {"a"}), ("\\{a}", {"a"}), ("'x' {a} \"y\" {b}", set()),
        ("'\"' {a} '{b}'", {"b"}), ("\"'\" {a}", set()), ("\\' {a}", set()), ("'\\' {a}", set()), ('"\\" {a}', {"a"}),
    ],
)  # fmt: skip
def test_placeholders_within_quotes_are_found(text: str, names: set[str]) -> None:
    assert command.in_quotes(text) == names


HOSTILE = [
    "'",
    '"',
    "$(touch x)",
    "`id`",
    "; rm -rf /",
    "a\nb",
    "\\",
    "*",
    "~",
    "!x",
    "-n",
    "",
    " ",
    "{lr}",
    "%s",
    "\u00e9",
]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(HOSTILE) | st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=8))
def test_values_reach_a_real_shell_as_they_are(values: list[str]) -> None:
    names = [f"v{index}" for index in range(len(values))]
    script = command.fill(
        "printf '%s\\0' " + " ".join(f"{{{name}}}" for name in names), dict(zip(names, values, strict=True))
    )
    run = subprocess.run(["sh", "-c", script], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"})
    assert run.stdout.decode().split("\0")[:-1] == values


@settings(deadline=None)
@given(st.text(st.sampled_from("{}$ab1'\\ "), max_size=30))
def test_filling_each_placeholder_with_itself_changes_no_plain_text(text: str) -> None:
    found = command.placeholders(text)
    filled = command.fill(text, dict.fromkeys(found, "v"))
    assert len(filled) <= len(text)
    if "{" not in text:
        assert filled == text
