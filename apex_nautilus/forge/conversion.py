"""The older form of a strategy, signal alone, made whole: a dataset teaches it its probability of winning."""

from __future__ import annotations

import msgspec
import numpy as np

from apex_nautilus import __version__
from apex_nautilus.forge.calibration import PlattFit, fit_platt
from apex_nautilus.forge.config import EvolutionConfig
from apex_nautilus.forge.errors import ForgeError
from apex_nautilus.forge.evaluation import StudyData
from apex_nautilus.forge.events import events_of
from apex_nautilus.forge.promote import Trials, result_of
from apex_nautilus.forge.replay import dataset_market, replay
from apex_nautilus.genome import (
    LEGACY_FEATURES,
    Bracket,
    Evidence,
    Feature,
    Genome,
    Node,
    Platt,
    Provenance,
    Result,
    Span,
    compile_trees,
    decode_legacy,
    from_legacy,
    pack,
    sealed,
)
from apex_nautilus.risk import trading_rules

__all__ = ["convert_legacy"]


def convert_legacy(
    content: bytes,
    data: StudyData,
    bracket: Bracket,
    *,
    config: EvolutionConfig | None = None,
    source: str = "<bytes>",
    created_at: str | None = None,
) -> tuple[Genome, tuple[str, ...]]:
    """Turn ``{"root": node}`` into a genome for the dataset's instrument.

    The probability is learnt on the dataset's first two parts (nothing was bred on them), the evidence is
    in-sample on these and out-of-sample on the last. The gate has not seen it: ``evidence.gate`` is "none".

    Parameters
    ----------
    content : the older file.
    data : a dataset that has the features of the older form.
    bracket : the older form has none.
    config : thresholds and calibration; the defaults of `EvolutionConfig` if left out.
    source : file name for messages.
    created_at : for the provenance.

    Returns
    -------
    The sealed genome, and notes on what its owner should know.

    Raises
    ------
    GenomeError
        The content is not the older form.
    ForgeError
        The dataset lacks a feature that the signal reads, or is too short.
    """
    # Here, because it imports Nautilus, which whoever holds a dataset has done already.
    from apex_nautilus.data import DataError

    config = config or EvolutionConfig()
    legacy = decode_legacy(content, source=source)
    names = list(data.feature_names)
    missing = [name for name in LEGACY_FEATURES if name not in names]
    if missing:
        raise ForgeError(
            f"the dataset has no feature {', '.join(missing)}; build it with {', '.join(LEGACY_FEATURES)}"
        )
    try:
        parts = data.splits(round(bracket.max_hold_s * 1e9), config.train, config.validation)
    except (DataError, ValueError) as error:
        raise ForgeError(f"dataset {data.card.id[:16]}: {error}") from None

    def genome_with(fit: PlattFit) -> Genome:
        return from_legacy(
            legacy,
            instrument_id=data.instrument.id,
            calibration=Platt(a=fit.a, b=fit.b),
            bracket=bracket,
            clock=data.clock,
            entry_threshold=config.entry_threshold,
        )

    market = dataset_market(data)
    raw = genome_with(PlattFit(0.0, 0.0, 0, 0))
    places = [names.index(name) for name in LEGACY_FEATURES]
    program = compile_trees([_moved(tree, places) for tree in raw.trees], len(names))
    learning = (parts.train[0], parts.validation[1])
    events = events_of(market, program, trading_rules(raw, data.instrument), learning)
    fit = fit_platt(
        events.scores,
        events.wins,
        prior_rate=1.0 / (1.0 + bracket.reward_risk),
        prior_events=config.prior_events,
        slope_penalty=config.slope_penalty,
    )
    genome = genome_with(fit)
    rules = np.array([trading_rules(genome, data.instrument)])
    single = Trials(1, 0.0, 1)

    def result(rows: tuple[int, int]) -> Result:
        record = replay(
            market, pack([program]), rules, rows, equity=config.equity_usd, target=config.target, threads=1
        )[0]
        return result_of(record, int(data.path_ts_ns[data.row_event[rows[0]]]), single)

    genome = sealed(
        msgspec.structs.replace(
            genome,
            provenance=Provenance(
                created_at=created_at,
                package_version=__version__,
                dataset_id=data.card.id,
                dataset_span=Span(int(data.ts_ns[0]), int(data.ts_ns[-1]) + 1),
                study_trials=1,
            ),
            evidence=Evidence(in_sample=result(learning), out_of_sample=result(parts.test)),
        )
    )
    return genome, (f"p learnt from {fit.events} events, {fit.wins} of them won", *legacy.notes)


def _moved(tree: Node, places: list[int]) -> Node:
    if isinstance(tree.primitive, Feature):
        return Node(Feature(places[tree.primitive.index]))
    return Node(tree.primitive, tuple(_moved(child, places) for child in tree.children), tree.k)
