"""What stands before moto's S3 refuses what S3 refuses, and makes the trouble that it is told to."""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import zlib
from typing import Any
from urllib.parse import urlsplit
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from orchestrator import aws
from orchestrator.simulator.front import SUMS, Front, Rule
from tests.cloud import Cloud

BODY = b"123456789"
# moto looks at who signed, and not at the signature.
SIGNED = "AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"


@pytest.fixture
def s3(bucket: str) -> Any:
    return aws.client("s3")


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def raw(cloud: Cloud, method: str, path: str, body: bytes = b"", **headers: str) -> http.client.HTTPResponse:
    """One request as it stands on the wire, without a client's own ideas."""
    connection = http.client.HTTPConnection(urlsplit(cloud.url).netloc, timeout=20)
    try:
        headers = {"Authorization": SIGNED, **headers}
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        return connection.getresponse()
    except OSError:
        connection.close()
        raise


RIGHT = {
    "Content_MD5": b64(hashlib.md5(BODY).digest()),
    "x_amz_checksum_crc32": b64(zlib.crc32(BODY).to_bytes(4, "big")),
    "x_amz_checksum_crc32c": b64(bytes.fromhex("e3069283")),  # RFC 3720's check value
    "x_amz_checksum_crc64nvme": b64(bytes.fromhex("ae8b14860a799888")),  # the NVM specification's
    "x_amz_checksum_sha1": b64(hashlib.sha1(BODY).digest()),
    "x_amz_checksum_sha256": b64(hashlib.sha256(BODY).digest()),
}


@pytest.mark.parametrize("header", RIGHT)
def test_a_right_checksum_is_taken_and_a_wrong_one_refused(cloud: Cloud, bucket: str, header: str) -> None:
    right = RIGHT[header]
    assert raw(cloud, "PUT", f"/{bucket}/right", BODY, **{header: right}).status == 200
    wrong = b64(bytes(len(base64.b64decode(right))))
    answer = raw(cloud, "PUT", f"/{bucket}/wrong", BODY, **{header: wrong})
    assert answer.status == 400
    assert b"<Code>BadDigest</Code>" in answer.read()
    assert raw(cloud, "HEAD", f"/{bucket}/wrong").status == 404
    answer = raw(cloud, "PUT", f"/{bucket}/wrong", BODY, **{header: "nonsense"})
    assert answer.status == 400
    assert (b"InvalidDigest" if header == "Content_MD5" else b"InvalidRequest") in answer.read()


@pytest.mark.parametrize(("algorithm", "wrong"), [("SHA256", b64(bytes(32))), ("CRC32", b64(bytes(4)))])
def test_boto3_with_a_wrong_checksum_is_refused(s3: Any, bucket: str, algorithm: str, wrong: str) -> None:
    with pytest.raises(s3.exceptions.ClientError, match="BadDigest"):
        s3.put_object(Bucket=bucket, Key="x", Body=BODY, **{f"Checksum{algorithm}": wrong})
    with pytest.raises(s3.exceptions.ClientError, match="BadDigest"):
        s3.put_object(Bucket=bucket, Key="x", Body=BODY, ContentMD5=b64(bytes(16)))
    upload = s3.create_multipart_upload(Bucket=bucket, Key="x")["UploadId"]
    with pytest.raises(s3.exceptions.ClientError, match="BadDigest"):
        s3.upload_part(
            Bucket=bucket, Key="x", UploadId=upload, PartNumber=1, Body=BODY, **{f"Checksum{algorithm}": wrong}
        )


def test_a_body_that_is_not_what_was_signed_is_refused(cloud: Cloud, bucket: str) -> None:
    answer = raw(cloud, "PUT", f"/{bucket}/x", BODY, x_amz_content_sha256=hashlib.sha256(b"other").hexdigest())
    assert b"XAmzContentSHA256Mismatch" in answer.read()


@pytest.mark.parametrize(
    ("checksum", "body", "expected"),
    [
        (RIGHT["x_amz_checksum_crc32"], b"9\r\n123456789\r\n0\r\n", 200),
        (RIGHT["x_amz_checksum_crc32"], b"4\r\n1234\r\n5\r\n56789\r\n0\r\n", 200),
        (b64(bytes(4)), b"9\r\n123456789\r\n0\r\n", 400),
        (RIGHT["x_amz_checksum_crc32"], b"8\r\n12345678\r\n0\r\n", 400),
        (RIGHT["x_amz_checksum_crc32"], b"nonsense\r\n", 400),
    ],
)
def test_a_checksum_that_follows_the_body_counts_too(
    cloud: Cloud, bucket: str, checksum: str, body: bytes, expected: int
) -> None:
    """As SDKs send it over TLS: in chunks, the checksum as a trailer."""
    answer = raw(
        cloud,
        "PUT",
        f"/{bucket}/x",
        body + f"x-amz-checksum-crc32:{checksum}\r\n\r\n".encode(),
        Content_Encoding="aws-chunked",
        x_amz_content_sha256="STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        x_amz_decoded_content_length="9",
        x_amz_trailer="x-amz-checksum-crc32",
    )
    assert answer.status == expected, answer.read()


