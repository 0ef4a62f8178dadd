"""Answers that nobody thought about are worth nothing, in every exercise of every chapter.

Each exercise is handed in by someone who has the reference solution's shapes and none of its numbers: None, zeros,
ones, NaN, the first argument, an object that equals everything, an error whatever comes. A hidden test that passes on
one of these asks for a shape, a dtype or an unchanged input without asking for the numbers: end it with
`presupposes(got, expected)` of `autograder.testing`.

A test that asks for an error should also make a call that must work, or whoever raises it always passes. One
allowance: a class is handed in with its honest constructor, so a test of an error that the constructor raises may pass.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from autograder.killmatrix import chapters, namespace_with, reference_variant
from autograder.student import LocalStudent
from autograder.testing import exercises_of, load, run_test

EXERCISES = [
    pytest.param(slug, name, id=f"{slug}-{name}") for slug in chapters() for name in exercises_of(load(slug))
]


class EqualToAll:
    """Every comparison is true, and it is its own shape, sum and transpose."""

    def __eq__(self, other: object) -> bool:
        return True

    __le__ = __ge__ = __lt__ = __gt__ = __eq__
    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        return True

    def __getattr__(self, name: str) -> EqualToAll:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *args: object, **kwargs: object) -> EqualToAll:
        return self


def filled(value: Any, number: float) -> Any:
    """The same structure, shapes and dtypes, with one number everywhere (NaN makes whole numbers floats).

    A text becomes the number's digits.
    """
    if isinstance(value, str):
        return f"{number:g}"
    if isinstance(value, torch.Tensor):
        dtype = (
            torch.get_default_dtype() if number != number and not value.is_floating_point() else value.dtype
        )
        made = torch.full(value.shape, number, dtype=dtype)
        return made + 0 * value if value.requires_grad and value.is_floating_point() else made
    if isinstance(value, np.ndarray | np.generic):
        floating = np.issubdtype(value.dtype, np.inexact)
        made = np.full(
            np.shape(value), number, np.float64 if number != number and not floating else value.dtype
        )
        return made if isinstance(value, np.ndarray) else made[()]
    if isinstance(value, dict):
        return {key: filled(item, number) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [filled(item, number) for item in value]
        return tuple(items) if isinstance(value, tuple) else items
    if isinstance(value, bool | int | float):
        return number if number != number else type(value)(number)
    return value


def first_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The first argument that is handed in."""
    return next(iter([*args, *kwargs.values()]), None)


Answer = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


def _always_raises(honest: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    raise ValueError("whatever you ask")


ANSWERS: dict[str, Answer] = {
    "none": lambda honest, args, kwargs: None,
    "zeros": lambda honest, args, kwargs: filled(honest(*args, **kwargs), 0.0),
    "ones": lambda honest, args, kwargs: filled(honest(*args, **kwargs), 1.0),
    "nan": lambda honest, args, kwargs: filled(honest(*args, **kwargs), float("nan")),
    "first_argument": lambda honest, args, kwargs: first_of(args, kwargs),
    "equal_to_all": lambda honest, args, kwargs: EqualToAll(),
    "always_raises": _always_raises,
}


def dishonest_function(honest: Callable[..., Any], answer: Answer) -> Callable[..., Any]:
    """A function with the same name that answers without thinking."""

    @functools.wraps(honest)
    def function(*args: Any, **kwargs: Any) -> Any:
        return answer(quietly(honest), args, kwargs)

    return function


def quietly(honest: Callable[..., Any]) -> Callable[..., Any]:
    """The same without its errors: who answers without thinking checks nothing either.

    It works on a copy of a model: what an honest function does to a model in place must not be left behind.
    """

    def apart(value: Any) -> Any:
        return copy.deepcopy(value) if isinstance(value, torch.nn.Module) else value

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return honest(*map(apart, args), **{name: apart(value) for name, value in kwargs.items()})
        except Exception:
            return None

    return call


def dishonest_class(honest: type, answer: Answer) -> type:
    """A class with an honest constructor, so that it has the right parameters, and thoughtless methods."""
    methods: dict[str, Any] = {}
    ours = [
        cls for cls in honest.__mro__ if cls.__module__.startswith(("variant_of_", "attention_from_scratch"))
    ]
    for cls in reversed(ours):
        for name, member in vars(cls).items():
            if inspect.isfunction(member) and (not name.startswith("_") or name == "__call__"):
                methods[name] = _dishonest_method(member, answer)
            elif isinstance(member, staticmethod) and not name.startswith("_"):
                methods[name] = staticmethod(dishonest_function(member.__func__, answer))
    return type(honest.__name__, (honest,), methods)


def _dishonest_method(honest: Callable[..., Any], answer: Answer) -> Callable[..., Any]:
    @functools.wraps(honest)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return answer(quietly(functools.partial(honest, self)), args, kwargs)

    return method


class IdleKernel:
    """A GPU kernel whose programs do nothing."""

    def __getitem__(self, grid: object) -> Callable[..., None]:
        return lambda *args, **kwargs: None


def dishonest(honest: Any, answer: Answer) -> list[Any]:
    """What is handed in for a name: a function; for a class also something that makes no object at all."""
    if hasattr(honest, "__getitem__"):
        return [IdleKernel()]
    if not isinstance(honest, type):
        return [dishonest_function(honest, answer)]
    return [dishonest_class(honest, answer), dishonest_function(lambda *args, **kwargs: None, answer)]


@pytest.mark.parametrize(("slug", "name"), EXERCISES)
def test_thoughtless_answers_earn_nothing(slug: str, name: str) -> None:
    exercise = exercises_of(load(slug))[name]
    source = reference_variant(slug, name).body
    assert source is not None
    earned = []
    for label, answer in ANSWERS.items():
        seed = hashlib.blake2b(f"{slug}.{name}.{label}".encode()).digest()
        honest = namespace_with(slug, name, source)
        for thing in dishonest(honest[name], answer):
            honest[name] = thing  # in place: the chapter's own code, a launcher say, calls it too
            student = LocalStudent(honest)
            for test in exercise.tests:
                if isinstance(thing, type) and "raises(" in inspect.getsource(test.body):
                    continue
                if run_test(exercise, test, student, seed)[0].passed:
                    earned.append(f"{label} passes {test.name} ({test.points:g} points)")
    assert not earned, f"{slug}.{name}: " + "; ".join(earned)
