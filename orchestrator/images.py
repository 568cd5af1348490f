"""Images that AWS makes: the deep-learning container that a job runs in where no image is named.

Where they are, the SageMaker SDK knows; it takes seconds to import, so `listed` reads the data that it carries, and
a table stands in where it is not installed. `retrieved` asks the SDK itself; a test holds the three together.
"""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from orchestrator import environments, machines
from orchestrator.environments import Environment
from orchestrator.errors import UsageError

USUALLY = environments.ALL[environments.DEFAULT]
"""TensorFlow's training container: python3, boto3 and TensorFlow; patched until 2027-07 (AWS deep-learning containers,
"Support policy")."""

MAX_BYTES = 4 << 20

ECR = re.compile(
    r"(?P<host>(?P<account>[0-9]{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?)/"
    r"(?P<repository>[a-z0-9._/-]+)(:(?P<tag>[\w.-]+)|@(?P<digest>sha256:[0-9a-f]{64}))?"
)
"""An image as SageMaker takes it: from ECR and nowhere else (API reference, AlgorithmSpecification, TrainingImage)."""

USUAL = "763104351884"
"""AWS' registry in most regions (Developer Guide, "Docker Registry Paths and Example Code"); regions that were opened
later have their own."""
_REGISTRIES = {
    "af-south-1": "626614931356",
    "ap-east-1": "871362719292",
    "ap-northeast-3": "364406365360",
    "ap-south-2": "772153158452",
    "ap-southeast-3": "907027046896",
    "ap-southeast-4": "457447274322",
    "ca-west-1": "204538143572",
    "cn-north-1": "727897471807",
    "cn-northwest-1": "727897471807",
    "eu-central-2": "380420809688",
    "eu-south-1": "692866216735",
    "eu-south-2": "503227376785",
    "il-central-1": "780543022126",
    "me-central-1": "914824155844",
    "me-south-1": "217643126080",
    "us-gov-east-1": "446045086412",
    "us-gov-west-1": "442386744353",
    **dict.fromkeys(
        [
            *("ap-northeast-1", "ap-northeast-2", "ap-south-1", "ap-southeast-1", "ap-southeast-2", "ca-central-1"),
            *("eu-central-1", "eu-north-1", "eu-west-1", "eu-west-2", "eu-west-3", "sa-east-1"),
            *("us-east-1", "us-east-2", "us-west-1", "us-west-2"),
        ],
        USUAL,
    ),
}


def base(machine: str, region: str, environment: Environment = USUALLY) -> str:
    """The image of an environment for an instance type (or what an alias stands for), without an import that takes
    seconds. Raises UsageError for a region in which nobody knows one."""
    account = registry(region)
    if account is None:
        raise UsageError(
            f"Where AWS keeps its images in {region} is not known",
            hint="Name an image in config.yaml: aws: {image: ...}",
        )
    kind = machines.known(machine)
    processor = "gpu" if kind is None or kind.gpus else "cpu"
    return f"{host(account, region)}/{repository(environment)}:{tag(environment, processor == 'gpu')}"


def host(account: str, region: str) -> str:
    """The image registry of an account in a region (ECR User Guide, "Amazon ECR private registry")."""
    return f"{account}.dkr.ecr.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"


def repository(environment: Environment) -> str:
    """What AWS calls the images of an environment's framework."""
    return f"{environment.framework}-training"


def tag(environment: Environment, gpu: bool) -> str:
    """Which of them it is; `gpu`: that for machines with one."""
    return f"{environment.version}-{'gpu' if gpu else 'cpu'}-{environment.python}"


def of_aws(uri: str) -> bool:
    """Whether AWS itself has made an image for training: all of those have boto3."""
    account = re.match(r"([0-9]{12})\.dkr\.ecr\.", uri)
    if account is None:
        return uri.startswith("public.ecr.aws/deep-learning-containers/")
    return account[1] in {USUAL, *_REGISTRIES.values(), *listed().values()}


def configured(said: str | None) -> str | None:
    """The image that `aws.image` names; None where that is a word, or a Dockerfile, of which `foundry` makes one when a
    job is submitted."""
    return said if said is not None and ECR.fullmatch(said) else None


def registry(region: str) -> str | None:
    """The account of AWS' registry in a region: by the SDK's data where it is installed, else by the table."""
    found = listed().get(region) or _REGISTRIES.get(region)
    plain = found is not None and found.isascii() and found.isdigit() and len(found) == 12
    return found if plain else None


def listed() -> dict[str, str]:
    """Registries by region, as the installed SDK's data file has them; empty where there is none of that form."""
    spec = find_spec("sagemaker")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        file = Path(place, "core", "image_uri_config", f"{USUALLY.framework}.json")
        try:
            with open(file, "rb") as opened:
                training: Any = json.loads(opened.read(MAX_BYTES))["training"]
            found = training["versions"][training["version_aliases"].get(USUALLY.version, USUALLY.version)][
                "registries"
            ]
            return {str(region): str(account) for region, account in found.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # another version of the SDK, which keeps it elsewhere
    return {}


def retrieved(machine: str, region: str) -> str:
    """The same as the SDK's own function says it (sagemaker.core.image_uris.retrieve): for who has the SDK imported
    anyway, since that takes seconds. Without the SDK, `base`."""
    try:
        from sagemaker.core import image_uris
    except ImportError:
        return base(machine, region)
    try:
        found: str = image_uris.retrieve(
            USUALLY.framework,
            region,
            version=USUALLY.version,
            py_version=USUALLY.python,
            instance_type=machines.expand([machine])[0],
            image_scope="training",
        )
    except ValueError as error:
        raise UsageError(f"The SageMaker SDK knows no image for {machine} in {region}: {error}") from error
    return found
