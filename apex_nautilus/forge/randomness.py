"""DEAP's draws under the run's own generator.

DEAP takes its random numbers from Python's global `random` module, which anything in the process may reseed
(Nautilus's fill model does). Every call into DEAP is therefore made inside `deap_random`: the global state is
set aside, seeded from the run's generator, and put back afterwards, also after an error.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

__all__ = ["deap_random", "generator_from_state", "generator_state"]


@contextmanager
def deap_random(rng: np.random.Generator) -> Iterator[None]:
    """Let DEAP draw from a stream that `rng` alone decides; one draw of `rng` is spent per use."""
    kept = random.getstate()
    random.seed(int(rng.integers(0, 2**63)))
    try:
        yield
    finally:
        random.setstate(kept)


def generator_state(rng: np.random.Generator) -> dict[str, str]:
    """The state of a PCG64 generator as text (its numbers have 128 bits, more than JSON readers keep)."""
    state = rng.bit_generator.state
    if state["bit_generator"] != "PCG64":
        raise ValueError(f"cannot keep the state of a {state['bit_generator']} generator; use PCG64")
    return {
        "state": str(state["state"]["state"]),
        "inc": str(state["state"]["inc"]),
        "has_uint32": str(state["has_uint32"]),
        "uinteger": str(state["uinteger"]),
    }


def generator_from_state(state: dict[str, str]) -> np.random.Generator:
    """The generator that `generator_state` described."""
    bits = np.random.PCG64(0)
    bits.state = {
        "bit_generator": "PCG64",
        "state": {"state": int(state["state"]), "inc": int(state["inc"])},
        "has_uint32": int(state["has_uint32"]),
        "uinteger": int(state["uinteger"]),
    }
    return np.random.Generator(bits)
