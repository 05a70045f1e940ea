from __future__ import annotations

import itertools

import numpy as np
import pytest
from edgepareto.host.errors import ConfigError, DataError
from edgepareto.host.pruning import Analysis, analyse, importance, prepare
from edgepareto.host.pruning.importance import Consumer, activation_order, magnitude_order, surgeon_order
from edgepareto.host.pruning.repair import input_covariance
from hypothesis import given
from hypothesis import strategies as st


def _consumer(inputs: np.ndarray, weights: np.ndarray) -> Consumer:
    centred = inputs - inputs.mean(axis=0)
    return Consumer(
        weights=weights[:, :, None],
        covariance=centred.T @ centred / len(inputs),
        output_variance=float((centred @ weights.T).var(axis=0).sum()),
    )


def _loss(inputs: np.ndarray, weights: np.ndarray, removed: list[int]) -> float:
    """What is left of the outputs that the other channels cannot make up for, by plain least squares."""
    centred = inputs - inputs.mean(axis=0)
    outputs = centred @ weights.T
    kept = np.delete(centred, removed, axis=1)
    return float(((outputs - kept @ np.linalg.lstsq(kept, outputs, rcond=None)[0]) ** 2).sum())


@given(seed=st.integers(0, 10_000))
def test_the_first_channel_to_go_is_the_cheapest_of_all(seed):
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(200, 5)) @ random.normal(size=(5, 5))
    weights = random.normal(size=(4, 5))
    order = surgeon_order([_consumer(inputs, weights)], ridge=1e-9)
    losses = [_loss(inputs, weights, [channel]) for channel in range(5)]
    assert losses[order[-1]] == pytest.approx(min(losses), rel=1e-3)


@given(seed=st.integers(0, 10_000))
def test_each_step_removes_what_a_greedy_search_by_least_squares_would(seed):
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(200, 6)) @ random.normal(size=(6, 6))
    weights = random.normal(size=(3, 6))
    order = surgeon_order([_consumer(inputs, weights)], ridge=1e-10)
    removed: list[int] = []
    for channel in order[::-1][:4]:
        candidates = [c for c in range(6) if c not in removed]
        losses = {c: _loss(inputs, weights, [*removed, c]) for c in candidates}
        assert losses[int(channel)] <= min(losses.values()) * (1 + 1e-3) + 1e-9
        removed.append(int(channel))


@given(seed=st.integers(0, 10_000), late=st.sampled_from([1, 6, 64]))
def test_a_channel_of_several_taps_goes_as_one(seed, late):
    """Against least squares by brute force, about zero; LATE only changes when the updates are applied."""
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(300, 15)) @ random.normal(size=(15, 15))
    weights = random.normal(size=(4, 15))
    consumer = Consumer(
        weights=weights.reshape(4, 5, 3), covariance=inputs.T @ inputs / len(inputs), output_variance=1.0
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importance._Elimination, "LATE", late)
        order = surgeon_order([consumer], ridge=1e-10)

    def loss(removed: list[int]) -> float:
        kept = np.delete(inputs, [3 * channel + tap for channel in removed for tap in range(3)], axis=1)
        return float(
            ((inputs @ weights.T - kept @ np.linalg.lstsq(kept, inputs @ weights.T, rcond=None)[0]) ** 2).sum()
        )

    removed: list[int] = []
    for channel in order[::-1][:3]:
        losses = {c: loss([*removed, c]) for c in range(5) if c not in removed}
        assert losses[int(channel)] <= min(losses.values()) * (1 + 1e-3)
        removed.append(int(channel))


def test_the_taps_of_a_layer_too_wide_for_a_covariance_of_its_own_are_alike(nets, images, monkeypatch):
    analysis = analyse(nets["residual"]())
    prepared = prepare(analysis, {"image": images})
    sizes = {consumer.weights.shape[2] for consumer in prepared.dense.consumers(analysis, _first_cell(analysis))}
    monkeypatch.setattr(input_covariance, "LARGEST", 1)
    prepared = prepare(analysis, {"image": images})
    alike = prepared.dense.consumers(analysis, _first_cell(analysis))
    assert sizes == {1, 9}  # the shortcut has one tap
    assert {consumer.weights.shape[2] for consumer in alike} == {1}
    assert all(len(consumer.covariance) == consumer.weights.shape[1] for consumer in alike)


