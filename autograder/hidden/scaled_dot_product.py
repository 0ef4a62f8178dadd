"""Hidden tests of chapter 02, `scaled_dot_product`."""

from __future__ import annotations

import math

import numpy as np

from attention_from_scratch import scaled_dot_product as reference
from autograder.testing import Draw, Exercise, Question, Student, check, close, presupposes

READY_MADE = [
    "torch.nn.functional.scaled_dot_product_attention",
    "torch.autograd.grad",
    "torch.autograd.backward",
    "scipy.special.softmax",
]

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]

score_variance = Exercise("score_variance")
scores = Exercise("scores")
scaled_dot_product_attention = Exercise("scaled_dot_product_attention", forbids=READY_MADE)
attention_backward = Exercise("attention_backward", forbids=READY_MADE)


# --- score_variance --------------------------------------------------------------------------------------------

TRIALS = 40_000


def _noise(d: int, trials: int) -> float:
    """The relative standard deviation of an honest estimate: a dot product of normals has kurtosis 3 + 6/d."""
    return math.sqrt((2 + 6 / d) / trials)


def _measure(student: Student, d: int, trials: int, rng: np.random.Generator) -> float:
    got = student.score_variance(d, trials, rng)
    check(np.shape(got) == (), f"the result has shape {np.shape(got)}, expected one number")
    return float(got)


@score_variance.test(
    points=2,
    says="the measured variance does not follow d: with 40000 trials it must lie within a few percent of d, for d = 1 and for larger d, because every one of the d products adds its own variance and nothing is divided yet",
)
def variance_follows_the_width(student: Student, draw: Draw) -> None:
    for d in (1, draw.integer(2, 9), draw.integer(20, 40)):
        got = _measure(student, d, TRIALS, draw.rng())
        close(got, float(d), tolerance=7 * _noise(d, TRIALS), what=f"the variance for d = {d}")
        check(got != d, f"d = {d} came back exactly, which no measurement gives")


@score_variance.test(
    points=1,
    says="two generators with different seeds gave the same number: the result must be measured from numbers drawn from `rng`, not read off a formula and not drawn from a generator of your own",
)
def estimate_is_measured(student: Student, draw: Draw) -> None:
    d = draw.integer(2, 9)
    found = {_measure(student, d, 200, draw.rng()) for _ in range(3)}
    check(len(found) == 3, f"three generators gave {sorted(found)}")


@score_variance.test(
    points=1,
    says="the same seed gave two different numbers: every random number must come from the `rng` that is passed in, or nobody can repeat the measurement",
)
def same_seed_same_estimate(student: Student, draw: Draw) -> None:
    seed, d = draw.integer(0, 2**31 - 1), draw.integer(150, 250)
    first, second = (_measure(student, d, 2000, np.random.default_rng(seed)) for _ in range(2))
    check(first == second, f"seed {seed} gave {first} and then {second}")
    check(first != d, f"d = {d} came back exactly, which no measurement gives")
    # wide vectors and a wide margin: how good the measurement is, other tests ask
    presupposes(first, float(d), tolerance=0.5)


@score_variance.test(
    points=1,
    says="the estimate does not carry the noise of a variance of `trials` independent numbers: every trial needs a query and a key of its own, which meet each other and nobody else, and all `trials` of them must count",
)
def more_trials_less_noise(student: Student, draw: Draw) -> None:
    d = draw.choice([2, 3])
    errors = [abs(_measure(student, d, TRIALS, draw.rng()) / d - 1) for _ in range(6)]
    check(max(errors) < 7 * _noise(d, TRIALS), f"relative errors {errors} with {TRIALS} trials")
    # Too exact is wrong too. In wide vectors all pairs of half as many queries and keys have a sixth of the noise;
    # the spread of 40 honest measurements is off by a factor of two once in a million classes.
    d, trials = draw.integer(150, 250), 400
    spread = float(np.std([_measure(student, d, trials, draw.rng()) for _ in range(40)])) / d
    honest = _noise(d, trials)
    check(
        honest / 2 < spread < honest * 2,
        f"relative spread {spread:.3g} with {trials} trials, not {honest:.3g}",
    )


# --- scores ----------------------------------------------------------------------------------------------------


def _queries_and_keys(draw: Draw) -> tuple[np.ndarray, np.ndarray]:
    """Queries and keys whose three sizes all differ, none of them a square."""
    n, m, d = draw.primes(3)
    return draw.array(n, d), draw.array(m, d)


