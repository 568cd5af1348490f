"""The command line: help, exit codes, JSON, names, and errors that are sentences."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import click
import msgspec
import pytest
from click.testing import CliRunner

from orchestrator import settings
from orchestrator.cli import VERBS, Verbs, swatch
from orchestrator.errors import NotFound, UsageError
from orchestrator.folder import Here
from orchestrator.store.local import LocalStore
from orchestrator.target import resolve
from tests.conftest import REPOSITORY, Box

READERS = ("plan", "status", "info", "logs", "output", "sync", "watch")


@pytest.fixture
def done(box: Box) -> Box:
    """A box where one small job has ended well."""
    box.swatch("submit", box.manifest("name: try\ncommand: echo hello; echo made > /output/made.txt\n"), "--watch")
    return box


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_the_help_that_the_list_promises(verb: str) -> None:
    command = importlib.import_module(f"orchestrator.cli.{verb}").command
    assert command.name == verb
    assert command.short_help == VERBS[verb]
    assert command.help


def test_help_names_every_verb(box: Box) -> None:
    said = box.swatch("--help")
    assert all(verb in said for verb in VERBS)
    assert "--store" in box.swatch("submit", "--help")


@pytest.mark.parametrize("verb", READERS)
def test_what_reads_speaks_json(done: Box, verb: str) -> None:
    name = "try.yaml" if verb == "plan" else "try/1"
    out = done.swatch(verb, name, "--json")
    if verb == "logs":
        events = [json.loads(line) for line in out.splitlines()]
        assert "hello" in [event.get("text") for event in events]
        return
    record = json.loads(out)
    assert (record["schema"], record["command"]) == (1, verb)


def test_json_says_what_a_program_needs(done: Box) -> None:
    (job,) = done.json("status")["jobs"]
    assert (job["name"], job["state"], job["tasks"]) == ("alice/projects/try/1", "success", 1)
    assert done.json("info")["task_states"] == {"try": "success"}
    (file,) = done.json("output", "try")["files"]
    assert (file["path"], file["size"]) == ("made.txt", 5)
    assert done.json("plan", "try.yaml")["counts"] == {"cached": 1}
    (task,) = done.json("watch", "try")["tasks"]
    assert (task["state"], task["files"]) == ("success", ["try/made.txt"])


def test_every_verb_works_from_the_store_alone(done: Box) -> None:
    """No manifest, no outputs, another folder: as from another terminal, another day."""
    (done.folder / "try.yaml").unlink()
    done.folder = done.home.parent / "elsewhere"
    done.folder.mkdir()
    for verb in ("status", "info", "logs", "output", "sync", "watch"):
        done.swatch(verb)
    home = done.home.parent / "work" / "outputs" / "try" / "try" / "made.txt"
    assert home.read_text() == "made\n", "outputs come home to where the job was submitted"
    home.unlink()
    assert "1 file brought" in done.swatch("sync")
    assert home.read_text() == "made\n"
    done.swatch("sync", "try", "--into", "here")
    assert (done.folder / "here" / "try" / "made.txt").read_text() == "made\n"


def test_a_bad_manifest_is_lines_exit_code_2_and_nothing_submitted(box: Box) -> None:
    manifest = box.manifest(
        "name: ../forest\nmachin: cpu\ntextures:\n  - source: nowhere.png\n    width: -4\n  - source: nowhere.png\n"
    )
    for verb in ("plan", "submit"):
        said = box.swatch(verb, manifest, code=2).splitlines()
        places = [line.split(": ")[0] for line in said]
        assert places == ["try.yaml:1:1", "try.yaml:2:1", "try.yaml:4:5", "try.yaml:5:5", "try.yaml:6:5"], said
        assert "textures[0].width: expected an integer of at least 32, got -4" in said[3]
    assert not (box.home / "store").exists()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["submit", "none.yaml"], 2, "no such manifest"),
        (["submit", "."], 2, "is a folder"),
        (["status", "forest"], 2, "No project forest"),
        (["status", "tri"], 2, "Did you mean try?"),
        (["info", "try/9"], 2, "No job try/9"),
        (["info", "../x"], 2, "Not the name"),
        (["stop", "try/1"], 1, "ended already"),
        (["submitt"], 2, "Did you mean `swatch submit`?"),
        (["submit", "try.yaml", "--slots", "0x"], 2, "slots"),
        (["submit", "try.yaml", "--backend", "moon"], 2, "'moon'"),
        (["submit", "try.yaml", "--backend", "moon", "--dry-run"], 2, "'moon'"),
        (["plan", "try.yaml", "--backend", "moon"], 2, "'moon'"),
        (["submit", "try.yaml", "--slots", "0"], 2, "from 1 to 64"),
        (["status", "--store", "ftp://x"], 2, "No store speaks ftp://"),
    ],
)
def test_errors_are_sentences_with_stable_exit_codes(done: Box, words: list[str], code: int, says: str) -> None:
    assert says in done.swatch(*words, code=code)


def leaves(group: Verbs, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command, str]]:
    """Every verb: its words, itself, and what is typed as an example of it."""
    for verb in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), verb)
        if isinstance(command, Verbs):
            yield from leaves(command, *path, verb)
        elif command is not None:
            yield (*path, verb), command, group.examples.get(verb, "")


def test_a_verb_without_what_it_needs_says_what_to_type() -> None:
    wanting = []
    for words, command, example in leaves(swatch):
        if any(isinstance(one, click.Argument) and one.required for one in command.params):
            wanting.append(" ".join(words))
            done = CliRunner().invoke(swatch, words)
            assert done.exit_code == 2
            assert f"Type, say:  swatch {' '.join(words)} " in done.output, "what it shows is an example of that verb"
            command.make_context(words[-1], example.partition("   (")[0].split()[1 + len(words) :])
    assert {"data listfiles", "data clone", "submit", "delete"} <= set(wanting)


def test_version_says_what_runs_and_where() -> None:
    said = CliRunner().invoke(swatch, ["version"]).output
    about = json.loads(CliRunner().invoke(swatch, ["version", "--json"]).output)
    assert about["name"] == "swatch" and about["version"] in CliRunner().invoke(swatch, ["--version"]).output
    assert about["executable"] == sys.executable and sys.version.startswith(about["python"])
    assert (REPOSITORY / "orchestrator").samefile(os.path.join(about["place"], "orchestrator"))
    assert all(str(about[key]) in said for key in ("name", "version", "place", "python", "executable"))


@pytest.mark.parametrize(("verb", "instead"), [("logout", "aws sso logout"), ("upgrade", "swatch version")])
def test_verbs_of_floydhub_that_do_nothing_here_say_what_does(verb: str, instead: str) -> None:
    done = CliRunner().invoke(swatch, [verb])
    assert done.exit_code == 2 and "No such command" in done.output and done.output.rstrip().endswith(instead)


def test_an_empty_store_says_how_to_begin(box: Box) -> None:
    assert "swatch submit" in box.swatch("status")
    assert "swatch submit" in box.swatch("logs", code=2)
    assert not (box.home / "store").exists(), "looking makes nothing"


def test_a_damaged_record_is_a_sentence(done: Box) -> None:
    done.store.write("projects/try/jobs/1/final.json", b'{"schema": 1, "state": 7}')
    assert "damaged" in done.swatch("status", code=1)
    job = done.store.read("projects/try/jobs/1/job.json").replace(b'"try"', b'"other"')
    done.store.write("projects/other/jobs/1/job.json", job)
    said = done.swatch("status", code=1)
    assert "damaged" in said
    assert "alice/projects/other/1" in said, "one bad record hides no other job"
    done.store.write("projects/try/jobs/1/final.json", b'{"schema": 99}')
    assert "later version" in done.swatch("status", code=1)


def test_a_plan_and_a_dry_run_change_nothing(box: Box) -> None:
    manifest = box.manifest("name: try\ncommand: echo {n}\nmatrix:\n  n: [1, 2]\n")
    assert "2 new (2 jobs)" in box.swatch("plan", manifest)
    assert "2 new (2 jobs)" in box.swatch("submit", manifest, "--dry-run")
    assert not (box.home / "store").exists()
    assert box.json("submit", manifest, "--dry-run")["counts"] == {"new": 2}


def test_ctrl_c_detaches_and_says_how_to_go_on(box: Box) -> None:
    pipe = box.pipe("gate")
    manifest = box.manifest(f"name: try\ncommand: echo ready; cat {pipe}\n")
    watch = box.start("submit", manifest, "--watch")
    assert watch.stdout is not None
    for line in watch.stdout:
        if "running" in line:
            break
    watch.send_signal(signal.SIGINT)
    _, err = watch.communicate()
    assert watch.returncode == 130
    assert "swatch watch try" in err
    pipe.write_text("")
    box.swatch("watch", "try")


def test_logs_follow_to_the_end_and_exit_with_the_result(box: Box) -> None:
    box.swatch("submit", box.manifest("name: bad\ncommand: echo '[success] Finished execution'; exit 1\n"))
    assert "[failed]" in box.swatch("logs", "bad", "-f", code=1)


def test_what_a_job_prints_cannot_steer_the_terminal(box: Box) -> None:
    box.swatch("submit", box.manifest("name: try\ncommand: printf '\\033]0;evil\\007\\033[2Jx\\n'\n"), "--watch")
    assert "\x1b" not in box.swatch("logs", "try")


def test_a_reader_that_has_seen_enough_is_no_error(done: Box) -> None:
    command = f"{sys.executable} -m orchestrator info | head -n 1"
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=done.folder,
        env=done.environment,
        capture_output=True,
        check=False,
    )
    assert ended.stderr == b""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(box: Box, shell: str) -> None:
    assert "_SWATCH_COMPLETE" in box.swatch("completion", shell)


def test_a_bare_number_needs_a_single_project(box: Box) -> None:
    store = LocalStore(str(box.home))
    with pytest.raises(UsageError, match="none yet"):
        resolve(store, "1", Here())
    store.write("projects/one/jobs/1/job.json", b"{}")
    assert resolve(store, "1", Here()) == ("one", 1)
    store.write("projects/two/jobs/1/job.json", b"{}")
    with pytest.raises(UsageError, match="one, two"):
        resolve(store, "1", Here())
    with pytest.raises(NotFound):
        resolve(store, "three/1", Here())


def test_a_project_may_be_called_by_digits(box: Box) -> None:
    store = LocalStore(str(box.home))
    store.write("projects/2024/jobs/1/job.json", b"{}")
    store.write("projects/one/jobs/1/job.json", b"{}")
    assert resolve(store, "2024", Here()) == ("2024", None)
    assert resolve(store, "alice/projects/2024", Here()) == ("2024", None)
    assert resolve(store, "2024/1", Here()) == ("2024", 1)
    assert resolve(store, "one/1", Here()) == ("one", 1)


def test_nobody_s_home_is_a_sentence() -> None:
    with pytest.raises(UsageError, match="no home folder"):
        settings.load(environment={"SWATCH_HOME": "~nobody-of-this-name/x"})


def test_any_letters_can_be_said_on_any_terminal(box: Box) -> None:
    box.environment["PYTHONIOENCODING"] = "latin-1"
    box.swatch("submit", box.manifest("name: try\ncommand: echo 'done \u2713'\n"), "--watch")
    assert "done \\u2713" in box.swatch("logs", "try")


def test_settings_flags_over_environment_over_file(box: Box) -> None:
    box.home.mkdir()
    (box.home / "config.yaml").write_text("store: /from/file\nslots: 3\n")
    base = {"SWATCH_HOME": str(box.home), "SWATCH_USER": "Al Ice"}
    assert settings.load(environment=base).store == "/from/file"
    assert settings.load(environment=base).slots == 3
    assert settings.load(environment=base).user == "Al-Ice"
    assert settings.load(environment={**base, "SWATCH_STORE": "/env", "SWATCH_SLOTS": "2"}).slots == 2
    assert settings.load("/flag", 4, environment={**base, "SWATCH_STORE": "/env"}).store == "/flag"
    (box.home / "config.yaml").write_text("stroe: x\n")
    with pytest.raises(UsageError, match="stroe"):
        settings.load(environment=base)


def on_a_terminal(box: Box, *words: str, at: str = "", do: Callable[[], object] = int) -> str:
    """What `swatch WORDS...` draws on a terminal; once it shows `at`, we `do`. It must end well."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", *words],
        cwd=box.folder,
        env=box.environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    drawn, done = "", False
    with contextlib.suppress(OSError):  # Linux says EIO when nobody writes any more
        while more := os.read(ours, 65536):
            drawn += more.decode("utf-8", "replace")
            if at and at in drawn and not done:
                done = True
                do()
    os.close(ours)
    assert process.wait() == 0, drawn
    return drawn


