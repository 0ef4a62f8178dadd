"""Wrong and right solutions of chapter 05, `positions`."""

from autograder.variants.base import right, wrong

GAP_BODY = """
def permutation_gap(model, x):
    length = x.shape[1]
    exchanged = list(range(length))
    exchanged[:2] = exchanged[:2][::-1]
    moved_on = [length - 1, *range(length - 1)]
    with torch.no_grad():
        out = model(x)
        gaps = []
        for order in (exchanged, moved_on):
            %s
    return max(gaps)
"""


def gap(*steps: str) -> str:
    """A meter whose comparison is written out in `steps`."""
    return GAP_BODY.replace("%s", "\n            ".join(steps))


GAPS = [
    wrong(
        "permutation_gap",
        "asks_for_invariance",
        caught_by="output_is_shuffled_like_the_input",
        because="compares with the output as it was, not shuffled",
        edit=("out[:, order]", "out"),
    ),
    wrong(
        "permutation_gap",
        "shuffles_the_output_back",
        caught_by="output_is_shuffled_like_the_input",
        because="shuffles the output by the inverse order, which shows only when an order is not its own inverse",
        edit=("out[:, order]", "out[:, order.argsort()]"),
    ),
    wrong(
        "permutation_gap",
        "shuffles_the_output_only",
        caught_by="output_is_shuffled_like_the_input",
        because="does not shuffle the input",
        edit=("model(x[:, order])", "model(x)"),
    ),
    wrong(
        "permutation_gap",
        "shuffles_the_examples",
        caught_by="positions_are_what_is_shuffled",
        because="shuffles axis 0",
        body="""
def permutation_gap(model, x):
    order = torch.arange(len(x)).roll(1)
    with torch.no_grad():
        return (model(x[order]) - model(x)[order]).abs().max().item()
""",
    ),
    wrong(
        "permutation_gap",
        "shuffles_the_numbers_of_a_vector",
        caught_by="positions_are_what_is_shuffled",
        because="shuffles the last axis",
        body="""
def permutation_gap(model, x):
    order = torch.arange(x.shape[-1]).roll(1)
    with torch.no_grad():
        return (model(x[..., order]) - model(x)[..., order]).abs().max().item()
""",
    ),
    wrong(
        "permutation_gap",
        "exchanges_only",
        caught_by="both_shuffles_are_tried",
        because="exchanges the first two positions and moves nobody on",
        edit=("for order in (exchanged, moved_on)", "for order in (exchanged,)"),
    ),
    wrong(
        "permutation_gap",
        "moves_on_only",
        caught_by="both_shuffles_are_tried",
        because="leaves all neighbours on the ring together",
        edit=("for order in (exchanged, moved_on)", "for order in (moved_on,)"),
    ),
    wrong(
        "permutation_gap",
        "reverses",
        caught_by="both_shuffles_are_tried",
        because="reverses the order, which a model of symmetric neighbourhoods does not notice",
        edit=(
            "moved_on = torch.arange(length).roll(1)",
            "moved_on = exchanged = torch.arange(length).flip(0)",
        ),
    ),
    wrong(
        "permutation_gap",
        "smaller_of_the_two",
        caught_by="both_shuffles_are_tried",
        because="takes the smaller gap",
        edit=("torch.stack(gaps).max()", "torch.stack(gaps).min()"),
    ),
    wrong(
        "permutation_gap",
        "mean_difference",
        caught_by="largest_absolute_difference_counts",
        because="averages, so that one wrong position hides among many right ones",
        edit=(".abs().max() for", ".abs().mean() for"),
    ),
    wrong(
        "permutation_gap",
        "without_absolute_value",
        caught_by="largest_absolute_difference_counts",
        because="sees only what became larger",
        edit=(".abs().max() for", ".max() for"),
    ),
    wrong(
        "permutation_gap",
        "first_example_only",
        caught_by="largest_absolute_difference_counts",
        because="looks at example 0",
        edit=(".abs().max() for", "[0].abs().max() for"),
    ),
    wrong(
        "permutation_gap",
        "vectors_only",
        caught_by="any_input_and_left_as_it_was",
        because="indexes a third axis, which token ids do not have",
        edit=("model(x[:, order])", "model(x[:, order, :])"),
    ),
    wrong(
        "permutation_gap",
        "needs_two_positions",
        caught_by="any_input_and_left_as_it_was",
        because="exchanges positions 0 and 1 by name",
        edit=("    exchanged[:2] = exchanged[:2].flip(0)\n", "    exchanged[0], exchanged[1] = 1, 0\n"),
    ),
    wrong(
        "permutation_gap",
        "shuffles_in_place",
        caught_by="any_input_and_left_as_it_was",
        because="moves the positions of the caller's tensor",
        body=gap(
            "old = x.clone()",
            "x.copy_(x[:, order])",
            "gaps.append((model(x) - out[:, order]).abs().max().item())",
            "if order is exchanged: x.copy_(old)",
        ),
    ),
    wrong(
        "permutation_gap",
        "zeros",
        caught_by="positions_are_what_is_shuffled",
        because="finds every model equivariant",
        body="""
def permutation_gap(model, x):
    return 0.0
""",
    ),
    right(
        "permutation_gap",
        "with_lists",
        body=gap("gaps.append(float((model(x[:, order]) - out[:, order]).abs().max()))"),
    ),
    right(
        "permutation_gap",
        "with_matrices",
        because="shuffles by cutting and joining, and takes the norm for the largest difference",
        body="""
def permutation_gap(model, x):
    def exchange(t):
        return torch.cat([t[:, 1:2], t[:, :1], t[:, 2:]], dim=1)

    def move_on(t):
        return t.roll(1, dims=1)

    out = model(x)
    largest = 0.0
    for shuffle in (exchange, move_on):
        difference = (model(shuffle(x)) - shuffle(out)).detach().double()
        largest = max(largest, difference.flatten().norm(float("inf")).item())
    return largest
""",
    ),
]

