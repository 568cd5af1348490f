"""What a manifest file may say: its keys, their types, bounds and defaults, and the words an editor shows for them.

The strict reading (`manifest.read`) and the JSON Schema (`json_schema`) both come from these types.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from orchestrator import duration, project
from orchestrator.command import IDENTIFIER
from orchestrator.document import REFUSED
from orchestrator.machines import ALIASES
from orchestrator.machines import MOST as MOST_MACHINES
from orchestrator.shape import Unfit, unknown
from orchestrator.wording import shown

DAY = 86400
MAX_RUNTIME = 28 * DAY
"""Seconds: SageMaker's longest training job."""
MAX_DATA = 16
"""Mounts: SageMaker has 20 channels (CreateTrainingJob), of which agent, code, input and boto3 take four."""

_SIDE = "(?:3[2-9]|[4-9][0-9]|[1-9][0-9]{2}|[1-7][0-9]{3}|80[0-9]{2}|81[0-8][0-9]|819[0-2])"  # 32 to 8192
_SIZE = re.compile(f"{_SIDE}x{_SIDE}")
_LAYER = re.compile("(conv|relu)([12]_[12]|[345]_[1-4])|pool[1-5]|block([12]_conv[12]|[345]_conv[1-4]|[1-5]_pool)")
LAYERS = 21
"""VGG-19's convolutions and poolings, numbered from 0 as in subjective-functions."""
_MOUNT = "[A-Za-z0-9._-]+"
QUEUE = "^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$"
"""The name of an AWS Batch job queue (API reference, CreateJobQueue)."""
_MACHINE = re.compile(rf"(?:{'|'.join(ALIASES)}|ml\.[a-z0-9-]{{1,32}}\.[a-z0-9]{{1,32}})")
_TAKEN = frozenset(
    """
    output input floyd code tmp opt bin boot dev etc home lib lib32 lib64 libx32 media mnt proc root run sbin srv sys
    usr var . ..
    """.split()  # noqa: SIM905 - read as a sentence
)


INPUT = "input"
"""The mount of what is given without one: `/input`, as FloydHub had it."""


class DataMount(NamedTuple):
    """`source:mount` taken apart: what is mounted, and the one path segment it is mounted at (`/mount`)."""

    source: str
    mount: str

    @property
    def is_folder(self) -> bool:
        """Whether the source is written as a folder of this computer; else it is a name, or an address."""
        return self.source in (".", "..") or self.source.startswith(("./", "../", "/", "~"))

    @property
    def is_address(self) -> bool:
        """Whether the source is an address elsewhere, such as `s3://bucket/prefix`."""
        return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", self.source) is not None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        hint = ": put it in quotes" if isinstance(value, bool | int | float) else ""
        raise Unfit(f"expected text, got {shown(value)}{hint}")
    return value


def _name(value: Any) -> str:
    complaint = project.check_name(_text(value))
    if complaint:
        raise Unfit(f"the name {shown(value)} {complaint}")
    return str(value)


def _machine(value: Any) -> tuple[str, ...]:
    names = value if isinstance(value, list) else [value]
    if not 1 <= len(names) <= MOST_MACHINES:
        raise Unfit(f"expected one to {MOST_MACHINES} machines, the preferred first, got {len(names)}")
    for index, name in enumerate(names):
        if name is REFUSED:
            continue  # it has its problem already
        if not _MACHINE.fullmatch(_text(name)):
            raise Unfit(unknown("machine", name, [*ALIASES, "ml.g5.xlarge"]))
        if name in names[:index]:
            raise Unfit(f"{shown(name)} stands in this list already")
    return tuple(name for name in names if name is not REFUSED) or ("cpu",)


def _runtime(value: Any) -> int:
    seconds = duration.parse(value) if isinstance(value, str) else value
    if not isinstance(seconds, int) or isinstance(seconds, bool):
        raise Unfit(f"expected a duration like 90s, 30m, 2h, 1d or 1h30m, got {shown(value)}")
    if not 1 <= seconds <= MAX_RUNTIME:
        raise Unfit(f"expected a duration from 1s to {duration.written(MAX_RUNTIME)}, got {shown(value)}")
    return seconds


