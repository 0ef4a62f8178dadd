"""Chapter 08's library against PyTorch, its rulers, its figure, and the benchmark that the chapter shows."""

from __future__ import annotations

import json
import math
from importlib import resources

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from attention_from_scratch.figures import online_softmax as figure
from attention_from_scratch.measuring import (
    TensorMeter,
    can_measure_process,
    copy_rate,
    matmul_rate,
    peak_process_bytes,
    peak_tensor_bytes,
)
from attention_from_scratch.multi_head import attention
from attention_from_scratch.online_softmax import (
    attention_cost,
    flash_attention,
    flash_backward,
    flash_forward,
    merge_states,
    online_softmax,
    score_tile,
)
from coursebuild.benchmarks import attention as benchmark
from coursebuild.benchmarks.attention_peers import PEERS, Peer, reference
from coursebuild.cli import main
from coursebuild.errors import CourseError

# Two right implementations differ by the order of sums of some tens of terms near 1: tens of roundings of unit
# roundoff (6e-8 in float32, 1.1e-16 in float64). Gradients sum over up to a hundred products, hence the second row.
FORWARD = {torch.float32: 1e-5, torch.float64: 1e-13}
GRADIENT = {torch.float32: 1e-4, torch.float64: 1e-12}

sizes = st.integers(1, 4)
lengths = st.integers(1, 13)
blocks = st.integers(1, 16)
dtypes = st.sampled_from([torch.float32, torch.float64])
few = settings(max_examples=40, deadline=None, derandomize=True)


def close(got: Tensor, expected: Tensor, tolerance: dict[torch.dtype, float]) -> None:
    """Equal shapes and dtypes, and numbers within the tolerance relative to the largest (at least 1)."""
    finite = expected.detach()[torch.isfinite(expected)].abs()
    bound = tolerance[expected.dtype] * max(1.0, finite.max().item() if finite.numel() else 1.0)
    torch.testing.assert_close(got, expected, rtol=0.0, atol=bound)


def mask_of(queries: int, keys: int) -> Tensor:
    """Bottom-right aligned causal mask, True where query i may see key j."""
    return torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)


@few
@given(
    batch=sizes, heads=sizes, queries=lengths, keys=lengths, dim=st.integers(1, 9), value_dim=st.integers(1, 9),
    causal=st.booleans(), block_q=blocks, block_k=blocks, dtype=dtypes, size=st.sampled_from([0.5, 2.0, 8.0]),
)  # fmt: skip
def test_equals_sdpa_forward_and_back(
    batch: int, heads: int, queries: int, keys: int, dim: int, value_dim: int,
    causal: bool, block_q: int, block_k: int, dtype: torch.dtype, size: float,
) -> None:  # fmt: skip
    keys = (
        max(keys, queries) if causal else keys
    )  # SDPA gives NaN or zeros, by version, to a query that sees nothing
    generator = torch.Generator().manual_seed(queries * 101 + keys)
    shapes = [(queries, dim), (keys, dim), (keys, value_dim)]
    values = [torch.randn(batch, heads, *shape, generator=generator, dtype=dtype) for shape in shapes]
    values[0] *= size
    one, other = [[value.clone().requires_grad_() for value in values] for _ in range(2)]
    mask = mask_of(queries, keys) if causal else None
    expected = scaled_dot_product_attention(*other, attn_mask=mask)
    got = flash_attention(one[0], one[1], one[2], causal, block_q, block_k)
    close(got, expected, FORWARD)
    upstream = torch.randn(got.shape, generator=generator, dtype=dtype)
    got.backward(upstream)
    expected.backward(upstream)
    for mine, torchs in zip(one, other, strict=True):
        assert mine.grad is not None
        assert torchs.grad is not None
        close(mine.grad, torchs.grad, {key: size * value for key, value in GRADIENT.items()})


@few
@given(queries=lengths, keys=lengths, causal=st.booleans(), block_q=blocks, block_k=blocks)
def test_log_sum_exp_and_queries_that_see_nothing(
    queries: int, keys: int, causal: bool, block_q: int, block_k: int
) -> None:
    generator = torch.Generator().manual_seed(queries * 17 + keys)
    Q, K = (torch.randn(2, 1, n, 5, generator=generator, dtype=torch.float64) for n in (queries, keys))
    S = Q @ K.mT / math.sqrt(5)
    if causal:
        S = S.masked_fill(~mask_of(queries, keys), -math.inf)
    O, LSE = flash_forward(Q, K, K, causal, block_q, block_k)
    close(LSE, torch.logsumexp(S, dim=-1), FORWARD)
    dead = max(0, queries - keys) if causal else 0
    assert torch.equal(O[..., :dead, :], torch.zeros_like(O[..., :dead, :]))
    assert torch.isneginf(LSE[..., :dead]).all()
    gradients = flash_backward(Q, K, K, O, LSE, torch.ones_like(O), causal, block_q, block_k)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert not gradients[0][..., :dead, :].any()


