"""Chapter 02: the library against PyTorch's attention and autograd, on random shapes, in double precision."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_from_scratch.figures.scaled_dot_product import saturation
from attention_from_scratch.scaled_dot_product import (
    attention_backward,
    entropy,
    numerical_gradient,
    scaled_dot_product_attention,
    score_variance,
    scores,
)
from attention_from_scratch.soft_lookup import attend, softmax_jacobian

# Both sides sum at most some hundred products of numbers near 1 in float64: about 1e-14, with a margin of 100.
EXACT = {"rtol": 1e-12, "atol": 1e-12}

sizes = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 40), st.integers(1, 9))
seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=60, deadline=None)


def inputs(shape: tuple[int, int, int, int], seed: int) -> tuple[np.ndarray, ...]:
    """dO, Q, K and V for n queries, m keys, width d and width dv of the values."""
    n, m, d, dv = shape
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal(size) for size in ((n, dv), (n, d), (m, d), (m, dv)))


def torch_attention(
    dO: np.ndarray, Q: np.ndarray, K: np.ndarray, V: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    """PyTorch's own output, and the gradients that autograd finds."""
    leaves = [torch.from_numpy(x.copy()).requires_grad_() for x in (Q, K, V)]
    out = torch.nn.functional.scaled_dot_product_attention(*leaves)
    out.backward(torch.from_numpy(dO))
    return out.detach().numpy(), [leaf.grad.numpy() for leaf in leaves if leaf.grad is not None]


@few
@given(sizes, seeds)
def test_forward_and_backward_agree_with_torch(shape: tuple[int, int, int, int], seed: int) -> None:
    dO, Q, K, V = inputs(shape, seed)
    expected, gradients = torch_attention(dO, Q, K, V)
    np.testing.assert_allclose(scaled_dot_product_attention(Q, K, V)[0], expected, **EXACT)
    for got, wanted in zip(attention_backward(dO, Q, K, V), gradients, strict=True):
        np.testing.assert_allclose(got, wanted, **EXACT)


@few
@given(sizes, seeds)
def test_rows_are_the_lookups_of_chapter_01(shape: tuple[int, int, int, int], seed: int) -> None:
    _, Q, K, V = inputs(shape, seed)
    out, weights = scaled_dot_product_attention(Q, K, V)
    np.testing.assert_allclose(out, [attend(q, K, V) for q in Q], **EXACT)
    np.testing.assert_allclose(weights.sum(axis=1), np.ones(len(Q)), **EXACT)


@few
@given(sizes, seeds)
def test_softmax_step_is_the_jacobian_of_chapter_01(shape: tuple[int, int, int, int], seed: int) -> None:
    dO, Q, K, V = inputs(shape, seed)
    _, A = scaled_dot_product_attention(Q, K, V)
    dS = np.stack([softmax_jacobian(a) @ (V @ do) for a, do in zip(A, dO, strict=True)])
    dQ, dK, _ = attention_backward(dO, Q, K, V)
    np.testing.assert_allclose(dQ, dS @ K / math.sqrt(K.shape[1]), **EXACT)
    np.testing.assert_allclose(dK, dS.T @ Q / math.sqrt(K.shape[1]), **EXACT)


@few
@given(sizes, seeds)
def test_layout_does_not_matter_and_inputs_stay(shape: tuple[int, int, int, int], seed: int) -> None:
    arrays = inputs(shape, seed)
    strided = [np.repeat(x, 2, axis=1)[:, ::2] for x in arrays]
    copies = [x.copy() for x in strided]
    for got, wanted in zip(attention_backward(*strided), attention_backward(*arrays), strict=True):
        np.testing.assert_allclose(got, wanted, **EXACT)
    for after, before in zip(strided, copies, strict=True):
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("size", [1e4, 1e150])
def test_scores_of_any_size(size: float) -> None:
    dO, Q, K, V = inputs((3, 5, 4, 2), 0)
    out, weights = scaled_dot_product_attention(size * Q, K, V)
    np.testing.assert_array_equal(weights.argmax(axis=1), scores(Q, K).argmax(axis=1))
    assert np.isfinite(out).all()
    assert all(np.isfinite(gradient).all() for gradient in attention_backward(dO, size * Q, K, V))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept(dtype: type) -> None:
    arrays = [x.astype(dtype) for x in inputs((3, 5, 4, 2), 1)]
    results = [scores(*arrays[1:3]), *scaled_dot_product_attention(*arrays[1:]), *attention_backward(*arrays)]
    assert {result.dtype for result in results} == {np.dtype(dtype)}


@pytest.mark.parametrize("d", [1, 8, 64])
def test_score_variance_is_d_within_its_noise(d: int) -> None:
    trials = 20_000
    noise = math.sqrt(
        (2 + 6 / d) / trials
    )  # relative standard deviation of the variance of a sum of products
    assert abs(score_variance(d, trials, np.random.default_rng(d)) / d - 1) < 5 * noise


def test_score_variance_is_a_measurement() -> None:
    first, again, other = (score_variance(5, 100, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again != other


def test_entropy_of_equal_and_of_certain_weights() -> None:
    np.testing.assert_allclose(entropy(np.full((2, 3, 8), 1 / 8)), np.full((2, 3), math.log(8)), **EXACT)
    np.testing.assert_array_equal(entropy(np.eye(4)), np.zeros(4))


def test_error_of_nudging_draws_a_v() -> None:
    """Falls with the square of the step, then rises as rounding takes over: what the chapter's report shows."""
    dO, Q, K, V = inputs((5, 7, 8, 3), 2)
    dQ, _, _ = attention_backward(dO, Q, K, V)

    def error(step: float) -> float:
        def loss(X: np.ndarray) -> float:
            return float((dO * scaled_dot_product_attention(X, K, V)[0]).sum())

        return float(np.abs(numerical_gradient(loss, Q, step) - dQ).max())

    assert 50 < error(1e-1) / error(1e-2) < 200  # a method of second order: about 100
    assert error(1e-5) < 1e-8  # near the tip: step² is 1e-10, rounding / step is 1e-11
    assert error(1e-11) > 1e3 * error(1e-5)


def test_numerical_gradient_of_a_square() -> None:
    X = np.array([[1.0, -2.0], [0.5, 3.0]])
    got = numerical_gradient(lambda Y: float((Y**2).sum()), X, 1e-4)
    np.testing.assert_allclose(got, 2 * X, rtol=1e-9)  # exact but for rounding: 1e-16 · 14 / 1e-4


def test_figure_carries_its_numbers() -> None:
    rows = [[[[0.25, 0.75]], [[0.5, 0.5]]]]
    page = saturation([4], rows, [[0.56], [0.69]], [[0.3], [0.4]])._repr_html_()
    assert "[0.25,0.75]" in page
    assert "width d" in page
