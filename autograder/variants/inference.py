"""Wrong and right solutions of chapter 15, `inference`."""

from autograder.variants.base import right, wrong

LATENCY = """
def measure_latency(call, warmup, rounds, clock, synchronize):
    if rounds < 1 or warmup < 0:
        raise ValueError("nothing to measure")
%s
"""


def stopwatch(body: str) -> str:
    """A `measure_latency` whose steps after the check are written out."""
    return LATENCY % "\n".join("    " + line for line in body.strip("\n").splitlines())


MEASURE_LATENCY = [
    wrong(
        "measure_latency",
        "zeros",
        caught_by="percentiles_of_the_single_times",
        because="has the right keys and no numbers",
        body=stopwatch('return {"p50": 0.0, "p95": 0.0}'),
    ),
    wrong(
        "measure_latency",
        "mean_and_largest",
        caught_by="percentiles_of_the_single_times",
        because="calls the mean a median and the largest time the 95th percentile",
        edit=(
            '    return {f"p{percent}": times[place - 1] for percent, place in rank.items()}\n',
            '    return {"p50": sum(times) / rounds, "p95": times[-1]}\n',
        ),
    ),
    wrong(
        "measure_latency",
        "between_two_times",
        caught_by="percentiles_of_the_single_times",
        because="interpolates between two times, so that no round took as long as the answer",
        edit=(
            '    return {f"p{percent}": times[place - 1] for percent, place in rank.items()}\n',
            "    found = torch.quantile(torch.tensor(times, dtype=torch.float64), torch.tensor([0.5, 0.95]).double())\n"
            '    return {"p50": found[0].item(), "p95": found[1].item()}\n',
        ),
    ),
    wrong(
        "measure_latency",
        "not_sorted",
        caught_by="percentiles_of_the_single_times",
        because="takes the round in the middle instead of the time in the middle",
        edit=("    times.sort()\n", ""),
    ),
    wrong(
        "measure_latency",
        "no_warm_up",
        caught_by="warm_up_does_not_count",
        because="times from the first call on",
        edit=("    for _ in range(warmup):\n        call()\n", ""),
    ),
    wrong(
        "measure_latency",
        "warm_up_counts",
        caught_by="warm_up_does_not_count",
        because="keeps the times of the warm-up among the others",
        body=stopwatch("""
times = []
for _ in range(warmup + rounds):
    start = clock()
    call()
    synchronize()
    times.append(clock() - start)
times.sort()
return {"p50": times[-(-50 * len(times) // 100) - 1], "p95": times[-(-95 * len(times) // 100) - 1]}
"""),
    ),
    wrong(
        "measure_latency",
        "warm_up_within_the_rounds",
        caught_by="warm_up_does_not_count",
        because="throws away the first rounds instead of making calls before them",
        body=stopwatch("""
times = []
for _ in range(rounds):
    start = clock()
    call()
    synchronize()
    times.append(clock() - start)
times = sorted(times[warmup:] or times)
rounds = len(times)
return {"p50": times[-(-50 * rounds // 100) - 1], "p95": times[-(-95 * rounds // 100) - 1]}
"""),
    ),
    wrong(
        "measure_latency",
        "never_synchronises",
        caught_by="the_device_has_finished_when_the_clock_is_read",
        because="measures how long it takes to hand the work over",
        edit=("        call()\n        synchronize()\n", "        call()\n"),
    ),
    wrong(
        "measure_latency",
        "synchronises_after_the_clock",
        caught_by="the_device_has_finished_when_the_clock_is_read",
        because="reads the clock first and waits then",
        edit=(
            "        synchronize()\n        times.append(clock() - start)\n",
            "        times.append(clock() - start)\n        synchronize()\n",
        ),
    ),
    wrong(
        "measure_latency",
        "counts_the_warm_up_for_the_first_round",
        caught_by="the_device_has_finished_when_the_clock_is_read",
        because="starts the clock while the device is still busy with the warm-up",
        edit=("        call()\n    synchronize()\n", "        call()\n"),
    ),
    wrong(
        "measure_latency",
        "rank_rounded_down",
        caught_by="any_number_of_rounds",
        because="rounds the rank down, so that with few rounds the answer is the largest or none at all",
        edit=("-(-percent * rounds // 100)", "max(1, percent * rounds // 100)"),
    ),
    wrong(
        "measure_latency",
        "index_for_rank",
        caught_by="any_number_of_rounds",
        because="takes the number in place int(p · rounds), which is one too far whenever that is whole",
        edit=(
            '    return {f"p{percent}": times[place - 1] for percent, place in rank.items()}\n',
            '    return {f"p{p}": times[min(rounds - 1, p * rounds // 100)] for p in (50, 95)}\n',
        ),
    ),
    wrong(
        "measure_latency",
        "no_error",
        caught_by="nothing_to_measure_is_refused",
        because="makes the calls and fails, or succeeds, with whatever comes out",
        edit=("    if rounds < 1 or warmup < 0:\n", "    if False:\n"),
    ),
    right(
        "measure_latency",
        "by_counting",
        body=stopwatch("""
for _ in range(warmup):
    call()
    synchronize()
synchronize()
times = torch.empty(rounds, dtype=torch.float64)
for i in range(rounds):
    synchronize()
    before = clock()
    call()
    synchronize()
    after = clock()
    times[i] = after - before
def at_least(share):
    enough = [t for t in times.tolist() if (times <= t).sum() >= share * rounds - 1e-9]
    return min(enough)
return {"p95": at_least(0.95), "p50": at_least(0.5)}
"""),
    ),
    right(
        "measure_latency",
        "numpy_inverted_cdf",
        body=stopwatch("""
import numpy
times = []
def once(keep):
    start = clock()
    call()
    synchronize()
    if keep:
        times.append(clock() - start)
for i in range(warmup + rounds):
    once(i >= warmup)
p50, p95 = numpy.percentile(times, [50, 95], method="inverted_cdf")
return {"p50": float(p50), "p95": float(p95)}
"""),
    ),
]

