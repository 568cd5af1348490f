"""Jobs in containers, with a real engine: what they see, how they end, and what becomes of them when things die."""

from __future__ import annotations

import fcntl
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from orchestrator import contract, decoder
from orchestrator.backends import runner
from orchestrator.backends.local import Entry, Layout, host_name
from orchestrator.cargo.snapshot import of_folder
from orchestrator.job import Job
from orchestrator.store import Store
from orchestrator.store.s3 import S3Store
from tests.cloud import Cloud
from tests.conftest import Box
from tests.daemon import BARE, BASE, Daemon
from tests.terminal import Terminal
from tests.test_jobs import Stream, indent, state
from tests.test_packages import wheel

GATE = "/.swatch/store/gate"
"""A named pipe in the store, which the container sees."""
LAUNCH = """
import sys
from orchestrator import facts, settings
from orchestrator.backends import open_backend
from orchestrator.store import open_store
store = open_store(sys.argv[1])
open_backend("docker", store, settings.load(sys.argv[1])).launch([facts.read_job(store, "p", int(sys.argv[2]))])
"""


class Yard(Box):
    """A computer with an engine, whose jobs run in containers."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        super().__init__(folder)
        self.environment.update({name: environment[name] for name in ("DOCKER_HOST", "SWATCH_DOCKER")})
        self.environment["SWATCH_BACKEND"] = "docker"
        self.home.mkdir()
        (self.home / "config.yaml").write_text(f"docker: {{base: '{BASE}', network: host}}\n")

    def write(self, command: str, name: str = "try", more: str = "") -> str:
        """A manifest of a command in a container."""
        text = f"name: {name}\nbackend: docker\n{more}\ncommand: |\n{indent(command)}\n"
        return self.manifest(text, f"{name}.yaml")

    def gate(self) -> Path:
        path = self.home / "store" / "gate"
        path.parent.mkdir(exist_ok=True)
        os.mkfifo(path)
        return path

    def record(self, command: str, image: str, store: Store, number: int, **more: Any) -> str:
        """A job in an image, with its record in the store; its name."""
        cargo = of_folder(self.folder)
        cargo.carry(store)
        said = {"backend": "docker", "image": image, "host": host_name(self.home), **more}
        made = Job(project="p", number=number, user="alice", created=1.0, command=command, code=cargo.digest, **said)
        assert store.create(contract.job_key("p", number), msgspec.json.encode(made))
        return made.short

    def ran(self, command: str, image: str, store: Store | None = None, number: int = 1, **more: Any) -> dict[str, Any]:
        """How a job in an image has ended."""
        where = store or self.store
        name = self.record(command, image, where, number, **more)
        words = [sys.executable, "-c", LAUNCH, where.url, str(number)]
        subprocess.run(words, env=self.environment, cwd=self.folder, check=True)
        self.start("logs", name, "-f", "--store", where.url).communicate(timeout=300)
        final: dict[str, Any] = json.loads(where.read(contract.final_key("p", number)))
        return final

    def rest(self) -> None:
        """Wait until the queue has come to rest: a job has ended before its container is removed."""
        for slot in sorted((self.home / "local" / "slots").iterdir()):
            with open(slot, "rb") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX)

    def container(self, project: str) -> str:
        label = Layout(self.home).label(Entry(self.store.url, project, 1))
        return f"swatch-{label}"


@pytest.fixture
def yard(tmp_path: Path, daemon: Daemon) -> Yard:
    return Yard(tmp_path, daemon.environment)


def containers(daemon: Daemon) -> list[str]:
    return daemon.docker.ask("ps", "--all", "--format", "{{.Names}}", doing="docker ps").split()


def tag(daemon: Daemon, name: str, files: Mapping[str, tuple[int, bytes]], platform: str = "linux/amd64") -> str:
    """An image with these files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, (mode, data) in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(data), mode
            archive.addfile(entry, io.BytesIO(data))
    words = ["import", "--platform", platform, "-", name]
    daemon.docker.ask(*words, doing=f"importing {name}", input=packed.getvalue())
    return name


