"""The way to AWS: its clients, and its errors as sentences.

Standard AWS configuration (profiles, SSO, regions, proxies, AWS_ENDPOINT_URL and its kin per service) is botocore's to
read; nothing of it is parsed here, so whatever speaks like AWS works without a change. botocore (it comes with boto3)
is imported when a client is first asked for.

Python 3.8 syntax, and no import of ours but errors: the agent carries this file into images that are not ours.
"""

from __future__ import annotations

import os
import re
import threading
from contextlib import contextmanager
from typing import Any, Iterator

from orchestrator.errors import CloudError, Denied, Expired, SwatchError, Throttled, Unreachable

POOL = 32
"""Connections that a client keeps open: what a store has under way at once."""
CONNECT_SECONDS = 10.0
READ_SECONDS = 30.0
"""Without one byte for so long, a connection counts as stalled, and the request is made again."""
TRIES = 6
"""Of one request, the first included, unless AWS_MAX_ATTEMPTS or the AWS configuration says otherwise."""

_EXPIRED = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "UnrecognizedClientException",
}
_DENIED = {"403", "AccessDenied", "AccessDeniedException", "AllAccessDisabled", "Forbidden", "UnauthorizedOperation"}
_THROTTLED = {
    "429",
    "503",
    "RequestLimitExceeded",
    "RequestThrottled",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}
_CLOCK = {"RequestTimeTooSkewed", "RequestInTheFuture"}

_lock = threading.RLock()
_session: Any = None
_clients: dict[tuple[str, str], Any] = {}


def client(service: str, region: str = "") -> Any:
    """botocore's client of a service (`s3`, `sagemaker` ...), made once for all threads; in another region than the
    configured one where `region` names it. Ask again for each piece of work: after credentials have expired, a new one
    reads them anew. Raises SwatchError when boto3 is missing, CloudError."""
    try:
        return _clients[service, region]
    except KeyError:
        with _lock:
            if (service, region) not in _clients:
                with explained(f"AWS ({service})"):
                    _clients[service, region] = _made(service, region)
            return _clients[service, region]


def region() -> str:
    """The region that is configured. Raises CloudError where none is."""
    found = client("sagemaker").meta.region_name
    return str(found)


def variables() -> dict[str, str]:
    """The way to AWS as variables, for a container that has nothing of this computer's configuration: endpoints, the
    region, and the credentials that are in force now. Raises CloudError."""
    with explained("AWS (credentials)"):
        region_name = str(client("s3").meta.region_name)
        credentials = _session.get_credentials()
        found = credentials.get_frozen_credentials() if credentials is not None else None
    kept = re.compile("AWS_(ENDPOINT_URL(_[A-Z0-9_]+)?|MAX_ATTEMPTS|RETRY_MODE|EC2_METADATA_DISABLED|USE_[A-Z_]+)")
    values = {name: value for name, value in os.environ.items() if kept.fullmatch(name)}
    values.update({"AWS_REGION": region_name, "AWS_DEFAULT_REGION": region_name})
    if found is None:
        raise Expired("AWS (credentials): no AWS credentials were found", hint=_sign_in("aws configure"))
    values.update({"AWS_ACCESS_KEY_ID": found.access_key, "AWS_SECRET_ACCESS_KEY": found.secret_key})
    return {**values, **({"AWS_SESSION_TOKEN": found.token} if found.token else {})}


def forget() -> None:
    """Have the next `client` read configuration and credentials anew."""
    global _session
    with _lock:
        _session = None
        _clients.clear()


