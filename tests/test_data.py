"""`swatch data`, as a person types it: FloydHub's verbs, columns and messages, without its bugs."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from job_image.texture import weights as engine
from orchestrator import contract
from orchestrator.cargo import content, weights
from orchestrator.cargo.tree import read
from orchestrator.cli.data import VERBS
from orchestrator.job import Final, Job, Mount
from orchestrator.journal import File, Writer
from orchestrator.store.local import LocalStore
from tests import vgg
from tests.account import account
from tests.conftest import Box
from tests.web import Web


def put(box: Box, **files: str) -> None:
    for name, text in files.items():
        path = box.folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def mnist(box: Box) -> Box:
    """A box in a dataset's folder, of which two versions are uploaded."""
    box.swatch("data", "init", "mnist")
    put(box, a="1", sub__b="22")
    box.swatch("data", "upload", "-m", "first")
    put(box, c="333")
    box.swatch("data", "upload", "-m", "second")
    return box


def made(store: LocalStore, number: int, ended: bool, **files: str) -> None:
    """A job of the project forest, and what it has made."""
    job = Job(project="forest", number=number, user="alice", created=0.0, command="make")
    store.create(contract.job_key("forest", number), msgspec.json.encode(job))
    more(store, number, **files)
    if ended:
        store.create(contract.final_key("forest", number), msgspec.json.encode(Final(state="success", ended=1.0)))


def more(store: LocalStore, number: int, **files: str) -> None:
    writer = Writer(store, "forest", number)
    for name, text in files.items():
        store.write(contract.output_prefix("forest", number) + name, text.encode())
        writer.append(File(1.0, name, len(text), hashlib.sha256(text.encode()).hexdigest()))
    writer.flush()


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_the_help_that_the_list_promises(verb: str) -> None:
    import importlib

    command = importlib.import_module(f"orchestrator.cli.data.{verb}").command
    assert (command.name, command.short_help) == (verb, VERBS[verb]) and command.help


def test_a_verb_that_is_none_is_corrected(box: Box) -> None:
    assert "Did you mean `swatch data upload`?" in box.swatch("data", "uplaod", code=2)


# init, upload, status


def test_m7_init_needs_nothing_else_and_may_be_said_twice(box: Box) -> None:
    for _ in range(2):
        assert box.swatch("data", "init", "mnist") == 'Data source "mnist" initialized in current directory\n'
    assert json.loads((box.folder / ".swatchdata").read_text()) == {"name": "mnist", "namespace": None}
    assert not (box.home / "store").exists()
    box.swatch("data", "init", "wxswxs/datasets/vgg")
    assert json.loads((box.folder / ".swatchdata").read_text())["namespace"] == "wxswxs"
    for name in ("mnist/1", "a b", "7", "a/b/c"):
        box.swatch("data", "init", name, code=2)


def test_m7_upload_prints_the_name_and_what_was_sent(mnist: Box) -> None:
    put(mnist, c="4444")
    said = mnist.swatch("data", "upload")
    assert re.search(r"NAME\s*\n[─-]+\s*\nalice/datasets/mnist/3", said)
    assert "Sent 4 B, 2 files copied in the store" in said
    again = mnist.swatch("data", "upload")
    assert "Nothing to do: alice/datasets/mnist/3 holds just these files." in again
    assert mnist.json("data", "upload")["new"] is False


def test_s13_upload_works_below_the_datasets_folder(mnist: Box) -> None:
    mnist.folder /= "sub"
    assert "alice/datasets/mnist/2" in mnist.swatch("data", "upload")


def test_upload_without_a_dataset_says_what_to_type(box: Box) -> None:
    put(box, a="1")
    assert "swatch data init NAME" in box.swatch("data", "upload", code=2)