SEEN = """
pwd; echo "$HOME $SWATCH_OUTPUT_DIR $SWATCH_CODE_DIR $SWATCH_DATA_DIR $COLOUR"
cat /vgg_weights/w.txt /floyd/input/vgg_weights/w.txt
for path in /vgg_weights /floyd/input/vgg_weights; do
  touch $path/new || rm -f $path/w.txt || chmod 777 $path || echo "cannot write"
done
cat /.swatch/store/datasets/alice/*/1/files/w.txt > /dev/null && rm -f /.swatch/store/datasets/alice/*/1/files/w.txt || echo kept
echo "token $TOKEN"
echo '{"metric": "loss", "value": 0.5, "step": 1}'
python3 -c 'import greeting; open("/output/made.txt", "w").write("made")'
echo beside > beside.txt
for i in 1 2 3; do (true &); done; sleep 1; cat /proc/[0-9]*/stat | grep -c ') Z' || echo "nobody lies about"
tr '\\0' ' ' < /proc/1/cmdline | head -c 7
"""


def test_a_job_sees_what_it_sees_anywhere_and_its_outputs_come_home(yard: Yard, daemon: Daemon) -> None:
    (yard.folder / "weights").mkdir()
    (yard.folder / "weights" / "w.txt").write_text("weights\n")
    yard.environment["TOKEN"] = "s3cret-value"  # noqa: S105
    wheel(yard.folder)
    (yard.folder / "requirements.txt").write_text("./greeting-1.0-py3-none-any.whl\n")
    yard.swatch("init", "try")
    words = ["--data", "./weights:vgg_weights", "--secret", "TOKEN", "--env-var", "COLOUR=blue"]
    out = yard.swatch("run", *words, "-f", SEEN)
    assert "s3cret" not in out and "token ***" in out
    assert "/floyd/home\n" in out
    assert "/.swatch/work/home /output /floyd/home /floyd/input blue" in out
    assert out.count("weights\n") >= 2 and out.count("cannot write") == 2
    assert "nobody lies about" in out and "python3" in out
    (made,) = yard.folder.glob("outputs/try/*/made.txt")
    assert made.read_text() == "made" and made.with_name("beside.txt").read_text() == "beside\n"
    job = yard.json("info", "try/1")
    assert job["final"]["metrics"] == {"loss": 0.5}
    assert not any((yard.home / "local" / "secrets").iterdir())
    yard.rest()
    assert yard.container("try") not in containers(daemon), "nothing is left"
    assert not Layout(yard.home).work(Entry(yard.store.url, "try", 1)).exists()


def test_stop_reaches_the_command_and_a_deaf_one_is_killed(yard: Yard) -> None:
    yard.environment["SWATCH_STOP_GRACE"] = "2"
    yard.environment["SWATCH_SLOTS"] = "2"
    heard = "trap 'echo saved > /output/state; exit 0' TERM; echo ready; while :; do sleep 0.1; done"
    deaf = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    streams = []
    for name, command in (("heard", heard), ("deaf", deaf)):
        yard.swatch("submit", yard.write(command, name))
        streams.append(Stream(yard, f"{name}/1"))
        streams[-1].text("ready")
    yard.swatch("stop", "heard/1")
    yard.swatch("stop", "deaf/1")
    for stream in streams:
        stream.end()
    assert state(yard, "heard/1") == state(yard, "deaf/1") == "shutdown"
    assert yard.store.read(contract.output_prefix("heard", 1) + "state") == b"saved\n"
    assert yard.json("info", "deaf/1")["final"]["exit_code"] == -signal.SIGKILL


def test_its_time_is_bounded(yard: Yard) -> None:
    yard.swatch("submit", yard.write("while :; do sleep 0.1; done", more="max_runtime: 1s"), "--watch", code=1)
    assert state(yard, "try/1") == "timeout"


RESUMABLE = f"""
if test -f "$SWATCH_CHECKPOINT_DIR/half"; then
  echo resumed > /output/how.txt
else
  echo first > /output/early.txt
  touch "$SWATCH_CHECKPOINT_DIR/half"
  echo ready
  cat {GATE}
fi
"""


@pytest.mark.parametrize("how", ["docker kill", "kill -9"])
def test_a_killed_container_is_a_lost_job_that_resumes(yard: Yard, daemon: Daemon, how: str) -> None:
    yard.gate()
    manifest = yard.write(RESUMABLE)
    yard.swatch("submit", manifest)
    stream = Stream(yard, "try/1")
    stream.text("ready")
    name = yard.container("try")
    if how == "docker kill":
        daemon.docker.ask("kill", name, doing=how)
    else:
        os.kill(int(daemon.docker.ask("inspect", "-f", "{{.State.Pid}}", name, doing="docker inspect")), signal.SIGKILL)
    assert stream.end() == 1
    (job,) = yard.json("status", "try/1")["jobs"]
    assert (job["state"], job["lost"]) == ("failed", True)
    assert "killed by SIGKILL" in job["reason"]
    assert "Resumed try/1" in yard.swatch("submit", manifest, "--watch")
    (job,) = yard.json("status", "try")["jobs"]
    assert (job["state"], job["attempts"]) == ("success", 2)
    home = yard.folder / "outputs/try/try"
    assert (home / "how.txt").read_text() == "resumed\n" and (home / "early.txt").read_text() == "first\n"
    yard.rest()
    assert name not in containers(daemon)


