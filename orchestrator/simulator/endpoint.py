"""The one endpoint, as a WSGI application: SageMaker and what moto lacks are answered here, the rest by moto.

/_simulator/faults      GET shows, PUT replaces the faults (JSON, see faults.Faults)
/_simulator/calls       GET counts the calls by operation, DELETE forgets them
/_simulator/jobs        GET lists all jobs as they are
/_simulator/interrupt   POST {"name": ...}: the spot machine is taken away
/_simulator/crash       POST {"name": ...}: the container is killed without notice
"""

from __future__ import annotations

import io
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from orchestrator import decoder
from orchestrator.errors import SwatchError
from orchestrator.simulator import registry, services, shapes
from orchestrator.simulator.builds import Builds
from orchestrator.simulator.container import JOB_KEY
from orchestrator.simulator.faults import Fate, Faults
from orchestrator.simulator.limits import Throttle
from orchestrator.simulator.plane import Plane
from orchestrator.simulator.queues import Queues
from orchestrator.simulator.registry import Registry
from orchestrator.simulator.wire import (
    ApiError,
    Application,
    Caller,
    Environ,
    Reply,
    StartResponse,
    body_of,
    caller,
    cbor_body,
    cbor_error_reply,
    cbor_reply,
    error_reply,
    is_cbor,
    json_body,
    json_reply,
    operation,
    query_error_reply,
)

ADMIN = "/_simulator/"


class Endpoint:
    """Answers requests. `others` is moto, `objects` moto behind what stands before S3; `images` the
    account's registry, if it has one; `actions` are the admin's."""

    def __init__(
        self,
        plane: Plane,
        queues: Queues,
        builds: Builds,
        images: Registry | None,
        fate: Fate,
        throttle: Throttle,
        others: Application,
        objects: Application,
        actions: dict[str, Callable[[str], None]],
    ) -> None:
        self._queues, self._builds, self._images = queues, builds, images
        self._plane, self._fate, self._throttle = plane, fate, throttle
        self._others, self._objects, self._actions = others, objects, actions
        self.calls: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path.startswith(ADMIN):
            return self._admin(path.removeprefix(ADMIN), environ).send(start_response)
        if self._images is not None and path.startswith(registry.PATH):  # too short for a bucket's name
            return self._images(environ, start_response)
        by = caller(environ)
        service = by.service if by else "sagemaker" if _is_sagemaker(environ) else "s3"
        if service == "s3":
            self._count(operation(environ, service))
            if self._expired(by):
                return _EXPIRED_OBJECTS.send(start_response)
            return self._objects(environ, start_response)
        try:
            reply = self._answer(environ, by, service)
        except ApiError as error:
            reply = cbor_error_reply(error) if is_cbor(environ) else error_reply(error)
        return reply.send(start_response) if reply else self._others(environ, start_response)

    def _answer(self, environ: Environ, by: Caller | None, service: str) -> Reply | None:
        """The reply, or None when moto is to give it. Raises ApiError."""
        if by is None:
            raise ApiError("MissingAuthenticationTokenException", "Missing Authentication Token")
        body = body_of(environ)
        environ["wsgi.input"] = io.BytesIO(body)  # for moto, should it be asked
        asked = operation(environ, service, body)
        self._count(asked)
        if self._expired(by):
            said = "The security token included in the request is expired"
            if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
                return query_error_reply(ApiError("ExpiredToken", said, 403))
            raise ApiError("ExpiredTokenException", said)
        name = asked.partition(":")[2]
        if service == "sagemaker":
            return self._sagemaker(name, body)
        if service == "servicequotas":
            return json_reply(services.service_quota(self._plane.quotas, by.region, name, json_body(body)))
        if service == "pricing":
            return json_reply(services.products(name, json_body(body)))
        if service == "batch" and environ.get("PATH_INFO") in self._queues.operations:
            return self._batch(environ["PATH_INFO"], body)
        if service == "codebuild":
            return self._codebuild(name, body, is_cbor(environ))
        if asked == "ecr:GetAuthorizationToken":
            return json_reply(services.authorization(self._images, environ.get("HTTP_HOST", "")))
        if asked == "iam:SimulatePrincipalPolicy":
            return services.policy_simulation(body)
        return None

    def _sagemaker(self, name: str, body: bytes) -> Reply:
        if name not in self._plane.operations:
            raise ApiError("UnknownOperationException", f"The simulator has no operation {name}.")
        return self._done("sagemaker", name, self._plane.operations[name], body)

    def _codebuild(self, name: str, body: bytes, cbor: bool) -> Reply:
        if name not in self._builds.operations:
            raise ApiError("UnknownOperationException", f"The simulator has no operation {name}.")
        return self._done("codebuild", name, self._builds.operations[name], body, cbor)

    def _batch(self, path: str, body: bytes) -> Reply:
        name, done = self._queues.operations[path]
        return self._done("batch", name, done, body)

    def _done(
        self,
        service: str,
        name: str,
        done: Callable[[dict[str, Any]], dict[str, Any]],
        body: bytes,
        cbor: bool = False,
    ) -> Reply:
        """Do it, unless it is throttled or meets a fault."""
        self._throttle.take(name)
        if self._fate.strikes("throttle", name):
            raise ApiError("ThrottlingException", "Rate exceeded")
        broken = ApiError("InternalFailure", "The request processing has failed because of an unknown error.", 500)
        if self._fate.strikes("errors", name):
            raise broken
        request = cbor_body(body) if cbor else json_body(body)
        shapes.check(service, name, request)
        reply = done(request)
        if self._fate.strikes("lost", name):
            raise broken
        reply = shapes.shaped(service, name, reply) if reply else {}
        if cbor:
            return cbor_reply(shapes.service_model(service).operation_model(name).output_shape, reply)
        return json_reply(reply)

    def _expired(self, by: Caller | None) -> bool:
        """Whether the caller's credentials are no longer good; those of jobs always are."""
        return self._fate.faults.expired and by is not None and by.access_key != JOB_KEY

    def _count(self, name: str) -> None:
        with self._lock:
            self.calls[name] += 1

    def _admin(self, name: str, environ: Environ) -> Reply:
        method = environ.get("REQUEST_METHOD", "")
        try:
            if name == "faults" and method == "PUT":
                self._fate.faults = decoder.from_json(body_of(environ), Faults)
            elif name == "calls" and method == "DELETE":
                with self._lock:
                    self.calls.clear()
            elif name in self._actions and method == "POST":
                self._actions[name](str(json_body(body_of(environ)).get("name", "")))
            elif method != "GET" or name not in ("faults", "calls", "jobs"):
                return json_reply({"message": f"No such path: {method} {ADMIN}{name}"[:200]}, 404)
        except (ApiError, SwatchError, msgspec.DecodeError) as error:
            return json_reply({"message": str(error)}, 400)
        if name == "faults":
            return Reply(200, msgspec.json.encode(self._fate.faults), "application/json")
        if name == "calls":
            with self._lock:
                return json_reply(dict(self.calls))
        if name == "jobs":
            return json_reply({"jobs": self._plane.summaries()})
        return json_reply({})


def _is_sagemaker(environ: Environ) -> bool:
    return str(environ.get("HTTP_X_AMZ_TARGET", "")).startswith("SageMaker.")


_EXPIRED_OBJECTS = Reply(
    400,
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>ExpiredToken</Code><Message>The provided token has expired.'
    b"</Message><RequestId>simulated</RequestId></Error>",
    "application/xml",
)