SINES = [
    wrong(
        "sinusoidal",
        "stays_in_float64",
        caught_by="far_positions_stay_apart",
        because="returns the table in the format of the angles, and every sum with it becomes float64",
        body="""
def sinusoidal(length, width):
    angle = torch.arange(length)[:, None] * frequencies(width)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :width]
""",
    ),
    wrong(
        "sinusoidal",
        "sines_then_cosines",
        caught_by="sines_and_cosines_are_neighbours",
        because="puts all sines in front of all cosines",
        body="""
def sinusoidal(length, width):
    angle = torch.arange(length)[:, None] * frequencies(width)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)[:, :width].float()
""",
    ),
    wrong(
        "sinusoidal",
        "cosine_first",
        caught_by="sines_and_cosines_are_neighbours",
        because="exchanges sine and cosine",
        edit=("[angle.sin(), angle.cos()]", "[angle.cos(), angle.sin()]"),
    ),
    wrong(
        "sinusoidal",
        "a_frequency_for_each_column",
        caught_by="sines_and_cosines_are_neighbours",
        because="counts columns in the exponent, so that the cosine of a pair turns at another speed than its sine",
        body="""
def sinusoidal(length, width):
    column = torch.arange(width, dtype=torch.float64)
    angle = torch.arange(length)[:, None] * 10000.0 ** (-column / width)
    return torch.where(column % 2 == 0, angle.sin(), angle.cos()).float()
""",
    ),
    wrong(
        "sinusoidal",
        "sines_only",
        caught_by="sines_and_cosines_are_neighbours",
        because="writes the sine into both places",
        edit=("[angle.sin(), angle.cos()]", "[angle.sin(), angle.sin()]"),
    ),
    wrong(
        "sinusoidal",
        "base_1000",
        caught_by="frequencies_are_those_of_the_formula",
        because="misses a zero of the base",
        edit=("frequencies(width)", "frequencies(width) ** 0.75"),
    ),
    wrong(
        "sinusoidal",
        "no_factor_two",
        caught_by="frequencies_are_those_of_the_formula",
        because="has i and not 2i in the exponent, as if the pairs were columns",
        edit=("frequencies(width)", "frequencies(width).sqrt()"),
    ),
    wrong(
        "sinusoidal",
        "divides_by_the_last_pair",
        caught_by="frequencies_are_those_of_the_formula",
        because="spreads the exponents up to a whole −1, as other libraries do",
        body="""
def sinusoidal(length, width):
    pairs = (width + 1) // 2
    exponent = -torch.arange(pairs, dtype=torch.float64) / max(pairs - 1, 1)
    angle = torch.arange(length)[:, None] * 10000.0**exponent
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :width].float()
""",
    ),
    wrong(
        "sinusoidal",
        "multiplies_by_the_frequency_upside_down",
        caught_by="frequencies_are_those_of_the_formula",
        because="divides by the frequency, so that the hands get faster and faster",
        edit=("[:, None] * frequencies", "[:, None] / frequencies"),
    ),
    wrong(
        "sinusoidal",
        "counts_from_one",
        caught_by="positions_count_from_zero",
        because="gives the first token position 1",
        edit=("torch.arange(length)", "torch.arange(1, length + 1)"),
    ),
    wrong(
        "sinusoidal",
        "share_of_the_length",
        caught_by="positions_count_from_zero",
        because="divides positions by the length, so that one step means something else in every text",
        edit=("torch.arange(length)", "(torch.arange(length) / length)"),
    ),
    wrong(
        "sinusoidal",
        "one_wider_then_cut",
        caught_by="odd_widths_end_with_a_sine",
        because="computes an even table for width + 1 and cuts it, which changes all frequencies",
        edit=("frequencies(width)", "frequencies(width + width % 2)"),
    ),
    wrong(
        "sinusoidal",
        "last_column_left_empty",
        caught_by="odd_widths_end_with_a_sine",
        because="fills whole pairs only",
        body="""
def sinusoidal(length, width):
    whole = width // 2
    angle = torch.arange(length)[:, None] * frequencies(width)[:whole]
    table = torch.zeros(length, width)
    table[:, 0 : 2 * whole : 2] = angle.sin().float()
    table[:, 1 : 2 * whole : 2] = angle.cos().float()
    return table
""",
    ),
    wrong(
        "sinusoidal",
        "even_widths_only",
        caught_by="odd_widths_end_with_a_sine",
        because="has as many cosines as sines, which does not fit an odd width",
        body="""
def sinusoidal(length, width):
    angle = torch.arange(length)[:, None] * frequencies(width)
    table = torch.empty(length, width)
    table[:, 0::2] = angle.sin().float()
    table[:, 1::2] = angle.cos().float()
    return table
""",
    ),
    wrong(
        "sinusoidal",
        "ends_with_a_cosine",
        caught_by="odd_widths_end_with_a_sine",
        because="cuts the sine of the last pair and keeps its cosine",
        body="""
def sinusoidal(length, width):
    angle = torch.arange(length)[:, None] * frequencies(width)
    table = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1).float()
    return torch.cat([table[:, : width - 1], table[:, -1:]], dim=1) if width % 2 else table
""",
    ),
    wrong(
        "sinusoidal",
        "half_precision_positions",
        caught_by="far_positions_stay_apart",
        because="counts positions in float16, which holds no odd number above 2048",
        edit=("torch.arange(length)[:, None]", "torch.arange(length).half()[:, None].double()"),
    ),
    wrong(
        "sinusoidal",
        "bfloat16_angles",
        caught_by="far_positions_stay_apart",
        because="rounds the angles to bfloat16, three digits",
        edit=("frequencies(width)  #", "frequencies(width).float().bfloat16()  #"),
    ),
    wrong(
        "sinusoidal",
        "zeros",
        caught_by="positions_count_from_zero",
        because="a table of zeros",
        body="""
def sinusoidal(length, width):
    return torch.zeros(length, width)
""",
    ),
    right(
        "sinusoidal",
        "filled_columns",
        because="float32 throughout, exp and log as in many models' code",
        body="""
def sinusoidal(length, width):
    place = torch.arange(length, dtype=torch.float32).unsqueeze(1)
    rate = torch.exp(torch.arange(0, width, 2).float() * (-math.log(10000.0) / width))
    table = torch.zeros(length, width)
    table[:, 0::2] = torch.sin(place * rate)
    table[:, 1::2] = torch.cos(place * rate[: width // 2])
    return table
""",
    ),
    right(
        "sinusoidal",
        "shifted_sines",
        because="a cosine is a sine a quarter turn ahead",
        body="""
def sinusoidal(length, width):
    rate = frequencies(width).repeat_interleave(2)[:width]
    ahead = (torch.arange(width) % 2) * (math.pi / 2)
    return (torch.arange(length).double().outer(rate) + ahead).sin().float()
""",
    ),
]

