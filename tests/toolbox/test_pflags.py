"""Command lines in the manner of Go's pflag."""

import pytest

from pillion.toolbox.pflags import Flag, HelpAsked, UnknownUse, boolean, listed, number, read, usage

FLAGS = (
    Flag("name", default="x", help="A name"),
    Flag("on", "bool", "false", "A switch"),
    Flag("count", "int", "-1"),
    Flag("streams", "uint", "3"),
    Flag("paths", "list"),
    Flag("old", deprecated="use --name"),
    Flag("secret", hidden=True),
)


@pytest.mark.parametrize(
    ("args", "given"),
    [
        (["--name=a"], {"name": ["a"]}),
        (["--name", "a"], {"name": ["a"]}),
        (["-name", "a"], {"name": ["a"]}),
        (["-name=a=b"], {"name": ["a=b"]}),
        (["--name="], {"name": [""]}),
        (["--name", ""], {"name": [""]}),
        (["--name", "--on"], {"name": ["--on"]}),
        (["--on"], {"on": ["true"]}),
        (["--on", "word"], {"on": ["true"]}),
        (["--on=false"], {"on": ["false"]}),
        (["-on=F"], {"on": ["F"]}),
        (["--count", "-5"], {"count": ["-5"]}),
        (["--count=0x10"], {"count": ["0x10"]}),
        (["--paths", "a", "--paths=b,c"], {"paths": ["a", "b,c"]}),
        (["word", "-", "--name=a", "word"], {"name": ["a"]}),
        (["--name=a", "--", "--nosuch"], {"name": ["a"]}),
        ([], {}),
    ],
)
def test_each_way_of_writing_a_flag_is_read(args: list[str], given: dict[str, list[str]]) -> None:
    assert read(args, FLAGS) == given


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--nosuch"], "unknown flag: --nosuch"),
        (["-nosuch=1"], "unknown flag: --nosuch"),
        (["-x"], "unknown shorthand flag: 'x' in -x"),
        (["--name"], "flag needs an argument: --name"),
        (["--=x"], "bad flag syntax: --=x"),
        (["---x"], "bad flag syntax: ---x"),
        (
            ["--on=maybe"],
            'invalid argument "maybe" for "--on" flag: strconv.ParseBool: parsing "maybe": invalid syntax',
        ),
        (
            ["--count", "abc"],
            'invalid argument "abc" for "--count" flag: strconv.ParseInt: parsing "abc": invalid syntax',
        ),
        (
            ["--streams=-1"],
            'invalid argument "-1" for "--streams" flag: strconv.ParseUint: parsing "-1": invalid syntax',
        ),
    ],
)
def test_what_cannot_be_understood_is_refused_in_pflags_words(args: list[str], said: str) -> None:
    with pytest.raises(UnknownUse) as caught:
        read(args, FLAGS)
    assert str(caught.value) == said


@pytest.mark.parametrize("args", [["--help"], ["-h"], ["-help"], ["--name=a", "--help"]])
def test_help_is_asked_for(args: list[str]) -> None:
    with pytest.raises(HelpAsked):
        read(args, FLAGS)


def test_texts_are_turned_into_values() -> None:
    assert boolean("t") and not boolean("0")
    assert (number("0x10"), number("010"), number("-3"), number("0")) == (16, 10, -3, 0)
    assert listed(["a,b", '"c,d",e', ""]) == ("a", "b", "c,d", "e")


def test_the_table_is_sorted_and_leaves_out_what_is_hidden_or_old() -> None:
    assert usage("prog", FLAGS).splitlines() == [
        "Usage of prog:",
        "      --count int        (default -1)",
        '      --name string     A name (default "x")',
        "      --on              A switch",
        "      --paths strings   ",
        "      --streams uint     (default 3)",
    ]
