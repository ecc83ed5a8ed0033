"""Building blocks this version does not have: their routes answer as Dapr's do while nothing is configured."""

from collections.abc import Callable, Iterator, Sequence

from pillion.edge.http.api import Ask, Operation, Reply, Route
from pillion.model.errors import (
    ACTOR_NO_PLACEMENT,
    BODY_READ,
    CONFIGURATION_NOT_CONFIGURED,
    CONVERSATION_NOT_FOUND,
    CRYPTO_NOT_CONFIGURED,
    DELETE_JOB,
    GET_JOB,
    LOCK_EXPIRY,
    LOCK_NOT_CONFIGURED,
    MALFORMED_REQUEST,
    SCHEDULE_JOB,
    UNIMPLEMENTED,
    ApiError,
    Fault,
)
from pillion.toolbox.stream import BodyTooLarge
from pillion.wire.json import JsonError, loads


def routes(app_id: str, namespace: str) -> Iterator[Route]:
    """Every route of actors, workflow, jobs, configuration, locks, cryptography and conversation."""
    yield from _actors()
    yield from _workflows()
    yield from _jobs(app_id, namespace)
    yield from _configuration()
    yield Route("POST", "/v1.0-alpha1/lock/{store}", _no_lock, "lock.v1alpha1")
    yield Route("POST", "/v1.0-alpha1/unlock/{store}", _always(LOCK_NOT_CONFIGURED), "unlock.v1alpha1")
    for verb in ("encrypt", "decrypt"):
        yield Route(
            "PUT", f"/v1.0-alpha1/crypto/{{name}}/{verb}", _always(CRYPTO_NOT_CONFIGURED), "crypto.v1alpha1"
        )
    for verb in ("getkey", "encrypt", "decrypt", "wrapkey", "unwrapkey", "sign", "verify"):
        pattern = f"/v1.0-alpha1/subtlecrypto/{{name}}/{verb}"
        yield Route("POST", pattern, _always(UNIMPLEMENTED), "subtlecrypto.v1alpha1")
    for version in ("alpha1", "alpha2"):
        pattern = f"/v1.0-{version}/conversation/{{name}}/converse"
        yield Route("POST", pattern, _no_conversation, f"conversation.v1{version}")


def _actors() -> Iterator[Route]:
    absent = _always(ACTOR_NO_PLACEMENT)
    at = "/v1.0/actors/{type}/{id}"
    for methods, tail, kind in (
        ("GET,POST,PUT,DELETE", "/method/{method...}", "method"),
        ("POST,PUT", "/state", "state"),
        ("GET", "/state/{key}", "state"),
        ("GET,POST,PUT,DELETE", "/reminders/{name}", "reminders"),
        ("POST,PUT,DELETE", "/timers/{name}", "timers"),
    ):
        yield Route(methods, at + tail, absent, "actors.v1", _actor_label(kind))


def _actor_label(kind: str) -> Callable[[Sequence[str]], str]:
    return lambda params: f"/v1.0/actors/{params[0]}/{{id}}/{kind}"


def _workflows() -> Iterator[Route]:
    absent = _always(ACTOR_NO_PLACEMENT)
    for version in ("v1.0", "v1.0-beta1", "v1.0-alpha1"):
        group = f"workflows.{version.replace('v1.0-', 'v1').replace('v1.0', 'v1')}"
        at = f"/{version}/workflows/{{component}}"
        yield Route("POST", f"{at}/{{name}}/start", absent, group)
        yield Route("GET", f"{at}/{{id}}", absent, group)
        yield Route("POST", f"{at}/{{id}}/raiseEvent/{{event}}", absent, group)
        for verb in ("terminate", "pause", "resume", "purge"):
            yield Route("POST", f"{at}/{{id}}/{verb}", absent, group)


def _jobs(app_id: str, namespace: str) -> Iterator[Route]:
    def disabled(fault: Fault) -> Operation:
        async def refuse(ask: Ask) -> Reply:
            info = {"appID": app_id, "namespace": namespace}
            raise ApiError(fault, info=info, why="scheduler clients are disabled")

        return refuse

    for version, group in (("v1.0", "jobs.v1"), ("v1.0-alpha1", "jobs.v1alpha1")):
        for method, fault in (("POST", SCHEDULE_JOB), ("GET", GET_JOB), ("DELETE", DELETE_JOB)):
            yield Route(method, f"/{version}/jobs/{{name}}", disabled(fault), group)


def _configuration() -> Iterator[Route]:
    absent = _always(CONFIGURATION_NOT_CONFIGURED)
    for version, group in (("v1.0", "configuration.v1"), ("v1.0-alpha1", "configuration.v1alpha1")):
        at = f"/{version}/configuration/{{store}}"
        yield Route("GET", at, absent, group)
        yield Route("GET", f"{at}/subscribe", absent, group)
        yield Route("GET", f"{at}/{{id}}/unsubscribe", absent, group)


def _always(fault: Fault) -> Operation:
    async def refuse(ask: Ask) -> Reply:
        raise ApiError(fault)

    return refuse


async def _no_lock(ask: Ask) -> Reply:
    # Dapr looks at the expiry before it looks for a store.
    if not await _expires(ask):
        raise ApiError(LOCK_EXPIRY, store=ask.params[0])
    raise ApiError(LOCK_NOT_CONFIGURED)


async def _expires(ask: Ask) -> bool:
    """Whether the body, protobuf's JSON, asks for a lock that ends after it begins."""
    try:
        body = await ask.body()
        request = loads(body) if body else {}
        seconds = request.get("expiryInSeconds") or request.get("expiry_in_seconds") or 0
        return int(seconds) > 0
    except BodyTooLarge as error:
        raise ApiError(BODY_READ, why=str(error)) from error
    except (JsonError, AttributeError, TypeError, ValueError) as error:
        raise ApiError(MALFORMED_REQUEST, why=str(error)) from error


async def _no_conversation(ask: Ask) -> Reply:
    raise ApiError(CONVERSATION_NOT_FOUND, name=ask.params[0])
