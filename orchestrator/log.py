"""A job's journal as it grows."""

from __future__ import annotations

import time
from collections.abc import Iterator

from orchestrator import facts, journal
from orchestrator.backends.base import Backend, Presence
from orchestrator.job import Job
from orchestrator.journal import Event
from orchestrator.store.base import Store
from orchestrator.watch import POLL_SECONDS, SLOWEST_POLL_SECONDS


def batches(store: Store, backend: Backend, job: Job, follow: bool) -> Iterator[list[Event]]:
    """What is new in the journal, at each look (which may be nothing): once, or until nobody works on the job any
    more, which the job's state decides and no word of its log. Raises StoreError."""
    last, delay = "", POLL_SECONDS
    while True:
        # The end is looked for first: the agent writes the final record last, so no line is missed.
        final = facts.read_final(store, job.project, job.number)
        gone = final is None and backend.look([job])[0].presence is Presence.GONE
        over = final is not None or (gone and facts.read_final(store, job.project, job.number) is None)
        found: list[Event] = []
        for chunk in journal.read(store, job.project, job.number, last):
            last = chunk.key
            found += chunk.events
        yield found
        if not follow or over:
            return
        delay = POLL_SECONDS if found else min(delay * 1.3, SLOWEST_POLL_SECONDS)
        time.sleep(delay)
