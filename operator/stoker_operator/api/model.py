"""Model: weights, where they come from, what they are called and what they cost. Cluster-wide."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from stoker_operator.api.conditions import Status
from stoker_operator.api.fields import AS_SET, AccountName, Object, ObjectName, Price, described, immutable, rules

MODEL_ID = Meta(pattern=r"^accounts/[a-z0-9-]{1,63}/models/[a-z0-9][a-z0-9._-]{0,127}$")


class Visibility(StrEnum):
    """Who may use a model."""

    PUBLIC = "Public"
    PRIVATE = "Private"


class Task(StrEnum):
    """What a model does."""

    GENERATE = "Generate"
    EMBED = "Embed"
    TRANSCRIBE = "Transcribe"


class SecretRef(Object, frozen=True):
    """A Secret in the namespace of the Deployment that downloads."""

    name: Annotated[ObjectName, described("Its name.")]


class Source(Object, frozen=True):
    """Where weights come from."""

    uri: Annotated[
        str,
        Meta(pattern=r"^(hf|s3|pvc|embedded)://[A-Za-z0-9][A-Za-z0-9._/-]*$", max_length=1024),
        described(
            "hf://owner/name, s3://bucket/prefix, pvc://claim/path, or embedded://name for a model inside the worker's image."
        ),
    ]
    revision: Annotated[
        Annotated[str, Meta(max_length=128)] | None, described("A commit, tag or branch of a Hugging Face repository.")
    ] = None
    secret_ref: Annotated[
        SecretRef | None,
        described(
            "Credentials, in the namespace of the Deployment that downloads: HF_TOKEN, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        ),
    ] = None


SOURCE_RULES = rules(
    (
        "!self.uri.startsWith('hf://') || has(self.revision)",
        "set revision: a commit of the repository, so that every replica serves the same weights",
    ),
    ("self.uri.startsWith('hf://') || !has(self.revision)", "remove revision: only hf:// sources have one"),
    (
        "self.uri.startsWith('hf://') || self.uri.startsWith('s3://') || !has(self.secretRef)",
        "remove secretRef: only hf:// and s3:// sources download anything",
    ),
)


class Pricing(Object, frozen=True):
    """US dollars per million tokens, as decimal text."""

    input_per_m_tok: Annotated[Price, described("Of prompts.")] = "0"
    cached_input_per_m_tok: Annotated[
        Price | None, described("Of prompt tokens found in the prefix cache; default: as other prompt tokens.")
    ] = None
    output_per_m_tok: Annotated[Price, described("Of answers.")] = "0"


ID_FITS_ACCOUNT = rules(
    (
        "self.id.startsWith('accounts/' + self.account + '/models/')",
        "id must begin with accounts/ and the account that owns the model: accounts/<account>/models/<name>",
    )
)


class ModelSpec(Object, frozen=True):
    """What is served under a name."""

    id: Annotated[
        str,
        MODEL_ID,
        described("What clients write as the model."),
        immutable("id cannot change: clients and usage records know it; make another Model"),
    ]
    account: Annotated[
        AccountName, described("Who owns the model."), immutable("account cannot change: make another Model")
    ]
    source: Annotated[Source, SOURCE_RULES, described("Where the weights come from.")]
    visibility: Annotated[Visibility, described("Public: every account may use it. Private: its owner alone.")] = (
        Visibility.PRIVATE
    )
    aliases: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$")], ...],
        AS_SET,
        described("Other names for clients; the first Model that has one keeps it.", max_length=32),
    ] = ()
    task: Annotated[Task, described("What the model does.")] = Task.GENERATE
    context_length: Annotated[
        Annotated[int, Meta(ge=1, le=16_777_216)] | None,
        described("Tokens of prompt and answer together; default: what the model was made for."),
    ] = None
    pricing: Annotated[Pricing | None, described("What is billed on serverless deployments.")] = None


class ModelStatus(Status, frozen=True):
    """What was found of a Model."""
