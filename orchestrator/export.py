"""A project as a folder that reads without Swatch: for an archive, another person, or the day after Swatch.

README.md              what there is, job by job
jobs/<n>/job.json      what was asked; final.json: how it ended
jobs/<n>/log.txt       what it printed; metrics.csv: its figures
jobs/<n>/output/       what it made; missing.txt: what of that could not be brought, and why
code/<digest>/         the code that jobs ran, unpacked; <digest>.diff: what git had not
"""

from __future__ import annotations

import csv
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from orchestrator import contract, facts, journal
from orchestrator.backends.base import Backend
from orchestrator.cargo import snapshot
from orchestrator.errors import CloudError, NotFound, StoreError, UsageError
from orchestrator.facts import Seen
from orchestrator.store import crowd
from orchestrator.store.base import Store, check_key

MARK = contract.BROUGHT
"""Tells a folder that an export may go on in."""
MISSING = "missing.txt"


def project(store: Store, backend: Backend, name: str, folder: Path) -> Iterator[Seen]:
    """Write the project into an empty, new or earlier exported folder; yields each job once it is there. What is there
    from before is not brought again, unless the job had not ended or files were missing. Raises SwatchError."""
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / MARK).is_file())):
        raise UsageError(f"{folder} is there already, and no export", hint="Name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()
    seen = facts.see_all(store, backend, name)
    for one in seen:
        whole = folder / "jobs" / str(one.job.number)
        if not (whole / "final.json").is_file() or (whole / MISSING).is_file():
            _job(store, one, whole)
        _code(store, one, folder / "code")
        yield one
    (folder / "README.md").write_text(readme(name, seen), encoding="utf-8")


def readme(name: str, seen: list[Seen]) -> str:
    """What there is, for a person."""
    lines = [
        f"# {name}\n",
        "Exported by Swatch. Each job has a folder below `jobs`: `job.json` is what was asked, `log.txt` what it",
        "printed, `metrics.csv` its figures, `output` what it made. `code` holds the code that jobs ran.\n",
        "| Job | Created | Status | Seconds | Description | Metrics | Command | Code |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in seen:
        job = one.job
        cells = [
            f"[{job.number}](jobs/{job.number})",
            time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(job.created)),
            one.state,
            f"{one.seconds(time.time()):.0f}",
            job.description,
            ", ".join(f"{figure}={value:g}" for figure, value in sorted(one.metrics.items())),
            f"`{job.command}`",
            f"[{job.code[:12]}](code/{job.code})" if job.code else "",
        ]
        lines.append(f"| {' | '.join(_cell(cell) for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _job(store: Store, one: Seen, whole: Path) -> None:
    """A job's folder: made beside its place, so that a folder that is there is complete."""
    job = one.job
    part = whole.with_name(f".{whole.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for key in (contract.job_key(job.project, job.number), contract.final_key(job.project, job.number)):
        try:
            (part / key.rpartition("/")[2]).write_bytes(store.read(key))
        except NotFound:
            continue  # it has not ended
    fold = _journal(store, one, part)
    prefix = contract.output_prefix(job.project, job.number)

    def bring(file: journal.File) -> str:
        try:
            if store.download(prefix + check_key(file.path), part / "output" / file.path) == file.sha256:
                return ""
        except CloudError:
            raise
        except (NotFound, StoreError) as error:  # the others are worth having all the same
            return error.message
        (part / "output" / file.path).unlink()
        return f"{prefix}{file.path} is not what the journal says: damaged, or just being replaced"

    problems = [one for one in crowd.each(bring, list(fold.files.values()), store.width) if one]
    if problems:
        (part / MISSING).write_text("\n".join(problems) + "\n", encoding="utf-8")
    shutil.rmtree(whole, ignore_errors=True)
    part.rename(whole)


def _journal(store: Store, one: Seen, part: Path) -> journal.Fold:
    fold = journal.Fold()
    with (
        open(part / "log.txt", "w", encoding="utf-8") as text,
        open(part / "metrics.csv", "w", encoding="utf-8", newline="") as table,
    ):
        rows = csv.writer(table)
        rows.writerow(["time", "metric", "value", "step"])
        for chunk in journal.read(store, one.job.project, one.job.number):
            for event in chunk.events:
                fold.add(event)
                stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time))
                if isinstance(event, journal.Log):
                    text.write(f"{stamp}  {event.text}\n")
                elif isinstance(event, journal.State):
                    text.write(f"{stamp}  [{event.state}] {event.reason}".rstrip() + "\n")
                elif isinstance(event, journal.Metric):
                    rows.writerow([stamp, event.metric, event.value, "" if event.step is None else event.step])
    return fold


def _code(store: Store, one: Seen, codes: Path) -> None:
    digest, git = one.job.code, one.job.git
    if digest is not None and not (codes / check_key(digest)).exists():
        part = codes / f".{digest}.part"
        shutil.rmtree(part, ignore_errors=True)
        snapshot.bring(store, digest, part)
        part.rename(codes / digest)
    if git is not None and git.diff is not None:
        codes.mkdir(parents=True, exist_ok=True)
        (codes / f"{check_key(git.diff)}.diff").write_bytes(store.read(contract.diff_key(git.diff)))