@pytest.mark.parametrize(
    ("queries", "keys", "causal"), [(7, 9, False), (7, 9, True), (9, 7, True), (1, 1, True)]
)
def test_gradients_equal_finite_differences(queries: int, keys: int, causal: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    leaves = [
        torch.randn(1, 2, n, 3, generator=generator, dtype=torch.float64).requires_grad_()
        for n in (queries, keys, keys)
    ]
    assert torch.autograd.gradcheck(lambda Q, K, V: flash_attention(Q, K, V, causal, 3, 4), leaves)


@few
@given(
    rows=st.integers(1, 5),
    widths=st.lists(st.integers(1, 5), min_size=1, max_size=6),
    shift=st.sampled_from([0.0, 1e3, -1e3]),
)
def test_online_softmax_equals_logsumexp(rows: int, widths: list[int], shift: float) -> None:
    generator = torch.Generator().manual_seed(sum(widths))
    scores = torch.randn(rows, sum(widths), generator=generator, dtype=torch.float64) + shift
    scores[torch.rand(scores.shape, generator=generator) < 0.3] = -math.inf
    m, l = online_softmax(iter(scores.split(widths, dim=-1)))
    assert torch.equal(m, scores.amax(dim=-1))
    close(m + torch.log(l), torch.logsumexp(scores, dim=-1), FORWARD)


@few
@given(cuts=st.lists(st.integers(1, 9), min_size=2, max_size=5), seed=st.integers(0, 99))
def test_states_merge_in_any_order(cuts: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = 3 * torch.randn(2, 4, sum(cuts), generator=generator, dtype=torch.float64)
    scores[0, 0] = -math.inf
    values = torch.randn(2, sum(cuts), 3, generator=generator, dtype=torch.float64)
    states = []
    for s, v in zip(scores.split(cuts, -1), values.split(cuts, -2), strict=True):
        m, l = online_softmax([s])
        states.append((m, l, torch.exp(s - m.nan_to_num(neginf=0.0)[..., None]) @ v))
    order = torch.randperm(len(states), generator=generator).tolist()
    m, l, acc = states[order[0]]
    for i in order[1:]:
        m, l, acc = merge_states(states[i], (m, l, acc))
    expected = scores.softmax(dim=-1).nan_to_num(0.0) @ values
    close(acc / l.masked_fill(l == 0, 1.0)[..., None], expected, FORWARD)


def test_tile_is_a_cut_of_the_whole() -> None:
    Q, K = torch.randn(2, 3, 7, 5), torch.randn(2, 3, 11, 5)
    whole = (Q @ K.mT / math.sqrt(5)).masked_fill(~mask_of(7, 11), -math.inf)
    close(score_tile(Q, K, slice(3, 7), slice(4, 9), True), whole[..., 3:7, 4:9], FORWARD)


def test_cost_counts_what_pytorch_counts() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    Q, K = torch.randn(2, 3, 5, 16), torch.randn(2, 3, 7, 16)
    with FlopCounterMode(display=False) as counter:
        attention(Q, K, K)
    cost = attention_cost(2, 3, 5, 7, 16, torch.bfloat16)
    assert cost["flops"] == counter.get_total_flops()
    assert cost["naive_bytes"] - cost["fused_bytes"] == 2 * 2 * 3 * (4 * 5 * 7 - 5)


def test_no_matrix_is_made_forward_or_back() -> None:
    leaves = [torch.randn(1, 2, n, 8, requires_grad=True) for n in (300, 310, 310)]
    with TensorMeter() as meter:
        flash_attention(leaves[0], leaves[1], leaves[2], True, 32, 32).sum().backward()
    assert meter.largest <= 4 * 2 * 310 * 8  # the inputs' own size
    assert meter.peak < 4 * 2 * 300 * 310 / 2
    assert meter.peak >= 3 * 4 * 2 * 300 * 8  # the three gradients at least: the meter does count


class TestRulers:
    def test_meter_counts_what_is_alive_and_not_what_was(self) -> None:
        def three_after_another(x: Tensor) -> Tensor:
            for _ in range(3):
                x = x + 1
            return x

        assert peak_tensor_bytes(three_after_another, torch.zeros(1000)) == 2 * 4000
        assert peak_tensor_bytes(lambda x: [x + i for i in range(3)], torch.zeros(1000)) == 3 * 4000

    def test_views_are_free(self) -> None:
        assert peak_tensor_bytes(lambda x: x.view(10, 100).transpose(0, 1)[::2], torch.zeros(1000)) == 0

    @pytest.mark.skipif(not can_measure_process(), reason="reads /proc of Linux")
    def test_process_and_tensors_agree_on_a_large_call(self) -> None:
        Q, K, V = torch.randn(3, 1, 4, 1024, 16).unbind(0)
        tensors = peak_tensor_bytes(attention, Q, K, V)
        process = peak_process_bytes(attention, (Q, K, V), tuple(x[..., :8, :] for x in (Q, K, V)))
        assert tensors == 2 * 4 * 1024 * 1024 * 4
        # pages of code and of the allocator come on top: a few MiB on 32
        assert 0.95 * tensors < process < tensors + 8 * 2**20

    @pytest.mark.skipif(not can_measure_process(), reason="reads /proc of Linux")
    def test_a_call_that_fails_says_so(self) -> None:
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            peak_process_bytes(lambda x: x / 0, (1,), (1,))

    def test_ceilings_are_speeds(self) -> None:
        assert 1e7 < matmul_rate(128, 3, torch.float32) < 1e14
        assert 1e7 < copy_rate(2**20, 3) < 1e13


class TestFigure:
    scores = (2 * torch.randn(6, 8, generator=torch.Generator().manual_seed(1))).tolist()
    values = torch.randn(8, generator=torch.Generator().manual_seed(2)).tolist()

    @pytest.mark.parametrize("causal", [False, True])
    def test_steps_end_at_attention(self, causal: bool) -> None:
        S = torch.tensor(self.scores, dtype=torch.float64)
        if causal:
            S = S.masked_fill(~mask_of(6, 8), -math.inf)
        steps = figure.tile_steps(self.scores, self.values, causal, 2, 3)
        written = [state for step in steps if step["columns"] is None for state in step["states"]]
        out = torch.tensor([state["out"] for state in written], dtype=torch.float64)
        lse = torch.tensor([state["lse"] for state in written], dtype=torch.float64)
        close(out, S.softmax(-1) @ torch.tensor(self.values, dtype=torch.float64), FORWARD)
        close(lse, S.logsumexp(-1), FORWARD)

    def test_causal_skips_hidden_tiles_only(self) -> None:
        visited = {
            (step["rows"][0], step["columns"][0])
            for step in figure.tile_steps(self.scores, self.values, True, 2, 3)
            if step["columns"]
        }
        mask = mask_of(6, 8)
        useful = {(i, j) for i in (0, 2, 4) for j in (0, 3, 6) if mask[i : i + 2, j : j + 3].any()}
        assert visited == useful

    def test_a_query_that_sees_nothing_is_told_as_none(self) -> None:
        steps = figure.tile_steps([[1.0], [2.0]], [3.0], True, 2, 1)
        assert steps[-1]["states"][0]["out"] is None
        assert steps[-1]["states"][1]["out"] == pytest.approx(3.0)
        assert "None" not in figure.tile_stepper([[1.0], [2.0]], [3.0], 2, 1)._repr_html_()


class TestBenchmark:
    def test_every_peer_passes_the_gate_and_gets_a_cell(self) -> None:
        lines: list[str] = []
        cells = list(benchmark.measure([(1, 2, 9, 4)], PEERS, 2, lines.append))
        assert [(cell["peer"], cell["kind"]) for cell in cells] == [
            (peer.name, kind) for kind in benchmark.KINDS for peer in PEERS
        ]
        assert len(lines) == len(cells)
        for cell in cells:
            seconds = cell["seconds"]
            assert 0 < seconds["low"] <= seconds["median"] <= seconds["high"]
            assert len(seconds["rounds"]) == 2
            assert set(cell["error"]) == ({"O"} if cell["kind"] == "forward" else {"O", "dQ", "dK", "dV"})

    def test_what_is_wrong_is_not_timed(self) -> None:
        good = PEERS[-1]
        bad = Peer("off by a little", "", good.prepare, lambda *x: 1.00001 * good.forward(*x), good.both)
        with pytest.raises(CourseError, match="off by a little does not compute attention: O is off"):
            list(benchmark.measure([(1, 1, 5, 4)], [bad], 1, print))

    def test_what_takes_too_long_is_left_out_and_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(benchmark, "TOO_LONG", 0.0)
        cells = list(benchmark.measure([(1, 1, 3, 2)], PEERS[:1], 1, lambda line: None))
        assert "seconds" in cells[0]
        assert "minutes a call" in cells[1]["skipped"]

    def test_reference_is_attention_in_float64(self) -> None:
        tensors = benchmark.inputs((1, 2, 7, 3))
        leaves = [x.double().requires_grad_() for x in tensors[:3]]
        out = scaled_dot_product_attention(*leaves)
        expected = (out, *torch.autograd.grad(out, leaves, tensors[3].double()))
        for got, wanted in zip(reference(tensors), expected, strict=True):
            close(got, wanted.detach(), FORWARD)

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
    def test_no_gpu_is_one_sentence(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["bench", "attention", "--device", "cuda"]) == 2
        said = "".join(capsys.readouterr())
        assert "no CUDA device" in said
        assert "Traceback" not in said
        assert len(said.strip().splitlines()) == 1

    def test_committed_result_is_whole(self) -> None:
        file = resources.files("attention_from_scratch").joinpath("data_files/attention_cpu.json")
        bill = json.loads(file.read_text(encoding="utf-8"))
        assert bill["machine"]["processor"]
        assert {"python", "torch", "numpy"} <= set(bill["versions"])
        assert min(bill["ceilings"].values()) > 0
        assert len(bill["cells"]) == len(benchmark.SHAPES) * len(benchmark.KINDS) * len(PEERS)
        assert {cell["peer"] for cell in bill["by_length"]} == set(benchmark.SWEEP)
        for cell in [*bill["cells"], *bill["by_length"]]:
            assert "skipped" in cell or all(
                cell["error"][name] <= bill["gate"][name] for name in cell["error"]
            )
