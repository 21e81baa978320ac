"""The threats T1 to T58 and the faults F1 to F32 of the project's study of protocols, row by row.

Each row says what it is, what the server does, and which tests show it; a row without tests says
why. ``test_threats.py`` sees to it that no number is missing and that every test exists.
"""

from typing import Final, NamedTuple


class Row(NamedTuple):
    """One threat or fault.

    Attributes:
        name: T or F and the number.
        what: the threat or the fault.
        behaviour: what happens here.
        tests: ``path below tests::function``.
        reason: why there is no test, or what the tests leave out.
    """

    name: str
    what: str
    behaviour: str
    tests: tuple[str, ...] = ()
    reason: str = ""


_BAD: Final = "system/test_bad_input.py::"
_CODEC: Final = "protocol/test_codec.py::"
_AGREE: Final = "protocol/test_codec_agreement.py::"
_SIG: Final = "protocol/test_usersig.py::"
_FUZZ: Final = "fuzz/test_fuzz.py::test_mutations_are_survived"
_SHAKE: Final = "transport/test_handshake.py::"
_BEFORE: Final = "transport/test_before_hello.py::"
_FIELDS: Final = "transport/test_wrong_fields.py::"
_VALUES: Final = "domain/test_bad_values.py::"
_RIGHTS: Final = "domain/test_rights_product.py::"
_PROMISES: Final = "system/test_promises.py::"
_COMMAND: Final = "system/test_command_line.py::"
_DISK: Final = "system/test_failing_disk.py::"
_SIGNALS: Final = "system/test_signals.py::"
_SQLITE: Final = "storage/test_sqlite.py::"
_EXECUTOR: Final = "service/test_executor.py::"

_RECEIVER: Final = "webhooks/test_receiver.py::"

_LATER: Final = "there is nothing of it in this version: "