def test_a_flattened_map_too_wide_for_a_covariance_of_its_own_has_the_mean_over_its_copies_at_once(
    nets, images, monkeypatch
):
    analysis = analyse(nets["flattened"]())
    number, layer = next((n, layer) for n, layer in enumerate(analysis.graph.layers) if len(layer.inputs) == 8 * 4)
    cell = np.unique(layer.inputs)[::-1]
    found = []
    monkeypatch.setattr(input_covariance, "LARGEST", 16)  # the mean over the copies, of the whole covariance
    for widest in (32, 31):
        monkeypatch.setattr(input_covariance, "WIDEST", widest)
        dense = prepare(analysis, {"image": images}).dense
        found.append((len(dense.covariances[number]), *dense.consumers(analysis, cell)))
    (whole, expected), (shared, consumer) = found
    assert (whole, shared) == (32, 8)
    np.testing.assert_array_equal(consumer.weights, expected.weights)
    np.testing.assert_allclose(consumer.covariance, expected.covariance, rtol=1e-5)


def _first_cell(analysis: Analysis) -> np.ndarray:
    return analysis.group_cells[0].classes[0]


def test_of_two_identical_channels_one_goes_first_and_costs_nothing():
    random = np.random.default_rng(0)
    inputs = random.normal(size=(300, 6))
    inputs[:, 4] = inputs[:, 1]
    weights = random.normal(size=(5, 6))
    weights[:, [1, 4]] *= 3  # by magnitude both are the last to go
    order = surgeon_order([_consumer(inputs, weights)], ridge=1e-9)
    assert order[-1] in (1, 4)
    assert {1, 4} != set(order[-2:].tolist()), "the second of the pair now carries both"
    assert _loss(inputs, weights, [int(order[-1])]) < 1e-9


def test_a_consumer_of_large_outputs_does_not_drown_the_others():
    random = np.random.default_rng(1)
    inputs = random.normal(size=(300, 4))
    loud, quiet = np.eye(4)[:3] * 1e3, np.eye(4)[3:]
    loud_alone = surgeon_order([_consumer(inputs, loud)])
    together = surgeon_order([_consumer(inputs, loud), _consumer(inputs, quiet)])
    assert loud_alone[-1] == 3
    assert together[0] == 3, "the only channel the quiet consumer reads"


def test_magnitude_and_activation_orders_on_known_answers():
    rows = np.array([[1.0, 1.0], [0.0, 1.5], [3.0, 0.0]])
    assert magnitude_order([rows], norm=1).tolist() == [2, 0, 1]
    assert magnitude_order([rows], norm=2).tolist() == [2, 1, 0]
    consumer = Consumer(weights=np.ones((2, 3, 1)), covariance=np.diag([1.0, 9.0, 4.0]), output_variance=1.0)
    assert activation_order([consumer]).tolist() == [1, 2, 0]


def test_a_genome_is_a_prefix_of_one_nested_order(nets, images):
    analysis = analyse(nets["flattened"]())
    for criterion in ("obs", "l1", "l2", "activation"):
        prepared = prepare(analysis, {"image": images}, criterion=criterion)
        assert [sorted(order.tolist()) for (order,) in prepared.importance] == [
            list(range(group.channels)) for group in analysis.groups
        ]


def test_what_a_criterion_needs_and_what_does_not_fit_is_said(nets, images):
    analysis = analyse(nets["residual"]())
    with pytest.raises(ConfigError, match="known: obs, l1, l2, activation"):
        prepare(analysis, {"image": images}, criterion="magic")
    with pytest.raises(ConfigError, match="needs calibration"):
        prepare(analysis, None)
    with pytest.raises(ConfigError, match="needs calibration"):
        prepare(analysis, None, criterion="l1").prune(analysis.search_space().dense())
    with pytest.raises(DataError, match="lacks the model's input 'image'"):
        prepare(analysis, {"x": images})
    broken = images.copy()
    broken[0, 0, 0, 0] = np.nan
    with pytest.raises(DataError, match="NaN"):
        prepare(analysis, {"image": broken})


def test_every_pair_of_orders_keeps_the_best_channels_of_a_tiny_layer():
    """Brute force over all subsets: the greedy order is within a few percent of the best pair on an easy problem."""
    random = np.random.default_rng(3)
    inputs = random.normal(size=(300, 5)) * np.array([4, 3, 2, 1, 0.5])
    weights = random.normal(size=(4, 5))
    order = surgeon_order([_consumer(inputs, weights)], ridge=1e-9)
    best = min(_loss(inputs, weights, list(pair)) for pair in itertools.combinations(range(5), 2))
    assert _loss(inputs, weights, order[-2:].tolist()) <= 1.05 * best
