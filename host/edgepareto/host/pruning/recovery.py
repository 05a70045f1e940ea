"""Repair a pruned layer from what it sees and what the dense layer put out: no training, no labels.

Sequential and asymmetric: the input comes from the already repaired prefix of the candidate, the target from the dense
model. Source: He, Zhang & Sun, Channel Pruning for Accelerating Very Deep Neural Networks (2017), section 3.2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

__all__ = ["Repair", "fit_groups", "fit_rows", "match_moments"]

RIDGE = 1e-2
ROWS_PER_UNKNOWN = 10  # with fewer, a fit follows the noise of the samples
LARGEST_SYSTEM = 2304  # unknowns per output; beyond it as many rows are taken instead and the dual system is solved

Array = NDArray[np.float32]
Repair = tuple[Array, Array]  # weights and bias


def fit_rows(inputs: Array, targets: Array, weights: Array, bias: Array | None, *, ridge: float = RIDGE) -> Repair:
    """Weights near `weights` with which inputs @ weights.T + bias comes nearest to targets.

    inputs: (rows, unknowns); it is used up. targets: (rows, outputs). weights: (outputs, unknowns). The penalty is
    ridge x mean diagonal of the inputs' covariance x |change|^2, more where there are under ten rows per unknown; the
    bias is free. bias None: none exists and none is
    fitted; the returned one is then zero.
    """
    shift = inputs.mean(axis=0, dtype=np.float64) if bias is not None else np.zeros(inputs.shape[1])
    inputs -= shift.astype(np.float32)
    level = targets.mean(axis=0, dtype=np.float64) if bias is not None else np.zeros(targets.shape[1])
    centred = targets - level.astype(np.float32)
    rows, unknowns = inputs.shape
    ridge *= max(1.0, ROWS_PER_UNKNOWN * unknowns / rows)
    if unknowns <= LARGEST_SYSTEM:
        change = _primal(inputs, centred, weights, ridge)
    else:
        step = -(-rows // LARGEST_SYSTEM)
        change = _dual(inputs[::step], centred[::step], weights, ridge)
    fitted = weights.astype(np.float64) + change
    new_bias = level - fitted @ shift
    return fitted.astype(np.float32), new_bias.astype(np.float32)


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


def _primal(inputs: Array, targets: Array, weights: Array, ridge: float) -> NDArray[np.float64]:
    """(X'X/n + damping) D' = X'Y/n - X'X/n W', with X and Y centred: D is the change of W."""
    rows, unknowns = inputs.shape
    gram = (inputs.T @ inputs).astype(np.float64) / rows
    moment = (inputs.T @ targets).astype(np.float64) / rows
    residual = moment - gram @ weights.T.astype(np.float64)
    damping = _damping(float(np.trace(gram)) / unknowns, ridge)
    gram[np.diag_indices(unknowns)] += damping
    change: NDArray[np.float64] = _solve(gram, residual).T
    return change


def _dual(inputs: Array, targets: Array, weights: Array, ridge: float) -> NDArray[np.float64]:
    """The same change from the rows' side: X' (XX' + n damping)^-1 (Y - XW')."""
    rows, unknowns = inputs.shape
    residual = (targets - inputs @ weights.T).astype(np.float64)
    kernel = (inputs @ inputs.T).astype(np.float64)
    damping = _damping(float(np.trace(kernel)) / rows / unknowns, ridge)
    kernel[np.diag_indices(rows)] += rows * damping
    solved = _solve(kernel, residual)
    change: NDArray[np.float64] = (inputs.T.astype(np.float64) @ solved).T
    return change


def _solve(matrix: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Symmetric and positive definite but for NaN, which then is in the answer too."""
    if not np.isfinite(matrix).all():
        return np.full(right.shape, np.nan)
    factor = cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
    solved: NDArray[np.float64] = cho_solve(factor, right, overwrite_b=True, check_finite=False)
    return solved


def _damping(mean_variance: float, ridge: float) -> float:
    return ridge * mean_variance if mean_variance > 0 else 1.0
