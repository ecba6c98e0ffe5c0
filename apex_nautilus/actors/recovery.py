"""Finishing what a crash cut off, from the directories and the ledger alone.

The champion file decides who trades. What a crash can leave behind, and what is done about it at the next
start:

- a swap in the middle: `store.recover` finishes or undoes it; where the champion file already names the new
  genome, the line in the ledger that says so is written now;
- an agent condemned by a verdict, but not buried: its slot is emptied and the request to the Forge put,
  unless it was already; a condemned challenger is retired;
- a file claimed from ``incoming/`` and not yet filed: the next look takes it up (`intake`).

Running it twice changes nothing the second time.
"""

from __future__ import annotations

from apex_nautilus.actors import records
from apex_nautilus.actors.past import Past, read_past
from apex_nautilus.actors.recycling import best_genome, live_dsr, put_job
from apex_nautilus.store import (
    CatalogLayout,
    FileJobQueue,
    JobQueue,
    LedgerRecord,
    LedgerWriter,
    RecycleJob,
    expire,
    fault_point,
    list_champions,
    recover,
    retire,
)

__all__ = ["recover_arena"]

_TERMINAL = ("ruin", "drawdown", "decay")


def recover_arena(
    layout: CatalogLayout, ledger: LedgerWriter, queue: JobQueue | None = None, *, past: Past | None = None
) -> list[records.Record]:
    """Bring directories, queue and ledger to one story; return the lines written.

    Parameters
    ----------
    layout : CatalogLayout
        No other process may own its slots.
    ledger : LedgerWriter
        The arena's own, already open; lines get the time of the last line it holds.
    queue : JobQueue, optional
        Where the Forge is asked; by default the catalog's own jobs.
    past : Past, optional
        What the ledgers hold, where it was read already.

    Raises
    ------
    StoreError
        When a file is damaged in a way that no crash explains.
    """
    recover(layout)
    past = read_past(layout, ledger.writer) if past is None else past
    # In the order in which they were written: a clock may have been set back between two starts.
    history, now = sorted(past.story, key=lambda r: (r.writer, r.seq)), past.last_ns
    written: list[records.Record] = []
    queue = FileJobQueue(layout) if queue is None else queue
    for verdict in _unburied(history):
        if verdict["role"] == "champion":
            written += _finish_death(layout, queue, history, verdict)
        else:
            path = layout.challenger_file(verdict["instrument_id"], verdict["genome"])
            if path.exists():
                expire(layout, path)
                written.append(_recovery(verdict, "retired"))
        fault_point("recovery.step")
    told = {(r.fields["slot"], r.fields["epoch"]) for r in history if r.kind in ("swap", "birth", "recovery")}
    if history:
        for champion in list_champions(layout):
            if (champion.slot, champion.epoch) not in told:
                written.append(
                    records.Recovery(
                        slot=champion.slot, epoch=champion.epoch, genome=champion.genome_id, action="swapped"
                    )
                )
    for record in written:
        ledger.append(records.kind_of(record), now, record)
    ledger.flush()
    return written


def _unburied(history: list[LedgerRecord]) -> list[dict]:
    """Fields of terminal verdicts, with their time and instrument, whose agent was never buried nor
    recovered."""
    open_verdicts: dict[tuple[str, str], dict] = {}
    instruments = {r.fields["agent"]: r.fields["instrument_id"] for r in history if r.kind == "birth"}
    for record in history:
        fields = record.fields
        if record.kind == "verdict" and fields["verdict"] in _TERMINAL:
            agent = fields["agent"]
            if agent in instruments:
                open_verdicts[(agent, fields["genome"])] = {
                    **fields,
                    "ts_ns": record.ts_ns,
                    "instrument_id": instruments[agent],
                }
        elif record.kind == "burial":
            open_verdicts.pop((fields["agent"], fields["genome"]), None)
        elif record.kind == "recovery" and fields["action"] == "retired":
            for key, verdict in list(open_verdicts.items()):
                if (verdict["slot"], verdict["epoch"], verdict["genome"]) == (
                    fields["slot"],
                    fields["epoch"],
                    fields["genome"],
                ):
                    del open_verdicts[key]
    return list(open_verdicts.values())


def _finish_death(
    layout: CatalogLayout, queue: JobQueue, history: list[LedgerRecord], verdict: dict
) -> list[records.Record]:
    written: list[records.Record] = []
    instrument_id, slot, genome = verdict["instrument_id"], verdict["slot"], verdict["genome"]
    asked = [
        s.job.created_ns
        for s in queue.jobs()
        if isinstance(s.job, RecycleJob) and (s.job.slot, s.job.terminated_model_id) == (slot, genome)
    ]
    # By the time of this death, or, where clocks went back, by the number of times it died here.
    deaths = sum(
        r.kind == "verdict"
        and r.fields["verdict"] in _TERMINAL
        and (r.fields["role"], r.fields["slot"], r.fields["genome"]) == ("champion", slot, genome)
        for r in history
    )
    if len(asked) < deaths and not any(created_ns >= verdict["ts_ns"] for created_ns in asked):
        job = put_job(
            queue,
            RecycleJob.create(
                asset=instrument_id,
                slot=slot,
                created_ns=verdict["ts_ns"],
                terminated_model_id=genome,
                seed_dna_from=best_genome(layout, instrument_id, live_dsr(history), default=genome),
            ),
        )
        written.append(
            records.Job(
                job=job.job_id,
                slot=slot,
                asset=instrument_id,
                terminated=genome,
                seed=job.seed_dna_from or "",
                created_ns=job.created_ns,
                recovered=True,
            )
        )
    fault_point("recovery.asked")
    for champion in list_champions(layout):
        if (champion.slot, champion.epoch, champion.genome_id) == (slot, verdict["epoch"], genome):
            retire(layout, champion.instrument_id, slot)
    written.append(_recovery(verdict, "retired"))
    return written


def _recovery(verdict: dict, action: str) -> records.Recovery:
    return records.Recovery(
        slot=verdict["slot"], epoch=verdict["epoch"], genome=verdict["genome"], action=action
    )
