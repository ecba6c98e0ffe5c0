"""The Pit Crew: takes what the Forge drops, keeps it in shadow, and says when a slot changes hands.

Nothing here knows the engine. The crew reads directories and the arena's books and returns what is to be
done; the arena does it. Life of a challenger:

``incoming/`` -> (validated, compiled) ``challengers/<instrument>/`` and in shadow -> takes an empty slot
after `min_shadow_s`, or beats the champion it contests, or expires into ``retired/``.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path

import msgspec

from apex_nautilus.actors.contest import (
    Champion,
    Contender,
    ContestRules,
    Outcome,
    choose_for_empty_slot,
    choose_opponent,
    decide_contest,
)
from apex_nautilus.actors.intake import CLOCKS, Arrival, Intake, is_unfinished
from apex_nautilus.actors.roster import Agent, Roster, common_equities
from apex_nautilus.genome import Genome, GenomeError, decode
from apex_nautilus.store import CatalogLayout, list_champions

__all__ = ["Change", "Installed", "PitCrew"]

_NS = 1_000_000_000
_PORTION = 64
"""Files that one look decides on: each is flushed to the disk, and a flood of them must not delay orders."""


class Installed(msgspec.Struct, frozen=True):
    """A genome that the directories say is alive: a champion (epoch > 0) or a challenger (epoch 0, slot
    "")."""

    genome: Genome
    path: Path
    slot: str
    epoch: int


class Change(msgspec.Struct, frozen=True):
    """What is to be done: `action` is ``swap`` (`challenger` takes `slot`) or ``expire`` (it is retired)."""

    action: str
    challenger: Agent
    slot: str
    outcome: Outcome


class PitCrew:
    """Watches one catalog for one arena.

    Parameters
    ----------
    layout : CatalogLayout
    roster : Roster
        The arena's books.
    rules : ContestRules
    known_features : collection of str
        Feature names a genome may use.
    """

    def __init__(
        self,
        layout: CatalogLayout,
        roster: Roster,
        rules: ContestRules,
        *,
        known_features: Collection[str],
        clocks: Collection[str] = CLOCKS,
    ) -> None:
        self._layout = layout
        self._roster = roster
        self._rules = rules
        self._features = frozenset(known_features)
        self._intake = Intake(
            layout, known_features=known_features, instruments=roster.instruments, clocks=clocks
        )
        self._next_look_ns = 0

    def installed(self) -> list[Installed]:
        """What the directories say is alive at start: champions of the arena's slots, then challengers, by
        name.

        Raises
        ------
        GenomeError
            When a champion of a slot can not be decoded: it was validated when it came, so this version of
            the package knows less than the one that took it, and the slot's money must not be given to a
            guess.
        """
        found = []
        for champion in list_champions(self._layout):
            slot = self._roster.slots.get(champion.slot)
            if slot is None or slot.instrument_id != champion.instrument_id:
                continue  # a slot that this arena does not run
            path = self._layout.champion_file(champion.instrument_id, champion.slot)
            genome = decode(champion.genome_json(), known_features=self._features, source=path.name)
            found.append(Installed(genome, path, champion.slot, champion.epoch))
        for instrument_id in self._roster.instruments:
            for path in sorted(self._layout.challengers(instrument_id).glob("*.json")):
                if is_unfinished(path.name):
                    continue
                genome = self._challenger(path, instrument_id)
                if genome is None or any(other.genome.id == genome.id for other in found):
                    # Taken by an earlier version, or put here by hand: it goes through the door again, which
                    # refuses it with its reason or takes it.
                    path.rename(self._layout.incoming / path.name)
                else:
                    found.append(Installed(genome, path, "", 0))
        return found

    def send_back(self, challenger: Installed) -> None:
        """Put a challenger that there is no money for to those that wait in ``incoming/``."""
        challenger.path.rename(self._layout.incoming_file(challenger.genome.id))

    def _challenger(self, path: Path, instrument_id: str) -> Genome | None:
        """The genome of a challenger's file, or None where the door would not have let it to this place."""
        try:
            genome = self._intake.read(path, path.name)
        except (GenomeError, OSError):
            return None
        proper = self._layout.challenger_file(instrument_id, genome.id)
        return genome if genome.instrument_id == instrument_id and path == proper else None

    def take(self, room: int | None = None) -> tuple[list[Arrival], bool]:
        """Take what lies whole in ``incoming/``, a portion of it; at most `room` genomes, where given.

        Returns
        -------
        list of Arrival
        bool
            Whether the portion was full, so that more may lie there.
        """
        arrivals = self._intake.poll(self._roster.where, room=room, limit=_PORTION)
        return arrivals, len(arrivals) >= _PORTION

    @property
    def stuck(self) -> dict[str, str]:
        """Names of files that could not be moved at the last look, and why."""
        return self._intake.stuck

    def wanted_slot(self, genome: Genome) -> str:
        """The slot that the genome's job named, if this arena runs it on the genome's instrument; else ""."""
        slot = self._roster.slots.get(genome.provenance.slot or "")
        return slot.name if slot is not None and slot.instrument_id == genome.instrument_id else ""

    def changes(self, now_ns: int, *, busy: Collection[str]) -> list[Change]:
        """Look at every slot and every challenger; return what is to be done, each agent and slot once.

        Parameters
        ----------
        now_ns : int
            Engine time.
        busy : collection of str
            Slots whose change or burial is under way.
        """
        changes: list[Change] = []
        engaged: set[str] = set()
        taken = set(busy)
        for slot in self._roster.slots.values():
            if slot.name in taken or self._roster.champion_of(slot.name) is not None:
                continue
            free = [a for a in self._roster.shadows(slot.instrument_id) if a.name not in engaged]
            best = choose_for_empty_slot(
                slot.name, slot.instrument_id, [self._contender(a, now_ns) for a in free], self._rules
            )
            if best is None:
                continue
            challenger = next(a for a in free if a.genome.id == best.genome_id)
            reason = f"{slot.name} was empty; {best.shadow_s:.0f} s in shadow"
            changes.append(Change("swap", challenger, slot.name, Outcome("swap", reason, math.nan, 0)))
            engaged.add(challenger.name)
            taken.add(slot.name)
        if now_ns < self._next_look_ns:
            return changes
        self._next_look_ns = now_ns + round(self._rules.every_s * _NS)
        for challenger in self._roster.shadows():
            if challenger.name in engaged:
                continue
            change = self._contest(challenger, now_ns, taken)
            if change is None:
                continue
            changes.append(change)
            if change.action == "swap":
                taken.add(change.slot)
        return changes

    def _contest(self, challenger: Agent, now_ns: int, taken: Collection[str]) -> Change | None:
        rivals = {}
        for slot in self._roster.slots.values():
            if slot.instrument_id != challenger.instrument_id or slot.name in taken:
                continue
            champion = self._roster.champion_of(slot.name)
            if champion is None or champion.closing:
                continue
            theirs, ours = common_equities(champion, challenger)
            if len(ours) > 0:
                rivals[slot.name] = (
                    Champion(slot.name, slot.instrument_id, float(theirs[-1] - theirs[0])),
                    theirs,
                    ours,
                )
        slot = choose_opponent(
            challenger.instrument_id, self.wanted_slot(challenger.genome), [r[0] for r in rivals.values()]
        )
        theirs, ours = rivals[slot][1:] if slot is not None else ((), ())
        outcome = decide_contest(
            ours,
            theirs,
            trades=len(challenger.returns),
            # Who holds a position is at work, however long ago it was opened.
            idle_s=(now_ns - challenger.last_fill_ns) / _NS if challenger.account.is_flat else 0.0,
            rules=self._rules,
        )
        if outcome.action == "expire" or (outcome.action == "swap" and slot is not None):
            return Change(outcome.action, challenger, slot or "", outcome)
        return None

    def _contender(self, agent: Agent, now_ns: int) -> Contender:
        result = agent.genome.evidence.out_of_sample
        wanted = self.wanted_slot(agent.genome)
        # A challenger whose slot was filled in the meantime is free for any other.
        if wanted and self._roster.champion_of(wanted) is not None:
            wanted = ""
        return Contender(
            genome_id=agent.genome.id,
            instrument_id=agent.instrument_id,
            wanted_slot=wanted,
            passed=agent.genome.evidence.gate == "passed",
            dsr=math.nan if result is None or result.dsr is None else result.dsr,
            growth=agent.account.balance - agent.capital,
            shadow_s=(now_ns - agent.born_ns) / _NS,
        )
