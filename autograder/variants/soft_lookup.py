"""Named wrong and right solutions of chapter 01."""

from __future__ import annotations

from autograder.variants.base import right, wrong

SOFTMAX = [
    wrong("softmax", "no_shift", caught_by="large_scores_do_not_overflow", because="takes exp of the scores as they are",
          body='''
def softmax(x):
    if not x:
        raise ValueError("no scores")
    exponentials = [math.exp(score) for score in x]
    return [exponential / sum(exponentials) for exponential in exponentials]
'''),
    wrong("softmax", "clipped_scores", caught_by="large_scores_do_not_overflow",
          because="cuts scores off at 700 to avoid the overflow, so all large scores look alike",
          edit=("    largest = max(x)\n", "    x = [min(score, 700.0) for score in x]\n    largest = max(x)\n")),
    wrong("softmax", "shift_only_when_positive", caught_by="very_negative_scores_do_not_vanish",
          because="thinks of overflow only: shifts by max(0, largest)", edit=("max(x)", "max(0.0, *x)")),
    wrong("softmax", "tiny_added_to_the_sum", caught_by="very_negative_scores_do_not_vanish",
          because="avoids the division by zero with a small constant instead of a shift",
          body='''
def softmax(x):
    if not x:
        raise ValueError("no scores")
    exponentials = [math.exp(min(score, 700.0)) for score in x]
    total = sum(exponentials) + 1e-300
    return [exponential / total for exponential in exponentials]
'''),
    wrong("softmax", "shift_by_the_mean", caught_by="scores_may_lie_far_apart",
          because="subtracts the mean: the largest score can still be thousands above it",
          edit=("max(x)", "sum(x) / len(x)")),
    wrong("softmax", "shift_by_the_smallest", caught_by="scores_may_lie_far_apart",
          because="subtracts the smallest score, so the largest still overflows", edit=("max(x)", "min(x)")),
    wrong("softmax", "divided_by_the_largest", caught_by="weights_sum_to_one",
          because="scales the largest weight to 1 instead of the sum", edit=("sum(exponentials)", "max(exponentials)")),
    wrong("softmax", "shift_forgotten_in_the_sum", caught_by="weights_sum_to_one",
          because="shifts above the fraction line and not below it",
          edit=("total = sum(exponentials)", "total = sum(math.exp(min(score, 700.0)) for score in x)")),
    wrong("softmax", "shares_of_the_scores", caught_by="matches_the_definition",
          because="divides the scores (moved above zero) by their sum: no exponential",
          body='''
def softmax(x):
    if not x:
        raise ValueError("no scores")
    above = [score - min(x) + 1.0 for score in x]
    return [score / sum(above) for score in above]
'''),
    wrong("softmax", "powers_of_two", caught_by="matches_the_definition", because="uses 2 for the base",
          edit=("math.exp(score - largest)", "2.0 ** (score - largest)")),
    wrong("softmax", "sorted_weights", caught_by="matches_the_definition",
          because="returns the weights in order of size, no longer in the order of the scores",
          edit=("for score in x]", "for score in sorted(x, reverse=True)]")),
    wrong("softmax", "log_of_the_weights", caught_by="matches_the_definition", because="returns the log-softmax",
          edit=("[exponential / total for", "[math.log(exponential / total + 1e-300) for")),
    wrong("softmax", "shifts_in_place", caught_by="scores_are_left_alone", because="writes the shifted scores into the caller's list",
          edit=("    largest = max(x)\n", "    largest = max(x)\n    x[:] = [score - largest for score in x]\n    largest = 0.0\n")),
    wrong("softmax", "empty_for_empty", caught_by="no_scores_is_an_error", because="returns no weights for no scores",
          edit=('raise ValueError("softmax of no scores: there is nothing to share the weight among")', "return []")),
    right("softmax", "log_sum_exp", because="divides in the exponent, by the log of the sum",
          body='''
def softmax(x):
    top = max(x)
    log_total = top + math.log(sum(math.exp(score - top) for score in x))
    return [math.exp(score - log_total) for score in x]
'''),
    right("softmax", "with_numpy", because="NumPy inside, a list outside",
          body='''
def softmax(x):
    scores = np.asarray(x, dtype=float)
    if scores.size == 0:
        raise ValueError("softmax needs at least one score")
    weights = np.exp(scores - np.max(scores))
    return (weights / weights.sum()).tolist()
'''),
    right("softmax", "by_differences", because="one sum of exp(x[j] - x[i]) for each weight; an overflow there means a weight of 0",
          body='''
def softmax(x):
    if len(x) == 0:
        raise ValueError("empty")
    weights = []
    for score in x:
        total = sum(math.exp(min(other - score, 700.0)) for other in x)
        weights.append(1.0 / total)
    return weights
'''),
]  # fmt: skip

