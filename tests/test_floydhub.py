"""FloydHub's workflow, line by line: what its users typed still works, and what hurt them is mended. The tests are
named after the requirements: M for what must be as it was, S for what is better."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cargo import snapshot
from orchestrator.cli.status import FLEXIBLE, GAP, fitted
from orchestrator.journal import File, System, encode
from tests.conftest import Box
from tests.web import Web


@pytest.fixture
def project(box: Box) -> Box:
    """A folder of code that belongs to the project `forest`."""
    box.swatch("init", "forest")
    (box.folder / "train.py").write_text("import sys\nprint('args', sys.argv[1:])\n")
    return box


def lines(box: Box, name: str = "") -> list[str]:
    """What the job printed, without the times."""
    said = box.swatch("logs", *([name] if name else []), "-f", "--json").splitlines()
    events = [json.loads(line) for line in said]
    return [event["text"] for event in events if event["kind"] == "log" and not event.get("note")]


def test_m1_run_prints_what_floydhub_printed(project: Box) -> None:
    said = project.swatch("run", "--cpu", "python3 train.py", "-m", "first")
    (size,) = re.findall(r"^Creating project run\. Total upload size: ([0-9.]+)(?:B|KiB)$", said, re.MULTILINE)
    assert float(size) > 0
    assert re.search(r"^Syncing code \.\.\.\n\[={32}\] ([0-9]+)/\1 - 00:00:0[0-9]$", said, re.MULTILINE)
    assert re.search(r"^JOB NAME *\n─+\nalice/projects/forest/1 *$", said, re.MULTILINE)
    (url,) = re.findall(r"^URL to job: file://(\S+)$", said, re.MULTILINE)
    assert Path(url, "job.json").is_file()
    assert "To view logs enter:\n   swatch logs alice/projects/forest/1\n" in said


@pytest.mark.parametrize(
    "command",
    [
        "echo a  b",
        "echo '\"quoted\" $HOME' \\'",
        "for x in 1 2; do echo {x} ${x} {a,b}; done",
        'printf "%s|" "a b" c\necho second line',
    ],
)
def test_m1_the_command_reaches_the_shell_byte_for_byte(project: Box, command: str) -> None:
    project.swatch("run", command, "--cpu", "-f")
    plain = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True).stdout
    assert lines(project) == plain.splitlines()
    assert project.json("info")["job"]["command"] == command


def test_m1_options_may_follow_the_command(project: Box) -> None:
    project.swatch("run", "--gpu", "python3 train.py", "-m", "after", "--max-runtime", "600", "-f")
    job = project.json("info")["job"]
    assert (job["machine"], job["description"], job["max_runtime"]) == ("gpu", "after", 600)


def test_m1_a_computer_without_a_gpu_says_so_and_runs(project: Box) -> None:
    process = project.start("run", "--gpu", "echo done", "-f")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "done" in out
    if not os.path.exists("/dev/nvidia0"):
        assert "no GPU" in err


def test_m2_init_makes_the_project_itself_and_overwrites_nothing(box: Box) -> None:
    (box.folder / "swatch.yml").write_text("machine: gpu\n")
    assert 'Project "forest" initialized in current directory' in box.swatch("init", "forest")
    assert json.loads((box.folder / ".swatchproject").read_text()) == {"name": "forest", "namespace": None}
    (box.folder / ".swatchignore").write_text("/mine/\n")
    box.swatch("init", "carol/projects/moss")
    assert (box.folder / ".swatchignore").read_text() == "/mine/\n"
    assert (box.folder / "swatch.yml").read_text() == "machine: gpu\n"
    box.swatch("run", "true", "-f")
    assert box.json("status")["jobs"][0]["name"] == "carol/projects/moss/1"


def test_m2_an_old_project_gets_no_second_ignore_file_or_yml(box: Box) -> None:
    for name in (".floydignore", "floyd.yaml"):
        (box.folder / name).write_text("")
    box.swatch("init", "forest")
    assert not (box.folder / ".swatchignore").exists() and not (box.folder / "swatch.yml").exists()


def test_m2_run_without_a_project_says_what_to_type(box: Box) -> None:
    assert "swatch init PROJECT_NAME" in box.swatch("run", "true", code=2)


def test_m3_numbers_are_unique_under_twenty_runs_at_once(project: Box) -> None:
    runs = [project.start("run", "true", "--json") for _ in range(20)]
    names = []
    for run in runs:
        out, err = run.communicate(timeout=300)
        assert run.returncode == 0, err
        names += [job["name"] for job in json.loads(out)["jobs"]]
    assert sorted(names) == sorted(f"alice/projects/forest/{number}" for number in range(1, 21))


@pytest.mark.slow
def test_m3_a_number_is_never_used_again(project: Box) -> None:
    for _ in range(2):
        project.swatch("run", "true", "-f")
    assert "Job alice/projects/forest/2 Deleted" in project.swatch("delete", "2", "-y")
    assert [job["number"] for job in project.json("status")["jobs"]] == [1]
    assert "No job forest/2" in project.swatch("info", "2", code=2)
    project.swatch("run", "true", "-f")
    assert [job["number"] for job in project.json("status")["jobs"]] == [3, 1]
    project.swatch("delete", "1", "3", "-y")
    manifest = project.manifest("name: forest\ncommand: echo again\n")
    project.swatch("submit", manifest, "--watch")
    assert [job["number"] for job in project.json("status")["jobs"]] == [4]


NAMES = ["", "1", "forest", "forest/1", "alice/forest/1", "alice/projects/forest/1", "/forest/1/", "projects/forest/1"]


@pytest.mark.parametrize("verb", ["status", "info", "logs", "output", "sync", "watch"])
def test_m4_each_verb_knows_each_form_of_a_name(project: Box, verb: str) -> None:
    project.swatch("run", 'echo there > "$SWATCH_OUTPUT_DIR/a.txt"', "-f")
    for name in NAMES:
        said = project.json(verb, *([name] if name else [])) if verb != "logs" else project.swatch(verb, name or "1")
        assert said, name


@pytest.mark.slow
def test_m4_verbs_that_act_know_each_form_of_a_name(project: Box, tmp_path: Path) -> None:
    project.swatch("run", "true", "-f")
    for at, name in enumerate(NAMES[1:]):
        project.swatch("clone", name, "-p", str(tmp_path / f"clone{at}"))
        assert (tmp_path / f"clone{at}" / "train.py").is_file()
        assert "cannot be stopped" in project.swatch("stop", name, code=1) if name != "forest" else True
        project.swatch("restart", name, "-f")
    assert len(project.json("status")["jobs"]) == len(NAMES)
    for number, name in enumerate([name.replace("1", "{}") for name in NAMES if "1" in name], 1):
        assert f"forest/{number} Deleted" in project.swatch("delete", name.format(number), "-y")


def test_m7_status_has_floydhubs_columns(project: Box) -> None:
    project.swatch("run", "--gpu", 'echo \'{"metric": "loss", "value": 0.1}\'', "-m", "try one", "-f")
    head, _, row = project.swatch("status").splitlines()[:3]
    assert re.split(r"\s{2,}", head.strip()) == [
        *("JOB NAME", "CREATED", "STATUS", "DURATION(s)", "INSTANCE", "DESCRIPTION", "METRICS"),
    ]
    cells = re.split(r"\s{2,}", row.strip())
    assert (
        cells[0] == "alice/projects/forest/1"
        and cells[2] == "success"
        and cells[4:]
        == [
            *("gpu", "try one", "loss=0.1"),
        ]
    )


def test_m7_info_has_floydhubs_rows(project: Box) -> None:
    project.swatch("run", 'echo \'{"metric": "loss", "value": 0.1}\'', "-m", "try one", "-f")
    rows = dict(re.findall(r"^(\S[^\n]*?) {2,}(.*?) *$", project.swatch("info"), re.MULTILINE))
    assert rows["Job name"] == "alice/projects/forest/1" and rows["Status"] == "success"
    assert rows["Instance"].startswith("cpu") and rows["Description"] == "try one" and rows["Metrics"] == "loss=0.1"
    assert {"Created", "Duration(s)"} <= set(rows)


@pytest.mark.slow
def test_m7_logs_and_output_print_their_addresses(project: Box) -> None:
    project.swatch("run", 'echo x > "$SWATCH_OUTPUT_DIR/a.txt"', "-f")
    for verb, inside in (("logs", "00000001.jsonl"), ("output", "a.txt")):
        url = project.swatch(verb, "-u").strip()
        assert url.startswith("file:///") and Path(url[len("file://") :], inside).is_file()
    assert lines(project) == [] and project.swatch("logs", "-t")


def test_m7_restart_uses_the_stored_code_and_any_other_option(project: Box) -> None:
    project.swatch("run", "python3 train.py one", "-m", "first", "--env-var", "A=1", "-f")
    (project.folder / "train.py").write_text("print('changed')\n")
    said = project.swatch("restart", "1", "-f")
    assert "Restarting job alice/projects/forest/1 ..." in said and lines(project, "2") == ["args ['one']"]
    project.swatch("restart", "1", "python3 train.py two; echo $A$B", "--gpu", "--env-var", "B=2", "-m", "x", "-f")
    assert lines(project, "3") == ["args ['two']", "2"]
    first, second, third = (project.json("info", str(number))["job"] for number in (1, 2, 3))
    assert first["code"] == second["code"] == third["code"] and second["restarted"] == "alice/projects/forest/1"
    assert (second["description"], second["variables"], second["machine"]) == ("first", {"A": "1"}, "cpu")
    assert (third["description"], third["machine"]) == ("x", "gpu")


def test_m7_delete_refuses_what_runs_and_asks_first(project: Box) -> None:
    gate = project.folder.parent / "gate"
    os.mkfifo(gate)
    project.swatch("run", f"read x < {gate}")
    assert "cannot be deleted" in project.swatch("delete", "1", "-y", code=1)
    gate.write_text("go\n")
    project.swatch("logs", "-f")
    asking = subprocess.run(
        [sys.executable, "-m", "orchestrator", "delete", "1"],
        cwd=project.folder,
        env=project.environment,
        input="n\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Delete Job: alice/projects/forest/1? [y/N]" in asking.stdout and asking.returncode == 0
    assert len(project.json("status")["jobs"]) == 1
    assert project.swatch("delete", code=2)
    assert "No job forest/9" in project.swatch("delete", "9", "1", "-y", code=2)
    assert project.json("status")["jobs"] == []


def test_m7_a_deleted_job_leaves_no_result_behind(box: Box) -> None:
    manifest = box.manifest('name: one\ncommand: echo made > "$SWATCH_OUTPUT_DIR/a.txt"\n')
    box.swatch("submit", manifest, "--watch")
    box.swatch("delete", "one/1", "-y")
    assert box.json("plan", manifest)["counts"] == {"new": 1}
    assert not any("output" in entry.key for entry in box.store.scan("projects/one/"))


def test_m14_the_yml_counts_below_the_flags_and_above_the_defaults(project: Box) -> None:
    (project.folder / "swatch.yml").unlink()
    (project.folder / "floyd.yml").write_text(
        "machine: gpu\nenv: tensorflow-1.9\ndescription: all\nmax_runtime: 3600\ncommand: echo whole\n"
        "task:\n  train:\n    command: echo task\n    machine: gpu2\n"
    )
    project.swatch("run", "-f")
    project.swatch("run", "--task", "train", "-m", "flag", "-f")
    first, second = (project.json("info", str(number))["job"] for number in (1, 2))
    assert (first["command"], first["machine"], first["description"]) == ("echo whole", "gpu", "all")
    assert (first["max_runtime"], first["env"]) == (3600, "tensorflow-2.21")
    assert (second["command"], second["machine"], second["description"]) == ("echo task", "gpu2", "flag")


@pytest.mark.parametrize(
    ("text", "words", "says"),
    [
        ("mashine: gpu\n", [], 'floyd.yml:1:1: mashine: unknown key "mashine"; did you mean "machine"?'),
        ("machine: gpux\n", [], 'floyd.yml:1:1: machine: unknown machine "gpux"; did you mean "gpu"?'),
        ("env: tensorflow-2.12\n", [], "floyd.yml:1:1: env: unknown environment"),
        ("task: {train: {comand: x}}\n", [], "task.train.comand: unknown key"),
        ("task: {train: {command: x}}\n", ["--task", "trian"], 'unknown task "trian"; did you mean "train"?'),
        ("mode: jupyter\n", [], "mode: jupyter was FloydHub's"),
        ("input: [{sauce: a, destination: b}]\n", [], 'unknown key "sauce"'),
        ("max_runtime: soon\n", [], "max_runtime: expected a duration"),
        ("", ["--machine", "gpux"], 'unknown machine "gpux"; did you mean "gpu"?'),
        ("", ["--env", "tensorflw-2.21"], 'did you mean "tensorflow-2.21"?'),
        ("", ["--env", "a", "--env", "b"], "more than one environment"),
        ("", ["--max-runtime", "soon"], "expected a duration"),
        ("", ["--env-var", "A"], "expected NAME=value"),
        ("", ["--sweep", "lr=0.1"], "the command has no {lr}"),
        ("", ["--sweep", "seed=1,2,1"], '--sweep seed: "1" stands there twice'),
        ("", ["--data", "nope"], "Data not found for name: nope"),
        ("", ["--data", "nope:a b"], "--data: "),
        ("", ["--data", "./nope:here"], "nope"),
        ("input: [nope/1:here]\n", [], "Data not found for name: nope/1"),
        ("", ["--secret", "NOT_THERE"], "No value for the secret NOT_THERE"),
        ("", ["--backend", "moon"], 'expected "docker", "local" or "sagemaker", got "moon"'),
    ],
)
def test_m14_what_is_wrong_is_one_line(project: Box, text: str, words: list[str], says: str) -> None:
    (project.folder / "swatch.yml").unlink()
    (project.folder / "floyd.yml").write_text(text)
    said = project.swatch("run", "true", *words, code=2)
    assert says in said
    assert project.json("status")["jobs"] == []


def test_m16_nothing_is_needed_but_this_computer(project: Box, tmp_path: Path) -> None:
    # A path with a shell and Python alone: no Docker, no git, no AWS; and every proxy leads nowhere.
    bin = tmp_path / "bin"
    bin.mkdir()
    for program in ("sh", "env"):
        (bin / program).symlink_to(f"/bin/{program}" if os.path.exists(f"/bin/{program}") else f"/usr/bin/{program}")
    project.environment.update(PATH=str(bin), HTTP_PROXY="http://127.0.0.1:1", HTTPS_PROXY="http://127.0.0.1:1")
    project.environment.pop("AWS_PROFILE", None)
    project.swatch("run", "python3 train.py", "-f")
    assert lines(project) == ["args []"]


def test_s1_run_f_and_logs_f_end_with_the_result_whatever_the_log_says(project: Box) -> None:
    lie = "echo '[success] Finished execution'; echo later; exit 3"
    out = project.swatch("run", lie, "-f", code=1)
    assert "later" in out and "[failed]" in out
    assert "later" in project.swatch("logs", "-f", code=1)
    project.swatch("run", "echo '[failed] Task execution failed'", "-f")
    project.swatch("logs", "-f")


def test_s1_outputs_come_home_while_the_log_is_followed(project: Box) -> None:
    out = project.swatch("run", 'echo made > "$SWATCH_OUTPUT_DIR/a.txt"', "-f")
    assert (project.folder / "outputs" / "forest" / "1" / "a.txt").read_text() == "made\n"
    assert "1 file brought to outputs/forest/1" in out
    assert project.swatch("sync") == "All is at home already: outputs/forest/1\n"


def test_json_while_a_log_is_followed_names_the_job_in_each_event(project: Box) -> None:
    said = project.swatch("run", "echo hello", "-f", "--json").splitlines()
    events = [json.loads(line) for line in said]
    assert {event["job"] for event in events} == {"alice/projects/forest/1"}
    assert "hello" in [event.get("text") for event in events]


def test_s5_a_dry_run_shows_all_and_changes_nothing(project: Box) -> None:
    (project.folder / "big.bin").write_bytes(b"x" * 50_000)
    out = project.swatch("run", "--gpu", "python3 train.py", "--dry-run", "-r", "2h")
    for said in ("alice/projects/forest/1", "python3 train.py", "gpu (local)", "free", "48.8KiB  big.bin", "2:00:00"):
        assert said in out
    assert project.json("status")["jobs"] == [] and not list(project.store.scan("code/"))
    record = project.json("run", "true", "--dry-run")
    assert record["jobs"][0]["number"] == 1 and {"path": "big.bin", "size": 50_000} in record["code"]["files"]


def test_s12_the_record_keeps_what_it_takes_to_do_it_again(project: Box, tmp_path: Path) -> None:
    git = ["git", "-C", str(project.folder), "-c", "user.email=a@b", "-c", "user.name=a"]
    (project.folder / "id_rsa").write_text("before\n")
    for words in (["init", "-q"], ["add", "train.py", "id_rsa"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    (project.folder / "train.py").write_text("print('dirty')\n")
    (project.folder / "id_rsa").write_text("hidden\n")
    (project.folder / "swatch.yml").write_text("description: from the file\n")
    project.swatch("run", "python3 train.py", "--cpu", "-f")
    job = project.json("info")["job"]
    assert job["git"]["commit"] == commit and job["git"]["dirty"]
    difference = project.store.read(f"code/{job['git']['diff']}.diff")
    assert b"+print('dirty')" in difference and b"hidden" not in difference
    assert job["argv"] == ["run", "python3 train.py", "--cpu", "-f"]
    assert job["config"]["description"] == "from the file" and job["config"]["machine"] == ["cpu"]
    project.swatch("clone", "1", "-p", str(tmp_path / "again"))
    assert (tmp_path / "again" / "train.py").read_text() == "print('dirty')\n"
    assert snapshot.of_folder(tmp_path / "again").digest == job["code"]
    said = project.swatch("info")
    assert commit[:12] in said and "with changes" in said


def test_what_was_cloned_or_exported_into_the_folder_is_no_code_of_it(project: Box) -> None:
    project.swatch("run", "true", "-f")
    project.swatch("clone", "1")
    project.swatch("export")
    assert (project.folder / "forest-1" / "train.py").is_file() and (project.folder / "forest-export").is_dir()
    project.swatch("run", "true", "-f")
    assert len({project.json("info", number)["job"]["code"] for number in ("1", "2")}) == 1


def test_s13_the_project_is_found_from_below(project: Box) -> None:
    below = project.folder / "src" / "deep"
    below.mkdir(parents=True)
    project.folder = below
    project.swatch("run", "ls", "-f")
    assert "train.py" in lines(project) and project.json("status")["jobs"][0]["project"] == "forest"


def test_s15_behind_two_dashes_words_reach_the_program_as_they_are(project: Box) -> None:
    words = ["a b", "$HOME", "*", "it's", '"x"', "--lr", "0.1"]
    project.swatch("run", "-f", "--", "python3", "train.py", *words)
    assert lines(project) == [f"args {words!r}"]


def test_g3_a_sweep_is_a_job_for_each_value_on_one_snapshot(project: Box) -> None:
    score = 'import sys; print(\'{"metric": "score", "value": \' + sys.argv[1] + \'}\')'
    (project.folder / "train.py").write_text(score)
    out = project.swatch("run", "python3 train.py {x} {y}", "--sweep", "x=1,2", "--sweep", "y=a b,c", "-f")
    jobs = project.json("status")["jobs"]
    assert len(jobs) == 4 and len({project.json("info", str(one["number"]))["job"]["code"] for one in jobs}) == 1
    assert sorted(one["description"] for one in jobs) == ["x=1, y=a b", "x=1, y=c", "x=2, y=a b", "x=2, y=c"]
    head = next(line for line in out.splitlines() if "STATUS" in line)
    assert re.split(r"\s{2,}", head.strip()) == ["JOB NAME", "X", "Y", "STATUS", "DURATION(s)", "score"]
    rows = [
        re.split(r"\s{2,}", line.strip()) for line in out.splitlines() if line.startswith("alice/") and "suc" in line
    ]
    assert sorted((row[1], row[2], row[5]) for row in rows) == [
        *(("1", "a b", "1"), ("1", "c", "1"), ("2", "a b", "2"), ("2", "c", "2")),
    ]


def test_g7_an_export_reads_without_swatch(project: Box, tmp_path: Path) -> None:
    metric = 'echo \'{"metric": "loss", "value": 0.5, "step": 2}\''
    project.swatch("run", f'{metric}; echo made > "$SWATCH_OUTPUT_DIR/a.txt"', "-m", "one | two", "-f")
    place = tmp_path / "out"
    project.swatch("export", "forest", str(place))
    project.swatch("run", "true", "-f")
    project.swatch("export", "forest", str(place))
    text = (place / "README.md").read_text()
    assert "one \\| two" in text and "loss=0.5" in text and "jobs/2" in text
    assert (place / "jobs/1/output/a.txt").read_text() == "made\n"
    assert (place / "jobs/1/metrics.csv").read_text().splitlines()[1].endswith("loss,0.5,2")
    assert "[success]" in (place / "jobs/1/log.txt").read_text()
    code = json.loads((place / "jobs/1/job.json").read_bytes())["code"]
    assert (place / "code" / code / "train.py").is_file()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    assert "no export" in project.swatch("export", "forest", str(tmp_path / "full"), code=2)


def test_g5_the_library_does_what_the_command_line_does(project: Box, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from orchestrator import Swatch\n"
        "from orchestrator.errors import SwatchError\n"
        "swatch = Swatch()\n"
        "job = swatch.run('echo hi; echo x > $SWATCH_OUTPUT_DIR/a.txt', machine='gpu', max_runtime='1h')\n"
        "print(job.wait(), job.name, [file.path for file in job.files])\n"
        "print([path.name for path in job.sync(into='home')])\n"
        "again = job.restart('exit 4')\n"
        "print(again.wait(), again.look().reason)\n"
        "print([one.number for one in swatch.jobs()])\n"
        "both = swatch.sweep('echo {n}', {'n': ['1', '2']})\n"
        "print([one.wait() for one in both])\n"
        "swatch.delete('1')\n"
        "made = swatch.data.upload('home', 'made')\n"
        "print(made.version.name, [leaf.path for leaf in swatch.data.find('made').content.files])\n"
        "print(swatch.data.upload('home', 'made').made, swatch.data.clone('made/1', 'copy').brought)\n"
        "print(swatch.run('cat /made/1/a.txt', data=['made:made']).wait())\n"
        "swatch.data.delete('made/1')\n"
        "print(swatch.data.versions('made'))\n"
        "try:\n    swatch.run('x', machine='moon')\nexcept SwatchError as error:\n    print(error.message)\n"
    )
    environment = {**project.environment}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=project.folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "success alice/projects/forest/1 ['a.txt']",
        "['a.txt']",
        "failed exit code 4",
        "[2, 1]",
        "['success', 'success']",
        "alice/datasets/made/1 ['1/a.txt']",
        "False ('1/a.txt',)",
        "success",
        "[]",
        'machine: unknown machine "moon"; known are cpu, cpu2, gpu, gpu2, ml.g5.xlarge',
    ]


def test_whoami_says_whose_jobs_these_are_and_where(project: Box) -> None:
    about = project.json("whoami")
    assert (about["user"], about["project"], about["backend"], about["aws"]) == ("alice", "forest", "local", None)
    assert about["store"] == project.store.url
    assert "nothing to log in to" in project.swatch("login", "--help") and "aws configure" in project.swatch("login")


def test_the_other_name_is_made_and_taken_away(project: Box, tmp_path: Path) -> None:
    mine = tmp_path / "swatch"
    mine.write_text(f"#!{sys.executable}\nimport sys\nfrom orchestrator.cli import main\nmain()\n")
    mine.chmod(0o755)
    for words, there in ((["alias"], True), (["alias"], True), (["alias", "--remove"], False)):
        subprocess.run([mine, *words], env=project.environment, check=True, capture_output=True)
        assert (tmp_path / "floyd").is_symlink() is there
        if there:
            said = subprocess.run(
                [tmp_path / "floyd", "status"], env=project.environment, cwd=project.folder, check=True
            )
            assert said.returncode == 0
    (tmp_path / "floyd").touch()
    refused = subprocess.run([mine, "alias"], env=project.environment, check=False, capture_output=True, text=True)
    assert refused.returncode == 2 and "another program" in refused.stderr


SEED = (
    "python3 synthesize.py -s bark.jpg --data-dir /vgg_weights --output-dir /output",
    *("--data", "wxswxs/vgg-weights/1:vgg_weights"),
)


@pytest.fixture
def seed(box: Box) -> Box:
    """A clone of the tutorial's folder: its program (which here copies what it is given), ignore file, requirements."""
    (box.folder / ".floydignore").write_text(".git\nsupplemental\nmodel_data\noutputs\n*.ignore\n")
    (box.folder / ".gitignore").write_text(".floydexpt\n*.jpg\n")
    (box.folder / "requirements.txt").write_text("# nothing that is not there\nnumpy\n")
    (box.folder / "bark.jpg").write_bytes(b"a picture")
    (box.folder / "synthesize.py").write_text(
        "import argparse, os\n"
        "parser = argparse.ArgumentParser()\n"
        "for flag in ('-s', '--data-dir', '--output-dir'):\n    parser.add_argument(flag)\n"
        "given = parser.parse_args()\n"
        "weights = sorted(os.listdir(given.data_dir))\n"
        "open(os.path.join(given.output_dir, 'out.txt'), 'w').write(open(given.s).read() + str(weights))\n"
    )
    return box