def test_m7_status_has_floydhubs_columns_newest_first(mnist: Box) -> None:
    lines = mnist.swatch("data", "status").splitlines()
    assert re.split(r"  +", lines[0].strip())[:4] == ["DATA NAME", "CREATED", "STATUS", "DISK USAGE"]
    rows = [re.split(r"  +", line.strip()) for line in lines[2:]]
    assert [row[0] for row in rows] == ["alice/datasets/mnist/2", "alice/datasets/mnist/1"]
    assert [row[1:4] for row in rows] == [["just now", "valid", "6 B"], ["just now", "valid", "3 B"]]
    (one,) = mnist.json("data", "status", "mnist/1")["data"]
    assert (one["status"], one["size"], one["files"], one["description"]) == ("valid", 3, 2, "first")


def test_status_of_what_has_no_versions_says_what_to_type(box: Box) -> None:
    assert "swatch data init NAME" in box.swatch("data", "status")
    box.swatch("data", "init", "mnist")
    assert "no versions yet. In its folder:  swatch data upload" in box.swatch("data", "status")


def test_status_elsewhere_lists_all(mnist: Box) -> None:
    mnist.folder = mnist.home.parent
    assert len(mnist.json("data", "status")["data"]) == 2
    for name in ("nothing", "mnist/9"):
        assert "Data not found for name" in mnist.swatch("data", "status", name, code=2)


def test_m10_what_is_not_whole_is_uploading_and_says_how_to_go_on(mnist: Box) -> None:
    mnist.store.remove("datasets/alice/mnist/2/dataset.json")
    mnist.store.remove("datasets/alice/mnist/2/files/c")
    said = mnist.swatch("data", "status")
    assert re.search("alice/datasets/mnist/2 .* uploading", said) and "swatch data upload -r" in said
    assert "is not whole yet" in mnist.swatch("data", "listfiles", "mnist/2", code=2)
    assert mnist.swatch("data", "listfiles", "mnist") == "a\nsub/b\n", "the latest that is whole"
    done = mnist.json("data", "upload", "-r")
    assert (done["name"], done["kept"], done["sent"]) == ("alice/datasets/mnist/2", 2, 3)
    assert "Nothing to do" in mnist.swatch("data", "upload", "-r")


def test_resume_with_nothing_to_resume(mnist: Box) -> None:
    put(mnist, new="1")
    assert "No upload of alice/mnist was cut short" in mnist.swatch("data", "upload", "-r", code=2)


def test_ctrl_c_keeps_what_was_sent_and_says_how_to_go_on(box: Box) -> None:
    box.swatch("data", "init", "d")
    for number in range(3):
        put(box, **{f"f{number}": str(number)})
    pipe = box.pipe("pipe")
    box.environment["PYTHONPATH"] += f":{held_back(box)}"
    box.environment["HELD"] = str(pipe)
    process = box.start("data", "upload")
    pipe.read_text()  # it is about to send the second file
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130 and "Go on with:  swatch data upload -r" in said and "Traceback" not in said
    del box.environment["HELD"]
    assert box.json("data", "upload")["kept"] >= 1


def held_back(box: Box) -> Path:
    """A folder whose sitecustomize stops a store in the middle of an upload."""
    folder = box.home.parent / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        """
import os, sys
if os.environ.get("HELD"):
    from orchestrator.store.local import LocalStore
    before = LocalStore.upload
    def upload(self, file, *rest):
        if file.name == "f1":
            open(os.environ["HELD"], "w").close()
            import signal
            signal.pause()
        before(self, file, *rest)
    LocalStore.upload = upload
"""
    )
    return folder


# Reading