LEARNED_BODY = """
class LearnedPositions(nn.Module):
    def __init__(self, max_length, width):
        super().__init__()
        self.table = nn.Parameter(torch.randn(max_length, width) * 0.02)

    def forward(self, x, offset):
        if offset < 0 or offset + x.shape[1] > self.table.shape[0]:
            raise ValueError("outside the table")
        %s
"""


def learned(*steps: str) -> str:
    """A module whose addition is written out in `steps`."""
    return LEARNED_BODY.replace("%s", "\n        ".join(steps))


LEARNED = [
    wrong(
        "LearnedPositions",
        "no_parameter",
        caught_by="one_table_is_the_parameter",
        because="keeps the table as a plain tensor, which is neither trained nor saved",
        edit=("nn.Parameter(0.02 * torch.randn(max_length, width))", "0.02 * torch.randn(max_length, width)"),
    ),
    wrong(
        "LearnedPositions",
        "starts_at_zero",
        caught_by="one_table_is_the_parameter",
        because="starts with a table of zeros",
        edit=("0.02 * torch.randn(max_length, width)", "torch.zeros(max_length, width)"),
    ),
    wrong(
        "LearnedPositions",
        "starts_large",
        caught_by="one_table_is_the_parameter",
        because="starts with numbers as large as those of an embedding, which drown the words",
        edit=("0.02 * torch.randn(max_length, width)", "torch.randn(max_length, width)"),
    ),
    wrong(
        "LearnedPositions",
        "table_lying_down",
        caught_by="one_table_is_the_parameter",
        because="makes a table of shape (width, max_length)",
        body=learned("return x + self.table.t()[offset : offset + x.shape[1]]").replace(
            "torch.randn(max_length, width)", "torch.randn(width, max_length)"
        ),
    ),
    wrong(
        "LearnedPositions",
        "offset_ignored",
        caught_by="offset_moves_the_window",
        because="always adds the first rows",
        edit=("self.table[offset:end]", "self.table[: end - offset]"),
    ),
    wrong(
        "LearnedPositions",
        "counts_from_one",
        caught_by="offset_moves_the_window",
        because="gives the first position row 1",
        edit=("x + self.table[offset:end]", "x + self.table.roll(-1, dims=0)[offset:end]"),
    ),
    wrong(
        "LearnedPositions",
        "one_row_for_all",
        caught_by="offset_moves_the_window",
        because="adds the row of the offset to every position",
        edit=("x + self.table[offset:end]", "x + self.table[offset]"),
    ),
    wrong(
        "LearnedPositions",
        "sum_replaced",
        caught_by="offset_moves_the_window",
        because="returns the rows and forgets x",
        edit=("x + self.table[offset:end]", "self.table[offset:end].expand(x.shape)"),
    ),
    wrong(
        "LearnedPositions",
        "rows_follow_the_batch",
        caught_by="every_example_gets_the_same_rows",
        because="gives each example a row, as if axis 0 were the positions",
        edit=("x + self.table[offset:end]", "x + self.table[offset : offset + len(x)][:, None]"),
    ),
    wrong(
        "LearnedPositions",
        "first_example_only",
        caught_by="every_example_gets_the_same_rows",
        because="adds the rows to example 0",
        body=learned(
            "rows = torch.zeros_like(x)",
            "rows[0] = self.table[offset : offset + x.shape[1]]",
            "return x + rows",
        ),
    ),
    wrong(
        "LearnedPositions",
        "length_of_the_batch",
        caught_by="every_example_gets_the_same_rows",
        because="counts on along the flattened batch, so that the second example goes on where the first ended",
        body=learned(
            "place = (offset + torch.arange(x.shape[0] * x.shape[1])) % self.table.shape[0]",
            "return x + self.table[place].view_as(x)",
        ),
    ),
    wrong(
        "LearnedPositions",
        "cut_short",
        caught_by="positions_outside_are_refused",
        because="lets the slice be cut short, so that one last row is broadcast over all positions",
        edit=("offset < 0 or end > len(self.table)", "False"),
    ),
    wrong(
        "LearnedPositions",
        "wraps_round",
        caught_by="positions_outside_are_refused",
        because="starts again at row 0 behind the end of the table",
        body="""
class LearnedPositions(nn.Module):
    def __init__(self, max_length, width):
        super().__init__()
        self.table = nn.Parameter(torch.randn(max_length, width) * 0.02)

    def forward(self, x, offset):
        place = offset + torch.arange(x.shape[1])
        return x + self.table[place % self.table.shape[0]]
""",
    ),
    wrong(
        "LearnedPositions",
        "last_row_refused",
        caught_by="positions_outside_are_refused",
        because="refuses the last position of the table too",
        edit=("end > len(self.table)", "end >= len(self.table)"),
    ),
    wrong(
        "LearnedPositions",
        "negative_offsets",
        caught_by="positions_outside_are_refused",
        because="checks the upper end only, so that a negative offset counts from the end of the table",
        edit=("offset < 0 or end > len(self.table)", "end > len(self.table)"),
    ),
    wrong(
        "LearnedPositions",
        "checks_the_start_only",
        caught_by="positions_outside_are_refused",
        because="checks where the positions start and not where they end",
        edit=("end > len(self.table)", "offset >= len(self.table)"),
    ),
    wrong(
        "LearnedPositions",
        "frozen",
        caught_by="used_rows_collect_gradients",
        because="detaches the table",
        edit=("x + self.table[offset:end]", "x + self.table.detach()[offset:end]"),
    ),
    wrong(
        "LearnedPositions",
        "in_place",
        caught_by="used_rows_collect_gradients",
        because="adds into the caller's tensor",
        edit=("return x + self.table[offset:end]", "x += self.table[offset:end]\n        return x"),
    ),
    wrong(
        "LearnedPositions",
        "reads_the_memory",
        caught_by="used_rows_collect_gradients",
        because="walks the memory of x as if it were contiguous",
        body=learned(
            "batch, length, width = x.shape",
            "y = x.as_strided(x.shape, (length * width, width, 1))",
            "return y + self.table[offset : offset + length]",
        ),
    ),
    wrong(
        "LearnedPositions",
        "zeros",
        caught_by="one_table_is_the_parameter",
        because="the right shape, zeros",
        body=learned("return torch.zeros_like(x) + 0 * self.table.sum()"),
    ),
    right(
        "LearnedPositions",
        "index_select",
        body=learned(
            "place = torch.arange(offset, offset + x.shape[1])",
            "return x + torch.index_select(self.table, 0, place).unsqueeze(0)",
        ),
    ),
    right(
        "LearnedPositions",
        "embedding_function",
        because="looks the rows up like word vectors, and starts at zero",
        body="""
class LearnedPositions(nn.Module):
    def __init__(self, max_length, width):
        super().__init__()
        self.table = nn.Parameter(torch.empty(max_length, width))
        nn.init.trunc_normal_(self.table, std=0.02)
        self.max_length = max_length

    def forward(self, x, offset):
        batch, length, _ = x.shape
        place = torch.arange(length).add(offset).repeat(batch, 1)
        if place.min() < 0 or place.max() >= self.max_length:
            raise ValueError(f"{offset} + {length} > {self.max_length}")
        return nn.functional.embedding(place, self.table) + x
""",
    ),
]

