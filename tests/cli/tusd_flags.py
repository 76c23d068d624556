"""The flags of tusd 2.10: group, name, type, default, as its documentation has them; durations in seconds."""

from __future__ import annotations

DEFAULT_EVENTS = "pre-create,post-create,post-receive,post-terminate,post-finish"

GROUPS: dict[str, tuple[tuple[str, str, object], ...]] = {
    "Listening options": (
        ("host", "str", "0.0.0.0"),  # noqa: S104 -- tusd's default
        ("port", "str", "8080"),
        ("unix-sock", "str", ""),
        ("base-path", "str", "/files/"),
        ("behind-proxy", "bool", False),
        ("enable-h2c", "bool", False),
    ),
    "TLS options": (
        ("tls-certificate", "str", ""),
        ("tls-key", "str", ""),
        ("tls-mode", "str", "tls12"),
    ),
    "Upload protocol options": (
        ("enable-experimental-protocol", "bool", False),
        ("disable-download", "bool", False),
        ("disable-termination", "bool", False),
        ("disable-concatenation", "bool", False),
        ("max-size", "int64", 0),
    ),
    "CORS options": (
        ("disable-cors", "bool", False),
        ("cors-allow-origin", "str", ".*"),
        ("cors-allow-credentials", "bool", False),
        ("cors-allow-methods", "str", ""),
        ("cors-allow-headers", "str", ""),
        ("cors-max-age", "str", "86400"),
        ("cors-expose-headers", "str", ""),
    ),
    "File storage options": (
        ("upload-dir", "str", "./data"),
        ("filelock-holder-poll-interval", "dur", 5),
        ("filelock-acquirer-poll-interval", "dur", 2),
        ("dir-perms", "oct", 0o775),
        ("file-perms", "oct", 0o664),
    ),
    "AWS S3 storage options": (
        ("s3-bucket", "str", ""),
        ("s3-object-prefix", "str", ""),
        ("s3-endpoint", "str", ""),
        ("s3-part-size", "int64", 52428800),
        ("s3-min-part-size", "int64", 5242880),
        ("s3-max-buffered-parts", "int64", 20),
        ("s3-disable-content-hashes", "bool", False),
        ("s3-disable-ssl", "bool", False),
        ("s3-concurrent-part-uploads", "int", 10),
        ("s3-transfer-acceleration", "bool", False),
        ("s3-log-api-calls", "bool", False),
    ),
    "Google Cloud Storage options": (
        ("gcs-bucket", "str", ""),
        ("gcs-object-prefix", "str", ""),
        ("gcs-endpoint", "str", ""),
    ),
    "Azure Storage options": (
        ("azure-storage", "str", ""),
        ("azure-container-access-type", "str", ""),
        ("azure-blob-access-tier", "str", ""),
        ("azure-object-prefix", "str", ""),
        ("azure-endpoint", "str", ""),
    ),
    "General hook options": (
        ("hooks-enabled-events", "str", DEFAULT_EVENTS),
        ("progress-hooks-interval", "dur", 1),
    ),
    "File hook options": (("hooks-dir", "str", ""),),
    "HTTP hook options": (
        ("hooks-http", "str", ""),
        ("hooks-http-forward-headers", "str", ""),
        ("hooks-http-retry", "int", 3),
        ("hooks-http-backoff", "dur", 1),
        ("hooks-http-timeout", "dur", 15),
        ("hooks-http-size-limit", "int64", 5120),
        ("hooks-http-skip-verify", "bool", False),
    ),
    "gRPC hook options": (
        ("hooks-grpc", "str", ""),
        ("hooks-grpc-retry", "int", 3),
        ("hooks-grpc-backoff", "dur", 1),
        ("hooks-grpc-secure", "bool", False),
        ("hooks-grpc-server-tls-certificate", "str", ""),
        ("hooks-grpc-client-tls-certificate", "str", ""),
        ("hooks-grpc-client-tls-key", "str", ""),
        ("hooks-grpc-forward-headers", "str", ""),
    ),
    "Plugin hook options": (("hooks-plugin", "str", ""),),
    "Monitoring, profiling, logging options": (
        ("expose-metrics", "bool", True),
        ("metrics-path", "str", "/metrics"),
        ("expose-pprof", "bool", False),
        ("pprof-path", "str", "/debug/pprof/"),
        ("pprof-block-profile-rate", "int", 0),
        ("pprof-mutex-profile-rate", "int", 0),
        ("show-greeting", "bool", True),
        ("version", "bool", False),
        ("verbose", "bool", True),
        ("show-startup-logs", "bool", True),
        ("log-format", "str", "text"),
    ),
    "Timeout options": (
        ("network-timeout", "dur", 60),
        ("shutdown-timeout", "dur", 10),
        ("acquire-lock-timeout", "dur", 20),
        ("request-completion-timeout", "dur", 10),
    ),
}

FLAGS = [flag for flags in GROUPS.values() for flag in flags]

TYPES: dict[str, tuple[tuple[str, object], str]] = {
    "str": (("a=b", "a=b"), ""),
    "bool": (("F", False), "maybe"),
    "int": (("0x10", 16), "1e9"),
    "int64": (("010", 8), "9223372036854775808"),
    "dur": (("1m30s", 90), "2"),
    "oct": (("0700", 0o700), "0o700"),
}
"""A value of each type and what it is read as, and a text that is none; every text is a string."""

NOT_OFFERED = {
    "enable-experimental-protocol": "true",
    **{name: "other" for name, kind, _ in FLAGS if kind == "str" and name.startswith(("s3-", "gcs-", "azure-"))},
    **{name: "7" for name, kind, _ in FLAGS if kind.startswith("int") and name.startswith(("s3-", "pprof-"))},
    **{name: "true" for name, kind, _ in FLAGS if kind == "bool" and name.startswith("s3-")},
    "expose-pprof": "true",
    "pprof-path": "/pprof/",
    "hooks-plugin": "./plugin",
}
"""What is refused at start, with a value that is not the default."""