def _table(student: Student, Q: np.ndarray, K: np.ndarray) -> np.ndarray:
    got = student.scores(Q, K)
    check(isinstance(got, np.ndarray), f"the result is a {type(got).__name__}, not a NumPy array")
    check(got.shape == (len(Q), len(K)), f"Q {Q.shape}, K {K.shape}: got shape {got.shape}")
    return np.asarray(got)


@scores.test(
    points=1,
    says="the scores must form a table with one row for each query and one column for each key, shape (n, m), also when n and m differ and when one of them is 1",
)
def one_row_a_query_one_column_a_key(student: Student, draw: Draw) -> None:
    prime = draw.primes(1)[0]
    for n, m, d in ((*draw.primes(3),), (1, prime, prime + 1), (prime, 1, prime + 2), (1, 1, 1)):
        Q, K = draw.array(n, d), draw.array(m, d)
        presupposes(_direction(_table(student, Q, K)), _direction(Q @ K.T))


@scores.test(
    points=1,
    says="entry (i, j) must compare query i with key j and with nothing else: exchange the axes of K with a transpose; a reshape keeps the order of the numbers and glues pieces of different keys together",
)
def one_key_fills_one_column(student: Student, draw: Draw) -> None:
    for _ in range(2):
        Q, K = _queries_and_keys(draw)
        j = draw.integer(0, len(K) - 1)
        changed = K.copy()
        changed[j] = draw.array(K.shape[1])
        before, after = _table(student, Q, K), _table(student, Q, changed)
        others = np.arange(len(K)) != j
        close(after[:, others], before[:, others], what="the columns of the other keys")
        # whatever the scale is, the column must point where the dot products point
        close(_direction(after[:, j]), _direction(Q @ changed[j]), what="the direction of the changed column")


def _direction(x: np.ndarray) -> np.ndarray:
    """The numbers without their common size: what a wrong scale leaves right."""
    return x / max(float(np.linalg.norm(x)), 1e-300)


@scores.test(
    points=1,
    says="the scores are the plain dot products: divide them by the square root of d, or they spread wider the wider the vectors are",
)
def scores_are_scaled(student: Student, draw: Draw) -> None:
    Q, K = draw.array(3, 64), draw.array(5, 64)
    got = _table(student, Q, K)
    check(not np.allclose(got, Q @ K.T), "the dot products came back unscaled")
    presupposes(_direction(got), _direction(Q @ K.T))


@scores.test(
    points=1,
    says="the scores are divided by the wrong number: it is the square root of d, the width of one query and one key; not d itself, not the number of queries or keys, and it is divided by, not multiplied",
)
def scale_is_the_root_of_the_width(student: Student, draw: Draw) -> None:
    for d in (2, 49):
        Q, K = draw.array(7, d), draw.array(1, d)  # with one key a transpose and a reshape are the same
        size = np.linalg.norm(np.asarray(student.scores(Q, K))) / np.linalg.norm(Q @ K.T)
        close(float(size * math.sqrt(d)), 1.0, what=f"√d times the factor on the dot products, d = {d}")


@scores.test(
    points=1,
    says="float32 came in and another dtype came out: np.sqrt(d) is a float64 number and NumPy 2 lifts the whole array to float64; math.sqrt(d) is a plain Python number and lifts nothing",
)
def dtype_stays_as_it_was(student: Student, draw: Draw) -> None:
    Q, K = (array.astype(np.float32) for array in _queries_and_keys(draw))
    got = student.scores(Q, K)
    dtype = getattr(got, "dtype", None)
    check(dtype == np.float32, f"float32 came in, {dtype} came out")
    presupposes(_direction(got), _direction(Q @ K.T))


@scores.test(
    points=1,
    says="Q or K was changed by the call, or its layout in memory decided the result; make new arrays instead of working in place, and never touch strides",
)
def inputs_are_left_alone(student: Student, draw: Draw) -> None:
    Q, K = _queries_and_keys(draw)
    Q, K = np.asfortranarray(Q), np.repeat(K, 2, axis=0)[::2]
    probe = student.probe("scores", Q.copy(order="K"), K)
    close(probe.args[0], Q, tolerance=0.0, what="Q after the call")
    close(probe.args[1], K, tolerance=0.0, what="K after the call")
    in_rows = _table(student, np.ascontiguousarray(Q), np.ascontiguousarray(K))
    close(probe.value, in_rows, what="the scores of the same numbers in another layout")
    presupposes(_direction(in_rows), _direction(Q @ K.T))