def test_m7_listfiles_and_getfile(mnist: Box) -> None:
    assert mnist.swatch("data", "listfiles", "mnist/2") == "a\nc\nsub/b\n"
    mnist.folder = mnist.home.parent / "elsewhere"
    mnist.folder.mkdir()
    assert mnist.swatch("data", "getfile", "alice/mnist/1", "sub/b") == "Download finished: b\n"
    assert (mnist.folder / "b").read_text() == "22"
    mnist.swatch("data", "getfile", "mnist", "sub/b")  # it is there: nothing to do
    (mnist.folder / "b").write_text("mine")
    assert "is another file" in mnist.swatch("data", "getfile", "mnist", "sub/b", code=2)
    mnist.swatch("data", "getfile", "mnist", "sub/b", "-o", "other")
    assert (mnist.folder / "other").read_text() == "22" and (mnist.folder / "b").read_text() == "mine"
    assert "Did you mean sub/b?" in mnist.swatch("data", "getfile", "mnist", "b", code=2)


def test_pain_6_clone_takes_a_folder_and_globs(mnist: Box) -> None:
    mnist.folder = mnist.home.parent
    assert "2 files brought to mnist-1" in mnist.swatch("data", "clone", "mnist/1")
    for flag in ("-p", "--path", "--into"):
        into = f"into{flag}"
        mnist.swatch("data", "clone", "mnist", flag, into, "--only", "/sub/", "--only", "c")
        found = {path.relative_to(mnist.folder / into).as_posix() for path in (mnist.folder / into).rglob("*")}
        assert found == {contract.BROUGHT, "c", "sub", "sub/b"}


def test_data_that_was_brought_into_a_folder_of_code_is_none_of_it(mnist: Box) -> None:
    code = mnist.folder = mnist.home.parent / "code"
    (code / "mine").mkdir(parents=True)
    (code / "mine" / "train.py").write_text("")
    (code / "empty").mkdir()
    for words in ((), ("--into", "empty"), ("--into", "mine"), ("--only", "c", "--into", "cut/short")):
        mnist.swatch("data", "clone", "mnist", *words)
    mnist.swatch("data", "clone", "mnist", "--into", "cut/short")
    names = {entry.name for entry in read(code).entries}
    assert names == {"mine/train.py", "mine/a", "mine/c", "mine/sub/b", "cut"}, "a person's own folder stays theirs"
    again = content.of_folder(code / "mnist-2")
    assert [leaf.path for leaf in again.files] == ["a", "c", "sub/b"], "nor is the mark data"


@pytest.mark.parametrize("verb", ["clone", "listfiles", "getfile", "output", "add", "delete"])
def test_bug_2_5_missing_data_never_exits_with_0(box: Box, verb: str) -> None:
    words = {"getfile": ("nothing/1", "x"), "add": ("nothing/1", "--name", "d"), "delete": ("nothing", "-y")}
    said = box.swatch("data", verb, *words.get(verb, ("nothing",)), code=2)
    assert "Data not found for name: nothing" in said


def test_s7_an_output_is_cloned_while_its_job_runs(box: Box) -> None:
    made(box.store, 1, False, one="1")
    said = box.swatch("data", "clone", "forest/1/output", "-p", "out")
    assert "1 file brought to out" in said and "has not ended" in said
    more(box.store, 1, two="2")
    again = box.json("data", "clone", "forest/1", "-p", "out")
    assert (again["brought"], again["there"], again["ended"]) == (["two"], 1, False)
    assert box.swatch("data", "listfiles", "forest/1") == "one\ntwo\n"


@pytest.mark.parametrize("path", ["../../evil", "/tmp/evil", "a/../../evil"])
def test_s7_no_path_leaves_the_folder(mnist: Box, path: str) -> None:
    """FloydHub's client unpacked any archive over the working folder."""
    key = "datasets/alice/mnist/1/dataset.json"
    record = json.loads(mnist.store.read(key))
    record["files"][0]["path"] = path
    record["digest"] = contract.data_digest((leaf["path"], leaf["sha256"]) for leaf in record["files"])
    mnist.store.write(key, json.dumps(record).encode())
    said = mnist.swatch("data", "clone", "mnist/1", "-p", "into", code=1)
    assert "Not a key of the store" in said and not list(mnist.home.parent.rglob("evil"))


