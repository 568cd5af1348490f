"""Data that a job sees: every way to write it, and where its files stand when the job runs."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_image import mounts
from job_image.places import Places, remove
from orchestrator import aws, contract
from orchestrator.cargo import content, mount
from orchestrator.cargo.mount import Prepared
from orchestrator.cargo.upload import upload
from orchestrator.entries import MAX_DATA, DataMount, data_mount
from orchestrator.errors import NotFound, StoreError, SwatchError, UsageError
from orchestrator.folder import Belonging, Here
from orchestrator.job import Final, Job, Mount
from orchestrator.journal import File, Writer
from orchestrator.settings import Settings
from orchestrator.shape import Unfit
from orchestrator.store import Store, open_store
from orchestrator.store.local import LocalStore, make_read_only, sha256_of
from tests.account import account
from tests.cloud import Cloud
from tests.conftest import Box
from tests.web import Web

# What --data may say


@pytest.mark.parametrize(
    ("text", "source", "at"),
    [
        ("wxswxs/vgg-weights/1:vgg_weights", "wxswxs/vgg-weights/1", "vgg_weights"),
        ("3/output:model", "3/output", "model"),
        ("a/p/3:m", "a/p/3", "m"),
        ("a/p/3/output:m", "a/p/3/output", "m"),
        ("ns/datasets/name/1:/m", "ns/datasets/name/1", "m"),
        ("mnist:m", "mnist", "m"),
        ("./weights:w", "./weights", "w"),
        ("~/w:w.1-2_3", "~/w", "w.1-2_3"),
        ("s3://bucket/prefix/:m", "s3://bucket/prefix/", "m"),
        ("s3://bucket:m", "s3://bucket", "m"),
        ("https://host/a.h5:m", "https://host/a.h5", "m"),
        ("https://host:8443/a.h5:m", "https://host:8443/a.h5", "m"),
        ("https://host:8443/a.h5", "https://host:8443/a.h5", "input"),
        ("https://host/a.h5", "https://host/a.h5", "input"),
        ("mnist", "mnist", "input"),
        ("mnist:input", "mnist", "input"),
        ("mnist:/input", "mnist", "input"),
        ("a:b:c", "a:b", "c"),
    ],
)
def test_pain_3_every_form_of_data_is_taken(text: str, source: str, at: str) -> None:
    assert mount.parse([text]) == (DataMount(source, at),)


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        (["a:x/y"], "must be one folder name"),
        (["a:/x/y"], "must be one folder name"),
        (["a:x y"], "must be one folder name"),
        (["https://host/a:x y"], "must be one folder name"),
        (["a:"], "expected source:mount"),
        ([":x"], "expected source:mount"),
        ([""], "expected source:mount"),
        (["a:/"], "expected source:mount"),
        (["a:output"], "is taken"),
        (["a:TMP"], "is taken"),
        (["a:.."], "is taken"),
        (["a", "b"], "two sources for /input: a and b"),
        (["a:x", "b:X"], "two sources for /X: a and b"),
        ([f"a:m{n}" for n in range(MAX_DATA + 1)], "Cannot attach more than 16 datasets"),
    ],
)
def test_pain_3_what_cannot_be_mounted_is_one_sentence(given_: list[str], said: str) -> None:
    with pytest.raises(UsageError) as error:
        mount.parse(given_)
    assert said in error.value.message and "\n" not in error.value.message and error.value.hint


def test_seventeen_are_taken_not_five() -> None:
    assert len(mount.parse([f"a:m{n}" for n in range(MAX_DATA)])) == 16


@given(st.text(max_size=60) | st.from_regex(r"\A(s3|https)://[a-z:/.]{0,20}:?[a-z/]{0,5}\Z"), st.booleans())
def test_whatever_is_written_is_taken_apart_or_refused(text: str, unnamed: bool) -> None:
    try:
        one = data_mount(text, unnamed)
    except Unfit:
        return
    assert one.source and one.mount and "/" not in one.mount
    assert text in (one.source, f"{one.source}:{one.mount}", f"{one.source}:/{one.mount}")


# What it means


class Studio:
    """A store of alice with a dataset and two jobs, one of which has ended."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store = folder, store
        self.settings = Settings(home=folder / "home", store=store.url, user="alice")
        self.here = Here(project=Belonging("forest", None, folder, folder / ".swatchproject"))

    def write(self, place: str, **files: str) -> Path:
        for name, text in files.items():
            path = self.folder / place / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return self.folder / place

    def dataset(self, user: str, name: str, **files: str) -> str:
        found = content.of_folder(self.write(f"source-{user}-{name}", **files))
        return upload(self.store, user, name, found).version.name

    def job(self, number: int, ended: bool, **files: str) -> None:
        job = Job(project="forest", number=number, user="alice", created=0.0, command="make")
        self.store.create(contract.job_key("forest", number), msgspec.json.encode(job))
        writer = Writer(self.store, "forest", number)
        for name, text in files.items():
            path = self.write("made", **{name: text}) / name
            digest = sha256_of(path)
            self.store.upload(path, contract.output_prefix("forest", number) + name)
            writer.append(File(1.0, name, len(text), digest))
        writer.flush()
        if ended:
            self.store.create(
                contract.final_key("forest", number), msgspec.json.encode(Final(state="success", ended=1.0))
            )

    def resolve(self, *given_: str, here: Here | None = None, fetch: bool = True) -> Prepared:
        asked = mount.parse(given_)
        return mount.resolve(self.store, self.settings, here or self.here, asked, self.folder, fetch=fetch)

    def one(self, text: str, here: Here | None = None) -> Mount:
        (found,) = self.resolve(text, here=here).mounts
        return found


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    made = Studio(tmp_path, LocalStore(str(tmp_path / "store")))
    made.dataset("alice", "mnist", a="1")
    made.dataset("alice", "mnist", a="2")
    made.dataset("wxswxs", "vgg", w="weights")
    made.job(1, True, model="trained")
    made.job(2, False, model="so far")
    return made


