"""The fault matrix: every row by its name, and the tests that show it. The rows of `rows.py` and of
`test_places.PLACES` are shown by the table's own tests; those of which another test tells more, or all, name
it here."""

from __future__ import annotations

UPSTREAM: dict[str, tuple[str, ...]] = {
    "DNS fails / no address": (
        "faults/test_places.py::test_a_place_that_is_not_reached_is_followed_by_the_next",
    ),
    "connect refused / unreachable": (
        "faults/test_places.py::test_a_place_that_is_not_reached_is_followed_by_the_next",
        "relay/test_turns.py::test_failing_over_costs_little",
    ),
    "TLS error, wrong host": (
        "faults/test_places.py::test_a_place_that_is_not_reached_is_followed_by_the_next",
    ),
    "connect timeout 5 s": (
        "faults/test_places.py::test_a_place_that_is_not_reached_is_followed_by_the_next",
    ),
    "blocked by SSRF rule": (
        "faults/test_places.py::test_a_place_that_is_not_reached_is_followed_by_the_next",
        "relay/test_ssrf.py::test_a_relayed_request_reaches_no_closed_address",
    ),
    "reset while sending the body": (),
    "read timeout before headers": (
        "faults/test_dead_keys.py::test_a_hung_vendor_is_counted_once_an_attempt_and_probed_by_one_request",
    ),
    "headers, then no first event (60–120 s)": (),
    "stall mid-stream > idle limit": (),
    "reset / half-close mid-stream": (),
    "EOF without end marker (truncated SSE)": (),
    "half line / event cut inside UTF-8": (
        "relay/test_bytes.py::test_only_whole_frames_are_forwarded_before_a_stream_breaks",
    ),
    "invalid UTF-8 in an event": (),
    "invalid JSON in an event": (),
    "HTML page with 200": (),
    "first event is an error in 200": (
        "relay/test_failover_table.py::test_an_error_inside_a_200_counts_as_the_status_that_it_means",
    ),
    "error event later": (),
    "429 + Retry-After": (
        "faults/test_dead_keys.py::test_a_key_that_is_throttled_is_left_until_it_said",
        "faults/test_dead_keys.py::test_of_several_pauses_the_client_is_told_the_least",
        "relay/test_breaker.py::test_a_pause_is_never_shortened",
    ),
    '429 without, or "spend limit/credit" (also as 400/402)': (
        "relay/test_failover_table.py::test_a_vendors_refusal_is_judged_by_its_meaning",
    ),
    '401, "invalid api key"': (
        "relay/test_failover_table.py::test_a_vendors_refusal_is_judged_by_its_meaning",
    ),
    "400 / 413 / 422": (
        "relay/test_failover.py::test_the_vendors_own_error_object_is_passed_on_scrubbed",
        "relay/test_limits.py::test_a_vendor_that_refuses_before_it_has_read_the_body_is_heard",
    ),
    "404 model": (),
    "408 / 500 / 502 / 503 / 504 / 529": (),
    "3xx": ("relay/test_ssrf.py::test_no_redirect_is_followed",),
    "empty 200 stream, `[DONE]` only": (),
    "usage twice / cumulative / shrinking": (
        "wire/test_usage_payloads.py::test_a_stream_comes_to_the_expected_usage",
    ),
    "usage missing": (),
    "one huge event (> 32 MB)": ("relay/test_limits.py::test_an_event_beyond_its_bound_ends_the_stream",),
    "slow drip under the idle limit": (),
    "gzip bomb": (
        "relay/test_limits.py::test_a_compressed_answer_that_unfolds_too_far_is_502",
        "relay/test_limits.py::test_a_bomb_in_mid_stream_ends_it",
    ),
    "wrong Content-Length (short/long)": (
        "relay/test_http1.py::test_what_follows_an_answer_is_dropped_with_its_connection",
    ),
    "1xx / late 100 / trailers": (
        "relay/test_limits.py::test_trailers_are_ignored_unless_they_tell_a_length",
    ),
}

CLIENT: dict[str, tuple[str, ...]] = {
    "gone before first byte": (
        "faults/test_clients.py::test_a_client_gone_before_the_first_byte_pays_nothing_and_is_not_tried_for_again",
        "faults/test_clients.py::test_a_client_gone_before_anything_was_sent_costs_nobody_anything",
        "endings/test_clients.py::test_a_client_that_leaves_between_two_attempts_is_not_tried_for_again",
        "endings/test_clients.py::test_a_client_that_leaves_after_the_silent_commit_pays_nothing",
    ),
    "gone mid-stream": (
        "faults/test_clients.py::test_a_client_gone_in_mid_stream_stops_the_vendor_and_pays_for_what_came",
        "faults/test_clients.py::test_where_the_endpoint_drains_a_client_gone_pays_what_the_vendor_counts",
        "endings/test_drains.py::test_a_drain_ends_with_its_time_and_what_came_is_charged",
        "endings/test_drains.py::test_beyond_so_many_drains_the_vendor_is_left_at_once",
        "endings/test_clients.py::test_a_client_that_leaves_at_any_event_leaves_one_record",
        "endings/test_clients.py::test_a_client_that_leaves_while_it_holds_us_up_is_noticed_at_once",
    ),
    "slow reader": (
        "endings/test_clients.py::test_a_client_that_reads_no_more_is_left",
        "endings/test_clients.py::test_a_client_that_reads_slowly_gets_everything",
        "faults/test_clients.py::test_a_client_that_does_not_read_a_whole_answer_is_left",
        "endings/test_clients.py::test_a_client_that_reads_a_whole_answer_slowly_gets_all_of_it",
    ),
    "half a body, then silence / FIN": (
        "faults/test_clients.py::test_half_a_body_is_given_up_and_leaves_nothing",
        "endings/test_bodies.py::test_half_an_upload_leaves_no_file",
    ),
    "pipelined or smuggled bytes": (
        "faults/test_clients.py::test_pipelined_requests_are_answered_one_by_one_and_smuggled_bytes_are_none",
        "relay/test_limits.py::test_a_length_that_lies_does_not_smuggle_a_second_request",
        "aether/test_strict.py::test_nothing_broken_is_served_nor_what_stands_behind_it",
    ),
}

