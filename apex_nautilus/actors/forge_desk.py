"""The arena's desk at the Forge: which slots are asked for, what is waited for, what is told.

A request stands in the ledger (`job`) before anything follows from it, and so does what came of waiting for
it (`job_end`). While it is waited for, engine time stands still.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nautilus_trader.common.component import Logger

from apex_nautilus.actors import records
from apex_nautilus.actors.recycling import best_genome, live_dsr, put_job, wait_for_answer
from apex_nautilus.actors.roster import Agent, Roster, Slot
from apex_nautilus.store import CatalogLayout, JobQueue, LedgerRecord, PromoteJob, RecycleJob, StoreError

__all__ = ["ForgeDesk"]


class ForgeDesk:
    """Asks the Forge for genomes and tells it of promotions.

    Parameters
    ----------
    layout : CatalogLayout
    queue : JobQueue
    roster : Roster
    story : sequence of LedgerRecord
        What earlier runs of the arena wrote; see `past.Past`.
    write : callable
        Takes engine time and a line, and returns when the line is on the disk.
    log : Logger
    wait_s : float
        Wall seconds that a request is waited for; 0 does not wait.
    must_go_on : bool
        Log that a promotion could not be told, in place of raising.

    Attributes
    ----------
    live_dsr : dict of genome id to float
        The latest deflated Sharpe ratio of each genome's life in the arena; the best becomes the seed.
    """

    def __init__(
        self,
        layout: CatalogLayout,
        queue: JobQueue,
        roster: Roster,
        story: Sequence[LedgerRecord],
        *,
        write: Callable[[int, records.Record], None],
        log: Logger,
        wait_s: float,
        must_go_on: bool,
    ) -> None:
        self._layout = layout
        self._queue = queue
        self._roster = roster
        self._write = write
        self._log = log
        self._wait_s = wait_s
        self._must_go_on = must_go_on
        self._worker_answers = True
        self._ended = {line.fields["job"] for line in story if line.kind == "job_end"}
        self._successors: dict[str, RecycleJob] = {}
        self.live_dsr = live_dsr(story)

    def unanswered(self) -> list[RecycleJob]:
        """Requests of this arena's slots, made before it opened, whose end it never wrote down. A worker may
        have answered already: when it did must not show."""
        jobs = [s.job for s in self._queue.jobs()]
        jobs = [j for j in jobs if isinstance(j, RecycleJob) and j.slot in self._roster.slots]
        return sorted(
            (j for j in jobs if j.job_id not in self._ended), key=lambda j: (j.created_ns, j.job_id)
        )

    def forsaken_slots(self) -> list[Slot]:
        """Empty slots that no challenger will fill and no request is open for."""
        waiting = {
            s.job.slot
            for s in self._queue.jobs()
            if s.state in ("todo", "doing") and isinstance(s.job, RecycleJob)
        }
        empty = [s for s in self._roster.slots.values() if self._roster.champion_of(s.name) is None]
        names = {slot.name for slot in empty}
        coming = [(a.instrument_id, a.slot if a.slot in names else "") for a in self._roster.shadows()]
        forsaken = []
        for slot in empty:
            for claim in ((slot.instrument_id, slot.name), (slot.instrument_id, "")):
                if claim in coming:
                    coming.remove(claim)
                    break
            else:
                if slot.name not in waiting:
                    forsaken.append(slot)
        return forsaken

    def ask(self, slot: Slot, now: int, *, terminated: str | None = None) -> RecycleJob:
        """Ask for a genome for `slot`, where the genome `terminated` has ended; return the request."""
        job = RecycleJob.create(
            asset=slot.instrument_id,
            slot=slot.name,
            created_ns=now,
            terminated_model_id=terminated,
            seed_dna_from=best_genome(self._layout, slot.instrument_id, self.live_dsr, default=terminated),
        )
        job = put_job(self._queue, job)
        self._write(
            now,
            records.Job(
                job=job.job_id,
                slot=job.slot,
                asset=job.asset,
                terminated=job.terminated_model_id or "",
                seed=job.seed_dna_from or "",
                created_ns=job.created_ns,
            ),
        )
        return job

    def ask_for_successor(self, agent: Agent, now: int) -> RecycleJob:
        """Ask for a successor of a dead champion: once, also where a burial is tried again."""
        if agent.name not in self._successors:
            slot = self._roster.slots[agent.slot]
            self._successors[agent.name] = self.ask(slot, now, terminated=agent.genome.id)
        return self._successors[agent.name]

    def wait(self, job: RecycleJob, now: int) -> bool:
        """Wait for the answer as configured, and no more once a worker did not come; whether there is one."""
        if self._wait_s == 0.0 or not self._worker_answers:
            return False
        state = wait_for_answer(self._queue, job.job_id, self._wait_s)
        self._worker_answers = state in ("done", "failed")
        self._write(
            now, records.JobEnd(job=job.job_id, status=state if self._worker_answers else "unanswered")
        )
        if not self._worker_answers:
            self._log.warning(
                f"No worker answered {job.job_id} within {self._wait_s:g} s; jobs are not waited for any "
                "more. Start one with: apex-forge worker"
            )
        return self._worker_answers

    def tell(self, promotion: PromoteJob) -> None:
        """Tell of a promotion whose verdict is in the ledger.

        Raises
        ------
        OSError, StoreError
            When it cannot be put and the arena need not go on.
        """
        try:
            self._queue.put(promotion)
        except (OSError, StoreError) as error:
            if not self._must_go_on:
                raise
            self._log.error(
                f"The Forge was not told of {promotion.genome_id} ({error}); the next start tells it"
            )
