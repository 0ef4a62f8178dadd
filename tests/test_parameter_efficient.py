"""Chapter 14's library: LoRA and AdaLoRA against `peft`, in outputs and gradients; adapters and prefixes by hand."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import peft
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft.tuners.adalora.layer import RankAllocator
from torch import Tensor, nn

from attention_from_scratch import figures
from attention_from_scratch.finetune_methods import METHODS
from attention_from_scratch.masks import MaskedMultiHeadAttention, leak_test, padding_mask
from attention_from_scratch.parameter_efficient import (
    AdaLoRALinear,
    Adapted,
    Adapter,
    LoRALinear,
    PrefixAttention,
    PrefixKV,
    adalora_budget,
    allocate,
)

# Two right implementations differ by the order of sums of some tens of terms near 1: tens of roundings of unit
# roundoff (6e-8 in float32, 1.1e-16 in float64). Gradients sum over more terms, hence the second row.
FORWARD = {torch.float32: 1e-5, torch.float64: 1e-13}
GRADIENT = {torch.float32: 1e-4, torch.float64: 1e-12}

sizes = st.integers(1, 6)
dtypes = st.sampled_from([torch.float32, torch.float64])
few = settings(max_examples=25, deadline=None, derandomize=True)


def close(got: Tensor | None, expected: Tensor | None, tolerance: float) -> None:
    """Equal shapes and dtypes, and numbers within the tolerance relative to the largest (at least 1)."""
    assert got is not None
    assert expected is not None
    bound = tolerance * max(1.0, expected.detach().abs().max().item())
    torch.testing.assert_close(got, expected, rtol=0.0, atol=bound)


class OneLayer(nn.Module):
    """What peft wants: a model with a linear layer of a name."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def linear(inputs: int, outputs: int, dtype: torch.dtype) -> nn.Linear:
    return nn.Linear(inputs, outputs).to(dtype)


def twin(base: nn.Linear) -> nn.Linear:
    """A linear layer of its own with the same numbers."""
    copy = nn.Linear(base.in_features, base.out_features).to(base.weight.dtype)
    copy.load_state_dict(base.state_dict())
    return copy


def normal_(parameter: Any, generator: torch.Generator) -> Tensor:
    """Fill a parameter with normal numbers, so that nothing of an update is zero; returns a copy of them."""
    with torch.no_grad():
        parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return parameter.detach().clone()


def lora_of_peft(base: nn.Linear, rank: int, alpha: float) -> tuple[nn.Module, Any]:
    config = peft.LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=["layer"])
    model = peft.get_peft_model(OneLayer(base), config, autocast_adapter_dtype=False)
    return model, model.base_model.model.layer