OWN: dict[str, tuple[str, ...]] = {
    "worker SIGKILL mid-stream": (
        "endings/test_kill.py::test_a_server_killed_at_any_moment_loses_nothing_and_doubles_nothing",
        "usage/test_takeover.py::test_a_stream_that_was_running_is_billed_from_its_last_checkpoint",
    ),
    "SIGTERM / recycle / deploy": (
        "aether/test_shutdown.py::test_first_it_says_that_it_leaves_and_serves_on_and_only_then_takes_no_more",
        "aether/test_shutdown.py::test_a_worn_out_server_finishes_its_streams_and_ends_to_be_started_again",
        "endings/test_kill.py::test_a_server_told_to_end_finishes_its_streams_or_tells_them_and_has_every_record",
    ),
    "power loss": (
        "usage/test_journal.py::test_in_the_mode_always_a_write_waits_for_the_disk",
        "usage/test_crashes.py::test_a_journal_torn_at_any_byte_of_its_tail_is_replayed_to_its_last_whole_line",
    ),
    "DB locked / slow > 1 s": (
        "endings/test_away.py::test_requests_go_on_without_the_database_and_nothing_is_lost",
    ),
    "DB down": (
        "endings/test_away.py::test_requests_go_on_without_the_database_and_nothing_is_lost",
        "relay/test_changes.py::test_callers_that_are_known_go_on_while_the_database_is_away",
        "usage/test_catch_up.py::test_what_waited_is_brought_to_the_database_in_a_moment",
    ),
    "PG failover (promotion, async replica)": (
        "usage/test_recorder.py::test_committed_rows_that_the_database_lost_come_back_with_a_rewind",
        "usage/test_recorder.py::test_segments_go_when_the_database_has_had_them_long_enough",
    ),
    "Redis down/slow": (
        "faults/test_redis.py::test_requests_go_on_without_redis_and_it_is_used_again",
        "relay/test_channel.py::test_it_waits_for_a_redis_that_is_away_and_finds_it_again",
    ),
    "Redis flushed": ("faults/test_redis.py::test_requests_go_on_without_redis_and_it_is_used_again",),
    "disk full": (
        "usage/test_journal.py::test_a_full_disk_takes_the_ballast_then_memory_and_loses_nothing",
        "usage/test_journal.py::test_no_line_is_ever_torn_by_a_full_disk",
        "usage/test_troubles.py::test_a_full_disk_is_told_at_each_of_its_stages",
    ),
    "clock jumps ±1 h": ("faults/test_own.py::test_a_clock_that_jumps_changes_no_duration_and_no_cooldown",),
    "migration while running": (
        "faults/test_own.py::test_the_running_release_goes_on_when_the_tables_are_those_of_the_next",
    ),
    "config edited mid-request": (
        "faults/test_own.py::test_a_request_finishes_on_the_configuration_it_began_with",
        "relay/test_changes.py::test_each_change_is_obeyed_within_two_seconds_of_its_commit",
    ),
    "relay key deleted/disabled mid-stream": (
        "endings/test_interrupted.py::test_a_stream_ends_when_its_api_key_no_longer_works",
        "endings/test_interrupted.py::test_every_dialect_is_told_that_it_was_interrupted",
        "endings/test_interrupted.py::test_a_key_that_finishes_its_streams_lets_them_end",
    ),
    "upstream key deleted mid-stream": (
        "faults/test_own.py::test_a_stream_outlives_the_upstream_key_it_runs_on",
    ),
    "event loop blocked > 250 ms": (
        "relay/test_watchdog.py::test_a_blocked_loop_is_told_with_its_stack_and_counted",
    ),
    "journal corrupt tail": (
        "usage/test_crashes.py::test_a_journal_torn_at_any_byte_of_its_tail_is_replayed_to_its_last_whole_line",
        "usage/test_takeover.py::test_a_torn_tail_costs_only_the_line_that_was_being_written",
        "usage/test_recorder.py::test_a_damaged_stretch_is_parked_and_what_follows_is_applied",
    ),
}
