"""A whole model in 8 bits, PyTorch's int8 kernels for the same levels, and `course bench inference` on a tiny run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from attention_from_scratch.bert import BertEncoder
from attention_from_scratch.finetune_model import Classifier
from attention_from_scratch.inference import QuantizedLinear, quantize_int8
from attention_from_scratch.inference_int8 import (
    ENGINES,
    KernelLinear,
    QuantizedEmbedding,
    file_size,
    quantized_copy,
    with_kernels,
)

needs_kernels = pytest.mark.skipif(
    not set(ENGINES) & set(torch.backends.quantized.supported_engines),
    reason="no int8 kernels in this PyTorch",
)


def classifier() -> Classifier:
    """A small one with random weights."""
    torch.manual_seed(0)
    encoder = BertEncoder(300, 40, 2, 2, 32, 2, 64, 0.1, 1e-12, "gelu")
    return Classifier(encoder, 3, 0.1).eval()


def texts() -> tuple[torch.Tensor, torch.Tensor]:
    """Three texts of different lengths."""
    tokens = torch.randint(1, 300, (3, 9), generator=torch.Generator().manual_seed(1))
    return tokens, torch.arange(9) < torch.tensor([[9], [4], [6]])


def test_a_quantized_embedding_gives_the_rounded_rows() -> None:
    torch.manual_seed(0)
    table = nn.Embedding(11, 5)
    levels, scale = quantize_int8(table.weight)
    tokens = torch.tensor([[3, 0, 10], [3, 3, 7]])
    torch.testing.assert_close(QuantizedEmbedding(table)(tokens), (levels * scale[:, None])[tokens])


def test_a_quantized_copy_is_small_and_leaves_the_model_alone(tmp_path: Path) -> None:
    model, (tokens, mask) = classifier(), texts()
    before = model(tokens, mask).detach()
    small = quantized_copy(model, ["encoder.embeddings.word"])
    assert torch.equal(model(tokens, mask), before)
    assert isinstance(model.head, nn.Linear)
    after = small(tokens, mask).detach()
    assert 0 < (after - before).norm() / before.norm() < 0.05
    sizes = [file_size(m, tmp_path / "weights") for m in (model, quantized_copy(model, []), small)]
    assert sizes[2] < sizes[1] < sizes[0]
    other = quantized_copy(classifier().requires_grad_(False), ["encoder.embeddings.word"])
    other.load_state_dict(small.state_dict())
    torch.testing.assert_close(other(tokens, mask), after)


def test_what_is_no_embedding_is_refused() -> None:
    with pytest.raises(ValueError, match="not an embedding"):
        quantized_copy(classifier(), ["encoder.embeddings.norm"])


@needs_kernels
@pytest.mark.parametrize("bias", [True, False])
def test_the_kernel_multiplies_our_levels(bias: bool) -> None:
    torch.manual_seed(0)
    layer, x = QuantizedLinear(nn.Linear(48, 24, bias=bias)), torch.randn(2, 5, 48)
    exact = layer(x)
    # the input in 7 bits: a step is 1/127 of its range, about 6 here, so the error is some hundredths of the result
    error = (KernelLinear(layer, reduce_range=True)(x) - exact).norm() / exact.norm()
    assert 0 < error < 0.04
    # inputs that are whole numbers of 7 bits, of a range that makes the step 1, need no rounding
    whole = torch.randint(0, 128, (4, 48)).float()
    whole[0, 0], whole[0, 1] = 0.0, 127.0
    torch.testing.assert_close(
        KernelLinear(layer, reduce_range=True)(whole), layer(whole), rtol=1e-4, atol=1e-3
    )


@needs_kernels
def test_a_model_with_kernels_answers_nearly_the_same() -> None:
    model, (tokens, mask) = classifier(), texts()
    small = quantized_copy(model, [])
    fast = with_kernels(small, reduce_range=True)
    assert any(isinstance(layer, KernelLinear) for layer in fast.modules())
    assert not any(isinstance(layer, KernelLinear) for layer in small.modules())
    before = model(tokens, mask).detach()
    assert 0 < (fast(tokens, mask) - before).norm() / before.norm() < 0.1


@needs_kernels
def test_the_benchmark_measures_a_run_of_course_finetune(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from coursebuild.cli import main

    data = tmp_path / "data.csv"
    rows = [
        f"a {w} film number {i},{label}"
        for i in range(60)
        for w, label in (("fine", "good"), ("dull", "bad"))
    ]
    data.write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    run, found = tmp_path / "run", tmp_path / "bench.json"
    options = ["--data", str(data), "--model", "tiny", "--seeds", "0", "--epochs", "20", "--patience", "20"]
    options += ["--batch", "8", "--learning-rate", "0.02", "--dropout", "0", "--skip-random"]
    assert main(["finetune", *options, "--output", str(run)]) == 0
    threads = torch.get_num_threads()
    try:
        assert main(["bench", "inference", "--run", str(run / "seed-0"), "--json", str(found)]) == 0
    finally:
        torch.set_num_threads(threads)
    result = json.loads(found.read_text(encoding="utf-8"))
    assert str(tmp_path) not in json.dumps(result)
    cells = result["cells"]
    assert list(cells) == list(result["forms"])
    assert cells["float32"]["changed"] == 0
    assert (
        cells["int8 weights and words"]["bytes"] < cells["int8 weights"]["bytes"] < cells["float32"]["bytes"]
    )
    assert cells["float32"]["macro_f1"] > 0.9
    for cell in cells.values():
        assert 0 <= cell["low"] <= cell["macro_f1"] <= cell["high"] <= 1
        assert cell["to_right"] + cell["to_wrong"] <= cell["changed"]
    for by_form in result["latency"].values():
        for time in by_form.values():
            assert 0 < time["low"] <= time["p50"] <= min(time["high"], time["p95"])
    assert "macro-F1" in capsys.readouterr().out
    data.write_text(data.read_text().replace("dull", "grey"), encoding="utf-8")
    assert main(["bench", "inference", "--run", str(run / "seed-0")]) != 0
    assert "not those of the run any more" in capsys.readouterr().err
