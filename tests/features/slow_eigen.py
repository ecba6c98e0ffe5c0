"""The eigen scan as its definition says it, one sample at a time, with numpy's own correlations."""

from __future__ import annotations

import math

import numpy as np

from apex_nautilus.features.eigen import EigenConfig


def slow_scans(prices: np.ndarray, fresh: np.ndarray, config: EigenConfig) -> list[dict]:
    """Return what each published scan holds, and the row it belongs to."""
    t_count, n = prices.shape
    live = fresh & np.isfinite(prices) & (prices > 0)
    returns = np.zeros((t_count, n))
    seen = np.zeros((t_count, n), dtype=bool)
    last = np.zeros(n)
    for t in range(t_count):
        for i in range(n):
            if live[t, i]:
                if last[i] > 0 and t > 0:
                    move = prices[t, i] / last[i] - 1.0
                    if abs(move) < 1e6:
                        returns[t, i], seen[t, i] = move, True
                last[i] = prices[t, i]
    out: list[dict] = []
    before: dict | None = None
    history: list[np.ndarray] = []
    smooth = np.zeros(4)
    alpha = 2.0 / (config.velocity_span + 1.0)
    for t in range(max(config.windows), t_count):
        if 2 * live[t].sum() < n:
            continue
        values, vectors, members = np.zeros(4), np.zeros((4, n)), np.zeros((4, n), dtype=bool)
        spectra = np.full((4, n), np.nan)
        for k, w in enumerate(config.windows):
            part = returns[t - w + 1 : t + 1]
            covered = seen[t - w + 1 : t + 1].sum(axis=0) >= math.ceil(config.min_coverage * w)
            members[k] = live[t] & covered & (part.std(axis=0) > 1e-13)
            if members[k].sum() < max(2, n / 2):
                break
            matrix = np.corrcoef(part[:, members[k]].T)
            eigenvalues, eigenvectors = np.linalg.eigh(matrix)
            count = members[k].sum()
            values[k] = eigenvalues[-1] / count
            spectra[k, :count] = eigenvalues / count
            vectors[k, members[k]] = eigenvectors[:, -1] * (1 if eigenvectors[:, -1].sum() >= 0 else -1)
        if (values == 0).any():
            continue
        now = {"row": t, "lambda_max": values, "loadings": vectors, "members": members, "spectrum": spectra}
        if before is not None:
            speed = (values - before["lambda_max"]) / (t - before["row"])
            smooth = speed if not history else smooth + alpha * (speed - smooth)
            now["velocity"] = smooth.copy()
            now["rotation"] = 1.0 - np.abs((vectors * before["loadings"]).sum(axis=1))
            now["vel_div"] = smooth[0] - smooth[3]
            now["changed"] = bool((members != before["members"]).any())
            history.append(np.abs(smooth))
            out.append(now)
        before = now
    return out


def ranks(velocity: np.ndarray) -> np.ndarray:
    """Instability of a column of published velocities: rank of each among the 750 before it."""
    size = np.abs(velocity)
    out = np.full(len(size), 0.5)
    for i in range(1, len(size)):
        past = size[max(0, i - 750) : i]
        out[i] = ((past < size[i]).sum() + 0.5 * (past == size[i]).sum()) / len(past)
    return out
