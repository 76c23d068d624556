"""What a test says about itself: the level of its requirement, the requirements it covers, what it needs."""

from __future__ import annotations

import pytest

must = pytest.mark.must
should = pytest.mark.should
may = pytest.mark.may
implied = pytest.mark.implied

LEVELS = {
    "must": "the specification says MUST",
    "should": "the specification says SHOULD",
    "may": "the specification says MAY, and this is how it looks when a server does it",
    "implied": "not written in the specification, but following from it, or needed by the clients in use",
}


def covers(*identifiers: str) -> pytest.MarkDecorator:
    """The requirements that a test covers, when they are more than the one in its name."""
    return pytest.mark.covers(*identifiers)


def needs(*extensions: str) -> pytest.MarkDecorator:
    """The extensions without which a test is skipped."""
    return pytest.mark.needs(*extensions)