def weights(box: Box) -> None:
    """The dataset of the tutorial, as its owner uploaded it."""
    place = box.folder.parent / "weights"
    place.mkdir()
    (place / "vgg19.h5").write_bytes(b"weights")
    box.folder, code = place, box.folder
    box.swatch("data", "init", "wxswxs/vgg-weights")
    box.swatch("data", "upload")
    box.folder = code


def test_m1_the_tutorial_s_two_commands_run_as_they_are(seed: Box) -> None:
    weights(seed)
    seed.swatch("init", "subjective-functions")
    out = seed.swatch("run", "--gpu", *SEED)
    assert re.search(r"^DATANAME +MOUNTING DIRECTORY *\n─+\nwxswxs/datasets/vgg-weights/1 +/vgg_weights *$", out, re.M)
    assert "swatch logs alice/projects/subjective-functions/1" in out
    seed.swatch("logs", "-f")
    seed.swatch("sync")
    home = seed.folder / "outputs" / "subjective-functions" / "1"
    assert (home / "out.txt").read_text() == "a picture['vgg19.h5']"


def test_m1_a_missing_dataset_says_exactly_what_to_type(seed: Box) -> None:
    seed.swatch("init", "subjective-functions")
    said = seed.swatch("run", "--gpu", *SEED, code=2)
    assert "swatch data fetch vgg19 --as wxswxs/vgg-weights" in said and "vgg-weights" in said
    assert seed.json("status")["jobs"] == []


