"""What the ledger says of agents, their money and their judgements: one function a kind of line."""

from __future__ import annotations

import msgspec

from apex_nautilus.actors import records
from apex_nautilus.actors.roster import Agent, Roster
from apex_nautilus.actors.watchtower import Limits, Verdict
from apex_nautilus.engine import FundingPayment, Refusal

__all__ = [
    "birth",
    "burial",
    "expiry",
    "fill",
    "funding",
    "mark",
    "trespass",
    "verdict",
]


def birth(agent: Agent, strategy_id: str, *, treasury: float, size_precision: int) -> records.Birth:
    """`treasury` is what is left of it after the birth."""
    return records.Birth(
        agent=agent.name,
        role=agent.role,
        slot=agent.slot,
        epoch=agent.epoch,
        instrument_id=agent.instrument_id,
        genome=agent.genome.id,
        strategy_id=strategy_id,
        capital=agent.capital,
        treasury=treasury,
        size_precision=size_precision,
    )


def fill(agent: Agent, order: str, qty: float, price: float, fee: float) -> records.Fill:
    """A fill of signed `qty` that is booked already."""
    return records.Fill(
        agent=agent.name,
        order=order,
        qty=qty,
        price=price,
        fee=fee,
        position=agent.account.position,
        cash=agent.account.balance,
    )


def funding(agent: Agent, payment: FundingPayment) -> records.Funding:
    """A payment that is booked already."""
    return records.Funding(
        agent=agent.name,
        instrument_id=payment.instrument_id,
        position=payment.quantity,
        mark=payment.mark,
        rate=payment.rate,
        amount=payment.amount,
        cash=agent.account.balance,
    )


def mark(agent: Agent, equity: float) -> records.Mark:
    """The agent's numbers at a mark that found it worth `equity`."""
    return records.Mark(
        agent=agent.name,
        cash=agent.account.balance,
        equity=equity,
        position=agent.account.position,
        trades=len(agent.returns),
    )


def verdict(agent: Agent, found: Verdict, limits: Limits, touch: float) -> records.VerdictLine:
    """A judgement under `limits`; `touch` is the price that the position would close at."""
    numbers = msgspec.structs.asdict(found)
    return records.VerdictLine(
        agent=agent.name,
        role=agent.role,
        slot=agent.slot,
        epoch=agent.epoch,
        genome=agent.genome.id,
        verdict=numbers.pop("kind"),
        **numbers,
        cash=agent.account.balance,
        position=agent.account.position,
        touch=touch,
        decay_psr=limits.decay_psr,
        decay_dsr=limits.decay_dsr,
        promotion_dsr=limits.promotion_dsr,
    )


def burial(agent: Agent, *, treasury: float) -> records.Burial:
    """`treasury` is what it holds with the agent's cash."""
    return records.Burial(
        agent=agent.name,
        role=agent.role,
        slot=agent.slot,
        epoch=agent.epoch,
        genome=agent.genome.id,
        cause=agent.closing,
        cash=agent.account.balance,
        fees=agent.account.fees,
        trades=len(agent.returns),
        treasury=treasury,
        funding=agent.account.funding,
    )


def expiry(agent: Agent, reason: str) -> records.Expiry:
    """The challenger is sent away for `reason`."""
    return records.Expiry(agent=agent.name, genome=agent.genome.id, reason=reason)


def trespass(refusal: Refusal, roster: Roster) -> records.Trespass:
    """A command that the guard refused; who is an agent is called by its name."""

    def name(strategy_id: str) -> str:
        agent = roster.of_strategy(strategy_id)
        return strategy_id if agent is None else agent.name

    return records.Trespass(
        sender=name(refusal.sender),
        owner=name(refusal.owner),
        command=refusal.command,
        order=refusal.order,
        reason=refusal.reason,
    )
