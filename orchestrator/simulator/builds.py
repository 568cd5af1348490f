"""CodeBuild: projects, and builds that truly run (API reference of AWS CodeBuild)."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Callable
from typing import Any

from orchestrator.simulator.account import NUMBER
from orchestrator.simulator.attempt import World
from orchestrator.simulator.build import Build, Step, Work
from orchestrator.simulator.wire import ApiError

MINUTES = 60
"""A build's longest time, unless the project says otherwise (CreateProject, timeoutInMinutes)."""
NO_ENGINE = "The simulated account builds nothing, having no Docker: swatch simulate --docker"


class Refused(ApiError):
    """InvalidInputException: the input value that was provided is not valid."""

    def __init__(self, message: str) -> None:
        super().__init__("InvalidInputException", message)


class Builds:
    """The projects and builds of the account."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._projects: dict[str, dict[str, Any]] = {}
        self._builds: dict[str, Build] = {}
        self._tokens: dict[str, str] = {}
        self._works: list[threading.Thread] = []
        self.operations: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "CreateProject": self.create,
            "UpdateProject": self.update,
            "DeleteProject": self.delete,
            "BatchGetProjects": self.projects,
            "ListProjects": self.names,
            "StartBuild": self.start,
            "StopBuild": self.stop,
            "BatchGetBuilds": self.builds,
            "ListBuildsForProject": self.ids,
        }

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._world.lock:
            if request["name"] in self._projects:
                said = f"Project already exists: {self._arn(request['name'])}"
                raise ApiError("ResourceAlreadyExistsException", said)
            self._check(request)
            now = self._world.clock.now()
            made = {**request, "arn": self._arn(request["name"]), "created": now, "lastModified": now}
            self._projects[request["name"]] = made
            return {"project": made}

    def update(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._world.lock:
            changed = {**self._project(request["name"]), **request, "lastModified": self._world.clock.now()}
            self._check(changed)
            self._projects[request["name"]] = changed
            return {"project": changed}

    def delete(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._world.lock:
            self._projects.pop(request["name"], None)
        return {}

    def projects(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._world.lock:
            names = dict.fromkeys(name.rpartition("/")[2] for name in request["names"])
            found = [self._projects[name] for name in names if name in self._projects]
            return {"projects": found, "projectsNotFound": [name for name in names if name not in self._projects]}

    def names(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._world.lock:
            return {"projects": sorted(self._projects)}

    def start(self, request: dict[str, Any]) -> dict[str, Any]:
        world = self._world
        if world.engine is None:
            raise Refused(NO_ENGINE)
        with world.lock:
            project, token = self._project(request["projectName"]), request.get("idempotencyToken")
            if token in self._tokens:
                return {"build": self._shown(self._builds[self._tokens[token]])}
            changes = {
                "type": "sourceTypeOverride",
                "location": "sourceLocationOverride",
                "buildspec": "buildspecOverride",
            }
            source = {**project["source"], **{key: request[name] for key, name in changes.items() if name in request}}
            environment = dict(project["environment"])
            given = [*environment.get("environmentVariables", []), *request.get("environmentVariablesOverride", [])]
            environment["environmentVariables"] = list({one["name"]: one for one in given}.values())
            if "privilegedModeOverride" in request:
                environment["privilegedMode"] = request["privilegedModeOverride"]
            if any(one.get("type", "PLAINTEXT") != "PLAINTEXT" for one in environment["environmentVariables"]):
                raise Refused("The simulator knows environment variables of the type PLAINTEXT only.")
            role = request.get("serviceRoleOverride", project["serviceRole"])
            self._check({"source": source, "serviceRole": role})
            name = project["name"]
            build = Build(
                id=f"{name}:{uuid.uuid4()}",
                number=1 + sum(one.project == name for one in self._builds.values()),
                project=name,
                source=source,
                environment=environment,
                role=role,
                timeout=request.get("timeoutInMinutesOverride", project.get("timeoutInMinutes", MINUTES)),
                began=world.clock.now(),
            )
            self._builds[build.id] = build
            if token:
                self._tokens[token] = build.id
            work = threading.Thread(target=Work(world, build).run, name=f"build {build.id}", daemon=True)
            self._works.append(work)
            work.start()
            return {"build": self._shown(build)}

    def stop(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._world.lock:
            build = self._find(request["id"])
            if build is None:
                raise ApiError("ResourceNotFoundException", f"Build not found: {request['id'][:200]}")
            if build.ended is None:
                build.stopping = True
                build.bell.set()
            return {"build": self._shown(build)}

    def builds(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._world.lock:
            found = {one: self._find(one) for one in request["ids"]}
            return {
                "builds": [self._shown(build) for build in found.values() if build],
                "buildsNotFound": [one for one, build in found.items() if not build],
            }

    def ids(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._world.lock:
            self._project(request["projectName"])
            found = [build.id for build in self._builds.values() if build.project == request["projectName"]]
            return {"ids": found if request.get("sortOrder") == "ASCENDING" else found[::-1]}

    def close(self) -> None:
        """Wait until all builds are over; the world is closing."""
        for build in list(self._builds.values()):
            build.bell.set()
        for work in self._works:
            work.join()

    def _check(self, project: dict[str, Any]) -> None:
        """What the service model does not say. The sentence on roles is AWS' own, as it is publicly known."""
        role = project["serviceRole"]
        if not self._world.account.trusts(role, "codebuild.amazonaws.com"):
            raise Refused(
                "CodeBuild is not authorized to perform: sts:AssumeRole on service role. Please verify that: 1) The "
                "provided service role exists, 2) The role name is case-sensitive and matches exactly, and 3) The role "
                "has the correct trust policy configuration."
            )
        source = project["source"]
        if source["type"] not in ("S3", "NO_SOURCE"):
            raise Refused("The simulator knows sources of the types S3 and NO_SOURCE only.")
        if source["type"] == "S3" and not re.fullmatch(r"[a-z0-9.-]{3,63}/.+", source.get("location", "")):
            raise Refused("Invalid project source: location must be a valid S3 source")
        if source["type"] == "NO_SOURCE" and "\n" not in source.get("buildspec", ""):
            raise Refused("Project source type NO_SOURCE requires a buildspec to be specified inline")

    def _project(self, name: str) -> dict[str, Any]:
        found = self._projects.get(name.rpartition("/")[2])
        if found is None:
            raise ApiError("ResourceNotFoundException", f"Project cannot be found: {self._arn(name[:200])}")
        return found

    def _find(self, name: str) -> Build | None:
        return self._builds.get(name.rpartition("build/")[2])

    def _arn(self, name: str) -> str:
        return f"arn:aws:codebuild:{self._world.region}:{NUMBER}:project/{name}"

    def _shown(self, build: Build) -> dict[str, Any]:
        console = f"https://console.aws.amazon.com/cloudwatch/home?region={self._world.region}#logEvent:group="
        shown = {
            "id": build.id,
            "arn": f"arn:aws:codebuild:{self._world.region}:{NUMBER}:build/{build.id}",
            "buildNumber": build.number,
            "startTime": build.began,
            "endTime": build.ended,
            "currentPhase": build.steps[-1].name if build.steps else "SUBMITTED",
            "buildStatus": build.status,
            "projectName": build.project,
            "phases": [_phase(step) for step in build.steps],
            "source": build.source,
            "environment": build.environment,
            "serviceRole": build.role,
            "logs": {
                "groupName": build.group,
                "streamName": build.stream,
                "deepLink": f"{console}{build.group};stream={build.stream}",
            },
            "timeoutInMinutes": build.timeout,
            "buildComplete": build.ended is not None,
            "initiator": "simulated",
        }
        return {name: value for name, value in shown.items() if value is not None}


def _phase(step: Step) -> dict[str, Any]:
    shown: dict[str, Any] = {"phaseType": step.name, "startTime": step.began}
    if step.ended is not None:
        shown |= {"phaseStatus": step.status, "endTime": step.ended}
        shown |= {"durationInSeconds": int(step.ended - step.began)}
        shown |= {"contexts": [{"statusCode": step.code, "message": step.message}]}
    return shown
