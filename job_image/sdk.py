"""AWS' SDK, for an image that has none: it comes with the job, packed into one file.

Standard library only, and Python 3.8 syntax: this file travels into images that are not ours.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import zipfile
from pathlib import Path

from orchestrator.errors import SwatchError

NEEDED = ("botocore", "s3transfer")
MAX_BYTES = 64 << 20
"""Unpacked; it has a tenth of that."""


def provide(archive: Path, folder: Path) -> None:
    """Have `import botocore` work: as the image has it, else from the archive, unpacked into the folder. It is for this
    program alone. Raises SwatchError where the archive is not what its name says."""
    if all(importlib.util.find_spec(name) for name in NEEDED):
        return
    data = archive.read_bytes()
    if hashlib.sha256(data).hexdigest() != archive.stem:
        raise SwatchError(f"{archive.name} came damaged: it is not what its name says")
    with zipfile.ZipFile(str(archive)) as packed:
        if sum(one.file_size for one in packed.infolist()) > MAX_BYTES:
            raise SwatchError(f"{archive.name} is too large to unpack")
        packed.extractall(str(folder))  # which keeps all of it inside
    # In front: the image's own versions of what it rests on (urllib3, say) may be too new for it.
    sys.path.insert(1, str(folder))
    importlib.invalidate_caches()
