"""The watched directory under fire: thousands of events a second; each file is taken once or refused once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import storm_writer
from support.arena_case import BTC_ID, genome

from apex_nautilus.actors.intake import Intake
from apex_nautilus.actors.watcher import Watcher
from apex_nautilus.features import names
from apex_nautilus.genome import encode
from apex_nautilus.store import CatalogLayout

FILES = 700
WRITERS = 2


@pytest.fixture
def layout(tmp_path):
    return CatalogLayout(tmp_path / "catalog").ensure()


@pytest.fixture
def intake(layout):
    return Intake(layout, known_features=names("book"), instruments=[BTC_ID])


def nobody(genome_id):
    return None


def pool(folder: Path, count: int) -> list[str]:
    """Different genomes, as files; returns their ids in the order of the files."""
    folder.mkdir()
    ids = []
    for k in range(count):
        one = genome(p=0.3 + 0.4 * k / count, stop_bps=10.0 + k)
        (folder / f"{k:04d}").write_bytes(encode(one))
        ids.append(one.id)
    return ids


def test_every_valid_file_is_taken_once_and_every_invalid_one_is_refused_with_a_reason(
    tmp_path, layout, intake, capsys
):
    ids = pool(tmp_path / "pool", FILES)  # no genome twice from one writer
    writers = []
    for seed in range(WRITERS):
        arguments = [layout.incoming, seed, FILES, tmp_path / f"story-{seed}", tmp_path / "pool"]
        writers.append(subprocess.Popen([sys.executable, storm_writer.__file__, *map(str, arguments)]))
    # Files are held against what trades now: challengers of earlier polls live on, in this crew's own books.
    arrivals = []
    watcher = Watcher(layout.incoming)
    watcher.start()
    try:
        while any(writer.poll() is None for writer in writers):
            watcher.wait(0.05)
            watcher.woken()
            arrivals += intake.poll(nobody)
    finally:
        watcher.stop()
    assert [writer.returncode for writer in writers] == [0] * WRITERS
    for _ in range(3):  # what was claimed while it was written, and what bore a claimed name
        arrivals += intake.poll(nobody)
    assert list(layout.incoming.iterdir()) == []

    told = [json.loads((tmp_path / f"story-{seed}").read_text()) for seed in range(WRITERS)]
    story = {line["name"]: line for one in told for line in one["story"]}
    events = sum(one["events"] for one in told)
    seconds = max(one["seconds"] for one in told)
    with capsys.disabled():
        print(f" [{events} events in {seconds:.2f} s: {events / seconds:,.0f} a second] ", end="")

    taken = Counter(a.name for a in arrivals if a.genome is not None)
    refused = Counter(a.name for a in arrivals if a.genome is None)
    assert set(taken) | set(refused) == set(story)
    for name, line in story.items():
        if line["valid"]:
            # One and the same genome may come from both writers: within one poll the second is refused.
            twice = [a for a in arrivals if a.name == name and "already in shadow" in a.reason]
            assert taken[name] + len(twice) == 1, name
            # A replaced file whose forerunner had been taken already is two files.
            assert refused[name] - len(twice) <= int(line.get("before", False)), name
            for a in arrivals:
                if a.name == name and a.genome is not None:
                    assert a.genome.id == ids[line["genome"]]
        else:
            assert (taken[name], refused[name]) == (0, 1), name
    for arrival in arrivals:
        if arrival.genome is None:
            assert arrival.reason
            reason = arrival.path.with_name(arrival.path.name + ".reason.txt")
            assert reason.read_text() == arrival.reason + "\n"
    rejected = [p for p in layout.rejected.iterdir() if not p.name.endswith(".reason.txt")]
    assert len(rejected) == sum(refused.values())
    kept = {p.name for p in layout.challengers(BTC_ID).iterdir()}
    assert kept == {layout.challenger_name(a.genome.id) for a in arrivals if a.genome is not None}


def test_a_file_is_not_touched_while_its_writer_holds_it_open(layout, intake):
    one = genome()
    data = encode(one)
    path = layout.incoming / "x.json"
    with path.open("wb", buffering=0) as file:
        file.write(data[:100])
        assert intake.poll(nobody) == []
        assert path.exists()  # its writer may still rename it
        file.write(data[100:])
        assert intake.poll(nobody) == []
    assert [a.genome for a in intake.poll(nobody)] == [one]


def test_a_claim_that_somebody_still_writes_to_waits_and_others_go_on(layout, intake):
    one, two = genome(), genome(p=0.7)
    with (layout.incoming / ".taken-x.json").open("wb", buffering=0) as file:
        file.write(encode(one)[:50])
        (layout.incoming / "y.json").write_bytes(encode(two))
        assert [a.genome for a in intake.poll(nobody)] == [two]
        file.write(encode(one)[50:])
    assert [a.genome for a in intake.poll(nobody)] == [one]


def test_a_reader_does_not_keep_a_file_from_being_taken(layout, intake):
    one = genome()
    path = layout.incoming / "x.json"
    path.write_bytes(encode(one))
    with path.open("rb"):
        assert [a.genome for a in intake.poll(nobody)] == [one]


def test_lost_notifications_cost_time_and_no_file(layout, intake, monkeypatch):
    watcher = Watcher(layout.incoming)
    monkeypatch.setattr(watcher, "on_any_event", lambda event: None)
    watcher.start()
    try:
        assert watcher.woken()  # what lay there before the start is news
        one = genome()
        (layout.incoming / "x.json").write_bytes(encode(one))
        assert not watcher.wait(0.05)
        assert not watcher.woken()
        assert [a.genome for a in intake.poll(nobody)] == [one]  # the rescan
    finally:
        watcher.stop()