CACHE = """
class KVCache:
    def __init__(self, capacity):
        self.capacity, self.length, self.k, self.v = capacity, 0, None, None

    def append(self, k, v):
        if self.length + k.shape[2] > self.capacity:
            raise ValueError("too long")
        if k.shape[:3] != v.shape[:3]:
            raise ValueError("keys and values differ")
        if self.k is None:
            self.k, self.v = k[:, :, :0].clone(), v[:, :, :0].clone()
        for old, new in ((self.k, k), (self.v, v)):
            if old.shape[:2] != new.shape[:2] or old.shape[3] != new.shape[3]:
                raise ValueError("another batch, other heads or another dim")
        self.k = torch.cat([self.k, k], dim=2)
        self.v = torch.cat([self.v, v], dim=2)
        self.length += k.shape[2]
        return self.k, self.v

    def contents(self):
        return self.k, self.v

    def reorder(self, rows):
        if self.k is not None:
            self.k, self.v = self.k[rows], self.v[rows]
"""


def joined(*edits: tuple[str, str]) -> str:
    """The cache that concatenates, with some of its places changed."""
    source = CACHE
    for old, new in edits:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    return source


KV_CACHE = [
    wrong(
        "KVCache",
        "zeros",
        caught_by="everything_so_far_oldest_first",
        because="returns the right shapes with zeros in them",
        edit=(
            "        return self.keys[:, :, : self.length], self.values[:, :, : self.length]\n",
            "        return 0 * self.keys[:, :, : self.length], 0 * self.values[:, :, : self.length]\n",
        ),
    ),
    wrong(
        "KVCache",
        "newest_first",
        caught_by="everything_so_far_oldest_first",
        because="puts the new positions in front of the old ones",
        body=joined(
            ("torch.cat([self.k, k], dim=2)", "torch.cat([k, self.k], dim=2)"),
            ("torch.cat([self.v, v], dim=2)", "torch.cat([v, self.v], dim=2)"),
        ),
    ),
    wrong(
        "KVCache",
        "returns_the_whole_buffer",
        caught_by="everything_so_far_oldest_first",
        because="returns the room that is still empty too, with whatever stood there in memory",
        edit=(
            "        return self.keys[:, :, : self.length], self.values[:, :, : self.length]\n",
            "        return self.keys, self.values\n",
        ),
    ),
    wrong(
        "KVCache",
        "returns_the_new_ones_only",
        caught_by="everything_so_far_oldest_first",
        because="append returns what it was given",
        edit=("        return self.contents()\n", "        return k, v\n"),
    ),
    wrong(
        "KVCache",
        "one_dim_for_both",
        caught_by="everything_so_far_oldest_first",
        because="gives the values the dim of the keys",
        edit=(
            "            self.values = v.new_empty(*v.shape[:2], self.capacity, v.shape[3])\n",
            "            self.values = torch.empty_like(self.keys)\n",
        ),
    ),
    wrong(
        "KVCache",
        "values_are_keys",
        caught_by="everything_so_far_oldest_first",
        because="keeps the keys twice where the shapes allow it",
        body=joined(("torch.cat([self.v, v], dim=2)", "torch.cat([self.v, k[..., : v.shape[3]]], dim=2)")),
    ),
    wrong(
        "KVCache",
        "length_counts_calls",
        caught_by="length_counts_the_positions",
        because="adds one for every call, however many positions came",
        body=joined(
            ("if self.length + k.shape[2]", "if (0 if self.k is None else self.k.shape[2]) + k.shape[2]"),
            ("self.length += k.shape[2]", "self.length += 1"),
        ),
    ),
    wrong(
        "KVCache",
        "length_is_the_capacity",
        caught_by="length_counts_the_positions",
        because="says how many would fit",
        body=joined(
            (
                "self.length, self.k, self.v = capacity, 0, None, None",
                "self.k, self.v = capacity, None, None\n        self.length = capacity",
            ),
            ("if self.length + k.shape[2]", "if (0 if self.k is None else self.k.shape[2]) + k.shape[2]"),
            ("        self.length += k.shape[2]\n", ""),
        ),
    ),
    wrong(
        "KVCache",
        "no_limit",
        caught_by="a_full_cache_refuses_and_stays_as_it_was",
        because="grows without end",
        body=joined(("if self.length + k.shape[2] > self.capacity:", "if False:")),
    ),
    wrong(
        "KVCache",
        "drops_the_oldest",
        caught_by="a_full_cache_refuses_and_stays_as_it_was",
        because="slides: what no longer fits falls out in front, and every position after it is another one",
        body=joined(
            ('            raise ValueError("too long")\n', "            pass\n"),
            (
                "        self.length += k.shape[2]\n",
                "        self.k, self.v = self.k[:, :, -self.capacity :], self.v[:, :, -self.capacity :]\n        self.length = self.k.shape[2]\n",
            ),
        ),
    ),
    wrong(
        "KVCache",
        "full_is_too_full",
        caught_by="a_full_cache_refuses_and_stays_as_it_was",
        because="refuses the position that would just fit",
        edit=("        if end > self.capacity:\n", "        if end >= self.capacity:\n"),
    ),
    wrong(
        "KVCache",
        "counts_before_it_refuses",
        caught_by="a_full_cache_refuses_and_stays_as_it_was",
        because="has counted the new positions when it refuses them",
        edit=(
            "        if end > self.capacity:\n",
            "        before, self.length = self.length, end\n        if end > self.capacity:\n",
        ),
    ),
    wrong(
        "KVCache",
        "broadcasts_one_example",
        caught_by="what_does_not_continue_is_refused",
        because="writes into the buffer whatever can be stretched to its shape",
        edit=(
            "        fits = k.shape == (*self.keys.shape[:2], k.shape[2], self.keys.shape[3])\n        if not fits or v.shape != (*k.shape[:3], self.values.shape[3]):\n",
            "        if k.shape[2] != v.shape[2]:\n",
        ),
    ),
    wrong(
        "KVCache",
        "looks_at_the_keys_only",
        caught_by="what_does_not_continue_is_refused",
        because="never looks at the shape of the values",
        edit=(
            "        if not fits or v.shape != (*k.shape[:3], self.values.shape[3]):\n",
            "        if not fits:\n",
        ),
    ),
    wrong(
        "KVCache",
        "trusts_the_first_call",
        caught_by="what_does_not_continue_is_refused",
        because="compares with what is in the cache, so that the first values may be stretched to the keys",
        edit=(
            "        if not fits or v.shape != (*k.shape[:3], self.values.shape[3]):\n",
            "        if self.length and (not fits or v.shape != (*k.shape[:3], self.values.shape[3])):\n",
        ),
    ),
    wrong(
        "KVCache",
        "remembers_what_it_refused",
        caught_by="what_does_not_continue_is_refused",
        because="has made room for a batch that it then refuses, and refuses every other one from then on",
        edit=(
            "        if self.length == 0:\n            self.keys = k",
            "        if self.keys.ndim == 1:\n            self.keys = k",
        ),
    ),
    wrong(
        "KVCache",
        "keeps_the_first_tensor",
        caught_by="the_cache_keeps_copies",
        because="a list of what came, the caller's own tensors",
        body=joined(
            (
                "self.k, self.v = k[:, :, :0].clone(), v[:, :, :0].clone()",
                "self.k, self.v = [k[:, :, :0]], [v[:, :, :0]]",
            ),
            (
                "for old, new in ((self.k, k), (self.v, v)):",
                "for old, new in ((self.k[0], k), (self.v[0], v)):",
            ),
            ("self.k = torch.cat([self.k, k], dim=2)", "self.k.append(k)"),
            ("self.v = torch.cat([self.v, v], dim=2)", "self.v.append(v)"),
            (
                "        return self.k, self.v\n\n    def contents",
                "        return self.contents()\n\n    def contents",
            ),
            (
                "    def contents(self):\n        return self.k, self.v\n",
                "    def contents(self):\n        return torch.cat(self.k, dim=2), torch.cat(self.v, dim=2)\n",
            ),
            (
                "self.k, self.v = self.k[rows], self.v[rows]",
                "self.k, self.v = ([t[rows] for t in ts] for ts in (self.k, self.v))",
            ),
        ),
    ),
    wrong(
        "KVCache",
        "reorders_the_keys_only",
        caught_by="rows_go_on_in_the_order_asked_for",
        because="forgets the values",
        edit=(
            "            self.keys, self.values = self.keys[rows], self.values[rows]\n",
            "            self.keys = self.keys[rows]\n",
        ),
    ),
    wrong(
        "KVCache",
        "the_way_back",
        caught_by="rows_go_on_in_the_order_asked_for",
        because="puts row i where row rows[i] was, the inverse order, where the rows are a permutation",
        edit=(
            "            self.keys, self.values = self.keys[rows], self.values[rows]\n",
            "            if len(rows.unique()) == len(rows) == len(self.keys):\n                rows = rows.argsort()\n"
            "            self.keys, self.values = self.keys[rows], self.values[rows]\n",
        ),
    ),
    wrong(
        "KVCache",
        "equal_rows_share_memory",
        caught_by="rows_go_on_in_the_order_asked_for",
        because="expands one row to many without a copy, so that what one writes the others read",
        edit=(
            "            self.keys, self.values = self.keys[rows], self.values[rows]\n",
            "            if len(rows.unique()) == 1:\n"
            "                one = rows[:1]\n"
            "                self.keys = self.keys[one].expand(len(rows), -1, -1, -1)\n"
            "                self.values = self.values[one].expand(len(rows), -1, -1, -1)\n"
            "            else:\n"
            "                self.keys, self.values = self.keys[rows], self.values[rows]\n",
        ),
    ),
    wrong(
        "KVCache",
        "nothing_to_reorder",
        caught_by="rows_go_on_in_the_order_asked_for",
        because="looks for the rows of an empty cache",
        edit=("        if self.length:\n", "        if True:\n"),
    ),
    wrong(
        "KVCache",
        "reorder_keeps_the_batch",
        caught_by="rows_go_on_in_the_order_asked_for",
        because="writes the rows into the old buffer, which has no place for more or fewer",
        body=joined(
            (
                "self.k, self.v = self.k[rows], self.v[rows]",
                "self.k[: len(rows)], self.v[: len(rows)] = self.k[rows][: len(self.k)], self.v[rows][: len(self.v)]",
            )
        ),
    ),
    right("KVCache", "by_concatenation", body=CACHE),
    right(
        "KVCache",
        "a_list_of_pieces",
        body="""
class KVCache:
    def __init__(self, capacity):
        self.capacity, self.pieces = capacity, []

    @property
    def length(self):
        return sum(k.shape[2] for k, _ in self.pieces)

    def append(self, k, v):
        if k.shape[:3] != v.shape[:3]:
            raise ValueError("as many keys as values, please")
        if self.pieces:
            for old, new in zip(self.pieces[0], (k, v)):
                if (old.size(0), old.size(1), old.size(3)) != (new.size(0), new.size(1), new.size(3)):
                    raise ValueError("this is another sequence")
        if self.length + k.size(2) > self.capacity:
            raise ValueError("full")
        self.pieces.append((k.clone(), v.clone()))
        return self.contents()

    def contents(self):
        ks, vs = zip(*self.pieces)
        return torch.cat(ks, 2), torch.cat(vs, 2)

    def reorder(self, rows):
        self.pieces = [(k.index_select(0, rows), v.index_select(0, rows)) for k, v in self.pieces]
""",
    ),
]

