"""A JSON file as a secret store."""

from pathlib import Path

import pytest

from pillion.contracts.words import Refused
from pillion.drivers.secrets.file import FileSecrets, FileSecretsSettings
from pillion.plug.component import Context


async def opened(folder: Path, text: str, **settings: object) -> FileSecrets:
    file = folder / "secrets.json"
    file.write_text(text, encoding="utf-8")
    given = {"nested_separator": ":", "multi_valued": False, **settings}
    store = FileSecrets(FileSecretsSettings(secrets_file=str(file), **given), Context(name="file"))
    await store.open()
    return store


async def flat(folder: Path, text: str, **settings: object) -> dict[str, object]:
    found = await (await opened(folder, text, **settings)).all()
    return {name: dict(secret) for name, secret in found.items()}


async def test_nested_members_are_flattened(tmp_path: Path) -> None:
    text = '{"plain":"p1","nest":{"b":{"c":"y"}},"arr":["q",["r"]]}'
    assert await flat(tmp_path, text) == {
        "plain": {"plain": "p1"},
        "nest:b:c": {"nest:b:c": "y"},
        "arr:0": {"arr:0": "q"},
        "arr:1:0": {"arr:1:0": "r"},
    }


async def test_the_separator_can_be_chosen_and_an_empty_one_is_a_colon(tmp_path: Path) -> None:
    assert list(await flat(tmp_path, '{"a":{"b":"c"}}', nested_separator="__")) == ["a__b"]
    assert list(await flat(tmp_path, '{"a":{"b":"c"}}', nested_separator="")) == ["a:b"]


async def test_numbers_and_truth_values_are_given_as_they_were_spelled(tmp_path: Path) -> None:
    found = await opened(
        tmp_path, '{"n":5,"f":1.50,"big":12345678901234567890,"e":1e3,"t":true,"f2":false,"z":null}'
    )
    values = [value for secret in (await found.all()).values() for value in secret.values()]
    assert values == ["5", "1.50", "12345678901234567890", "1e3", "true", "false", ""]


async def test_an_object_by_itself_is_no_secret(tmp_path: Path) -> None:
    store = await opened(tmp_path, '{"nest":{"a":"x"}}')
    with pytest.raises(Exception, match="^secret nest not found$"):
        await store.get("nest")


async def test_multi_valued_keeps_objects_and_texts_of_the_top(tmp_path: Path) -> None:
    text = '{"db":{"a":"x","b":{"c":"y"},"n":7},"lone":"l","num":5,"arr":["q"]}'
    assert await flat(tmp_path, text, multi_valued=True) == {
        "db": {"a": "x", "b:c": "y", "n": "7"},
        "lone": {"lone": "l"},
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"a":hush', r"is not JSON: line 1, column 6: Expecting value"),
        ("[]", "must hold a JSON object"),
        ('{"a:b":"1","a":{"b":"2"}}', "two members are both called a:b"),
    ],
)
async def test_a_file_that_cannot_be_used_says_why_without_a_secret(
    tmp_path: Path, text: str, sentence: str
) -> None:
    with pytest.raises(Refused, match=sentence) as refused:
        await opened(tmp_path, text)
    assert "hush" not in str(refused.value)


async def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = str(tmp_path / "nowhere.json")
    store = FileSecrets(
        FileSecretsSettings(secrets_file=path, nested_separator=":", multi_valued=False), Context(name="file")
    )
    with pytest.raises(Refused, match="nowhere.json cannot be read: No such file or directory"):
        await store.open()
