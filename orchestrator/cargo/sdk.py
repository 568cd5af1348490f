"""AWS' SDK as cargo: what an agent needs to reach a store on S3 from an image that has no boto3.

It is fetched from the package index, on this computer and once: the files that `boto3.txt` names by their digests, and
no others. Packed are the services that the agent uses, always into the same bytes.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from orchestrator import contract
from orchestrator.cargo.agent import add, folder
from orchestrator.errors import SwatchError
from orchestrator.store.base import Store
from orchestrator.store.local import replace_file

SERVICES = ("s3", "secretsmanager", "sts")
"""Of botocore's four hundred: the store, the secrets, and the roles that credentials may come from."""
_LEFT_OUT = re.compile(
    rf"botocore/data/(?!({'|'.join(SERVICES)})/)[^/]+/|botocore/data/.*/examples-[^/]*$|"
    r"[^/]+\.dist-info/(?!LICENSE|NOTICE|licenses/)|dateutil/zoneinfo/.*\.tar\.gz$"
)
MEND = "Put it into the image: RUN pip install boto3; or see to it that pip reaches its index here"


def carry(store: Store, cache: Path) -> str:
    """Put it into the store, unless it is there already; its digest. Raises SwatchError."""
    file = kept(cache)
    digest = file.stem
    key = contract.boto3_key(digest)
    if not store.exists(key):
        store.upload(file, key, digest)
    return digest


def kept(cache: Path) -> Path:
    """The file `<digest>.zip` below the cache of this computer, made if it is not there. Raises SwatchError where the
    package index is not reached, or sends something else."""
    pins = folder("orchestrator/cargo") / "boto3.txt"
    place = cache / "boto3" / hashlib.sha256(pins.read_bytes() + repr(SERVICES).encode()).hexdigest()[:16]
    found = list(place.glob("*.zip"))
    if found:
        return found[0]
    with tempfile.TemporaryDirectory(prefix="swatch-") as scratch:
        _download(pins, Path(scratch))
        packed = Path(scratch, "packed")
        pack(sorted(Path(scratch).glob("*.whl")), packed)
        data = packed.read_bytes()
    file = place / f"{hashlib.sha256(data).hexdigest()}.zip"
    replace_file(file, lambda out: out.write(data))
    file.chmod(0o444)
    return file


def pack(wheels: list[Path], into: Path) -> None:
    """Make one file of them, with what the agent uses. The same wheels make the same bytes."""
    with zipfile.ZipFile(into, "w") as archive:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as source:
                for name in sorted(source.namelist()):
                    if not name.endswith("/") and not _LEFT_OUT.match(name):
                        add(archive, name, source.read(name))


def _download(pins: Path, into: Path) -> None:
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    words += ["--require-hashes", "--no-deps", "--only-binary=:all:", "--dest", str(into), "--requirement", str(pins)]
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")] or [done.stderr.strip()]
        said = errors[-1].replace("ERROR: ", "", 1)[:300]
        raise SwatchError(f"The image needs boto3, which cannot be fetched for it: {said or 'pip said nothing'}", MEND)