SCORE = "-((query - key) ** 2) / (2 * temperature)"
ATTEND_SCALAR = [
    wrong("attend_scalar", "sign_of_the_score", caught_by="cold_lookup_returns_the_nearest_value",
          because="forgets the minus: the farthest key wins", edit=(SCORE, "(query - key) ** 2 / (2 * temperature)")),
    wrong("attend_scalar", "times_temperature", caught_by="hot_lookup_returns_the_mean",
          because="multiplies by the temperature: hot and cold are swapped",
          edit=(SCORE, "-((query - key) ** 2) * temperature / 2")),
    wrong("attend_scalar", "absolute_distance", caught_by="weighs_values_by_closeness_of_keys",
          because="takes the distance instead of its square", edit=(SCORE, "-abs(query - key) / (2 * temperature)")),
    wrong("attend_scalar", "factor_two_missing", caught_by="weighs_values_by_closeness_of_keys",
          because="leaves out the 2, which doubles every score", edit=("(2 * temperature)", "temperature")),
    wrong("attend_scalar", "temperature_as_bandwidth", caught_by="weighs_values_by_closeness_of_keys",
          because="squares the temperature, as one would a bandwidth", edit=("(2 * temperature)", "(2 * temperature**2)")),
    wrong("attend_scalar", "compares_with_values", caught_by="weighs_values_by_closeness_of_keys",
          because="compares the query with the values", edit=("for key in keys]", "for key in values]")),
    wrong("attend_scalar", "not_normalised", caught_by="hot_lookup_returns_the_mean",
          because="adds weighted values up without dividing by the sum of the weights",
          edit=("weights = softmax([-((query - key) ** 2) / (2 * temperature) for key in keys])",
                "weights = [math.exp(-((query - key) ** 2) / (2 * temperature)) for key in keys]")),
    wrong("attend_scalar", "underflow", caught_by="far_query_still_gets_an_answer",
          because="divides by a sum of exponentials that may all be 0, with a guard that answers 0",
          edit=("weights = softmax([-((query - key) ** 2) / (2 * temperature) for key in keys])",
                "weights = [math.exp(-((query - key) ** 2) / (2 * temperature)) for key in keys]\n"
                "    total = sum(weights) or 1.0\n    weights = [weight / total for weight in weights]")),
    wrong("attend_scalar", "dictionary_first", caught_by="exact_key_is_still_blended",
          because="returns the stored value where the query equals a key",
          edit=("    weights = softmax(", "    if query in keys:\n        return values[keys.index(query)]\n    weights = softmax(")),
    wrong("attend_scalar", "scaled_by_the_spread", caught_by="single_entry_gets_all_the_weight",
          because="divides the distances by the spread of the keys, which is 0 for a single key",
          edit=("(query - key) ** 2", "((query - key) / (max(keys) - min(keys))) ** 2")),
    wrong("attend_scalar", "temperature_unchecked", caught_by="temperature_must_be_positive",
          because="lets a negative temperature through: the farthest key wins", edit=("if not temperature > 0:", "if temperature == 0:")),
    wrong("attend_scalar", "temperature_floored", caught_by="temperature_must_be_positive",
          because="puts a small number in the place of zero and says nothing",
          edit=('raise ValueError(f"the temperature must be positive, got {temperature}")', "temperature = 1e-9")),
    wrong("attend_scalar", "extra_entries_dropped", caught_by="keys_and_values_must_pair",
          because="zip cuts the longer list off in silence",
          body='''
def attend_scalar(query, keys, values, temperature):
    if temperature <= 0:
        raise ValueError("the temperature must be positive")
    pairs = list(zip(keys, values))
    weights = softmax([-((query - key) ** 2) / (2 * temperature) for key, _ in pairs])
    return sum(weight * value for weight, (_, value) in zip(weights, pairs))
'''),
    wrong("attend_scalar", "sorts_in_place", caught_by="lists_are_left_alone",
          because="sorts the caller's lists by key",
          edit=("    weights = softmax(",
                "    pairs = sorted(zip(keys, values))\n    keys[:] = [key for key, _ in pairs]\n"
                "    values[:] = [value for _, value in pairs]\n    weights = softmax(")),
    right("attend_scalar", "with_numpy", because="one NumPy expression a line",
          body='''
def attend_scalar(query, keys, values, temperature):
    if temperature <= 0:
        raise ValueError("the temperature must be positive")
    if len(keys) != len(values):
        raise ValueError("every key needs a value")
    closeness = -0.5 * (query - np.array(keys)) ** 2
    weights = np.exp((closeness - closeness.max()) / temperature)
    return float(np.average(values, weights=weights))
'''),
    right("attend_scalar", "dot_product_of_keys", because="expands the square and drops the query's own term, which every score shares",
          body='''
def attend_scalar(query, keys, values, temperature):
    if temperature <= 0 or len(keys) != len(values):
        raise ValueError("bad temperature or lists")
    origin = min(keys, key=lambda key: abs(query - key))
    scores = [((query - origin) * (key - origin) - (key - origin) ** 2 / 2) / temperature for key in keys]
    result = 0.0
    for weight, value in zip(softmax(scores), values):
        result += weight * value
    return result
'''),
]  # fmt: skip

