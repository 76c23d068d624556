"""Every flag: first tusd's, in its groups and order, then those that tusd does not have."""

from __future__ import annotations

from collections.abc import Mapping

from tusd_py.cli.kinds import DURATION, INTEGER, MODE, TEXT, TRUTH, Flag, one_of
from tusd_py.pipeline.configured import CONCURRENCY

_FROM_DISK = "keep uploads in -upload-dir and let a post-finish hook bring finished ones there"
_PROFILER = "point a profiler such as py-spy at the process"

GROUPS: dict[str, tuple[Flag, ...]] = {
    "Listening options": (
        Flag("host", TEXT, "0.0.0.0", "Host to bind the HTTP server to"),  # noqa: S104 -- tusd's default
        Flag("port", TEXT, "8080", "Port to bind the HTTP server to; 0 takes a free one"),
        Flag("unix-sock", TEXT, "", "Listen on this UNIX socket instead of a TCP port"),
        Flag("base-path", TEXT, "/files/", "Path under which uploads are served"),
        Flag("behind-proxy", TRUTH, False, "Respect X-Forwarded-* and Forwarded headers of a proxy"),
        Flag("enable-h2c", TRUTH, False, "Accepted for tusd, with a warning; HTTP/1.1 is served"),
    ),
    "TLS options": (
        Flag("tls-certificate", TEXT, "", "File of the certificate and its chain, PEM; read again on SIGHUP"),
        Flag("tls-key", TEXT, "", "File of the certificate's key, PEM, not encrypted"),
        Flag("tls-mode", TEXT, "tls12", "tls12 (1.2 and 1.3), tls13 (only 1.3) or tls12-strong (only 1.2, AES-256)"),
    ),
    "Upload protocol options": (
        Flag("enable-experimental-protocol", TRUTH, False, instead="use tus 1.0, which every tus client speaks"),
        Flag("disable-download", TRUTH, False, "Do not let uploads be downloaded"),
        Flag("disable-termination", TRUTH, False, "Do not let uploads be terminated"),
        Flag("disable-concatenation", TRUTH, False, "Do not let uploads be concatenated"),
        Flag("max-size", INTEGER, 0, "Largest size of an upload in bytes; 0 means no limit"),
    ),
    "CORS options": (
        Flag("disable-cors", TRUTH, False, "Ignore the Origin header and send no CORS headers"),
        Flag("cors-allow-origin", TEXT, ".*", "Regular expression that is searched for in the origin"),
        Flag("cors-allow-credentials", TRUTH, False, "Send Access-Control-Allow-Credentials: true"),
        Flag("cors-allow-methods", TEXT, "", "Methods to allow beside the usual ones"),
        Flag("cors-allow-headers", TEXT, "", "Request headers to allow beside the usual ones"),
        Flag("cors-max-age", TEXT, "86400", "Seconds for which a preflight may be cached"),
        Flag("cors-expose-headers", TEXT, "", "Response headers to expose beside the usual ones"),
    ),
    "File storage options": (
        Flag("upload-dir", TEXT, "./data", "Directory to store uploads in"),
        Flag(
            "filelock-holder-poll-interval", DURATION, 5.0, "Accepted for tusd; holders of an upload are told at once"
        ),
        Flag("filelock-acquirer-poll-interval", DURATION, 2.0, "Accepted for tusd; waiting requests are woken at once"),
        Flag("dir-perms", MODE, 0o775, "Permissions of created directories, octal"),
        Flag("file-perms", MODE, 0o664, "Permissions of created files, octal"),
    ),
    "AWS S3 storage options": (
        Flag("s3-bucket", TEXT, "", instead=_FROM_DISK),
        Flag("s3-object-prefix", TEXT, "", instead=_FROM_DISK),
        Flag("s3-endpoint", TEXT, "", instead=_FROM_DISK),
        Flag("s3-part-size", INTEGER, 50 * 1024 * 1024, instead=_FROM_DISK),
        Flag("s3-min-part-size", INTEGER, 5 * 1024 * 1024, instead=_FROM_DISK),
        Flag("s3-max-buffered-parts", INTEGER, 20, instead=_FROM_DISK),
        Flag("s3-disable-content-hashes", TRUTH, False, instead=_FROM_DISK),
        Flag("s3-disable-ssl", TRUTH, False, instead=_FROM_DISK),
        Flag("s3-concurrent-part-uploads", INTEGER, 10, instead=_FROM_DISK),
        Flag("s3-transfer-acceleration", TRUTH, False, instead=_FROM_DISK),
        Flag("s3-log-api-calls", TRUTH, False, instead=_FROM_DISK),
    ),
    "Google Cloud Storage options": (
        Flag("gcs-bucket", TEXT, "", instead=_FROM_DISK),
        Flag("gcs-object-prefix", TEXT, "", instead=_FROM_DISK),
        Flag("gcs-endpoint", TEXT, "", instead=_FROM_DISK),
    ),
    "Azure Storage options": (
        Flag("azure-storage", TEXT, "", instead=_FROM_DISK),
        Flag("azure-container-access-type", TEXT, "", instead=_FROM_DISK),
        Flag("azure-blob-access-tier", TEXT, "", instead=_FROM_DISK),
        Flag("azure-object-prefix", TEXT, "", instead=_FROM_DISK),
        Flag("azure-endpoint", TEXT, "", instead=_FROM_DISK),
    ),
    "General hook options": (
        Flag(
            "hooks-enabled-events",
            TEXT,
            "pre-create,post-create,post-receive,post-terminate,post-finish",
            "Events that hooks are called for, with commas; empty: all of tusd's",
        ),
        Flag("progress-hooks-interval", DURATION, 1.0, "Time from one post-receive of an upload to the next"),
    ),
    "File hook options": (Flag("hooks-dir", TEXT, "", "Directory of programs that have the names of events"),),
    "HTTP hook options": (
        Flag("hooks-http", TEXT, "", "URL to which events are sent"),
        Flag("hooks-http-forward-headers", TEXT, "", "Headers of the client's request to send along, with commas"),
        Flag("hooks-http-retry", INTEGER, 3, "Attempts in all, after network errors and 5xx"),
        Flag("hooks-http-backoff", DURATION, 1.0, "Pause from one attempt to the next"),
        Flag("hooks-http-timeout", DURATION, 15.0, "Time for all attempts together"),
        Flag("hooks-http-size-limit", INTEGER, 5120, "Largest size of an answer in bytes"),
        Flag("hooks-http-skip-verify", TRUTH, False, "Do not verify the certificate of the endpoint"),
    ),
    "gRPC hook options": (
        Flag("hooks-grpc", TEXT, "", "host:port to which events are sent"),
        Flag("hooks-grpc-retry", INTEGER, 3, "Attempts in all, where the receiver is not available"),
        Flag("hooks-grpc-backoff", DURATION, 1.0, "Pause from one attempt to the next"),
        Flag("hooks-grpc-secure", TRUTH, False, "Use TLS; needs -hooks-grpc-server-tls-certificate"),
        Flag("hooks-grpc-server-tls-certificate", TEXT, "", "File of the certificate to trust, PEM"),
        Flag("hooks-grpc-client-tls-certificate", TEXT, "", "File of our own certificate, PEM"),
        Flag("hooks-grpc-client-tls-key", TEXT, "", "File of our own certificate's key, PEM"),
        Flag("hooks-grpc-forward-headers", TEXT, "", "Headers of the client's request to send along, with commas"),
    ),
    "Plugin hook options": (
        Flag("hooks-plugin", TEXT, "", instead="write the hook in Python and name it with -hooks-python"),
    ),
    "Monitoring, profiling, logging options": (
        Flag("expose-metrics", TRUTH, True, "Serve metrics for Prometheus"),
        Flag("metrics-path", TEXT, "/metrics", "Path under which metrics are served"),
        Flag("expose-pprof", TRUTH, False, instead=_PROFILER),
        Flag("pprof-path", TEXT, "/debug/pprof/", instead=_PROFILER),
        Flag("pprof-block-profile-rate", INTEGER, 0, instead=_PROFILER),
        Flag("pprof-mutex-profile-rate", INTEGER, 0, instead=_PROFILER),
        Flag("show-greeting", TRUTH, True, "Greet on paths that serve nothing else"),
        Flag("version", TRUTH, False, "Print the version and exit"),
        Flag("verbose", TRUTH, True, "Log details as well"),
        Flag("show-startup-logs", TRUTH, True, "Print the configuration at start"),
        Flag("log-format", TEXT, "text", "Format of the log: text or json"),
    ),
    "Timeout options": (
        Flag("network-timeout", DURATION, 60.0, "Longest wait for a request head and for each read of a body"),
        Flag("shutdown-timeout", DURATION, 10.0, "Longest wait for requests to end when the server is stopped"),
        Flag("acquire-lock-timeout", DURATION, 20.0, "Longest wait for another request to release an upload"),
        Flag(
            "request-completion-timeout", DURATION, 10.0, "Accepted for tusd; work that has begun is always completed"
        ),
    ),
}
"""tusd's flags, with its types and defaults."""