ROPE_BODY = """
def rope(x, positions):
    length, dim = x.shape[-2:]
    if dim % 2 or positions.shape != (length,):
        raise ValueError("odd width, or not one position for each vector")
    angle = positions.double()[:, None] * frequencies(dim)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    %s
"""


def turned(*steps: str) -> str:
    """A rotation written out in `steps`, from `cos` and `sin` on."""
    return ROPE_BODY.replace("%s", "\n    ".join(steps))


PAIRS = "a, b = x[..., 0::2], x[..., 1::2]"

ROPES = [
    wrong(
        "rope",
        "half_pairing",
        caught_by="neighbours_turn_together",
        because="pairs the first half of the vector with the second",
        body=turned(
            "a, b = x.chunk(2, dim=-1)", "return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)"
        ),
    ),
    wrong(
        "rope",
        "right_pairs_in_the_wrong_places",
        caught_by="neighbours_turn_together",
        because="turns neighbours, then puts all first numbers in front",
        edit=(
            "torch.stack([first * cos - second * sin, first * sin + second * cos], dim=-1)",
            "torch.stack([first * cos - second * sin, first * sin + second * cos], dim=-2)",
        ),
    ),
    wrong(
        "rope",
        "half_pairing_with_repeated_angles",
        caught_by="neighbours_turn_together",
        because="mixes both habits: angles in neighbouring pairs, partners from the other half",
        body=turned(
            "cos, sin = cos.repeat_interleave(2, dim=-1), sin.repeat_interleave(2, dim=-1)",
            "a, b = x.chunk(2, dim=-1)",
            "return x * cos + torch.cat([-b, a], dim=-1) * sin",
        ),
    ),
    wrong(
        "rope",
        "adds_instead_of_turning",
        caught_by="neighbours_turn_together",
        because="adds sines and cosines to the vector",
        body=turned("return x + torch.stack([sin, cos], dim=-1).flatten(-2)"),
    ),
    wrong(
        "rope",
        "clockwise",
        caught_by="turns_by_position_times_frequency",
        because="turns the other way round, which no score of its own would show",
        edit=(
            "first * cos - second * sin, first * sin + second * cos",
            "first * cos + second * sin, second * cos - first * sin",
        ),
    ),
    wrong(
        "rope",
        "reflects",
        caught_by="turns_by_position_times_frequency",
        because="has a sign wrong in one row, which makes it a reflection",
        edit=("first * sin + second * cos", "first * sin - second * cos"),
    ),
    wrong(
        "rope",
        "base_1000",
        caught_by="turns_by_position_times_frequency",
        because="misses a zero of the base",
        edit=("frequencies(dim)", "frequencies(dim) ** 0.75"),
    ),
    wrong(
        "rope",
        "no_factor_two",
        caught_by="turns_by_position_times_frequency",
        because="has i and not 2i in the exponent",
        edit=("frequencies(dim)", "frequencies(dim).sqrt()"),
    ),
    wrong(
        "rope",
        "one_speed_for_all",
        caught_by="turns_by_position_times_frequency",
        because="turns every pair by the position itself",
        edit=("frequencies(dim)", "torch.ones(dim // 2, dtype=torch.float64)"),
    ),
    wrong(
        "rope",
        "offsets_ignored",
        caught_by="positions_are_taken_as_given",
        because="counts 0, 1, 2, … whatever the positions",
        edit=("angle = positions[:, None]", "angle = torch.arange(length)[:, None]"),
    ),
    wrong(
        "rope",
        "first_position_only",
        caught_by="positions_are_taken_as_given",
        because="takes the first position and counts on from there",
        edit=("angle = positions[:, None]", "angle = (positions[0] + torch.arange(length))[:, None]"),
    ),
    wrong(
        "rope",
        "counts_from_one",
        caught_by="positions_are_taken_as_given",
        because="adds 1 to every position",
        edit=("angle = positions[:, None]", "angle = (positions + 1)[:, None]"),
    ),
    wrong(
        "rope",
        "length_before_heads",
        caught_by="any_axes_in_front",
        because="expects (batch, length, heads, dim), so that heads turn and positions do not",
        body=turned(
            "if x.dim() == 4 and x.shape[1] == length: cos, sin = cos[:, None], sin[:, None]",
            PAIRS,
            "return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2)",
        ),
    ),
    wrong(
        "rope",
        "four_axes_only",
        caught_by="any_axes_in_front",
        because="takes (batch, heads, length, dim) and nothing else",
        body=turned(
            "batch, heads, length, dim = x.shape",
            PAIRS,
            "return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2)",
        ),
    ),
    wrong(
        "rope",
        "positions_in_the_dtype_of_x",
        caught_by="half_precision_keeps_far_positions",
        because="casts positions to float16, which holds no odd number above 2048",
        edit=("angle = positions[:, None]", "angle = positions.to(x.dtype)[:, None].double()"),
    ),
    wrong(
        "rope",
        "result_in_double_precision",
        caught_by="half_precision_keeps_far_positions",
        because="returns float64 whatever came in",
        edit=(
            "cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)",
            "cos, sin = angle.cos(), angle.sin()",
        ),
    ),
    wrong(
        "rope",
        "odd_width_passes_through",
        caught_by="odd_widths_and_missing_positions_are_refused",
        because="leaves the last number of an odd width as it is",
        body="""
def rope(x, positions):
    if positions.shape != (x.shape[-2],):
        raise ValueError("one position for each vector")
    even = x.shape[-1] // 2 * 2
    angle = positions[:, None] * frequencies(even)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b = x[..., 0:even:2], x[..., 1:even:2]
    out = torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2)
    return torch.cat([out, x[..., even:]], dim=-1)
""",
    ),
    wrong(
        "rope",
        "one_position_for_all",
        caught_by="odd_widths_and_missing_positions_are_refused",
        because="broadcasts a single position over all vectors in silence",
        edit=("    if positions.shape != (length,):\n", "    if len(positions) not in (1, length):\n"),
    ),
    wrong(
        "rope",
        "no_gradient",
        caught_by="gradients_turn_back",
        because="works on detached numbers",
        edit=(
            "first, second = x[..., 0::2], x[..., 1::2]",
            "first, second = x.detach()[..., 0::2], x[..., 1::2]",
        ),
    ),
    wrong(
        "rope",
        "in_place",
        caught_by="gradients_turn_back",
        because="writes the turned numbers into x",
        body=turned(
            "a, b = x[..., 0::2].clone(), x[..., 1::2].clone()",
            "with torch.no_grad():",
            "    x[..., 0::2] = a * cos - b * sin",
            "    x[..., 1::2] = a * sin + b * cos",
            "return x",
        ),
    ),
    wrong(
        "rope",
        "complex_view_of_the_memory",
        caught_by="gradients_turn_back",
        because="reads the memory of x as if it were contiguous",
        body=turned(
            "steps = [math.prod(x.shape[axis + 1 :]) for axis in range(x.dim())]",
            "x = x.as_strided(x.shape, steps)",
            PAIRS,
            "return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2)",
        ),
    ),
    wrong(
        "rope",
        "zeros",
        caught_by="neighbours_turn_together",
        because="the right shape, zeros",
        body=turned("return torch.zeros_like(x)"),
    ),
    right(
        "rope",
        "partner_and_sign",
        because="x · cos plus the partner with its sign · sin, the angles repeated for both of a pair",
        body=turned(
            "cos, sin = cos.repeat_interleave(2, dim=-1), sin.repeat_interleave(2, dim=-1)",
            "partner = torch.stack([-x[..., 1::2], x[..., 0::2]], dim=-1).reshape(x.shape)",
            "return x * cos + partner * sin",
        ),
    ),
    right(
        "rope",
        "complex_numbers",
        because="a rotation is a product of complex numbers",
        body="""
def rope(x, positions):
    if x.shape[-1] % 2 != 0 or len(positions) != x.shape[-2]:
        raise ValueError("cannot turn this")
    angle = torch.outer(positions.double(), frequencies(x.shape[-1]))
    turn = torch.polar(torch.ones_like(angle), angle)
    pairs = torch.view_as_complex(x.double().contiguous().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * turn).flatten(-2).to(x.dtype)
""",
    ),
    right(
        "rope",
        "rotation_matrices",
        because="a block-diagonal matrix for each position, in float32 angles for half precision",
        body="""
def rope(x, positions):
    length, dim = x.shape[-2], x.shape[-1]
    if dim % 2:
        raise ValueError("dim must be even")
    if positions.numel() != length:
        raise ValueError("one position for each vector")
    matrices = torch.zeros(length, dim, dim, dtype=torch.float64)
    for row, place in enumerate(positions.tolist()):
        for pair in range(dim // 2):
            angle = place * 10000.0 ** (-2 * pair / dim)
            one, other = 2 * pair, 2 * pair + 1
            matrices[row, one, one] = matrices[row, other, other] = math.cos(angle)
            matrices[row, other, one] = math.sin(angle)
            matrices[row, one, other] = -math.sin(angle)
    return torch.einsum("lij,...lj->...li", matrices, x.double()).to(x.dtype)
""",
    ),
]

