"""swatch setup"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import click

from orchestrator import account as wanted
from orchestrator import images, settings, stack
from orchestrator.account import Account
from orchestrator.cli import screen
from orchestrator.provision import Step
from orchestrator.settings import Settings

FOLDER = "swatch"
"""The store's folder in a bucket where none is named."""
NAME = "swatch"
"""Of the role, where none is named."""


@click.command("setup", short_help="Make what jobs on AWS need in your account.")
@click.argument("what", type=click.Choice(["aws"]))
@click.option("--dry-run", is_flag=True, help="Print the requests and policies, and change nothing.")
@click.option(
    "--print",
    "form",
    type=click.Choice(["cloudformation"]),
    help="Print a template that makes the same, and change nothing; no credentials are needed.",
)
@click.option("--bucket", metavar="NAME[/FOLDER]", help="Where the store is [swatch-ACCOUNT-REGION/swatch].")
@click.option("--role", metavar="NAME", help="The role that jobs run under [swatch].")
@click.option("--repository", metavar="NAME", help="The repository for images of your own [swatch].")
@click.option("--region", metavar="NAME", help="Another region than the AWS configuration's.")
def command(
    what: str,
    dry_run: bool,
    form: str | None,
    bucket: str | None,
    role: str | None,
    repository: str | None,
    region: str | None,
) -> None:
    """Make what jobs on AWS need in your account: a private, encrypted bucket, an image repository, and a role.

    It prints every request with its policies before it makes one, and the policy that whoever submits needs. It makes
    only what is missing, so a second run changes nothing; what else is in an existing bucket's rules and policy is
    kept. Store and role are written into config.yaml.

    \b
    swatch setup aws --dry-run
    swatch setup aws --print cloudformation > swatch.yaml
    """
    found = settings.load()
    if form is not None:
        at = region or stack.REGION
        click.echo(stack.text(_account(found, stack.ID, at, stack.PARTITION, bucket, role, repository)), nl=False)
        return
    from orchestrator import aws, provision

    with aws.explained("asking AWS who you are"):
        identity = aws.client("sts", region or "").get_caller_identity()
        at = aws.client("ecr", region or "").meta.region_name
        partition = identity["Arn"].split(":")[1]
    account = _account(found, identity["Account"], at, partition, bucket, role, repository)
    todo = provision.steps(account, provision.look(account))
    _show(todo, account)
    if dry_run:
        click.echo(f"\nNothing was changed. To do it: swatch setup aws{_again(bucket, role, repository, region)}")
        return
    for number, step in enumerate(todo, 1):
        provision.take(step, account)
        click.echo(f"{number}/{len(todo)} done: {step.what}")
    written = settings.write(found.home, account.store, account.role_arn, account.repository)
    click.echo(f"{found.home / 'config.yaml'} {'now says' if written else 'says already'}:")
    click.echo(f"  store: {account.store}\n  aws: {{role: {account.role_arn}}}")
    if written and "://" not in found.store and os.path.isdir(found.store):
        click.echo(f"Jobs that you have on this computer stay where they are: swatch status --store {found.store}")
    if os.environ.get("SWATCH_STORE"):
        click.echo("SWATCH_STORE is set and goes before it: unset SWATCH_STORE")
    if region is not None and aws.client("ecr").meta.region_name != region:
        click.echo(f"Your AWS configuration names another region: export AWS_REGION={region}")
    click.echo("See that all is well:  swatch doctor")


def _account(
    found: Settings, id_: str, region: str, partition: str, bucket: str | None, role: str | None, repository: str | None
) -> Account:
    """The account's names: as asked, else as config.yaml has them from an earlier run, else the usual ones."""
    if bucket is None and found.store.startswith("s3://"):
        name, _, folder = found.store.removeprefix("s3://").partition("/")
    else:
        name, _, folder = (bucket or f"{NAME}-{id_}-{region}").partition("/")
        folder = folder or FOLDER
    known = (found.aws.role or "").rpartition("/")[2]
    return Account(
        id=id_,
        region=region,
        bucket=name,
        prefix=folder.strip("/"),
        role=role or known or NAME,
        repository=repository or found.aws.repository,
        registry=images.registry(region) or images.USUAL,
        partition=partition,
        aws=found.aws,
    )


def _show(todo: Sequence[Step], account: Account) -> None:
    click.echo(f"Account {account.id}, region {account.region}")
    if not todo:
        click.echo("Nothing to do: bucket, repository and role are as they should be.")
    for number, step in enumerate(todo, 1):
        click.echo(f"\n{number}. {screen.plain(step.what)}\n{step.service}: {step.operation}")
        click.echo(json.dumps(_readable(step.request), indent=2))
    click.echo("\nWhoever submits jobs needs this policy (attach it to your user or role; nothing here does):")
    click.echo(json.dumps(wanted.user_policy(account), indent=2))


def _readable(request: dict[str, Any]) -> dict[str, Any]:
    """The request with the policies in it as what they are, instead of as text."""
    return {
        key: json.loads(value) if isinstance(value, str) and value.startswith("{") else value
        for key, value in request.items()
    }


def _again(bucket: str | None, role: str | None, repository: str | None, region: str | None) -> str:
    given = {"bucket": bucket, "role": role, "repository": repository, "region": region}
    return "".join(f" --{name} {value}" for name, value in given.items() if value)
