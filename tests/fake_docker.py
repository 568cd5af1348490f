"""A program that answers as Docker's command line does: for what no engine can be had to do on request, such as a
registry that refuses. `FAKE_DOCKER` names its folder: `images.json` has what `image inspect` finds by name, `pushes`
how each push goes, in order (a line each: what is said; an empty one succeeds; `hang PIPE` writes a line to the pipe
and never ends), and `calls.jsonl` gets every call, with the sign-in that it was made with."""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__)
LAYER = "0123456789ab"


def image(id_: str = "sha256:" + "a" * 64, architecture: str = "amd64", **more: Any) -> dict[str, Any]:
    """An image as `docker image inspect` shows it."""
    base = {"Id": id_, "Architecture": architecture, "Size": 1000, "Created": "2026-01-01T00:00:00Z"}
    return {**base, "Config": {"Labels": {}}, "RootFS": {"Layers": []}, **more}


class Fake:
    """Its folder, and `environment`, in which Docker is this program."""

    def __init__(self, folder: Path, images: dict[str, Any], pushes: tuple[str, ...] = ()) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        (folder / "images.json").write_text(json.dumps(images))
        (folder / "pushes").write_text("".join(f"{line}\n" for line in pushes))
        program = folder / "docker"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {PROGRAM} "$@"\n')
        program.chmod(0o755)
        self.environment = {
            **os.environ,
            "SWATCH_DOCKER": str(program),
            "FAKE_DOCKER": str(folder),
            "DOCKER_HOST": "unix:///nowhere",
            "DOCKER_CONFIG": str(folder / "config"),
        }

    @property
    def calls(self) -> list[dict[str, Any]]:
        """Each call: its `words`, and `auths`, the sign-ins that it was given, as `user:password` by host."""
        text = (self.folder / "calls.jsonl").read_text() if (self.folder / "calls.jsonl").exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def made(self, verb: str) -> list[list[str]]:
        return [call["words"] for call in self.calls if call["words"][0] == verb]


def main(words: list[str], folder: Path) -> int:
    config = Path(os.environ["DOCKER_CONFIG"], "config.json")
    auths = json.loads(config.read_text())["auths"] if config.exists() else {}
    signed = {host: base64.b64decode(one["auth"]).decode() for host, one in auths.items()}
    with open(folder / "calls.jsonl", "a") as calls:
        calls.write(json.dumps({"words": words, "auths": signed}) + "\n")
    images = json.loads((folder / "images.json").read_text())
    if words[:1] == ["version"]:
        print(json.dumps({"Version": "28.0", "Arch": "amd64"}))
    elif words[:1] == ["info"]:
        print("{}")
    elif words[:2] == ["image", "inspect"]:
        if words[2] not in images:
            print(f"Error: No such image: {words[2]}", file=sys.stderr)
            return 1
        print(json.dumps([images[words[2]]]))
    elif words[:1] == ["tag"]:
        found = next(one for name, one in images.items() if words[1] in (name, one["Id"]))
        (folder / "images.json").write_text(json.dumps({**images, words[2]: found}))
    elif words[:2] == ["buildx", "build"]:
        tag = words[words.index("--tag") + 1]
        (folder / "images.json").write_text(json.dumps({**images, tag: image("sha256:" + "b" * 64, RepoTags=[tag])}))
        print("#5 [packages 1/2] RUN pip install")
    elif words[:1] == ["push"]:
        how, _, later = (folder / "pushes").read_text().partition("\n")
        (folder / "pushes").write_text(later)
        print(f"{LAYER}: Preparing", flush=True)
        if how.startswith("hang "):
            Path(how.removeprefix("hang ")).write_text("pushing\n")
            signal.pause()
        if how:
            print(how, file=sys.stderr)
            return 1
        print(f"{LAYER}: Pushed")
        repository = words[1].rpartition(":")[0]
        pushed = {**images[words[1]], "RepoDigests": [f"{repository}@sha256:{'c' * 64}"]}
        (folder / "images.json").write_text(json.dumps({**images, words[1]: pushed}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(os.environ["FAKE_DOCKER"])))