@pytest.mark.slow
def test_m9_outputs_are_the_next_job_s_data_by_number(project: Box) -> None:
    project.swatch("run", "echo first > /output/a.txt", "-f")
    for source in ("1/output", "1", "forest/1/output", "alice/projects/forest/1/files"):
        project.swatch("run", "cat /model/a.txt", "--data", f"{source}:model", "-f")
        assert lines(project) == ["first"]


def test_s6_a_folder_is_data_with_one_flag(project: Box) -> None:
    (project.folder / ".swatchignore").write_text("/photos/\n")
    (project.folder / "photos").mkdir()
    (project.folder / "photos" / "a.txt").write_text("one\n")
    (project.folder / "src").mkdir()
    top, project.folder = project.folder, project.folder / "src"
    project.swatch("run", "cat /photos/*", "--data", "../photos:photos", "-f")
    assert lines(project) == ["one"]
    project.folder = top
    (top / "photos" / "b.txt").write_text("two\n")
    project.swatch("run", "cat /photos/* /floyd/input/photos/b.txt", "--data", "./photos:/photos", "-f")
    assert lines(project) == ["one", "two", "two"]
    assert project.json("info")["job"]["data"][0]["source"] == "alice/datasets/forest-photos/2"
    project.swatch("restart", "1", "-f")
    assert lines(project) == ["one"]


