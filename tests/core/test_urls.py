"""What people get to see of a URL."""

import pytest

from tusd_py.core.urls import shown_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://user:secret@host:6379/0", "redis://host:6379/0"),
        ("redis://:sec@ret@host/1?password=secret#secret", "redis://host/1"),
        ("unix://user:secret@/run/redis.sock?db=1&password=secret", "unix:///run/redis.sock"),
        ("redis+sentinel://:secret@a:1,b:2/main/0?sentinel_password=secret", "redis+sentinel://a:1,b:2/main/0"),
    ],
)
def test_a_shown_url_has_no_password(url: str, shown: str) -> None:
    assert shown_url(url) == shown