@pytest.mark.parametrize(
    ("text", "source", "prefix"),
    [
        ("mnist:m", "alice/datasets/mnist/2", "datasets/alice/mnist/2/files/"),
        ("mnist/1:m", "alice/datasets/mnist/1", "datasets/alice/mnist/1/files/"),
        ("alice/mnist/1:m", "alice/datasets/mnist/1", "datasets/alice/mnist/1/files/"),
        ("alice/datasets/mnist:m", "alice/datasets/mnist/2", "datasets/alice/mnist/2/files/"),
        ("/mnist/1/:m", None, None),
        ("mnist/1/:m", "alice/datasets/mnist/1", "datasets/alice/mnist/1/files/"),
        ("wxswxs/vgg/1:m", "wxswxs/datasets/vgg/1", "datasets/wxswxs/vgg/1/files/"),
        ("1/output:m", "alice/projects/forest/1/output", "projects/forest/jobs/1/output/"),
        ("1:m", "alice/projects/forest/1/output", "projects/forest/jobs/1/output/"),
        ("forest/1:m", "alice/projects/forest/1/output", "projects/forest/jobs/1/output/"),
        ("bob/forest/1/files:m", "bob/projects/forest/1/output", "projects/forest/jobs/1/output/"),
        ("alice/projects/forest/1/home:m", "alice/projects/forest/1/output", "projects/forest/jobs/1/output/"),
    ],
)
def test_m4_m9_names_of_data(studio: Studio, text: str, source: str | None, prefix: str | None) -> None:
    if source is None:
        with pytest.raises(UsageError, match="No such folder"):  # a leading slash is a path
            studio.one(text)
        return
    found = studio.one(text)
    assert (found.source, found.prefix, found.mount, found.files) == (source, prefix, "m", 1)


def test_a_number_in_a_datasets_folder_is_a_version_where_no_job_has_it(studio: Studio) -> None:
    own = Belonging("mnist", None, studio.folder, studio.folder / ".swatchdata")
    assert studio.one("1:m", here=Here(dataset=own)).source == "alice/datasets/mnist/1"
    with pytest.raises(NotFound, match="Job 7 of which project"):
        studio.one("7:m", here=Here())


def test_m9_the_output_of_a_job_mounts_only_when_it_has_ended(studio: Studio) -> None:
    with pytest.raises(UsageError, match="alice/projects/forest/2 has not ended") as error:
        studio.one("2/output:m")
    assert error.value.hint == "Wait for it: swatch watch alice/projects/forest/2"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("wxswxs/vgg-weights/1:vgg_weights", "swatch data fetch vgg19 --as wxswxs/vgg-weights"),
        ("wxswxs/datasets/vgg-weights:w", "swatch data fetch vgg19 --as wxswxs/vgg-weights"),
        ("vgg-weights:w", "swatch data fetch vgg19"),
        ("bob/vgg19/1:w", "swatch data fetch vgg19 --as bob/vgg19"),
        ("mnits:m", "Did you mean mnist?"),
        ("wxswxs/vg:m", "Did you mean wxswxs/vgg?"),
        ("quite-another:m", "swatch data status lists the datasets; a folder is written ./FOLDER"),
        ("made:m", "A folder is written with ./ before it: ./made:m"),
    ],
)
def test_missing_data_says_what_to_type(studio: Studio, text: str, hint: str) -> None:
    with pytest.raises(NotFound) as error:
        studio.one(text)
    name = text.rpartition(":")[0]
    assert error.value.message.startswith(f"Data not found for name: {name}. Check if the data name is correct")
    assert error.value.hint == hint and error.value.exit_code == 2


