"""The command `swatch`: one verb per module, imported when it is called."""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Mapping

import click

from orchestrator import __version__
from orchestrator.errors import SwatchError, UsageError

# Each verb and the first line of its help: kept here so that `swatch --help` imports no verb.
VERBS = {
    "init": "Have this folder belong to a project.",
    "run": "Run a command on this folder's code, as a numbered job.",
    "restart": "Run an earlier job's code again, with other options if any.",
    "plan": "Show what a manifest would start, and change nothing.",
    "submit": "Start what a manifest wants and does not have yet.",
    "watch": "Follow jobs to their end; their outputs come home meanwhile.",
    "status": "List jobs and their states.",
    "info": "Show all that is known of one job.",
    "logs": "Print what a job wrote.",
    "output": "List the files that a job has made so far.",
    "sync": "Bring outputs home that are not there yet.",
    "stop": "End jobs; what they made is kept.",
    "clone": "Bring the code that a job ran.",
    "delete": "Remove jobs and all that they made.",
    "export": "Write a project as a folder that reads without Swatch.",
    "whoami": "Show whose jobs these are, where they live, and which AWS identity is used.",
    "login": "There is nothing to log in to; show which identity and store are used.",
    "data": "Datasets: upload, look at, fetch and delete what jobs read.",
    "image": "Images that jobs run in: build, push, list and remove them.",
    "setup": "Make what jobs on AWS need in your account.",
    "doctor": "See whether all is there that jobs need.",
    "prices": "Show what machines cost an hour.",
    "simulate": "Try jobs on AWS without an account: a simulated one, on this computer.",
    "alias": "Have this program answer to another name too: floyd, say.",
    "completion": "Print the line that switches on completion in your shell.",
    "version": "Say which Swatch this is, and where it is installed.",
}

# FloydHub's verbs that have nothing to do here, and what to do instead.
GONE = {
    "logout": "There is nothing to log out of. Of AWS one signs out by:  aws sso logout",
    "upgrade": "It is upgraded as it was installed: by git pull, or pip. Where it is:  swatch version",
}


# Of the verbs that want an argument: what one types, shown where it is missing.
EXAMPLES = {
    "init": "swatch init forest",
    "restart": "swatch restart forest/3",
    "plan": "swatch plan forest.yaml",
    "submit": "swatch submit forest.yaml",
    "delete": "swatch delete forest/3   (swatch status lists the jobs)",
    "setup": "swatch setup aws",
    "completion": "swatch completion bash",
}


class Verbs(click.Group):
    """A group that imports a verb's module, one of `package`, when the verb is used."""

    package = __name__
    verbs = VERBS
    examples: Mapping[str, str] = EXAMPLES
    gone: Mapping[str, str] = GONE

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except click.MissingParameter as error:
            example = self.examples.get(error.ctx.info_name or "") if error.ctx else None
            if example is None:
                raise
            raise click.UsageError(f"{error.format_message()} Type, say:  {example}", error.ctx) from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.verbs:
            return None
        command: click.Command = importlib.import_module(f"{self.package}.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self.verbs.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.verbs and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], self.verbs, 1)
            whole = ctx.command_path
            hint = f"Did you mean `{whole} {near[0]}`?" if near else f"{whole} --help lists the commands."
            hint = self.gone.get(args[0], hint)
            raise click.UsageError(f"No such command: {args[0]}. {hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]}, subcommand_metavar="COMMAND ...")
@click.version_option(__version__, prog_name="swatch")
def swatch() -> None:
    """Cloud batch jobs a person enjoys: a manifest of textures in, images out; or any command on a folder's code.

    \b
    swatch submit manifests/quickstart.yaml --watch
    swatch init forest && swatch run --gpu "python train.py" --follow

    \b
    Exit codes: 0 done; 1 a job failed, or something went wrong; 2 the call, a file
    or a name is wrong; 130 interrupted (jobs go on).
    Settings: SWATCH_HOME (~/.swatch), SWATCH_STORE, SWATCH_SLOTS, SWATCH_USER,
    SWATCH_BACKEND, or store, slots, user and backend in SWATCH_HOME/config.yaml.
    """


def main() -> None:
    """Run the command line; errors that Swatch raises on purpose become a sentence and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # whatever the terminal's letters, saying it never fails
    try:
        swatch.main(prog_name="swatch", standalone_mode=False)
    except SwatchError as error:
        click.echo(error.message if isinstance(error, UsageError) else f"Error: {error.message}", err=True)
        if error.hint:
            click.echo(f"Hint: {error.hint}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.Abort:
        click.echo("\nNothing was done.", err=True)
        sys.exit(130)
    except KeyboardInterrupt:
        click.echo("Interrupted; jobs that were started go on.", err=True)
        sys.exit(130)
    except OSError as error:
        from orchestrator.store.local import explain

        message, hint = explain(error, "what was to be said")
        click.echo(f"Error: {message}" + (f"\n{hint}" if hint else ""), err=True)
        sys.exit(1)
