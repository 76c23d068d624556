"""Which test would fail if a row of the README's table "Coming from tusd" that says `same` were not so.

Each is written from tusd's documented behaviour and sees the server from outside.
"""

from __future__ import annotations

_CORS = "web/test_cors.py::"
_PREFLIGHT = _CORS + "test_a_preflight_is_answered_with_what_clients_need"
_ADDED = _CORS + "test_the_operator_can_add_to_the_lists"
_HOOKS = "cli/test_hook_flags.py::"
_HTTP_ATTEMPTS = _HOOKS + "test_the_number_of_attempts_is_that_of_all"
_GRPC_ATTEMPTS = _HOOKS + "test_a_grpc_receiver_without_room_is_asked_as_often_and_as_far_apart_as_the_flags_say"
_GRPC_TLS = _HOOKS + "test_a_grpc_receiver_may_ask_for_tls_in_both_directions"
_COMMAND = "cli/test_command.py::"
_PROXY = "web/test_location.py::test_behind_a_proxy_its_headers_count_as_with_tusd"
_DOWNLOAD = "web/test_download.py::"
_CONDITIONS = _DOWNLOAD + "test_conditions"
_RANGES = _DOWNLOAD + "test_ranges"
_GOLDEN = "web/test_golden_exchanges.py::test_the_answer_is_tusds_but_for_what_is_decided"
_METRICS = "cli/test_metrics.py::"
_COUNTED = _METRICS + "test_uploads_are_counted_and_so_are_errors_but_not_a_wrong_method"
_LOGS = "cli/test_logs.py::"
_LINES = _LOGS + "test_the_lines_of_an_upload_are_tusds_in_tusds_order"
_HOOK_LINES = _LOGS + "test_calls_of_hooks_are_logged_with_their_type_and_id_and_counted"
_STOP = "server/test_serving.py::test_a_stop_keeps_received_bytes_and_says_so"