def _size(value: Any) -> tuple[int, int]:
    if isinstance(value, int) and not isinstance(value, bool) and 32 <= value <= 8192:
        return value, value
    if isinstance(value, str) and _SIZE.fullmatch(value):
        width, height = value.split("x")
        return int(width), int(height)
    raise Unfit(f'expected a size like 512 or "512x256", each side from 32 to 8192, got {shown(value)}')


def _layers(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not 1 <= len(value) <= LAYERS:
        raise Unfit(f"expected a list of VGG-19's layers, as in [pool1, conv3_2], got {shown(value)}")
    for one in value:
        number = isinstance(one, int) and not isinstance(one, bool) and 0 <= one < LAYERS
        if not number and not (isinstance(one, str) and _LAYER.fullmatch(one)):
            raise Unfit(f"VGG-19 has no layer {shown(one)}: give conv1_1 to conv5_4, pool1 to pool5, or 0 to 20")
    return tuple(str(one) for one in value)


def data_mount(value: Any, unnamed: bool = False) -> DataMount:
    """`source:mount` taken apart. With `unnamed`, a source alone is mounted as INPUT, and so may another be. Raises
    Unfit for what is neither."""
    source, colon, mount = _parted(_text(value))
    if not colon and unnamed:
        mount = INPUT
    mount = mount.removeprefix("/")
    if not source or not mount:
        raise Unfit(f"expected source:mount, as in ./weights:weights, got {shown(value)}")
    if not re.fullmatch(_MOUNT, mount):
        raise Unfit(f"the mount {shown(mount)} must be one folder name of letters, digits, '.', '_' and '-'")
    if mount.lower() in _TAKEN and not (unnamed and mount == INPUT):
        raise Unfit(f"the mount {shown(mount)} is taken: /{mount} is the machine's own")
    return DataMount(source, mount)


def _parted(text: str) -> tuple[str, str, str]:
    """Source, colon, mount. In an address the colon of a mount stands in the path: one before is the address's own."""
    scheme, address, rest = text.partition("://")
    if not address:
        source, colon, mount = text.rpartition(":")
        return (source, colon, mount) if colon else (text, "", "")
    host, slash, path = rest.partition("/")
    found, colon, mount = path.rpartition(":")
    if colon:
        return f"{scheme}://{host}{slash}{found}", colon, mount
    bucket, colon, mount = host.rpartition(":")
    if colon and not slash and not mount.isdigit():
        return f"{scheme}://{bucket}", colon, mount
    return text, "", ""


def _scalar(value: Any) -> Any:
    if isinstance(value, list | dict):
        raise Unfit(f"expected one value (text, a number, true or false), got {shown(value)}")
    return value


def _key(value: Any) -> str:
    if not re.fullmatch(IDENTIFIER, value):
        raise Unfit(f"a key of a matrix is lower-case letters, digits and _, got {shown(value)}")
    return str(value)


def _letters(pattern: str) -> dict[str, Any]:
    """A pattern for the schema alone: what reads the file has sentences of its own, and msgspec's compiled patterns
    break the interpreter's garbage collection when a type with one is used by several others (0.22.0, `Meta(pattern=)`
    in two structs; the process ends by SIGSEGV)."""
    return {"pattern": pattern}


Name = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        extra_json_schema=_letters(r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9_-])?$"),
        extra={"read": _name},
    ),
]
MIN_SIDE = 32
MAX_SIDE = 8192
"""The engine's limits, in pixels."""
Side = Annotated[int, Meta(ge=MIN_SIDE, le=MAX_SIDE)]
Pattern = Annotated[str, Meta(min_length=1)]
Size = Annotated[
    Side | Annotated[str, Meta(extra_json_schema=_letters(f"^{_SIZE.pattern}$"))], Meta(extra={"read": _size})
]
Layers = Annotated[
    Annotated[
        list[
            Annotated[str, Meta(extra_json_schema=_letters(f"^{_LAYER.pattern}$"))] | Annotated[int, Meta(ge=0, le=20)]
        ],
        Meta(min_length=1, max_length=21),
    ],
    Meta(extra={"read": _layers}),
]
Runtime = Annotated[
    Annotated[int, Meta(ge=1, le=MAX_RUNTIME)] | Annotated[str, Meta(extra_json_schema=_letters(duration.PATTERN))],
    Meta(extra={"read": _runtime}),
]
MachineName = Annotated[str, Meta(extra_json_schema=_letters(f"^{_MACHINE.pattern}$"))]
Machines = Annotated[
    MachineName
    | Annotated[
        list[MachineName], Meta(min_length=1, max_length=MOST_MACHINES, extra_json_schema={"uniqueItems": True})
    ],
    Meta(extra={"read": _machine}),
]
Scalar = Annotated[bool | int | float | str | None, Meta(extra={"read": _scalar})]


class TextureParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the synthesis engine wants to know about one texture. Sides are in pixels."""

    width: Annotated[Side, Meta(description="Width of the made image, in pixels.")] = 256
    height: Annotated[Side, Meta(description="Height of the made image, in pixels.")] = 256
    seed: Annotated[
        int,
        Meta(
            ge=0,
            le=2147483647,
            description="Where chance begins: the same seed makes the same image on the same machine, another seed "
            "another image.",
        ),
    ] = 0
    source_width: Annotated[
        Side | None,
        Meta(
            description="Width in pixels that the source is scaled to first, its aspect kept (several sources: the "
            "first; the others get its area). Null shrinks a source of a larger area than the result's to that area, "
            "and never enlarges one. A larger number brings the source closer up: the result shows a smaller part of "
            "it. The smaller the result is beside the scaled source, the less faithful."
        ),
    ] = None
    source_scale: Annotated[
        Annotated[float, Meta(ge=0.01, le=100)] | None,
        Meta(description="The same as a factor of each source's own size. Not beside source_width."),
    ] = None
    method: Annotated[
        Literal["auto", "patch", "swatch", "snelgrove", "gatys", "style"],
        Meta(
            description="How to make it. patch matches small patches of the source and needs no network weights; "
            "swatch matches what VGG-19 sees of it, coarse to fine; snelgrove and gatys are the "
            "methods of 2017 and 2015; style paints content in the look of the source. auto is swatch where VGG-19's "
            "weights are mounted (data), otherwise patch."
        ),
    ] = "auto"
    seamless: Annotated[
        Literal["both", "x", "y", "none"] | None,
        Meta(
            description="Which edges continue at the opposite edge: x left and right, y top and bottom. Null is both "
            "for patch and swatch with valid padding, otherwise none."
        ),
    ] = None
    layers: Annotated[
        Layers | None,
        Meta(
            description="The layers of VGG-19 that are matched, by name or number. Null is the method's choice.",
            extra={"read": _layers},
        ),
    ] = None
    octaves: Annotated[
        Annotated[int, Meta(ge=1, le=9)] | None,
        Meta(description="Scales at which they look, each half the size of the one before. Null: the method's choice."),
    ] = None
    iterations: Annotated[
        Annotated[int, Meta(ge=1, le=100_000)] | None,
        Meta(description="Most steps of the optimiser at full size. Null is the method's choice."),
    ] = None
    tolerance: Annotated[
        float,
        Meta(ge=0, le=1, description="A step that lowers the loss by a smaller share than this is the last one."),
    ] = 1e-9
    padding: Annotated[
        Literal["valid", "same"], Meta(description="Of convolutions, for snelgrove and gatys where nothing wraps.")
    ] = "valid"
    join: Annotated[
        Literal["average", "max", "log_euclidean", "affine_invariant", "riemann"],
        Meta(description="How the Gram matrices of several sources become one."),
    ] = "average"
    multiply: Annotated[float, Meta(ge=1e-6, le=1e6, description="What they are multiplied by then.")] = 1.0
    start: Annotated[
        Literal["noise", "symmetric", "patches"],
        Meta(
            description="What it begins with; symmetric is its own mirror image. For swatch also patches: what the "
            "weight-free method makes of the source at a coarse size."
        ),
    ] = "noise"
    content_weight: Annotated[
        float, Meta(ge=0, le=1e9, description="For style: how much the content counts beside the look.")
    ] = 1.0
    count: Annotated[
        int, Meta(ge=1, le=64, description="Frames of a looping video, made at once (snelgrove, gatys, swatch).")
    ] = 1
    frame_weight: Annotated[float, Meta(ge=0, le=1e9, description="How much frames are held together.")] = 1.0
    frame_shift: Annotated[
        float, Meta(ge=0, le=8192, description="Pixels of movement between frames that this imitates.")
    ] = 5.0
    frame_order: Annotated[int, Meta(ge=1, le=64, description="How many frames further each is held to.")] = 2
    frame_distance: Annotated[
        Literal["l2", "lap1"], Meta(description="How frames are compared: pixels, or the bands of a pyramid.")
    ] = "lap1"
    frame_octaves: Annotated[
        Annotated[int, Meta(ge=1, le=9)] | None, Meta(description="At how many scales. Null: all.")
    ] = None
    bits: Annotated[
        Literal[8, 16], Meta(description="Of a sample in texture.png; with 16 there is a texture.tiff, too.")
    ] = 8


class Defaults(TextureParameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Engine parameters for every texture that does not say otherwise."""

    size: Annotated[
        Size | UnsetType,
        Meta(
            description='Width and height at once: 256, or "512x256". Not beside width or height.',
            extra={"read": _size},
        ),
    ] = UNSET


