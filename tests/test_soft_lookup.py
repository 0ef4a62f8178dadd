"""Chapter 01's library against SciPy, PyTorch and plain statements of what must hold, over random shapes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax as scipy_softmax

from attention_from_scratch.figures.soft_lookup import keys_on_a_line
from attention_from_scratch.soft_lookup import attend, attend_scalar, softmax, softmax_jacobian

# float64 has a unit roundoff of 1.1e-16. Scores up to 1e4 carry an error of 1e4 * 1e-16 = 1e-12 into the exponent,
# and a weight has the same relative error; ten times that is the margin for the order of the sums.
FLOAT64 = 1e-11
# float32: 6e-8, sums of some dozens of terms of size one
FLOAT32 = 1e-5

scores = st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=20)
sizes = st.integers(1, 13)


@given(scores)
def test_softmax_agrees_with_scipy(x: list[float]) -> None:
    np.testing.assert_allclose(softmax(x), scipy_softmax(x), atol=FLOAT64)


@given(scores)
def test_softmax_shares_out_one_whole(x: list[float]) -> None:
    weights = softmax(x)
    assert min(weights) >= 0
    assert sum(weights) == pytest.approx(1, abs=FLOAT64)


def test_softmax_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no scores"):
        softmax([])


@given(st.integers(0, 2**32 - 1), sizes, st.floats(0.1, 100))
def test_attend_scalar_is_the_nadaraya_watson_estimate(seed: int, n: int, temperature: float) -> None:
    rng = np.random.default_rng(seed)
    query, keys, values = rng.normal(), rng.normal(size=n), rng.normal(size=n)
    kernel = np.exp(-((query - keys) ** 2) / (2 * temperature))
    expected = (kernel * values).sum() / kernel.sum()
    assert attend_scalar(query, list(keys), list(values), temperature) == pytest.approx(expected, abs=1e-9)


def test_cold_is_the_nearest_value_and_hot_the_mean() -> None:
    keys, values = [3.0, 0.0, 1.0], [10.0, 20.0, 60.0]
    assert attend_scalar(2.2, keys, values, 1e-12) == 10.0
    assert attend_scalar(2.2, keys, values, 1e12) == pytest.approx(30.0, abs=1e-8)
    assert attend_scalar(0.5, [0.0, 1.0], [4.0, 8.0], 1e-12) == 6.0  # a tie is shared


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_temperature_must_be_positive(temperature: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        attend_scalar(0.0, [1.0], [1.0], temperature)


def test_keys_and_values_must_pair() -> None:
    with pytest.raises(ValueError, match="2 keys and 1 values"):
        attend_scalar(0.0, [1.0, 2.0], [1.0], 1.0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, FLOAT64), (np.float32, FLOAT32)])
@given(seed=st.integers(0, 2**32 - 1), n=sizes, d=sizes, dv=sizes)
@settings(deadline=None)  # the first call of torch is slow
def test_attend_agrees_with_torch(dtype: type, tolerance: float, seed: int, n: int, d: int, dv: int) -> None:
    rng = np.random.default_rng(seed)
    q, K, V = (rng.normal(size=shape).astype(dtype) for shape in ((d,), (n, d), (n, dv)))
    got = attend(q, K, V)
    expected = torch.nn.functional.scaled_dot_product_attention(*map(torch.from_numpy, (q[None], K, V)))[0]
    assert got.shape == (dv,)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, expected.numpy(), rtol=tolerance, atol=tolerance)


def test_attend_takes_transposed_arrays_and_huge_scores() -> None:
    rng = np.random.default_rng(1)
    q, K, V = rng.normal(size=3), rng.normal(size=(3, 5)).T, rng.normal(size=(2, 5)).T
    np.testing.assert_allclose(attend(q, K, V), attend(q, K.copy(), V.copy()), atol=FLOAT64)
    best = int((K @ q).argmax())
    np.testing.assert_allclose(attend(1e6 * q, K, V), V[best], atol=FLOAT64)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=10))
@settings(deadline=None)
def test_jacobian_agrees_with_autograd(x: list[float]) -> None:
    expected = torch.autograd.functional.jacobian(
        lambda t: torch.softmax(t, 0), torch.tensor(x, dtype=torch.float64)
    )
    np.testing.assert_allclose(softmax_jacobian(np.array(softmax(x))), expected.numpy(), atol=FLOAT64)


def test_figure_refuses_keys_without_values() -> None:
    with pytest.raises(ValueError, match="as many values as keys"):
        keys_on_a_line(
            [1.0, 2.0], [1.0], x_label="x", y_label="y", alt="a", caption="c", query=1.0, temperature=1.0
        )
