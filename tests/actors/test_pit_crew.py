"""The Pit Crew reads directories and books, and says what is to be done."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from support.arena_case import BTC_ID, ETH_ID, catalog, genome

from apex_nautilus.actors.contest import ContestRules
from apex_nautilus.actors.pit_crew import PitCrew
from apex_nautilus.actors.roster import Roster, Slot, common_equities, tag_of
from apex_nautilus.features import names
from apex_nautilus.genome import Artifact, GenomeError, encode, sealed
from apex_nautilus.store import install, write_atomic

SLOTS = [Slot("btc-1", BTC_ID), Slot("btc-2", BTC_ID), Slot("eth-1", ETH_ID)]
RULES = ContestRules(confidence=0.9, min_trades=2, min_shadow_s=10.0, idle_expiry_s=0.0, every_s=0.0)
SECOND = 1_000_000_000


@pytest.fixture
def roster():
    roster = Roster(SLOTS, 200.0)
    roster.treasury = 10_000.0
    return roster


def crew(layout, roster, rules=RULES):
    return PitCrew(layout, roster, rules, known_features=names("book"))


def bear(roster, role, one, slot="", epoch=0, mark=0, equities=(), trades=0):
    agent = roster.bear(
        role, slot=slot, epoch=epoch, genome=one, path=None, size_precision=3, ts_ns=0, mark=mark
    )
    agent.equities.extend(equities)
    agent.returns.extend([0.01] * trades)
    return agent


def test_what_the_directories_say_is_what_is_alive(tmp_path, roster):
    one, two, three = genome(), genome(p=0.7), genome(p=0.8)
    layout = catalog(tmp_path, champions={"btc-1": one, "elsewhere": genome(p=0.65)})
    for challenger in (two, three):
        path = layout.challenger_file(BTC_ID, challenger.id)
        path.parent.mkdir(exist_ok=True)
        write_atomic(path, encode(challenger))
    found = crew(layout, roster).installed()
    assert [(i.slot, i.epoch) for i in found] == [("btc-1", 1), ("", 0), ("", 0)]
    assert {i.genome.id for i in found} == {one.id, two.id, three.id}


def test_a_challenger_that_is_not_in_order_goes_through_the_door_again(tmp_path, roster):
    one = genome()
    layout = catalog(tmp_path, champions={"btc-1": one})
    folder = layout.challengers(BTC_ID)
    folder.mkdir(exist_ok=True)
    (folder / "junk.json").write_bytes(b"{")
    (folder / "misnamed.json").write_bytes(encode(genome(p=0.7)))
    layout.challenger_file(BTC_ID, one.id).write_bytes(encode(one))  # it is the champion
    (folder / f"strategy_challenger_{genome(instrument_id=ETH_ID).id}.json").write_bytes(
        encode(genome(instrument_id=ETH_ID))
    )
    the_crew = crew(layout, roster)
    assert [i.slot for i in the_crew.installed()] == ["btc-1"]
    bear(roster, "champion", one, slot="btc-1", epoch=1)
    taken = {a.genome.id if a.genome else a.name for a in the_crew.take()[0]}
    assert taken == {
        "junk.json",
        f"strategy_challenger_{one.id}.json",
        genome(p=0.7).id,
        genome(instrument_id=ETH_ID).id,
    }


def test_a_champion_that_cannot_be_read_is_an_error_and_not_a_guess(tmp_path, roster):
    layout = catalog(tmp_path)
    data = encode(genome()).replace(b"spread_bps", b"was_known_once").replace(genome().id.encode(), b"0" * 16)
    install(layout, "btc-1", data)
    with pytest.raises(GenomeError, match="was_known_once"):
        crew(layout, roster).installed()


def test_a_contest_is_decided_over_the_marks_that_both_saw(tmp_path, roster):
    rising = [200.0 + k + (k % 3) * 0.1 for k in range(60)]
    falling = [200.0 - k + (k % 2) * 0.1 for k in range(100)]
    champion = bear(roster, "champion", genome(), slot="btc-1", epoch=1, equities=falling)
    challenger = bear(roster, "shadow", genome(p=0.7), mark=40, equities=rising, trades=2)
    theirs, ours = common_equities(champion, challenger)
    assert (len(theirs), len(ours)) == (60, 60)
    assert (theirs[0], ours[0]) == (falling[40], 200.0)
    (change,) = crew(catalog(tmp_path), roster).changes(5 * SECOND, busy=["btc-2", "eth-1"])
    assert (change.action, change.slot, change.challenger) == ("swap", "btc-1", challenger)
    assert crew(catalog(tmp_path), roster).changes(5 * SECOND, busy=["btc-1", "btc-2", "eth-1"]) == []


def test_two_challengers_never_get_one_slot_and_one_never_two(tmp_path, roster):
    for slot in ("btc-1", "btc-2"):
        bear(roster, "champion", genome(p=0.6 if slot == "btc-1" else 0.61), slot=slot, epoch=1,
             equities=[200.0 - k for k in range(50)])  # fmt: skip
    for p in (0.7, 0.71, 0.72):
        bear(roster, "shadow", genome(p=p), equities=[200.0 + k for k in range(50)], trades=5)
    changes = crew(catalog(tmp_path), roster).changes(60 * SECOND, busy=["eth-1"])
    assert sorted(c.slot for c in changes) == ["btc-1", "btc-2"]
    assert len({c.challenger.name for c in changes}) == 2


def test_a_challenger_is_left_for_the_empty_slot_that_asked_for_it(tmp_path, roster):
    asked = bear(roster, "shadow", genome(slot="btc-2"))
    the_crew = crew(catalog(tmp_path), roster)
    assert the_crew.changes(5 * SECOND, busy=[]) == []  # too young
    changes = the_crew.changes(10 * SECOND, busy=["eth-1"])
    assert [(c.slot, c.challenger) for c in changes] == [("btc-2", asked)]


def test_a_slot_is_looked_at_only_every_so_often(tmp_path, roster):
    rules = ContestRules(min_trades=1, confidence=0.9, every_s=30.0, min_shadow_s=1e6)
    bear(roster, "champion", genome(), slot="btc-1", epoch=1, equities=[200.0] * 50)
    challenger = bear(roster, "shadow", genome(p=0.7), equities=[200.0 + k for k in range(50)])
    the_crew = crew(catalog(tmp_path), roster, rules)
    assert the_crew.changes(0, busy=[]) == []
    challenger.returns.append(0.01)
    assert the_crew.changes(29 * SECOND, busy=[]) == []
    assert [c.slot for c in the_crew.changes(30 * SECOND, busy=[])] == ["btc-1"]


def test_a_challenger_that_holds_a_position_is_not_idle(tmp_path, roster):
    rules = ContestRules(idle_expiry_s=60.0, every_s=0.0, min_shadow_s=10_000.0)
    bear(roster, "champion", genome(), slot="btc-1", epoch=1, equities=[200.0] * 50)
    challenger = bear(roster, "shadow", genome(p=0.7), equities=[200.0] * 50)
    the_crew = crew(catalog(tmp_path), roster, rules)
    challenger.book_fill(0.01, 50_000.0, 0.25, 0)
    assert the_crew.changes(3_600 * SECOND, busy=[]) == []
    challenger.book_fill(-0.01, 50_000.0, 0.25, 3_600 * SECOND)
    assert the_crew.changes(3_659 * SECOND, busy=[]) == []
    assert [c.action for c in the_crew.changes(3_660 * SECOND, busy=[])] == ["expire"]


def test_books_move_money_and_refuse_nonsense(roster):
    agent = bear(roster, "champion", genome(), slot="btc-1", epoch=3)
    assert (agent.name, agent.tag, roster.treasury) == ("btc-1.e3", "BTC1E3", 9_800.0)
    assert agent.book_fill(0.01, 50_000.0, 0.25, 7) is False
    with pytest.raises(ValueError, match="flatten"):
        roster.bury(agent)
    assert agent.book_fill(-0.01, 50_100.0, 0.25, 8) is True
    assert agent.returns == [pytest.approx(0.5 / 200.0)]
    roster.bury(agent)
    assert roster.treasury == pytest.approx(10_000.5)
    with pytest.raises(ValueError, match="born before"):
        bear(roster, "champion", genome(), slot="btc-1", epoch=3)
    for slots, words in (([], "there is none"), ([Slot("a-1", BTC_ID), Slot("A1", BTC_ID)], "slot names")):
        with pytest.raises(ValueError, match=words):
            Roster(slots, 200.0)
    assert tag_of("sol-2", 12) == "SOL2E12"


def test_the_file_beside_an_oracle_is_held_against_its_hash(tmp_path, roster):
    """A changed network is refused by its hash, a missing one by its name, before anything is made of it."""
    layout = catalog(tmp_path)
    weights = b"a network"
    reasons = {}
    for name, content, stated in (
        ("changed.onnx", b"another", hashlib.sha256(weights).hexdigest()),
        ("missing.onnx", None, hashlib.sha256(weights).hexdigest()),
        ("right.onnx", weights, hashlib.sha256(weights).hexdigest()),
    ):
        if content is not None:
            (layout.incoming / f".{name}").write_bytes(content)
            (layout.incoming / f".{name}").rename(layout.incoming / name)
        oracle = msgspec.structs.replace(
            genome(), kind="oracle", signal=None, confidence=None, artifact=Artifact(name, stated)
        )
        source = layout.incoming / "oracle.json"
        source.write_bytes(encode(sealed(oracle)))
        with pytest.raises(GenomeError) as refused:
            crew(layout, roster)._intake.read(source, source.name)
        reasons[name] = str(refused.value)
        source.unlink()
    assert "SHA-256" in reasons["changed.onnx"]
    assert "missing.onnx" in reasons["missing.onnx"]
    assert "SHA-256" not in reasons["right.onnx"]  # its hash is right; an arena of trees cannot run it