def test_a_terminal_shows_bars_and_what_a_job_prints_is_no_markup(box: Box) -> None:
    line = '{"progress": "try", "step": 1, "steps": 2, "size": "[/b]", "loss": 0.5, "seconds_left": 3}'
    pipe = box.pipe("gate")
    manifest = box.manifest(f"name: try\ncommand: |\n  echo '{line}'; cat {pipe}\n")
    drawn = on_a_terminal(box, "submit", manifest, "--watch", at="50%", do=lambda: pipe.write_text(""))
    assert "[/b]" in drawn
    assert "1 of 1 done" in drawn


def test_status_tells_a_container_from_this_computer_and_what_a_lost_job_needs() -> None:
    from orchestrator.cli.status import after_loss, instance
    from orchestrator.job import Job

    job = Job(project="try", number=1, user="al", created=0.0, command="true", backend="docker")
    assert instance(job) == "cpu (docker)"
    assert instance(msgspec.structs.replace(job, backend="local")) == "cpu"
    assert "submitted again" in after_loss(job)
    assert after_loss(msgspec.structs.replace(job, argv=("run", "true"))).endswith("swatch restart try/1")


def test_a_command_that_does_not_tell_how_far_it_is_has_no_bar(box: Box) -> None:
    manifest = box.manifest("name: try\ncommand: echo made > /output/made.txt\n")
    drawn = on_a_terminal(box, "submit", manifest, "--watch")
    assert "1 of 1 done" in drawn and "%" not in drawn and "\u2501" not in drawn


@pytest.mark.parametrize(("name", "value"), [("TERM", "dumb"), ("COLUMNS", "30")])
def test_a_terminal_without_bars_gets_lines(box: Box, name: str, value: str) -> None:
    box.environment[name] = value
    manifest = box.manifest("name: try\ncommand: echo made > /output/made.txt\n")
    assert "try: success" in on_a_terminal(box, "submit", manifest, "--watch")


def test_the_contact_sheet_shows_all_that_is_at_home(box: Box) -> None:
    from PIL import Image

    from orchestrator.report import write_sheet

    heights = []
    for name in ("bark", "moss", "oak"):
        (box.folder / name).mkdir()
        for file in ("source.png", "texture.png"):
            Image.new("RGB", (64, 64), "green").save(box.folder / name / file)
        sheet = write_sheet(box.folder, "forest", [])
        assert sheet is not None
        with Image.open(sheet) as image:
            heights.append(image.height)
    assert heights == sorted(set(heights)), "a row for each, whatever is looked at"


def test_names_are_cut_in_the_middle() -> None:
    from orchestrator.cli.screen import shortened

    assert shortened("bark", 10) == "bark"
    assert shortened("wide-strip-of-bark-seed1", 13) == "wide-s…-seed1"
