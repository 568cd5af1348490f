"""The contract's absolute paths, mapped onto a folder of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_image.places import Places, map_paths
from orchestrator.errors import SwatchError

MAPPING = Places(Path("/w")).mapping(["vgg_weights", "out"])


@pytest.mark.parametrize(
    ("command", "mapped"),
    [
        ("ls /output", "ls /w/output"),
        ("ls /output/", "ls /w/output/"),
        ("x > /output/a.png", "x > /w/output/a.png"),
        ("x >/output/a.png", "x >/w/output/a.png"),
        ("x --into=/output --from /vgg_weights", "x --into=/w/output --from /w/data/vgg_weights"),
        ("ls \"/output\" '/input/x'", "ls \"/w/output\" '/w/input/x'"),
        ("ls /floyd/home /floyd/input/vgg_weights", "ls /w/code /w/data/vgg_weights"),
        ("a /out/x;b /output;c", "a /w/data/out/x;b /w/output;c"),
        ("ls /outputs /output2 /output.old /output-2", "ls /outputs /output2 /output.old /output-2"),
        ("ls ~/output ./output $HOME/output ${X}/output", "ls ~/output ./output $HOME/output ${X}/output"),
        ("aws s3 cp s3://bucket/output .", "aws s3 cp s3://bucket/output ."),
        ("ls $(pwd)/output */output", "ls $(pwd)/output */output"),
    ],
)
def test_only_whole_absolute_paths_are_mapped(command: str, mapped: str) -> None:
    assert map_paths(command, MAPPING) == mapped


@given(st.text().filter(lambda text: "/" not in text))
def test_a_command_without_paths_stays_byte_for_byte(command: str) -> None:
    assert map_paths(command, MAPPING) == command


def test_a_place_that_a_shell_would_split_is_refused() -> None:
    with pytest.raises(SwatchError, match="a shell would split"):
        map_paths("ls /output", Places(Path("/my folder")).mapping([]))
