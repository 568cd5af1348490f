"""The packages that a requirements file asks for: installed once, for all jobs that ask for the same.

They stand in a virtual environment that sees the packages of the Python the agent runs on, too. Its folder is named by
what went into it: the file's text, the Python, the machine, and the packages that were there already. On a machine with
a cache (--cache) it stays there; elsewhere the first job leaves it in the store as `envs/<digest>.tar.gz`.

Standard library only, and Python 3.8 syntax: this file travels into images that are not ours.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import re
import site
import sys
import tarfile
import time
import venv
from pathlib import Path
from typing import Callable, Mapping, NamedTuple, Sequence

from job_image.places import remove
from job_image.unpack import unpack
from orchestrator import contract
from orchestrator.errors import SwatchError
from orchestrator.leash import lock
from orchestrator.store import Store
from orchestrator.store.local import make_read_only

MAX_TEXT = 1 << 20
"""Bytes of a requirements file."""
MAX_NESTED = 20
"""Requirements files that one may include."""
COMPLETE = ".complete"
BASE = "_base.pth"
LOCK_SECONDS = 0.2
"""Between two looks whether another job has done the same meanwhile."""

_INCLUDED = re.compile(r"\s*(?:-r|-c|--requirement|--constraint)[\s=]+(\S+)")
_LOCAL = re.compile(r"\s*(?:-e\b|--editable\b|\.|/|file:|[^#]*@\s*file:)")
_MACHINE_OWN = re.compile(r"bin/(?:python|pip|activate|Activate)[^/]*|pyvenv\.cfg|\.complete|.*/_base\.pth")


class Jobs(NamedTuple):
    """What an installation asks of its agent. follow: run a program in the code's folder with more variables, holding a
    lock, and note its lines; its exit code, or None when the job must end first. note: say something in the log.
    ending: whether the job must end."""

    follow: Callable[[Sequence[str], Mapping[str, str], int], int | None]
    note: Callable[[str], object]
    ending: Callable[[], bool]


def install(name: str, code: Path, root: Path, store: Store | None, offline: bool, jobs: Jobs) -> Path | None:
    """The environment below `root` with the packages of the file `name` of the code; None when the job must end first.
    Where there is a `store`, it keeps the environment. Raises SwatchError."""
    folder = root / digest(code, name)
    while (held := lock(folder.with_suffix(".lock"))) is None:
        if jobs.ending():
            return None
        time.sleep(LOCK_SECONDS)  # another job is at it
    with held:
        if (folder / COMPLETE).exists() or (store is not None and _fetched(store, folder)):
            make_read_only(folder)  # whoever made it may have been killed before this
            os.utime(str(folder))  # what nobody uses any more may go
            return folder
        jobs.note(f"Installing {name} (cached for later jobs) ...")
        _make(folder)
        words = [str(folder / "bin" / "python"), *("-m", "pip", "install", "--no-input", "--progress-bar", "off")]
        network = {"PIP_NO_INDEX": "1"} if offline else {}
        environment = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_USER": "0", **variables(folder), **network}
        ended = jobs.follow([*words, "-r", str(code / name)], environment, held.fileno())
        if ended != 0:
            remove(folder)
            if ended is None:
                return None
            raise Failed(f"{name} could not be installed")
        _complete(folder)
        if store is not None:
            try:
                _keep(store, folder)
            except (SwatchError, OSError) as error:  # this job has its packages all the same
                jobs.note(f"{name} will be installed anew by later jobs: {error}")
        return folder


class Failed(SwatchError):
    """pip has failed; its own lines say why."""


def variables(folder: Path) -> dict[str, str]:
    """What makes the environment the command's."""
    path = os.environ.get("PATH", os.defpath)
    return {"VIRTUAL_ENV": str(folder), "PATH": f"{folder / 'bin'}{os.pathsep}{path}"}


def digest(code: Path, name: str) -> str:
    """What names an environment. Raises SwatchError where the file, or one that it includes, is not in the code."""
    texts = _texts(code, name)
    machine = [platform.system(), platform.machine(), *platform.libc_ver()]
    told = [sys.version, *machine, sys.prefix, *_base_packages(), *texts]
    if any(_LOCAL.match(line) for text in texts for line in text.splitlines()):
        told.append(str(code))  # it installs something of this very folder
    return hashlib.sha256("\0".join(told).encode("utf-8", "replace")).hexdigest()


