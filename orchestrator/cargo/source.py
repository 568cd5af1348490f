"""Source images: a manifest's paths and globs become files, each looked at before anything is paid for."""

from __future__ import annotations

import difflib
import glob
import hashlib
import itertools
import mmap
import os
import re
import stat
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from orchestrator import plan
from orchestrator.job import Source
from orchestrator.manifest import MAX_TASKS, Draft, Manifest, Texture, read
from orchestrator.wording import quoted

if TYPE_CHECKING:
    from PIL import Image

MIN_SIDE = 32
MAX_SIDE = 30_000
MAX_PIXELS = 100_000_000
MAX_BYTES = 256 << 20
ORIENTATION = 0x0112
"""EXIF's tag; 5 to 8 turn a picture on its side (CIPA DC-008, Exif 2.32, table 4)."""
MAX_MATCHES = 10 * MAX_TASKS
"""Files that a glob may look at, pictures or not."""
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")

SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff", ".bmp", ".gif"))
"""How names of pictures end. A glob's other files are left out, if any file is left then."""

_NEAR = 0.7
"""How alike a near name must be, by difflib's ratio: `brak` and `bark` are at 0.75, `oak` and `bark` at 0.57."""
_SUGGESTIONS = 20
"""How many missing files get a near name suggested: a comparison with a whole folder is not free."""

Where = tuple[str | int, ...]


class Examined(NamedTuple):
    """A manifest with all its problems, its sources, and the pictures that its textures paint."""

    draft: Draft
    sources: plan.Sources
    contents: plan.Contents


def examine(path: Path) -> Examined:
    """Read a manifest and look at the files it names. Raises NotFound or UsageError if it cannot be read."""
    draft = read(path)
    files = _Files(draft.folder)
    sources, contents = resolve(draft, files), _contents(draft, files)
    plan.check_names(draft, sources)
    plan.check_scales(draft, sources)
    plan.check_contents(draft, sources)
    return Examined(draft, sources, contents)


def resolve(draft: Draft, files: _Files | None = None) -> plan.Sources:
    """The sources of each of the draft's textures. Adds a problem for every source, data folder and code folder that
    cannot be used; a texture whose sources have problems comes back without them.

    Each file is opened once, however often it is named. Its header is read, its checksums are verified where the
    format has them (PNG), and a PNG, JPEG or WebP that was cut off is noticed. Pixels are not decoded, so that a
    thousand sources take no time: a TIFF, BMP or GIF that was cut off, or one changed byte within a JPEG, is found by
    the job only. Width and height are those of the upright picture, a camera's rotation mark applied.
    """
    if draft.manifest is None:
        return ()
    _check_folders(draft, draft.manifest)
    looked = files or _Files(draft.folder)
    return [_groups(draft, looked, texture) for texture in draft.manifest.textures]


def _contents(draft: Draft, files: _Files) -> plan.Contents:
    """The picture that each texture paints. Adds a problem for each that cannot be used."""
    found = {}
    for texture in draft.manifest.textures if draft.manifest else ():
        if texture.content:
            try:
                paths = files.matches(texture.content)
                if len(paths) > 1:
                    raise _Unusable(f"{quoted(texture.content)} matches {len(paths)} files: name one")
                found[texture.index] = files.source(paths[0])
            except _Unusable as unusable:
                draft.problem(("textures", texture.index, "content"), str(unusable))
    return found


class _Unusable(Exception):
    """Why a source cannot be used, as a sentence."""


