"""Where an app's keys lie, as the environment of the sidecar decides."""

import sqlite3

from support.sidecar import Stage, component


def test_only_a_namespace_that_was_given_goes_before_keys(stage: Stage) -> None:
    place = stage.folder / "kept.db"
    resources = stage.resources(
        component("kept", "state.sqlite", connectionString=str(place), keyPrefix="namespace")
    )
    for environ in ({}, {"NAMESPACE": "mine"}):
        sidecar = stage.sidecar("a", resources=resources, env=environ).ready()
        assert sidecar.ask("POST", "/v1.0/state/kept", [{"key": "k", "value": 1}]).status == 204
        assert sidecar.stop() == 0
    with sqlite3.connect(place) as db:
        assert {key for (key,) in db.execute("SELECT key FROM state")} == {"a||k", "mine.a||k"}
    db.close()
