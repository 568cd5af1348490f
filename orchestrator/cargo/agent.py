"""The agent as cargo: one file that any Python of 3.8 or later runs (a zipapp), for images that do not have it."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import zipfile
from pathlib import Path

from orchestrator import contract
from orchestrator.errors import SwatchError
from orchestrator.store.base import Store
from orchestrator.store.local import replace_file

FILES = {
    "job_image": (
        "__init__",
        *(
            "agent",
            "attempt",
            "container",
            "ending",
            "epochs",
            "gauges",
            "harvest",
            "lines",
            "mounts",
            "packages",
            "places",
            "preparation",
        ),
        *("process", "record", "sandbox", "sdk", "shelf", "shell", "shipper", "unpack", "vault"),
    ),
    "orchestrator": ("__init__", "aws", "contract", "errors", "journal", "leash", "notice"),
    "orchestrator/store": ("__init__", "base", "crowd", "local", "s3"),
}
"""The modules that travel: the standard library is all that they need, and boto3 where the store is in S3."""
MAIN = "import sys\n\nfrom job_image.agent import main\n\nsys.exit(main())\n"
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every file in it, the earliest a zip can tell: the same agent is the same bytes. (Nor is it packed, which
another zlib does in another way.)"""


def kept(folder: Path) -> Path:
    """The file below a folder of this computer, put there unless it is there already."""
    data = packed()
    file = folder / f"{hashlib.sha256(data).hexdigest()}.pyz"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(file, lambda out: out.write(data))
        file.chmod(0o444)
    return file


def carry(store: Store) -> str:
    """Put the agent into the store, unless it is there already; its digest."""
    data = packed()
    digest = hashlib.sha256(data).hexdigest()
    store.create(contract.agent_key(digest), data)
    return digest


def packed() -> bytes:
    """The file's bytes. Raises SwatchError where Swatch is not installed whole."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        add(archive, "__main__.py", MAIN.encode())
        for package, names in FILES.items():
            for name in names:
                add(archive, f"{package}/{name}.py", (folder(package) / f"{name}.py").read_bytes())
    return out.getvalue()


def add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    """Put a file into an archive, in the same bytes each time."""
    info = zipfile.ZipInfo(name, EPOCH)
    info.external_attr = 0o644 << 16
    archive.writestr(info, data)


def folder(package: str) -> Path:
    """Where a package of Swatch is installed. Raises SwatchError if it is not."""
    found = importlib.util.find_spec(package.replace("/", "."))
    if found is None or not found.submodule_search_locations:
        raise SwatchError(f"The package {package} is missing", hint="Install Swatch again: make clean demo")
    return Path(next(iter(found.submodule_search_locations)))
