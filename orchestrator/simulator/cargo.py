"""What the platform carries between S3 and a container's /opt/ml: channels in, checkpoints both ways, results out."""

from __future__ import annotations

import io
import json
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestrator.simulator.account import Account, Place


class CarryError(Exception):
    """Data could not be carried; the text is what FailureReason says after `ClientError: `."""


def local_names(place: Place, keys: list[str]) -> Iterator[tuple[str, str]]:
    """Each key that the prefix stands for, and its path in the channel's folder: what follows the prefix when that is
    a folder; the last part when it is an object; else what follows the prefix's own folder (a prefix `train` also
    stands for `train2/x`)."""
    folder = place.key if place.key.endswith("/") or not place.key else place.key + "/"
    parent = place.key.rpartition("/")[0]
    for key in keys:
        if key.endswith("/"):
            continue  # the mark of an empty folder
        if key == place.key:
            yield key, key.rpartition("/")[2]
        elif key.startswith(folder):
            yield key, key[len(folder) :]
        else:
            yield key, key[len(parent) + 1 if parent else 0 :]


def download(account: Account, place: Place, folder: Path) -> int:
    """Fetch what the prefix stands for; how many files that was. Raises CarryError for a key that is no path."""
    count = 0
    for key, name in local_names(place, list(account.keys(place))):
        path = _inside(folder, name)
        try:
            data = account.read(Place(place.bucket, key))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        except KeyError:
            continue  # deleted meanwhile
        except OSError as error:  # an object `a` beside an object `a/b`, a name too long
            raise CarryError(f"Data download failed: {name[:200]}: {error.strerror}") from error
        count += 1
    return count


def fetch_channels(account: Account, request: Mapping[str, Any], ml: Path) -> None:
    """Fill input/data/<channel>/ for every channel. Raises CarryError."""
    for channel in request.get("InputDataConfig", []):
        source = channel["DataSource"]["S3DataSource"]
        folder = ml / "input" / "data" / channel["ChannelName"]
        folder.mkdir(parents=True, exist_ok=True)
        if download(account, Place.of(source["S3Uri"]), folder) == 0:
            raise CarryError(
                f"Data download failed: NoSuchKey (404): The specified key does not exist: {source['S3Uri']}"
            )


def write_configuration(request: Mapping[str, Any], ml: Path) -> None:
    """input/config/*.json ("How Amazon SageMaker Provides Training Information")."""
    resources = request["ResourceConfig"]
    instance_type = resources.get("InstanceType", "")
    config = ml / "input" / "config"
    files: dict[str, Any] = {
        "hyperparameters.json": request.get("HyperParameters", {}),
        "inputdataconfig.json": {
            channel["ChannelName"]: {
                "TrainingInputMode": channel.get("InputMode", request["AlgorithmSpecification"]["TrainingInputMode"]),
                "S3DistributionType": channel["DataSource"]["S3DataSource"].get(
                    "S3DataDistributionType", "FullyReplicated"
                ),
                "RecordWrapperType": channel.get("RecordWrapperType", "None"),
            }
            for channel in request.get("InputDataConfig", [])
        },
        "resourceconfig.json": {
            "current_host": "algo-1",
            "current_instance_type": instance_type,
            "current_group_name": "homogeneousCluster",
            "hosts": ["algo-1"],
            "instance_groups": [
                {"instance_group_name": "homogeneousCluster", "instance_type": instance_type, "hosts": ["algo-1"]}
            ],
            "network_interface_name": "eth0",
        },
    }
    config.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (config / name).write_text(json.dumps(value))


class Checkpoints(threading.Thread):
    """The uploader: what changes in the folder is put below the prefix, what is deleted there is deleted in S3.

    It looks every `period` real seconds; `close` looks a last time.
    """

    def __init__(
        self, account: Account, place: Place, folder: Path, period: float, stalled: Callable[[], bool], seen: Any
    ) -> None:
        super().__init__(name="checkpoints", daemon=True)
        self._account, self._place, self._folder, self._period = account, place, folder, period
        self._stalled, self._seen = stalled, seen
        self._end = threading.Event()
        self._known = dict(_files(folder))  # what was restored is there already

    def run(self) -> None:
        while not self._end.wait(self._period):
            self.sync()

    def close(self) -> None:
        self._end.set()
        if self.is_alive():
            self.join()
        self.sync()

    def sync(self) -> None:
        if self._stalled():
            return
        now = dict(_files(self._folder))
        changed = {name: stamp for name, stamp in now.items() if self._known.get(name) != stamp}
        for name, stamp in changed.items():
            try:
                self._account.write(self._place.below(name), (self._folder / name).read_bytes())
            except (OSError, KeyError):
                continue  # gone again, or its bucket is: the next look tells
            self._known[name] = stamp
        for name in self._known.keys() - now.keys():
            self._account.delete(self._place.below(name))
            del self._known[name]
        if changed:
            self._seen()


def _files(folder: Path) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Regular files below the folder and what tells that one has changed; links are left alone."""
    for path in sorted(folder.rglob("*")):
        try:
            found = path.lstat()
        except OSError:
            continue
        if path.is_file() and not path.is_symlink():
            yield path.relative_to(folder).as_posix(), (found.st_mtime_ns, found.st_size, found.st_ino)


def upload_results(account: Account, request: Mapping[str, Any], ml: Path) -> None:
    """output/data and model, as one archive each, or file by file with CompressionType NONE. Raises CarryError."""
    output = request["OutputDataConfig"]
    place = Place.of(output["S3OutputPath"]).below(f"{request['TrainingJobName']}/output")
    try:
        for folder, name in ((ml / "output" / "data", "output.tar.gz"), (ml / "model", "model.tar.gz")):
            names = [name for name, _ in _files(folder)]
            if output.get("CompressionType") == "NONE":
                for one in names:
                    account.write(place.below(f"{folder.name}/{one}"), (folder / one).read_bytes())
            elif names or folder.name == "model":
                account.write(place.below(name), _archive(folder, names))
    except KeyError as error:
        raise CarryError(f"Artifact upload failed: no such bucket: {place.bucket}") from error
    except OSError as error:  # a file of another user's, which a container made
        raise CarryError(f"Artifact upload failed: {error.strerror}") from error


def artifacts(request: Mapping[str, Any]) -> str:
    """Where the model is, or will be."""
    output = request["OutputDataConfig"]
    name = "model" if output.get("CompressionType") == "NONE" else "model.tar.gz"
    return f"{output['S3OutputPath'].rstrip('/')}/{request['TrainingJobName']}/output/{name}"


def _archive(folder: Path, names: list[str]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        for name in names:
            tar.add(folder / name, name, recursive=False)
    return data.getvalue()


def _inside(folder: Path, name: str) -> Path:
    if any(part in ("", ".", "..") for part in name.split("/")) or "\0" in name:
        raise CarryError(f"Data download failed: not a path: {name[:200]!r}")
    return folder / name