TESTED_BY: dict[str, str] = {
    "-host": "server/test_listening.py::test_one_address_is_that_address_and_of_a_name_the_first_of_ipv4",
    "-port": _COMMAND + "test_a_server_that_is_told_to_says_nothing_at_its_start",
    "-unix-sock": "server/test_serving.py::test_a_unix_socket_is_served_replaced_when_stale_and_removed_at_the_end",
    "-base-path": _COMMAND + "test_uploads_at_the_root_leave_the_other_pages_their_names",
    "-behind-proxy": _PROXY,
    "-tls-mode": "server/test_tls.py::test_every_mode_serves_its_versions",
    "-disable-download": _DOWNLOAD + "test_downloads_can_be_switched_off",
    "-disable-termination": "web/test_termination.py::test_termination_can_be_switched_off",
    "-disable-concatenation": "web/test_concatenation.py::test_concatenation_can_be_switched_off",
    "-disable-cors": _CORS + "test_cors_can_be_switched_off",
    "-cors-allow-origin": _CORS + "test_an_origin_that_is_not_allowed_is_refused",
    "-cors-allow-credentials": _ADDED,
    "-cors-allow-methods": _ADDED,
    "-cors-allow-headers": _ADDED,
    "-cors-max-age": _ADDED,
    "-cors-expose-headers": _ADDED,
    "-dir-perms": "cli/test_flag_effects.py::test_permissions_are_the_flags_less_the_umask",
    "-file-perms": "cli/test_flag_effects.py::test_permissions_are_the_flags_less_the_umask",
    "-hooks-enabled-events": _HOOKS + "test_an_empty_list_of_events_means_all_of_tusds",
    "-progress-hooks-interval": _HOOKS + "test_progress_is_told_after_the_interval_which_is_a_second_where_it_is_none",
    "-hooks-http-forward-headers": _HOOKS + "test_headers_are_forwarded_as_the_list_names_them_without_trimming",
    "-hooks-http-retry": _HTTP_ATTEMPTS,
    "-hooks-http-backoff": _HOOKS + "test_attempts_are_apart_as_long_as_the_flag_says",
    "-hooks-http-timeout": _HOOKS + "test_an_answer_has_the_time_that_the_flag_says",
    "-hooks-http-size-limit": _HOOKS + "test_an_answer_may_be_as_long_as_the_flag_says",
    "-hooks-http-skip-verify": _HOOKS + "test_a_certificate_is_verified_unless_the_flag_says_otherwise",
    "-hooks-grpc-retry": _GRPC_ATTEMPTS,
    "-hooks-grpc-backoff": _GRPC_ATTEMPTS,
    "-hooks-grpc-secure": _GRPC_TLS,
    "-hooks-grpc-server-tls-certificate": _GRPC_TLS,
    "-hooks-grpc-client-tls-certificate": _GRPC_TLS,
    "-hooks-grpc-client-tls-key": _GRPC_TLS,
    "-hooks-grpc-forward-headers": _HOOKS + "test_headers_are_forwarded_by_grpc",
    "-expose-metrics": _COMMAND + "test_pages_can_be_switched_off",
    "-metrics-path": _COMMAND + "test_metrics_are_where_they_are_wanted_and_nowhere_else",
    "-show-greeting": _COMMAND + "test_pages_can_be_switched_off",
    "-version": _COMMAND + "test_the_version_is_three_lines",
    "-verbose": "cli/test_flag_effects.py::test_a_quiet_log_has_everything_but_the_calls_of_hooks",
    "-show-startup-logs": _COMMAND + "test_a_server_that_is_told_to_says_nothing_at_its_start",
    "-log-format": _LOGS + "test_json_logs_have_the_event_under_msg",
    "-network-timeout": "web/test_core.py::test_a_silent_client_is_cut_off_and_its_bytes_are_kept",
    "-shutdown-timeout": "server/test_serving.py::test_requests_that_do_not_end_are_cut_off_after_the_time_out",
    "pre-create": "web/test_hooks.py::test_a_refused_creation_leaves_nothing_and_says_what_the_hook_says",
    "pre-terminate": "web/test_hooks.py::test_a_refused_termination_keeps_the_upload",
    "X-Request-ID": _LOGS + "test_json_logs_have_the_event_under_msg",
    "X-Forwarded-Host": _PROXY,
    "X-Forwarded-Proto": _PROXY,
    "Forwarded": _PROXY,
    "Origin": _CORS + "test_an_origin_that_is_not_allowed_is_refused",
    "Range": _RANGES,
    "If-Range": _CONDITIONS,
    "If-Modified-Since": _CONDITIONS,
    "If-Unmodified-Since": _CONDITIONS,
    "If-Match": _CONDITIONS,
    "If-None-Match": _CONDITIONS,
    "Expect": "web/test_core.py::test_a_client_that_waits_for_a_continue_gets_it_only_for_a_body_that_is_wanted",
    "Tus-Max-Size": "web/test_core.py::test_options_announces_only_what_is_switched_on",
    "Location": "web/test_location.py::test_without_a_proxy_the_host_is_as_it_was_asked_for",
    "Allow": "web/test_core.py::test_other_methods_are_refused_with_what_is_allowed",
    "Access-Control-Allow-Origin": _PREFLIGHT,
    "Access-Control-Allow-Credentials": _ADDED,
    "Access-Control-Allow-Methods": _PREFLIGHT,
    "Access-Control-Max-Age": _PREFLIGHT,
    "Vary": _PREFLIGHT,
    "Accept-Ranges": _GOLDEN,
    "Content-Range": _RANGES,
    "Last-Modified": _DOWNLOAD + "test_a_finished_upload_can_be_downloaded",
    "tusd_requests_total": _METRICS + "test_every_method_is_there_from_the_start_and_no_other_is_counted",
    "tusd_errors_total": _COUNTED,
    "tusd_bytes_received": _METRICS + "test_bytes_are_counted_however_they_come_and_what_go_would_refuse_is_no_error",
    "tusd_uploads_created": _COUNTED,
    "tusd_uploads_finished": _COUNTED,
    "tusd_uploads_terminated": _COUNTED,
    "tusd_connections_open": _METRICS + "test_bytes_are_counted_however_they_come_and_what_go_would_refuse_is_no_error",
    "tusd_hook_invocations_total": _HOOK_LINES,
    "tusd_hook_errors_total": _HOOK_LINES,
    "process_*": _METRICS + "test_the_process_is_described_with_the_names_of_all_prometheus_libraries",
    "RequestIncoming": _LINES,
    "UploadCreated": _LINES,
    "ChunkWriteStart": _LINES,
    "ChunkWriteComplete": _LINES,
    "UploadFinished": _LINES,
    "UploadTerminated": _LOGS + "test_the_end_of_an_upload_is_logged",
    "UploadInterrupted": _LOGS + "test_a_request_that_another_one_replaces_is_logged",
    "BodyReadError": _LOGS + "test_a_body_that_breaks_off_is_an_error_that_is_named",
    "InternalServerError": _LOGS + "test_a_hook_that_fails_is_an_error_of_the_server",
    "HookStopUpload": _HOOK_LINES,
    "SIGINT": _STOP,
    "SIGTERM": _STOP,
    "0": _STOP,
    "1": "server/test_serving.py::test_a_second_signal_ends_the_server_at_once",
    "2": _COMMAND + "test_a_bad_flag_is_explained_with_the_usage",
}
