"""Lines of the ledger beside money and judgements: closed trades, and how long messages travelled."""

from __future__ import annotations

from collections.abc import Callable

from nautilus_trader.common.component import MessageBus

from apex_nautilus.actors import records
from apex_nautilus.actors.roster import Agent
from apex_nautilus.engine import TradeRecord, collect_delays
from apex_nautilus.engine.records import TRADES_TOPIC

__all__ = ["TradeLines", "delay_lines"]


class TradeLines:
    """Writes a line for each trade that an agent closes.

    The trades come from the strategies, which know what they decided (the probability, the prices they
    asked for); the agents' money comes from the fills alone and needs none of this.

    Parameters
    ----------
    msgbus : MessageBus
        On which strategies publish their trades.
    write : callable
        Takes a line.
    """

    def __init__(self, msgbus: MessageBus, write: Callable[[records.Trade], None]) -> None:
        self._write = write
        self._agents: dict[str, Agent] = {}
        msgbus.subscribe(topic=f"{TRADES_TOPIC}.*", handler=self._take)

    def follow(self, agent: Agent, strategy_id: str) -> None:
        """Write the trades of `agent` from now on."""
        self._agents[strategy_id] = agent

    def leave(self, strategy_id: str) -> None:
        """The agent is gone."""
        del self._agents[strategy_id]

    def _take(self, trade: TradeRecord) -> None:
        agent = self._agents.get(trade.strategy_id)
        if agent is not None:
            self._write(trade_line(agent, trade))


def trade_line(agent: Agent, trade: TradeRecord) -> records.Trade:
    """The line of one trade."""
    return records.Trade(
        agent=agent.name,
        genome=agent.genome.id,
        number=trade.number,
        side=trade.side,
        quantity=trade.quantity,
        entry_ts_ns=trade.entry_ts_ns,
        entry_price=trade.entry_price,
        exit_ts_ns=trade.exit_ts_ns,
        exit_price=trade.exit_price,
        exit_kind=trade.exit_kind,
        p=trade.p,
        fraction=trade.fraction,
        pnl=trade.pnl,
        fees=trade.fees,
        spread=trade.spread,
        slippage=trade.slippage,
        funding=trade.funding,
    )


def delay_lines(msgbus: MessageBus) -> list[records.Delays]:
    """A line for each class of messages that the node's network carried; none without a network."""
    return [
        records.Delays(name=r.name, lost=r.lost, late=r.late, bins=r.bins, counts=r.counts)
        for r in collect_delays(msgbus)
    ]