OUR_GROUPS: dict[str, tuple[Flag, ...]] = {
    "Processes": (Flag("workers", INTEGER, 1, "Processes that serve; 0 means one for each core"),),
    "Proxies": (
        Flag("trusted-proxies", TEXT, "", "Respect proxy headers only of peers in these networks (CIDR), with commas"),
        Flag("relative-location", TRUTH, False, "Send paths without scheme and host as addresses of uploads"),
    ),
    "Files and downloads": (
        Flag("api-path", TEXT, "/api", "Path under which the JSON API is served; empty switches it off"),
        Flag("api-key-file", TEXT, "", "Keys of which the API asks one as bearer token, one a line; empty: none"),
        Flag("allowed-types", TEXT, None, "Media types to accept, with commas; chunk uploads have a list by default"),
        Flag("chunk-size", INTEGER, 5 * 1024 * 1024, "Bytes of a chunk, a multiple of 65536"),
        Flag("chunk-max-size", INTEGER, 5 * 1024**3, "Largest size of a file in chunks, in bytes; 0 means no limit"),
        Flag(
            "chunk-expire-after", DURATION, 86400.0, "Remove chunk uploads that have not changed for this long; 0 never"
        ),
        Flag("downloads", one_of("open", "signed", "off"), "open", "Who may download: open, signed (links only), off"),
        Flag("signing-key-file", TEXT, "", "Keys that sign links, one a line, newest last; empty: one is made"),
        Flag("signed-url-ttl", DURATION, 3600.0, "How long a signed link is good, unless it is asked for otherwise"),
        Flag("signed-url-max-ttl", DURATION, 86400.0, "How long a signed link may be good at most"),
        Flag(
            "accel-redirect",
            TEXT,
            "",
            "Let the proxy send ready files, from this location: /internal/, say",
        ),
        Flag(
            "pipeline-concurrency",
            INTEGER,
            CONCURRENCY,
            "Finished files to work on at once, by default half of the processors",
        ),
    ),
    "Finished files": (
        Flag("detect", TRUTH, False, "Detect the types of tus uploads too; those of chunk uploads always are"),
        Flag("clamd", TEXT, "", "Scan for viruses with the clamd at unix:/path or tcp://host:port"),
        Flag("scan-max-size", INTEGER, 100 * 1024 * 1024, "Largest size in bytes that is sent to a clamd by TCP"),
        Flag("scan-trust-limits", TRUTH, False, "Use a clamd that calls clean what it has not looked into"),
        Flag("scan-unscannable", one_of("quarantine", "pass"), "quarantine", "What to do with what cannot be scanned"),
        Flag("infected", one_of("keep", "delete"), "keep", "What to do with the bytes of quarantined files"),
        Flag("post-finish-after-scan", TRUTH, True, "Call post-finish hooks when a scanned file is ready"),
        Flag("thumbnails", TEXT, "", "Sides of the thumbnails to make of images, in pixels, with commas"),
        Flag("webhook-url", TEXT, "", "URL that is told what becomes of files"),
        Flag("webhook-secret-file", TEXT, "", "File of the secret that signs webhooks (Standard Webhooks)"),
        Flag("webhook-public-only", TRUTH, False, "Send webhooks to addresses of the Internet only"),
        Flag("public-url", TEXT, "", "How the outside calls this server, for links in hooks and webhooks"),
    ),
    "Hooks": (
        Flag("hooks-python", TEXT, "", "Object to call in this process, as module:object"),
        Flag("hooks-http-secret-file", TEXT, "", "File of the secret that signs HTTP hooks (Standard Webhooks)"),
        Flag("hooks-timeout", DURATION, 60.0, "Longest run of a hook program or object; 0 means no limit"),
        Flag("hooks-forget-headers", TEXT, "", "Headers never kept at rest, with commas, as Authorization and Cookie"),
    ),
    "Several hosts": (
        Flag("redis-url", TEXT, "", "Redis by which hosts that share the directories coordinate; empty: one host"),
        Flag("redis-prefix", TEXT, "tusd-py", "What the keys in Redis begin with, the same on all hosts"),
    ),
    "Storage and limits": (
        Flag("state-dir", TEXT, "", 'Directory for our own files (default ".tusd-py" in the upload directory)'),
        Flag(
            "durability",
            one_of("none", "finish", "each"),
            "finish",
            "What survives a loss of power: none, finish (complete uploads) or each (all acknowledged bytes)",
        ),
        Flag("expire-after", DURATION, 0.0, "Remove unfinished uploads that have not changed for this long; 0 never"),
        Flag("compat", one_of("spec", "tusd"), "spec", "spec follows the specification, tusd is as lenient as tusd"),
        Flag("min-free-space", INTEGER, 0, "Bytes of free space that are always left; what would need them gets 507"),
        Flag("max-unfinished", INTEGER, 0, "Number of unfinished uploads above which no new one is taken (503)"),
        Flag("max-header-bytes", INTEGER, 1024 * 1024, "Largest size of a request head in bytes"),
    ),
}
"""The flags that tusd does not have."""

FLAGS: Mapping[str, Flag] = {
    flag.name: flag for groups in (GROUPS, OUR_GROUPS) for flags in groups.values() for flag in flags
}