def test_missing_versions_are_named(studio: Studio) -> None:
    with pytest.raises(NotFound, match=r"alice/datasets/mnist/7\. Its versions: 1, 2"):
        studio.one("mnist/7:m")


@pytest.mark.parametrize("text", ["a b:m", "a/b/c/d/e:m", "ä:m", "../../etc:m", "a//b:m"])
def test_names_that_are_none_are_refused(studio: Studio, text: str) -> None:
    with pytest.raises(UsageError):
        studio.one(text)


# Folders


def test_s6_a_folder_becomes_a_dataset_and_only_changes_are_sent(studio: Studio) -> None:
    studio.write("local", a="1", sub__b="2")
    found = studio.resolve("./local:m")
    assert not list(studio.store.scan("datasets/alice/forest-m/")), "resolving uploads nothing"
    found.carry(studio.store)
    (one,) = found.mounts
    assert (one.source, one.prefix) == ("alice/datasets/forest-m/1", "datasets/alice/forest-m/1/files/")
    assert (one.size, one.files) == (2, 2)
    assert studio.store.read(one.prefix + "sub/b") == b"2"
    again = studio.resolve("./local:m")
    assert (again.mounts, again.waiting) == ((one,), 0)
    studio.write("local", a="changed")
    changed = studio.resolve("./local:m")
    assert changed.waiting and changed.mounts[0].digest != one.digest
    changed.carry(studio.store)
    assert changed.mounts[0].source == "alice/datasets/forest-m/2"
    assert studio.store.read(one.prefix + "a") == b"1"


def test_a_folder_and_a_dataset_of_the_same_files_are_the_same_data(studio: Studio) -> None:
    studio.write("local", a="1")
    assert studio.one("./local:m").digest == studio.one("mnist/1:m").digest


def test_what_is_carried_stands_where_the_mount_says_though_others_were_faster(studio: Studio) -> None:
    studio.write("local", a="mine")
    found = studio.resolve("./local:m")
    studio.dataset("alice", "forest-m", a="theirs")
    found.carry(studio.store)
    assert found.mounts[0].source == "alice/datasets/forest-m/2"
    assert studio.store.read(found.mounts[0].prefix + "a") == b"mine"


def test_folders_that_cannot_be_mounted(studio: Studio) -> None:
    studio.write("local", a="1")
    for text, said in (("./nowhere:m", "No such folder"), ("./local/a:m", "is a file"), ("~/no-such:m", "No such")):
        with pytest.raises(UsageError, match=said):
            studio.one(text)


def test_long_names_of_mounts_make_names_of_datasets() -> None:
    assert mount.dataset_name("forest", "w") == "forest-w"
    long = [mount.dataset_name("p" * 60, f"mount{n}") for n in range(2)]
    assert len(set(long)) == 2 and all(len(name) == contract.MAX_NAME for name in long)


# Addresses


def test_s6_an_address_of_the_web_becomes_a_dataset(studio: Studio) -> None:
    with Web({"/files/bark.tar.gz": b"x" * 5000}) as web:
        text = f"{web.url}/files/bark.tar.gz?token=secret:m"
        planned = studio.resolve(text, fetch=False).mounts[0]
        assert not web.sent and not list(studio.store.scan("datasets/alice/forest-m/")), "nothing is fetched for a plan"
        one = studio.one(text)
        assert one.source == "alice/datasets/forest-m/1" and planned.digest != one.digest
        assert studio.store.read(one.prefix + "bark.tar.gz") == b"x" * 5000, "archives stay packed"
        other = studio.one(text.replace("secret", "secret2"))
        assert other == one and len(web.ranges) == 2, (
            "another query may be another file: it is fetched, and is the same"
        )
        sent = web.sent
        assert studio.one(text) == one and web.sent == sent, "what has not changed is not fetched again"
        assert studio.resolve(text, fetch=False).mounts == (one,)
        web.files["/files/bark.tar.gz"] = b"y" * 10
        assert studio.one(text).source == "alice/datasets/forest-m/2"
    records = [studio.store.read(entry.key) for entry in studio.store.scan("datasets/alice/forest-m/")]
    assert not any(b"secret" in record for record in records)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ftp://host/a:m", "Not an address that can be fetched"),
        ("file:///etc/passwd:m", "Not an address that can be fetched"),
        ("https://user:pw@host/a:m", "holds a password"),
        ("http://127.0.0.1:9/a:m", "no answer"),
    ],
)
def test_addresses_that_are_not_fetched(studio: Studio, text: str, said: str) -> None:
    with pytest.raises(SwatchError, match=said) as error:
        studio.one(text)
    assert "pw" not in error.value.message


