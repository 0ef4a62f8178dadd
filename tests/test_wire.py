"""The codec: what goes in comes out, and nothing but plain values comes out of whatever bytes."""

from __future__ import annotations

import contextlib
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder import wire
from autograder.student import BadReply, LocalStudent, StudentError
from autograder.wire_arrays import TORCH_DTYPES

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(values)
@settings(max_examples=150, deadline=None)
def test_plain_values_come_back(value: object) -> None:
    try:
        message = wire.encode(value)
    except wire.WireError:
        return
    back = wire.decode(message)
    assert back == value
    assert repr(back) == repr(value), "types too"


@pytest.mark.parametrize("name", TORCH_DTYPES)
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_tensors_of_every_dtype(name: str, shape: tuple[int, ...]) -> None:
    tensor = (torch.rand(shape, dtype=torch.float64) * 2).to(TORCH_DTYPES[name])
    back = wire.decode(wire.encode(tensor))
    assert back.dtype == tensor.dtype
    assert back.shape == tensor.shape
    assert wire.encode(back) == wire.encode(tensor)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_special_numbers(value: float) -> None:
    assert repr(wire.decode(wire.encode(value))) == repr(value)
    assert repr(wire.decode(wire.encode(np.float32(value)))) == repr(np.float32(value))


def test_layout_survives_on_the_way_in() -> None:
    student = LocalStudent({"look": lambda x: (list(x.stride()), x.storage_offset(), x.requires_grad)})
    tensor = torch.zeros(4, 6)[1:, ::2].t().requires_grad_()
    assert student.look(tensor) == ([2, 6], 1, True)
    strides = LocalStudent({"look": lambda x: list(x.strides)})
    assert strides.look(np.zeros((3, 4))[:, ::2]) == [32, 16]


def test_one_number_with_a_wide_stride() -> None:
    """A column of one row counts as contiguous whatever its stride is, and cannot be read as bytes as it stands."""
    tensor = torch.arange(1.0, 13.0).reshape(3, 4)[:1, 2]
    assert tensor.stride() == (4,)
    assert torch.equal(wire.decode(wire.encode(tensor)), torch.tensor([3.0]))
    assert LocalStudent({"look": lambda x: x.tolist()}).look(tensor) == [3.0]


def test_a_slice_does_not_carry_its_neighbours() -> None:
    both = torch.tensor([1.0, 2.0, 3.0, 12345.0])
    assert np.float32(12345.0).tobytes() not in wire.encode(both[:2], inbound=True)
    assert np.float32(1.0).tobytes() not in wire.encode(both[2:], inbound=True)


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_refused_or_plain(message: bytes) -> None:
    with contextlib.suppress(wire.WireError):
        wire.decode(message)


def _message(tree: object, *blobs: bytes) -> bytes:
    text = json.dumps(tree).encode()
    sizes = b"".join(len(blob).to_bytes(8, "little") for blob in blobs)
    return len(text).to_bytes(4, "little") + len(blobs).to_bytes(4, "little") + sizes + text + b"".join(blobs)


@pytest.mark.parametrize(
    "tree",
    [
        ["T", "float32", [10**9, 10**9], 0],
        ["T", "float32", [-1], 0],
        ["T", "float32", [2], 0],
        ["T", "float32", [True], 0],
        ["T", "object", [1], 0],
        ["T", "float32", [1] * 40, 0],
        ["T", "float32", [1], 7],
        ["S", "float32", [1], [1], 0, False, 0],
        ["A", "object", [1], None, 0],
        ["A", "float64", [10**6], [0], 0],
        ["c", 0],
        ["h", 0],
        ["g", "torch", 1],
        ["f", "1"],
        ["?"],
        [],
        {"a": 1},
        ["d", [1]],
        ["d", [["l"], 1]],
        ["l", ["l"] * 200_000],
        ["d", *([k, 0] for k in range(5000))],
        ["d", [2**61 - 1 << 10, 0]],
        ["d", [["t", *([-1] * 40)], 0]],
        ["d", [["t", ["t", -1, -2]], 0]],
    ],
)
def test_what_the_judge_refuses(tree: object) -> None:
    with pytest.raises(wire.WireError):
        wire.decode(_message(tree, b"\0\0\0\0"))


def test_depth_is_bounded() -> None:
    deep: object = 1
    for _ in range(100):
        deep = ["l", deep]
    with pytest.raises(wire.WireError):
        wire.decode(_message(deep))


def test_handles_gradients_and_errors() -> None:
    source = "import torch\nclass Layer(torch.nn.Linear):\n    pass\n"
    source += "def square(x): return x * x\ndef bad(): raise KeyError('x')\n"
    names: dict[str, object] = {}
    exec(source, names)
    student = LocalStudent(names)
    layer = student.Layer(2, 3)
    layer.load_state_dict({"weight": torch.ones(3, 2), "bias": torch.zeros(3)})
    value, grads, named = layer.gradients(torch.tensor([[1.0, 2.0]]))
    assert value.tolist() == [[3.0, 3.0, 3.0]]
    assert grads[0].tolist() == [[3.0, 3.0]]
    assert named["weight"].tolist() == [[1.0, 2.0]] * 3
    assert student.gradients("square", torch.tensor([3.0]))[1][0].item() == 6.0
    with pytest.raises(StudentError) as caught:
        student.bad()
    assert caught.value.kinds[:2] == ("KeyError", "LookupError")
    with pytest.raises(StudentError, match="Missing"):
        student.nothing()


def test_a_test_s_function_is_called_back() -> None:
    student = LocalStudent({"apply": lambda f, x: f(x, scale=2)})
    assert student.apply(lambda x, scale: x * scale, torch.ones(2)).tolist() == [2.0, 2.0]

    def demand(x: object, scale: int) -> None:
        raise AssertionError("not like this")

    with pytest.raises(AssertionError, match="not like this"):
        student.apply(demand, 1)


def test_an_object_inside_a_list_is_refused() -> None:
    student = LocalStudent({"f": lambda: [object()]})
    with pytest.raises(BadReply):
        student.f()


def test_settings_of_the_process_are_put_back() -> None:
    def spoil() -> None:
        torch.set_default_dtype(torch.float16)
        torch.manual_seed(5)

    state = torch.random.get_rng_state()
    LocalStudent({"spoil": spoil}).spoil()
    assert torch.get_default_dtype() == torch.float32
    assert torch.equal(state, torch.random.get_rng_state())