def test_names_steer_no_terminal(box: Box) -> None:
    made(box.store, 1, True, ok="1")
    writer = Writer(box.store, "forest", 1)
    writer.append(File(1.0, "x\N{RIGHT-TO-LEFT OVERRIDE}y", 1, "0" * 64))
    writer.flush()
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in box.swatch("data", "listfiles", "forest/1")


def test_m7_output_says_where_the_files_are(mnist: Box) -> None:
    place = mnist.home / "store" / "datasets" / "alice" / "mnist" / "2" / "files"
    assert str(place) in mnist.swatch("data", "output")
    assert mnist.swatch("data", "output", "mnist/2", "-u").strip() == f"{place.as_uri()}/"
    assert "1" in mnist.json("data", "output", "mnist/1")["name"]


# add, delete


def test_m7_add_makes_a_dataset_of_what_a_job_has_made(box: Box) -> None:
    made(box.store, 3, True, model="trained")
    made(box.store, 4, False, model="half")
    said = box.swatch("data", "add", "forest/3/output", "--name", "model", "-m", "good")
    assert "alice/datasets/model/1" in said and "Sent 0 B, 1 file copied in the store" in said
    (one,) = box.json("data", "status", "model")["data"]
    assert (one["from"], one["description"]) == ("alice/projects/forest/3/output", "good")
    box.swatch("data", "init", "model")
    assert "Nothing to do" in box.swatch("data", "add", "forest/3")
    assert "has not ended" in box.swatch("data", "add", "forest/4", code=2)
    assert "is a dataset already" in box.swatch("data", "add", "model/1", code=2)
    assert "cannot change" in box.swatch("data", "add", "forest/3", "--name", "model/1", code=2)


def test_m7_delete_asks_and_leaves_a_tombstone(mnist: Box) -> None:
    def asked(answer: str) -> str:
        process = subprocess.run(
            [sys.executable, "-m", "orchestrator", "data", "delete", "mnist/2"],
            cwd=mnist.folder,
            env=mnist.environment,
            input=answer,
            capture_output=True,
            text=True,
            check=False,
        )
        return process.stdout

    assert "Delete Data: alice/datasets/mnist/2? [y/N]" in asked("\n")
    assert len(mnist.json("data", "status")["data"]) == 2
    assert "Data alice/datasets/mnist/2: Deleted" in asked("y\n")
    assert mnist.swatch("data", "listfiles", "mnist") == "a\nsub/b\n"
    assert mnist.json("data", "upload")["name"] == "alice/datasets/mnist/3"
    mnist.swatch("data", "delete", "mnist/3", "alice/mnist/1", "-y")
    assert mnist.json("data", "status")["data"] == []


def test_a_deletion_that_was_cut_short_is_repeated(mnist: Box) -> None:
    mnist.store.create(contract.withdrawn_key("alice", "mnist", 2), b"{}")  # and then it was killed
    assert "mnist/2" not in mnist.swatch("data", "status")
    assert "Data alice/datasets/mnist/2: Deleted" in mnist.swatch("data", "delete", "mnist/2", "-y")
    assert not list(mnist.store.scan("datasets/alice/mnist/2/files/")), "nothing is left to be paid for"
    assert "Data not found for name: mnist/2" in mnist.swatch("data", "delete", "mnist/2", "-y", code=2)


def test_one_that_cannot_be_deleted_keeps_no_other(mnist: Box) -> None:
    made(mnist.store, 1, True, model="trained")
    said = mnist.swatch("data", "delete", "forest/1/output", "mnist/1", "nothing", "-y", code=2)
    assert "To delete job output, please delete the job itself." in said and "nothing" in said
    assert [one["name"] for one in mnist.json("data", "status")["data"]] == ["alice/datasets/mnist/2"]
    assert mnist.store.exists(contract.output_prefix("forest", 1) + "model")


