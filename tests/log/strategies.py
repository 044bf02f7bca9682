"""Hypothesis strategies for any type that msgspec can decode, bounds included."""

from datetime import UTC
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
"""JSON has no NaN and no infinity: msgspec writes null for them."""


def messages(member: type) -> st.SearchStrategy[Any]:
    """Values of a struct, built through its constructor as the code does."""
    return _strategy(inspect.type_info(member))


def _strategy(info: inspect.Type) -> st.SearchStrategy[Any]:
    match info:
        case inspect.StructType():
            return st.builds(info.cls, **{field.name: _field(field) for field in info.fields})
        case inspect.UnionType(types=types):
            return st.one_of([_strategy(member) for member in types])
        case inspect.Metadata(type=inner):
            return _strategy(inner)
        case inspect.LiteralType(values=values):
            return st.sampled_from(values)
        case inspect.VarTupleType(item_type=item):
            return st.lists(_strategy(item), min_size=info.min_length or 0, max_size=3).map(tuple)
        case inspect.IntType():
            return st.integers(info.ge if info.ge is not None else -(2**53), info.le or 2**53)
        case inspect.StrType():
            return _text(info)
        case _:
            return _LEAVES[type(info)]


def _field(field: inspect.Field) -> st.SearchStrategy[Any]:
    if field.default is msgspec.NODEFAULT:
        return _strategy(field.type)
    return st.just(field.default) | _strategy(field.type)


def _text(info: inspect.StrType) -> st.SearchStrategy[str]:
    if info.pattern:
        return st.from_regex(info.pattern, fullmatch=True).filter(
            lambda text: len(text) <= (info.max_length or 99) and not text.endswith("\n")
        )
    return TEXT.map(lambda text: text[: info.max_length]).filter(
        lambda text: len(text) >= (info.min_length or 0)
    )


_LEAVES: dict[type, st.SearchStrategy[Any]] = {
    inspect.NoneType: st.none(),
    inspect.BoolType: st.booleans(),
    inspect.FloatType: FLOATS,
    inspect.DateTimeType: st.datetimes(timezones=st.just(UTC)),
}
