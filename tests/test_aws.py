"""What AWS says becomes a sentence and a hint; who signs in again goes on without a restart."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.exceptions import ClientError

from orchestrator import aws
from orchestrator.errors import CloudError, Denied, Expired, SwatchError, Throttled, Unreachable
from tests.conftest import REPOSITORY


@pytest.fixture
def account(bucket: str, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment to change; clients are made anew on both sides of the test."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    aws.forget()
    return monkeypatch


def said(code: str, message: str = "why") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "PutObject")


@pytest.mark.parametrize(
    ("code", "kind", "word"),
    [
        ("ExpiredToken", Expired, "refuses the credentials"),
        ("ExpiredTokenException", Expired, "refuses the credentials"),
        ("InvalidAccessKeyId", Expired, "refuses the credentials"),
        ("SignatureDoesNotMatch", Expired, "refuses the credentials"),
        ("AccessDenied", Denied, "not permitted"),
        ("AccessDeniedException", Denied, "not permitted"),
        ("403", Denied, "not permitted"),
        ("SlowDown", Throttled, "too many requests"),
        ("ThrottlingException", Throttled, "too many requests"),
        ("NoSuchBucket", CloudError, "no such bucket"),
        ("RequestTimeTooSkewed", CloudError, "clock"),
        ("SomethingNew", CloudError, "SomethingNew: why"),
    ],
)
def test_a_refusal_is_a_sentence(code: str, kind: type[CloudError], word: str) -> None:
    with pytest.raises(kind, match=word) as caught, aws.explained("writing s3://bucket/x"):
        raise said(code)
    assert caught.value.message.startswith("writing s3://bucket/x: ")
    assert caught.value.code == code
    assert caught.value.hint or code == "SomethingNew"


def test_what_a_server_says_is_one_line_and_no_secret() -> None:
    with pytest.raises(CloudError) as caught, aws.explained("x"):
        raise said("Odd", "a\n\x1b[31mb" + "c" * 5000)
    assert "\n" not in caught.value.message and "\x1b" not in caught.value.message
    assert len(caught.value.message) < 400
    with pytest.raises(Expired) as expired, aws.explained("x"):
        raise said("SignatureDoesNotMatch", "StringToSign AWSAccessKeyId=AKIAEXAMPLE")
    assert "AKIAEXAMPLE" not in expired.value.message


def test_a_bug_stays_a_bug() -> None:
    with pytest.raises(ZeroDivisionError), aws.explained("x"):
        raise ZeroDivisionError


def test_without_credentials_a_person_is_told_how_to_sign_in(account: pytest.MonkeyPatch) -> None:
    account.delenv("AWS_ACCESS_KEY_ID")
    account.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(Expired) as caught, aws.explained("listing"):
        aws.client("s3").list_buckets()
    assert "aws configure" in str(caught.value.hint)


def test_an_sso_sign_in_that_ended_names_its_profile(account: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config").write_text(
        "[profile studio]\nsso_session = s\nsso_account_id = 000000000000\nsso_role_name = r\nregion = us-east-1\n"
        "[sso-session s]\nsso_region = us-east-1\nsso_start_url = https://example.awsapps.com/start\n"
    )
    account.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    account.setenv("HOME", str(tmp_path))
    account.delenv("AWS_ACCESS_KEY_ID")
    account.delenv("AWS_SECRET_ACCESS_KEY")
    account.setenv("AWS_PROFILE", "studio")
    with pytest.raises(Expired) as caught, aws.explained("listing"):
        aws.client("s3").list_buckets()
    assert caught.value.hint == "aws sso login --profile studio"


def test_a_profile_that_is_not_there_is_told(account: pytest.MonkeyPatch) -> None:
    account.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(CloudError, match="nobody") as caught:
        aws.client("s3")
    assert "list-profiles" in str(caught.value.hint)


def test_without_a_region_a_person_is_told(account: pytest.MonkeyPatch) -> None:
    account.delenv("AWS_REGION")
    account.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(CloudError, match="no AWS region") as caught:
        aws.client("sagemaker")
    assert "AWS_REGION" in str(caught.value.hint)


def test_nobody_at_the_endpoint_is_told(account: pytest.MonkeyPatch) -> None:
    account.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(Unreachable) as caught, aws.explained("listing"):
        aws.client("s3").list_buckets()
    assert "AWS_ENDPOINT_URL" in str(caught.value.hint)


def test_new_credentials_are_taken_up_after_the_old_ones_expired(account: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def key() -> str:
        url: str = aws.client("s3").generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "k"})
        query = parse_qs(urlsplit(url).query)
        return (query.get("AWSAccessKeyId") or query["X-Amz-Credential"])[0].split("/")[0]

    account.delenv("AWS_ACCESS_KEY_ID")
    account.delenv("AWS_SECRET_ACCESS_KEY")
    file = tmp_path / "credentials"
    account.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    file.write_text("[default]\naws_access_key_id = OLD\naws_secret_access_key = x\n")
    assert key() == "OLD"
    file.write_text("[default]\naws_access_key_id = NEW\naws_secret_access_key = x\n")
    assert key() == "OLD"
    with pytest.raises(Expired), aws.explained("listing"):
        raise said("ExpiredToken")
    assert key() == "NEW"


def test_clients_are_made_once_and_speak_to_any_endpoint(account: pytest.MonkeyPatch) -> None:
    assert aws.client("s3") is aws.client("s3")
    assert aws.client("s3").meta.endpoint_url == os.environ["AWS_ENDPOINT_URL"]
    account.setenv("AWS_ENDPOINT_URL_SAGEMAKER", "http://127.0.0.1:2")
    assert aws.client("sagemaker").meta.endpoint_url == "http://127.0.0.1:2"


def test_without_boto3_a_person_is_told_what_to_install() -> None:
    program = (
        "import sys; sys.modules['botocore'] = None\n"
        "from orchestrator.store import open_store\n"
        "from orchestrator.errors import SwatchError\n"
        "try:\n    open_store('s3://bucket/x').read('y')\n"
        "except SwatchError as error:\n    print(error.message, '|', error.hint)\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "boto3, which is not installed" in out and "pip install boto3" in out
    assert issubclass(CloudError, SwatchError)
