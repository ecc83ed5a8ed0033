"""Invocation's decisions, by tables."""

import pytest

from pillion.model.invoke import Outcome
from pillion.rules import invoke
from pillion.rules.invoke import Caller, InvalidMethod, InvalidTarget, Target


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("app", Target("app", "own")),
        ("app.ns", Target("app", "ns")),
        ("http://h:1", Target("http://h:1", url="http://h:1")),
        ("https://h/base/", Target("https://h/base/", url="https://h/base")),
    ],
)
def test_a_target_is_an_app_or_a_url(text: str, meant: Target) -> None:
    assert invoke.target(text, "own") == meant


@pytest.mark.parametrize("text", ["", "a.b.c", "http:/h", "a.", ".b", "a/b"])
def test_anything_else_is_no_target(text: str) -> None:
    with pytest.raises(InvalidTarget):
        invoke.target(text, "own")


METHODS = [
    ("echo/a%2Fb", "echo/a/b"), ("echo/a%252Fb", "echo/a%2Fb"), ("echo/t/", "echo/t"), ("echo//d", "echo/d"), ("", ""),
    ("echo/../echo/up", "echo/up"), ("/x", "x"), ("..", ""), ("echo/%E2%82%AC", "echo/€"), ("a;b=c,d:e@f$g", "a;b=c,d:e@f$g"),
    ("a/method/b", "a/method/b"), (".hidden", ".hidden"), ("a%20b+c", "a b+c"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "method"), METHODS)
def test_a_method_is_decoded_and_cleaned(path: str, method: str) -> None:
    assert invoke.method(path) == method


@pytest.mark.parametrize("path", ["a%3Fb", "a#b", "a%00", "a%0Ab", "a%7f"])
def test_a_method_with_what_could_change_its_meaning_is_refused(path: str) -> None:
    with pytest.raises(InvalidMethod, match="forbidden character"):
        invoke.method(path)


def test_a_query_cannot_end_the_request_line() -> None:
    assert invoke.query("a=1&b=%20[x]") == "a=1&b=%20[x]"
    assert invoke.query("a b\r\nx: y") == "a%20b%0D%0Ax:%20y"


def test_headers_of_the_connection_and_of_ours_are_not_forwarded() -> None:
    headers = [(b"connection", b"X-Named, close"), (b"x-named", b"1"), (b"keep-alive", b"1"), (b"te", b"t"), (b"host", b"h"),
               (b"dapr-app-id", b"a"), (b"destination-app-id", b"b"), (b"x-bin", b"1"), (b"x", b"1"), (b"x", b"2")]  # fmt: skip
    assert invoke.forwarded(headers) == [(b"x", b"1"), (b"x", b"2")]


def test_an_answers_length_and_connection_are_not_returned() -> None:
    headers = [
        (b"connection", b"close"),
        (b"content-length", b"3"),
        (b"content-type", b"t"),
        (b"trailer", b"x"),
    ]
    assert invoke.returned(headers) == [(b"content-type", b"t")]


def test_what_a_caller_says_of_itself_is_replaced() -> None:
    caller = Caller(b"me", b"ns", b"box", b"10.0.0.1")
    spoofed = [(b"dapr-caller-app-id", b"evil"), (b"dapr-callee-app-id", b"evil"), (b"x", b"1")]
    honest = invoke.forwarded(spoofed)
    assert honest == invoke.unspoofed(spoofed) == [(b"x", b"1")]
    assert caller.introduced(honest, "you") == [
        (b"x", b"1"), (b"dapr-caller-app-id", b"me"), (b"dapr-caller-namespace", b"ns"), (b"dapr-callee-app-id", b"you"),
    ]  # fmt: skip
    addressed = dict(honest + caller.signature("you"))
    assert addressed[b"dapr-caller-app-id"] == b"me" and addressed[b"destination-app-id"] == b"you"
    assert addressed[b"forwarded"] == b"for=10.0.0.1;by=10.0.0.1;host=box"


def test_codes_and_statuses_stand_for_each_other() -> None:
    statuses = [200, 408, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401]
    assert [invoke.status_of(code) for code in range(17)] == statuses and invoke.status_of(99) == 500
    pairs = {
        200: 0,
        204: 0,
        408: 1,
        500: 2,
        400: 13,
        504: 4,
        404: 5,
        409: 6,
        403: 7,
        401: 16,
        429: 8,
        501: 12,
        503: 14,
        302: 2,
        418: 2,
    }
    assert {status: invoke.code_of(status) for status in pairs} == pairs


def test_an_outcome_is_http_from_a_hundred_up() -> None:
    assert Outcome(200).is_http and not Outcome(16).is_http
