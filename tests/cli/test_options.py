"""How a command line is read."""

import pytest

from pillion.cli import options
from pillion.cli.options import Option
from pillion.toolbox.pflags import HelpAsked, UnknownUse

OPTIONS = (
    Option("app-id", "a"),
    Option("app-port", "p", "int", "-1"),
    Option("dapr-http-port", "H", "int", "-1", also=("port",)),
    Option("resources-path", "", "list"),
    Option("wait", "w", "bool", "false"),
    Option("kubernetes", "k", "bool", "false"),
)


@pytest.mark.parametrize(
    "words",
    [
        ["--app-id", "one"],
        ["--app-id=one"],
        ["-a", "one"],
        ["-aone"],
        ["-a=one"],
        ["-wka", "one"],
        ["-wkaone"],
        ["word", "--app-id", "one"],
    ],
)
def test_a_text_is_given_in_many_ways(words: list[str]) -> None:
    assert options.read(words, OPTIONS).text("app-id") == "one"


def test_plain_words_and_flags_may_be_mixed_until_two_dashes() -> None:
    given = options.read(["python", "-p", "80", "app.py", "--", "-p", "90", "--", "x"], OPTIONS)
    assert given.words == ("python", "app.py", "-p", "90", "--", "x")
    assert given.number("app-port") == 80


def test_an_old_name_means_the_new_one() -> None:
    assert options.read(["--port", "3500"], OPTIONS).number("dapr-http-port") == 3500


def test_what_is_not_given_has_its_default() -> None:
    given = options.read([], OPTIONS)
    assert (given.number("app-port"), given.flag("wait"), given.texts("resources-path")) == (-1, False, ())
    assert "app-port" not in given


def test_lists_grow_and_take_commas() -> None:
    given = options.read(["--resources-path", "a,b", "--resources-path=c"], OPTIONS)
    assert given.texts("resources-path") == ("a", "b", "c")


def test_a_switch_can_be_turned_off() -> None:
    assert not options.read(["--wait=false"], OPTIONS).flag("wait")


def test_a_negative_number_is_a_value() -> None:
    assert options.read(["-p", "-1"], OPTIONS).number("app-port") == -1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--app-prot", "1"], 'unknown flag: --app-prot; did you mean "--app-port"?'),
        (["--zzz"], "unknown flag: --zzz"),
        (["-x"], "unknown shorthand flag: 'x' in -x"),
        (["--app-id"], "flag needs an argument: --app-id"),
        (["-a"], "flag needs an argument: --app-id"),
        (
            ["-p", "x"],
            'invalid argument "x" for "--app-port" flag: strconv.ParseInt: parsing "x": invalid syntax',
        ),
    ],
)
def test_a_mistake_is_told(words: list[str], said: str) -> None:
    with pytest.raises(UnknownUse) as told:
        options.read(words, OPTIONS)
    assert str(told.value) == said


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_can_be_asked_for(word: str) -> None:
    with pytest.raises(HelpAsked):
        options.read([word], OPTIONS)