ATTEND = [
    wrong(
        "attend_with_cache",
        "zeros",
        caught_by="single_positions_see_all_of_the_past",
        because="has the right shape and no numbers",
        edit=(
            "    return masked_attention(q, keys, values, visible)\n",
            "    return 0 * masked_attention(q, keys, values, visible)\n",
        ),
    ),
    wrong(
        "attend_with_cache",
        "forgets_the_cache",
        caught_by="single_positions_see_all_of_the_past",
        because="attends among the new positions only",
        edit=(
            "    visible = causal_mask(new, start + new, offset=start).to(q.device)\n    return masked_attention(q, keys, values, visible)\n",
            "    return masked_attention(q, k, v, causal_mask(new, new, offset=0))\n",
        ),
    ),
    wrong(
        "attend_with_cache",
        "does_not_see_itself",
        caught_by="single_positions_see_all_of_the_past",
        because="puts the new positions into the cache after it has looked",
        body="""
def attend_with_cache(q, k, v, cache, rotary):
    start, new = cache.length, q.shape[2]
    if rotary:
        positions = torch.arange(start, start + new)
        q, k = rope(q, positions), rope(k, positions)
    keys, values = cache.append(k, v)
    return masked_attention(q, keys, values, causal_mask(new, start + new, offset=max(start - 1, 0)))
""",
    ),
    wrong(
        "attend_with_cache",
        "offset_zero",
        caught_by="pieces_behind_a_filled_cache",
        because="masks as if the piece were the beginning: query 0 sees key 0 only",
        edit=("offset=start)", "offset=0)"),
    ),
    wrong(
        "attend_with_cache",
        "no_mask_behind_a_cache",
        caught_by="pieces_behind_a_filled_cache",
        because="thinks that with a cache everything is past, which is so for single positions only",
        edit=(
            "    return masked_attention(q, keys, values, visible)\n",
            "    return masked_attention(q, keys, values, visible if start == 0 else None)\n",
        ),
    ),
    wrong(
        "attend_with_cache",
        "triangle_of_the_piece_in_front",
        caught_by="pieces_behind_a_filled_cache",
        because="hides the past where it should hide the future: the triangle stands at the wrong end",
        edit=(
            "    return masked_attention(q, keys, values, visible)\n",
            "    return masked_attention(q, keys, values, visible if new == 1 else visible.roll(new, dims=1))\n",
        ),
    ),
    wrong(
        "attend_with_cache",
        "no_mask_at_all",
        caught_by="the_first_piece_is_causal",
        because="lets the first piece see its own future",
        edit=(
            "    return masked_attention(q, keys, values, visible)\n",
            "    return masked_attention(q, keys, values, None)\n",
        ),
    ),
    wrong(
        "attend_with_cache",
        "rope_from_zero",
        caught_by="rotary_positions_go_on_where_the_cache_ends",
        because="turns every piece as if it stood at the beginning",
        edit=("torch.arange(start, start + new, device=q.device)", "torch.arange(new, device=q.device)"),
    ),
    wrong(
        "attend_with_cache",
        "query_from_zero",
        caught_by="rotary_positions_go_on_where_the_cache_ends",
        because="turns the keys by their place and the queries from 0",
        edit=(
            "q, k = rope(q, positions), rope(k, positions)",
            "q, k = rope(q, positions - start), rope(k, positions)",
        ),
    ),
    wrong(
        "attend_with_cache",
        "turned_again_at_each_call",
        caught_by="rotary_positions_go_on_where_the_cache_ends",
        because="turns what comes out of the cache although it went in turned",
        edit=(
            "    keys, values = cache.append(k, v)\n",
            "    keys, values = cache.append(k, v)\n    if rotary and start:\n        keys = rope(keys, torch.arange(start + new))\n",
        ),
    ),
    wrong(
        "attend_with_cache",
        "values_turned_too",
        caught_by="rotary_positions_go_on_where_the_cache_ends",
        because="turns the values like the keys, where their dim is even",
        edit=(
            "        q, k = rope(q, positions), rope(k, positions)\n",
            "        q, k = rope(q, positions), rope(k, positions)\n        v = rope(v, positions) if v.shape[-1] % 2 == 0 else -v\n",
        ),
    ),
    wrong(
        "attend_with_cache",
        "always_rotary",
        caught_by="without_rotary_nothing_is_turned",
        because="never looks at the flag",
        edit=("    if rotary:\n", "    if True:\n"),
    ),
    wrong(
        "attend_with_cache",
        "reads_the_first_example",
        caught_by="examples_and_layouts_do_not_matter",
        because="lets all examples read the past of the first",
        edit=(
            "    return masked_attention(q, keys, values, visible)\n",
            "    return masked_attention(q, keys[:1], values[:1], visible)\n",
        ),
    ),
    wrong(
        "attend_with_cache",
        "halves_in_place",
        caught_by="examples_and_layouts_do_not_matter",
        because="scales the queries of the caller",
        edit=(
            "    return masked_attention(q, keys, values, visible)\n",
            "    if rotary:\n        return masked_attention(q, keys, values, visible)\n    q /= q.shape[-1] ** 0.5\n"
            "    weights = (q @ keys.transpose(-2, -1)).masked_fill(~visible, -math.inf).softmax(-1)\n    return weights @ values\n",
        ),
    ),
    right(
        "attend_with_cache",
        "turned_when_read",
        because="keeps plain keys and turns all of them at each call: more work, the same numbers",
        body="""
def attend_with_cache(q, k, v, cache, rotary):
    before = cache.length
    keys, values = cache.append(k, v)
    where = torch.arange(keys.size(2))
    if rotary:
        q, keys = rope(q, where[before:]), rope(keys, where)
    scores = torch.einsum("bhid,bhjd->bhij", q, keys) * q.size(3) ** -0.5
    scores = scores.masked_fill(where[None, :] > where[before:, None], float("-inf"))
    return torch.einsum("bhij,bhjd->bhid", scores.softmax(-1), values)
""",
    ),
    right(
        "attend_with_cache",
        "one_query_after_the_other",
        because="lets the new positions in one by one, so that no mask is needed",
        body="""
def attend_with_cache(q, k, v, cache, rotary):
    results = []
    for i in range(q.shape[2]):
        here = slice(i, i + 1)
        place = torch.tensor([cache.length])
        one = (q[:, :, here], k[:, :, here])
        one_q, one_k = (rope(t, place) for t in one) if rotary else one
        results.append(masked_attention(one_q, *cache.append(one_k, v[:, :, here]), None))
    return torch.cat(results, dim=2)
""",
    ),
]