@pytest.mark.parametrize("far", [True, False])
def test_s6_objects_of_s3_become_a_dataset(bucket: str, tmp_path: Path, far: bool) -> None:
    client = aws.client("s3")
    for key, data in (("in/a.txt", b"1"), ("in/sub/b.txt", b"22"), ("in2/x", b"no"), ("in/folder/", b"")):
        client.put_object(Bucket=bucket, Key=key, Body=data)
    studio = Studio(tmp_path, open_store(f"s3://{bucket}/store" if far else str(tmp_path / "store")))
    planned = studio.resolve(f"s3://{bucket}/in:m", fetch=False)
    assert not list(studio.store.scan("datasets/")) and planned.mounts[0].digest
    one = studio.one(f"s3://{bucket}/in:m")
    assert (one.source, one.files, one.size) == ("alice/datasets/forest-m/1", 2, 3)
    assert studio.store.read(one.prefix + "sub/b.txt") == b"22"
    studio.write("same", **{"a.txt": "1", "sub__b.txt": "22"})
    assert studio.one("./same:m").digest == one.digest, "its digest is that of its files"
    assert studio.one(f"s3://{bucket}/in/:m") == one, "nothing has changed"
    client.put_object(Bucket=bucket, Key="in/a.txt", Body=b"new")
    assert studio.one(f"s3://{bucket}/in:m").source == "alice/datasets/forest-m/2"
    single = studio.one(f"s3://{bucket}/in/sub/b.txt:single")
    assert studio.store.read(single.prefix + "b.txt") == b"22"
    for text in (f"s3://{bucket}/nothing:m", "s3://no-such-bucket-here/x:m"):
        with pytest.raises(NotFound, match="Data not found for name"):
            studio.one(text)


# In the job


def places(folder: Path, cache: bool = True) -> Places:
    made = Places(folder / "work", None, folder / "cache" if cache else None)
    made.data.mkdir(parents=True, exist_ok=True)
    return made


def raw(one: Mount) -> dict[str, object]:
    found: dict[str, object] = json.loads(msgspec.json.encode(one))
    return found


