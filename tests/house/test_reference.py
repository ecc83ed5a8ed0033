"""The generated reference says what the code does now."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pillion.cli.command import GLOBAL
from pillion.cli.main import COMMANDS
from pillion.drivers.index import INDEX
from pillion.edge.grpc import absent as absent_rpcs
from pillion.edge.grpc import workflow
from pillion.edge.grpc.front import GROUPS
from pillion.host import flags
from pillion.host.flags import FLAGS
from pillion.plug import settings
from pillion.plug.component import Component
from pillion.resources import configuration, folder
from pillion.resources.component import BUILT_IN
from pillion.wire.proto import Kind
from tests.house.source import PROJECT
from tools import reference

DRIVERS = list(reference.drivers())
IDS = [row for row, _ in DRIVERS]


def test_the_reference_is_fresh() -> None:
    assert reference.stale() == [], "run: python tools/reference.py"


def test_every_driver_of_the_index_has_a_page_and_a_schema() -> None:
    there = {path.stem for path in (reference.DOCS / "drivers").glob("*.md")}
    schemas = {path.stem for path in (reference.DOCS / "schemas").glob("*.json")}
    assert there == schemas == {reference.file_name(row) for row in INDEX}


@pytest.mark.parametrize("cls", [cls for _, cls in DRIVERS], ids=IDS)
def test_every_example_on_a_driver_s_page_can_be_used(cls: type[Component[Any]], tmp_path: Path) -> None:
    file = tmp_path / "example.yaml"
    file.write_text(reference.manifest(cls))
    metadata = _metadata_of_names(file) if "Configuration" in file.read_text() else _metadata(tmp_path)
    remarks: list[object] = []
    read = settings.read(cls.spec.settings, metadata, also=_built_in(cls), remark=remarks.append)
    assert isinstance(read, cls.spec.settings)
    assert remarks == []


def _metadata(place: Path) -> dict[str, str]:
    found = folder.load([place])
    assert found.problems == ()
    (component,) = found.components
    return {each.name: each.value or "" for each in component.settings}


def _metadata_of_names(file: Path) -> dict[str, str]:
    loaded, problems = configuration.load([file], environ={})
    assert not list(problems)
    assert loaded.name_resolution is not None
    given = loaded.name_resolution.configuration or {}
    return {name: str(value) for name, value in given.items()}


def _built_in(cls: type[Component[Any]]) -> tuple[str, ...]:
    return BUILT_IN.get(cls.spec.type_name.partition(".")[0], ())


def test_every_fault_is_documented() -> None:
    page = (reference.DOCS / "errors.md").read_text()
    told = [
        line for line in page.splitlines() if line.startswith("| `")
    ]  # one row for rows that look the same
    assert len(told) == len(set(reference.faults().values()))
    assert [name for name, fault in reference.faults().items() if f"`{fault.code}`" not in page] == []


def test_every_method_of_the_wire_is_either_served_or_absent() -> None:
    served, absent = reference.served_methods(), reference.absent_methods()
    assert served & absent == set()
    assert served | absent == set(reference.runtime_methods())
    page = (reference.DOCS / "routes.md").read_text()
    assert [name for name in reference.runtime_methods() if page.count(f"`{name}`") != 1] == []


def test_every_method_of_the_official_sdk_is_either_served_or_absent() -> None:
    descriptor = pytest.importorskip("dapr.proto.runtime.v1.dapr_pb2").DESCRIPTOR
    theirs = {method.name for method in descriptor.services_by_name["Dapr"].methods}
    assert len(theirs) >= 94
    assert theirs - reference.served_methods() - reference.absent_methods() == set()


def test_every_method_of_the_workflow_sdk_is_answered() -> None:
    place = "dapr.ext.workflow._durabletask.internal.orchestrator_service_pb2"
    (service,) = pytest.importorskip(place).DESCRIPTOR.services_by_name.values()
    assert f"/{service.full_name}/".encode() == workflow.TASK_HUB
    streaming = {method.name for method in service.methods if method.server_streaming}
    assert streaming == set(workflow.streams())
    assert {method.name for method in service.methods} - streaming == set(workflow.unary())


def test_every_method_of_the_wire_belongs_to_one_api_group() -> None:
    grouped = [name for names in GROUPS.values() for name in names.split()]
    assert sorted(grouped) == sorted(reference.runtime_methods())


def test_an_absent_method_is_answered_in_the_kind_of_call_it_is() -> None:
    single = {method.name for method in reference.runtime().methods if method.kind is Kind.UNARY}
    assert set(absent_rpcs.unary("", "")) <= single
    assert not set(absent_rpcs.streams(grpc_app=False)) & single


def test_every_api_group_may_stand_in_a_configuration() -> None:
    assert {group.partition(".")[0] for group in GROUPS} <= flags.API_NAMES


def test_no_two_routes_claim_one_method_and_path() -> None:
    from pillion.edge.http import absent

    claimed = [
        (method, route.pattern)
        for route in [*reference.served_routes(), *absent.routes("", "")]
        for method in route.methods.split(",")
    ]
    assert len(claimed) == len(set(claimed))


def test_every_manifest_in_the_guide_is_read_without_a_complaint(tmp_path: Path) -> None:
    for page in sorted((reference.DOCS.parent / "guide").glob("*.md")):
        for number, text in enumerate(_blocks(page.read_text())):
            kinds = {(each or {}).get("kind") for each in yaml.safe_load_all(text)}
            if not kinds & {"Component", "Subscription", "HTTPEndpoint", "Configuration"}:
                continue
            place = tmp_path / f"{page.stem}-{number}"
            place.mkdir()
            (place / "it.yaml").write_text(text)
            if "Configuration" in kinds:
                problems = configuration.load([place / "it.yaml"], environ={})[1]
            else:
                problems = folder.load([place]).problems
            assert not list(problems), f"{page.name}: {[str(each) for each in problems]}"


def test_every_flag_and_command_that_the_guide_names_exists() -> None:
    commands = [each for place in set(COMMANDS.values()) for each in importlib.import_module(place).COMMANDS]
    options = [*GLOBAL, *(option for each in commands for option in each.options)]
    known = {flag.name for flag in FLAGS} | {option.name for option in options} | {"help"}
    text = "\n".join(page.read_text() for page in [PROJECT / "README.md", *(PROJECT / "docs").rglob("*.md")])
    assert set(re.findall(r"(?<![\w-])--([a-z][a-z0-9-]+)", text)) <= known
    assert set(re.findall(r"^pillion ([a-z-]+)", text, re.MULTILINE)) <= set(COMMANDS)


def _blocks(text: str) -> list[str]:
    return [part.partition("```")[0] for part in text.split("```yaml\n")[1:]]
