"""Every question that is asked of SQLite. Each is one statement and so one snapshot.

Answers come as one JSON text, for the reason that ``bulk`` gives: a row for each entry would let
go of the interpreter lock as often. Parameters are numbered in the order of the port's arguments.
"""

# ruff: noqa: S608 - composed of constants of this file only

from typing import Final

_ENTRIES: Final = (
    "'[' || ifnull(group_concat('[' || position || ',' || seq || ',' || body || ']'), '') || ']'"
)
"""A page of entries; ``records.decode_page`` reads it."""

_STATES: Final = """'[' || ifnull(group_concat('[' || body || ',' || read_seq || ','
    || last_message_ms || ',' || joined_position || ',' || joined_seq || ']'), '') || ']'"""
"""Members with what the store adds."""

_GROUP_LIVES: Final = """NOT EXISTS (
    SELECT 1 FROM log_head WHERE log = 'g:' || ?1 AND closed_position IS NOT NULL)"""

_LIVING_MEMBERSHIPS: Final = """
    membership AS m INDEXED BY membership_open
    CROSS JOIN log_head AS h ON h.log = 'g:' || m.group_id AND h.closed_position IS NULL"""

LOAD: Final = """
SELECT
    (SELECT '[' || ifnull(group_concat('[' || k.key || ',' || g.version || ',' || g.body || ']'),
            '') || ']'
        FROM json_each(?1) AS k CROSS JOIN grp AS g ON g.group_id = k.value),
    (SELECT '[' || ifnull(group_concat('[' || k.key || ',' || m.version || ',' || m.body || ']'),
            '') || ']'
        FROM json_each(?2) AS k CROSS JOIN member AS m
        ON m.group_id = json_extract(k.value, '$[0]')
        AND m.user_id = json_extract(k.value, '$[1]'))
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
SELECT (SELECT value FROM meta WHERE name = 'epoch'), position, floor FROM shard WHERE shard = ?1
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
SELECT (SELECT position FROM shard WHERE shard = 0), {_ENTRIES} FROM (
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

MISSED_COUNT: Final = f"""
{_SPANS}
SELECT ifnull(sum(
    CASE WHEN discards THEN (
        SELECT count(*) FROM entry AS e INDEXED BY entry_unsaid
        WHERE {_OF_SPAN} AND e.kind <> 'message')
    ELSE
        ifnull((SELECT e.seq FROM entry AS e INDEXED BY entry_of_log
            WHERE e.log = s.log AND e.position <= s.high ORDER BY e.position DESC LIMIT 1), 0)
        - ifnull((SELECT e.seq FROM entry AS e INDEXED BY entry_of_log
            WHERE e.log = s.log AND e.position <= s.low ORDER BY e.position DESC LIMIT 1), 0)
    END), 0)
FROM span AS s WHERE s.low < s.high
"""
"""Numbers are dense: what lies between two entries of a log is the difference of their seqs."""

FOLLOWED: Final = f"""
SELECT (SELECT position FROM shard WHERE shard = 0), (
    SELECT json_group_array(m.group_id) FROM {_LIVING_MEMBERSHIPS}
    WHERE m.user_id = ?1 AND m.left_position IS NULL)
"""

GROUP_HEADS: Final = """
SELECT json_group_array(json_array(k.value, h.seq, h.last_message_ms))
FROM json_each(?1) AS k CROSS JOIN log_head AS h ON h.log = 'g:' || k.value
"""

HISTORY_NEWEST: Final = f"""
SELECT {_ENTRIES} FROM (
    SELECT position, seq, body FROM entry
    WHERE log = 'g:' || ?1 AND seq > ?2 AND seq < ?3 ORDER BY seq DESC LIMIT ?4)
"""
HISTORY_OLDEST: Final = f"""
SELECT {_ENTRIES} FROM (
    SELECT position, seq, body FROM entry
    WHERE log = 'g:' || ?1 AND seq > ?2 AND seq < ?3 ORDER BY seq LIMIT ?4)
"""

MEMBER_STATES: Final = f"""
SELECT {_STATES} FROM (
    SELECT m.* FROM json_each(?2) AS k
    CROSS JOIN member AS m ON m.group_id = ?1 AND m.user_id = k.value)
WHERE {_GROUP_LIVES}
"""

MEMBERS: Final = f"""
SELECT {_STATES} FROM (
    SELECT * FROM member
    WHERE group_id = ?1 AND user_id > ?2 AND rank IN (SELECT value FROM json_each(?4))
        AND {_GROUP_LIVES}
    ORDER BY user_id LIMIT ?3)
"""
MEMBERS_IN_CHARGE: Final = f"""
SELECT {_STATES} FROM (
    SELECT * FROM member INDEXED BY member_in_charge
    WHERE group_id = ?1 AND user_id > ?2 AND rank > 1
        AND rank IN (SELECT value FROM json_each(?4)) AND {_GROUP_LIVES}
    ORDER BY user_id LIMIT ?3)
"""
"""For admins and owners only: they are few, whatever the size of the group."""

GROUPS_OF: Final = """
SELECT '[' || ifnull(group_concat('[' || grp_body || ',' || seq || ',' || last_ms || ',' || body
    || ',' || read_seq || ',' || last_message_ms || ',' || joined_position || ',' || joined_seq
    || ']'), '') || ']'
FROM (
    SELECT g.body AS grp_body, h.seq AS seq, h.last_message_ms AS last_ms, b.body AS body,
        b.read_seq, b.last_message_ms, b.joined_position, b.joined_seq
    FROM membership AS m
    CROSS JOIN log_head AS h ON h.log = 'g:' || m.group_id AND h.closed_position IS NULL
    CROSS JOIN grp AS g ON g.group_id = m.group_id
    CROSS JOIN member AS b ON b.group_id = m.group_id AND b.user_id = m.user_id
    WHERE m.user_id = ?1 AND m.joined_position > ?2 AND m.left_position IS NULL
        AND (?4 IS NULL OR g.type = ?4)
    ORDER BY m.joined_position LIMIT ?3)
"""

GROUPS_VERSION: Final = """
SELECT ifnull(max(max(m.changed, iif(m.left_position IS NULL, h.changed, 0))), 0)
FROM membership AS m CROSS JOIN log_head AS h ON h.log = 'g:' || m.group_id
WHERE m.user_id = ?1
"""
