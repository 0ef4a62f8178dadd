"""Hidden tests of chapter 01: soft lookup with one query."""

from __future__ import annotations

import math

import numpy as np

from attention_from_scratch import soft_lookup as reference
from autograder.testing import Draw, Exercise, Question, Student, check, close, presupposes, raises

softmax = Exercise(
    "softmax", forbids=["torch.softmax", "torch.nn.functional.softmax", "scipy.special.softmax"]
)
attend_scalar = Exercise("attend_scalar")
attend = Exercise(
    "attend",
    forbids=["torch.nn.functional.scaled_dot_product_attention", "torch.softmax", "scipy.special.softmax"],
)
softmax_jacobian = Exercise(
    "softmax_jacobian", forbids=["torch.autograd.functional.jacobian", "torch.func.jacrev"]
)


# --- softmax ---------------------------------------------------------------------------------------------------


@softmax.test(
    points=2,
    says="the weights are not exp(x[i]) divided by the sum of all the exp(x[j]), in the order of the scores",
)
def matches_the_definition(student: Student, draw: Draw) -> None:
    for count in (1, *draw.primes(2)):
        x = draw.floats(count)
        total = sum(math.exp(score) for score in x)
        close(student.softmax(x), [math.exp(score) / total for score in x])


@softmax.test(points=1, says="the weights do not sum to 1; every weight must be a share of one whole")
def weights_sum_to_one(student: Student, draw: Draw) -> None:
    weights = student.softmax(draw.floats(draw.integer(3, 20)))
    close(sum(weights), 1.0, what="the sum of the weights")


@softmax.test(
    points=1,
    says="large scores go wrong: math.exp overflows above 709, yet adding 10000 to every score must change no weight",
)
def large_scores_do_not_overflow(student: Student, draw: Draw) -> None:
    x = draw.floats(draw.integer(3, 9))
    close(student.softmax([score + 1e4 for score in x]), reference.softmax(x))


@softmax.test(
    points=1,
    says="very negative scores go wrong: exp(-10000) is 0 in floating point, and nothing can be divided by a sum of zeros",
)
def very_negative_scores_do_not_vanish(student: Student, draw: Draw) -> None:
    x = draw.floats(draw.integer(3, 9))
    close(student.softmax([score - 1e4 for score in x]), reference.softmax(x))