def test_throttling_and_failing_do_nothing(cloud: Cloud, bucket: str) -> None:
    cloud.front.set([Rule("throttle", method="PUT"), Rule("fail", method="PUT", skip=1)])
    first, second = raw(cloud, "PUT", f"/{bucket}/x", BODY), raw(cloud, "PUT", f"/{bucket}/x", BODY)
    assert (first.status, second.status) == (503, 500)
    cloud.front.set([Rule("throttle", method="GET")])
    assert raw(cloud, "GET", f"/{bucket}/x").status == 503, "nothing waits for a body that a GET does not have"
    assert b"<Code>SlowDown</Code>" in first.read()
    assert raw(cloud, "HEAD", f"/{bucket}/x").status == 404
    assert raw(cloud, "PUT", f"/{bucket}/x", BODY).status == 200


@pytest.mark.parametrize(("action", "there"), [("drop", 404), ("lose", 200)])
def test_a_lost_answer_says_nothing_of_what_was_done(cloud: Cloud, bucket: str, action: str, there: int) -> None:
    cloud.front.set([Rule(action, method="PUT", path="/x")])
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        raw(cloud, "PUT", f"/{bucket}/x", BODY)
    assert raw(cloud, "HEAD", f"/{bucket}/x").status == there


def test_an_answer_is_cut_in_its_middle(cloud: Cloud, bucket: str) -> None:
    raw(cloud, "PUT", f"/{bucket}/x", bytes(1000))
    cloud.front.set([Rule("cut", method="GET")])
    with pytest.raises(http.client.IncompleteRead) as caught:
        raw(cloud, "GET", f"/{bucket}/x").read()
    assert len(caught.value.partial) == 500
    assert len(raw(cloud, "GET", f"/{bucket}/x").read()) == 1000


def test_a_stall_holds_the_rest_until_it_is_released(cloud: Cloud, bucket: str) -> None:
    raw(cloud, "PUT", f"/{bucket}/x", bytes(1000))
    cloud.front.set([Rule("stall", method="GET")])
    answer = raw(cloud, "GET", f"/{bucket}/x")
    assert len(answer.read(500)) == 500
    cloud.front.release()
    with pytest.raises(http.client.IncompleteRead):
        answer.read()


def test_latency_and_chance(cloud: Cloud, bucket: str) -> None:
    cloud.front.set([Rule("delay", seconds=0.0, times=None)])
    assert raw(cloud, "PUT", f"/{bucket}/x", BODY).status == 200
    cloud.front.set([Rule("throttle", method="HEAD", times=None, share=0.5)])
    seen = [raw(cloud, "HEAD", f"/{bucket}/x").status for _ in range(30)]
    assert set(seen) == {200, 503}


def test_chance_repeats_itself() -> None:
    def answer(_: WSGIEnvironment, start: StartResponse) -> list[bytes]:
        start("200 OK", [])
        return []

    def seen(seed: int) -> list[str]:
        said: list[str] = []
        front = Front(answer, [Rule("fail", times=None, share=0.5)], seed)
        for _ in range(40):
            environ = {"REQUEST_METHOD": "GET", "wsgi.input": io.BytesIO()}
            front(environ, lambda status, *_: said.append(status) or bytes)  # type: ignore[func-returns-value]
        return said

    assert seen(1) == seen(1) != seen(2)


def test_the_record_and_the_rules_are_what_they_say(cloud: Cloud, bucket: str) -> None:
    raw(cloud, "GET", f"/{bucket}?list-type=2")
    assert cloud.front.requests[-1] == ("GET", f"/{bucket}", "list-type=2")
    with pytest.raises(ValueError, match="explode"):
        Rule("explode")


def test_every_sum_of_nothing_is_that_of_nothing() -> None:
    assert {name: make().digest() for name, make in SUMS.items()} == {
        "crc32": bytes(4),
        "crc32c": bytes(4),
        "crc64nvme": bytes(8),
        "sha1": hashlib.sha1(b"").digest(),
        "sha256": hashlib.sha256(b"").digest(),
    }
