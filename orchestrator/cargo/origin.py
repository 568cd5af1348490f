"""Data at an address elsewhere, made a dataset: `s3://bucket/prefix` is copied (inside S3, where the store is there),
`https://...` is downloaded as the one file that it is; archives stay packed.

What the address said of its state is kept with the version, so that what has not changed is not fetched again.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from orchestrator import contract
from orchestrator.cargo import dataset, download, upload
from orchestrator.cargo.content import MAX_FILES, Content, Leaf, Shelf, of_files
from orchestrator.cargo.dataset import UPLOADING, VALID, Version
from orchestrator.cargo.upload import Sent, Tell
from orchestrator.entries import DataMount
from orchestrator.errors import CloudError, NotFound, Unreachable, UsageError
from orchestrator.job import Mount
from orchestrator.settings import Settings
from orchestrator.store.base import Store
from orchestrator.store.crowd import each
from orchestrator.store.local import sha256_of

if TYPE_CHECKING:
    from orchestrator.store.s3 import S3Store


def mounted(store: Store, settings: Settings, one: DataMount, name: str, fetch: bool, tell: Tell) -> Mount:
    """The mount of an address, whose dataset of the user is called `name`. Without `fetch`, what the store has not
    got as it is now is given a digest that is nobody's. Raises UsageError, NotFound, SwatchError."""
    bring = _of_bucket if one.source.startswith("s3://") else _of_web
    found = bring(store, settings, one.source, name, fetch, tell)
    if isinstance(found, Version):
        return Mount(
            source=found.name,
            mount=one.mount,
            digest=found.record.digest,
            prefix=found.prefix,
            size=found.record.size,
            files=found.record.count,
        )
    number = max(dataset.numbers(store, settings.user, name), default=0) + 1
    return Mount(
        source=f"{settings.user}/datasets/{name}/{number}",
        mount=one.mount,
        digest=hashlib.sha256(f"{one.source}\n{found}".encode()).hexdigest(),
        prefix=contract.files_prefix(settings.user, name, number),
    )


def _of_web(store: Store, settings: Settings, url: str, name: str, fetch: bool, tell: Tell) -> Version | str:
    """The version that holds the file; without `fetch`, the file's state where none does."""
    plain = download.shown(download.check(url))
    query = urlsplit(url).query  # it may hold a secret, and another one is another file
    source = f"{plain}?{hashlib.sha256(query.encode()).hexdigest()[:16]}" if query else plain
    versions = reversed(upload.recent(store, settings.user, name))
    known = next((one for one in versions if one.state == VALID and one.record.source == source), None)
    mark = known.record.mark if known else ""
    try:
        if not fetch:
            now = download.mark(url)
            return known if known and now and now == mark else now
        folder = settings.home / "cache" / "fetch" / hashlib.sha256(url.encode()).hexdigest()[:32]
        fetched = download.fetch(url, folder, unless=mark, tell=lambda done, total: tell(Sent(done, total)))
    except Unreachable as error:
        if known is not None:
            error.hint = f"As it was last fetched, it is {known.name}"
        raise
    if fetched is None and known is not None:
        return known
    if fetched is None:
        raise Unreachable(f"{plain}: the server says that nothing has changed, and nothing is here", hint="Try again")
    leaf = Leaf(fetched.file.name, fetched.file.stat().st_size, sha256_of(fetched.file))
    content = of_files([leaf], fetched.file.parent)
    done = upload.upload(store, settings.user, name, content, source=source, mark=fetched.mark, latest=False, tell=tell)
    fetched.file.unlink(missing_ok=True)
    return done.version


def _of_bucket(store: Store, settings: Settings, url: str, name: str, fetch: bool, tell: Tell) -> Version | str:
    """The version that holds the objects; without `fetch`, their state where none does."""
    shelf, mark, leaves = _listed(url)
    user = settings.user
    upload.check_name(user, name)
    while True:
        versions = list(reversed(upload.recent(store, user, name)))
        same = [one for one in versions if one.record.mark == mark and one.record.source == url.rstrip("/")]
        valid = next((one for one in same if one.state == VALID), None)
        if valid is not None:
            return valid
        if not fetch:
            return mark
        begun = next((one for one in same if one.state == UPLOADING), None)
        content = Content("", leaves, shelf)
        claimed = begun or upload.claim(store, user, name, content, "", url.rstrip("/"), mark)
        if claimed is not None:
            break
    missing = upload.lacking(store, claimed)
    total, done = sum(leaf.size for leaf in missing), 0
    tell(Sent(0, total))

    def copy(leaf: Leaf) -> int:
        store.copy(shelf.prefix + leaf.path, claimed.prefix + leaf.path, shelf.store)
        return leaf.size

    for size in each(copy, missing, max(store.width, shelf.store.width)):
        done += size
        tell(Sent(done, total))
    return upload.finish(store, claimed, upload.measured(store, claimed))


def _listed(url: str) -> tuple[Shelf, str, tuple[Leaf, ...]]:
    """Where the objects are, one word for the state of them all, and what they are called; digests nobody knows yet."""
    from orchestrator.store.s3 import S3Store

    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    prefix = prefix.rstrip("/")
    store = S3Store(f"s3://{bucket}")
    try:
        shelf, found = _objects(store, f"{prefix}/" if prefix else "")
        if not found and prefix:  # one object, not a prefix
            folder = prefix.rpartition("/")[0]
            shelf, found = _objects(store, f"{folder}/" if folder else "", prefix)
    except CloudError as error:
        if error.code == "NoSuchBucket":
            raise NotFound(f"Data not found for name: {url}: there is no such bucket", hint="aws s3 ls") from error
        raise
    if not found:
        raise NotFound(f"Data not found for name: {url}: nothing is there", hint=f"aws s3 ls s3://{bucket}/")
    digest = hashlib.sha256()
    for leaf, tag in sorted(found, key=lambda one: one[0].path):
        digest.update(f"{leaf.path}\n{leaf.size}\n{tag}\n".encode())
    return shelf, digest.hexdigest(), tuple(leaf for leaf, _ in found)


def _objects(store: S3Store, prefix: str, only: str = "") -> tuple[Shelf, list[tuple[Leaf, str]]]:
    found: list[tuple[Leaf, str]] = []
    for entry, tag in store.marks(only or prefix):
        if only and entry.key != only:
            break
        found.append((Leaf(entry.key[len(prefix) :], entry.size, ""), tag))
        if len(found) > MAX_FILES:
            raise UsageError(f"{store.url}/{prefix} holds more than {MAX_FILES:,} objects", hint="Name a part of it")
    return Shelf(store, prefix), found
