"""Jobs as training jobs of SageMaker, on the user's own account.

A job's record names everything, so nothing else need be written before CreateTrainingJob: the training job's name
follows from store, project, number and launch. Whoever asks for it a second time, after a crash or from another
computer, is told that it is there, and adopts it. `launches/<number>-<launch>.json` says how one has ended; the number
of those is which launch is the next. So two watchers that both see a machine refused ask for the same next launch.
"""

from __future__ import annotations

import functools
import math
import os
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from orchestrator import aws, contract, decoder, images, journal, machines, notify, prices, secrets
from orchestrator.backends.base import Backend, Presence, Sight, ending, stopped
from orchestrator.backends.sagemaker import control, model, request, vault
from orchestrator.backends.sagemaker.control import Created, Direct, Door
from orchestrator.backends.sagemaker.queue import Queue
from orchestrator.backends.sagemaker.track import (
    LATE_SECONDS,
    Block,
    Track,
    groups,
    job_is_old,
    kind,
    launched,
    limit,
    progress,
    who,
    worked,
)
from orchestrator.cargo import agent, sdk, snapshot
from orchestrator.cargo import image as own_image
from orchestrator.errors import CloudError, NotFound, SwatchError, Throttled, Unreachable, UsageError
from orchestrator.job import Final, Job
from orchestrator.launch import Launch, judge, rotated
from orchestrator.settings import Settings
from orchestrator.store import Store, crowd

LOOK_SECONDS = 2.0
"""The control plane is asked no more often, however often it is looked at; less often while nothing changes."""
SLOWEST_LOOK = 30.0
FEW = 20
"""So many unknown jobs are asked for one by one; more are listed."""
FULL_SECONDS, LONGEST_FULL = 15.0, 120.0
"""Pause after the account had no machine left of a kind: at first, and at most."""
LEFTOVER_SECONDS = 900.0
"""So long after a job's end its machine may still be at work: a grace of two minutes, and the copying of outputs."""
NOT_YET = "not handed to SageMaker yet; swatch watch starts it when a machine is free"
CREATORS = 8
"""Training jobs that are asked for at once."""


