"""Chapter 14's methods on a tiny classifier, and what they trained as a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from attention_from_scratch import finetune_efficient
from attention_from_scratch.bert import BertEncoder
from attention_from_scratch.fine_tuning import adamw_groups
from attention_from_scratch.finetune_methods import (
    LEARNING_RATES,
    METHODS,
    prepare,
    trained_parameters,
    watch,
)
from attention_from_scratch.finetune_model import Classifier
from attention_from_scratch.finetune_settings import Settings
from attention_from_scratch.parameter_efficient import AdaLoRALinear, LoRALinear, adalora_budget
from attention_from_scratch.peft_files import AdapterFileError, load_adapter, save_adapter

LAYERS, WIDTH = 2, 24
EFFICIENT = ["adapter", "prefix", "lora", "adalora"]


def classifier(seed: int = 0, dropout: float = 0.0) -> Classifier:
    torch.manual_seed(seed)
    encoder = BertEncoder(
        tokens=50, positions=20, types=2, layers=LAYERS, width=WIDTH, heads=2, hidden=48, dropout=dropout,
        eps=1e-12, activation="gelu",
    )  # fmt: skip
    return Classifier(encoder, 2, dropout)


def batch(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(3, 50, (12, 9), generator=generator)
    lengths = torch.randint(3, 10, (12,), generator=generator)
    mask = torch.arange(9) < lengths[:, None]
    return tokens, mask, (tokens * mask).sum(dim=1) % 2  # a rule that the head alone cannot learn


def train(model: Classifier, method: str, steps: int, done: int = 0, total: int | None = None) -> list[float]:
    optimizer = torch.optim.AdamW(adamw_groups(model, 0.01), lr=1e-2)
    watch(model, method, optimizer, total or steps, done)
    losses = []
    tokens, mask, labels = batch()
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(tokens, mask), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def expected_count(method: str) -> int:
    """What each method trains, by hand: its own parameters, and the head."""
    bottleneck, prefix = finetune_efficient.BOTTLENECK, finetune_efficient.PREFIX
    of_a_layer = {
        "head": 0,
        "adapter": 2 * (2 * WIDTH * bottleneck + bottleneck + WIDTH),
        "prefix": 2 * prefix * WIDTH,
        "lora": 2 * finetune_efficient.RANK * 2 * WIDTH,
        "adalora": 2 * finetune_efficient.FIRST_RANK * (2 * WIDTH + 1),
    }
    return LAYERS * of_a_layer[method] + 2 * WIDTH + 2


@pytest.mark.parametrize("method", METHODS)
def test_a_method_trains_what_it_says_and_nothing_else(method: str) -> None:
    model = classifier()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    prepare(model, method)
    if method == "full":
        assert trained_parameters(model) == sum(p.numel() for p in before.values())
    else:
        assert trained_parameters(model) == expected_count(method)
    frozen = {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}
    trained = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    losses = train(model, method, steps=30)
    assert losses[-1] < losses[0] - (0.01 if method == "head" else 0.05), losses
    after = dict(model.named_parameters())
    assert all(torch.equal(after[name], value) for name, value in frozen.items())
    # the last layer's first token type is read, the second is not: everything else must have moved
    still = [name for name, value in trained.items() if torch.equal(after[name], value)]
    assert not still, still


@pytest.mark.parametrize("method", ["head", "adapter", "lora", "adalora"])
def test_a_prepared_model_answers_as_before(method: str) -> None:
    model = classifier()
    tokens, mask, _ = batch()
    before = model(tokens, mask)
    prepare(model, method)
    model.eval()
    torch.testing.assert_close(model(tokens, mask), before, rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_padding_changes_nothing(method: str) -> None:
    model = classifier()
    prepare(model, method)
    train(model, method, steps=3)
    model.eval()
    tokens, mask, _ = batch()
    other = torch.where(mask, tokens, torch.full_like(tokens, 7))
    torch.testing.assert_close(model(other, mask), model(tokens, mask), rtol=0, atol=1e-6)


def test_unknown_methods_are_refused() -> None:
    with pytest.raises(ValueError, match="choose one of full, head, adapter, prefix, lora, adalora"):
        prepare(classifier(), "prompt")


def test_a_package_without_the_chapter_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(ValueError, match="built in chapter 14"):
        prepare(classifier(), "lora")


# --- AdaLoRA's budget


def test_adalora_ends_with_its_budget_and_keeps_its_bases_near_orthonormal() -> None:
    model = classifier()
    prepare(model, "adalora")
    layers = [module for module in model.modules() if isinstance(module, AdaLoRALinear)]
    train(model, "adalora", steps=40)
    kept = [int((layer.Lambda != 0).sum()) for layer in layers]
    assert sum(kept) == finetune_efficient.LAST_RANK * len(layers), kept
    assert all(layer.orthogonality() < 1.0 for layer in layers), [float(x.orthogonality()) for x in layers]


def test_the_budget_is_that_of_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    model = classifier()
    prepare(model, "adalora")
    layers = [module for module in model.modules() if isinstance(module, AdaLoRALinear)]
    initial, final = 12 * len(layers), 8 * len(layers)
    optimizer = torch.optim.AdamW(adamw_groups(model, 0.01), lr=1e-2)
    watch(model, "adalora", optimizer, 20, 0)
    tokens, mask, labels = batch()
    for step in range(1, 21):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(tokens, mask), labels).backward()
        optimizer.step()
        kept = sum(int((layer.Lambda != 0).sum()) for layer in layers)
        assert kept == adalora_budget(step, initial, final, warmup=4, cooldown=6, total=20), step


def test_a_resumed_run_goes_on_with_the_budget_of_its_step() -> None:
    whole, first = classifier(), classifier()
    for model in (whole, first):
        torch.manual_seed(1)
        prepare(model, "adalora")
    optimizers = [torch.optim.AdamW(adamw_groups(m, 0.01), lr=1e-2) for m in (whole, first)]
    for model, optimizer in zip((whole, first), optimizers, strict=True):
        watch(model, "adalora", optimizer, 20, 0)
    tokens, mask, labels = batch()

    def step(model: Classifier, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(tokens, mask), labels).backward()
        optimizer.step()

    for _ in range(9):
        step(first, optimizers[1])
    second = classifier()
    prepare(second, "adalora")
    second.load_state_dict(first.state_dict())
    resumed = torch.optim.AdamW(adamw_groups(second, 0.01), lr=1e-2)
    resumed.load_state_dict(optimizers[1].state_dict())
    watch(second, "adalora", resumed, 20, 9)
    for _ in range(20):
        step(whole, optimizers[0])
    for _ in range(11):
        step(second, resumed)
    state = second.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in whole.state_dict().items())


def test_the_penalty_is_a_gradient() -> None:
    """One plain step with a learning rate of 1 moves P and Q by the gradient of loss + γ · penalty."""
    model = classifier().double()
    prepare(model, "adalora")
    layer = next(module for module in model.modules() if isinstance(module, AdaLoRALinear))
    with torch.no_grad():
        layer.P += torch.randn(layer.P.shape, generator=torch.Generator().manual_seed(3)).double() / 9
    tokens, mask, labels = batch()
    others = [module for module in model.modules() if isinstance(module, AdaLoRALinear)]
    loss = nn.functional.cross_entropy(model(tokens, mask), labels) + finetune_efficient.ORTHOGONALITY * sum(
        one.orthogonality() for one in others
    )
    (expected,) = torch.autograd.grad(loss, [layer.P])
    expected = layer.P.detach() - expected
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    watch(model, "adalora", optimizer, 10, 0)
    nn.functional.cross_entropy(model(tokens, mask), labels).backward()
    optimizer.step()
    torch.testing.assert_close(layer.P.detach(), expected, rtol=0, atol=1e-12)


# --- files


@pytest.mark.parametrize("method", METHODS)
def test_a_file_brings_back_what_was_trained(method: str, tmp_path: Path) -> None:
    model = classifier()
    prepare(model, method)
    train(model, method, steps=5)
    size = save_adapter(model, tmp_path / "deep" / "adapter.safetensors", method)
    whole = sum(p.numel() * 4 for p in model.parameters())
    assert size == (tmp_path / "deep" / "adapter.safetensors").stat().st_size
    if method == "head":
        assert size < whole / 10
    if method != "full":
        assert size < 4 * trained_parameters(model) * (3 if method == "adalora" else 1) + 10_000
    other = classifier()
    prepare(other, method)
    load_adapter(other, tmp_path / "deep" / "adapter.safetensors", method)
    tokens, mask, _ = batch()
    assert torch.equal(other.eval()(tokens, mask), model.eval()(tokens, mask))


def saved(tmp_path: Path, method: str = "lora") -> Path:
    model = classifier()
    prepare(model, method)
    train(model, method, steps=2)
    file = tmp_path / "adapter.safetensors"
    save_adapter(model, file, method)
    return file


def refused(model: Classifier, file: Path, method: str, says: str) -> None:
    """Loading fails with these words, and the model is left as it was."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(AdapterFileError, match=says):
        load_adapter(model, file, method)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_another_base_is_refused(tmp_path: Path) -> None:
    other = classifier(seed=1)
    prepare(other, "lora")
    refused(other, saved(tmp_path), "lora", "other pretrained weights")
    one_number = classifier()
    with torch.no_grad():
        one_number.encoder.embeddings.word.weight[3, 3] += 1e-3
    prepare(one_number, "lora")
    refused(one_number, tmp_path / "adapter.safetensors", "lora", "other pretrained weights")