def test_g11_an_old_project_runs_untouched(box: Box) -> None:
    weights(box)
    (box.folder / ".floydexpt").write_text(json.dumps({"name": "style", "namespace": "bob", "family_id": "abc"}))
    (box.folder / ".floydignore").write_text(".git\n.eggs\neggs\nlib\nlib64\nvar\n*.pyc\n*.swp\n.DS_Store\n")
    (box.folder / ".gitignore").write_text("*.npy\n")
    (box.folder / "means.npy").write_text("12")
    (box.folder / "floyd_requirements.txt").write_text("numpy\n")
    (box.folder / "floyd.yml").write_text(
        "env: tensorflow-1.12\nmachine: gpu\ndescription: style transfer\nmax_runtime: 3600\n"
        "input:\n  - source: wxswxs/datasets/vgg-weights/1\n    destination: vgg\n"
        "task:\n  train:\n    command: python3 train.py\n"
    )
    (box.folder / "train.py").write_text(
        "import os\n"
        "assert os.environ['FLOYDHUB'] == '1'\n"
        "for path in ('/vgg/vgg19.h5', '/floyd/input/vgg/vgg19.h5', '../input/vgg/vgg19.h5'):\n"
        "    print(path, open(path).read())\n"
        "open('/output/old.txt', 'w').write(open('means.npy').read())\n"
        "open('/floyd/home/new.txt', 'w').write('x')\n"
        "open('here.txt', 'w').write(os.getcwd())\n"
    )
    out = box.swatch("run", "--task", "train", "-f")
    assert "bob/projects/style/1" in out
    job = box.json("info")["job"]
    assert job["requirements"] == "floyd_requirements.txt" and job["env"] == "tensorflow-2.21"
    made = {file["path"] for file in box.json("output")["files"]}
    assert made == {"old.txt", "new.txt", "here.txt"}
    assert (box.folder / "outputs" / "style" / "1" / "old.txt").read_text() == "12"