class TextureEntry(Defaults, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One texture to make, or with a glob one for each file."""

    source: Annotated[
        Pattern | Annotated[list[Pattern], Meta(min_length=1)],
        Meta(
            description="The image to learn from, relative to this file. A glob (textures/*.png, photos/*) makes one "
            "texture for each file; files without the suffix of a picture format (.png, .jpg, .webp, .tif, .bmp, .gif "
            "and the like) are left out, unless no other matches. A list makes one texture from all of its images."
        ),
    ]
    content: Annotated[
        Pattern | UnsetType,
        Meta(description="For the method style: the image to paint, relative to this file. The source gives the look."),
    ] = UNSET
    name: Annotated[
        Name | UnsetType,
        Meta(
            description="Folder of its outputs. Without it: the source's file name, in lower case. A matrix adds its "
            "values.",
            extra={"read": _name},
        ),
    ] = UNSET


class ManifestEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A manifest of Swatch: textures to make (or a command to run), on which machine, for how long, for how much."""

    name: Annotated[Name, Meta(description="The project under which the jobs are numbered.")]
    machine: Annotated[
        Machines,
        Meta(
            description="Kind of machine for each job: cpu, cpu2, gpu, gpu2 or an instance type like ml.g5.xlarge. Of "
            "a list, the first that has capacity; a spot job waits for the first. A local job runs on this computer "
            "whatever stands here.",
        ),
    ] = "cpu"
    backend: Annotated[
        Literal["local", "docker", "sagemaker"],
        Meta(
            description="Where jobs run. local: a process on this computer; docker: a container on it; sagemaker: your "
            "AWS account."
        ),
    ] = "local"
    queue: Annotated[
        Annotated[str, Meta(extra_json_schema=_letters(QUEUE))] | None,
        Meta(
            description="An AWS Batch job queue for SageMaker training that jobs are handed to, so that they start by "
            "themselves as machines become free. Nothing to a local job."
        ),
    ] = None
    image: Annotated[
        Pattern | None,
        Meta(
            description="What jobs run in: swatch is Swatch's own image, aws is AWS' container, ./Dockerfile one of "
            "yours that is built (relative to this file), anything else an image by its name; for SageMaker it is in "
            "ECR, where `swatch image push` brings it. Left out, Swatch chooses. Nothing to a local job."
        ),
    ] = None
    spot: Annotated[
        bool,
        Meta(description="Use spare capacity: cheaper, and may be interrupted and resumed. Nothing to a local job."),
    ] = False
    max_runtime: Annotated[
        Runtime,
        Meta(
            description="Longest time a job may run: 90s, 30m, 2h, 1d, 1h30m or seconds; 28 days at most.",
            extra={"read": _runtime},
        ),
    ] = DAY
    max_cost: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="Most that the whole manifest may cost, in USD. A local job costs nothing."),
    ] = None
    tasks_per_job: Annotated[
        Annotated[int, Meta(ge=1, le=1000)] | Literal["auto"],
        Meta(
            description="Textures that one job makes, one after the other, so that the engine is loaded once; jobs can "
            "run side by side. auto: as few jobs as hold 16 textures each at most, evenly filled. A command is one "
            "task a job."
        ),
    ] = "auto"
    retries: Annotated[
        int,
        Meta(
            ge=0,
            le=10,
            description="How often a failed task is tried again: by `swatch submit --watch` at once, else at the next "
            "`swatch submit`. Beyond that only --retry-failed does.",
        ),
    ] = 0
    data: Annotated[
        list[
            Annotated[
                str,
                Meta(extra_json_schema=_letters(f"^[\\s\\S]+:/?{_MOUNT}$"), extra={"read": data_mount}),
            ]
        ],
        Meta(
            max_length=MAX_DATA,
            description="Data the job sees, read-only, each as source:mount: vgg-weights/1:weights stands at /weights. "
            "A source is a dataset (its latest version, where none is named), the output of a job (forest/3/output), a "
            "folder relative to this file (./weights), s3://bucket/prefix or https://..., which become datasets. To a "
            "command, a change in a file of it is a new run.",
        ),
    ] = []
    defaults: Annotated[
        Defaults | UnsetType, Meta(description="Engine parameters for every texture that does not say otherwise.")
    ] = UNSET
    textures: Annotated[
        Annotated[list[TextureEntry], Meta(min_length=1)] | UnsetType, Meta(description="The textures to make.")
    ] = UNSET
    command: Annotated[
        Pattern | UnsetType,
        Meta(
            description="A shell command instead of textures; what it writes to /output comes home. {key} becomes a "
            "value of the matrix, quoted; {{key}} is the literal {key}."
        ),
    ] = UNSET
    matrix: Annotated[
        dict[
            Annotated[str, Meta(extra_json_schema=_letters(f"^{IDENTIFIER}$"), extra={"read": _key})],
            Annotated[list[Scalar], Meta(min_length=1)],
        ],
        Meta(
            min_length=1,
            description="Values to try, a list for each key: a parameter of textures, or a {key} of the command. Every "
            "texture (or the command) is made with every combination, each with outputs of its own and named after "
            "its values. They go before those of defaults and textures.",
        ),
    ] = {}
    code: Annotated[
        Pattern | UnsetType,
        Meta(
            description="The folder a command runs in, relative to this file; without it, this file's folder. "
            "Everything in it travels, but this file and what .gitignore and .swatchignore name, and a change in any "
            "of it makes every task a new run: a narrower folder narrows both."
        ),
    ] = UNSET


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a manifest (draft 7, which every editor knows); `manifests/schema.json` is this, written down.

    It accepts whatever `manifest.read` accepts. What a schema cannot say (names that clash, placeholders without a
    value, names that Windows reserves, files) only the reader refuses.
    """
    schema = msgspec.json.schema(ManifestEntry)
    definitions = schema["$defs"]
    whole = definitions.pop(ManifestEntry.__name__)
    texture, defaults = definitions[TextureEntry.__name__], definitions[Defaults.__name__]
    for entry in (texture, defaults):
        entry["not"] = {"required": ["size"], "anyOf": [{"required": ["width"]}, {"required": ["height"]}]}
    values = {key: {"type": "array", "minItems": 1, "items": kind} for key, kind in defaults["properties"].items()}
    whole["oneOf"] = [
        {
            "required": ["textures"],
            "properties": {"code": False, "matrix": {"properties": values, "additionalProperties": False}},
        },
        {"required": ["command"], "properties": {"defaults": False, "tasks_per_job": {"enum": [1, "auto"]}}},
    ]
    titled = {"$schema": "http://json-schema.org/draft-07/schema#", **whole, "title": "Swatch manifest"}
    return {**titled, "$defs": definitions}
