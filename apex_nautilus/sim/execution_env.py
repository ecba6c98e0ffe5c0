"""The execution of a large order as a gymnasium environment, `apex/Execution-v0`.

Importing this module registers it; `gymnasium.make("apex_nautilus.sim.execution_env:apex/Execution-v0")`
imports it on its own, in worker processes too. It needs the extra `nn`.
"""

from typing import Any

import numpy as np

try:
    import gymnasium
    from gymnasium import spaces
except ImportError as error:
    raise ImportError(
        "the execution environment needs gymnasium, which is not installed: pip install 'apex_nautilus[nn]'. "
        "apex_nautilus.sim.execution.ExecutionTask is the same task without it"
    ) from error

from .execution import ACTIONS, ExecutionSettings, ExecutionTask, Progress

__all__ = ["ENV_ID", "ExecutionEnv"]

ENV_ID = "apex/Execution-v0"


class ExecutionEnv(gymnasium.Env[np.ndarray, np.int64]):
    """Buy or sell a parent order within a time, in a simulated market.

    - Observation: float32 in [-1, 1]. The features of the settings in their order, those that are no ratios
      as ``x / (1 + |x|)`` of ``x = value / scale``; then what is left of the order and of the time as
      shares, the side (1 buys, -1 sells), the size of the order that is out as a share of a slice, and how
      far it lies behind its own touch in spreads, squashed alike.
    - Actions: 0 wait, 1 cross, 2 join, 3 improve, 4 cancel; see `ExecutionTask`. ``info["action_mask"]``
      says which would do something now; the others wait.
    - Reward: minus the growth of the implementation shortfall in basis points, fees included, minus the
      penalties of the settings. Without penalties the undiscounted return is minus the shortfall.
    - Ends: `terminated` when the order is done or its time is over (time is part of the state; what is left
      then crosses at once, inside the last step). `truncated` when the market has had an empty side for ten
      seconds.

    Parameters
    ----------
    settings : an `ExecutionSettings`, or None for the defaults.
    **changes : fields of the settings, instead of it.

    Raises
    ------
    TypeError when both are given, or a field is unknown. ValueError as the settings do.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - gymnasium's own declaration

    def __init__(self, settings: ExecutionSettings | None = None, **changes: Any) -> None:
        if settings is not None and changes:
            raise TypeError(
                f"settings: given together with {', '.join(sorted(changes))}; give one or the other"
            )
        self.task = ExecutionTask(ExecutionSettings(**changes) if settings is None else settings)
        self.action_space = spaces.Discrete(len(ACTIONS))
        self.observation_space = spaces.Box(-1.0, 1.0, (self.task.observation_size,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode. `options` may name the ``"side"``, "buy" or "sell".

        Raises ValueError for an option that is unknown.
        """
        super().reset(seed=seed)
        options = dict(options or {})
        side = options.pop("side", None)
        if options:
            raise ValueError(f"options: {next(iter(options))!r} is unknown (known: side)")
        progress = self.task.begin(self.np_random, side=side)
        return self.task.observation, self._info(progress)

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Act and let a step pass; see `ExecutionTask.step`."""
        reward, progress = self.task.step(int(action))
        return self.task.observation, reward, progress.finished, progress.halted, self._info(progress)

    def _info(self, progress: Progress) -> dict[str, Any]:
        info = self.task.info(progress)
        del info["finished"], info["halted"]  # gymnasium has its own words for them
        return info


if ENV_ID not in gymnasium.registry:
    gymnasium.register(ENV_ID, entry_point="apex_nautilus.sim.execution_env:ExecutionEnv")
