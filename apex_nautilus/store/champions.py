"""Who trades: champion files, the swap of one genome for another, and its recovery from the directories
alone.

The file ``champions/<instrument>/<slot>.json`` decides who trades in a slot. Each change raises its epoch by
one, and the genome that left is kept in ``retired/`` under ``<slot>.<epoch>.<id>.json``. The steps of a swap
are

1. copy the champion of epoch n to ``retired/``;
2. replace the champion file by one of epoch n + 1 that holds the challenger's genome: **the swap happens
   here**;
3. remove the challenger's file.

A crash before 2 leaves the old champion and the challenger as they were, with a copy in ``retired/`` that
bears the epoch of a living champion: `recover` removes the copy. A crash after 2 leaves the challenger's file
although its genome trades: `recover` removes the file. At every moment each slot has the one champion file
that it had, or the one that replaced it. A death empties a slot by a single rename from ``champions/`` to
``retired/``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec

from apex_nautilus.store.atomic import clean_temporaries, fsync_directory, move, remove, write_atomic
from apex_nautilus.store.errors import NOT_JSON, StoreError
from apex_nautilus.store.faults import fault_point
from apex_nautilus.store.layout import CatalogLayout, check_name

__all__ = [
    "CHAMPION_SCHEMA",
    "Champion",
    "RecoveryReport",
    "genome_fields",
    "install",
    "list_champions",
    "next_epoch",
    "read_champion",
    "recover",
    "retire",
    "swap",
]

CHAMPION_SCHEMA = "apex.champion/1"


class Champion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The genome that holds a slot.

    Attributes
    ----------
    schema : ``apex.champion/1``.
    slot : the slot's name.
    instrument_id : what it trades.
    epoch : 1 for the first genome of the slot, one more with each change.
    genome : the genome's JSON as it was proposed, undecoded: recovery must not depend on which features or
        primitives this version of the package knows. Decode `genome_json()` with the genome's codec to run
        it.
    """

    schema: str
    slot: str
    instrument_id: str
    epoch: int
    genome: msgspec.Raw

    @property
    def genome_id(self) -> str:
        """The id that the genome bears."""
        return genome_fields(bytes(self.genome), f"champion of {self.slot}").id

    def genome_json(self) -> bytes:
        """The genome's JSON, ready for the codec."""
        return bytes(self.genome)


class GenomeFields(msgspec.Struct, frozen=True):
    """The two fields of a genome that file handling needs; everything else is the codec's business."""

    id: str
    instrument_id: str


class RecoveryReport(msgspec.Struct, frozen=True):
    """What `recover` found: the champion of each slot, and the files it removed to finish or undo a swap."""

    champions: dict[str, str]
    removed: list[str]


def genome_fields(data: bytes, source: str) -> GenomeFields:
    """The id and instrument of a genome's JSON, without validating the rest.

    Raises
    ------
    StoreError
        `data` is not JSON or lacks one of the two; `source` names it in the message.
    """
    try:
        return msgspec.json.decode(data, type=GenomeFields)
    except NOT_JSON as error:
        raise StoreError(f"{source}: not a genome ({error})") from None


def read_champion(path: str | os.PathLike[str]) -> Champion:
    """Read a champion file (or a retired one, which has the same form).

    Raises
    ------
    StoreError
        The file is not a champion file; the message names it.
    FileNotFoundError
        There is none.
    """
    source = Path(path)
    try:
        champion = msgspec.json.decode(source.read_bytes(), type=Champion)
    except NOT_JSON as error:
        raise StoreError(
            f"{source}: not a champion file ({error}); move it away and install a champion again"
        ) from None
    if champion.schema != CHAMPION_SCHEMA:
        raise StoreError(f"{source}: schema is {champion.schema!r}, this version reads {CHAMPION_SCHEMA!r}")
    return champion


def list_champions(layout: CatalogLayout) -> list[Champion]:
    """The champions of all slots, sorted by instrument folder and slot."""
    return [read_champion(path) for path in _champion_files(layout)]


def next_epoch(layout: CatalogLayout, instrument_id: str, slot: str) -> int:
    """The epoch that the slot's next champion gets: one more than any that the directories know of."""
    latest = max((epoch for epoch, _ in _retired_of(layout, slot)), default=0)
    champion_file = layout.champion_file(instrument_id, slot)
    if champion_file.exists():
        latest = max(latest, read_champion(champion_file).epoch)
    return latest + 1


def swap(layout: CatalogLayout, slot: str, challenger: str | os.PathLike[str]) -> Champion:
    """Put the genome in the file `challenger` into `slot`, retiring the champion that holds it, if any.

    Parameters
    ----------
    layout : the catalog.
    slot : the slot contested; its instrument is the challenger's.
    challenger : a genome's JSON file, usually in ``challengers/<instrument>/``; it is removed.

    Returns
    -------
    The new champion.

    Raises
    ------
    StoreError
        The challenger is no genome, or the slot's name belongs to another instrument. Nothing has changed
        then.
    """
    source = Path(challenger)
    data = source.read_bytes()
    genome = genome_fields(data, str(source))
    _check_slot_instrument(layout, slot, genome.instrument_id)
    champion_file = layout.champion_file(genome.instrument_id, slot)
    if not champion_file.parent.is_dir():
        champion_file.parent.mkdir(parents=True, exist_ok=True)
        fsync_directory(champion_file.parent.parent)
    epoch = next_epoch(layout, genome.instrument_id, slot)
    fault_point("swap.begin")
    if champion_file.exists():
        outgoing = read_champion(champion_file)
        kept = layout.retired_file(slot, outgoing.epoch, outgoing.genome_id)
        write_atomic(kept, champion_file.read_bytes())
    fault_point("swap.retired")
    champion = Champion(CHAMPION_SCHEMA, slot, genome.instrument_id, epoch, msgspec.Raw(data))
    write_atomic(champion_file, _encode(champion))
    fault_point("swap.champion")
    remove(source)
    fault_point("swap.end")
    return champion


