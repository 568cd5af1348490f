"""config.yaml, as far as it speaks of AWS."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator import settings
from orchestrator.errors import UsageError
from orchestrator.settings import Aws


def aws(folder: Path, text: str) -> Aws:
    (folder / "config.yaml").write_text(text)
    return settings.load(environment={"SWATCH_HOME": str(folder)}).aws


def test_without_a_word_of_aws_there_are_defaults(tmp_path: Path) -> None:
    assert settings.load(environment={"SWATCH_HOME": str(tmp_path)}).aws == Aws()
    assert aws(tmp_path, "slots: 2\n") == Aws()


def test_everything_that_may_be_said(tmp_path: Path) -> None:
    text = """
store: s3://studio/textures
aws:
  role: arn:aws:iam::123456789012:role/swatch
  image: me/texture:1
  kms_key: alias/textures
  subnets: [subnet-1]
  security_groups: [sg-1]
  network_isolation: true
  keep_alive: 30m
  remote_debug: true
  queue: night
"""
    assert aws(tmp_path, text) == Aws(
        role="arn:aws:iam::123456789012:role/swatch",
        image="me/texture:1",
        kms_key="alias/textures",
        subnets=("subnet-1",),
        security_groups=("sg-1",),
        network_isolation=True,
        keep_alive=1800,
        remote_debug=True,
        queue="night",
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("keep_alive: 7h", "aws.keep_alive: expected a duration from 0s to 6h, got '7h'"),
        ("keep_alive: -1", "aws.keep_alive: expected"),
        ("keep_alive: soon", "aws.keep_alive: expected"),
        ("subnets: [subnet-1]", "subnets and security_groups go together"),
        ("rolle: x", "rolle"),
        ("role: 7", "aws.role"),
    ],
)
def test_what_is_wrong_is_said_with_the_file(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        aws(tmp_path, f"aws:\n  {line}\n")
    assert said in caught.value.message
    assert str(tmp_path / "config.yaml") in caught.value.message


def test_a_file_that_is_written_anew_is_for_the_same_eyes(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    assert settings.write(tmp_path, "s3://bucket/a", "arn:aws:iam::1:role/r")
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("notify: {webhook: https://example.org/hush}\n")
    for mode in (0o600, 0o640):
        file.chmod(mode)
        assert settings.write(tmp_path, f"s3://bucket/{mode}", "arn:aws:iam::1:role/r")
        assert file.stat().st_mode & 0o777 == mode and "hush" in file.read_text()