def test_s9_info_shows_the_last_lines_of_a_failure(project: Box) -> None:
    project.swatch("run", "for i in $(seq 30); do echo line $i; done; exit 3", code=0)
    project.swatch("logs", "-f", code=1)
    said = project.swatch("info")
    assert "exit code 3: line 30" in said and "Its last lines:\n  line 11\n" in said and "line 10\n" not in said


def test_s9_info_shows_what_a_job_used(project: Box) -> None:
    project.swatch("run", "true", "-f")
    event = System(1.0, cpu=34.0, memory=12.4, used=1_200_000_000, gpu=97.0)
    project.store.write("projects/forest/jobs/1/journal/90000000.jsonl", f"{encode(event)}\n".encode())
    rows = dict(re.findall(r"^(\S[^\n]*?) {2,}(.*?) *$", project.swatch("info"), re.MULTILINE))
    assert rows["Uses"] == "CPU 34 %, memory 12 % (peak 1.2 GB), GPU 97 %"
    assert project.json("info")["peak_memory"] == 1_200_000_000


def test_m6_what_a_job_has_made_is_seen_while_it_runs(project: Box) -> None:
    gate = project.folder.parent / "gate"
    os.mkfifo(gate)
    project.swatch("run", f"echo one > /output/a.txt; read x < {gate}; echo two > /output/b.txt")
    follow = project.start("watch")
    home = project.folder / "outputs" / "forest" / "1"
    assert follow.stdout is not None
    while not project.json("output")["files"]:
        assert project.json("status")["jobs"][0]["state"] in ("queued", "starting", "running")
    project.swatch("sync")
    assert (home / "a.txt").read_text() == "one\n" and not (home / "b.txt").exists()
    gate.write_text("go\n")
    follow.communicate(timeout=60)
    assert follow.returncode == 0 and (home / "b.txt").read_text() == "two\n"


