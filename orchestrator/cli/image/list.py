"""swatch image list"""

from __future__ import annotations

import click

from orchestrator import environments, images, registry, settings
from orchestrator.cargo import image
from orchestrator.cli import screen
from orchestrator.cli.options import json_option, print_json
from orchestrator.docker import Docker, Facts
from orchestrator.errors import CloudError, NoDocker
from orchestrator.registry import Pushed, Registry
from orchestrator.settings import Settings


@click.command("list", short_help="Show environments with their images, and the images there are.")
@json_option
def command(as_json: bool) -> None:
    """Show what `--env` names and the image that AWS has for each; and the images of Swatch's on this computer and in
    your account."""
    found = settings.load()
    current = image.context(found.docker.base or image.BASE).name
    where, there, away = _account(found)
    table = [(name, images.repository(one), images.tag(one, gpu=True)) for name, one in environments.ALL.items()]
    trouble = ""
    try:
        here: list[Facts] = Docker().images(image.LABEL)
    except NoDocker as error:
        here, trouble = [], error.message
    if as_json:
        print_json(
            "image list",
            {
                "environments": [
                    {"name": name, "image": f"{repository}:{tag}", "default": name == environments.DEFAULT}
                    for name, repository, tag in table
                ],
                "current": current,
                "images": [{"name": one.name, "id": one.id, "size": one.size, "named": one.named} for one in here],
                "account": [
                    {"name": where.uri(one.tag), "digest": one.digest, "size": one.size, "pushed": one.pushed_at}
                    for one in there
                    if where is not None
                ],
            },
        )
        return
    if trouble:
        click.echo(f"Images on this computer cannot be listed: {trouble}")
    elif not here:
        click.echo("No images of Swatch's on this computer yet:  swatch image build")
    else:
        _show(here, current)
    if away:
        click.echo(f"\nImages in the account cannot be listed: {away}")
    elif where is not None:
        _show_account(where, there, current.rpartition(":")[2])
    rows = screen.table("ENVIRONMENT", "IMAGE OF AWS, IN THE REGISTRY OF YOUR REGION")
    for name, repository, tag in table:
        default = "  (default)" if name == environments.DEFAULT else ""
        rows.add_row(screen.cell(name), screen.cell(f"{repository}:{tag}{default}"))
    click.echo()
    screen.console().print(rows)
    click.echo(
        "\nOn machines without a GPU the same with -cpu- in it.\nA job takes one by --env NAME, any other by --image."
    )


def _account(found: Settings) -> tuple[Registry | None, list[Pushed], str]:
    """The account's repository with its images, where one is configured; or why that cannot be asked."""
    if found.aws.role is None:
        return None, [], ""
    try:
        where = registry.find(found)
        return where, registry.listed(where), ""
    except CloudError as error:
        return None, [], error.message


def _show_account(where: Registry, there: list[Pushed], current: str) -> None:
    if not there:
        click.echo(f"\nNo images in the account's repository {where.repository} yet:  swatch image push")
        return
    rows = screen.table("IMAGE IN THE ACCOUNT", "SIZE", "PUSHED", "", right=("SIZE",))
    for one in there:
        said = "current" if one.tag == current else ""
        pushed = screen.ago(one.pushed_at)
        rows.add_row(screen.cell(where.uri(one.tag)), screen.size(one.size), screen.cell(pushed), said)
    click.echo()
    screen.console().print(rows)


def _show(here: list[Facts], current: str) -> None:
    rows = screen.table("IMAGE ON THIS COMPUTER", "SIZE", "MADE", "", right=("SIZE",))
    for one in sorted(here, key=lambda one: one.named, reverse=True):
        said = "current" if one.name == current else ""
        rows.add_row(screen.cell(one.name), screen.size(one.size), screen.cell(screen.ago(one.named)), said)
    screen.console().print(rows)
