"""Where Redis is, as an operator writes it: one server, or the Sentinels that know which of several is the master."""

from __future__ import annotations

from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from redis.asyncio import Redis, Sentinel
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as NotConnected

_SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
_FORMS = (
    "redis://host:6379/0, rediss://host:6379/0, unix:///path?db=0 or redis+sentinel://host:26379,host:26379/master/0"
)


def client_of(url: str, *, timeout: float, **options: Any) -> Redis:
    """A client, not connected yet, that waits `timeout` seconds for each word of the server.

    What is refused (ValueError) is said without the URL, which may hold a password.
    """
    try:
        return _client_of(url, timeout, options)
    except ValueError:
        raise ValueError(f"redis_url must be like {_FORMS}") from None


async def close(client: Redis) -> None:
    """Close its connections, and those to Sentinels, which the library leaves open."""
    await client.aclose()
    pool = client.connection_pool
    if isinstance(pool, SentinelConnectionPool):
        for sentinel in pool.sentinel_manager.sentinels:
            await sentinel.aclose()


def _client_of(url: str, timeout: float, options: dict[str, Any]) -> Redis:
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not (parts.netloc or parts.scheme == "unix"):
        raise ValueError
    options |= {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "socket_keepalive": True,
        # A connection that the server has closed meanwhile; everything we say may be said twice.
        "retry": Retry(NoBackoff(), 1, supported_errors=(NotConnected,)),
        "protocol": 2,
        "decode_responses": True,
    }
    if parts.scheme.endswith("+sentinel"):
        return _client_by_sentinels(parts, timeout, options)
    if parts.scheme == "unix":
        options.pop("socket_keepalive")
    return Redis.from_url(url, **options)


def _client_by_sentinels(parts: SplitResult, timeout: float, options: dict[str, Any]) -> Redis:
    """User and password are those of the Redis servers; `?sentinel_password=` is for the Sentinels."""
    user, _, places = parts.netloc.rpartition("@")
    name, _, database = parts.path.strip("/").partition("/")
    query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    if not name or not set(query) <= {"sentinel_username", "sentinel_password", "db"}:
        raise ValueError
    username, _, password = user.rpartition(":") if ":" in user else ("", "", user)
    options["ssl"] = parts.scheme == "rediss+sentinel"
    sentinel_options = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "username": query.get("sentinel_username"),
        "password": query.get("sentinel_password"),
        "protocol": 2,
        "retry": None,
        "ssl": options["ssl"],
    }
    sentinel: Any = Sentinel([_place(text) for text in places.split(",")], sentinel_kwargs=sentinel_options)  # type: ignore[no-untyped-call]
    client: Redis = sentinel.master_for(
        name,
        username=unquote(username) or None,
        password=unquote(password) or None,
        db=int(database or query.get("db", "0")),
        **options,
    )
    return client


def _place(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError
    return parts.hostname, parts.port or 26379
