"""swatch completion"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command("completion", short_help="Print the line that switches on completion in your shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the script that completes verbs, options and files in SHELL.

    \b
    bash:  eval "$(swatch completion bash)"                  in ~/.bashrc
    zsh:   eval "$(swatch completion zsh)"                   in ~/.zshrc
    fish:  swatch completion fish > ~/.config/fish/completions/swatch.fish
    """
    from orchestrator.cli import swatch

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"No completion for {shell}")
    click.echo(kind(swatch, {}, "swatch", "_SWATCH_COMPLETE").source())
