"""Repair a pruned layer from what it sees and what the dense layer put out: no training, no labels.

Sequential and asymmetric: the input comes from the already repaired prefix of the candidate, the target from the dense
model. Source: He, Zhang & Sun, Channel Pruning for Accelerating Very Deep Neural Networks (2017), section 3.2; for
the error after the activation: Zhang, Zou, He & Sun, Accelerating Very Deep Convolutional Networks (2016), section 3.2.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from edgepareto.host.pruning.repair.clamp import Clamp
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

__all__ = ["RECOVERY_VERSION", "Repair", "fit_groups", "fit_rows", "match_moments"]

RECOVERY_VERSION = 2  # raised whenever the same genome, recipe and samples give other weights
RIDGE = 1e-3
ROWS_PER_UNKNOWN = 100  # with fewer, a fit follows the noise of the samples
LARGEST_SYSTEM = 2304  # unknowns per output; beyond it as many rows are taken instead and the dual system is solved

CLAMP_ROUNDS = 6  # docs/pruning.md: more buys nothing

Array = NDArray[np.float32]
Repair = tuple[Array, Array]  # weights and bias
Fit = tuple[NDArray[np.float64], NDArray[np.float64]]  # weights, and the outputs' mean over centred inputs
Solver = Callable[[Array], NDArray[np.float64]]  # centred targets (rows, outputs) -> change of weights


def fit_rows(
    inputs: Array,
    targets: Array,
    weights: Array,
    bias: Array | None,
    *,
    clamp: Clamp | None = None,
    added: Array | None = None,
    ridge: float = RIDGE,
) -> Repair:
    """Weights near `weights` with which inputs @ weights.T + bias + added comes nearest to targets, after the clamp.

    inputs: (rows, unknowns); it is used up. targets, added: (rows, outputs). weights: (outputs, unknowns). The penalty
    is ridge x mean diagonal of the inputs' covariance x |change|^2, more where there are under 100 rows per unknown;
    the bias is free. bias None: none exists and none is fitted; the returned one is then zero. clamp None: linear.
    """
    has_bias = bias is not None
    shift = inputs.mean(axis=0, dtype=np.float64) if has_bias else np.zeros(inputs.shape[1])
    inputs -= shift.astype(np.float32)
    rows, unknowns = inputs.shape
    ridge *= max(1.0, ROWS_PER_UNKNOWN * unknowns / rows)
    if unknowns <= LARGEST_SYSTEM:
        solve = _primal(inputs, weights, ridge)
    else:
        step = -(-rows // LARGEST_SYSTEM)
        inputs, targets = inputs[::step], targets[::step]
        added = None if added is None else added[::step]
        solve = _dual(inputs, weights, ridge)

    def fit(wanted: Array) -> Fit:
        level = wanted.mean(axis=0, dtype=np.float64) if has_bias else np.zeros(wanted.shape[1])
        return weights + solve(wanted - level.astype(np.float32)), level

    fitted, level = fit(targets if added is None else targets - added)
    if clamp is not None:
        fitted, level = _fit_clamped(fit, inputs, targets, clamp, added, (fitted, level))
    new_bias = level - fitted @ shift
    return fitted.astype(np.float32), new_bias.astype(np.float32)


def _fit_clamped(
    fit: Callable[[Array], Fit], inputs: Array, targets: Array, clamp: Clamp, added: Array | None, start: Fit
) -> Fit:
    """Least matching loss: fits to outputs + clamp(targets) - clamp(outputs), with one factorisation for all rounds.

    The loss curves at most as much as |outputs - targets|^2 / 2, so each fit lowers it (Hunter & Lange, A Tutorial on
    MM Algorithms, 2004); outputs are extrapolated in between as in Beck & Teboulle, FISTA (2009).
    """
    wanted = clamp.apply(targets)

    def put_out(fitted: Fit) -> Array:
        outputs: Array = inputs @ fitted[0].astype(np.float32).T
        outputs += fitted[1].astype(np.float32)
        if added is not None:
            outputs += added
        return outputs

    fitted = start
    outputs = before = put_out(fitted)
    pace = 1.0
    for _ in range(CLAMP_ROUNDS):
        faster = (1 + np.sqrt(1 + 4 * pace**2)) / 2
        moved = outputs - before
        moved *= np.float32((pace - 1) / faster)
        moved += outputs
        moved -= clamp.apply(moved)
        moved += wanted
        if added is not None:
            moved -= added
        fitted = fit(moved)
        outputs, before, pace = put_out(fitted), outputs, faster
    return fitted


def fit_groups(inputs: Array, weights: Array, targets: Array, *, ridge: float = RIDGE) -> Repair:
    """The same for a grouped convolution: each group has its own small system. Depthwise: a group is one channel.

    inputs: (groups, rows, unknowns); used up. weights: (groups, outputs of a group, unknowns). targets: (rows,
    groups x outputs of a group). Returns weights (groups x outputs of a group, unknowns) and their bias.
    """
    groups, rows, unknowns = inputs.shape
    ridge *= max(1.0, ROWS_PER_UNKNOWN * unknowns / rows)
    shift = inputs.mean(axis=1)
    inputs -= shift[:, None]
    level = targets.mean(axis=0, dtype=np.float64).reshape(groups, -1)
    centred = np.ascontiguousarray(targets.reshape(rows, groups, -1).transpose(1, 0, 2)) - level[:, None].astype("f4")
    across = inputs.transpose(0, 2, 1)
    gram = np.matmul(across, inputs).astype(np.float64) / rows
    moment = np.matmul(across, centred).astype(np.float64) / rows
    residual = moment - np.matmul(gram, weights.astype(np.float64).transpose(0, 2, 1))
    variance = np.einsum("gtt->g", gram) / unknowns
    damping = np.where(variance > 0, ridge * variance, 1.0)
    change = np.linalg.solve(gram + damping[:, None, None] * np.eye(unknowns), residual).transpose(0, 2, 1)
    fitted = weights + change
    new_bias = level - np.einsum("got,gt->go", fitted, shift)
    return fitted.reshape(-1, unknowns).astype(np.float32), new_bias.reshape(-1).astype(np.float32)


def match_moments(outputs: Array, targets: Array, weights: Array, bias: Array) -> Repair:
    """Scale and shift each output channel to the dense mean and deviation: stands in for re-estimating folded BN.

    outputs, targets: (rows, channels) of the sliced and the dense layer. weights: (channels, ...).
    """
    deviation = outputs.std(axis=0, dtype=np.float64)
    wanted = targets.std(axis=0, dtype=np.float64)
    scale = np.where(deviation > 0, wanted / np.where(deviation > 0, deviation, 1.0), 1.0)
    mean = outputs.mean(axis=0, dtype=np.float64)
    new_bias = (bias - mean) * scale + targets.mean(axis=0, dtype=np.float64)
    scaled = weights * scale.reshape(-1, *[1] * (weights.ndim - 1))
    return scaled.astype(np.float32), new_bias.astype(np.float32)


def _primal(inputs: Array, weights: Array, ridge: float) -> Solver:
    """(X'X/n + damping) D' = X'Y/n - X'X/n W', with X and Y centred: D is the change of W."""
    rows, unknowns = inputs.shape
    gram = (inputs.T @ inputs).astype(np.float64) / rows
    already = gram @ weights.T.astype(np.float64)
    gram[np.diag_indices(unknowns)] += _damping(float(np.trace(gram)) / unknowns, ridge)
    solve = _factorise(gram)
    return lambda targets: solve((inputs.T @ targets).astype(np.float64) / rows - already).T


def _dual(inputs: Array, weights: Array, ridge: float) -> Solver:
    """The same change from the rows' side: X' (XX' + n damping)^-1 (Y - XW')."""
    rows, unknowns = inputs.shape
    already = inputs @ weights.T
    kernel = (inputs @ inputs.T).astype(np.float64)
    kernel[np.diag_indices(rows)] += rows * _damping(float(np.trace(kernel)) / rows / unknowns, ridge)
    solve = _factorise(kernel)
    across = inputs.T.astype(np.float64)
    return lambda targets: (across @ solve((targets - already).astype(np.float64))).T


def _factorise(matrix: NDArray[np.float64]) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Symmetric and positive definite but for NaN, which then is in the answer too."""
    if not np.isfinite(matrix).all():
        return lambda right: np.full(right.shape, np.nan)
    factor = cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
    return lambda right: np.asarray(cho_solve(factor, right, overwrite_b=True, check_finite=False))


def _damping(mean_variance: float, ridge: float) -> float:
    return ridge * mean_variance if mean_variance > 0 else 1.0
