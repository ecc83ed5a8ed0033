"""What every resource begins with: apiVersion, kind, metadata."""

from pillion.resources.document import Node
from pillion.resources.fields import Fields
from pillion.resources.problems import Report, Source
from pillion.toolbox import suggest
from pillion.toolbox.lazily import dataclass

V1 = "dapr.io/v1alpha1"
V2 = "dapr.io/v2alpha1"
KINDS = {
    "Component": (V1,),
    "Subscription": (V1, V2),
    "Configuration": (V1,),
    "Resiliency": (V1,),
    "HTTPEndpoint": (V1,),
    "MCPServer": (V1,),
    "WorkflowAccessPolicy": (V1,),
}
_OBJECT = (
    "labels", "annotations", "generateName", "uid", "resourceVersion", "generation", "creationTimestamp",
    "ownerReferences", "finalizers", "managedFields", "selfLink", "deletionTimestamp",
    "deletionGracePeriodSeconds",
)  # fmt: skip
TOP_LEVEL = dict.fromkeys(("scopes", "auth", "metadata"), "at the top level, beside spec")


@dataclass(frozen=True, slots=True)
class Header:
    """A resource's kind, version and names."""

    kind: str
    version: str
    name: str
    namespace: str
    source: Source


def header(fields: Fields) -> Header | None:
    """Read a document's first part; None for what is not ours to load, told where it looks like a slip."""
    kind, version = fields.text("kind"), fields.text("apiVersion")
    fields.node("status")
    if not version.startswith("dapr.io/") and kind not in KINDS:
        return None  # another system's manifest, which may share the folder
    if kind not in KINDS:
        said = f'"{kind}" is not a kind of resource{suggest.hint(kind, KINDS)}' if kind else "is required"
        fields.report.spoil(fields.where("kind"), "kind", f"{said}: not loaded")
        return None
    if version not in KINDS[kind]:
        said = f'"{version}" is not a version of {kind}' if version else "is required"
        wanted = " or ".join(KINDS[kind])
        fields.report.spoil(fields.where("apiVersion"), "apiVersion", f"{said}: write {wanted}; not loaded")
        return None
    return _named(fields, kind, version)


def _named(fields: Fields, kind: str, version: str) -> Header | None:
    metadata = fields.section("metadata")
    name, namespace = metadata.text("name"), metadata.text("namespace")
    for each in _OBJECT:
        metadata.node(each)
    metadata.done()
    if not name and kind not in ("Configuration", "Resiliency"):
        fields.report.spoil(metadata.source, "metadata.name", f"is required: this {kind} is not loaded")
        return None
    return Header(kind, version, name, namespace, fields.source)


def opened(node: Node, report: Report) -> Fields:
    """The reader of a whole document."""
    return Fields(node, "", report)