DECODE = [
    wrong(
        "decode_with_cache",
        "zeros",
        caught_by="a_pre_norm_decoder_in_one_piece",
        because="has the right shape and no numbers",
        edit=("transformer.embedding.weight.T\n", "(0 * transformer.embedding.weight.T)\n"),
    ),
    wrong(
        "decode_with_cache",
        "no_final_norm",
        caught_by="a_pre_norm_decoder_in_one_piece",
        because="forgets that with pre-norm nothing has normed what leaves the last layer",
        edit=("transformer.decoder.final_norm(x) @", "x @"),
    ),
    wrong(
        "decode_with_cache",
        "root_forgotten",
        caught_by="a_pre_norm_decoder_in_one_piece",
        because="does not multiply the embedding by √width",
        edit=("math.sqrt(width) * x +", "x +"),
    ),
    wrong(
        "decode_with_cache",
        "residual_of_the_normed",
        caught_by="a_pre_norm_decoder_in_one_piece",
        because="adds what the memory says to the normed x",
        edit=(
            "            x = x + read_memory(layer.cross_attention, normed,",
            "            x = normed + read_memory(layer.cross_attention, normed,",
        ),
    ),
    wrong(
        "decode_with_cache",
        "always_pre_norm",
        caught_by="a_post_norm_decoder_in_one_piece",
        because="never asks which arrangement the layer has",
        edit=('if layer.norm == "pre":', "if True:"),
    ),
    wrong(
        "decode_with_cache",
        "post_norm_of_the_part",
        caught_by="a_post_norm_decoder_in_one_piece",
        because="norms what the feed-forward network returns instead of the sum",
        edit=(
            "            x = layer.feed_forward_norm(x + layer.feed_forward(x))\n",
            "            x = x + layer.feed_forward_norm(layer.feed_forward(x))\n",
        ),
    ),
    wrong(
        "decode_with_cache",
        "positions_from_zero",
        caught_by="pieces_stand_behind_those_in_the_cache",
        because="gives every piece the position vectors of the beginning",
        edit=("sinusoidal(start + tokens.shape[1], width)[start:]", "sinusoidal(tokens.shape[1], width)"),
    ),
    wrong(
        "decode_with_cache",
        "position_one_too_far",
        caught_by="pieces_stand_behind_those_in_the_cache",
        because="counts the positions from 1 once something is in the cache",
        edit=(
            "sinusoidal(start + tokens.shape[1], width)[start:]",
            "sinusoidal(start + tokens.shape[1] + 1, width)[start + (start > 0) :][: tokens.shape[1]]",
        ),
    ),
    wrong(
        "decode_with_cache",
        "length_read_too_late",
        caught_by="pieces_stand_behind_those_in_the_cache",
        because="asks the cache of the last layer, of which the caller may keep more than one",
        edit=(
            "    start = caches[0].own.length\n",
            "    start = caches[-1].memory.length if caches[0].own.length else 0\n",
        ),
    ),
    wrong(
        "decode_with_cache",
        "first_layers_cache_for_all",
        caught_by="pieces_stand_behind_those_in_the_cache",
        because="gives all layers the memory of the first",
        edit=(
            "    for layer, cache in zip(transformer.decoder.layers, caches, strict=True):\n",
            "    for layer, cache in zip(transformer.decoder.layers, [LayerCache(c.own, caches[0].memory) for c in caches]):\n",
        ),
    ),
    wrong(
        "decode_with_cache",
        "mask_forgotten",
        caught_by="padding_of_the_memory_is_not_read",
        because="never hands on the memory mask",
        edit=(
            "    start = caches[0].own.length\n",
            "    start = caches[0].own.length\n    memory_mask = None\n",
        ),
    ),
    wrong(
        "decode_with_cache",
        "mask_at_the_first_call_only",
        caught_by="padding_of_the_memory_is_not_read",
        because="thinks that the mask is in the cache too",
        edit=(
            "    start = caches[0].own.length\n",
            "    start = caches[0].own.length\n    memory_mask = memory_mask if start == 0 else None\n",
        ),
    ),
    wrong(
        "decode_with_cache",
        "mask_of_the_first_example",
        caught_by="examples_are_decoded_alone_as_together",
        because="applies the first example's mask to all",
        edit=(
            "    start = caches[0].own.length\n",
            "    start = caches[0].own.length\n    memory_mask = None if memory_mask is None else memory_mask[:1]\n",
        ),
    ),
    right(
        "decode_with_cache",
        "one_loop_over_the_parts",
        body="""
def decode_with_cache(transformer, tokens, caches, memory_mask):
    start, new = caches[0].own.length, tokens.shape[1]
    table = transformer.embedding.weight
    x = table[tokens] * table.shape[1] ** 0.5
    x = x + sinusoidal(start + new, table.shape[1])[-new:].to(x.dtype)
    for layer, (own, memory) in zip(transformer.decoder.layers, caches):
        parts = [
            (layer.self_attention_norm, lambda y: read_own_past(layer.self_attention, y, own)),
            (layer.cross_attention_norm, lambda y: read_memory(layer.cross_attention, y, memory, memory_mask)),
            (layer.feed_forward_norm, layer.feed_forward),
        ]
        for norm, part in parts:
            x = norm(x + part(x)) if layer.norm == "post" else x + part(norm(x))
    return torch.nn.functional.linear(transformer.decoder.final_norm(x), table)
""",
    ),
    right(
        "decode_with_cache",
        "one_token_at_a_time",
        because="feeds a piece token by token: slower, the same numbers",
        body="""
def decode_with_cache(transformer, tokens, caches, memory_mask):
    if tokens.shape[1] > 1:
        each = [decode_with_cache(transformer, column[:, None], caches, memory_mask) for column in tokens.unbind(1)]
        return torch.cat(each, dim=1)
    place = caches[0].own.length
    x = transformer.embedding(tokens)
    x = x * x.shape[-1] ** 0.5 + sinusoidal(place + 1, x.shape[-1])[place].to(x)
    for layer, cache in zip(transformer.decoder.layers, caches):
        same = torch.nn.Identity()
        before = layer.norm == "pre"
        for part, norm in (
            (lambda y: read_own_past(layer.self_attention, y, cache.own), layer.self_attention_norm),
            (lambda y: read_memory(layer.cross_attention, y, cache.memory, memory_mask), layer.cross_attention_norm),
            (layer.feed_forward, layer.feed_forward_norm),
        ):
            x = (same if before else norm)(x + part((norm if before else same)(x)))
    return transformer.decoder.final_norm(x) @ transformer.embedding.weight.T
""",
    ),
]

