"""Every question that is asked of SQLite. Each is one statement and so one snapshot.

Answers come as one JSON text, for the reason that ``bulk`` gives: a row for each entry would let
go of the interpreter lock as often. ``sqlite_reads`` gives the parameters, in their order.
"""

# ruff: noqa: S608 - composed of constants of this file only

from typing import Final

_ENTRIES: Final = (
    "'[' || ifnull(group_concat('[' || position || ',' || seq || ',' || body || ']'), '') || ']'"
)
"""A page of entries; ``records.decode_page`` reads it."""

_STATE: Final = """m.body || ',' || ifnull(k.read_seq, 0) || ',' || ifnull(k.last_message_ms, 0)
    || ',' || ifnull(k.joined_position, 0) || ',' || ifnull(k.joined_seq, 0)
    || ',' || ifnull(k.read_quiet, 0)"""
_MARK: Final = "LEFT JOIN mark AS k ON k.group_id = m.group_id AND k.user_id = m.user_id"
_STATES: Final = f"""SELECT '[' || ifnull(group_concat('[' || {_STATE} || ']'), '') || ']'"""
"""Members with what the store adds."""

_GROUP_LIVES: Final = """NOT EXISTS (
    SELECT 1 FROM log_head WHERE log = 'g:' || ?1 AND closed_position IS NOT NULL)"""

_LIVING_MEMBERSHIPS: Final = """
    membership AS m INDEXED BY membership_open
    CROSS JOIN log_head AS h ON h.log = 'g:' || m.group_id AND h.closed_position IS NULL"""

NAMED_ROWS: Final = """
WITH wanted (place, kind, a, b) AS MATERIALIZED (
    SELECT key, json_extract(value, '$[0]'), json_extract(value, '$[1]'),
        json_extract(value, '$[2]')
    FROM json_each(?1)),
named_row (place, version, body) AS (
    SELECT w.place, g.version, g.body FROM wanted AS w
        CROSS JOIN grp AS g ON g.group_id = w.a WHERE w.kind = 'group'
    UNION ALL SELECT w.place, m.version, m.body FROM wanted AS w
        CROSS JOIN member AS m ON m.group_id = w.a AND m.user_id = w.b WHERE w.kind = 'member'
    UNION ALL SELECT w.place, d.version, d.body FROM wanted AS w
        CROSS JOIN detail AS d ON d.kind = w.kind AND d.group_id = w.a AND d.user_id = w.b
    UNION ALL SELECT w.place, p.version, p.body FROM wanted AS w
        CROSS JOIN application AS p ON p.application_id = w.a WHERE w.kind = 'application')
"""
"""The rows of which ?1 lists what ``records.name_of`` says, with their places in that list."""

LOAD: Final = f"""
{NAMED_ROWS}
SELECT '[' || ifnull(group_concat('[' || place || ',' || version || ',' || body || ']'), '') || ']'
FROM named_row
"""

GROUP_COUNTS: Final = f"""
SELECT json_group_object(k.value, (
    SELECT count(*) FROM {_LIVING_MEMBERSHIPS}
    WHERE m.user_id = k.value AND m.left_position IS NULL))
FROM json_each(?1) AS k
"""

COUNTERS: Final = """
SELECT json_group_object(c.name, c.value)
FROM json_each(?1) AS k CROSS JOIN counter AS c ON c.name = k.value
"""

REPLAY: Final = "SELECT digest, reply, seq FROM request WHERE user_id = ?1 AND request_id = ?2"

HEADS: Final = """
SELECT (SELECT name FROM term ORDER BY id DESC LIMIT 1), position, floor, (
    SELECT json_group_object(name, next) FROM (
        SELECT name, lead(start_position) OVER (ORDER BY id) AS next FROM term)
    WHERE next IS NOT NULL), (
    SELECT json_extract(body, '$.time_ms') FROM entry
    WHERE position = (SELECT max(position) FROM entry))
FROM shard WHERE shard = ?1
"""

TAIL: Final = f"""
SELECT {_ENTRIES} FROM (
    SELECT position, seq, body FROM entry WHERE position > ?1 ORDER BY position LIMIT ?2)
"""

_SPANS: Final = """
WITH span (log, low, high, discards) AS MATERIALIZED (
    SELECT h.log, max(m.joined_position - 1, ?2),
        min(ifnull(m.left_position, ?3), ifnull(h.closed_position, ?3), ?3), m.discards
    FROM membership AS m CROSS JOIN log_head AS h ON h.log = 'g:' || m.group_id
    WHERE m.user_id = ?1 AND h.last_position > ?2 AND ifnull(m.left_position, ?3) > ?2
    UNION ALL SELECT 'u:' || ?1, ?2, ?3, 0)
"""
"""Of each log that moved the part that the user may see; ?1 user, ?2 after, ?3 upto."""

_OF_SPAN: Final = "e.log = s.log AND e.position > s.low AND e.position <= s.high"