@pytest.mark.parametrize("user", [0, 1000])
def test_m10_a_store_of_this_machine_is_mounted_and_never_removed(
    studio: Studio, tmp_path: Path, user: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    at = places(tmp_path)
    mounts.mount(studio.store, raw(studio.one("mnist:m")), at, None)
    assert (at.data / "m" / "a").read_text() == "2"
    assert (at.data / "m").is_symlink() == (user != 0), "root could write through the link"
    if user:
        assert os.path.realpath(at.data / "m") == str(tmp_path / "store" / "datasets/alice/mnist/2/files")
    at.make()
    at.clear(keep_made=False)
    remove(at.work)
    assert studio.store.read("datasets/alice/mnist/2/files/a") == b"2"
    assert not (tmp_path / "cache").exists()


def test_m9_a_job_sees_what_another_has_made(studio: Studio, tmp_path: Path) -> None:
    at = places(tmp_path)
    mounts.mount(studio.store, raw(studio.one("1/output:m")), at, None)
    assert (at.data / "m" / "model").read_text() == "trained"
    assert not (at.data / "m" / "model").stat().st_mode & 0o222


@pytest.fixture
def distant(bucket: str, tmp_path: Path) -> Studio:
    studio = Studio(tmp_path, open_store(f"s3://{bucket}/store"))
    studio.dataset("alice", "mnist", a="1", sub__b="22")
    studio.job(1, True, model="trained")
    return studio


def test_a_far_store_is_fetched_once_for_a_machine(
    distant: Studio, tmp_path: Path, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    cloud.front.requests.clear()
    for text in ("mnist:m", "1/output:model"):
        one = distant.one(text)
        for job in ("one", "two"):
            at = places(tmp_path / job)._replace(shared=tmp_path / "cache")
            mounts.mount(distant.store, raw(one), at, None)
            made = tmp_path / "cache" / "data" / one.digest
            assert os.path.realpath(at.data / one.mount) == str(made)
            assert made.stat().st_mtime > 0, "it counts as used"
            remove(at.work)
            assert not made.stat().st_mode & 0o222
            made.chmod(0o755)  # as if that job had been killed before it made it read-only
            os.utime(made, (0, 0))
        make_read_only(made)
    fetched = [one.path for one in cloud.front.requests if one.method == "GET" and one.path.endswith(("/b", "/model"))]
    assert len(fetched) == 2
    assert (tmp_path / "cache" / "data" / distant.one("mnist:m").digest / "sub" / "b").read_text() == "22"
    kept = tmp_path / "cache" / "data"
    assert not [path for path in kept.rglob("*") if not path.name.startswith(".") and path.stat().st_mode & 0o222]


def test_several_jobs_may_want_it_at_once(distant: Studio, tmp_path: Path) -> None:
    one, problems = raw(distant.one("mnist:m")), []
    start = threading.Barrier(4)

    def job(number: int) -> None:
        at = places(tmp_path / str(number))._replace(shared=tmp_path / "cache")
        start.wait()
        try:
            mounts.mount(distant.store, one, at, None)
            assert (at.data / "m" / "sub" / "b").read_text() == "22"
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            problems.append(error)

    threads = [threading.Thread(target=job, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems


def test_m10_every_file_is_verified(distant: Studio, tmp_path: Path) -> None:
    one = distant.one("mnist:m")
    distant.store.write(one.prefix + "sub/b", b"XX")
    at = places(tmp_path)
    with pytest.raises(StoreError, match="damaged in the store"):
        mounts.mount(distant.store, raw(one), at, None)
    assert not (at.cache / "data" / one.digest).exists(), "nobody sees half of it"
    distant.store.write(one.prefix + "sub/b", b"22")
    mounts.mount(distant.store, raw(one), at, None)
    assert (at.data / "m" / "sub" / "b").read_text() == "22"


def test_a_list_that_was_changed_is_refused(distant: Studio, tmp_path: Path) -> None:
    one = distant.one("mnist:m")
    key = "datasets/alice/mnist/1/dataset.json"
    record = json.loads(distant.store.read(key))
    for path, said in (("other", "no longer what was mounted"), ("../../x", "Not a key")):
        record["files"][0]["path"] = path
        distant.store.write(key, json.dumps(record).encode())
        with pytest.raises(StoreError, match=said):
            mounts.mount(distant.store, raw(one), places(tmp_path), None)


# Whole jobs


def sees(box: Box, backend: str = "") -> None:
    (box.folder / "weights" / "sub").mkdir(parents=True)
    (box.folder / "weights" / "w.txt").write_text("42\n")
    (box.folder / "weights" / "sub" / "x").write_text("43\n")
    (box.folder / "code").mkdir()
    (box.folder / "weights" / ".swatchdata").write_text('{"name": "vgg", "namespace": "wxswxs"}')


MANIFEST = """
name: try
backend: %s
machine: ml.m5.xlarge
max_runtime: 10m
code: code
data: ["%s:vgg"]
command: |
  cat /vgg/w.txt /floyd/input/vgg/sub/x > /output/seen.txt; ls /vgg > /output/names.txt
  (echo x > /vgg/w.txt) 2>/dev/null; test -w /vgg/w.txt || echo kept > /output/writing.txt; true
"""


def uploaded(box: Box) -> None:
    sees(box)
    folder, box.folder = box.folder, box.folder / "weights"
    box.swatch("data", "upload")
    box.folder = folder


def test_m10_a_local_job_reads_a_dataset(box: Box) -> None:
    uploaded(box)
    box.swatch("submit", box.manifest(MANIFEST % ("local", "wxswxs/vgg/1")), "--watch")
    home = box.folder / "outputs" / "try" / "try"
    assert (home / "seen.txt").read_text() == "42\n43\n" and (home / "names.txt").read_text() == "sub\nw.txt\n"
    record = json.loads(box.store.read("projects/try/jobs/1/job.json"))
    (mounted,) = record["data"]
    assert (mounted["source"], mounted["prefix"]) == ("wxswxs/datasets/vgg/1", "datasets/wxswxs/vgg/1/files/")
    assert str(box.folder) not in json.dumps(record["data"])
    assert box.store.read("datasets/wxswxs/vgg/1/files/w.txt") == b"42\n", "whoever the command ran as"


@pytest.mark.slow
@pytest.mark.parametrize("isolated", [False, True])
def test_m10_a_training_job_reads_the_same(tmp_path: Path, isolated: bool) -> None:
    with account(tmp_path, network_isolation=isolated) as box:
        uploaded(box)
        box.swatch("submit", box.manifest(MANIFEST % ("sagemaker", "wxswxs/vgg/1")), "--watch")
        home = box.folder / "outputs" / "try" / "try"
        assert (home / "seen.txt").read_text() == "42\n43\n" and (home / "names.txt").read_text() == "sub\nw.txt\n"
        (name,) = box.aws.jobs()
        channels = box.aws.describe(name)["InputDataConfig"]
        (channel,) = [one for one in channels if one["ChannelName"] == "data-vgg"]
        assert channel["DataSource"]["S3DataSource"]["S3Uri"].endswith("/datasets/wxswxs/vgg/1/files/")
        assert channel["InputMode"] == "File"
        # The same manifest on this computer, with the store far away: the same outputs by the same fingerprint.
        box.swatch("submit", "try.yaml", "--backend", "local")
        assert box.json("status", "try")["jobs"][0]["number"] == 1


def test_m9_a_job_reads_the_output_of_an_earlier_one_by_its_number(box: Box) -> None:
    box.swatch("submit", box.manifest("name: try\ncommand: mkdir /output/m; echo 7 > /output/m/model"), "--watch")
    box.manifest('name: try\ncommand: cat /model/m/model > /output/seen\ndata: ["1/output:model"]')
    box.swatch("submit", "try.yaml", "--watch")
    assert (box.folder / "outputs" / "try" / "try" / "seen").read_text() == "7\n"
    (mounted,) = json.loads(box.store.read("projects/try/jobs/2/job.json"))["data"]
    assert (mounted["source"], mounted["files"]) == ("alice/projects/try/1/output", 1)


def test_large_data_is_streamed_to_a_training_job(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text("from orchestrator import contract\ncontract.STREAMED = 5\n")
    with account(tmp_path) as box:
        box.environment["PYTHONPATH"] += f":{site}"
        uploaded(box)
        box.swatch("submit", box.manifest(MANIFEST % ("sagemaker", "wxswxs/vgg/1")), "--watch")
        assert (box.folder / "outputs" / "try" / "try" / "seen.txt").read_text() == "42\n43\n"
        (name,) = box.aws.jobs()
        modes = {one["ChannelName"]: one["InputMode"] for one in box.aws.describe(name)["InputDataConfig"]}
        assert modes["data-vgg"] == "FastFile" and modes["code"] == "File"


@pytest.mark.slow
def test_a_local_job_of_a_far_store_keeps_data_for_the_next(tmp_path: Path) -> None:
    with account(tmp_path) as box:
        uploaded(box)
        box.swatch("submit", box.manifest(MANIFEST % ("local", "wxswxs/vgg/1")), "--watch")
        assert (box.folder / "outputs" / "try" / "try" / "seen.txt").read_text() == "42\n43\n"
        (kept,) = [path for path in (box.home / "cache" / "data").iterdir() if not path.name.startswith(".")]
        assert (kept / "w.txt").read_text() == "42\n"


def test_a_plan_uploads_nothing_and_says_what_is_missing_at_its_line(box: Box) -> None:
    sees(box)
    box.manifest(MANIFEST % ("local", "./weights"))
    assert box.json("plan", "try.yaml")["counts"] == {"new": 1}
    assert not (box.home / "store" / "datasets").exists()
    box.manifest(MANIFEST % ("local", "wxswxs/vgg-weights/1"))
    said = box.swatch("plan", "try.yaml", code=2)
    assert "try.yaml:7:8: data[0]: Data not found for name: wxswxs/vgg-weights/1." in said
    assert "swatch data fetch vgg19 --as wxswxs/vgg-weights" in said


def test_weights_as_a_folder_or_as_a_dataset_make_the_same_task(box: Box) -> None:
    uploaded(box)
    box.manifest(MANIFEST % ("local", "./weights"))
    (one,) = box.json("plan", "try.yaml")["tasks"]
    box.manifest(MANIFEST % ("local", "wxswxs/vgg"))
    assert box.json("plan", "try.yaml")["tasks"][0]["fingerprint"] == one["fingerprint"]
