"""What a gRPC call passes before its handler: API lists, then the token."""

import pytest
from support.api import Calling

from pillion.edge.allowed import ApiRule, gate
from pillion.edge.grpc.api import DAPR
from pillion.edge.grpc.front import Admission
from pillion.net.rpc import Code, RpcError
from pillion.wire.proto import rpc


def refused(admission: Admission, path: bytes, *metadata: tuple[bytes, bytes]) -> tuple[int, str, str]:
    with pytest.raises(RpcError) as caught:
        admission(Calling(path, list(metadata)))  # type: ignore[arg-type]
    info = rpc.ErrorInfo.FromString(rpc.Status.FromString(caught.value.details).details[0].value)
    return caught.value.code, caught.value.message, info.metadata["http.error_message"]


def lists(allowed: list[ApiRule], denied: list[ApiRule], token: str = "") -> Admission:
    return Admission(token, gate(allowed, denied, "grpc"))


def passes(admission: Admission, path: bytes, *metadata: tuple[bytes, bytes]) -> bool:
    admission(Calling(path, list(metadata)))  # type: ignore[arg-type]
    return True


NOT_HERE = (Code.UNIMPLEMENTED, "Not Implemented", "requested endpoint is not available")


def test_an_allow_list_closes_every_other_method_of_the_runtime() -> None:
    admission = lists([ApiRule("state")], [])
    assert passes(admission, DAPR + b"GetState")
    for path in (DAPR + b"PublishEvent", DAPR + b"Nope", b"/dapr.proto.runtime.v1.AppCallback/OnInvoke"):
        assert refused(admission, path) == NOT_HERE


def test_a_deny_list_closes_what_it_names_and_nothing_else() -> None:
    admission = lists([], [ApiRule("search", "v1alpha1"), ApiRule("actors")])
    for name in (b"SearchAlpha1", b"GetActorTimer", b"SubscribeActorEventsAlpha1"):
        assert refused(admission, DAPR + name) == NOT_HERE
    for path in (DAPR + b"GetState", DAPR + b"Nope", b"/dapr.proto.runtime.v1.AppCallback/OnInvoke"):
        assert passes(admission, path)


def test_lists_do_not_touch_calls_that_are_passed_on() -> None:
    assert passes(lists([ApiRule("state")], []), b"/my.pkg.Svc/UU")


def test_a_closed_method_is_told_before_a_missing_token() -> None:
    admission = lists([ApiRule("state")], [], token="t")
    assert refused(admission, DAPR + b"PublishEvent") == NOT_HERE
    assert refused(admission, DAPR + b"GetState") == (
        Code.UNAUTHENTICATED, "Unauthorized", "missing api token in request metadata",
    )  # fmt: skip


def test_a_wrong_token_is_told_apart_and_the_right_one_goes_no_further() -> None:
    admission = Admission("sesame", None)
    assert refused(admission, b"/my.pkg.Svc/UU", (b"dapr-api-token", b"no"))[2] == (
        "authentication error: api token mismatch"
    )
    call = Calling(b"/my.pkg.Svc/UU", [(b"a", b"1"), (b"dapr-api-token", b"sesame")])
    admission(call)  # type: ignore[arg-type]
    assert call.metadata == [(b"a", b"1")]