MISSED: Final = f"""
{_SPANS}
SELECT (SELECT position FROM shard WHERE shard = 0),
    (SELECT floor FROM shard WHERE shard = 0), {_ENTRIES} FROM (
    SELECT position, seq, body FROM entry WHERE position IN (
        SELECT * FROM (
            SELECT e.position FROM span AS s
                CROSS JOIN entry AS e INDEXED BY entry_of_log ON {_OF_SPAN}
                WHERE NOT s.discards
            UNION ALL
            SELECT e.position FROM span AS s
                CROSS JOIN entry AS e INDEXED BY entry_unsaid ON {_OF_SPAN}
                WHERE s.discards AND e.kind <> 'message')
        ORDER BY 1 LIMIT ?4))
"""

_KEPT_BEFORE: Final = """(SELECT seq - 1 FROM entry INDEXED BY entry_of_log
            WHERE log = s.log ORDER BY position LIMIT 1)"""
_LAST_SEQ: Final = """ifnull((SELECT seq FROM entry INDEXED BY entry_of_log
            WHERE log = s.log AND position <= {end} ORDER BY position DESC LIMIT 1), {else_})"""

MISSED_COUNT: Final = f"""
{_SPANS}
SELECT ifnull(sum(
    CASE WHEN discards THEN (
        SELECT count(*) FROM entry AS e INDEXED BY entry_unsaid
        WHERE {_OF_SPAN} AND e.kind <> 'message')
    ELSE
        {_LAST_SEQ.format(end="s.high", else_=_KEPT_BEFORE)}
        - {_LAST_SEQ.format(end="s.low", else_=_KEPT_BEFORE)}
    END), 0)
FROM span AS s WHERE s.low < s.high
"""
"""Numbers are dense: what lies between two entries of a log is the difference of their seqs."""

FOLLOWED: Final = f"""
SELECT (SELECT position FROM shard WHERE shard = 0), (
    SELECT json_group_array(json_array(k.value, m.group_id, m.discards))
    FROM json_each(?1) AS k CROSS JOIN {_LIVING_MEMBERSHIPS}
    WHERE m.user_id = k.value AND m.left_position IS NULL)
"""

_FIRST_SEQ: Final = """ifnull((SELECT seq FROM entry INDEXED BY entry_of_log
    WHERE log = h.log ORDER BY position LIMIT 1), h.seq + 1)"""

GROUP_HEADS: Final = f"""
SELECT json_group_array(json_array(k.value, h.seq, h.last_message_ms, {_FIRST_SEQ}, h.quiet))
FROM json_each(?1) AS k CROSS JOIN log_head AS h ON h.log = 'g:' || k.value
"""

_PLACE: Final = """
WITH RECURSIVE place (low, step) AS (
    SELECT iif(seq <= ?2, last_position, 0), iif(seq <= ?2, 0, 1 << 40)
    FROM log_head WHERE log = 'g:' || ?1
    UNION ALL
    SELECT low + step * (?2 >= ifnull((
            SELECT seq FROM entry INDEXED BY entry_of_log
            WHERE log = 'g:' || ?1 AND position <= low + step
            ORDER BY position DESC LIMIT 1), 0)),
        step >> 1
    FROM place WHERE step > 0)
"""
"""The greatest ``low`` is the last position of ?1's log up to which no number exceeds ?2, found by
halving: 41 look-ups in the index, which is good for 2^41 positions."""

HISTORY_NEWEST: Final = f"""
{_PLACE}
SELECT {_ENTRIES} FROM (
    SELECT position, seq, body FROM entry INDEXED BY entry_of_log
    WHERE log = 'g:' || ?1 AND position <= (SELECT max(low) FROM place)
    ORDER BY position DESC LIMIT ?3)
"""
"""The last ?3 entries of ?1's log with numbers up to ?2."""

HISTORY_OLDEST: Final = f"""
{_PLACE}
SELECT {_ENTRIES} FROM (
    SELECT position, seq, body FROM entry INDEXED BY entry_of_log
    WHERE log = 'g:' || ?1 AND position > (SELECT max(low) FROM place)
    ORDER BY position LIMIT ?3)
"""
"""The first ?3 entries of ?1's log with numbers above ?2."""

ENTRY_AT: Final = f"""
{_PLACE}
SELECT position, body FROM entry INDEXED BY entry_of_log
WHERE log = 'g:' || ?1 AND position > (SELECT max(low) FROM place) AND seq = ?2 + 1
ORDER BY position LIMIT 1
"""
"""The entry of ?1's log with the number after ?2."""

MEMBER_STATES: Final = f"""
{_STATES} FROM json_each(?2) AS u
    CROSS JOIN member AS m ON m.group_id = ?1 AND m.user_id = u.value {_MARK}
WHERE {_GROUP_LIVES}
"""