ATTEND = [
    wrong("attend", "root_of_value_width", caught_by="scale_comes_from_the_key_width", because="divides by √dv",
          edit=("math.sqrt(q.shape[0])", "math.sqrt(V.shape[1])")),
    wrong("attend", "no_scale", caught_by="scale_comes_from_the_key_width", because="leaves the scale out",
          edit=(" / math.sqrt(q.shape[0])", "")),
    wrong("attend", "width_without_root", caught_by="scale_comes_from_the_key_width", because="divides by d instead of √d",
          edit=("math.sqrt(q.shape[0])", "q.shape[0]")),
    wrong("attend", "root_of_the_count", caught_by="scale_comes_from_the_key_width", because="divides by √n, the number of keys",
          edit=("math.sqrt(q.shape[0])", "math.sqrt(K.shape[0])")),
    wrong("attend", "times_the_root", caught_by="matches_the_definition_for_vectors", because="multiplies by √d",
          edit=("K @ q / math", "K @ q * math")),
    wrong("attend", "distance_instead_of_match", caught_by="matches_the_definition_for_vectors",
          because="scores by squared distance, as for numbers on a line: not the same when keys differ in length",
          edit=("K @ q /", "-((K - q) ** 2).sum(axis=1) / 2 /")),
    wrong("attend", "weighted_keys", caught_by="result_has_the_width_of_a_value", because="returns a mean of the keys",
          edit=("weights @ V", "weights @ K")),
    wrong("attend", "row_matrix", caught_by="result_has_the_width_of_a_value", because="returns shape (1, dv)",
          edit=("weights @ V", "weights[None] @ V")),
    wrong("attend", "squeezed", caught_by="result_has_the_width_of_a_value", because="squeezes a width of one away",
          edit=("weights @ V", "np.squeeze(weights @ V)")),
    wrong("attend", "keys_reshaped", caught_by="order_of_entries_does_not_matter",
          because="makes the shapes fit with reshape instead of a transpose: every score mixes several keys",
          edit=("K @ q /", "q @ K.reshape(q.shape[0], -1) /")),
    wrong("attend", "first_key_left_out", caught_by="order_of_entries_does_not_matter",
          because="normalises over all keys but the first", edit=("exponentials.sum()", "exponentials[-(len(K) - 1):].sum()")),
    wrong("attend", "no_shift", caught_by="scores_of_any_size", because="takes exp of the scores as they are",
          edit=("np.exp(scores - scores.max())", "np.exp(scores)")),
    wrong("attend", "nan_to_zero", caught_by="scores_of_any_size", because="hides the overflow behind nan_to_num",
          edit=("weights = exponentials / exponentials.sum()", "weights = np.nan_to_num(np.exp(scores) / np.exp(scores).sum())")),
    wrong("attend", "numpy_root", caught_by="dtype_stays_as_it_was",
          because="np.sqrt gives a float64 scalar, which turns float32 scores into float64",
          edit=("math.sqrt(q.shape[0])", "np.sqrt(q.shape[0])")),
    wrong("attend", "keys_scaled_in_place", caught_by="arrays_are_left_alone", because="divides the caller's keys by √d",
          edit=("scores = K @ q / math.sqrt(q.shape[0])", "K /= math.sqrt(q.shape[0])\n    scores = K @ q")),
    right("attend", "query_scaled_first", because="scales the query instead of the scores",
          body='''
def attend(q, K, V):
    scores = np.einsum("nd,d->n", K, q / math.sqrt(len(q)))
    weights = np.exp(scores - np.max(scores))
    return (weights[:, None] * V).sum(axis=0) / weights.sum()
'''),
    right("attend", "with_the_first_exercise", because="calls softmax of the first exercise and puts the dtype back",
          body='''
def attend(q, K, V):
    d = K.shape[1]
    weights = softmax([float(np.dot(key, q)) / d**0.5 for key in K])
    result = np.zeros(V.shape[1])
    for weight, value in zip(weights, V):
        result += weight * value
    return result.astype(V.dtype)
'''),
]  # fmt: skip

