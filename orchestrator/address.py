"""Where a person looks at what is kept of a job: addresses for a browser. Pure."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from orchestrator import contract


def job(store_url: str, project: str, number: int) -> str:
    """The job's folder."""
    return folder(store_url, contract.job_prefix(project, number))


def log(store_url: str, project: str, number: int) -> str:
    """The job's journal, which holds its log."""
    return folder(store_url, contract.journal_prefix(project, number))


def output(store_url: str, project: str, number: int) -> str:
    """What the job has made."""
    return folder(store_url, contract.output_prefix(project, number))


def folder(store_url: str, prefix: str) -> str:
    """A folder of the store: a file address, or the page of Amazon S3's console (User Guide, "Bookmarking the S3
    console")."""
    if not store_url.startswith("s3://"):
        return Path(store_url, prefix).absolute().as_uri() + "/"
    bucket, _, root = store_url[len("s3://") :].strip("/").partition("/")
    whole = f"{root}/{prefix}" if root else prefix
    return f"https://console.aws.amazon.com/s3/buckets/{bucket}?prefix={quote(whole)}"