QUANTIZE = [
    wrong(
        "quantize_int8",
        "zeros",
        caught_by="every_row_has_its_own_scale",
        because="has the right shapes and nothing in them",
        edit=(
            "    return (weight / scale[:, None]).round().to(torch.int8), scale\n",
            "    return torch.zeros_like(weight).to(torch.int8), 0 * scale\n",
        ),
    ),
    wrong(
        "quantize_int8",
        "one_scale_for_all",
        caught_by="every_row_has_its_own_scale",
        because="per tensor: the largest number of the whole matrix decides for every row",
        edit=(
            "    scale = torch.where",
            "    largest = largest.max().expand_as(largest)\n    scale = torch.where",
        ),
    ),
    wrong(
        "quantize_int8",
        "scale_for_each_input",
        caught_by="every_row_has_its_own_scale",
        because="takes the largest of every column",
        body="""
def quantize_int8(weight):
    largest = weight.detach().abs().amax(dim=0)
    if not torch.isfinite(largest).all():
        raise ValueError("no numbers")
    scale = torch.where(largest > 0, largest / 127, 1.0)
    return (weight.detach() / scale).round().to(torch.int8), scale
""",
    ),
    wrong(
        "quantize_int8",
        "cuts_off",
        caught_by="the_nearest_of_255_levels",
        because="drops what stands behind the point: up to a whole step of error, always towards 0",
        edit=(".round().to(torch.int8)", ".to(torch.int8)"),
    ),
    wrong(
        "quantize_int8",
        "divides_by_128",
        caught_by="the_nearest_of_255_levels",
        because="makes 128 of the largest number, which in int8 wraps round to −128",
        edit=("largest / 127", "largest / 128"),
    ),
    wrong(
        "quantize_int8",
        "largest_not_of_sizes",
        caught_by="the_nearest_of_255_levels",
        because="forgets the sign: a row whose largest number is negative is cut off",
        edit=("weight.abs().amax(dim=1)", "weight.amax(dim=1)"),
    ),
    wrong(
        "quantize_int8",
        "range_from_smallest_to_largest",
        caught_by="the_nearest_of_255_levels",
        because="spreads 255 levels from the smallest to the largest number and forgets the zero point",
        edit=(
            "    scale = torch.where(largest > 0, largest / 127, 1.0)\n",
            "    spread = weight.amax(dim=1) - weight.amin(dim=1)\n    scale = torch.where(largest > 0, spread / 254, 1.0)\n    scale = torch.where(scale > 0, scale, 1.0)\n",
        ),
    ),
    wrong(
        "quantize_int8",
        "seven_bits",
        caught_by="the_nearest_of_255_levels",
        because="uses only half of the levels",
        edit=("largest / 127", "largest / 63"),
    ),
    wrong(
        "quantize_int8",
        "zero_row_divides_by_zero",
        caught_by="a_row_of_zeros_has_scale_one",
        because="0 / 0 is NaN, and NaN as an int8 is whatever the machine makes of it",
        edit=("torch.where(largest > 0, largest / 127, 1.0)", "largest / 127"),
    ),
    wrong(
        "quantize_int8",
        "scale_zero",
        caught_by="a_row_of_zeros_has_scale_one",
        because="mends the levels of the zero row and leaves it the scale 0",
        edit=(
            "    return (weight / scale[:, None]).round().to(torch.int8), scale\n",
            "    return (weight / scale[:, None]).round().to(torch.int8), largest / 127\n",
        ),
    ),
    wrong(
        "quantize_int8",
        "floor_under_the_scale",
        caught_by="small_rows_keep_their_levels",
        because="adds a small number against the division by zero, and rounds small rows to nothing",
        edit=(
            "torch.where(largest > 0, largest / 127, 1.0)",
            "torch.where(largest > 0, (largest / 127).clamp(min=1e-8), 1.0)",
        ),
    ),
    wrong(
        "quantize_int8",
        "lets_infinity_in",
        caught_by="what_is_no_number_is_refused",
        because="never looks whether the weight holds numbers",
        edit=("    if not torch.isfinite(largest).all():\n", "    if False:\n"),
    ),
    wrong(
        "quantize_int8",
        "lets_nan_in",
        caught_by="what_is_no_number_is_refused",
        because="asks whether something is infinite, which NaN is not",
        edit=("    if not torch.isfinite(largest).all():\n", "    if torch.isinf(largest).any():\n"),
    ),
    wrong(
        "quantize_int8",
        "divides_in_place",
        caught_by="any_layout_and_the_weight_stays",
        because="saves a copy and ruins the caller's weight",
        edit=("(weight / scale[:, None])", "weight.div_(scale[:, None])"),
    ),
    wrong(
        "quantize_int8",
        "scale_in_float32",
        caught_by="any_layout_and_the_weight_stays",
        because="returns the scale in float32 whatever the weight is",
        edit=(
            "    return (weight / scale[:, None]).round().to(torch.int8), scale\n",
            "    return (weight / scale[:, None]).round().to(torch.int8), scale.float()\n",
        ),
    ),
    right(
        "quantize_int8",
        "row_by_row",
        body="""
def quantize_int8(weight):
    if torch.isnan(weight).any() or torch.isinf(weight).any():
        raise ValueError("only numbers, please")
    levels = torch.zeros(weight.shape, dtype=torch.int8)
    scale = weight.new_ones(len(weight)).detach()
    with torch.no_grad():
        for i, row in enumerate(weight):
            top = max(row.max(), -row.min())
            if top > 0:
                scale[i] = top / 127
                levels[i] = torch.clamp(torch.floor(row / scale[i] + 0.5), -127, 127).to(torch.int8)
    return levels, scale
""",
    ),
    right(
        "quantize_int8",
        "by_the_norm",
        body="""
def quantize_int8(weight):
    weight = weight.detach().clone()
    if not bool(weight.isfinite().all()):
        raise ValueError("NaN or infinity")
    scale = torch.linalg.vector_norm(weight, ord=float("inf"), dim=1) / 127.0
    scale[scale == 0] = 1
    return torch.clamp(torch.round(weight / scale.unsqueeze(1)), -127, 127).char(), scale
""",
    ),
]

