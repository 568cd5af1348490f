"""What goes over the wire: errors as AWS words them, JSON replies, and who asked for what."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

MAX_BODY = 4 << 20
"""Bytes of a control-plane request that are read. AWS' own limits are below (CreateTrainingJob's maxima add up to
about 400 KiB)."""


class ApiError(Exception):
    """An error that the API answers with: its code (`__type`), message and HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status = code, message, status


class Invalid(ApiError):
    """ValidationException: the request cannot be met as it stands."""

    def __init__(self, message: str) -> None:
        super().__init__("ValidationException", message)


class Reply(NamedTuple):
    """A whole HTTP reply."""

    status: int
    body: bytes
    content_type: str = "application/x-amz-json-1.1"
    headers: tuple[tuple[str, str], ...] = ()

    def send(self, start_response: StartResponse) -> list[bytes]:
        start_response(
            f"{self.status} {'OK' if self.status == 200 else 'Error'}",
            [("Content-Type", self.content_type), ("Content-Length", str(len(self.body))), *self.headers],
        )
        return [self.body]


def json_reply(value: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(value).encode())


def error_reply(error: ApiError) -> Reply:
    """The error in the JSON protocol; `message` twice, since services differ in its first letter."""
    return Reply(
        error.status,
        json.dumps({"__type": error.code, "message": error.message, "Message": error.message}).encode(),
        headers=(("x-amzn-ErrorType", error.code),),
    )


def query_error_reply(error: ApiError) -> Reply:
    """The error in the Query protocol (IAM, STS)."""
    xml = (
        f"<ErrorResponse><Error><Type>Sender</Type><Code>{escape(error.code)}</Code>"
        f"<Message>{escape(error.message)}</Message></Error><RequestId>simulated</RequestId></ErrorResponse>"
    )
    return Reply(error.status, xml.encode(), "text/xml")


# Smithy's RPC v2 protocol, with bodies in CBOR: what botocore speaks with services that know it (CodeBuild).
_RPC = re.compile(r"/service/[A-Za-z0-9_.]+/operation/([A-Za-z0-9]+)")
_CBOR = "application/cbor"
_RPC_HEADERS = (("smithy-protocol", "rpc-v2-cbor"),)


def is_cbor(environ: Environ) -> bool:
    return str(environ.get("CONTENT_TYPE", "")).startswith(_CBOR)


def cbor_body(body: bytes) -> dict[str, Any]:
    """The body as a CBOR map, read as botocore reads replies. Raises ApiError (SerializationException)."""
    from botocore.parsers import ResponseParserError, RpcV2CBORParser

    parser = RpcV2CBORParser()
    try:
        value = parser.parse_data_item(parser.get_peekable_stream_from_bytes(body)) if body else {}
    except (ResponseParserError, ValueError, RecursionError, TypeError, KeyError, EOFError):
        raise ApiError("SerializationException", "") from None
    if not isinstance(value, dict):
        raise ApiError("SerializationException", "Start of structure or map found where not expected.")
    return value


def cbor_reply(shape: Any, value: dict[str, Any]) -> Reply:
    """A value of one of botocore's shapes, in CBOR."""
    from botocore.serialize import RpcV2CBORSerializer

    body = bytearray()
    RpcV2CBORSerializer()._serialize_data_item(body, value, shape)
    return Reply(200, bytes(body), _CBOR, _RPC_HEADERS)


def cbor_error_reply(error: ApiError) -> Reply:
    """The error in CBOR: a map of two texts (RFC 8949, "Specification of the CBOR Encoding")."""
    body = b"\xa2"
    for text in ("__type", error.code, "message", error.message):
        data = text.encode()
        body += b"\x79" + len(data).to_bytes(2, "big") + data
    return Reply(error.status, body, _CBOR, _RPC_HEADERS)


class Caller(NamedTuple):
    """What an Authorization header says: the access key, and the service and region that the request was signed for."""

    access_key: str
    region: str
    service: str


# AWS Signature Version 4: Credential=KEY/20260101/us-east-1/sagemaker/aws4_request (General Reference, "SigV4").
_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/\d{8}/([a-z0-9-]+)/([A-Za-z0-9.-]+)/aws4_request")


def caller(environ: Environ) -> Caller | None:
    """Who asks, or None for a request that is not signed."""
    signed = _CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
    if signed is None:
        query = urllib.parse.parse_qs(environ.get("QUERY_STRING", "")).get("X-Amz-Credential", [""])[0]
        signed = _CREDENTIAL.search("Credential=" + query)
    return Caller(*signed.groups()) if signed else None


def body_of(environ: Environ) -> bytes:
    """The request's body. Raises ApiError when it is larger than any request can be."""
    try:
        length = int(environ.get("CONTENT_LENGTH") or 0)
    except ValueError:
        length = -1
    if not 0 <= length <= MAX_BODY:
        raise ApiError("RequestEntityTooLargeException", "Request is too large", 413)
    return bytes(environ["wsgi.input"].read(length))


def json_body(body: bytes) -> dict[str, Any]:
    """The body as a JSON object. Raises ApiError (SerializationException) as AWS does."""
    try:
        value = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise ApiError("SerializationException", "") from None
    if not isinstance(value, dict):
        raise ApiError("SerializationException", "Start of structure or map found where not expected.")
    return value


def operation(environ: Environ, service: str, body: bytes = b"") -> str:
    """The operation that is asked for, as IAM names it: `sagemaker:CreateTrainingJob`, `s3:GetObject`."""
    called = _RPC.fullmatch(environ.get("PATH_INFO", "")) if is_cbor(environ) else None
    if called:
        return f"{service}:{called[1]}"
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        return f"{service}:{target.rpartition('.')[2]}"
    if service == "s3":
        return f"s3:{_s3_operation(environ)}"
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        action = urllib.parse.parse_qs(body.decode("utf-8", "replace")).get("Action")
        if action:
            return f"{service}:{action[0]}"
    if service == "batch":
        return f"batch:{environ.get('PATH_INFO', '').rpartition('/')[2]}"
    return f"{service}:{environ.get('REQUEST_METHOD')} {environ.get('PATH_INFO')}"


def _s3_operation(environ: Environ) -> str:
    method, path = str(environ.get("REQUEST_METHOD", "")), str(environ.get("PATH_INFO", ""))
    query = urllib.parse.parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    bucket, _, key = path.lstrip("/").partition("/")
    if key:
        named: dict[tuple[str, bool], str] = {
            ("GET", True): "GetObject",
            ("HEAD", True): "HeadObject",
            ("DELETE", True): "DeleteObject",
            ("PUT", True): "CopyObject" if "HTTP_X_AMZ_COPY_SOURCE" in environ else "PutObject",
            ("PUT", False): "UploadPart",
            ("POST", True): "CreateMultipartUpload" if "uploads" in query else "POST",
            ("POST", False): "CompleteMultipartUpload",
            ("DELETE", False): "AbortMultipartUpload",
        }
        return named.get((method, "uploadId" not in query), method)
    if method == "GET" and bucket:
        return "ListObjectsV2" if "list-type" in query else "ListObjects" if not query.keys() - _LISTING else "GET"
    if method == "POST" and "delete" in query:
        return "DeleteObjects"
    return {"GET": "ListBuckets", "HEAD": "HeadBucket", "PUT": "CreateBucket", "DELETE": "DeleteBucket"}.get(
        method, method
    )


_LISTING = {"prefix", "delimiter", "marker", "max-keys", "encoding-type"}