def waiting(yard: Yard, name: str) -> int:
    """The process that waits for a container's end."""
    wanted = ["wait", name]
    for folder in list(Path("/proc").glob("[0-9]*")):
        try:
            words = (folder / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if words[1:3] == wanted:
            return int(folder.name)
    raise AssertionError(f"nobody waits for {name}")


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_killed_client_is_replaced_and_the_slot_stays_taken(yard: Yard, daemon: Daemon) -> None:
    gate = yard.gate()
    yard.swatch("submit", yard.write(f"echo ready; cat {GATE}; echo done"))
    stream = Stream(yard, "try/1")
    stream.text("ready")
    # The queue is one: a job that is no container waits for its turn as well.
    yard.swatch("submit", yard.manifest("name: other\nbackend: local\ncommand: 'true'\n", "other.yaml"))
    os.kill(waiting(yard, yard.container("try")), signal.SIGKILL)
    assert state(yard, "try/1") == "running"
    assert state(yard, "other/1") == "queued"
    gate.write_text("")
    stream.text("done")
    assert stream.end() == 0
    yard.swatch("watch", "other")
    yard.rest()
    assert yard.container("try") not in containers(daemon)


@pytest.mark.parametrize("client", [True, False], ids=["with its client", "alone"])
def test_a_container_that_outlives_its_runner_goes_on_as_the_jobs_one_agent(
    yard: Yard, daemon: Daemon, client: bool
) -> None:
    gate = yard.gate()
    manifest = yard.write(f"echo ready; cat {GATE} > /output/told.txt")
    yard.swatch("submit", manifest)
    stream = Stream(yard, "try/1")
    stream.text("ready")
    name = yard.container("try")
    waits = waiting(yard, name)
    os.kill(parent(waits), signal.SIGKILL)
    if client:
        os.kill(waits, signal.SIGKILL)
    assert state(yard, "try/1") == "running"
    assert "Nothing to start" in yard.swatch("submit", manifest), "what runs is adopted"
    assert containers(daemon).count(name) == 1
    gate.write_text("on and on")
    assert stream.end() == 0
    yard.swatch("watch")
    assert (yard.folder / "outputs/try/try/told.txt").read_text() == "on and on"
    while daemon.docker.ask("ps", "--quiet", "--filter", f"name={name}", doing="docker ps"):
        daemon.docker.ask("wait", name, doing="docker wait")
    yard.swatch("status", "try")
    assert name not in containers(daemon), "whoever looks removes what is left"
    assert not Layout(yard.home).work(Entry(yard.store.url, "try", 1)).exists()


def test_what_is_left_of_an_attempt_is_removed_before_the_next(yard: Yard, daemon: Daemon) -> None:
    """As when all of Swatch was killed, and then the container: its name is taken."""
    name = yard.container("p")
    daemon.docker.ask("create", "--name", name, "--network", "none", BARE, "/bin/sh", doing="docker create")
    assert yard.ran("echo hello > /output/x", BASE)["state"] == "success"
    yard.rest()
    assert name not in containers(daemon)


def test_an_image_of_ones_own_needs_a_python_and_may_have_what_it_likes_in_our_places(
    yard: Yard, daemon: Daemon
) -> None:
    (yard.folder / "Dockerfile").write_text(
        f"FROM {BASE}\nRUN mkdir -p /output /floyd/home && echo theirs > /output/theirs\n"
        'ENV THEIRS=1\nUSER nobody\nWORKDIR /tmp\nENTRYPOINT ["/bin/false"]\n'
    )
    yard.swatch("init", "p")
    command = "test ! -e /output/theirs && echo $THEIRS > /output/x; pwd > /output/where"
    yard.swatch("run", "-f", "--image", "./Dockerfile", command)
    assert yard.json("info", "p/1")["final"]["files"] == 2
    assert yard.store.read(contract.output_prefix("p", 1) + "x") == b"1\n"
    assert yard.store.read(contract.output_prefix("p", 1) + "where") == b"/floyd/home\n"
    assert yard.json("info", "p/1")["job"]["image"].startswith("swatch:")


def test_it_runs_as_its_person(yard: Yard, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose numbers are of no user in the image. (The tests' person is root, and lends its folders to another one.)"""
    for name, value in yard.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "getuid", lambda: 1234)
    monkeypatch.setattr(os, "getgid", lambda: 1235)
    mask = os.umask(0)
    try:
        yard.record("id; touch /x || touch ~/x && echo $(id -u):$(id -g) > /output/who", BASE, yard.store, 1)
        layout = Layout(yard.home)
        layout.make()
        entry = Entry(yard.store.url, "p", 1)
        for name in ("code", "home", "input", "mounts", "output"):
            (layout.work(entry) / name).mkdir(parents=True)
        for path in yard.home.rglob("*"):
            os.chown(path, 1234, 1235)
        runner.run_agent(layout, entry, [])
    finally:
        os.umask(mask)
    assert yard.store.read(contract.output_prefix("p", 1) + "who") == b"1234:1235\n"
    made = yard.store.path(contract.output_prefix("p", 1) + "who")
    assert (made.stat().st_uid, made.stat().st_gid) == (1234, 1235)


# /bin/sh as a program for another kind of processor: an ELF header that says AArch64.
FOREIGN = b"\x7fELF\x02\x01\x01" + bytes(9) + (2).to_bytes(2, "little") + (183).to_bytes(2, "little") + bytes(44)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (BARE, "has no Python 3.8 or later, which Swatch's agent runs on. Add it to the image"),
        ("swatch-test/empty:1", "The image has no Python 3.8 or later"),
        ("swatch-test/foreign:1", "The image is for another kind of processor"),
        ("swatch:000000000000000000000000", "There is no such image"),
    ],
)
def test_an_image_that_cannot_start_the_agent_ends_the_job_in_a_line(
    yard: Yard, daemon: Daemon, name: str, said: str
) -> None:
    tag(daemon, "swatch-test/empty:1", {"nothing": (0o644, b"")})
    tag(daemon, "swatch-test/foreign:1", {"bin/sh": (0o755, FOREIGN)}, "linux/arm64")
    final = yard.ran("true", name)
    assert final["state"] == "failed"
    assert said in final["reason"] and name in final["reason"]
    yard.rest()
    assert yard.container("p") not in containers(daemon)
    assert (final["attempts"], yard.json("status", "p")["jobs"][0]["lost"]) == (0, False)
    assert f"[failed] {final['reason']}" in yard.swatch("logs", "-f", "p", code=1)