# --- scaled_dot_product_attention ------------------------------------------------------------------------------


def _inputs(draw: Draw) -> Arrays:
    """Queries, keys and values whose four sizes all differ."""
    n, m, d, dv = draw.primes(4)
    return draw.array(n, d), draw.array(m, d), draw.array(m, dv)


def _attention(
    student: Student, Q: np.ndarray, K: np.ndarray, V: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    got = student.scaled_dot_product_attention(Q, K, V)
    check(
        isinstance(got, tuple | list) and len(got) == 2, f"expected two results, got a {type(got).__name__}"
    )
    check(all(isinstance(part, np.ndarray) for part in got), "expected two NumPy arrays")
    shapes = (got[0].shape, got[1].shape)
    check(
        shapes == ((len(Q), V.shape[1]), (len(Q), len(K))),
        f"Q {Q.shape}, K {K.shape}, V {V.shape}: got {shapes}",
    )
    return got[0], got[1]


@scaled_dot_product_attention.test(
    points=1,
    says="the two results must be (out, weights) in this order: out of shape (n, dv), one blend of values for each query, and weights of shape (n, m)",
)
def returns_out_and_weights(student: Student, draw: Draw) -> None:
    prime = draw.primes(1)[0]
    sizes = ((*draw.primes(4),), (1, prime, prime + 1, prime + 2), (prime, 1, 1, prime + 1), (1, 1, 1, 1))
    for n, m, d, dv in sizes:
        Q, K, V = draw.array(n, d), draw.array(m, d), draw.array(m, dv)
        presupposes(_attention(student, Q, K, V), reference.scaled_dot_product_attention(Q, K, V))


@scaled_dot_product_attention.test(
    points=2,
    says="the weights of a query are not shares of one whole: every row of the weights must be positive and sum to 1, because the softmax runs over the keys; if your columns sum to 1 it runs over the queries",
)
def every_query_shares_one_whole(student: Student, draw: Draw) -> None:
    Q, K, V = _inputs(draw)
    _, weights = _attention(student, Q, K, V)
    check(bool((weights >= 0).all()), "there are negative weights")
    close(np.sum(weights, axis=1), np.ones(len(Q)), what="the sums of the rows of the weights")


@scaled_dot_product_attention.test(
    points=1,
    says="a query's answer changed when other queries were taken away: each row must be computed from its own scores alone",
)
def queries_do_not_mix(student: Student, draw: Draw) -> None:
    Q, K, V = _inputs(draw)
    out, weights = _attention(student, Q, K, V)
    i = draw.integer(0, len(Q) - 1)
    alone = _attention(student, Q[i : i + 1], K, V)
    close(alone[0], out[i : i + 1], what="the output of one query asked alone")
    close(alone[1], weights[i : i + 1], what="the weights of one query asked alone")
    presupposes((out, weights), reference.scaled_dot_product_attention(Q, K, V))


@scaled_dot_product_attention.test(
    points=1.5,
    says="the weights are too sharp or too flat: the softmax must see the scores divided by the square root of d, once",
)
def scores_are_scaled_once(student: Student, draw: Draw) -> None:
    for d in (2, 49):
        Q, K, V = draw.array(5, d), draw.array(7, d), draw.array(7, 3)
        _, weights = _attention(student, Q, K, V)
        with np.errstate(invalid="ignore", divide="ignore"):
            found = _interaction(np.log(weights))
        size = np.linalg.norm(found) / np.linalg.norm(_interaction(Q @ K.T))
        close(float(size * math.sqrt(d)), 1.0, what=f"√d times the factor on the dot products, d = {d}")


def _interaction(table: np.ndarray) -> np.ndarray:
    """What no sum of a row term and a column term explains: the same for scores and for log-weights of any axis."""
    return table - table[:1] - table[:, :1] + table[0, 0]


@scaled_dot_product_attention.test(
    points=1,
    says="out is not the blend of the rows of V with the weights: row i of out is the sum of weights[i, j] · V[j] over the keys j, with nothing divided or normalised afterwards",
)
def out_blends_the_values(student: Student, draw: Draw) -> None:
    for _ in range(2):
        Q, K, V = _inputs(draw)
        out, weights = _attention(student, Q, K, V)
        close(out, weights @ V, what="out, compared with the student's own weights @ V")
        check(bool(np.ptp(weights) > 0), "every query gives every key the same weight")


@scaled_dot_product_attention.test(
    points=2,
    says="the results are not softmax(Q Kᵀ / √d) and that times V; work the example with n = 4 and d = 2 by hand and compare number by number",
)
def matches_the_definition(student: Student, draw: Draw) -> None:
    for _ in range(3):
        Q, K, V = _inputs(draw)
        expected = reference.scaled_dot_product_attention(Q, K, V)
        close(_attention(student, Q, K, V), expected)


@scaled_dot_product_attention.test(
    points=1,
    says="large scores gave NaN or infinity: subtract the largest score of each row before np.exp, as in chapter 01",
)
def large_scores_do_not_overflow(student: Student, draw: Draw) -> None:
    Q, K, V = _inputs(draw)
    K[:, 0], Q[:, 0] = 1e3, 1e3 * math.sqrt(K.shape[1])  # adds 10⁶ to every score: no weight may change
    plain_q, plain_k = Q.copy(), K.copy()
    plain_q[:, 0] = plain_k[:, 0] = 0.0
    expected = _attention(student, plain_q, plain_k, V)
    _differs_by_query(expected)
    # adding 10⁶ rounds each score at 10⁶ · 1.1e-16, about 1e-10: a thousand times that is allowed
    close(_attention(student, Q, K, V), expected, tolerance=1e-7)


def _differs_by_query(results: tuple[np.ndarray, np.ndarray]) -> None:
    """Results that are the same whatever is asked agree with each other; ask first that the queries matter."""
    for result in results:
        check(bool(np.ptp(result, axis=0).max() > 0), "every query gets the same answer")


@scaled_dot_product_attention.test(
    points=0.5,
    says="one query with very large scores spoilt the others: the largest score to subtract is the largest of the row, not of the whole matrix",
)
def each_row_has_its_own_maximum(student: Student, draw: Draw) -> None:
    Q, K, V = _inputs(draw)
    Q[0], K[0] = (
        1e3,
        1.0 + np.abs(K[0]),
    )  # query 0 scores key 0 with thousands: exp of the rest vanishes beside it
    together, without = _attention(student, Q, K, V), _attention(student, Q[1:], K, V)
    _differs_by_query(together)
    close(together[0][1:], without[0], what="the outputs of the other queries")
    close(together[1][1:], without[1], what="the weights of the other queries")


@scaled_dot_product_attention.test(
    points=0.5,
    says="float32 came in and another dtype came out; both results must have the dtype of the inputs",
)
def results_have_the_dtype_of_the_inputs(student: Student, draw: Draw) -> None:
    Q, K, V = (array.astype(np.float32) for array in _inputs(draw))
    got = _attention(student, Q, K, V)
    dtypes = [str(part.dtype) for part in got]
    check(dtypes == ["float32", "float32"], f"float32 came in, {dtypes} came out")
    presupposes(got, reference.scaled_dot_product_attention(Q, K, V))


@scaled_dot_product_attention.test(
    points=0.5, says="Q, K or V was changed by the call; work on new arrays, not in place"
)
def arrays_are_left_alone(student: Student, draw: Draw) -> None:
    Q, K, V = _inputs(draw)
    probe = student.probe("scaled_dot_product_attention", Q.copy(), K.copy(), V.copy())
    for name, got, expected in zip("QKV", probe.args, (Q, K, V), strict=True):
        close(got, expected, tolerance=0.0, what=f"{name} after the call")
    presupposes(probe.value, reference.scaled_dot_product_attention(Q, K, V))


# --- attention_backward ----------------------------------------------------------------------------------------


def _with_upstream(draw: Draw) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    n, m, d, dv = draw.primes(4)
    return draw.array(n, dv), draw.array(n, d), draw.array(m, d), draw.array(m, dv)


def _gradients(student: Student, *inputs: np.ndarray) -> Arrays:
    got = student.attention_backward(*inputs)
    check(
        isinstance(got, tuple | list) and len(got) == 3, f"expected three results, got {type(got).__name__}"
    )
    shapes = [np.shape(gradient) for gradient in got]
    wanted = [array.shape for array in inputs[1:]]
    check(shapes == wanted, f"Q, K and V have shapes {wanted}, their gradients {shapes}")
    return got[0], got[1], got[2]


def _not_zero(*gradients: np.ndarray) -> None:
    """Gradients of zeros agree with each other whatever one compares, so ask first that there are some."""
    for gradient in gradients:
        check(bool(np.abs(gradient).max() > 0), "a gradient is zero everywhere")


@attention_backward.test(
    points=1,
    says="the three results must be (dQ, dK, dV) in this order, each of the shape of what it is the gradient of, also when n, m, d and dv all differ",
)
def gradients_have_the_shapes_of_their_inputs(student: Student, draw: Draw) -> None:
    prime = draw.primes(1)[0]
    for n, m, d, dv in ((*draw.primes(4),), (1, prime, prime + 1, prime + 2), (prime, 1, 1, 1)):
        dO, Q, K, V = draw.array(n, dv), draw.array(n, d), draw.array(m, d), draw.array(m, dv)
        presupposes(_gradients(student, dO, Q, K, V), reference.attention_backward(dO, Q, K, V))


@attention_backward.test(
    points=1,
    says="dV is wrong: value j went into out[i] with the weight A[i, j], so it collects dO[i] with that same weight from every query i",
)
def values_collect_what_they_gave(student: Student, draw: Draw) -> None:
    dO, Q, K, V = _with_upstream(draw)
    close(_gradients(student, dO, Q, K, V)[2], reference.attention_backward(dO, Q, K, V)[2], what="dV")


@attention_backward.test(
    points=2,
    says="when all values are the same, no choice of weights changes the answer, so dQ and dK must be zero; yours are not, because a row of weights sums to 1 and its entries cannot move alone: the softmax Jacobian has entries off the diagonal",
)
def equal_values_leave_nothing_to_choose(student: Student, draw: Draw) -> None:
    dO, Q, K, V = _with_upstream(draw)
    _not_zero(*_gradients(student, dO, Q, K, V))
    V = np.tile(V[:1], (len(K), 1))
    dQ, dK, _ = _gradients(student, dO, Q, K, V)
    close(dQ, np.zeros_like(Q), what="dQ for equal values")
    close(dK, np.zeros_like(K), what="dK for equal values")


@attention_backward.test(
    points=2,
    says="dQ or dK has the wrong size: the scores were divided by √d on the way forward, so both gradients are divided by √d, exactly once, on the way back",
)
def scale_goes_backward_too(student: Student, draw: Draw) -> None:
    dO, Q, K, V = _with_upstream(draw)
    d = Q.shape[1]
    dQ, dK, _ = _gradients(student, dO, Q, K, V)
    _not_zero(dQ, dK)
    # Four times as wide, zeros in the new places, queries twice as long: the scores and weights are the same numbers,
    # so dS is the same too, and what is left to differ is 1/√(4d) for 1/√d and 2Q for Q.
    wide_q, wide_k = np.zeros((len(Q), 4 * d)), np.zeros((len(K), 4 * d))
    wide_q[:, :d], wide_k[:, :d] = 2 * Q, K
    wide = _gradients(student, dO, wide_q, wide_k, V)
    close(2 * wide[0][:, :d], dQ, what="dQ for the same weights, four times as wide")
    close(wide[1][:, :d], dK, what="dK for the same weights, four times as wide")


@attention_backward.test(
    points=3,
    says="dQ or dK disagrees with what the loss really does when one entry is nudged: check which of Q and K each gradient is multiplied with, and which one needs the transpose of dS",
)
def agrees_with_small_nudges(student: Student, draw: Draw) -> None:
    dO, Q, K, V = _with_upstream(draw)
    dQ, dK, _ = _gradients(student, dO, Q, K, V)
    by_query = reference.numerical_gradient(lambda X: _loss(dO, X, K, V), Q, 1e-5)
    by_key = reference.numerical_gradient(lambda X: _loss(dO, Q, X, V), K, 1e-5)
    # central differences err by about step² (1e-10) and by rounding / step (1e-11), times third derivatives
    close(dQ, by_query, tolerance=1e-6, what="dQ")
    close(dK, by_key, tolerance=1e-6, what="dK")


def _loss(dO: np.ndarray, Q: np.ndarray, K: np.ndarray, V: np.ndarray) -> float:
    return float(np.sum(dO * reference.scaled_dot_product_attention(Q, K, V)[0]))


@attention_backward.test(
    points=1,
    says="the gradients do not follow dO: twice the upstream gradient must give twice every gradient, and none must give none",
)
def gradients_follow_the_upstream(student: Student, draw: Draw) -> None:
    dO, Q, K, V = _with_upstream(draw)
    once, thrice = _gradients(student, dO, Q, K, V), _gradients(student, 3 * dO, Q, K, V)
    _not_zero(*once)
    for name, got, expected in zip(("dQ", "dK", "dV"), thrice, once, strict=True):
        close(got, 3 * expected, what=f"{name} for three times dO")


@attention_backward.test(
    points=1,
    says="large scores gave NaN: the backward pass must use the stable softmax too; where a row has become an argmax its gradient is plainly zero",
)
def saturated_rows_have_finite_gradients(student: Student, draw: Draw) -> None:
    dO, Q, K, V = _with_upstream(draw)
    Q = 1e5 * Q
    found = _gradients(student, dO, Q, K, V)
    for name, gradient in zip(("dQ", "dK", "dV"), found, strict=True):
        check(bool(np.isfinite(gradient).all()), f"{name} holds NaN or infinity")
    # of an argmax the values still get their share of dO, and nothing else gets anything
    presupposes(found[2], reference.attention_backward(dO, Q, K, V)[2])


@attention_backward.test(
    points=0.5,
    says="float32 came in and another dtype came out; the gradients must have the dtype of the inputs",
)
def gradients_have_the_dtype_of_the_inputs(student: Student, draw: Draw) -> None:
    dO, Q, K, V = (array.astype(np.float32) for array in _with_upstream(draw))
    found = _gradients(student, dO, Q, K, V)
    dtypes = [str(getattr(gradient, "dtype", None)) for gradient in found]
    check(dtypes == ["float32"] * 3, f"float32 came in, {dtypes} came out")
    presupposes(found, reference.attention_backward(dO, Q, K, V), tolerance=1e-3)


@attention_backward.test(
    points=0.5, says="dO, Q, K or V was changed by the call; work on new arrays, not in place"
)
def upstream_and_inputs_are_left_alone(student: Student, draw: Draw) -> None:
    inputs = _with_upstream(draw)
    probe = student.probe("attention_backward", *(array.copy() for array in inputs))
    for name, got, expected in zip(("dO", "Q", "K", "V"), probe.args, inputs, strict=True):
        close(got, expected, tolerance=0.0, what=f"{name} after the call")
    presupposes(probe.value, reference.attention_backward(*inputs))


QUESTIONS = [
    Question(
        "bug_hunt",
        points=6,
        answer=(
            "(A) Without the √d_k the two formulas of the article are two different functions: they agree only for d_k = 1. In "
            "the worked example the weights differ by up to 0.13 (query 2, key 4: 0.776 for 0.647), at d = 512 almost every row without it is a one-hot row "
            "with no gradient. Mend: divide the dot products by √d_k in both places. "
            "(B) Q Kᵀ of 4 queries and 4 keys is 4×4. The article writes the row of the first query only and calls it A, yet uses "
            "A_21 … A_44 in the next step; a 1×4 matrix times V (4×2) gives one output and not four. Mend: one row for each "
            "query. The entries written down have also lost the √d_k of the formula they claim to expand. "
            "(C) A softmax of a matrix is not defined until one says over which axis. It is the keys: each row sums to "
            "1. Over the queries the columns sum to 1 instead and a query's total weight becomes anything (in the worked "
            "example the four rows then sum to 0.74, 1.53, 1.09 and 0.64); the article's own sum over k says keys. "
            "(D) 'Into [0, 1]' is neither what softmax does nor what is needed: 0.5, 0.5, 0.5 lies in [0, 1] and would blend one "
            "and a half values. A row of weights is positive and sums to 1, and it keeps the order of the scores: "
            "only then is the output a mean of the values."
        ),
        rubric=(
            "1.5 points each for the missing scale (A), the 1×4 matrix (B) and the softmax without an axis (C): half for saying "
            "what is wrong and the mend, one for evidence — a number, a shape or a counter-example that the student computed. "
            "1.5 points for (D): says that 'into [0, 1]' describes neither what softmax does nor what is needed (positive and "
            "sums to 1) and gives a row inside [0, 1] that is no row of weights. "
            "Any other true error of these formulas, with evidence, may replace one of the four."
        ),
    )
]