def install(layout: CatalogLayout, slot: str, genome_json: bytes) -> Champion:
    """Put a genome given as bytes into `slot` (a first champion from a configuration), retiring one that
    holds it.
    """
    genome = genome_fields(genome_json, f"genome for slot {slot}")
    staged = layout.challenger_file(genome.instrument_id, genome.id)
    staged.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(staged, genome_json)
    return swap(layout, slot, staged)


def retire(layout: CatalogLayout, instrument_id: str, slot: str) -> Path:
    """Empty a slot: its champion file becomes a retired one by a single rename; returns where it is kept.

    Raises
    ------
    FileNotFoundError
        The slot is empty.
    """
    champion_file = layout.champion_file(instrument_id, slot)
    champion = read_champion(champion_file)
    kept = layout.retired_file(slot, champion.epoch, champion.genome_id)
    fault_point("retire.begin")
    move(champion_file, kept)
    fault_point("retire.end")
    return kept


def recover(layout: CatalogLayout) -> RecoveryReport:
    """Finish or undo what a crash interrupted, from the directories alone; safe to call at any start, any
    number of times.

    No other process may be swapping in this catalog meanwhile (the one that owns the slots calls this as it
    starts).

    Raises
    ------
    StoreError
        A champion file is unreadable, or one slot name has champions on two instruments: neither comes from a
        crash.
    """
    layout.ensure()
    removed: list[Path] = []
    folders = [layout.incoming, layout.retired, layout.rejected]
    for root in (layout.champions_root, layout.challengers_root):
        folders.extend(entry for entry in sorted(root.iterdir()) if entry.is_dir())
    for folder in folders:
        removed.extend(clean_temporaries(folder))

    champions: dict[str, Champion] = {}
    for path in _champion_files(layout):
        champion = read_champion(path)
        if champion.slot != path.stem or champion.instrument_id != _instrument_of(path):
            raise StoreError(
                f"{path}: holds slot {champion.slot!r} of {champion.instrument_id}; "
                "move it to where it belongs"
            )
        if champion.slot in champions:
            other = champions[champion.slot].instrument_id
            raise StoreError(f"{path}: slot {champion.slot!r} has a champion on {other} too; remove one")
        champions[champion.slot] = champion

    for slot, champion in champions.items():
        # Swap step 1 without step 2: the copy of a champion that is still in office.
        for epoch, path in _retired_of(layout, slot):
            if epoch == champion.epoch:
                remove(path)
                removed.append(path)
        # Swap step 2 without step 3. The whole document is compared, with its provenance: the same genome
        # proposed again for another slot is a proposal of its own.
        staged = layout.challenger_file(champion.instrument_id, champion.genome_id)
        if staged.exists() and _same_json(staged.read_bytes(), bytes(champion.genome)):
            remove(staged)
            removed.append(staged)
    return RecoveryReport(
        champions={slot: champion.genome_id for slot, champion in sorted(champions.items())},
        removed=[str(path.relative_to(layout.root)) for path in removed],
    )


def _encode(champion: Champion) -> bytes:
    # Put together by hand: a formatter would rewrite the genome's own bytes, which are kept as they were
    # proposed.
    head = msgspec.json.encode(
        {
            "schema": champion.schema,
            "slot": champion.slot,
            "instrument_id": champion.instrument_id,
            "epoch": champion.epoch,
        }
    )
    return head[:-1] + b',"genome":' + bytes(champion.genome).strip() + b"}\n"


def _champion_files(layout: CatalogLayout) -> list[Path]:
    return [path for path in sorted(layout.champions_root.glob("*/*.json")) if not path.name.startswith(".")]


def _instrument_of(champion_file: Path) -> str:
    return unquote(champion_file.parent.name)


def _retired_of(layout: CatalogLayout, slot: str) -> list[tuple[int, Path]]:
    """(epoch, file) of the retired champions of a slot; challengers that expired have other names."""
    found = []
    for path in sorted(layout.retired.glob(f"{check_name(slot, 'slot')}.*.json")):
        parts = path.name.split(".")
        if len(parts) == 4 and parts[1].isdigit():
            found.append((int(parts[1]), path))
    return found


def _check_slot_instrument(layout: CatalogLayout, slot: str, instrument_id: str) -> None:
    expected = layout.champion_file(instrument_id, slot)
    for path in layout.champions_root.glob(f"*/{check_name(slot, 'slot')}.json"):
        if path != expected:
            raise StoreError(
                f"slot {slot!r} trades {_instrument_of(path)}; a genome for {instrument_id} cannot take it, "
                "give it a slot of its own instrument"
            )


def _same_json(left: bytes, right: bytes) -> bool:
    documents: list[Any] = []
    for data in (left, right):
        try:
            documents.append(msgspec.json.decode(data))
        except NOT_JSON:
            return False
    return documents[0] == documents[1]
