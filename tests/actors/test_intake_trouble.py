"""The door of the watched directory when the disk, the system or the writer is in the way."""

from __future__ import annotations

import errno
import hashlib
import os
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from support.arena_case import BTC_ID, arena_config, catalog, genome, path, simulate

from apex_nautilus.actors import intake as intake_module
from apex_nautilus.actors import read_result
from apex_nautilus.actors.intake import Intake
from apex_nautilus.features import names
from apex_nautilus.genome import Artifact, encode, sealed
from apex_nautilus.store import CatalogLayout, drop

WEIGHTS = b"a network"


@pytest.fixture
def layout(tmp_path):
    return CatalogLayout(tmp_path / "catalog").ensure()


@pytest.fixture
def intake(layout):
    return Intake(layout, known_features=names("book"), instruments=[BTC_ID])


def nobody(genome_id):
    return None


def entries(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def oracle(network: str, weights: bytes = WEIGHTS):
    artifact = Artifact(network, hashlib.sha256(weights).hexdigest())
    return sealed(
        msgspec.structs.replace(genome(), kind="oracle", signal=None, confidence=None, artifact=artifact)
    )


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EIO])
@pytest.mark.parametrize("target", ["rejected", "challengers", ".taken-a.json"])
def test_what_cannot_be_moved_waits_and_keeps_nobody_else_waiting(
    layout, intake, monkeypatch, number, target
):
    """A full disk, a folder that belongs to somebody else: the arena lives on, and tries again."""
    valid, other = genome(), genome(p=0.7)
    (layout.incoming / "a.json").write_bytes(encode(valid) if target != "rejected" else b"{")
    (layout.incoming / "b.json").write_bytes(encode(other))
    rename = os.rename

    def refuse(source, destination):
        if Path(source).name.endswith("a.json") and target in str(destination):
            raise OSError(number, os.strerror(number), str(source))
        rename(source, destination)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", refuse)
        assert [a.genome for a in intake.poll(nobody)] == [other]
        for _ in range(3):
            assert intake.poll(nobody) == []
            assert intake.stuck == {"a.json": os.strerror(number)}
        assert entries(layout.rejected) == []  # no reason beside what is not there
    (arrival,) = intake.poll(nobody)
    assert arrival.genome == (None if target == "rejected" else valid)
    assert intake.stuck == {}
    assert entries(layout.incoming) == []


def test_a_reason_that_the_disk_has_no_room_for_is_not_left_empty(layout, intake, monkeypatch):
    (layout.incoming / "a.json").write_bytes(b"{")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert intake.poll(nobody) == []
    assert entries(layout.rejected) == []
    assert len(intake.poll(nobody)) == 1
    assert entries(layout.rejected) == ["a.json", "a.json.reason.txt"]


def test_a_disk_that_cannot_be_read_for_a_moment_is_not_held_against_the_file(layout, intake, monkeypatch):
    one = genome()
    drop(layout, one.id, encode(one))

    def broken(path, name):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(intake_module, "read_regular", broken)
        assert intake.poll(nobody) == []
        assert len(intake.stuck) == 1
    assert [a.genome for a in intake.poll(nobody)] == [one]


def test_what_is_stuck_does_not_use_up_the_turn_of_the_others(layout, intake, monkeypatch):
    for k in range(3):
        (layout.incoming / f"a{k}.json").mkdir()
    one = genome()
    (layout.incoming / "z.json").write_bytes(encode(one))
    rename = os.rename

    def refuse(source, destination):
        if "rejected" in str(destination):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        rename(source, destination)

    monkeypatch.setattr(os, "rename", refuse)
    assert intake.poll(nobody, limit=3) == []
    assert [a.genome for a in intake.poll(nobody, limit=3)] == [one]


def test_a_folder_that_was_taken_away_is_told_and_no_crash(layout, intake):
    layout.incoming.rmdir()
    assert intake.poll(nobody) == []
    assert "incoming" in intake.stuck


def test_a_flood_is_taken_in_portions_and_in_order(layout, intake):
    for k in range(25):
        (layout.incoming / f"{k:02d}.json").write_bytes(b"{")
    told = []
    while portion := intake.poll(nobody, limit=10):
        assert len(portion) <= 10
        told += [a.name for a in portion]
    assert told == [f"{k:02d}.json" for k in range(25)]


def test_a_file_with_a_second_name_cannot_be_changed_after_it_was_checked(layout, intake, tmp_path):
    one = genome()
    kept = tmp_path / "mine.json"
    kept.write_bytes(encode(one))
    os.link(kept, layout.incoming / "x.json")
    (arrival,) = intake.poll(nobody)
    kept.write_bytes(b"something else")
    assert arrival.path.read_bytes() == encode(one)
    assert entries(layout.incoming) == []