def test_another_method_is_refused(tmp_path: Path) -> None:
    model = classifier()
    prepare(model, "adapter")
    refused(model, saved(tmp_path), "adapter", "trained by the method 'lora'.*prepared for 'adapter'")
    refused(model, tmp_path / "adapter.safetensors", "lora", "are missing .*are unknown")


def test_other_shapes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = saved(tmp_path)
    monkeypatch.setattr(finetune_efficient, "RANK", 3)
    model = classifier()
    prepare(model, "lora")
    refused(model, file, "lora", r"has the shape \(8, 24\), and the model's has \(3, 24\)")


def test_a_broken_file_is_refused(tmp_path: Path) -> None:
    file = saved(tmp_path)
    model = classifier()
    prepare(model, "lora")
    refused(model, tmp_path / "none.safetensors", "lora", "there is no file")
    (tmp_path / "cut.safetensors").write_bytes(file.read_bytes()[:-100])
    refused(model, tmp_path / "cut.safetensors", "lora", "only a part of one")
    (tmp_path / "words.safetensors").write_text("not a tensor in it, and yet more than eight bytes")
    refused(model, tmp_path / "words.safetensors", "lora", "no safetensors file")
    from safetensors.torch import load_file, save_file

    tensors = load_file(file)
    save_file(tensors, tmp_path / "foreign.safetensors")
    refused(model, tmp_path / "foreign.safetensors", "lora", "not written by save_adapter")


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    model = classifier()
    prepare(model, "lora")
    with torch.no_grad():
        model.head.bias[0] = float("nan")
    save_adapter(model, tmp_path / "nan.safetensors", "lora")
    other = classifier()
    prepare(other, "lora")
    refused(other, tmp_path / "nan.safetensors", "lora", "head.bias holds NaN")


def test_a_merged_model_is_not_saved(tmp_path: Path) -> None:
    model = classifier()
    prepare(model, "lora")
    for module in model.modules():
        if isinstance(module, LoRALinear):
            module.merge()
    with pytest.raises(AdapterFileError, match="call unmerge"):
        save_adapter(model, tmp_path / "merged.safetensors", "lora")
    assert not (tmp_path / "merged.safetensors").exists()


def test_every_method_has_a_learning_rate_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`course finetune` without --learning-rate takes the method's; with one, that one."""
    from coursebuild import cli
    from coursebuild.commands import finetune

    told: list[Settings] = []
    monkeypatch.setattr(finetune, "run", lambda arguments: told.append(finetune._settings(arguments, 0)) or 0)
    for method in METHODS:
        arguments = [
            "finetune",
            "--data",
            "x.csv",
            "--model",
            "tiny",
            "--method",
            method,
            "--output",
            str(tmp_path),
        ]
        cli.main(arguments)
        cli.main([*arguments, "--learning-rate", "0.5"])
    rates = [settings.learning_rate for settings in told]
    assert rates == [rate for method in METHODS for rate in (LEARNING_RATES[method], 0.5)]
    assert LEARNING_RATES.keys() == METHODS.keys()
