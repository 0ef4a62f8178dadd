"""Named wrong and right solutions of chapter 02, `scaled_dot_product`."""

from __future__ import annotations

from autograder.variants.base import right, wrong

VARIANTS = [
    # --- score_variance ---
    wrong("score_variance", "the_formula", caught_by="estimate_is_measured",
          because="returns d: states the claim instead of measuring it",
          body='''
def score_variance(d, trials, rng):
    return float(d)
'''),
    wrong("score_variance", "the_formula_with_noise", caught_by="more_trials_less_noise",
          because="d with a little noise on top: a measurement in name only",
          body='''
def score_variance(d, trials, rng):
    return d * (1 + 0.001 * float(rng.standard_normal()))
'''),
    wrong("score_variance", "one_by_one_products", caught_by="variance_follows_the_width",
          because="the variance of the single products q_i k_i, which is 1 for every d: the sum is missing",
          edit=("np.sum(queries * keys, axis=1)", "queries * keys")),
    wrong("score_variance", "sum_over_trials", caught_by="variance_follows_the_width",
          because="sums over the trials and leaves d numbers",
          edit=("np.sum(queries * keys, axis=1)", "np.sum(queries * keys, axis=0)")),
    wrong("score_variance", "already_scaled", caught_by="variance_follows_the_width",
          because="divides by √d before measuring, so that there is nothing left to see",
          edit=("np.sum(queries * keys, axis=1)", "np.sum(queries * keys, axis=1) / math.sqrt(d)")),
    wrong("score_variance", "standard_deviation", caught_by="variance_follows_the_width",
          because="the standard deviation instead of the variance",
          edit=("products.var()", "products.std()")),
    wrong("score_variance", "query_with_itself", caught_by="variance_follows_the_width",
          because="the key is the query, so the products are squares and not independent",
          edit=("keys = rng.standard_normal((trials, d))", "keys = queries")),
    wrong("score_variance", "uniform_numbers", caught_by="variance_follows_the_width",
          because="rng.random: numbers in [0, 1), with mean ½ and variance 1/12",
          edit=("queries = rng.standard_normal((trials, d))", "queries = rng.random((trials, d))")),
    wrong("score_variance", "one_query_for_all", caught_by="more_trials_less_noise",
          because="one query against all keys: the variance of these scores is |q|², whatever the number of trials",
          edit=("queries = rng.standard_normal((trials, d))", "queries = rng.standard_normal((1, d))")),
    wrong("score_variance", "a_hundred_trials", caught_by="more_trials_less_noise",
          because="the number of trials is fixed inside",
          body='''
def score_variance(d, trials, rng):
    return float((rng.standard_normal((100, d)) * rng.standard_normal((100, d))).sum(axis=1).var())
'''),
    wrong("score_variance", "all_pairs_of_half", caught_by="more_trials_less_noise",
          because="half as many queries and keys, and every query meets every key: more numbers, but not independent ones",
          body='''
def score_variance(d, trials, rng):
    half = trials // 2
    queries, keys = rng.standard_normal((2, half, d))
    # the table queries @ keys.T would take gigabytes; these are its mean and its mean square
    mean = queries.mean(axis=0) @ keys.mean(axis=0)
    return float(np.sum((queries.T @ queries) * (keys.T @ keys)) / half**2 - mean**2)
'''),
    wrong("score_variance", "the_global_generator", caught_by="same_seed_same_estimate",
          because="draws from NumPy's global state and ignores the generator",
          body='''
def score_variance(d, trials, rng):
    queries, keys = np.random.randn(trials, d), np.random.randn(trials, d)
    return float((queries * keys).sum(axis=1).var())
'''),
    wrong("score_variance", "a_generator_of_its_own", caught_by="estimate_is_measured",
          because="seeds a generator of its own, so that every call gives the same number",
          edit=("    queries = rng", "    rng = np.random.default_rng(0)\n    queries = rng")),
    right("score_variance", "trial_by_trial", body='''
def score_variance(d, trials, rng):
    products = [float(rng.standard_normal(d) @ rng.standard_normal(d)) for _ in range(trials)]
    mean = sum(products) / trials
    return sum((product - mean) ** 2 for product in products) / trials
'''),
    right("score_variance", "einsum_unbiased", because="keys first, einsum, and trials − 1 in the denominator", body='''
def score_variance(d, trials, rng):
    keys = rng.normal(size=(trials, d))
    queries = rng.normal(size=(trials, d))
    return np.var(np.einsum("td,td->t", queries, keys), ddof=1)
'''),
    right("score_variance", "about_zero", because="the mean is known to be zero, so the mean square is an estimate too", body='''
def score_variance(d, trials, rng):
    both = rng.standard_normal((2, trials, d))
    return float(np.mean((both[0] * both[1]).sum(-1) ** 2))
'''),
    # --- scores ---
    wrong("scores", "no_scale", caught_by="scores_are_scaled",
          because="the plain dot products, as in one of the article's two formulas",
          edit=(" / math.sqrt(Q.shape[-1])", "")),
    wrong("scores", "d_for_root_d", caught_by="scale_is_the_root_of_the_width",
          because="divides by d and not by its square root",
          edit=("math.sqrt(Q.shape[-1])", "Q.shape[-1]")),
    wrong("scores", "root_of_the_number_of_queries", caught_by="scale_is_the_root_of_the_width",
          because="len(Q) is the number of queries, not their width",
          edit=("math.sqrt(Q.shape[-1])", "math.sqrt(len(Q))")),
    wrong("scores", "root_of_the_number_of_keys", caught_by="scale_is_the_root_of_the_width",
          because="K.shape[0] is the number of keys, not their width",
          edit=("math.sqrt(Q.shape[-1])", "math.sqrt(K.shape[0])")),
    wrong("scores", "times_the_root", caught_by="scale_is_the_root_of_the_width",
          because="multiplies by √d",
          edit=(" / math.sqrt(Q.shape[-1])", " * math.sqrt(Q.shape[-1])")),
    wrong("scores", "reshaped_keys", caught_by="one_key_fills_one_column",
          because="K reshaped to (d, m) instead of transposed: the shape is right, the numbers are not",
          edit=("K.T", "K.reshape(K.shape[1], K.shape[0])")),
    wrong("scores", "keys_by_queries", caught_by="one_row_a_query_one_column_a_key",
          because="the table lies on its side: (m, n)",
          edit=("Q @ K.T", "K @ Q.T")),
    wrong("scores", "squeezed", caught_by="one_row_a_query_one_column_a_key",
          because="axes of size one are thrown away",
          edit=("Q @ K.T / math.sqrt(Q.shape[-1])", "np.squeeze(Q @ K.T / math.sqrt(Q.shape[-1]))")),
    wrong("scores", "numpy_root", caught_by="dtype_stays_as_it_was",
          because="np.sqrt gives a float64 number, which turns float32 scores into float64",
          edit=("math.sqrt", "np.sqrt")),
    wrong("scores", "in_place", caught_by="inputs_are_left_alone",
          because="scales the caller's queries in place",
          body='''
def scores(Q, K):
    Q /= math.sqrt(Q.shape[-1])
    return Q @ K.T
'''),
    wrong("scores", "reads_the_memory", caught_by="inputs_are_left_alone",
          because="takes the numbers in the order of memory, which is not the order of the rows for every array",
          edit=("Q @ K.T", "Q.ravel(order=\"K\").reshape(Q.shape) @ K.T")),
    right("scores", "one_by_one", body='''
def scores(Q, K):
    table = np.empty((len(Q), len(K)), dtype=Q.dtype)
    for i in range(len(Q)):
        for j in range(len(K)):
            table[i, j] = np.dot(Q[i], K[j]) * Q.shape[1] ** -0.5
    return table
'''),
    right("scores", "einsum", because="scales the queries first, then contracts", body='''
def scores(Q, K):
    return np.einsum("nd,md->nm", Q / math.sqrt(K.shape[1]), K)
'''),
    # --- scaled_dot_product_attention ---
    wrong("scaled_dot_product_attention", "softmax_over_queries", caught_by="every_query_shares_one_whole",
          because="the softmax runs down the columns: each key shares one whole among the queries",
          body='''
def scaled_dot_product_attention(Q, K, V):
    S = scores(Q, K)
    E = np.exp(S - S.max(axis=0, keepdims=True))
    A = E / E.sum(axis=0, keepdims=True)
    return A @ V, A
'''),
    wrong("scaled_dot_product_attention", "softmax_over_everything", caught_by="every_query_shares_one_whole",
          because="no axis at all: the whole matrix sums to 1",
          body='''
def scaled_dot_product_attention(Q, K, V):
    S = scores(Q, K)
    E = np.exp(S - S.max())
    A = E / E.sum()
    return A @ V, A
'''),
    wrong("scaled_dot_product_attention", "no_scale", caught_by="scores_are_scaled_once",
          because="plain dot products", edit=("S = scores(Q, K)", "S = Q @ K.T")),
    wrong("scaled_dot_product_attention", "scaled_twice", caught_by="scores_are_scaled_once",
          because="scores are scaled already, and are divided by √d again",
          edit=("S = scores(Q, K)", "S = scores(Q, K) / math.sqrt(K.shape[1])")),
    wrong("scaled_dot_product_attention", "reshaped_keys", caught_by="matches_the_definition",
          because="K reshaped instead of transposed",
          edit=("S = scores(Q, K)", "S = Q @ K.reshape(K.shape[1], K.shape[0]) / math.sqrt(K.shape[1])")),
    wrong("scaled_dot_product_attention", "distances", caught_by="matches_the_definition",
          because="compares by distance, as chapter 01 did for numbers: long keys are held against themselves",
          edit=("S = scores(Q, K)", "S = scores(Q, K) - (K**2).sum(axis=1) / (2 * math.sqrt(K.shape[1]))")),
    wrong("scaled_dot_product_attention", "width_of_the_values", caught_by="scores_are_scaled_once",
          because="√d_v for √d_k", edit=("S = scores(Q, K)", "S = Q @ K.T / math.sqrt(V.shape[1])")),
    wrong("scaled_dot_product_attention", "weights_first", caught_by="returns_out_and_weights",
          because="the two results stand in the wrong order",
          edit=("return weights @ V, weights", "return weights, weights @ V")),
    wrong("scaled_dot_product_attention", "scores_for_weights", caught_by="every_query_shares_one_whole",
          because="returns the scores where the weights are asked for",
          edit=("return weights @ V, weights", "return weights @ V, S")),
    wrong("scaled_dot_product_attention", "naive_softmax", caught_by="large_scores_do_not_overflow",
          because="np.exp of the raw scores overflows",
          edit=("np.exp(S - S.max(axis=1, keepdims=True))", "np.exp(S)")),
    wrong("scaled_dot_product_attention", "one_maximum_for_all", caught_by="each_row_has_its_own_maximum",
          because="subtracts the largest score of the matrix: rows far below it underflow to 0 / 0",
          edit=("S.max(axis=1, keepdims=True)", "S.max()")),
    wrong("scaled_dot_product_attention", "epsilon_below", caught_by="every_query_shares_one_whole",
          because="a small number added to the sum, out of habit: the weights no longer sum to 1",
          edit=("exponentials.sum(axis=1, keepdims=True)", "(exponentials.sum(axis=1, keepdims=True) + 1e-6)")),
    wrong("scaled_dot_product_attention", "averaged_output", caught_by="out_blends_the_values",
          because="divides the blend by the number of keys: the weights are shares already",
          edit=("return weights @ V, weights", "return weights @ V / len(K), weights")),
    wrong("scaled_dot_product_attention", "mean_query_subtracted", caught_by="queries_do_not_mix",
          because="centres the queries on their mean, as a normalisation, so that they see one another",
          edit=("S = scores(Q, K)", "S = scores(Q - Q.mean(axis=0), K)")),
    wrong("scaled_dot_product_attention", "always_float64", caught_by="results_have_the_dtype_of_the_inputs",
          because="computes in float64 and never goes back",
          edit=("S = scores(Q, K)", "S = scores(Q, K).astype(np.float64)")),
    wrong("scaled_dot_product_attention", "in_place", caught_by="arrays_are_left_alone",
          because="scales the caller's queries in place",
          body='''
def scaled_dot_product_attention(Q, K, V):
    Q /= math.sqrt(Q.shape[1])
    S = Q @ K.T
    E = np.exp(S - S.max(axis=1, keepdims=True))
    A = E / E.sum(axis=1, keepdims=True)
    return A @ V, A
'''),
    right("scaled_dot_product_attention", "query_by_query", body='''
def scaled_dot_product_attention(Q, K, V):
    out = np.empty((len(Q), V.shape[1]), dtype=V.dtype)
    weights = np.empty((len(Q), len(K)), dtype=Q.dtype)
    for i, q in enumerate(Q):
        s = np.array([np.dot(q, k) for k in K]) * len(q) ** -0.5
        e = np.exp(s - s.max())
        weights[i] = e / e.sum()
        out[i] = weights[i] @ V
    return out, weights
'''),
    right("scaled_dot_product_attention", "log_sum_exp", because="through the logarithm of the sum of exponentials", body='''
def scaled_dot_product_attention(Q, K, V):
    S = scores(Q, K)
    logsumexp = np.logaddexp.reduce(S, axis=1, keepdims=True)
    A = np.exp(S - logsumexp)
    return np.einsum("nm,mv->nv", A, V), A
'''),
    # --- attention_backward ---
    wrong("attention_backward", "no_scale_in_dq", caught_by="scale_goes_backward_too",
          because="the 1/√d of the scores is forgotten in dQ", edit=("dQ = scale * (dS @ K)", "dQ = dS @ K")),
    wrong("attention_backward", "no_scale_in_dk", caught_by="scale_goes_backward_too",
          because="the 1/√d of the scores is forgotten in dK", edit=("dK = scale * (dS.T @ Q)", "dK = dS.T @ Q")),
    wrong("attention_backward", "scaled_twice", caught_by="scale_goes_backward_too",
          because="divides dS by √d and then both gradients again",
          edit=("    scale = 1 / math.sqrt(Q.shape[-1])", "    scale = 1 / Q.shape[-1]")),
    wrong("attention_backward", "diagonal_only", caught_by="equal_values_leave_nothing_to_choose",
          because="A(1 − A)dA: the derivative of a sigmoid, without the entries off the diagonal",
          edit=("A * (dA - np.sum(A * dA, axis=1, keepdims=True))", "A * (1 - A) * dA")),
    wrong("attention_backward", "no_softmax", caught_by="equal_values_leave_nothing_to_choose",
          because="takes dA for dS and forgets the softmax",
          edit=("A * (dA - np.sum(A * dA, axis=1, keepdims=True))", "dA")),
    wrong("attention_backward", "softmax_weights_only", caught_by="equal_values_leave_nothing_to_choose",
          because="A·dA: the sum of the row is not subtracted",
          edit=("A * (dA - np.sum(A * dA, axis=1, keepdims=True))", "A * dA")),
    wrong("attention_backward", "sum_over_queries", caught_by="equal_values_leave_nothing_to_choose",
          because="subtracts the sum over the queries: the Jacobian belongs to a row",
          edit=("np.sum(A * dA, axis=1, keepdims=True)", "np.sum(A * dA, axis=0, keepdims=True)")),
    wrong("attention_backward", "reshaped_weights_for_dv", caught_by="values_collect_what_they_gave",
          because="A reshaped to (m, n) instead of transposed",
          edit=("A.T @ dO", "A.reshape(A.shape[1], A.shape[0]) @ dO")),
    wrong("attention_backward", "mean_over_queries", caught_by="values_collect_what_they_gave",
          because="averages over the queries where the contributions add up",
          edit=("dV = A.T @ dO", "dV = A.T @ dO / len(Q)")),
    wrong("attention_backward", "reshaped_for_dk", caught_by="agrees_with_small_nudges",
          because="dS reshaped to (m, n) instead of transposed",
          edit=("dS.T @ Q", "dS.reshape(dS.shape[1], dS.shape[0]) @ Q")),
    wrong("attention_backward", "sign", caught_by="agrees_with_small_nudges",
          because="the gradient of the queries has the wrong sign",
          edit=("dQ = scale *", "dQ = -scale *")),
    wrong("attention_backward", "upstream_of_ones", caught_by="gradients_follow_the_upstream",
          because="the gradient of the plain sum of the outputs, whatever comes from above",
          edit=("    _, A = scaled", "    dO = np.ones_like(dO)\n    _, A = scaled")),
    wrong("attention_backward", "unit_upstream", caught_by="gradients_follow_the_upstream",
          because="normalises dO, as if the size of a gradient carried no meaning",
          edit=("    _, A = scaled", "    dO = dO / np.linalg.norm(dO)\n    _, A = scaled")),
    wrong("attention_backward", "order", caught_by="gradients_have_the_shapes_of_their_inputs",
          because="returns (dV, dK, dQ)", edit=("return dQ, dK, dV", "return dV, dK, dQ")),
    wrong("attention_backward", "keys_before_queries", caught_by="gradients_have_the_shapes_of_their_inputs",
          because="returns (dK, dQ, dV)", edit=("return dQ, dK, dV", "return dK, dQ, dV")),
    wrong("attention_backward", "naive_softmax", caught_by="saturated_rows_have_finite_gradients",
          because="computes the weights again, without subtracting the largest score",
          edit=("    _, A = scaled_dot_product_attention(Q, K, V)",
                "    E = np.exp(scores(Q, K))\n    A = E / E.sum(axis=1, keepdims=True)")),
    wrong("attention_backward", "numpy_root", caught_by="gradients_have_the_dtype_of_the_inputs",
          because="np.sqrt gives a float64 number, which turns float32 gradients into float64",
          edit=("1 / math.sqrt(Q.shape[-1])", "1 / np.sqrt(Q.shape[-1])")),
    wrong("attention_backward", "in_place", caught_by="upstream_and_inputs_are_left_alone",
          because="scales the caller's dO in place",
          body='''
def attention_backward(dO, Q, K, V):
    _, A = scaled_dot_product_attention(Q, K, V)
    dV = A.T @ dO
    dO /= math.sqrt(Q.shape[1])
    dA = dO @ V.T
    dS = A * (dA - (A * dA).sum(axis=1, keepdims=True))
    return dS @ K, dS.T @ Q, dV
'''),
    right("attention_backward", "row_by_row_with_the_jacobian", body='''
def attention_backward(dO, Q, K, V):
    _, A = scaled_dot_product_attention(Q, K, V)
    root = math.sqrt(Q.shape[1])
    dQ, dK, dV = np.zeros_like(Q), np.zeros_like(K), np.zeros_like(V)
    for i in range(len(Q)):
        a = A[i]
        ds = (np.diag(a) - np.outer(a, a)) @ (V @ dO[i])
        dQ[i] = ds @ K / root
        dK += np.outer(ds, Q[i]) / root
        dV += np.outer(a, dO[i])
    return dQ, dK, dV
'''),
    right("attention_backward", "through_the_output", because="a·da is o·do, so the output serves for the row sums", body='''
def attention_backward(dO, Q, K, V):
    O, A = scaled_dot_product_attention(Q, K, V)
    delta = (dO * O).sum(axis=1, keepdims=True)
    dS = A * (dO @ V.T - delta) / math.sqrt(K.shape[1])
    return np.einsum("nm,md->nd", dS, K), np.einsum("nm,nd->md", dS, Q), np.einsum("nm,nv->mv", A, dO)
'''),
    wrong(
        "attention_backward",
        "zeros",
        caught_by="agrees_with_small_nudges",
        because="returns zeros, which agree with every comparison between gradients",
        body="""
def attention_backward(dO, Q, K, V):
    return 0 * Q, 0 * K, 0 * V
""",
    ),
]  # fmt: skip