THREATS: Final = (
    Row(
        "T1",
        "a MessagePack header that claims 4 GiB",
        "4400 without making room for it",
        (_BAD + "test_what_cannot_be_decoded_closes_4400", _CODEC + "test_malformed_msgpack"),
    ),
    Row(
        "T2",
        "arrays inside each other that each claim many items",
        "refused with less than 1 MiB of memory",
        (_AGREE + "test_what_claims_to_be_long_is_refused_without_making_room_for_it",),
    ),
    Row(
        "T3",
        "very many empty maps or arrays",
        "BAD_REQUEST by their number",
        (_AGREE + "test_many_empty_things_are_refused_by_their_number",),
    ),
    Row(
        "T4",
        "nesting from 9 to 100,000 levels",
        "BAD_REQUEST or 4400, never a recursion error",
        (_AGREE + "test_no_depth_does_harm", _BAD + "test_values_of_the_wrong_size_are_refused"),
    ),
    Row(
        "T5",
        "extension types and timestamps",
        "4400",
        (_CODEC + "test_malformed_msgpack", _BAD + "test_what_cannot_be_decoded_closes_4400"),
    ),
    Row(
        "T6",
        "the same key twice, also as string and binary",
        "4400",
        (_CODEC + "test_malformed_json", _CODEC + "test_malformed_msgpack"),
    ),
    Row(
        "T7",
        "NaN, infinity, floats",
        "4400 for what is not finite; a float for an integer is BAD_REQUEST",
        (
            _BAD + "test_what_cannot_be_decoded_closes_4400",
            _BAD + "test_a_wrong_request_is_answered_and_the_connection_lives",
            _FIELDS + "test_after_hello_a_wrong_parameter_is_named",
        ),
    ),
    Row(
        "T8",
        "text that is no Unicode",
        "4400",
        (_BAD + "test_what_cannot_be_decoded_closes_4400", _CODEC + "test_malformed_json"),
    ),
    Row(
        "T9",
        "integers beyond 2^53, 5,000 digits, booleans for integers",
        "BAD_REQUEST; 4400 for 5,000 digits",
        (
            _AGREE + "test_the_same_value_has_the_same_fate_in_both",
            _BAD + "test_a_json_integer_beyond_64_bits_is_refused",
            _FIELDS + "test_after_hello_a_wrong_parameter_is_named",
        ),
    ),
    Row(
        "T10",
        "cut off, doubled, empty, or never used bytes",
        "4400 at the first",
        (_BAD + "test_what_cannot_be_decoded_closes_4400", _FUZZ),
    ),
    Row(
        "T11",
        "a field of the wrong type, missing, unknown or null",
        "BAD_REQUEST naming the field; 4400 before hello",
        (
            _FIELDS + "test_before_hello_it_closes",
            _FIELDS + "test_after_hello_a_wrong_request_is_answered",
            _FIELDS + "test_after_hello_a_wrong_parameter_is_named",
        ),
    ),
    Row(
        "T12",
        "NUL, control characters and newlines in ids and names",
        "refused by name; IDs are printable ASCII",
        (
            _VALUES + "test_control_and_direction_characters",
            _VALUES + "test_a_group_id_that_nobody_may_choose",
            _VALUES + "test_a_user_id_that_is_none",
        ),
    ),
    Row(
        "T13",
        "names that look like other names",
        "control and direction characters are refused; a name decides nothing",
        (_VALUES + "test_control_and_direction_characters",),
        "look-alikes themselves are allowed: names are shown beside IDs, which are ASCII",
    ),
    Row(
        "T14",
        "lengths in bytes, characters or graphemes",
        "limits are in bytes of UTF-8 as sent; nothing is normalised",
        (_VALUES + "test_a_text_is_measured_in_bytes_of_utf_8",),
    ),
    Row(
        "T15",
        "finding groups by guessing",
        "generated IDs are random; of a hidden group a stranger learns that it is there, no more",
        (
            "service/test_queries.py::test_a_work_groups_profile_is_hidden_from_those_who_are_no_members",
            "domain/test_creation.py::test_a_generated_id_has_the_prefix_of_its_type",
        ),
        "NO_PERMISSION and GROUP_NOT_FOUND are told apart, as the original does; times are not compared",
    ),
    Row(
        "T16",
        "every operation by every role in every type and state",
        "decided by one table",
        (
            _RIGHTS + "test_what_is_decided_is_what_the_table_says",
            _RIGHTS + "test_what_is_read_is_what_the_table_says",
            _RIGHTS + "test_the_product_has_no_hole",
        ),
    ),
    Row(
        "T17",
        "acting in another's name",
        "who acts is who said hello; as_user_id is for operators",
        (
            "service/test_dispatcher.py::test_only_an_operator_acts_in_another_users_name",
            "service/test_dispatcher.py::test_an_unknown_field_of_any_name_is_refused",
        ),
    ),
    Row(
        "T18",
        "another user's request ids or positions",
        "ids belong to their user; a cursor gives only what its reader may see",
        (
            _EXECUTOR + "test_an_id_is_its_users_alone",
            _PROMISES + "test_ids_belong_to_their_user",
            "hub/test_catch_up.py::test_from_every_cursor_comes_exactly_the_rest",
        ),
    ),
    Row(
        "T19",
        "a token that is expired, early, of another app or damaged",
        "4401 with the original's number, nothing of the token told",
        (
            _BAD + "test_a_token_that_proves_nothing_is_refused",
            _BAD + "test_a_tampered_token_is_refused",
            _SIG + "test_every_flip_of_one_character_is_refused",
            _SIG + "test_duplicate_keys_are_malformed",
        ),
    ),
    Row(
        "T20",
        "a token that chooses its algorithm or key",
        "cannot be said: one algorithm, every configured key is tried",
        (_SIG + "test_no_other_key_will", _SIG + "test_a_field_that_nobody_names_is_ignored"),
    ),
    Row(
        "T21",
        "a token that inflates, a newline in its fields",
        "read to 4 KiB; IDs are checked before they are signed or compared",
        (
            _SIG + "test_a_bomb_costs_nothing",
            _SIG + "test_an_issuer_that_signs_newlines_cannot_be_used_to_become_another_user",
        ),
    ),
    Row(
        "T22",
        "a token used from another device or address",
        "allowed: a token is its user's, as the original's; list_devices shows who is connected, and "
        "kick makes all of a user's tokens worthless",
        (
            "service/test_queries.py::test_devices_are_listed_in_the_order_of_connecting_and_know_themselves",
            "system/test_tokens.py::test_what_was_revoked_stays_so_over_a_kill",
        ),
        "a user's tokens are revoked together, not singly",
    ),
    Row(
        "T23",
        "a request sent again",
        "the first reply again, no second effect",
        (_PROMISES + "test_a_repeated_request_gets_the_first_reply_and_changes_nothing",),
    ),
    Row(
        "T24",
        "an id with other content, very many ids",
        "REQUEST_ID_CONFLICT; ids are kept for REQUEST_ID_MS",
        (
            _PROMISES + "test_other_content_under_the_same_id_is_refused",
            "service/test_housekeeping.py::test_request_ids_are_forgotten_after_their_day",
            "system/test_expiry.py::test_an_id_that_is_over_is_new",
        ),
        "how many ids a user has is bounded by the rates alone",
    ),
    Row(
        "T25",
        "guessing tokens, learning which users exist",
        "a token is checked without looking at any user; few strangers per address",
        (
            _SIG + "test_an_unsigned_token_is_told_nothing_but_that",
            _BAD + "test_too_many_connections_without_hello_are_turned_away",
        ),
        "times are not compared",
    ),
    Row(
        "T26",
        "no hello, something else first, a second hello",
        "4408 after HELLO_MS, 4400, 4400",
        (
            _BAD + "test_who_does_not_say_hello_in_time_is_closed_4408",
            _BAD + "test_anything_before_hello_closes_4400",
            _BAD + "test_what_is_no_message_closes_4400",
        ),
    ),
    Row(
        "T27",
        "a slow or endless handshake",
        "cut at HELLO_MS, or ended at 16 KiB of head",
        (
            _BEFORE + "test_whoever_says_no_hello_in_time_is_let_go",
            _BEFORE + "test_a_hundred_strangers_cost_little",
            _SHAKE + "test_a_head_without_end_is_ended_at_16_kib",
            _BAD + "test_handshakes",
        ),
    ),
    Row(
        "T28",
        "a flood of connections",
        "429 for one too many of an address; some open files are kept for those who are here",
        (
            "transport/test_addresses.py::test_a_connection_that_asks_for_nothing_counts",
            "transport/test_addresses.py::test_those_who_have_said_hello_count_as_connections_of_their_address",
            "transport/test_addresses.py::test_a_flood_of_silent_connections_is_ended_without_a_word",
            _BAD + "test_too_many_connections_without_hello_are_turned_away",
            "system/test_exhaustion.py::test_without_open_files_it_serves_those_it_has_and_then_others_again",
        ),
    ),
    Row(
        "T29",
        "a peer that does not read",
        "fed from the log at its pace, closed with 4408 after SILENCE_MS",
        (
            _BAD + "test_a_slow_reader_is_fed_from_the_log_and_misses_nothing",
            _BAD + "test_a_silent_reader_is_closed_4408_and_can_resume",
            "hub/test_slow.py::test_what_is_kept_for_a_stalled_device_does_not_grow_with_what_is_said",
            "hub/test_slow.py::test_the_others_are_told_at_once_while_one_is_stalled",
        ),
    ),
    Row(
        "T30",
        "a flood of pings or pongs",
        "cut after CONTROL_FRAMES_PER_S",
        (
            _BAD + "test_a_flood_of_control_frames_is_ended",
            _BAD + "test_fifty_pings_are_answered",
        ),
    ),
    Row(
        "T31",
        "fragments without end, empty or interleaved",
        "4413 after MESSAGE_FRAGMENTS or FRAME_BYTES, 4400 for what is out of order",
        (
            _BAD + "test_fragments_without_end_are_too_large_4413",
            _BAD + "test_fragments_together_are_too_large_4413",
            _BAD + "test_a_malformed_frame_closes_4400",
        ),
    ),
    Row(
        "T32",
        "compression",
        "never negotiated; the reserved bit closes 4400",
        (_BAD + "test_compression_is_off", _BAD + "test_a_malformed_frame_closes_4400"),
    ),
    Row(
        "T33",
        "a frame that claims to be huge",
        "4413 from its header alone",
        (_BAD + "test_a_claim_of_too_much_is_enough",),
    ),
    Row(
        "T34",
        "a flood of requests, many in flight, without reading",
        "TOO_MANY_REQUESTS, then 4429; who does not read is not read from",
        (
            _BAD + "test_one_request_more_than_may_be_in_flight_is_refused",
            _BAD + "test_too_many_requests_are_refused_and_then_closed_4429",
            _BAD + "test_wrong_requests_count_as_requests",
            "transport/test_early.py::test_all_that_comes_with_hello_is_answered",
            "hub/test_slow.py::test_requests_of_a_paused_device_are_answered_when_it_reads_again",
        ),
    ),
    Row(
        "T35",
        "joining and leaving, creating and disbanding without end",
        "bounded by the rates of the user and the group, and by GROUPS_PER_DAY",
        (
            "service/test_dispatcher.py::test_the_rate_of_a_user_is_that_of_all_devices",
            "transport/test_gates.py::test_who_connects_again_has_no_new_rate",
            _EXECUTOR + "test_quotas_count_what_is_before_in_the_batch",
        ),
        "there is no rate of its own for one user in one group",
    ),
    Row(
        "T36",
        "huge lists of users, doubles, oneself, nobody",
        "a limit for each call, one result for each user, one version",
        (
            _VALUES + "test_lists_are_neither_empty_nor_too_long",
            "domain/test_invitations.py::test_several_are_invited_in_one_version",
            "domain/test_invitations.py::test_a_user_who_is_named_twice_waits_once_and_takes_no_second_place",
        ),
    ),
    Row(
        "T37",
        "one message to very many members",
        "one entry in one log, encoded once for each codec",
        ("hub/test_fan_out.py::test_one_encoding_serves_all_devices_of_a_codec",),
    ),
    Row(
        "T38",
        "SQL in texts, wildcards",
        "texts are parameters; no list is searched by pattern",
        (
            "service/test_hostile_text.py::test_texts_are_stored_as_they_are",
            "service/test_hostile_text.py::test_no_statement_is_made_of_values",
        ),
    ),
    Row(
        "T39",
        "page sizes and page marks that were made up",
        "bounded by PAGE_ITEMS; any other mark is BAD_REQUEST or a place in one's own list",
        (
            "service/test_paging.py::test_any_other_text_is_a_bad_request",
            "service/test_queries.py::test_what_is_no_page_mark_is_refused_or_an_empty_or_any_page",
            "service/test_queries.py::test_a_page_mark_of_another_list_is_refused",
            _FIELDS + "test_after_hello_a_wrong_parameter_is_named",
        ),
    ),
    Row(
        "T40",
        "history from before joining or after leaving",
        "a member sees the log of the own membership, live, in history and on resume",
        (
            _PROMISES + "test_a_member_sees_the_log_from_joining_to_leaving",
            "service/test_queries.py::test_history_is_that_of_the_membership_that_lasts",
            "storage/contract_visibility.py::test_a_member_sees_from_the_joining_to_the_leaving_entry",
        ),
    ),
    Row(
        "T41",
        "webhooks that reach inside",
        "one address, the operator's own, which may be internal; redirects are not followed",
        (
            _RECEIVER + "test_a_redirect_is_an_answer_and_not_followed",
            _RECEIVER + "test_a_certificate_that_nobody_vouches_for",
            "system/test_webhooks.py::test_a_certificate_is_good_for_its_own_name_alone",
        ),
        "users cannot name an address anywhere",
    ),
    Row(
        "T42",
        "forged or repeated webhooks",
        "signed over time and body, with an id that is the same for each repetition",
        (
            _RECEIVER + "test_the_body_is_signed_with_every_secret",
            "webhooks/test_example.py::test_the_example",
            "webhooks/test_deliveries.py::test_what_was_not_noted_is_told_again_under_the_same_id",
        ),
    ),
    Row(
        "T43",
        "slow or hostile answers of webhooks",
        "a time and a size for each; what cannot be used allows or blocks, as configured, and whoever "
        "makes it answer nonsense, or repeats a request, gets past nothing",
        (
            "webhooks/test_asked.py::test_it_allows_or_blocks_as_configured",
            "webhooks/test_asked.py::"
            "test_one_that_answers_nonsense_is_asked_about_the_next_one_all_the_same",
            "webhooks/test_asked.py::test_what_is_repeated_is_never_done_as_it_was_before_the_word",
            _RECEIVER + "test_who_hangs_is_given_up_in_time",
            _RECEIVER + "test_a_long_answer_is_not_read",
        ),
    ),
    Row(
        "T44",
        "the administrators' interface without rights",
        "a listener of its own, on loopback; a call is signed by an app admin, wrong signatures are few",
        (
            _COMMAND + "test_health_and_readiness",
            "rest/test_entrance.py::test_signatures",
            "rest/test_entrance.py::test_after_ten_wrong_signatures_the_door_is_shut_for_a_minute",
            "rest/test_entrance.py::test_a_stranger_learns_of_no_command",
        ),
    ),
    Row(
        "T45",
        "a foreign page that connects from a browser",
        "it connects as anybody may, and has no token: nothing is known by cookies or addresses",
        (_SHAKE + "test_where_a_page_came_from_opens_nothing",),
    ),
    Row(
        "T46",
        "a token in the address",
        "400, and it is not logged",
        (_BAD + "test_a_token_in_the_address_does_not_get_into_the_log",),
    ),
    Row(
        "T47",
        "forged lines and secrets in the log",
        "what peers send is not logged; a refusal holds nothing of a token",
        (
            "service/test_hostile_text.py::test_nothing_that_peers_send_is_logged",
            _SIG + "test_the_message_tells_neither_token_nor_key",
        ),
    ),
    Row(
        "T48",
        "metrics labelled by users",
        "labels are methods, errors and states that are known at the start",
        ("system/test_metrics.py::test_a_new_server_counts_nothing_and_has_every_label",),
    ),
    Row(
        "T49",
        "keys that collide, expressions that never end",
        "at most MAP_KEYS keys; the two expressions have no choices inside repetitions",
        (
            _AGREE + "test_other_limits_hold_too",
            _SIG + "test_junk_is_refused_and_nothing_else_happens",
        ),
    ),
    Row(
        "T50",
        "an address that a client made up",
        "X-Forwarded-For counts behind a proxy only, and of it what the proxy wrote",
        (_SHAKE + "test_whose_connection_it_is",),
    ),
    Row(
        "T51",
        "one device twice, a device of another user, one too many",
        "4409 for the older one; devices are their user's",
        (
            _BAD + "test_the_same_device_replaces_its_older_connection",
            _BAD + "test_the_seventeenth_device_replaces_the_oldest",
            "hub/test_devices.py::test_the_same_device_id_of_another_user_is_another_device",
        ),
    ),
    Row(
        "T52",
        "a cursor from the future, of another history, of no sense",
        "reset with a reason",
        (
            "hub/test_cursors.py::test_any_text_is_a_position_that_is_kept_or_a_reason",
            "hub/test_catch_up.py::test_a_cursor_that_is_no_good_resets_and_goes_on_from_now",
            _PROMISES + "test_an_unknown_cursor_is_a_reset",
            "system/test_histories.py::test_a_cursor_of_another_user_is_a_place_and_no_right",
            _FUZZ,
        ),
    ),
    Row(
        "T53", "acknowledgements that lie", "", (), "clients do not acknowledge: they name cursors"
    ),
    Row("T54", "deadlines of requests", "", (), "requests have none"),
    Row(
        "T55",
        "bad close frames, data after them, resets, half-closed connections",
        "4400 or the echo of the close; nothing in the log, nothing left behind",
        (
            _BAD + "test_a_close_frame_is_answered",
            _BAD + "test_nothing_follows_the_close_frame",
            _BAD + "test_dropping_in_the_middle_of_anything",
            _BEFORE + "test_a_reset_at_any_point_leaves_nothing",
            _FUZZ,
        ),
    ),
    Row("T56", "names that are scripts on a page", "", (), _LATER + "pages that show names"),
    Row(
        "T57",
        "one who was removed and is still connected",
        "hears of it on every device and nothing after it; every request is judged anew",
        (
            "domain/test_audiences.py::test_members_are_removed",
            "machines/test_server_machine.py::test_random_users",
            _RIGHTS + "test_what_is_decided_is_what_the_table_says",
        ),
    ),
    Row(
        "T58",
        "files that others can read, paths in answers",
        "files are the owner's whatever the umask; errors name fields, never files",
        (
            _COMMAND + "test_files_are_private_whatever_the_umask",
            _SQLITE + "test_only_the_owner_may_read",
        ),
    ),
)