class _Files:
    """Every file that was looked at, with its outcome; patterns are relative to `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known: dict[str, Source | _Unusable] = {}
        self.suggestions = 0

    def matches(self, pattern: str) -> list[str]:
        """The files a pattern stands for, sorted: of a glob's the pictures by their names, or all if there is none.
        A path that exists is itself, whatever its letters."""
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", pattern):
            raise _Unusable(f"{quoted(pattern)}: addresses are not read here yet: download the file")
        expanded = os.path.expanduser(pattern)
        path = os.path.normpath(os.path.join(self.folder, expanded))
        if not glob.has_magic(pattern) or os.path.lexists(path):
            return [path]
        if "**" in pattern:
            raise _Unusable('"**" is not read here: name the folders, as in textures/*/*.png')
        everything = glob.iglob(os.path.normpath(os.path.join(glob.escape(str(self.folder)), expanded)))
        files = (match for match in everything if not os.path.isdir(match))
        found = list(itertools.islice(files, MAX_MATCHES))
        pictures = [match for match in found if _suffix(match) in SUFFIXES]
        if len(found) == MAX_MATCHES or len(pictures) > MAX_TASKS:
            raise _Unusable(f"{quoted(pattern)} matches more than {MAX_TASKS:,} files")
        if not found:
            raise _Unusable(f"no file matches {quoted(pattern)} (looked in {_folder(path)})")
        return sorted(pictures or found)

    def source(self, path: str) -> Source:
        """The image at a path. Raises _Unusable, the same each time."""
        if path not in self.known:
            try:
                self.known[path] = _source(path)
            except FileNotFoundError:
                self.known[path] = _Unusable(
                    f"no such file: {quoted(path)} (looked in {_folder(path)}){self._near(path)}"
                )
            except IsADirectoryError:
                example = quoted(f"{path}/*.png")
                self.known[path] = _Unusable(f"{quoted(path)} is a folder: name its files, as in {example}")
            except PermissionError:
                self.known[path] = _Unusable(f"{quoted(path)} may not be read: chmod u+r it")
            except OSError as error:
                self.known[path] = _Unusable(f"{quoted(path)} cannot be read: {error.strerror or error}")
            except _Unusable as unusable:
                self.known[path] = unusable
        outcome = self.known[path]
        if isinstance(outcome, _Unusable):
            raise outcome
        return outcome

    def _near(self, path: str) -> str:
        self.suggestions += 1
        folder, name = os.path.split(path)
        if self.suggestions > _SUGGESTIONS or not os.path.isdir(folder or "."):
            return ""
        suffix = _suffix(name)
        names = [one for one in os.listdir(folder or ".") if _suffix(one) in SUFFIXES | {suffix}]
        stems: dict[str, str] = {}
        for one in sorted(names, key=lambda one: (_suffix(one) != suffix, one)):
            stems.setdefault(_stem(one), one)
        near = difflib.get_close_matches(_stem(name), stems, 1, _NEAR)
        return f"; did you mean {quoted(stems[near[0]])}?" if near else ""


def _groups(draft: Draft, files: _Files, texture: Texture) -> list[tuple[Source, ...]]:
    """The sources of each texture that an entry makes; none if there was a problem with one of them."""
    key: Where = ("textures", texture.index, "source")
    before = len(draft.problems)
    found: dict[str, Source] = {}
    for index, pattern in enumerate(texture.patterns):
        if not pattern:
            continue  # refused by the reader
        at = (*key, index) if texture.together else key
        try:
            paths = files.matches(pattern)
        except _Unusable as unusable:
            draft.problem(at, str(unusable))
            continue
        for path in paths:
            try:
                found[path] = files.source(path)
            except _Unusable as unusable:
                draft.problem(at, str(unusable))
    if len(draft.problems) > before or "" in texture.patterns or not found:
        return []
    if texture.together:
        return [tuple(found.values())]
    if texture.name is not None and len(found) > 1:
        message = f"one name for {len(found)} files: make source a list for one texture from all, or drop the name"
        draft.problem(("textures", texture.index, "name"), message)
        return []
    return [(source,) for source in found.values()]


def _check_folders(draft: Draft, manifest: Manifest) -> None:
    for index, data in enumerate(manifest.data):
        if data.is_folder and not os.path.isdir(folder := os.path.join(draft.folder, os.path.expanduser(data.source))):
            draft.problem(("data", index), f"no such folder: {quoted(os.path.normpath(folder))}")
    if manifest.command is not None:
        folder = os.path.join(draft.folder, os.path.expanduser(manifest.code))
        if not os.path.isdir(folder):
            draft.problem(("code",), f"no such folder: {quoted(os.path.normpath(folder))}")


def _source(path: str) -> Source:
    if not _encodable(path):
        raise _Unusable(f"{quoted(path)} has a name that is not UTF-8: rename it")
    with open(path, "rb", opener=_without_waiting) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise _Unusable(f"{quoted(path)} is no regular file")
        if status.st_size > MAX_BYTES:
            raise _Unusable(f"{quoted(path)} is larger than {MAX_BYTES >> 20} MiB")
        width, height = _measured(path, file)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Source(path=Path(path).as_posix(), sha256=digest, size=status.st_size, width=width, height=height)


def _encodable(path: str) -> bool:
    """False for a file name of other bytes than UTF-8, which no record could hold."""
    return not any("\ud800" <= letter <= "\udfff" for letter in path)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a named pipe would wait for its writer forever


def _measured(path: str, file: BinaryIO) -> tuple[int, int]:
    """Width and height by the image's header, once that is found sound."""
    from PIL import Image, TiffImagePlugin, UnidentifiedImageError, WebPImagePlugin

    Image.preinit()
    assert TiffImagePlugin and WebPImagePlugin  # imported to be registered: Pillow's own search would load forty more
    too_large = f"{quoted(path)} is too large: at most {MAX_PIXELS // 1_000_000} megapixels, no side over {MAX_SIDE:,}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of what is refused here, or of marks that do not matter
            with Image.open(file, formats=FORMATS) as image:
                width, height = _upright(image)
                cut_off = image.format == "JPEG" and _cut_off(file)
                if max(width, height) <= MAX_SIDE and width * height <= MAX_PIXELS:
                    image.verify()
    except Image.DecompressionBombError:
        raise _Unusable(too_large) from None
    except UnidentifiedImageError:
        raise _Unusable(f"{quoted(path)} is no image that can be read: PNG, JPEG, WebP, TIFF, BMP or GIF") from None
    except Exception as error:  # noqa: BLE001 - Pillow's parsers raise whatever a damaged file makes them stumble over
        raise _Unusable(f"{quoted(path)} is damaged: {quoted(str(error))[1:-1]}") from None
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise _Unusable(f"{too_large}, got {width}x{height}")
    if min(width, height) < MIN_SIDE:
        raise _Unusable(f"{quoted(path)} is too small: each side at least {MIN_SIDE} pixels, got {width}x{height}")
    if cut_off:
        raise _Unusable(f"{quoted(path)} is cut off: fetch or save it again")
    return width, height


def _upright(image: Image.Image) -> tuple[int, int]:
    """Width and height once a camera's rotation mark is applied, by the header alone: a PNG's mark behind its pixels
    is not looked for."""
    if image.format == "PNG" and "exif" not in image.info:
        return image.size
    turned = image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
    return (image.height, image.width) if turned else image.size


def _cut_off(jpeg: BinaryIO) -> bool:
    """Whether the end of a just opened JPEG is missing: Pillow stopped at its first scan, and the two bytes that mark
    the end cannot occur within one. (A thumbnail with an end of its own stands before.)"""
    with mmap.mmap(jpeg.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(b"\xff\xd9", jpeg.tell()) < 0


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _stem(name: str) -> str:
    return os.path.splitext(name)[0].casefold()


def _folder(path: str) -> str:
    return os.path.dirname(path) or "."