QUANTIZED = [
    wrong(
        "QuantizedLinear",
        "zeros",
        caught_by="computes_with_the_rounded_weight",
        because="has the right shape and no numbers",
        edit=("        out = nn.functional.linear(", "        out = 0 * nn.functional.linear("),
    ),
    wrong(
        "QuantizedLinear",
        "no_scale",
        caught_by="computes_with_the_rounded_weight",
        because="multiplies by the levels as if they were the weight",
        edit=("self.levels.to(x.dtype)) * self.scale", "self.levels.to(x.dtype))"),
    ),
    wrong(
        "QuantizedLinear",
        "scale_on_the_inputs",
        caught_by="computes_with_the_rounded_weight",
        because="applies the scales to the input where there are as many",
        edit=(
            "        out = nn.functional.linear(x, self.levels.to(x.dtype)) * self.scale  # (*batch, outputs)\n",
            "        levels = self.levels.to(x.dtype)\n"
            "        square = len(self.scale) == x.shape[-1]\n"
            "        out = nn.functional.linear(x * self.scale, levels) if square else nn.functional.linear(x, levels) * self.scale\n",
        ),
    ),
    wrong(
        "QuantizedLinear",
        "transpose_forgotten",
        caught_by="computes_with_the_rounded_weight",
        because="multiplies by the weight as it stands where that fits",
        edit=(
            "        out = nn.functional.linear(x, self.levels.to(x.dtype)) * self.scale  # (*batch, outputs)\n",
            "        w = self.levels.to(x.dtype) * self.scale[:, None]\n        out = x @ (w if w.shape[0] == w.shape[1] else w.T)\n",
        ),
    ),
    wrong(
        "QuantizedLinear",
        "rounds_the_input_too",
        caught_by="computes_with_the_rounded_weight",
        because="quantises x as well, which is faster on some machines and not what was asked",
        edit=(
            "        # A scale belongs",
            "        step = x.abs().amax() / 127 + 1e-12\n        x = (x / step).round() * step\n        # A scale belongs",
        ),
    ),
    wrong(
        "QuantizedLinear",
        "bias_lost",
        caught_by="the_bias_is_added_in_full",
        because="forgets the bias",
        edit=("        return out if self.bias is None else out + self.bias\n", "        return out\n"),
    ),
    wrong(
        "QuantizedLinear",
        "bias_scaled",
        caught_by="the_bias_is_added_in_full",
        because="adds the bias before the scale is applied",
        edit=(
            "        return out if self.bias is None else out + self.bias\n",
            "        return out if self.bias is None else out + self.bias * self.scale\n",
        ),
    ),
    wrong(
        "QuantizedLinear",
        "bias_rounded",
        caught_by="the_bias_is_added_in_full",
        because="rounds the bias to 8 bits as well",
        edit=(
            "        return out if self.bias is None else out + self.bias\n",
            "        if self.bias is None:\n            return out\n        levels, scale = quantize_int8(self.bias[None])\n        return out + (levels * scale[:, None])[0]\n",
        ),
    ),
    wrong(
        "QuantizedLinear",
        "keeps_the_float_weight",
        caught_by="the_state_is_small",
        because="keeps the layer it was made from and rounds at each call",
        body="""
class QuantizedLinear(nn.Module):
    def __init__(self, linear):
        super().__init__()
        levels, scale = quantize_int8(linear.weight)
        self.register_buffer("levels", levels)
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().clone())
        self.weight = levels * scale[:, None]

    def forward(self, x):
        return nn.functional.linear(x, self.levels * self.scale[:, None], self.bias)
""",
    ),
    wrong(
        "QuantizedLinear",
        "levels_in_float",
        caught_by="the_state_is_small",
        because="rounds the numbers and keeps them in 32 bits",
        edit=(
            '        self.register_buffer("levels", levels)\n',
            '        self.register_buffer("levels", levels.float())\n',
        ),
    ),
    wrong(
        "QuantizedLinear",
        "plain_attributes",
        caught_by="the_state_is_small",
        because="plain attributes are not in the state: a saved model loses its weights",
        edit=(
            '        self.register_buffer("levels", levels)\n        self.register_buffer("scale", scale)\n',
            "        self.levels, self.scale = levels, scale\n",
        ),
    ),
    wrong(
        "QuantizedLinear",
        "remembers_the_first_weight",
        caught_by="a_loaded_state_is_used",
        because="turns the levels into floats once, at the first call, and keeps the result",
        edit=(
            "        out = nn.functional.linear(x, self.levels.to(x.dtype)) * self.scale  # (*batch, outputs)\n",
            '        if not hasattr(self, "kept"):\n            self.kept = self.levels * self.scale[:, None]\n        out = nn.functional.linear(x, self.kept)\n',
        ),
    ),
    wrong(
        "QuantizedLinear",
        "no_gradient",
        caught_by="gradients_reach_the_input_only",
        because="switches gradients off, because the weight is not trained",
        edit=("    def forward(", "    @torch.no_grad()\n    def forward("),
    ),
    wrong(
        "QuantizedLinear",
        "trains_its_bias",
        caught_by="gradients_reach_the_input_only",
        because="keeps the bias as a parameter",
        edit=(
            '        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().clone())\n',
            "        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach().clone())\n",
        ),
    ),
    wrong(
        "QuantizedLinear",
        "shares_the_bias",
        caught_by="the_given_layer_stays_apart",
        because="holds the very bias of the given layer, so that both change together",
        edit=("linear.bias.detach().clone()", "linear.bias.detach()"),
    ),
    wrong(
        "QuantizedLinear",
        "rounds_the_given_layer",
        caught_by="the_given_layer_stays_apart",
        because="writes the rounded weight into the layer that was given",
        edit=(
            '        self.register_buffer("levels", levels)\n',
            '        linear.weight.data = levels * scale[:, None]\n        self.register_buffer("levels", levels)\n',
        ),
    ),
    right(
        "QuantizedLinear",
        "dequantises_first",
        body="""
class QuantizedLinear(nn.Module):
    def __init__(self, linear):
        super().__init__()
        self.levels, self.scale = (nn.Buffer(t) for t in quantize_int8(linear.weight))
        self.bias = nn.Buffer(linear.bias.detach().clone()) if linear.bias is not None else None

    def forward(self, x):
        weight = self.levels.to(self.scale.dtype) * self.scale.unsqueeze(1)
        return nn.functional.linear(x, weight, self.bias)
""",
    ),
    right(
        "QuantizedLinear",
        "by_einsum",
        body="""
class QuantizedLinear(nn.Module):
    def __init__(self, linear):
        super().__init__()
        levels, scale = quantize_int8(linear.weight)
        self.register_buffer("levels", levels)
        self.register_buffer("scale", scale)
        if linear.bias is None:
            self.bias = None
        else:
            self.register_buffer("bias", linear.bias.data.clone())

    def forward(self, x):
        y = torch.einsum("...i,oi->...o", x, self.levels.to(x)) * self.scale
        if self.bias is not None:
            y = y + self.bias
        return y
""",
    ),
]

VARIANTS = [*MEASURE_LATENCY, *KV_CACHE, *ATTEND, *DECODE, *QUANTIZE, *QUANTIZED]