def _made(service: str, region: str) -> Any:
    global _session
    try:
        # boto3 rests on botocore, and adds nothing here but a tenth of a second of imports.
        import botocore.session
        from botocore.config import Config
    except ImportError as error:
        raise SwatchError("AWS needs boto3, which is not installed here", hint="pip install boto3") from error
    if _session is None:
        _session = botocore.session.get_session()
    mode = _session.get_config_variable("retry_mode")
    config = Config(
        # S3 takes thousands of requests a second: slowing all down for one SlowDown would cost more than it spares.
        retries={
            "mode": mode if mode != "legacy" else "standard" if service == "s3" else "adaptive",
            "total_max_attempts": _session.get_config_variable("max_attempts") or TRIES,
        },
        max_pool_connections=POOL,
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        tcp_keepalive=True,
        user_agent_extra="swatch",
    )
    return _session.create_client(service, region_name=region or None, config=config)


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn botocore's errors into ours; `what` says what was being done ("reading s3://bucket/key"). Raises CloudError
    and its kin. After Expired, clients are made anew: whoever signed in again goes on without a restart."""
    try:
        yield
    except SwatchError:
        raise
    except Exception as error:
        told = explain(error, what)
        if told is None:
            raise
        if isinstance(told, Expired):
            forget()
        raise told from error


def explain(error: BaseException, what: str) -> CloudError | None:
    """What an error of boto3 or botocore means; None for one that is none of theirs."""
    if not type(error).__module__.startswith(("botocore", "boto3", "s3transfer")):
        return None
    from botocore import exceptions as theirs

    if isinstance(error, theirs.ClientError):
        return _refused(error.response.get("Error", {}), what)
    name = type(error).__name__
    if isinstance(error, theirs.ProfileNotFound):
        return CloudError(f"{what}: {_plain(error)}", hint="Set AWS_PROFILE to one of: aws configure list-profiles")
    if isinstance(error, theirs.NoRegionError):
        return CloudError(f"{what}: no AWS region is set", hint="export AWS_REGION=us-east-1, or: aws configure")
    if "SSO" in name or "Token" in name or name.startswith("Login"):
        return Expired(f"{what}: the AWS sign-in has expired", hint=_sign_in("aws sso login"))
    if "Credential" in name:
        return Expired(f"{what}: no AWS credentials were found", hint=_sign_in("aws configure, or aws sso login"))
    if isinstance(error, (theirs.ConnectionError, theirs.HTTPClientError, theirs.IncompleteReadError)):
        return Unreachable(f"{what}: no answer ({_plain(error)})", hint="Check the network and AWS_ENDPOINT_URL")
    if isinstance(error, theirs.ParamValidationError) and "Unknown parameter" in str(error):
        return CloudError(f"{what}: this boto3 is too old ({_plain(error)})", hint="pip install --upgrade boto3")
    return CloudError(f"{what}: {_plain(error)}")


def _refused(error: dict[str, Any], what: str) -> CloudError:
    code, said = str(error.get("Code", "")), _plain(error.get("Message", ""))
    if code in _EXPIRED:
        # What AWS says to a wrong signature quotes the request and the key: none of that belongs on a screen.
        return Expired(f"{what}: AWS refuses the credentials ({code})", hint=_sign_in("aws sso login"), code=code)
    if code in _DENIED:
        hint = "swatch doctor names what is missing"
        return Denied(f"{what}: not permitted ({said or code})", hint=hint, code=code)
    if code in _THROTTLED:
        return Throttled(f"{what}: too many requests for now ({code})", hint="Wait a little and repeat it", code=code)
    if code in _CLOCK:
        return CloudError(f"{what}: this computer's clock is wrong ({code})", hint="Set the clock: date", code=code)
    if code == "NoSuchBucket":
        return CloudError(f"{what}: there is no such bucket", hint="swatch setup aws makes one", code=code)
    return CloudError(f"{what}: {code}: {said}" if said else f"{what}: {code}", code=code)


def _sign_in(command: str) -> str:
    profile = os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE")
    return f"{command} --profile {profile}" if profile else command


def _plain(said: object) -> str:
    """One line of bounded length, whatever a server sent."""
    return re.sub(r"\s+", " ", re.sub(r"[^\x20-\x7e\u00a0-\uffff]", " ", str(said))).strip()[:300]