TURNED = "masked_attention(rope(q, query_positions), rope(k, key_positions), v, mask)"

ROTARY = [
    wrong(
        "rotary_attention",
        "values_turned",
        caught_by="values_are_left_alone",
        because="turns the values too, so that absolute positions reach the output",
        edit=("key_positions), v, mask", "key_positions), rope(v, key_positions), mask"),
    ),
    wrong(
        "rotary_attention",
        "output_turned_back",
        caught_by="values_are_left_alone",
        because="turns the output by the position of the query",
        edit=(TURNED, f"rope({TURNED}, query_positions)"),
    ),
    wrong(
        "rotary_attention",
        "queries_only",
        caught_by="queries_and_keys_have_their_own_positions",
        because="turns the queries alone, so that scores depend on the query's place",
        edit=("rope(k, key_positions)", "k"),
    ),
    wrong(
        "rotary_attention",
        "keys_only",
        caught_by="queries_and_keys_have_their_own_positions",
        because="turns the keys alone",
        edit=("rope(q, query_positions)", "q"),
    ),
    wrong(
        "rotary_attention",
        "queries_from_zero",
        caught_by="queries_and_keys_have_their_own_positions",
        because="ignores the offset of the queries and counts them from 0",
        edit=("rope(q, query_positions)", "rope(q, torch.arange(q.shape[-2]))"),
    ),
    wrong(
        "rotary_attention",
        "keys_from_zero",
        caught_by="queries_and_keys_have_their_own_positions",
        because="counts the keys from 0",
        edit=("rope(k, key_positions)", "rope(k, torch.arange(k.shape[-2]))"),
    ),
    wrong(
        "rotary_attention",
        "no_scale",
        caught_by="queries_and_keys_have_their_own_positions",
        because="does not divide the scores by the root of the width",
        edit=("rope(q, query_positions)", "rope(q, query_positions) * math.sqrt(q.shape[-1])"),
    ),
    wrong(
        "rotary_attention",
        "no_positions",
        caught_by="queries_and_keys_have_their_own_positions",
        because="turns nothing",
        edit=(TURNED, "masked_attention(q, k, v, mask)"),
    ),
    wrong(
        "rotary_attention",
        "mask_lost",
        caught_by="mask_is_passed_on",
        because="hides nothing",
        edit=("v, mask)\n", "v, None)\n"),
    ),
    wrong(
        "rotary_attention",
        "mask_upside_down",
        caught_by="mask_is_passed_on",
        because="takes True for hidden",
        edit=("v, mask)\n", "v, None if mask is None else ~mask)\n"),
    ),
    wrong(
        "rotary_attention",
        "weights_detached",
        caught_by="gradients_reach_all_three",
        because="lets no gradient through the weights",
        edit=(TURNED, TURNED.replace("rope(q,", "rope(q.detach(),")),
    ),
    wrong(
        "rotary_attention",
        "keys_changed",
        caught_by="gradients_reach_all_three",
        because="turns the keys in place",
        edit=(
            f"    return {TURNED}\n",
            f"    k.copy_(rope(k, key_positions))\n    return {TURNED.replace('rope(k, key_positions)', 'k')}\n",
        ),
    ),
    wrong(
        "rotary_attention",
        "zeros",
        caught_by="values_are_left_alone",
        because="the right shape, zeros",
        body="""
def rotary_attention(q, k, v, query_positions, key_positions, mask):
    return torch.zeros(*q.shape[:-1], v.shape[-1], dtype=q.dtype)
""",
    ),
    right(
        "rotary_attention",
        "written_out",
        body="""
def rotary_attention(q, k, v, query_positions, key_positions, mask):
    q = rope(q, query_positions) * q.shape[-1] ** -0.5
    scores = torch.einsum("...id,...jd->...ij", q, rope(k, key_positions))
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return torch.einsum("...ij,...jd->...id", scores.softmax(dim=-1), v)
""",
    ),
    right(
        "rotary_attention",
        "distances_instead",
        because="turns the keys by their distance to one query at a time, and that query not at all",
        body="""
def rotary_attention(q, k, v, query_positions, key_positions, mask):
    rows = []
    for i, place in enumerate(query_positions.tolist()):
        here = None if mask is None else mask[..., i : i + 1, :]
        rows.append(masked_attention(q[..., i : i + 1, :], rope(k, key_positions - place), v, here))
    return torch.cat(rows, dim=-2)
""",
    ),
]