def test_a_version_that_a_job_waits_for_is_not_deleted(mnist: Box) -> None:
    seen = Mount(source="x", mount="m", digest="0" * 64, prefix="datasets/alice/mnist/1/files/")
    job = Job(project="forest", number=1, user="alice", created=0.0, command="make", data=(seen,))
    mnist.store.create(contract.job_key("forest", 1), msgspec.json.encode(job))
    assert "is mounted by forest/1" in mnist.swatch("data", "delete", "mnist/1", "-y", code=2)
    mnist.store.create(contract.final_key("forest", 1), msgspec.json.encode(Final(state="success", ended=1.0)))
    mnist.swatch("data", "delete", "mnist/1", "-y")


def test_g11_floydhubs_own_files_are_read(box: Box) -> None:
    (box.folder / ".floyddata").write_text(json.dumps({"name": "old", "namespace": "bob", "family_id": "x"}))
    (box.folder / ".floydignore").write_text("*.tmp\n")
    put(box, a="1", **{"b.tmp": "2"})
    assert box.json("data", "upload")["name"] == "bob/datasets/old/1"
    assert box.swatch("data", "listfiles", "bob/old") == "a\n"


@pytest.mark.slow
def test_all_of_it_on_s3(tmp_path: Path) -> None:
    with account(tmp_path) as box:
        box.swatch("data", "init", "mnist")
        put(box, a="1", sub__b="22")
        box.swatch("data", "upload")
        put(box, a="3")
        assert box.json("data", "upload")["copied"] == 1
        box.swatch("data", "clone", "mnist/1", "-p", "out", "--only", "a")
        assert (box.folder / "out" / "a").read_text() == "1"
        box.swatch("data", "delete", "mnist/1", "-y")
        assert [one["name"] for one in box.json("data", "status")["data"]] == ["alice/datasets/mnist/2"]


# VGG-19


SMALL = vgg.random_weights()
OFFICIAL = "/keras/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file like the one that Keras publishes."""
    file = tmp_path_factory.mktemp("official") / "w.h5"
    vgg.write_keras_2(file, SMALL)
    return file.read_bytes()


def fetch(web: Web, data: bytes, *words: str) -> list[str]:
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return ["data", "fetch", "vgg19", "--url", web.url + OFFICIAL, "--md5", md5, *words]


def test_the_address_and_digest_are_those_of_keras() -> None:
    import importlib.util

    found = importlib.util.find_spec("keras")
    assert found is not None and found.submodule_search_locations
    text = Path(next(iter(found.submodule_search_locations)), "src", "applications", "vgg19.py").read_text()
    assert (
        weights.MD5 in text and "".join(re.findall(r'"(.*)"', text.split("WEIGHTS_PATH_NO_TOP")[1])[:3]) == weights.URL
    )


def test_fetch_vgg19_makes_the_dataset_and_a_second_one_does_nothing(box: Box, official: bytes) -> None:
    with Web({OFFICIAL: official}) as web:
        said = box.swatch(*fetch(web, official, "--as", "wxswxs/vgg-weights"))
        assert "wxswxs/datasets/vgg-weights/1: ready" in said
        assert "--data wxswxs/vgg-weights/1:vgg_weights" in said
        sent = web.sent
        assert sent == len(official)
        assert "there already" in box.swatch(*fetch(web, official, "--as", "wxswxs/vgg-weights"))
        assert web.sent == sent and len(web.ranges) == 1
    folder = box.home / "store" / "datasets" / "wxswxs" / "vgg-weights" / "1" / "files"
    found = engine.find(folder)
    assert found == folder / OFFICIAL.rpartition("/")[2] and found.read_bytes() == official
    assert not list((box.home / "cache" / "fetch" / "vgg19").glob("*.h5")), "it is kept once"


