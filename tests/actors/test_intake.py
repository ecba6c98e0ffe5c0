"""The door of the watched directory."""

from __future__ import annotations

import json
import os

import pytest
from support.arena_case import BTC_ID, ETH_ID, genome

from apex_nautilus.actors.intake import MAX_BYTES, Intake
from apex_nautilus.features import names
from apex_nautilus.genome import encode
from apex_nautilus.store import CatalogLayout, drop


@pytest.fixture
def layout(tmp_path):
    return CatalogLayout(tmp_path / "catalog").ensure()


@pytest.fixture
def intake(layout):
    return Intake(layout, known_features=names("book"), instruments=[BTC_ID])


def nobody(genome_id):
    return None


def files(folder):
    return sorted(
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir() or p.is_symlink()
    )


def test_a_valid_genome_moves_to_the_challengers_of_its_instrument(layout, intake):
    one = genome()
    drop(layout, one.id, encode(one))
    (arrival,) = intake.poll(nobody)
    assert arrival.genome == one
    assert arrival.path == layout.challenger_file(BTC_ID, one.id)
    assert arrival.path.read_bytes() == encode(one)
    assert intake.poll(nobody) == []
    assert files(layout.incoming) == []


def legacy():
    return json.dumps({"root": {"primitive": {"Feature": 0}, "children": []}}).encode()


def altered(**changes):
    return json.dumps({**json.loads(encode(genome())), "id": "", **changes}).encode()


def deep(levels):
    opening, leaf = '{"primitive": "neg", "children": [', '{"primitive": {"Constant": 1.0}}'
    tree = opening * levels + leaf + "]}" * levels
    return altered(signal=None).replace(b'"signal": null', b'"signal": ' + tree.encode())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "evil.json"),
        (b"\x00\xff" * 100, ""),
        (b"[1, 2]", "object"),
        (encode(genome())[:-40], "evil.json"),
        (legacy(), "apex-forge convert"),
        (altered(features=["no_such_feature"]), "no_such_feature"),
        (altered(entry_threshold=1e400), ""),
        (altered(unknown_field=1), "unknown_field"),
        (altered(instrument_id="DOGEUSDT-LINEAR.SIM"), "no slot trades"),
        (altered(clock="5m"), "bars"),
        (altered(id="0" * 16), "id"),
        (
            altered(execution="sorcery"),
            "execution: no entry policy 'sorcery' is known here (known: aggressive",
        ),
        (deep(5_000), ""),
        (b" " * (MAX_BYTES + 1), "larger"),
    ],
    ids=lambda value: value[:24].decode("latin1") if isinstance(value, bytes) else value,
)
def test_a_hostile_file_is_refused_with_its_reason_beside_it(layout, intake, data, reason):
    (layout.incoming / "evil.json").write_bytes(data)
    (arrival,) = intake.poll(nobody)
    assert arrival.genome is None
    assert reason in arrival.reason
    assert arrival.path == layout.rejected / "evil.json"
    assert arrival.path.read_bytes() == data
    assert (layout.rejected / "evil.json.reason.txt").read_text() == arrival.reason + "\n"
    assert files(layout.incoming) == []
    assert files(layout.challengers_root) == []


def test_on_bars_a_genome_whose_entries_rest_is_refused(layout):
    on_bars = Intake(layout, known_features=names("bar"), instruments=[BTC_ID], clocks=("5m",))
    data = altered(clock="5m", features=[names("bar")[0]])
    for k, (execution, taken) in enumerate((("passive", False), ("aggressive", True))):
        text = json.loads(data) | {"execution": execution}
        (layout.incoming / f"{k}.json").write_text(json.dumps(text))
        (arrival,) = on_bars.poll(nobody)
        assert (arrival.genome is not None) == taken
        if not taken:
            assert "execution: 'passive' rests in an order book and bars have none" in arrival.reason


def test_links_pipes_folders_and_foreign_names_are_refused_and_never_followed(layout, intake, tmp_path):
    secret = tmp_path / "secret.json"
    secret.write_bytes(encode(genome()))
    (layout.incoming / "a_link.json").symlink_to(secret)
    (layout.incoming / "b_dangling.json").symlink_to(tmp_path / "nowhere")
    os.mkfifo(layout.incoming / "c_pipe.json")
    (layout.incoming / "d_folder.json").mkdir()
    (layout.incoming / "e_notes.txt").write_text("hello")
    (layout.incoming / ("f" * 240 + ".json")).write_text("{")
    arrivals = intake.poll(nobody)
    assert [a.genome for a in arrivals] == [None] * 6
    for name in ("a_link.json", "b_dangling.json", "c_pipe.json", "d_folder.json", "e_notes.txt"):
        assert (layout.rejected / f"{name}.reason.txt").exists()
    assert (layout.rejected / "a_link.json").is_symlink()
    assert secret.read_bytes() == encode(genome())
    assert files(layout.incoming) == []
    assert files(layout.challengers_root) == []