FAULTS: Final = (
    Row(
        "F1",
        "kill -9",
        "nothing that was answered is lost, nothing is done twice",
        (
            "system/test_kill.py::test_kill_9_loses_nothing_and_does_nothing_twice",
            _DISK + "test_dying_at_any_point_of_a_commit",
        ),
    ),
    Row(
        "F2",
        "a power cut",
        "what was answered was synced",
        ("system/test_power_cut.py::test_what_was_answered_survives_a_power_cut",),
    ),
    Row(
        "F3",
        "a failing sync",
        "OUTCOME_UNKNOWN, the process ends, the restart tells the truth",
        (_DISK + "test_a_failing_sync_ends_the_process_and_the_restart_tells_the_truth",),
    ),
    Row(
        "F4",
        "a full disk",
        "UNAVAILABLE for changes until there is room",
        (
            _DISK + "test_a_full_disk_refuses_changes_and_nothing_else",
            _SQLITE + "test_a_full_disk_refuses_and_recovers",
        ),
    ),
    Row(
        "F5",
        "failing and short writes, a limit on file sizes",
        "survived, or the process ends; never a half change",
        (
            _DISK + "test_a_failing_write_is_survived_or_ends_the_process",
            _DISK + "test_a_limit_on_file_sizes",
        ),
    ),
    Row(
        "F6",
        "a damaged page while serving",
        "the store is fenced and the process ends",
        (
            _SQLITE + "test_a_page_that_is_damaged_while_serving_fences",
            _DISK + "test_a_page_that_is_damaged_while_serving_ends_the_process",
        ),
        "a bit that changes a text is not noticed: SQLite has no checksums of pages",
    ),
    Row(
        "F7",
        "the database locked by another process",
        "UNAVAILABLE, and on when it is free",
        (
            _DISK + "test_a_database_that_another_process_locks",
            _SQLITE + "test_a_database_locked_by_another_refuses_and_recovers",
        ),
    ),
    Row(
        "F8",
        "a second server on the same data",
        "refused; the lock dies with its process",
        (
            _COMMAND + "test_a_second_server_on_the_same_data_is_refused",
            _SQLITE + "test_a_lock_dies_with_its_process",
        ),
    ),
    Row(
        "F9",
        "damaged, empty, lost or foreign files at the start",
        "refused, and left alone",
        (
            "system/test_refused_starts.py::test_damaged_data_is_refused",
            _COMMAND + "test_a_lost_database_is_not_replaced_by_an_empty_one",
            _SQLITE + "test_what_must_not_be_served_is_refused_and_left_alone",
        ),
    ),
    Row(
        "F10",
        "an interrupted migration, a newer schema",
        "begun again; refused",
        (
            _SQLITE + "test_an_unfinished_creation_is_begun_again",
            _SQLITE + "test_migrating_runs_each_step_once",
            _COMMAND + "test_a_newer_schema_is_refused",
        ),
    ),
    Row(
        "F11",
        "a clock that jumps",
        "order, rates and ids do not notice",
        (
            "system/test_clock.py::test_a_clock_that_jumps",
            "service/test_housekeeping.py::test_a_clock_that_jumps_ahead_makes_nothing_old",
        ),
    ),
    Row("F12", "a lost bus between processes", "", (), _LATER + "several processes"),
    Row("F13", "a network cut between processes", "", (), _LATER + "several processes"),
    Row(
        "F14",
        "a peer that is gone without a word",
        "found within two heartbeats",
        (_SIGNALS + "test_a_peer_that_answers_no_ping_is_ended_and_one_that_does_is_not",),
        "with a network that is really taken away: scripts/faults, which needs rights for that",
    ),
    Row(
        "F15",
        "resets, ends in the middle, single bytes",
        "quiet, and nothing is left",
        (
            _BAD + "test_dropping_in_the_middle_of_anything",
            _BAD + "test_every_byte_in_a_segment_of_its_own",
            "transport/test_chunks.py::test_the_same_bytes_get_the_same_answers",
        ),
    ),
    Row(
        "F16",
        "requests delivered twice",
        "one effect",
        (
            _PROMISES + "test_a_request_twice_in_flight_is_done_once",
            "storage/contract_commits.py::test_a_request_twice_in_a_batch_is_done_once",
        ),
    ),
    Row(
        "F17",
        "all clients come back at once",
        "spread by retry_after_ms; a long backlog; a few read at a time",
        (
            "transport/test_goodbye.py::test_the_window_grows_with_their_number_and_is_used_evenly",
            "hub/test_catch_up.py::test_of_a_storm_a_few_read_at_a_time_and_everybody_is_served",
            _COMMAND + "test_return_times_are_spread",
            "scripts/test_storm.py::test_all_clients_come_back_and_miss_nothing",
        ),
        "how long a large storm takes is measured by scripts/storm, not by a test",
    ),
    Row(
        "F18",
        "a slow disk",
        "larger batches; reading does not wait",
        (
            _DISK + "test_a_slow_disk_makes_batches_and_keeps_nobody_waiting_who_only_reads",
            _SIGNALS + "test_a_disk_that_hangs_does_not_hold_up_the_end",
        ),
    ),
    Row(
        "F19",
        "SIGTERM",
        "a drain that answers what was taken; a second signal ends it",
        (
            _SIGNALS + "test_sigterm_under_load_loses_nothing",
            _SIGNALS + "test_a_second_signal_ends_the_drain_at_once",
            _COMMAND + "test_sigterm_drains",
        ),
    ),
    Row(
        "F20",
        "too little memory",
        "what a connection may hold is bounded; a kill is F1",
        (
            _BEFORE + "test_a_hundred_strangers_cost_little",
            "hub/test_slow.py::test_what_is_held_for_a_device_that_catches_up_is_bounded",
        ),
        "nobody is turned away for the memory of the whole process",
    ),
    Row(
        "F21",
        "no open files left",
        "those who are here are served, others wait",
        (
            "system/test_exhaustion.py::test_without_open_files_it_serves_those_it_has_and_then_others_again",
        ),
    ),
    Row(
        "F22",
        "a process that stands still",
        "clients leave and come back, nothing is lost or double",
        (_SIGNALS + "test_a_server_that_stands_still_is_left_and_nothing_is_lost_or_double",),
        "the server does not watch its own loop",
    ),
    Row(
        "F23",
        "a bug in a rule, a read or a worker",
        "INTERNAL for that request; a worker's end ends the process",
        (
            _EXECUTOR + "test_a_bug_in_a_rule_harms_only_its_own_command",
            "service/test_dispatcher.py::test_a_bug_in_a_read_is_answered_and_logged",
        ),
    ),
    Row(
        "F24",
        "waits that are given up",
        "a commit goes on without who waited",
        (
            "service/test_every_await.py::test_one_harm_at_every_call_of_the_store",
            "storage/contract_commits.py::test_giving_up_the_wait_does_not_disturb_the_commit",
            "protocol/test_client.py::test_a_call_that_lost_its_caller_still_counts_at_the_server",
        ),
    ),
    Row(
        "F25",
        "receivers of webhooks that are down",
        "what is to be told waits, in order, on disk and bounded; nobody else waits",
        (
            "system/test_webhooks.py::test_nobody_waits_for_what_is_told",
            "webhooks/test_deliveries.py::test_a_dead_receiver_is_tried_from_time_to_time_only",
            "webhooks/test_deliveries.py::test_of_too_much_that_waits_the_oldest_is_dead",
            "webhooks/test_deliveries.py::"
            "test_a_full_outbox_of_a_dead_receiver_costs_by_what_comes",
            "webhooks/test_deliveries.py::test_a_group_that_is_slow_gives_way_to_the_others",
        ),
    ),
    Row(
        "F26",
        "an older backup put back",
        "a term of its own: whoever saw what the copy lacks is told reset",
        (
            "system/test_histories.py::test_whoever_saw_what_a_restored_copy_lacks_is_reset_for_ever",
            _SQLITE + "test_each_opening_is_another_term_than_all_others",
            _PROMISES + "test_a_cursor_of_another_server_is_a_reset",
        ),
    ),
    Row(
        "F27",
        "a directory that takes no writes",
        "refused at the start; while serving as F5: the process ends",
        (
            "system/test_refused_starts.py::test_a_directory_that_takes_no_writes_is_refused",
            _DISK + "test_a_failing_write_is_survived_or_ends_the_process",
        ),
    ),
    Row(
        "F28",
        "a write-ahead log that grows",
        "reads are short and hold nothing when they are over; what another process holds is not bounded",
        (_SQLITE + "test_no_read_keeps_it_from_being_used_again",),
        "another process that reads while 100 MB are written: scripts/faults --only reader",
    ),
    Row(
        "F29",
        "a log that nobody reads",
        "nothing waits for it",
        ("system/test_exhaustion.py::test_a_log_that_nobody_reads_stops_nothing",),
    ),
    Row(
        "F30",
        "no DNS, certificates of others that ended",
        "webhooks wait; lookups keep two threads of their own",
        (
            _RECEIVER + "test_many_lookups_of_a_dead_name_server_keep_two_threads",
            _RECEIVER + "test_a_certificate_that_nobody_vouches_for",
        ),
    ),
    Row(
        "F31",
        "a proxy that ends idle connections",
        "a ping every HEARTBEAT_MS",
        (_SIGNALS + "test_a_peer_that_answers_no_ping_is_ended_and_one_that_does_is_not",),
        "no proxy is run",
    ),
    Row(
        "F32",
        "the writer's thread ends",
        "the store is fenced",
        (
            _SQLITE + "test_an_error_of_unknown_kind_at_the_end_fences",
            "storage/test_writer.py::test_a_writer_that_fails_outside_of_a_transaction_fences",
        ),
    ),
)
