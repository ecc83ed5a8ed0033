"""Calls told of when they are over, with what they brought along: what API logging needs and counting does not."""

import asyncio
import time
from collections.abc import Callable

from pillion.edge.grpc.api import GrpcApi
from pillion.net.rpc import Code, RpcError, ServerCall, StreamHandler, UnaryHandler

Tell = Callable[[ServerCall, int, float], None]
"""The call, its status, and the seconds it took."""


def watch(api: GrpcApi, tell: Tell) -> None:
    """Have every call that reaches a handler of `api` told of, those passed on included. Refused ones reach none, as on Dapr."""
    api.unary = {path: _unary(handler, tell) for path, handler in api.unary.items()}
    api.streams = {path: _stream(handler, tell) for path, handler in api.streams.items()}
    if api.fallback is not None:
        api.fallback = _stream(api.fallback, tell)


def _unary(handler: UnaryHandler, tell: Tell) -> UnaryHandler:
    async def serve(call: ServerCall, message: bytes) -> bytes:
        began, code = time.perf_counter(), int(Code.UNKNOWN)
        try:
            answer = await handler(call, message)
            code = Code.OK
            return answer
        except (RpcError, asyncio.CancelledError) as error:
            code = _code(call, error)
            raise
        finally:
            tell(call, code, time.perf_counter() - began)

    return serve


def _stream(handler: StreamHandler, tell: Tell) -> StreamHandler:
    async def serve(call: ServerCall) -> None:
        began, code = time.perf_counter(), int(Code.UNKNOWN)
        try:
            await handler(call)
            code = Code.OK
        except (RpcError, asyncio.CancelledError) as error:
            code = _code(call, error)
            raise
        finally:
            tell(call, code, time.perf_counter() - began)

    return serve


def _code(call: ServerCall, error: RpcError | asyncio.CancelledError) -> int:
    """A handler is cancelled when its client goes or its deadline passes."""
    if isinstance(error, RpcError):
        return error.code
    late = call.deadline is not None and asyncio.get_running_loop().time() >= call.deadline
    return Code.DEADLINE_EXCEEDED if late else Code.CANCELLED