def test_fetch_vgg19_goes_on_where_it_was_cut(box: Box, official: bytes) -> None:
    with Web({OFFICIAL: official}) as web:
        web.cut, web.cuts = len(official) // 2, 1
        box.swatch(*fetch(web, official))
        assert web.ranges == ["", f"bytes={len(official) // 2}-"] and web.sent == len(official)
    assert box.json("data", "status")["data"][0]["name"] == "alice/datasets/vgg-weights/1"


def test_fetch_vgg19_refuses_what_was_not_published(box: Box, official: bytes) -> None:
    with Web({OFFICIAL: official[:-1] + b"X"}) as web:
        assert "is not what was published" in box.swatch(*fetch(web, official), code=1)
        web.files[OFFICIAL] = official
        box.swatch(*fetch(web, official))


def test_without_a_network_it_says_which_file_to_get(box: Box) -> None:
    said = box.swatch("data", "fetch", "vgg19", "--url", f"http://127.0.0.1:1{OFFICIAL}", code=1)
    assert f"get http://127.0.0.1:1{OFFICIAL} on another computer" in said
    assert "swatch data fetch vgg19 --from vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5" in said


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("vgg19_notop.h5", vgg.write_keras_2),
        ("new.weights.h5", vgg.write_keras_3),
        ("gatys_valid.h5", vgg.write_whole_model),
        ("vgg19.npz", vgg.write_npz),
        ("vgg19.safetensors", vgg.write_safetensors),
        ("torch.safetensors", vgg.write_torchvision),
    ],
)
def test_fetch_vgg19_takes_a_file_that_one_has(box: Box, name: str, write: Callable[[Path, vgg.Kernels], None]) -> None:
    write(box.folder / name, SMALL)
    box.swatch("data", "fetch", "vgg19", "--from", name)
    folder = box.home / "store" / "datasets" / "alice" / "vgg-weights" / "1" / "files"
    assert engine.find(folder) == folder / name
    assert "there already" in box.swatch("data", "fetch", "vgg19", "--from", name)


def test_a_file_is_looked_at_layer_by_layer(box: Box) -> None:
    vgg.write_npz(box.folder / "shallow.npz", vgg.random_weights(deepest="conv2_2"))
    broken = {**SMALL, "conv3_1": (SMALL["conv3_1"][0] * float("nan"), SMALL["conv3_1"][1])}
    vgg.write_npz(box.folder / "nan.npz", broken)
    (box.folder / "text.h5").write_text("no weights")
    (box.folder / "w.pkl").write_text("no weights")
    for name, said in (
        ("shallow.npz", "lacks the kernel of conv3_1"),
        ("nan.npz", "not finite"),
        ("text.h5", "neither HDF5"),
        ("w.pkl", "is none of .h5"),
        ("missing.h5", "No such file"),
    ):
        assert said in box.swatch("data", "fetch", "vgg19", "--from", name, code=2)
    assert box.json("data", "status")["data"] == []


def test_weights_are_looked_at_to_the_deepest_layer_that_is_there(tmp_path: Path) -> None:
    vgg.write_npz(tmp_path / "w.npz", SMALL)
    found = weights.look(tmp_path / "w.npz")
    assert found.layers == tuple(SMALL) and "npz" in found.layout


@pytest.mark.slow
def test_textures_are_made_with_weights_that_were_fetched_once(box: Box, official: bytes) -> None:
    from PIL import Image

    with Web({OFFICIAL: official}) as web:
        box.swatch(*fetch(web, official))
    Image.effect_noise((64, 64), 80).convert("RGB").save(box.folder / "bark.png")
    manifest = """
name: try
data: [vgg-weights:vgg_weights]
defaults: {width: 64, height: 64, iterations: 2, octaves: 1, method: snelgrove}
textures: [source: bark.png]
"""
    box.swatch("submit", box.manifest(manifest), "--watch")
    report = (box.folder / "outputs" / "try" / "bark" / "report.json").read_text()
    assert hashlib.sha256(official).hexdigest() in report
