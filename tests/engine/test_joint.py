"""What the service and a child share, where there are not enough descriptors for it."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from umd.engine.joint import Joint
from umd.errors import EngineError

LIMIT = 256


def taken() -> Iterator[int]:
    """Every descriptor that is to be had."""
    with suppress(OSError):
        while True:
            yield os.open(os.devnull, os.O_RDONLY)


@contextmanager
def free(count: int) -> Iterator[None]:
    """No more than so many descriptors are to be had."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, hard))
    held = list(taken())
    try:
        for descriptor in held[:count]:
            os.close(descriptor)
        yield
    finally:
        for descriptor in held[count:]:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("count", range(6))
def test_what_cannot_be_had_whole_is_not_held_in_part(count: int) -> None:
    with free(count):
        with pytest.raises(EngineError, match="No process can be made"):
            Joint()
        left = list(taken())
        for descriptor in left:
            os.close(descriptor)

    assert len(left) == count


def test_six_descriptors_do() -> None:
    with free(6):
        joint = Joint()
        joint.close()
        joint.close_ends()
        left = list(taken())
        for descriptor in left:
            os.close(descriptor)

    assert len(left) == 6