def test_m7_what_another_job_reads_is_not_deleted(project: Box) -> None:
    gate = project.folder.parent / "gate"
    os.mkfifo(gate)
    project.swatch("run", 'echo made > "$SWATCH_OUTPUT_DIR/a.txt"', "-f")
    project.swatch("run", f"read x < {gate}; cat /first/a.txt", "--data", "1/output:first")
    assert "mounted by forest/2" in project.swatch("delete", "1", "-y", code=2)
    gate.write_text("go\n")
    assert lines(project, "2") == ["made"]
    project.swatch("delete", "1", "-y")
    assert [job["number"] for job in project.json("status")["jobs"]] == [2]


def test_s10_a_queue_that_was_not_asked_for_keeps_no_job_from_this_computer(project: Box) -> None:
    (project.folder / "swatch.yml").write_text("queue: gpus\ncommand: echo done\n")
    project.swatch("run", "-f")
    assert project.json("info")["job"]["queue"] is None
    assert "--queue gpus is for jobs on SageMaker" in project.swatch("run", "--queue", "gpus", code=2)


def test_m6_an_environment_of_old_says_what_stands_in_for_it(project: Box) -> None:
    process = project.start("run", "true", "--env", "tensorflow-1.12:py3", "--dry-run")
    out, err = process.communicate(timeout=60)
    assert "The environment tensorflow-1.12:py3 is FloydHub's, and gone; tensorflow-2.21 stands in for it" in out + err