SLOPES = "slopes(power) + slopes(2 * power)[::2][: heads - power]"

ALIBI = [
    wrong(
        "alibi_bias",
        "rewards_distance",
        caught_by="every_step_costs_one_slope",
        because="adds the distance instead of taking it off",
        edit=("* -distance", "* distance"),
    ),
    wrong(
        "alibi_bias",
        "rewards_the_future",
        caught_by="every_step_costs_one_slope",
        because="forgets the absolute value, so that keys to the right gain",
        edit=(").abs()  #", ")  #"),
    ),
    wrong(
        "alibi_bias",
        "one_side_only",
        caught_by="every_step_costs_one_slope",
        because="charges nothing for keys to the right, which is right under a causal mask only",
        edit=(").abs()  #", ").clamp(min=0)  #"),
    ),
    wrong(
        "alibi_bias",
        "square_of_the_distance",
        caught_by="every_step_costs_one_slope",
        because="charges the square of the distance",
        edit=("* -distance", "* -distance.square()"),
    ),
    wrong(
        "alibi_bias",
        "counts_from_one",
        caught_by="every_step_costs_one_slope",
        because="charges one slope for the query's own place",
        edit=("* -distance", "* -(distance + 1)"),
    ),
    wrong(
        "alibi_bias",
        "starts_at_one",
        caught_by="slopes_of_a_power_of_two",
        because="counts heads from 0 in the exponent, so that the first slope is 1",
        edit=("-8 * (head + 1) / count", "-8 * head / count"),
    ),
    wrong(
        "alibi_bias",
        "halves_each_time",
        caught_by="slopes_of_a_power_of_two",
        because="takes 1/2, 1/4, 1/8, …, which is right for eight heads only",
        edit=("-8 * (head + 1) / count", "-(head + 1)"),
    ),
    wrong(
        "alibi_bias",
        "flattest_first",
        caught_by="slopes_of_a_power_of_two",
        because="gives the slopes in the wrong order",
        edit=("slope = torch.tensor(", "slope = torch.tensor(slopes(heads)[::-1] if heads == power else "),
    ),
    wrong(
        "alibi_bias",
        "same_for_all_heads",
        caught_by="slopes_of_a_power_of_two",
        because="gives every head the first slope",
        edit=("slope[:, None, None] *", "slope[:1].expand(heads)[:, None, None] *"),
    ),
    wrong(
        "alibi_bias",
        "formula_for_any_number",
        caught_by="slopes_of_any_other_number",
        because="uses 2^(−8h/heads) for numbers that are no power of two",
        edit=(SLOPES, "slopes(heads)"),
    ),
    wrong(
        "alibi_bias",
        "cut_from_the_next_power",
        caught_by="slopes_of_any_other_number",
        because="takes the first slopes of the next larger power of two",
        edit=(SLOPES, "slopes(power if power == heads else 2 * power)[:heads]"),
    ),
    wrong(
        "alibi_bias",
        "next_slopes_instead_of_every_second",
        caught_by="slopes_of_any_other_number",
        because="fills up with the first slopes of the larger power, not with every second one",
        edit=("[::2][: heads - power]", "[: heads - power]"),
    ),
    wrong(
        "alibi_bias",
        "second_of_each_two",
        caught_by="slopes_of_any_other_number",
        because="starts with number 1 of the larger power, which repeats slopes that are there already",
        edit=("[::2][: heads - power]", "[1::2][: heads - power]"),
    ),
    wrong(
        "alibi_bias",
        "sorted",
        caught_by="slopes_of_any_other_number",
        because="sorts the slopes, so that they belong to other heads than in a trained model",
        edit=(SLOPES, f"sorted({SLOPES}, reverse=True)"),
    ),
    wrong(
        "alibi_bias",
        "queries_are_the_first",
        caught_by="queries_are_the_last_positions",
        because="aligns queries and keys at their start",
        edit=(" + keys - queries\n", "\n"),
    ),
    wrong(
        "alibi_bias",
        "as_many_queries_as_keys",
        caught_by="queries_are_the_last_positions",
        because="returns a square, whatever the number of queries",
        edit=("torch.arange(queries) + keys - queries", "torch.arange(keys)"),
    ),
    wrong(
        "alibi_bias",
        "one_too_far",
        caught_by="queries_are_the_last_positions",
        because="puts the last query behind the last key when a text is continued",
        edit=("+ keys - queries\n", "+ keys - queries + (keys > queries)\n"),
    ),
    wrong(
        "alibi_bias",
        "more_queries_than_keys_from_the_start",
        caught_by="queries_are_the_last_positions",
        because="moves the queries to the end only when there are fewer of them than keys",
        edit=("+ keys - queries\n", "+ max(0, keys - queries)\n"),
    ),
    wrong(
        "alibi_bias",
        "nobody_before_the_first_key",
        caught_by="queries_are_the_last_positions",
        because="puts all queries that stand before the first key on it",
        edit=("+ keys - queries\n", "+ keys - queries\n    here = here.clamp(min=0)\n"),
    ),
    wrong(
        "alibi_bias",
        "zeros",
        caught_by="every_step_costs_one_slope",
        because="the right shape, zeros",
        body="""
def alibi_bias(heads, queries, keys):
    return torch.zeros(heads, queries, keys)
""",
    ),
    right(
        "alibi_bias",
        "powers_of_the_first_slope",
        because="a geometric sequence from its first term, and recursion for other numbers, as in the authors' code",
        body="""
def alibi_bias(heads, queries, keys):
    def slopes(n):
        if math.log2(n).is_integer():
            start = 2 ** (-(2 ** -(math.log2(n) - 3)))
            return [start * start**i for i in range(n)]
        below = 2 ** math.floor(math.log2(n))
        return slopes(below) + slopes(2 * below)[0::2][: n - below]

    m = torch.tensor(slopes(heads)).view(heads, 1, 1)
    i = torch.arange(keys - queries, keys).view(1, queries, 1)
    j = torch.arange(keys).view(1, 1, keys)
    return -(m * (i - j).abs())
""",
    ),
    right(
        "alibi_bias",
        "loops",
        body="""
def alibi_bias(heads, queries, keys):
    power = 1
    while 2 * power <= heads:
        power *= 2
    bias = torch.empty(heads, queries, keys)
    for h in range(heads):
        step = 8 * (h + 1) / power if h < power else 4 * (2 * (h - power) + 1) / power
        for i in range(queries):
            for j in range(keys):
                bias[h, i, j] = -(2.0**-step) * abs(i + keys - queries - j)
    return bias
""",
    ),
]

VARIANTS = [*GAPS, *SINES, *LEARNED, *ROPES, *ROTARY, *ALIBI]
