"""An HTTPEndpoint: a server outside, invoked by name as if it were an app."""

from pillion.resources.component import SecretRef, Setting, secret_ref, secret_store, settings
from pillion.resources.fields import Fields
from pillion.resources.header import TOP_LEVEL, Header
from pillion.resources.problems import Source
from pillion.toolbox.lazily import dataclass

RENEGOTIATION = ("RenegotiateNever", "RenegotiateOnceAsClient", "RenegotiateFreelyAsClient")


@dataclass(frozen=True, slots=True)
class Pem:
    """A certificate or key: as written, or a secret."""

    value: str
    secret: SecretRef | None
    source: Source = Source("")


@dataclass(frozen=True, slots=True)
class ClientTls:
    """What the call presents and whom it trusts."""

    root_ca: Pem | None = None
    certificate: Pem | None = None
    private_key: Pem | None = None
    renegotiation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpEndpoint:
    """Headers are settings: they may refer to secrets and the environment, and win over the caller's."""

    name: str
    namespace: str
    base_url: str
    headers: tuple[Setting, ...] = ()
    tls: ClientTls | None = None
    secret_store: str = ""
    scopes: tuple[str, ...] = ()
    source: Source = Source("")

    @property
    def secrets(self) -> tuple[SecretRef, ...]:
        """The secrets its headers and certificates refer to."""
        pems = (self.tls.root_ca, self.tls.certificate, self.tls.private_key) if self.tls else ()
        held = [each.secret for each in self.headers] + [pem.secret for pem in pems if pem]
        return tuple(secret for secret in held if secret is not None)


def endpoint(fields: Fields, head: Header) -> HttpEndpoint:
    """Read the rest of the document."""
    spec = fields.section("spec")
    made = HttpEndpoint(
        name=head.name,
        namespace=head.namespace,
        base_url=spec.needed("baseUrl"),
        headers=settings(spec, "headers"),
        tls=_tls(spec.section("clientTLS")) if "clientTLS" in spec else None,
        secret_store=secret_store(fields),
        scopes=fields.texts("scopes"),
        source=head.source,
    )
    spec.node("clientTLS")
    spec.done(TOP_LEVEL)
    fields.done()
    return made


def _tls(fields: Fields) -> ClientTls:
    made = ClientTls(
        root_ca=_pem(fields, "rootCA"),
        certificate=_pem(fields, "certificate"),
        private_key=_pem(fields, "privateKey"),
        renegotiation=fields.choice("renegotiation", RENEGOTIATION),
    )
    fields.done()
    return made


def _pem(fields: Fields, name: str) -> Pem | None:
    if name not in fields:
        fields.node(name)
        return None
    part = fields.section(name)
    made = Pem(part.text("value"), secret_ref(part), part.source)
    part.done()
    return made