@softmax.test(
    points=1,
    says="scores that lie far apart go wrong: with 10000 and -10000 in one list the largest must get all the weight and the others none",
)
def scores_may_lie_far_apart(student: Student, draw: Draw) -> None:
    count = draw.integer(3, 9)
    for winner in (0, count // 2, count - 1):  # wherever the largest stands
        x = [-1e4 + index for index in range(count)]
        x[winner] = 1e4
        close(student.softmax(x), [float(index == winner) for index in range(count)])


@softmax.test(
    points=1, says="the list of scores was changed; a function must leave what it is given as it is"
)
def scores_are_left_alone(student: Student, draw: Draw) -> None:
    x = draw.floats(draw.integer(3, 9))
    probe = student.probe("softmax", list(x))
    close(probe.args[0], x, what="the list of scores after the call")
    presupposes(probe.value, reference.softmax(x))


@softmax.test(
    points=1,
    says="softmax of an empty list must raise ValueError, because there is nothing to share the weight among, and a list of one score must not",
)
def no_scores_is_an_error(student: Student, draw: Draw) -> None:
    raises(ValueError, student.softmax, [])
    student.softmax(draw.floats(1))


# --- attend_scalar ---------------------------------------------------------------------------------------------


def _entries(draw: Draw) -> tuple[list[float], list[float]]:
    """Keys about one apart in random order, and their values.

    The outermost keys never hold the outermost values, so that no mix-up of keys and values comes out right.
    """
    count = draw.integer(4, 11)
    places = draw.rng().permutation(count)
    keys = [
        float(place) + shift
        for place, shift in zip(places, draw.floats(count, low=-0.2, high=0.2), strict=True)
    ]
    in_order = sorted(draw.floats(count))
    return keys, [in_order[(place + 2) % count] for place in places]


@attend_scalar.test(
    points=2,
    says="the result is not the mean of the values under softmax weights of -(query - key)² / (2 · temperature)",
)
def weighs_values_by_closeness_of_keys(student: Student, draw: Draw) -> None:
    keys, values = _entries(draw)
    for temperature in (0.3, 1.7, 6.0):
        query = draw.floats(1, low=0.0, high=4.0)[0]
        close(
            student.attend_scalar(query, keys, values, temperature),
            reference.attend_scalar(query, keys, values, temperature),
        )


@attend_scalar.test(
    points=1,
    says="at a very small temperature the value of the nearest key must come back; check the sign of the score and that you divide by the temperature",
)
def cold_lookup_returns_the_nearest_value(student: Student, draw: Draw) -> None:
    keys, values = _entries(draw)
    for key, value in zip(keys, values, strict=True):
        query = key + 0.1 * draw.choice([-1, 1])
        close(student.attend_scalar(query, keys, values, 1e-12), value)


@attend_scalar.test(
    points=1,
    says="at a very large temperature every key must weigh the same, so the plain mean of the values must come back",
)
def hot_lookup_returns_the_mean(student: Student, draw: Draw) -> None:
    keys, values = _entries(draw)
    close(student.attend_scalar(draw.floats(1)[0], keys, values, 1e12), sum(values) / len(values), 1e-6)


@attend_scalar.test(
    points=1,
    says="a query far from every key broke the lookup: all the exponentials vanish together unless the softmax is the stable one",
)
def far_query_still_gets_an_answer(student: Student, draw: Draw) -> None:
    keys, values = _entries(draw)
    for query in (-60.0, 60.0):  # exp(-50² / 2) is zero in floating point
        expected = reference.attend_scalar(query, keys, values, 1.0)
        close(student.attend_scalar(query, keys, values, 1.0), expected, 1e-6)


@attend_scalar.test(
    points=1,
    says="a query that equals a key must still be a blend: the neighbours keep their share of the weight, there is no hard hit first",
)
def exact_key_is_still_blended(student: Student, draw: Draw) -> None:
    keys, values = _entries(draw)
    query = draw.choice(keys)
    close(student.attend_scalar(query, keys, values, 2.0), reference.attend_scalar(query, keys, values, 2.0))


@attend_scalar.test(
    points=1, says="with a single entry its value must come back, whatever the query and the temperature are"
)
def single_entry_gets_all_the_weight(student: Student, draw: Draw) -> None:
    key, value = draw.floats(2)
    query = key + draw.floats(1, low=1.0, high=3.0)[0]
    for temperature in (1e-6, 1.0, 1e6):
        close(student.attend_scalar(query, [key], [value], temperature), value)


@attend_scalar.test(
    points=1,
    says="a temperature of zero or below must raise ValueError, and every positive one must be accepted",
)
def temperature_must_be_positive(student: Student, draw: Draw) -> None:
    keys, values = _entries(draw)
    for temperature in (0.0, -draw.integer(1, 9)):
        raises(ValueError, student.attend_scalar, 1.0, keys, values, float(temperature))
    student.attend_scalar(1.0, keys, values, 1e-12)


@attend_scalar.test(
    points=1,
    says="keys and values that differ in number must raise ValueError, and those that pair must not; cutting the longer list off hides a mistake of the caller",
)
def keys_and_values_must_pair(student: Student, draw: Draw) -> None:
    keys, values = _entries(draw)
    raises(ValueError, student.attend_scalar, 1.0, keys[:-1], values, 1.0)
    raises(ValueError, student.attend_scalar, 1.0, keys, values[:-1], 1.0)
    student.attend_scalar(1.0, keys, values, 1.0)


@attend_scalar.test(
    points=1, says="the lists of keys or values were changed; a lookup must leave them as they are"
)
def lists_are_left_alone(student: Student, draw: Draw) -> None:
    keys, values = _entries(draw)
    probe = student.probe("attend_scalar", 1.5, list(keys), list(values), 1.0)
    close(probe.args[1], keys, what="the keys after the call")
    close(probe.args[2], values, what="the values after the call")
    presupposes(probe.value, reference.attend_scalar(1.5, keys, values, 1.0))


# --- attend ----------------------------------------------------------------------------------------------------


def _vectors(draw: Draw) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A query, keys and values whose three sizes all differ."""
    d, n, dv = draw.primes(3)
    return draw.array(d), draw.array(n, d), draw.array(n, dv)


@attend.test(points=2, says="the result is not softmax(q·K[i] / √d) times the rows of V")
def matches_the_definition_for_vectors(student: Student, draw: Draw) -> None:
    for _ in range(3):
        q, K, V = _vectors(draw)
        close(student.attend(q, K, V), reference.attend(q, K, V))


@attend.test(
    points=2,
    says="the scores are divided by the wrong number: it is the square root of d, the width of the query and the keys, not of a value, not of n",
)
def scale_comes_from_the_key_width(student: Student, draw: Draw) -> None:
    n, dv = 5, draw.choice([9, 11])
    for d in (2, 49):  # few key features, then many: every wrong scale is far off in one of them
        q, V = draw.array(d), draw.array(n, dv)
        K = q + draw.array(n, d)  # keys that resemble the query
        close(student.attend(q, K, V), reference.attend(q, K, V))


@attend.test(
    points=1,
    says="the result must be one vector as wide as a value, shape (dv,), also when dv is 1 and when there is a single key",
)
def result_has_the_width_of_a_value(student: Student, draw: Draw) -> None:
    prime = draw.primes(1)[0]
    for d, n, dv in ((prime, 1, prime + 1), (1, prime, prime + 2), (prime, prime + 3, 1), (1, 1, 1)):
        q, K, V = draw.array(d), draw.array(n, d), draw.array(n, dv)
        result = student.attend(q, K, V)
        check(isinstance(result, np.ndarray), f"the result is a {type(result).__name__}, not a NumPy array")
        check(result.shape == (dv,), f"d={d}, n={n}, dv={dv}: got shape {result.shape}, expected ({dv},)")
        presupposes(result, reference.attend(q, K, V))


@attend.test(
    points=1,
    says="the entries are mixed up: shuffling the rows of K and of V in the same way must change nothing, because a key is a row",
)
def order_of_entries_does_not_matter(student: Student, draw: Draw) -> None:
    q, K, V = _vectors(draw)
    order = draw.rng().permutation(len(K))
    close(student.attend(q, K[order], V[order]), student.attend(q, K, V), what="the result after shuffling")
    close(student.attend(q, K[order], V[order]), reference.attend(q, K, V))


@attend.test(
    points=1,
    says="scores around 10000 or -10000 broke the lookup: adding the same number to every score must change nothing",
)
def scores_of_any_size(student: Student, draw: Draw) -> None:
    q, K, V = _vectors(draw)
    for size in (1e4, -1e4):
        K[:, 0] = size * math.sqrt(len(q)) / q[0]  # every score moves by `size`, so no weight changes
        shifted = K.copy()
        shifted[:, 0] = 0.0
        close(student.attend(q, K, V), reference.attend(q, shifted, V), 1e-6)


@attend.test(
    points=1, says="float32 came in and another dtype came out; the result must have the dtype of the inputs"
)
def dtype_stays_as_it_was(student: Student, draw: Draw) -> None:
    q, K, V = (array.astype(np.float32) for array in _vectors(draw))
    close(student.attend(q, K, V), reference.attend(q, K, V))


@attend.test(points=1, says="q, K or V was changed by the lookup; work on a new array, not in place")
def arrays_are_left_alone(student: Student, draw: Draw) -> None:
    q, K, V = _vectors(draw)
    probe = student.probe("attend", q.copy(), K.copy(), V.copy())
    for name, got, expected in zip("qKV", probe.args, (q, K, V), strict=True):
        close(got, expected, what=f"{name} after the call")
    presupposes(probe.value, reference.attend(q, K, V))


# --- softmax_jacobian ------------------------------------------------------------------------------------------


def _weights(draw: Draw) -> np.ndarray:
    return np.array(reference.softmax(draw.floats(draw.integer(3, 11), low=-2.0, high=2.0)))


@softmax_jacobian.test(
    points=2,
    says="the matrix disagrees with what the softmax does when one score after the other is nudged a little",
)
def agrees_with_small_nudges(student: Student, draw: Draw) -> None:
    x = draw.floats(draw.integer(3, 9))
    got = student.softmax_jacobian(np.array(reference.softmax(x)))
    step = 1e-5
    columns = []
    for j in range(len(x)):
        up, down = list(x), list(x)
        up[j] += step
        down[j] -= step
        columns.append((np.array(reference.softmax(up)) - np.array(reference.softmax(down))) / (2 * step))
    # central differences: error about step² (1e-10) plus rounding / step (1e-11)
    close(got, np.stack(columns, axis=1), 1e-7)


@softmax_jacobian.test(
    points=1,
    says="off the diagonal the entries are wrong: when score j grows, weight i must shrink, by the product of both weights",
)
def other_weights_shrink(student: Student, draw: Draw) -> None:
    p = _weights(draw)
    got = student.softmax_jacobian(p)
    check(isinstance(got, np.ndarray) and got.shape == (len(p), len(p)), f"got shape {np.shape(got)}")
    i, j = (int(k) for k in draw.rng().permutation(len(p))[:2])
    close(float(got[i, j]), float(-p[i] * p[j]), what=f"entry ({i}, {j})")


@softmax_jacobian.test(
    points=1,
    says="the columns of the matrix must sum to zero: the weights always sum to 1, so what one gains the others lose",
)
def gains_and_losses_cancel(student: Student, draw: Draw) -> None:
    p = _weights(draw)
    got = student.softmax_jacobian(p)
    close(np.asarray(got).sum(axis=0), np.zeros(len(p)), what="the sums of the columns")
    check(bool(np.abs(got).max() > 0), "every entry is zero: no weight moves at all")


@softmax_jacobian.test(
    points=1,
    says="p holds weights already, not scores: with all the weight on one entry the whole matrix must be zero",
)
def p_is_taken_as_weights(student: Student, draw: Draw) -> None:
    n = draw.integer(2, 9)
    close(student.softmax_jacobian(np.eye(n)[draw.integer(0, n - 1)]), np.zeros((n, n)))
    p = _weights(draw)
    presupposes(student.softmax_jacobian(p), reference.softmax_jacobian(p))


@softmax_jacobian.test(
    points=1, says="the result must be a square matrix, (n, n), also for a single weight, where it is [[0.]]"
)
def shape_is_square(student: Student, draw: Draw) -> None:
    close(student.softmax_jacobian(np.array([1.0])), np.array([[0.0]]))
    p = _weights(draw)
    close(student.softmax_jacobian(p), reference.softmax_jacobian(p))


@softmax_jacobian.test(points=1, says="the vector of weights was changed; build the matrix in new memory")
def weights_are_left_alone(student: Student, draw: Draw) -> None:
    p = _weights(draw)
    probe = student.probe("softmax_jacobian", p.copy())
    close(probe.args[0], p, what="p after the call")
    presupposes(probe.value, reference.softmax_jacobian(p))


QUESTIONS = [
    Question(
        "why_softly",
        points=4,
        answer=(
            "A hard lookup copies one value. Its answer jumps where the nearest key changes and is flat everywhere else, so "
            "its derivative by the query and by the keys is zero wherever it exists (the Jacobian of one-hot weights is the "
            "zero matrix): nothing tells a learner which way to move. It also copies the noise of the one measurement it "
            "picks. The soft lookup is smooth and averages neighbours. The temperature trades noise against blur: on the "
            "crash data a very small one copied the noise (about 32 g held-out error), a very large one answered the same for "
            "every query (about 50 g), and the best lay between. It must be chosen on data that the final error is not "
            "measured on, here by leaving one training point out at a time; choosing it on the test set makes the "
            "reported error too small, and choosing it on the training points with themselves among the keys always "
            "picks the smallest temperature."
        ),
        rubric=(
            "1 point: the hard lookup has zero (or no) derivative, so nothing can be learned through it, with the Jacobian or a "
            "jump as the reason. 1 point: one measurement carries its noise along, a mean of neighbours does not. 1 point: "
            "what goes wrong at a temperature too small and at one too large, with numbers from the chapter. 1 point: the "
            "temperature is chosen without the test points, and why."
        ),
    )
]
