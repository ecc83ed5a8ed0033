"""The parts of the bench that decide: which works there are, what is drawn, what a limit is compared with."""

import argparse
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest

import bench
from bench import page, report
from bench.ops.packing import GoEncoder
from bench.plots import Series, Spread, bars, lines
from bench.rounds import Growth, Mixture, Record, Sample, Upkeep
from bench.works import MAIN, WORKS, chosen, listed
from pillion.net.http2.hpack import Decoder

FOLDER = Path(bench.__file__).parent


def sample(contender: str, work: str, number: int = 0, cpu: float = 100.0) -> Sample:
    return Sample(number, contender, work, 1e6 / cpu, 1.0, 2.0, 3.0, cpu, cpu, 0.9, False, True, 0.01)


def upkeep(contender: str) -> Upkeep:
    return Upkeep(0, contender, 100.0, 20.0, 10.0, 30.0, 20.0)


def test_no_two_works_have_a_name_in_common() -> None:
    names = [work.name for work in WORKS]
    assert len(set(names)) == len(names) and {work.title for work in listed(MAIN)}


def test_works_are_chosen_by_name_by_group_and_all_together() -> None:
    assert [work.name for work in chosen("secret-grpc,invoke-http")] == ["invoke-http", "secret-grpc"]
    assert {work.group for work in chosen("events,rates")} == {"events", "rates"}
    assert chosen("all") == WORKS


def test_an_unknown_work_is_named() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="no such work: invoke-smoke"):
        chosen("invoke-http,invoke-smoke")


def test_every_limit_is_that_of_a_work() -> None:
    limits = tomllib.loads((FOLDER / "limits.toml").read_text())["cpu-to-floor"]
    assert len(listed(limits)) == len(limits)


def test_a_ratio_is_taken_round_by_round() -> None:
    record = Record([sample("a", "invoke-http", n, 100.0 * (n + 1)) for n in range(3)])
    record.samples += [sample("b", "invoke-http", n, 200.0 * (n + 1)) for n in range(3)]
    assert "| 0.50 (0.50–0.50) |" in report.ratio_table(record, "a", "b", WORKS)


def test_plots_are_well_formed_and_hold_every_value() -> None:
    series = [Series("a & b", {"x < y": Spread(12.0, 11.0, 30.0)}), Series("c", {"x < y": Spread(3, 2, 4)})]
    for drawn in (bars("t", "u", ["x < y"], series), lines("t", "u", "n", ["x < y"], series)):
        texts = {element.text for element in ElementTree.fromstring(drawn).iter()}
        assert {"a & b", "c", "x < y"} <= texts


def test_a_page_has_a_plot_for_every_image_it_names(tmp_path: Path) -> None:
    record = Record([sample(who, work.name) for who in ("a", "b") for work in WORKS])
    record.upkeep += [upkeep("a"), upkeep("b")]
    record.growth += [Growth(0, who, "topics", n, 100.0, 20.0, 9.0, 5.0) for who in "ab" for n in (1, 10)]
    record.mixtures += [Mixture(0, who, "a trickle", "", *[1.0] * 6, 256, 50.0, 1, 0.1) for who in "ab"]
    page.write(tmp_path, record, ["a", "b"], {"rounds": 1, "seconds": 1.0}, 60.0)
    text = (tmp_path / "performance.md").read_text()
    named = {line.partition("](")[2].rstrip(")") for line in text.splitlines() if line.startswith("![")}
    assert named == {f"performance/{plot.name}" for plot in (tmp_path / "performance").iterdir()}
    assert "## Latency under mixed load" in text and "1 topics" in text


def test_the_callers_pack_headers_so_that_they_can_be_read() -> None:
    packing, decoder = GoEncoder(), Decoder(1 << 20)
    for left in range(200):
        fields = [
            (b":method", b"POST"),
            (b"user-agent", b"grpc-go"),
            (b"grpc-timeout", b"%du" % (9000 - left)),
        ]
        assert list(decoder.decode(packing.block(fields)).fields) == fields
