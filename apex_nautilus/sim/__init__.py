"""The simulated market.

Agents with latency trade on a real order book; what happens comes out as a tape of market events that
features, catalog and replay read like recorded data.

Enters: a `Population` (who trades, with which parameters; `profile` has some to start from) and a seed.
Leaves: a `Tape`. `OrderBook` is the matching engine on its own, `LatencyModel` the network's draws. With
`Simulation` agents written in Python trade, alone or in such a market (`api` has what they say to it).
`stylized_facts` measures a tape, or a recording, by which `realism` and `theory` judge it.
"""

from .api import Simulation
from .contender import CONTENDER_EXITS, CONTENDER_TRADE, Contender, ContenderError, ContenderResult
from .event_queue import EventQueue
from .latency import LatencyModel
from .market import DEFAULT_START_NS, Market, Tape, TapeStats, run_many
from .observation import Observation, ObservationError, observe
from .order_book import MESSAGE, REPORT, MessageAction, OrderBook, OrderReport, Reason, ReportKind
from .population import PARAMETERS, Parameter, Population, PopulationError
from .profiles import PROFILES, profile
from .stylized_facts import Measurement, observe_tape, stylized_facts

__all__ = [
    "CONTENDER_EXITS",
    "CONTENDER_TRADE",
    "DEFAULT_START_NS",
    "MESSAGE",
    "PARAMETERS",
    "PROFILES",
    "REPORT",
    "Contender",
    "ContenderError",
    "ContenderResult",
    "EventQueue",
    "LatencyModel",
    "Market",
    "Measurement",
    "MessageAction",
    "Observation",
    "ObservationError",
    "OrderBook",
    "OrderReport",
    "Parameter",
    "Population",
    "PopulationError",
    "Reason",
    "ReportKind",
    "Simulation",
    "Tape",
    "TapeStats",
    "observe",
    "observe_tape",
    "profile",
    "run_many",
    "stylized_facts",
]