class SageMakerBackend(Backend):
    """The training jobs of a store's jobs. Raises UsageError where a store or setting does not fit."""

    name = "sagemaker"

    def __init__(self, store: Store, settings: Settings) -> None:
        request.check_place(store.url, settings.aws)
        self._store, self._settings = store, settings
        self._tracks: dict[str, Track] = {}
        self._launches: dict[str, dict[int, int]] = {}  # project -> number -> launches that have ended
        self._settled: set[str] = set()  # jobs of which no launch will follow, and all is billed
        self._doors: dict[str | None, Door] = {None: Direct()}  # by the queue that a job goes to
        self._blocks: dict[tuple[str, bool, str | None], Block] = {}
        self._next_look, self._pause = 0.0, LOOK_SECONDS
        self._agent, self._sdk = "", ""
        self._whole: set[str] = set()  # snapshots that build on no other
        self._packing = threading.Lock()
        self._here = False  # the configured region is the store's
        self._trouble = ""

    # The seam

    def check(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._request(Track(job), "0" * 64)
            self._values(job)

    def launch(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            vault.keep(job.project, {**self._values(job), **self._addresses})
        for job in jobs:
            track = self._track(job)
            if track.phase in ("unknown", "absent"):
                track.phase, track.known = "absent", track.phase == "unknown" and not job_is_old(job)
        refused = self._create([self._track(job) for job in jobs if self._track(job).phase == "absent"])
        self._next_look = time.monotonic() + LOOK_SECONDS  # nothing is known better than what was just done
        if refused:
            raise refused[0]

    def look(self, jobs: Sequence[Job]) -> list[Sight]:
        tracks = [self._track(job) for job in jobs]
        now = time.monotonic()
        if now >= self._next_look or (not self._trouble and any(track.phase == "unknown" for track in tracks)):
            try:
                changed = self._look_at([track for track in tracks if track.phase != "over"])
                self._trouble = ""
            except CloudError as error:
                changed, self._trouble = False, sentence(error)
            self._pause = LOOK_SECONDS if changed else min(self._pause * 1.5, SLOWEST_LOOK)
            self._next_look = time.monotonic() + self._pause
        return [self._sight(track) for track in tracks]

    def wake(self) -> None:
        absent = [track for track in self._tracks.values() if track.phase == "absent"]
        try:
            self._create(absent)
        except SwatchError as error:
            for track in absent:
                track.said = sentence(error)

    def stop(self, jobs: Sequence[Job]) -> None:
        def stop(track: Track) -> None:
            if track.phase != "over" and not self._door(track).stop(self._name(track)) and track.phase == "absent":
                track.phase = "over"

        self._check_region()
        list(crowd.each(stop, [self._track(job) for job in jobs], CREATORS))

    def shell(self, job: Job, terminal: bool) -> list[str]:
        name = self._name(self._track(job))
        needs = "" if self._settings.aws.remote_debug else ", for jobs started with aws.remote_debug: docs/aws.md"
        raise UsageError(
            f"{job.short} runs on SageMaker, and AWS Systems Manager opens shells there",
            hint=f"aws ssm start-session --target sagemaker-training-job:{name}_algo-1{needs}",
        )

    def settle(self, jobs: Sequence[Job]) -> None:
        def settle(track: Track) -> None:
            found = self._door(track).describe(self._name(track))
            if found is not None and found["TrainingJobStatus"] in control.ENDED:
                self._settle(track, found)
            elif found is None and (track.phase == "over" or job_is_old(track.job)):  # stopped before it was launched
                self._note(track, Launch(**who(track.job, track.launch), name=self._name(track), status="Never"), False)
            else:
                if found is not None:
                    self._end_leftover(track)
                if self._settings.aws.network_isolation:
                    self._bring_results(track.job)

        try:
            for job in jobs:
                self._ended_launches(job.project)
            left = [self._track(job) for job in jobs if job.short not in self._settled]
            if left:
                self._check_region()
            if len(left) > FEW and not self._settings.aws.network_isolation:
                left = self._not_in_progress(left)
            list(crowd.each(settle, left, CREATORS))
        except CloudError as error:
            self._trouble = sentence(error)

    def _not_in_progress(self, tracks: Sequence[Track]) -> list[Track]:
        """Those whose training job has ended by what a list says: a page of a hundred instead of as many questions."""
        found: list[Track] = []
        for (project, _), mine in sorted(groups(tracks).items()):
            prefix = request.name_prefix(self._store.url, project)
            busy = {one.name for one in self._door(mine[0]).listed(prefix, running=True)}
            found += [track for track in mine if self._name(track) not in busy]
        return found

    def _end_leftover(self, track: Track) -> None:
        """Stop the machine of a job that ended long ago by the store's word: nobody waits for it, and it is paid."""
        key = contract.final_key(track.job.project, track.job.number)
        final = decoder.from_json(self._store.read(key), Final)
        if time.time() - final.ended > LEFTOVER_SECONDS:
            self._door(track).stop(self._name(track))

    def ended(self, job: Job, final: Final) -> None:
        notify.tell(self._store, self._settings.notify, job, final)

    @property
    def _addresses(self) -> dict[str, str]:
        """Where jobs tell their end; those without a network cannot."""
        return {} if self._settings.aws.network_isolation else self._settings.notify.addresses

    def _values(self, job: Job) -> dict[str, str]:
        """The job's secrets, as far as this terminal has them. Raises UsageError for those that nobody has."""
        if job.secrets and self._settings.aws.network_isolation:
            raise UsageError("Secrets come over the network, and jobs have none (aws.network_isolation)")
        elsewhere = {name for name in job.secrets if name not in os.environ and vault.has(job.project, name)}
        return secrets.collect(job.secrets, os.environ, elsewhere)

    def settled(self, jobs: Sequence[Job]) -> bool:
        return all(job.short in self._settled for job in jobs)

    # What is known

    def _track(self, job: Job) -> Track:
        if job.short not in self._tracks:
            ended = self._ended_launches(job.project).get(job.number, 0)
            self._tracks[job.short] = Track(job, ended + 1)
        return self._tracks[job.short]

    def _ended_launches(self, project: str) -> dict[int, int]:
        if project not in self._launches:
            found: dict[int, int] = {}
            prefix = contract.launches_prefix(project)
            for entry in self._store.scan(prefix):
                number, _, rest = entry.key[len(prefix) :].removesuffix(".json").partition("-")
                launch = rest.removesuffix(contract.RETRIED)
                if number.isdecimal() and launch.isdecimal():
                    found[int(number)] = max(found.get(int(number), 0), int(launch))
                    if launch == rest:
                        self._settled.add(f"{project}/{number}")
            self._launches[project] = found
        return self._launches[project]

    def _name(self, track: Track) -> str:
        return request.name(self._store.url, track.job.project, track.job.number, track.launch)

    def _door(self, track: Track) -> Door:
        queue = track.job.queue
        if queue is not None and queue not in self._doors:
            self._doors[queue] = Queue(queue)
        return self._doors[queue]

    def _sight(self, track: Track) -> Sight:
        if track.phase == "unknown":  # it could not be asked
            return Sight(Presence.ELSEWHERE, self._trouble)
        presence = {"absent": Presence.WAITING, "open": Presence.RUNNING, "over": Presence.GONE}[track.phase]
        return Sight(presence, self._trouble or track.said)

    def _check_region(self) -> None:
        """Raises CloudError unless the store's bucket is in the configured region. In another one there is none of the
        training jobs that we know of: they would seem to be missing, and be started, and paid for, a second time."""
        if self._here:
            return
        bucket, region = self._store.url.removeprefix("s3://").partition("/")[0], aws.region()
        found = control.bucket_region(bucket)
        if found not in ("", region):
            raise CloudError(
                f"The store's bucket {bucket} is in {found}, and AWS is set to {region}: jobs run where their store is",
                hint=f"export AWS_REGION={found}",
            )
        self._here = True

    def _look_at(self, tracks: Sequence[Track]) -> bool:
        """Ask the control plane; whether anything has changed."""
        self._check_region()
        changed = False
        for (project, _), mine in sorted(groups(tracks).items()):
            door = self._door(mine[0])
            prefix = request.name_prefix(self._store.url, project)
            unknown = [track for track in mine if track.phase == "unknown"]
            if len(unknown) > FEW:
                since = min(track.job.created for track in mine) - LATE_SECONDS
                everything = {one.name: one for one in door.listed(prefix, running=False, since=since)}
                listed = {name: one for name, one in everything.items() if one.status not in control.ENDED}
                for track in unknown:
                    if self._name(track) not in everything:
                        track.phase, track.said = "absent", NOT_YET
            elif all(track.phase == "absent" for track in mine):
                continue
            else:
                listed = {one.name: one for one in door.listed(prefix, running=True)}
            for track in mine:
                one = listed.get(self._name(track))
                if one is not None:
                    changed |= track.phase != "open" or bool(one.said and one.said != track.said)
                    track.phase, track.said = "open", one.said or track.said
            # What is not in progress has changed, is new, or waits for a machine.
            missing = [
                track for track in mine if self._name(track) not in listed and track.phase in ("unknown", "open")
            ]
            changed |= any([*crowd.each(self._describe, missing, CREATORS)])
        return changed

    def _describe(self, track: Track) -> bool:
        """Look at one training job that is not listed as in progress; whether that was news."""
        found = self._door(track).describe(self._name(track))
        was = (track.phase, track.launch, track.said)
        if found is None:
            late = time.monotonic() - track.created < LATE_SECONDS
            track.phase = "open" if late else "absent"
            track.said = "handed to SageMaker" if late else NOT_YET
        elif found["TrainingJobStatus"] in control.ENDED:
            self._settle(track, found)
        else:
            track.phase, track.said = "open", progress(found)
        return was != (track.phase, track.launch, track.said)

    def _settle(self, track: Track, found: dict[str, Any]) -> None:
        """A training job has ended: keep its bill, and either the job has ended too, or it is to be tried again."""
        job = track.job
        self._blocks.clear()  # a machine is free
        final_key = contract.final_key(job.project, job.number)
        self._bring_results(job)
        has_final = self._store.exists(final_key)
        tail = "" if has_final or found["TrainingJobStatus"] != "Failed" else control.log_tail(found["TrainingJobName"])
        region = aws.region()
        ended = launched(job, track.launch, found, region, tail, prices.known(self._settings.home))
        if has_final:
            self._note(track, ended, False)
        else:
            asked = self._store.exists(contract.stop_key(job.project, job.number))
            left = job.max_runtime - self._used(track) - worked(ended)
            verdict = judge(ended, machines.expand([job.machine, *job.fallbacks]), asked, left)
            if verdict.again:
                self._note(track, ended, True)
                track.launch, track.phase, track.said = track.launch + 1, "absent", verdict.reason
                track.created, track.known = float("-inf"), False
                return
            fold = journal.fold(self._store, job.project, job.number)
            final = ending(job, fold, verdict.state, verdict.reason)
            if self._store.create(final_key, msgspec.json.encode(final)):
                self.ended(job, final)
            self._note(track, ended, False)
        track.phase, track.said = "over", ""

    def _note(self, track: Track, ended: Launch, retried: bool) -> None:
        """Keep how a launch ended. Of the last one the final record is there before."""
        job = track.job
        key = contract.launch_key(job.project, job.number, track.launch, retried)
        self._store.create(key, msgspec.json.encode(msgspec.structs.replace(ended, again=retried)))
        self._ended_launches(job.project)[job.number] = track.launch
        if not retried:
            self._settled.add(job.short)

    def _used(self, track: Track) -> float:
        """Seconds of max_runtime that earlier launches have used up; all of it where a record of one is damaged."""
        job, used = track.job, 0.0
        for launch in range(1, track.launch):
            try:
                data = self._store.read(contract.launch_key(job.project, job.number, launch, True))
                used += worked(decoder.from_json(data, Launch))
            except (NotFound, msgspec.DecodeError):
                return job.max_runtime
        return used

    def _bring_results(self, job: Job) -> None:
        """Results of a job without a network, which it could only keep below its own prefix."""
        prefix = contract.job_prefix(job.project, job.number)
        for entry in self._store.scan(prefix + contract.RESULTS):
            self._store.write(entry.key[len(prefix) :], self._store.read(entry.key))

    # Creating

    def _create(self, tracks: Iterable[Track]) -> list[SwatchError]:
        """Have those training jobs created that the account has machines for; why some never will be. Raises CloudError
        where none can be."""
        now = time.monotonic()
        ready = [track for track in tracks if (block := self._blocks.get(kind(track))) is None or block.until <= now]
        if ready:
            self._check_region()
            self._agent = self._agent or agent.carry(self._store)
        return [error for error in crowd.each(self._try_create, ready, CREATORS) if error is not None]

    def _try_create(self, track: Track) -> SwatchError | None:
        """As `_create_one`; a refusal that concerns this job alone is returned: it keeps no other from its machine."""
        try:
            self._create_one(track)
        except SwatchError as error:
            if isinstance(error, CloudError) and error.code != "ValidationException":
                raise
            track.said = sentence(error)
            return error
        return None

    def _create_one(self, track: Track) -> None:
        block = self._blocks.get(kind(track))
        if block is not None and block.until > time.monotonic():
            track.said, track.known = block.said, False
            return
        job = track.job
        if not track.known and self._ends_unlaunched(job):
            track.phase = "over"
            return
        asked = self._request(track, self._agent)
        self._make_whole(job)
        try:
            outcome, said = self._door(track).create(asked, track.known)
        except (Throttled, Unreachable) as error:  # it may be there or not: the next look tells
            track.said, track.known = error.message, False
            return
        if outcome is Created.FULL:
            seconds = min(2 * block.seconds, LONGEST_FULL) if block else FULL_SECONDS
            track.said, track.known = f"waiting for a machine: {limit(said)}", False
            self._blocks[kind(track)] = Block(time.monotonic() + seconds, seconds, track.said)
            return
        if outcome is Created.THERE:
            self._adopt(track)
        queue = f"the queue {job.queue}" if job.queue else "SageMaker"
        track.phase, track.created, track.said = "open", time.monotonic(), f"handed to {queue}"

    def _make_whole(self, job: Job) -> None:
        """Make sure that a job without a network is brought all of its code, also when it was sent for one that could
        read the store (by another account, say, or before a restart). Raises SwatchError."""
        if job.code is None or not self._settings.aws.network_isolation:
            return
        with self._packing:
            if job.code not in self._whole:
                snapshot.make_whole(self._store, job.code)
                self._whole.add(job.code)

    def _ends_unlaunched(self, job: Job) -> bool:
        """Whether the job has ended, or was to be stopped before it had a machine: then it ends now, should whoever
        asked for that have died over it."""
        final_key = contract.final_key(job.project, job.number)
        if self._store.exists(final_key):
            return True
        if not self._store.exists(contract.stop_key(job.project, job.number)):
            return False
        fold = journal.fold(self._store, job.project, job.number)
        final = stopped(job, fold)
        if self._store.create(final_key, msgspec.json.encode(final)):
            self.ended(job, final)
        return True

    def _adopt(self, track: Track) -> None:
        """Make sure that the training job of that name is this job's. Raises SwatchError."""
        theirs, ours = self._door(track).tags(self._name(track)), request.tags(track.job, self._store.url)
        if theirs is None:
            return  # created a moment ago, by whom else
        if any(theirs.get(key) != ours[key] for key in (request.JOB_TAG, request.STORE_TAG)):
            raise SwatchError(
                f"The training job {self._name(track)} exists, and is not {track.job.short}'s by its tags",
                hint="swatch doctor --orphans",
            )

    def _boto3(self, image: str) -> str | None:
        """The digest of AWS' SDK in the store, put there for an image that may lack it: neither AWS' own nor Swatch's.
        Raises SwatchError."""
        if self._settings.aws.network_isolation or images.of_aws(image) or image.endswith(f":{self._own_tag}"):
            return None
        with self._packing:
            self._sdk = self._sdk or sdk.carry(self._store, self._settings.home / "cache")
        return self._sdk

    @functools.cached_property
    def _own_tag(self) -> str:
        return own_image.context(self._settings.docker.base or own_image.BASE).tag

    def _request(self, track: Track, agent_digest: str) -> dict[str, Any]:
        job, settings = track.job, self._settings.aws
        types = rotated(machines.expand([job.machine, *job.fallbacks]), track.launch)
        region = aws.region()
        # What AWS says of its own repetitions holds for ours: max_runtime is for all of them together (API reference,
        # StoppingCondition). So a job never costs more than was reckoned with.
        left = max(1, math.floor(job.max_runtime - self._used(track)))
        image = job.image or images.configured(settings.image) or images.base(types[0], region)
        asked = request.training_job(
            msgspec.structs.replace(job, max_runtime=left),
            name=self._name(track),
            store_url=self._store.url,
            agent=agent_digest,
            image=image,
            boto3=self._boto3(image),
            aws=settings,
            machines=types,
            endpoints=request.endpoints(os.environ),
            tell=tuple(self._addresses),
        )
        model.check("CreateTrainingJob", asked)
        return asked


def sentence(error: SwatchError) -> str:
    """What happened, and what to do."""
    return f"{error.message}; {error.hint}" if error.hint else error.message