MEMBERS: Final = f"""
{_STATES} FROM (
    SELECT * FROM member
    WHERE group_id = ?1 AND user_id > ?2 AND rank IN (SELECT value FROM json_each(?4))
        AND {_GROUP_LIVES}
    ORDER BY user_id LIMIT ?3 OFFSET ?5) AS m {_MARK}
"""
MEMBERS_IN_CHARGE: Final = f"""
{_STATES} FROM (
    SELECT * FROM member INDEXED BY member_in_charge
    WHERE group_id = ?1 AND user_id > ?2 AND rank > 1
        AND rank IN (SELECT value FROM json_each(?4)) AND {_GROUP_LIVES}
    ORDER BY user_id LIMIT ?3 OFFSET ?5) AS m {_MARK}
"""
"""For admins and owners only: they are few, whatever the size of the group."""

GROUPS_OF: Final = f"""
SELECT '[' || ifnull(group_concat('[' || row || ']'), '') || ']' FROM (
    SELECT g.body || ',' || h.seq || ',' || h.last_message_ms || ',' || {_FIRST_SEQ} || ','
        || h.quiet || ',' || {_STATE} AS row
    FROM membership AS s
    CROSS JOIN log_head AS h ON h.log = 'g:' || s.group_id AND h.closed_position IS NULL
    CROSS JOIN grp AS g ON g.group_id = s.group_id
    CROSS JOIN member AS m ON m.group_id = s.group_id AND m.user_id = s.user_id
    {_MARK}
    WHERE s.user_id = ?1 AND s.joined_position > ?2 AND s.left_position IS NULL
        AND (?4 IS NULL OR g.type = ?4)
    ORDER BY s.joined_position LIMIT ?3)
"""

GROUPS_VERSION: Final = """
SELECT max(purged, ifnull((
    SELECT max(max(m.changed, iif(m.left_position IS NULL, h.changed, 0)))
    FROM membership AS m CROSS JOIN log_head AS h ON h.log = 'g:' || m.group_id
    WHERE m.user_id = ?1), 0))
FROM shard WHERE shard = 0
"""
"""A purge takes memberships away; the number goes on from there, so that none comes twice."""

READ_STATES: Final = """
SELECT json_group_array(json_array(u.key, ifnull(h.seq, 0), ifnull(k.read_seq, 0),
    ifnull(k.last_message_ms, 0), ifnull(h.quiet, 0), ifnull(k.read_quiet, 0)))
FROM json_each(?1) AS u
LEFT JOIN log_head AS h ON h.log = 'g:' || json_extract(u.value, '$[0]')
LEFT JOIN mark AS k ON k.group_id = json_extract(u.value, '$[0]')
    AND k.user_id = json_extract(u.value, '$[1]')
"""

QUIET_ABOVE: Final = "SELECT count(*) FROM quiet WHERE log = 'g:' || ?1 AND seq > ?2"

REVOCATIONS: Final = """
SELECT json_group_object(user_id, json_extract(body, '$.up_to_s'))
FROM detail WHERE group_id = '' AND kind = 'revoked'
"""

IDLE_GROUPS: Final = """
SELECT json_group_array(group_id) FROM (
    SELECT g.group_id FROM grp AS g INDEXED BY grp_living
    CROSS JOIN log_head AS h ON h.log = 'g:' || g.group_id AND h.closed_position IS NULL
    WHERE g.closed_ms = 0 AND g.changed_ms < ?1 AND h.last_message_ms < ?1 AND NOT EXISTS (
        SELECT 1 FROM entry AS e
        WHERE e.position = h.last_position AND json_extract(e.body, '$.time_ms') >= ?1)
    ORDER BY g.changed_ms, g.group_id LIMIT ?2)
"""

GROUP_IDS: Final = """
SELECT (SELECT count(*) FROM grp WHERE closed_ms = 0 AND (?1 IS NULL OR type = ?1)), (
    SELECT json_group_array(group_id) FROM (
        SELECT group_id FROM grp WHERE closed_ms = 0 AND (?1 IS NULL OR type = ?1)
        ORDER BY group_id LIMIT ?3 OFFSET ?2))
"""

_BANNED_UNTIL: Final = "json_extract(body, '$.banned_until_ms')"
BANNED: Final = f"""
SELECT json_group_array(json_array(user_id, until)) FROM (
    SELECT user_id, {_BANNED_UNTIL} AS until FROM detail
        WHERE group_id = ?1 AND kind = 'remembered' AND until > ?2 AND {_GROUP_LIVES}
    ORDER BY user_id LIMIT ?4 OFFSET ?3)
"""

_UNTIL: Final = "json_extract(body, '$.mute_until_ms')"
MUTED: Final = f"""
SELECT json_group_array(json_array(user_id, until)) FROM (
    SELECT user_id, {_UNTIL} AS until FROM member
        WHERE group_id = ?1 AND until > ?2 AND {_GROUP_LIVES}
    UNION ALL SELECT user_id, {_UNTIL} AS until FROM detail
        WHERE group_id = ?1 AND kind = 'remembered' AND until > ?2 AND {_GROUP_LIVES}
    ORDER BY user_id LIMIT ?4 OFFSET ?3)
"""
