"""The message classes: made on demand, sound together, apart from every other definition."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from pillion.wire.proto import common, internals, message_class, reflection, rpc, runtime, wellknown


def run(script: str) -> str:
    """What a fresh interpreter prints."""
    command = [sys.executable, "-c", textwrap.dedent(script)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def test_a_request_survives_the_wire() -> None:
    sent = runtime.SaveStateRequest(
        store_name="orders",
        states=[
            common.StateItem(key="a", value=b"1", etag=common.Etag(value="7"), metadata={"ttlInSeconds": "9"})
        ],
    )
    assert runtime.SaveStateRequest.FromString(sent.SerializeToString()) == sent


def test_an_any_of_ours_fits_into_messages_of_ours() -> None:
    request = common.InvokeRequest(method="m", data=wellknown.Any(value=b"body"))
    request.data.CopyFrom(wellknown.Any(value=b"other"))
    wrapped = internals.InternalInvokeRequestStream(request=internals.InternalInvokeRequest(message=request))
    assert wrapped.request.message.data.value == b"other"


def test_an_any_of_someone_else_is_refused() -> None:
    from google.protobuf.any_pb2 import Any

    with pytest.raises(TypeError):
        common.InvokeRequest(data=Any(value=b"body"))  # type: ignore[arg-type]


def test_error_details_pack_into_a_status() -> None:
    status = rpc.Status(code=5, message="gone")
    status.details.add().Pack(rpc.ErrorInfo(reason="R", domain="dapr.io", metadata={"k": "v"}))
    (detail,) = rpc.Status.FromString(status.SerializeToString()).details
    info = rpc.ErrorInfo()
    assert detail.type_url == "type.googleapis.com/google.rpc.ErrorInfo"
    assert detail.Unpack(info)
    assert info.metadata["k"] == "v"


def test_well_known_types_keep_their_conveniences() -> None:
    event = runtime.TopicEventRequest()
    event.extensions.update({"n": 1, "deep": {"list": [True, None]}})
    assert event.extensions["n"] == 1
    assert wellknown.Duration(seconds=2).ToTimedelta().total_seconds() == 2


def test_a_class_is_made_once() -> None:
    assert runtime.GetStateRequest is runtime.GetStateRequest
    assert runtime.GetStateRequest is message_class("dapr.proto.runtime.v1.GetStateRequest")
    assert "GetStateRequest" in vars(runtime)


def test_enums_and_their_values_stand_in_the_module() -> None:
    assert internals.V1 == internals.APIVersion.V1 == 1
    assert runtime.PubsubSubscriptionType.Name(runtime.STREAMING) == "STREAMING"
    assert common.StateOptions.StateConcurrency.Value("CONCURRENCY_LAST_WRITE") == 2
    assert runtime.TopicEventResponse.DROP == 2


def test_an_unknown_name_is_an_attribute_error_that_says_where() -> None:
    with pytest.raises(AttributeError, match=r"module 'pillion.wire.proto.runtime' has no attribute 'Nope'"):
        runtime.Nope  # type: ignore[attr-defined]  # noqa: B018


def test_an_unknown_full_name_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        message_class("dapr.proto.runtime.v1.Nope")


def test_reflection_requests_know_which_question_was_asked() -> None:
    asked = reflection.ServerReflectionRequest(list_services="*")
    assert asked.WhichOneof("message_request") == "list_services"


def test_json_uses_the_names_of_the_wire() -> None:
    from google.protobuf.json_format import MessageToDict

    answer = runtime.GetMetadataResponse(registered_components=[runtime.RegisteredComponents(name="a")])
    assert MessageToDict(answer) == {"components": [{"name": "a"}]}


def test_the_c_backend_is_in_use() -> None:
    from google.protobuf.internal import api_implementation

    assert api_implementation.Type() == "upb"


def test_importing_the_modules_does_not_load_protobuf() -> None:
    names = "common, internals, reflection, rpc, runtime, services, wellknown"
    assert (
        run(f"""
        import sys
        from pillion.wire.proto import {names}
        print([name for name in sys.modules if name.startswith("google")])
    """)
        == "[]"
    )


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_the_official_sdk_lives_in_the_same_process(first: str) -> None:
    pytest.importorskip("dapr")
    ours = "from pillion.wire.proto import common, runtime; runtime.GetStateRequest"
    theirs = "from dapr.clients import DaprClient; from dapr.proto.runtime.v1 import dapr_pb2, state_pb2"
    imports = [ours, theirs] if first == "ours" else [theirs, ours]
    assert (
        run(f"""
        {imports[0]}
        {imports[1]}
        sent = state_pb2.GetStateRequest(store_name="s", key="k").SerializeToString()
        got = runtime.GetStateRequest.FromString(sent)
        print(type(got) is state_pb2.GetStateRequest, got.key)
    """)
        == "False k"
    )


def test_threads_that_ask_first_at_once_share_one_pool() -> None:
    assert (
        run("""
        from concurrent.futures import ThreadPoolExecutor
        from threading import Barrier
        from pillion.wire.proto.pool import pool
        start = Barrier(8)
        with ThreadPoolExecutor(8) as threads:
            pools = list(threads.map(lambda _: start.wait() < 0 or pool(), range(8)))
        print(len({id(each) for each in pools}))
    """)
        == "1"
    )