def test_s9_a_signed_address_is_in_no_record(project: Box) -> None:
    with Web({"/set.bin": b"data", "/set.bin?X-Signature=hush": b"data"}) as web:
        address = f"{web.url}/set.bin?X-Signature=hush"
        project.swatch("run", "cat /set/set.bin", "--data", f"{address}:set", "-f")
        project.swatch("run", "true", f"--data={address}:set", "-f")
        (project.folder / "swatch.yml").write_text(f"input: ['{address}:set']\n")
        project.swatch("run", "true", "-f")
    assert len(project.json("status")["jobs"]) == 3 and lines(project, "1") == ["data"]
    job = project.json("info", "1")["job"]
    assert f"{web.url}/set.bin:set" in job["argv"] and job["config"]["data"] == [f"{web.url}/set.bin:set"]
    records = [file for file in (project.home / "store").rglob("*") if file.is_file()]
    assert records and not [file for file in records if b"hush" in file.read_bytes()]


def test_a_record_of_no_time_on_any_calendar_is_damaged(project: Box) -> None:
    project.swatch("run", "true", "-f")
    project.swatch("run", "true", "-f")
    file = project.home / "store/projects/forest/jobs/1/job.json"
    for created in (1e300, -1e15):
        file.write_text(json.dumps({**json.loads(file.read_text()), "created": created}))
        assert "damaged" in project.swatch("info", "1", code=1)
        assert "forest/2" in project.swatch("status", code=1)
        assert "damaged" in project.swatch("export", "forest", code=1)