def test_a_network_waits_for_its_genome_and_goes_where_it_goes(layout, intake):
    (layout.incoming / "net.onnx").write_bytes(WEIGHTS)
    assert intake.poll(nobody) == []
    assert entries(layout.incoming) == ["net.onnx"]
    (layout.incoming / "oracle.json").write_bytes(encode(oracle("net.onnx")))
    (arrival,) = intake.poll(nobody)
    assert arrival.genome is None
    assert "whole and in order" in arrival.reason
    assert "'oracle'" in arrival.reason
    assert entries(layout.rejected) == ["net.onnx", "oracle.json", "oracle.json.reason.txt"]
    assert (layout.rejected / "net.onnx").read_bytes() == WEIGHTS
    assert entries(layout.incoming) == []


def test_a_network_that_is_still_written_keeps_its_genome_waiting(layout, intake):
    (layout.incoming / "oracle.json").write_bytes(encode(oracle("net.onnx")))
    with (layout.incoming / "net.onnx").open("wb", buffering=0) as file:
        file.write(WEIGHTS[:3])
        assert intake.poll(nobody) == []
        file.write(WEIGHTS[3:])
    (arrival,) = intake.poll(nobody)
    assert "whole and in order" in arrival.reason


def link_to(target):
    return lambda path: path.symlink_to(target)


def of_size(size):
    def make(path):
        path.write_bytes(b"")
        os.truncate(path, size)  # a hole: no bytes are written

    return make


@pytest.mark.parametrize(
    ("make", "says", "moved"),
    [
        (lambda path: path.write_bytes(b"another"), "SHA-256", True),
        (lambda path: None, "not a regular file beside the genome", False),
        (link_to("/etc/hostname"), "not a regular file beside the genome", True),
        (lambda path: path.mkdir(), "not a regular file beside the genome", True),
        (of_size(256 * 2**20 + 1), "the limit is", True),
    ],
    ids=["changed", "missing", "link", "folder", "oversized"],
)
def test_a_network_that_is_not_what_its_genome_says_is_refused_with_it(layout, intake, make, says, moved):
    make(layout.incoming / "net.onnx")
    (layout.incoming / "oracle.json").write_bytes(encode(oracle("net.onnx")))
    (arrival,) = intake.poll(nobody)
    assert arrival.genome is None
    assert says in arrival.reason
    assert ("net.onnx" in entries(layout.rejected)) is moved
    assert entries(layout.incoming) == []


@pytest.mark.parametrize("name", ["../../../secret.onnx", "/etc/passwd", "a/b.onnx", ".hidden.onnx", ".."])
def test_a_network_elsewhere_is_neither_read_nor_moved(layout, intake, name):
    secret = layout.root / "secret.onnx"
    secret.write_bytes(WEIGHTS)
    (layout.incoming / ".hidden.onnx").write_bytes(WEIGHTS)
    text = encode(oracle("net.onnx")).replace(b'"net.onnx"', f'"{name}"'.encode())
    (layout.incoming / "oracle.json").write_bytes(text)
    (arrival,) = intake.poll(nobody)
    assert "not a plain file name" in arrival.reason
    assert secret.read_bytes() == WEIGHTS
    assert entries(layout.incoming) == [".hidden.onnx"]
    assert entries(layout.rejected) == ["oracle.json", "oracle.json.reason.txt"]


def test_one_network_of_two_genomes_is_refused_with_the_first_and_missed_by_the_second(layout, intake):
    (layout.incoming / "net.onnx").write_bytes(WEIGHTS)
    for k, name in enumerate(("a.json", "b.json")):
        other = msgspec.structs.replace(oracle("net.onnx"), entry_threshold=0.5 + k / 10)
        (layout.incoming / name).write_bytes(encode(sealed(other)))
    arrivals = intake.poll(nobody) + intake.poll(nobody)
    assert [a.name for a in arrivals] == ["a.json", "b.json"]
    assert "whole and in order" in arrivals[0].reason
    assert "beside the genome" in arrivals[1].reason
    assert entries(layout.incoming) == []


def test_an_arena_trades_on_through_a_flood_that_it_takes_in_portions(tmp_path, monkeypatch):
    layout = catalog(tmp_path, champions={"btc-1": genome()}, incoming=[genome(p=0.7)])
    for k in range(600):
        (layout.incoming / f"{k:03d}.json").write_bytes(b"{")
    (layout.incoming / "zz.json").mkdir()
    rename = os.rename

    def refuse(source, destination):
        if Path(source).name.endswith("zz.json") and "rejected" in str(destination):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        rename(source, destination)

    monkeypatch.setattr(os, "rename", refuse)
    simulate(arena_config(layout, {"btc-1": BTC_ID}, intake_s=30.0), {BTC_ID: path(20)}).dispose()
    result = read_result(tmp_path)
    looks = Counter(ts_ns for ts_ns, _ in result.rejections)
    assert list(looks.values()) == [64] * 9 + [24]
    assert max(looks) - min(looks) <= 10_000_000_000  # at the opening and the marks after it, not every 30 s
    assert "shadow-1" in result.agents
    assert len(result.agents["btc-1.e1"].fills) > 5
    assert entries(layout.incoming) == [".taken-zz.json"]
    assert result.finish is not None