def test_a_store_on_s3_is_reached_with_the_boto3_that_an_image_has_or_with_ours(
    yard: Yard, daemon: Daemon, cloud: Cloud, bucket: str
) -> None:
    store = S3Store(f"s3://{bucket}/studio")
    yard.environment.update({**cloud.environment(), "SWATCH_STORE": store.url})
    (yard.folder / "points").mkdir()
    (yard.folder / "points" / "p.txt").write_text("points\n")
    yard.swatch("init", "p")
    command = "cat /points/p.txt > /output/x; touch /points/new || echo no >> /output/x"
    yard.swatch("run", "-f", "--data", "./points:points", command)
    first = decoder.from_json(store.read(contract.job_key("p", 1)), Job)
    assert store.read(contract.output_prefix("p", 1) + "x") == b"points\nno\n"
    assert not [one for one in store.scan("agent/") if "boto3" in one.key], "the image of Swatch has its own"
    final = yard.ran(
        f"{command}; python3 -c 'import botocore' || echo none >> /output/x", BASE, store, 2, data=first.data
    )
    assert (final["state"], final["reason"]) == ("success", "")
    assert store.read(contract.output_prefix("p", 2) + "x") == b"points\nno\nnone\n"


def test_a_shell_opens_in_the_container(yard: Yard) -> None:
    gate = yard.gate()
    yard.environment["TOKEN"] = "s3cret"  # noqa: S105
    yard.swatch("init", "try")
    yard.swatch(
        "run", "--env-var", "COLOUR=blue", "--secret", "TOKEN", f"echo made > /output/m; echo ready; cat {GATE}"
    )
    stream = Stream(yard, "try/1")
    stream.text("ready")
    with Terminal([sys.executable, "-m", "orchestrator", "run", "--shell", "1"], yard.environment, yard.folder) as one:
        one.write('echo "in $(pwd), $COLOUR, [$TOKEN], $SWATCH_JOB; $(cat /output/m)"; exit 7')
        one.until("in /floyd/home, blue, [], alice/projects/try/1; made")
        assert one.end() == 7
    gate.write_text("")
    assert stream.end() == 0