def test_m7_a_restart_whose_data_was_deleted_starts_nothing(project: Box) -> None:
    project.swatch("run", 'echo made > "$SWATCH_OUTPUT_DIR/a.txt"', "-f")
    project.swatch("run", "cat /first/a.txt", "--data", "1/output:first", "-f")
    project.swatch("delete", "1", "-y")
    said = project.swatch("restart", "2", code=2)
    assert "No job forest/1" in said or "alice/projects/forest/1/output" in said
    assert "--data SOURCE:first" in said
    assert [job["number"] for job in project.json("status")["jobs"]] == [2]


def test_an_export_goes_on_where_a_file_is_missing_and_nothing_leaves_its_folder(project: Box, tmp_path: Path) -> None:
    project.swatch("run", "cd $SWATCH_OUTPUT_DIR; echo a > a.txt; echo b > b.txt; echo c > c.txt", "-f")
    job = project.home / "store/projects/forest/jobs/1"
    good = (job / "output/c.txt").read_bytes()
    (job / "output/a.txt").unlink()
    (job / "output/b.txt").write_text("other")
    journal = sorted((job / "journal").iterdir())
    hostile = [encode(File(1e9, path, 2, "0" * 64)) for path in ("../../../evil", "/evil", "c.txt/evil")]
    journal[-1].with_name(f"{len(journal) + 1:08d}.jsonl").write_text("\n".join(hostile) + "\n")
    place = tmp_path / "out"
    said = project.swatch("export", "forest", str(place), code=1)
    assert "forest/1  success" in said and "see jobs/1/missing.txt" in said
    made = place / "jobs" / "1"
    assert [file.name for file in (made / "output").iterdir()] == ["c.txt"]
    assert (made / "output/c.txt").read_bytes() == good and len((made / "missing.txt").read_text().splitlines()) == 5
    assert not list(tmp_path.rglob("*evil*"))
    journal[-1].with_name(f"{len(journal) + 1:08d}.jsonl").unlink()
    (job / "output/a.txt").write_text("a\n")
    (job / "output/b.txt").write_text("b\n")
    project.swatch("export", "forest", str(place))
    assert sorted(file.name for file in (made / "output").iterdir()) == ["a.txt", "b.txt", "c.txt"]
    assert not (made / "missing.txt").exists()


def test_m2_init_without_a_name_keeps_the_project(box: Box) -> None:
    (box.folder / ".floydexpt").write_text(json.dumps({"name": "style", "namespace": "bob"}))
    assert 'Project "bob/style" initialized' in box.swatch("init")
    said = box.swatch("init", "moss")
    assert 'Project "moss" initialized' in said and 'It was "bob/style"' in said
    assert 'Project "moss" initialized' in box.swatch("init")


def test_m7_a_part_of_a_job_is_not_the_job(project: Box) -> None:
    project.swatch("run", "echo x > /output/a.txt", "-f")
    assert "is a part of a job" in project.swatch("delete", "1/output", "-y", code=2)
    assert project.json("output")["files"]


def test_the_end_of_a_flood_is_kept(project: Box) -> None:
    flood = "i=0; while [ $i -lt 30000 ]; do echo line $i; i=$((i+1)); done; echo the error; exit 1"
    project.swatch("run", flood, "-f", code=1)
    events = [json.loads(line) for line in project.swatch("logs", "--json").splitlines()]
    said = [event["text"] for event in events if event["kind"] == "log"]
    assert (said[0], said[-1]) == ("line 0", "the error")


def test_s10_a_job_that_waits_its_turn_says_so(project: Box) -> None:
    gate = project.folder.parent / "gate"
    os.mkfifo(gate)
    project.swatch("run", f"read x < {gate}")
    second = project.start("run", "echo second", "-f")
    assert second.stderr is not None and second.stdout is not None
    assert "Waiting for logs ..." in second.stderr.readline()
    assert "one job runs at a time" in second.stderr.readline()
    gate.write_text("go\n")
    out, _ = second.communicate(timeout=60)
    assert second.returncode == 0 and "second" in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--gpu", "--machine", "ml.g5.xlarge"], "give one of them"),
        (["-c", "x"], "put that in quotes, or -- before it"),
        (["--env-var", b"A=\xff"], "is no text"),
    ],
)
def test_odd_calls_are_one_line(project: Box, words: list[str], says: str) -> None:
    assert says in project.swatch("run", "true", *words, code=2)


def test_colours_are_no_part_of_a_log(project: Box) -> None:
    project.swatch("run", "printf '\\033[31mred\\033[0m\\n'", "-f")
    assert project.swatch("logs").splitlines()[-2].endswith("  red")


texts = st.text("abcdefgh ", max_size=80)


@given(st.lists(st.tuples(texts, texts, texts), min_size=1, max_size=5), st.integers(60, 200))
def test_a_status_fits_its_terminal(found: list[tuple[str, str, str]], width: int) -> None:
    usual = {"JOB NAME": "12", "CREATED": "1 minute ago", "STATUS": "shutdown", "DURATION(s)": "3", "INSTANCE": "cpu"}
    rows = [{**usual, **dict(zip(FLEXIBLE, three, strict=True))} for three in found]
    widths = fitted(rows, width)
    assert sum(widths.values()) + GAP * (len(widths) - 1) <= width
    assert all(widths[name] >= len(row[name]) for row in rows for name in usual)