@few
@given(
    batch=sizes, inputs=sizes, outputs=sizes, rank=sizes, alpha=st.sampled_from([1, 2, 16]), dtype=dtypes,
    seed=st.integers(0, 999),
)  # fmt: skip
def test_lora_equals_peft_in_outputs_and_gradients(
    batch: int, inputs: int, outputs: int, rank: int, alpha: int, dtype: torch.dtype, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    base = linear(inputs, outputs, dtype)
    theirs, layer = lora_of_peft(twin(base), rank, alpha)
    ours = LoRALinear(base, rank, float(alpha), dropout=0.0)
    with torch.no_grad():
        layer.lora_A["default"].weight.copy_(normal_(ours.A, generator))
        layer.lora_B["default"].weight.copy_(normal_(ours.B, generator))
    x = torch.randn(batch, inputs, generator=generator, dtype=dtype)
    upstream = torch.randn(batch, outputs, generator=generator, dtype=dtype)
    one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    got, expected = ours(one), theirs(other)
    close(got, expected, FORWARD[dtype])
    got.backward(upstream)
    expected.backward(upstream)
    close(one.grad, other.grad, GRADIENT[dtype])
    close(ours.A.grad, layer.lora_A["default"].weight.grad, GRADIENT[dtype])
    close(ours.B.grad, layer.lora_B["default"].weight.grad, GRADIENT[dtype])
    assert base.weight.grad is None
    ours.merge()
    layer.merge()
    close(ours.base.weight, layer.base_layer.weight, FORWARD[dtype])
    close(ours(x), got.detach(), FORWARD[dtype])
    ours.unmerge()
    layer.unmerge()
    close(ours.base.weight, layer.base_layer.weight, FORWARD[dtype])


def test_lora_starts_where_peft_starts() -> None:
    ours = LoRALinear(nn.Linear(64, 48), 8, 16.0, dropout=0.0)
    _, layer = lora_of_peft(nn.Linear(64, 48), 8, 16)
    assert not ours.B.any()
    assert not layer.lora_B["default"].weight.any()
    for one in (ours.A, layer.lora_A["default"].weight):  # uniform within ±1/√64
        assert 0.9 / 8 < one.abs().max().item() <= 1 / 8
    x = torch.randn(3, 64)
    assert torch.equal(ours(x), ours.base(x))


def test_merging_twice_adds_once_and_training_goes_on_after_unmerging() -> None:
    layer = LoRALinear(nn.Linear(5, 7), 2, 4.0, dropout=0.0).double()
    normal_(layer.B, torch.Generator().manual_seed(0))
    before = layer.base.weight.clone()
    x = torch.randn(3, 5, dtype=torch.float64)
    expected = layer(x)
    layer.merge()
    layer.merge()
    close(layer(x), expected, 1e-13)
    assert not layer(x).requires_grad
    layer.unmerge()
    layer.unmerge()
    close(layer.base.weight, before, 1e-14)
    layer(x).sum().backward()
    assert layer.A.grad is not None


def test_dropout_acts_on_the_update_alone() -> None:
    layer = LoRALinear(nn.Linear(1, 400), 1, 1.0, dropout=0.5)
    normal_(layer.B, torch.Generator().manual_seed(0))
    x = torch.ones(200, 1)
    difference = (layer(x) - layer.base(x))[:, 0]
    update = (layer.B @ layer.A)[0, 0]
    share = torch.isclose(difference, 2 * update, atol=1e-6).float().mean().item()
    assert 0.3 < share < 0.7
    assert torch.isclose(difference, torch.zeros(()), atol=1e-6).float().mean().item() == pytest.approx(
        1 - share
    )


@pytest.mark.parametrize("rank", [0, -1])
def test_a_rank_below_one_is_refused(rank: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        LoRALinear(nn.Linear(3, 4), rank, 1.0, dropout=0.0)
    with pytest.raises(ValueError, match="does not fit"):
        AdaLoRALinear(nn.Linear(3, 4), rank, 1.0)


# --- AdaLoRA


def adalora_of_peft(base: nn.Linear, rank: int, alpha: int, **times: int) -> tuple[Any, Any]:
    settings = {"tinit": 0, "tfinal": 0, "deltaT": 1, "total_step": 10, "target_r": 1} | times
    config = peft.AdaLoraConfig(
        init_r=rank, lora_alpha=alpha, target_modules=["layer"], beta1=0.8, beta2=0.7, **settings
    )
    model = peft.get_peft_model(OneLayer(base), config, autocast_adapter_dtype=False)
    return model, model.base_model.model.layer


def same_numbers(ours: AdaLoRALinear, layer: Any, generator: torch.Generator) -> None:
    with torch.no_grad():
        layer.lora_B["default"].copy_(normal_(ours.P, generator))
        layer.lora_E["default"].copy_(normal_(ours.Lambda, generator)[:, None])
        layer.lora_A["default"].copy_(normal_(ours.Q, generator))


@few
@given(
    batch=sizes, inputs=st.integers(3, 7), outputs=st.integers(3, 7), rank=st.integers(1, 3),
    alpha=st.sampled_from([1, 12]), seed=st.integers(0, 999),
)  # fmt: skip
def test_adalora_equals_peft_in_outputs_gradients_and_importance(
    batch: int, inputs: int, outputs: int, rank: int, alpha: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    base = linear(inputs, outputs, torch.float64)
    model, layer = adalora_of_peft(twin(base), rank, alpha)
    ours = AdaLoRALinear(base, rank, float(alpha))
    same_numbers(ours, layer, generator)
    allocator = model.base_model.rankallocator
    assert isinstance(allocator, RankAllocator)
    rounding = 1e-4  # peft divides by rank + 1e-5 where the paper divides by the rank
    for _ in range(3):
        x = torch.randn(batch, inputs, generator=generator, dtype=torch.float64)
        upstream = torch.randn(batch, outputs, generator=generator, dtype=torch.float64)
        ours.zero_grad()
        model.zero_grad()
        got, expected = ours(x), model(x)
        close(got, expected, rounding)
        got.backward(upstream)
        expected.backward(upstream)
        close(ours.P.grad, layer.lora_B["default"].grad, rounding)
        close(ours.Lambda.grad, layer.lora_E["default"].grad[:, 0], rounding)
        close(ours.Q.grad, layer.lora_A["default"].grad, rounding)
        ours.update_importance(0.8, 0.7)
        allocator.update_ipt(model.base_model.model)
    names = {kind: f"layer.lora_{kind}.default" for kind in "ABE"}
    score = {kind: allocator._element_score(name) for kind, name in names.items()}
    expected = score["E"][:, 0] + score["A"].mean(dim=1) + score["B"].mean(dim=0)
    close(ours.importance(), expected, rounding)


@few
@given(
    initial=st.integers(2, 200), share=st.floats(0, 1), warmup=st.integers(0, 20), cooldown=st.integers(0, 20),
    way=st.integers(2, 60),
)  # fmt: skip
def test_budget_equals_pefts_but_for_the_rounding_of_whole_numbers(
    initial: int, share: float, warmup: int, cooldown: int, way: int
) -> None:
    final, total = int(share * initial), warmup + way + cooldown
    model, _ = adalora_of_peft(nn.Linear(3, 3), 2, 1, tinit=warmup, tfinal=cooldown, total_step=total)
    allocator = model.base_model.rankallocator
    allocator.init_bgt, allocator.target_bgt = initial, final
    previous = initial
    for step in range(total + 3):
        got = adalora_budget(step, initial, final, warmup, cooldown, total)
        expected, _ = allocator.budget_schedule(step)
        whole = (initial - final) * (total - cooldown - step) ** 3 % way**3 == 0
        assert got == expected or (whole and got - expected == 1), (step, got, expected)
        assert final <= got <= previous
        previous = got
    assert adalora_budget(warmup, initial, final, warmup, cooldown, total) == initial
    assert adalora_budget(total - cooldown, initial, final, warmup, cooldown, total) == final


def test_budget_refuses_a_schedule_without_a_way() -> None:
    with pytest.raises(ValueError, match="leave nothing of 10"):
        adalora_budget(3, 8, 4, warmup=5, cooldown=5, total=10)
    with pytest.raises(ValueError, match="cannot go from 4 to 8"):
        adalora_budget(3, 4, 8, warmup=1, cooldown=1, total=10)


def test_orthogonality_is_the_papers_and_zero_at_the_start() -> None:
    layer = AdaLoRALinear(nn.Linear(7, 5).double(), 3, 3.0)
    assert layer.orthogonality().item() < 1e-28
    normal_(layer.P, torch.Generator().manual_seed(0))
    normal_(layer.Q, torch.Generator().manual_seed(1))
    P, Q, one = layer.P, layer.Q, torch.eye(3, dtype=torch.float64)
    expected = torch.linalg.matrix_norm(P.T @ P - one) ** 2 + torch.linalg.matrix_norm(Q @ Q.T - one) ** 2
    close(layer.orthogonality(), expected, 1e-13)
    got = torch.autograd.grad(layer.orthogonality(), [P, Q])
    for one, other in zip(got, torch.autograd.grad(expected, [P, Q]), strict=True):
        close(one, other, 1e-12)


def test_pruned_directions_are_silent_and_can_come_back() -> None:
    layer = AdaLoRALinear(nn.Linear(6, 5), 3, 3.0)
    normal_(layer.Lambda, torch.Generator().manual_seed(0))
    P, Q = layer.P.clone(), layer.Q.clone()
    layer.prune(torch.tensor([True, False, True]))
    assert layer.Lambda[1] == 0
    assert layer.Lambda[[0, 2]].all()
    assert torch.equal(layer.P, P)
    assert torch.equal(layer.Q, Q)
    layer(torch.randn(4, 6)).square().sum().backward()
    assert layer.Lambda.grad is not None
    assert layer.Lambda.grad[1] != 0


def test_importance_needs_gradients() -> None:
    with pytest.raises(RuntimeError, match="call backward"):
        AdaLoRALinear(nn.Linear(3, 3), 2, 1.0).update_importance(0.85, 0.85)


@few
@given(
    ranks=st.lists(st.integers(1, 5), min_size=1, max_size=5), share=st.floats(0, 1), seed=st.integers(0, 99)
)
def test_allocation_keeps_the_best_of_all_layers(ranks: list[int], share: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = [torch.randn(rank, generator=generator, dtype=torch.float64) for rank in ranks]
    budget = int(share * sum(ranks))
    keep = allocate(scores, budget)
    assert [len(one) for one in keep] == ranks
    kept, gone = torch.cat(scores)[torch.cat(keep)], torch.cat(scores)[~torch.cat(keep)]
    assert len(kept) == budget
    assert not len(kept) or not len(gone) or kept.min() > gone.max()


# --- adapters and prefixes


@few
@given(batch=sizes, length=sizes, width=sizes, bottleneck=sizes, dtype=dtypes)
def test_adapter_is_a_network_beside_the_path(
    batch: int, length: int, width: int, bottleneck: int, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(width)
    adapter = Adapter(width, bottleneck, "gelu").to(dtype)
    x = torch.randn(batch, length, width, generator=generator, dtype=dtype, requires_grad=True)
    assert torch.equal(adapter(x), x)
    for parameter in adapter.parameters():
        normal_(parameter, generator)
    inside = nn.functional.gelu(nn.functional.linear(x, adapter.down.weight, adapter.down.bias))
    expected = x + nn.functional.linear(inside, adapter.up.weight, adapter.up.bias)
    close(adapter(x), expected, FORWARD[dtype])
    upstream = torch.randn(x.shape, generator=generator, dtype=dtype)
    wanted = [x, *adapter.parameters()]
    got = torch.autograd.grad(adapter(x), wanted, upstream)
    for one, other in zip(got, torch.autograd.grad(expected, wanted, upstream), strict=True):
        close(one, other, GRADIENT[dtype])


def test_an_adapted_part_gets_all_its_arguments() -> None:
    attention = MaskedMultiHeadAttention(6, 2)
    adapted = Adapted(attention, Adapter(6, 2, "relu"))
    x, mask = torch.randn(2, 5, 6), padding_mask(torch.tensor([5, 3]), 5)
    assert torch.equal(adapted(x, x, mask), attention(x, x, mask))


@few
@given(
    batch=sizes, heads=sizes, dim=sizes, queries=sizes, keys=sizes, length=sizes, dtype=dtypes,
    axes=st.sampled_from([0, 2, 4]),
)  # fmt: skip
def test_prefix_equals_sdpa_with_longer_keys_and_values(
    batch: int, heads: int, dim: int, queries: int, keys: int, length: int, dtype: torch.dtype, axes: int
) -> None:
    generator = torch.Generator().manual_seed(batch * 7 + keys)
    width = heads * dim
    attention = MaskedMultiHeadAttention(width, heads).to(dtype)
    prefix = PrefixKV(length, width, heads, std=1.0).to(dtype)
    x = torch.randn(batch, queries, width, generator=generator, dtype=dtype)
    memory = torch.randn(batch, keys, width, generator=generator, dtype=dtype)
    shape = {0: None, 2: (queries, keys), 4: (batch, 1, queries, keys)}[axes]
    mask = None if shape is None else torch.rand(shape, generator=generator) < 0.6
    got = PrefixAttention(attention, prefix)(x, memory, mask)

    def in_heads(y: Tensor) -> Tensor:
        return y.reshape(*y.shape[:2], heads, dim).transpose(1, 2)  # (batch, heads, positions, dim)

    k = torch.cat([prefix.keys.expand(batch, -1, -1), attention.key(memory)], dim=1)
    v = torch.cat([prefix.values.expand(batch, -1, -1), attention.value(memory)], dim=1)
    wide = None if mask is None else torch.nn.functional.pad(mask, (length, 0), value=True)
    out = nn.functional.scaled_dot_product_attention(
        in_heads(attention.query(x)), in_heads(k), in_heads(v), attn_mask=wide
    )
    expected = attention.output(out.transpose(1, 2).reshape(batch, queries, width))
    close(got, expected, FORWARD[dtype])
    upstream = torch.randn(got.shape, generator=generator, dtype=dtype)
    wanted = [prefix.keys, prefix.values, attention.key.weight]
    for one, other in zip(
        torch.autograd.grad(got, wanted, upstream),
        torch.autograd.grad(expected, wanted, upstream),
        strict=True,
    ):
        close(one, other, GRADIENT[dtype])


def test_a_prefix_opens_no_leak() -> None:
    attention = PrefixAttention(MaskedMultiHeadAttention(6, 2), PrefixKV(3, 6, 2, std=1.0)).double()
    x, mask = torch.randn(2, 5, 6, dtype=torch.float64), torch.ones(5, 5).tril().bool()
    assert not leak_test(lambda y: attention(y, y, mask), x, mask).any()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one number"):
        Adapter(4, 0, "relu")
    with pytest.raises(ValueError, match="no activation"):
        Adapter(4, 2, "softmaxx")
    with pytest.raises(ValueError, match="2 heads do not divide a width of 3"):
        PrefixKV(4, 3, 2, std=0.02)


# --- the figure, and the numbers that the chapter shows


def measured() -> dict[str, Any]:
    return json.loads(
        files("attention_from_scratch.data_files").joinpath("methods_cpu.json").read_text("utf-8")
    )


def test_the_committed_results_say_where_they_come_from_and_are_complete() -> None:
    result = measured()
    assert result["command"].startswith("course bench methods --reviews ")
    assert {"processor", "cores", "system"} <= result["machine"].keys()
    assert {"python", "torch", "numpy"} <= result["versions"].keys()
    seeds = {
        method: sorted(c["seed"] for c in result["cells"] if c["method"] == method) for method in METHODS
    }
    assert all(len(some) >= 3 and some == list(range(len(some))) for some in seeds.values()), seeds
    for cell in result["cells"]:
        rates = [c for c in result["search"] if c["method"] == cell["method"]]
        best = max(rates, key=lambda c: (c["validation_macro_f1"], -c["learning_rate"]))
        assert cell["learning_rate"] == best["learning_rate"]
        assert cell["test"]["low"] <= cell["test"]["macro_f1"] <= cell["test"]["high"]
        if cell["seed"] == 0:
            assert cell["memory"]["peak_growth_bytes"] > cell["gradient_bytes"] + cell["optimizer_bytes"]
    assert not any(word in json.dumps(result) for word in ("/work", "/tmp", "/home", "hostname"))


def test_the_committed_numbers_of_parameters_are_those_of_the_library() -> None:
    """MiniLM: 6 layers of width 384, a head of 2 classes, 22.6 million numbers in all."""
    head, layers, width = 2 * 384 + 2, 6, 384
    expected = {
        "head": head,
        "adapter": head + layers * 2 * (2 * width * 8 + 8 + width),
        "prefix": head + layers * 2 * 16 * width,
        "lora": head + layers * 2 * 8 * 2 * width,
        "adalora": head + layers * 2 * 12 * (2 * width + 1),
    }
    for cell in measured()["cells"]:
        if cell["method"] == "full":
            assert cell["parameters"] > 22_000_000
        else:
            assert cell["parameters"] == expected[cell["method"]]
            assert cell["gradient_bytes"] == 4 * cell["parameters"]
        if cell["method"] == "adalora":
            assert sum(cell["kept"].values()) == layers * 2 * 8


def test_the_figure_carries_every_number_and_refuses_gaps() -> None:
    costs = {"numbers": {"full": 100.0, "lora": 3.0}, "seconds": {"full": 2.0, "lora": 1.5}}
    scores = {"full": [0.7, 0.8], "lora": [0.75]}
    intervals = {"full": (0.6, 0.85), "lora": (0.65, 0.8)}
    draw = figures.parameter_efficient.trade_off
    html = draw(costs, scores, intervals)._repr_html_()
    assert '"scores":[[0.7,0.8],[0.75]]' in html
    assert '"intervals":[[0.6,0.85],[0.65,0.8]]' in html
    assert '{"name":"seconds","prices":[2.0,1.5]}' in html
    with pytest.raises(ValueError, match="seconds: lora"):
        draw(costs | {"seconds": {"full": 2.0}}, scores, intervals)
    with pytest.raises(ValueError, match="must be positive"):
        draw(costs | {"seconds": {"full": 0.0, "lora": 1.0}}, scores, intervals)
    with pytest.raises(ValueError, match="at least one seed"):
        draw(costs, scores | {"lora": []}, intervals)
    with pytest.raises(ValueError, match="lora has either no interval"):
        draw(costs, scores, {"full": (0.6, 0.85)})
