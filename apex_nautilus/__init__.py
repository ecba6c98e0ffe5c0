"""apex_nautilus: strategies that are evolved, judged and swapped on NautilusTrader.

A strategy is data, a genome in a JSON file. The Forge (`apex_nautilus.forge`) evolves genomes against
history and simulated markets; the engine side (`apex_nautilus.engine`, `.strategies`, `.actors`) trades
them in Nautilus, judges every agent on its own ledger, and asks the Forge for a replacement when one dies.
The two sides meet in files alone.

See docs/architecture.md for the rooms and who may import whom.
"""

from importlib.metadata import PackageNotFoundError, version

from apex_nautilus._kernel_cache import discard_stale_kernels

try:
    __version__ = version("apex_nautilus")
except PackageNotFoundError:  # a bare checkout on PYTHONPATH
    __version__ = "0+unknown"

discard_stale_kernels()

__all__ = ["__version__"]