@pytest.mark.parametrize("name", ["x.json.tmp", "x.json.part", ".x.json", ".hidden"])
def test_a_file_that_is_still_written_is_left_alone(layout, intake, name):
    (layout.incoming / name).write_bytes(encode(genome())[:50])
    assert intake.poll(nobody) == []
    assert files(layout.incoming) == [name]


def test_a_file_is_taken_once_it_bears_its_final_name(layout, intake):
    one = genome()
    (layout.incoming / "x.json.part").write_bytes(encode(one))
    assert intake.poll(nobody) == []
    os.rename(layout.incoming / "x.json.part", layout.incoming / "x.json")
    assert [a.genome for a in intake.poll(nobody)] == [one]
    assert intake.poll(nobody) == []


def test_a_file_that_replaces_another_under_one_name_is_another_file(layout, intake):
    first, second = genome(), genome(p=0.7)
    (layout.incoming / "x.json").write_bytes(encode(first))
    (layout.incoming / ".y").write_bytes(encode(second))
    os.rename(layout.incoming / ".y", layout.incoming / "x.json")  # overwritten before anybody looked
    assert [a.genome for a in intake.poll(nobody)] == [second]
    (layout.incoming / "x.json").write_bytes(encode(first))
    assert [a.genome for a in intake.poll(nobody)] == [first]


def test_a_claim_that_a_crash_left_is_taken_up_before_a_newer_file_of_its_name(layout, intake):
    first, second = genome(), genome(p=0.7)
    (layout.incoming / ".taken-x.json").write_bytes(encode(first))
    (layout.incoming / "x.json").write_bytes(encode(second))
    assert [a.genome for a in intake.poll(nobody)] == [first]
    assert [a.genome for a in intake.poll(nobody)] == [second]


def test_files_are_taken_in_the_order_of_their_names_and_a_genome_once(layout, intake):
    one, two = genome(), genome(p=0.7)
    for name, data in (("b", one), ("a", two), ("c", one), ("d", genome(instrument_id=ETH_ID))):
        (layout.incoming / f"{name}.json").write_bytes(encode(data))
    arrivals = intake.poll(nobody)
    assert [(a.name, a.genome) for a in arrivals] == [
        ("a.json", two),
        ("b.json", one),
        ("c.json", None),
        ("d.json", None),
    ]
    assert "already in shadow" in arrivals[2].reason


def test_a_genome_that_already_trades_is_refused(layout, intake):
    one = genome()
    drop(layout, one.id, encode(one))
    (arrival,) = intake.poll({one.id: "champion of btc-1"}.get)
    assert "already champion of btc-1" in arrival.reason


def test_refused_files_of_one_name_are_all_kept(layout, intake):
    for data in (b"{1", b"{2", b"{3"):
        (layout.incoming / "evil.json").write_bytes(data)
        intake.poll(nobody)
    kept = [p for p in layout.rejected.iterdir() if p.suffix == ".json"]
    assert sorted(p.read_bytes() for p in kept) == [b"{1", b"{2", b"{3"]
    assert all(p.with_name(p.name + ".reason.txt").exists() for p in kept)


@pytest.mark.parametrize(
    "name", [".taken-" + "a" * 240, ".taken-", ".taken-..", ".taken-\udcff\n.json", ".taken-[red].json"]
)
def test_a_file_that_pretends_to_be_a_claim_is_refused_under_a_plain_name(layout, intake, name):
    (layout.incoming / name).write_bytes(b"no genome")
    (arrival,) = intake.poll(nobody)
    assert arrival.genome is None
    assert files(layout.incoming) == []
    assert arrival.path.parent == layout.rejected
    assert arrival.path.read_bytes() == b"no genome"
    assert arrival.path.with_name(arrival.path.name + ".reason.txt").exists()


def test_no_more_files_are_taken_than_there_is_money_for_and_the_rest_keep_their_turn(layout, intake):
    genomes = sorted((genome(p=0.5 + k / 100) for k in range(4)), key=lambda g: g.id)
    for one in genomes:
        drop(layout, one.id, encode(one))
    (layout.incoming / "broken.json").write_bytes(b"{")
    taken = intake.poll(nobody, room=2)
    assert [a.genome.id for a in taken if a.genome] == [g.id for g in genomes[:2]]
    assert [a.name for a in taken if a.genome is None] == ["broken.json"]
    assert [a.genome.id for a in intake.poll(nobody, room=9)] == [g.id for g in genomes[2:]]