SOFTMAX_JACOBIAN = [
    wrong("softmax_jacobian", "diagonal_only", caught_by="other_weights_shrink",
          because="forgets that every score changes every weight", edit=("np.diag(p) - np.outer(p, p)", "np.diag(p * (1 - p))")),
    wrong("softmax_jacobian", "elementwise", caught_by="shape_is_square",
          because="uses p(1 - p), the derivative of the sigmoid", edit=("np.diag(p) - np.outer(p, p)", "p * (1 - p)")),
    wrong("softmax_jacobian", "no_diagonal", caught_by="gains_and_losses_cancel", because="forgets the term of the weight's own score",
          edit=("np.diag(p) - np.outer(p, p)", "-np.outer(p, p)")),
    wrong("softmax_jacobian", "plus", caught_by="other_weights_shrink", because="adds where it must subtract",
          edit=("np.diag(p) - np", "np.diag(p) + np")),
    wrong("softmax_jacobian", "identity_for_diagonal", caught_by="gains_and_losses_cancel",
          because="subtracts from the identity instead of diag(p)", edit=("np.diag(p)", "np.eye(len(p))")),
    wrong("softmax_jacobian", "negated", caught_by="agrees_with_small_nudges", because="turns every sign round",
          edit=("np.diag(p) - np.outer(p, p)", "np.outer(p, p) - np.diag(p)")),
    wrong("softmax_jacobian", "softmax_again", caught_by="p_is_taken_as_weights", because="takes p for the scores",
          edit=("    return np", "    p = np.exp(p) / np.exp(p).sum()\n    return np")),
    wrong("softmax_jacobian", "of_the_logarithm", caught_by="agrees_with_small_nudges",
          because="gives the derivative of log p: δ(i, j) - p[j]",
          edit=("np.diag(p) - np.outer(p, p)", "np.eye(len(p)) - np.outer(np.ones_like(p), p)")),
    wrong("softmax_jacobian", "in_place", caught_by="weights_are_left_alone", because="uses the caller's array as scratch memory",
          edit=("    return np.diag(p) - np.outer(p, p)", "    result = np.diag(p) - np.outer(p, p)\n    p *= 1 - p\n    return result")),
    right("softmax_jacobian", "two_loops", because="entry by entry",
          body='''
def softmax_jacobian(p):
    n = len(p)
    result = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            result[i, j] = p[i] * ((i == j) - p[j])
    return result
'''),
    right("softmax_jacobian", "rows_scaled", because="scales the rows of (I - 1 pᵀ) by the weights",
          body='''
def softmax_jacobian(p):
    return p[:, None] * (np.eye(p.size) - p[None, :])
'''),
]  # fmt: skip

VARIANTS = [*SOFTMAX, *ATTEND_SCALAR, *ATTEND, *SOFTMAX_JACOBIAN]
