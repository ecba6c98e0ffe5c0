"""Nautilus strategies: thin wires from market rows to decisions to orders.

In: rows of features from the feed hub. Out: calls of `ApexStrategy.enter` and `close`. A strategy here has
no arithmetic of its own: what decides is compiled (genome interpreter, `risk.decide`) and is the same code
that the replay runs.
"""

from apex_nautilus.strategies.genome_strategy import GenomeStrategy, GenomeStrategyConfig

__all__ = ["GenomeStrategy", "GenomeStrategyConfig"]