def why(lines: Sequence[str]) -> str:
    """The reason among pip's last lines."""
    errors = [line for line in lines if line.startswith("ERROR: ")]
    said = errors or [line.strip() for line in lines if line.strip()]
    return said[-1].replace("ERROR: ", "", 1)[:300] if said else "pip said nothing"


def _texts(code: Path, name: str) -> list[str]:
    """The file and those that it includes, each once."""
    texts: dict[str, str] = {}
    wanted = [name]
    root = os.path.realpath(str(code))
    while wanted:
        path = os.path.normpath(os.path.join(root, wanted.pop()))
        shown = os.path.relpath(path, root)
        if path in texts:
            continue
        if len(texts) >= MAX_NESTED or not os.path.realpath(path).startswith(root + os.sep):
            raise SwatchError(f"{name} includes {shown}, which is not in the code, or one too many")
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise SwatchError(f"{shown} cannot be read: {error.strerror}") from error
        if len(data) > MAX_TEXT:
            raise SwatchError(f"{shown} is too large for a requirements file")
        texts[path] = data.decode("utf-8", "replace")
        for line in texts[path].splitlines():
            included = _INCLUDED.match(line)
            if included and "://" not in line:
                wanted.append(os.path.join(os.path.dirname(shown), included.group(1)))
    return list(texts.values())


def _base_folders() -> list[str]:
    """Where the agent's own Python has its packages: an environment made from another one sees only the system's."""
    return [path for path in sys.path if path.endswith(("site-packages", "dist-packages")) and os.path.isdir(path)]


def _base_packages() -> list[str]:
    folders = _base_folders() or [path for path in site.getsitepackages() if os.path.isdir(path)]
    return sorted(name for path in folders for name in os.listdir(path) if name.endswith((".dist-info", ".egg-info")))


def _make(folder: Path) -> None:
    """An environment with nothing of its own yet."""
    remove(folder)
    with_pip = importlib.util.find_spec("pip") is None
    venv.EnvBuilder(system_site_packages=True, symlinks=True, with_pip=with_pip).create(str(folder))
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    packages = folder / "lib" / version / "site-packages"
    (packages / BASE).write_text("".join(f"{path}\n" for path in _base_folders()))


def _complete(folder: Path) -> None:
    (folder / COMPLETE).write_text(str(folder))
    make_read_only(folder)  # what a job adds to it would be there for all others


def _fetched(store: Store, folder: Path) -> bool:
    """Have the environment from the store; False if it has none that serves."""
    key = contract.env_key(folder.name)
    if not store.exists(key):
        return False
    archive = folder.with_suffix(".tar.gz")
    try:
        store.download(key, archive)
        _make(folder)
        unpack(archive, folder)
        _settle(folder)
    except SwatchError as error:
        print(f"swatch: {error.message}; installing anew", file=sys.stderr, flush=True)
        return False
    finally:
        if archive.exists():
            archive.unlink()
    _complete(folder)
    return True


def _settle(folder: Path) -> None:
    """Have the scripts run on this environment's Python, wherever it was made."""
    was = (folder / "made-in").read_bytes()
    for script in (folder / "bin").iterdir():
        if script.is_symlink() or not script.is_file():
            continue
        data = script.read_bytes()
        if data.startswith(b"#!") and was in data[:1000]:
            script.write_bytes(data.replace(was, os.fsencode(str(folder))))


def _keep(store: Store, folder: Path) -> None:
    """Put what was installed into the store, for machines that come later."""
    archive = folder.with_suffix(".tar.gz")
    made_in = folder.parent / "made-in"
    made_in.write_text(str(folder))
    try:
        with tarfile.open(str(archive), "w:gz", compresslevel=1) as tar:
            tar.add(str(made_in), "made-in")
            for parent, folders, names in os.walk(str(folder)):
                folders.sort()
                for name in sorted(names):
                    path = Path(parent, name)
                    inside = path.relative_to(folder).as_posix()
                    if not path.is_symlink() and not _MACHINE_OWN.fullmatch(inside):
                        tar.add(str(path), inside)
        store.upload(archive, contract.env_key(folder.name))
    finally:
        if archive.exists():
            archive.unlink()
