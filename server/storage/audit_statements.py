"""What must hold of the tables, as statements: each gives a text for each thing that is wrong."""

# ruff: noqa: S608 - composed of constants of this file only

from collections.abc import Mapping
from typing import Final

from protocol.vocabulary import Role

_LIVES: Final = "log_head AS h ON h.log = 'g:' || m.group_id AND h.closed_position IS NULL"

_VERSIONED: Final = {
    "grp": "'group ' || group_id",
    "member": "'member ' || user_id || ' of ' || group_id",
    "detail": "kind || ' of ' || group_id || ' and ' || user_id",
    "application": "'application ' || application_id",
}

STATEMENTS: Final[Mapping[str, str]] = {
    "shard": """
        SELECT 'there are ' || count(*) || ' instead of one' FROM shard HAVING count(*) <> 1
        UNION ALL
        SELECT 'floor ' || floor || ', position ' || position || ', purge ' || purged
            || ', change ' || change || ' are not in order'
        FROM shard WHERE floor < 0 OR floor > position OR purged > change
    """,
    "terms": """
        SELECT 'term ' || name || ' starts at ' || start_position || ', after one at ' || before
            || ', in a log that ends at ' || position
        FROM (SELECT name, start_position,
            lag(start_position, 1, 0) OVER (ORDER BY id) AS before FROM term)
        CROSS JOIN shard WHERE start_position < before OR start_position > position
    """,
    "positions": """
        SELECT 'entry ' || e.position || ' is not above ' || s.floor || ' and up to ' || s.position
        FROM entry AS e CROSS JOIN shard AS s
        WHERE e.position <= s.floor OR e.position > s.position
    """,
    "versions": " UNION ALL ".join(
        f"""
        SELECT {name} || ' has version ' || version || ', the log ends at ' || position
        FROM {table} CROSS JOIN shard WHERE version < 1 OR version > position
        """
        for table, name in _VERSIONED.items()
    ),
    "numbers": """
        SELECT log || ' has ' || seq || ' after ' || before || ' at position ' || position
        FROM (SELECT log, position, seq,
            lag(seq) OVER (PARTITION BY log ORDER BY position) AS before FROM entry)
        WHERE seq <> before + 1
    """,
    "log_ends": """
        SELECT e.log || ' ends with ' || e.seq || ' at position ' || e.position || ', its head says '
            || ifnull(h.seq || ' at ' || h.last_position, 'nothing')
        FROM (SELECT log, max(seq) AS seq, max(position) AS position FROM entry GROUP BY log) AS e
        LEFT JOIN log_head AS h ON h.log = e.log
        WHERE h.log IS NULL OR h.seq <> e.seq OR h.last_position <> e.position
        UNION ALL
        SELECT h.log || ' has no entries, its head says ' || h.seq || ' at ' || h.last_position
        FROM log_head AS h CROSS JOIN shard AS s
        WHERE h.last_position > s.floor
            AND NOT EXISTS (SELECT 1 FROM entry AS e WHERE e.log = h.log)
        UNION ALL
        SELECT h.log || ' has a head with numbers that cannot be: ' || h.seq || ' at '
            || h.last_position || ', change ' || h.changed || ', closed at '
            || ifnull(h.closed_position, 'no position')
        FROM log_head AS h CROSS JOIN shard AS s
        WHERE h.seq < 0 OR h.seq > h.last_position OR h.changed > s.change
            OR (h.seq = 0) <> (h.last_position = 0) OR h.closed_position > s.position
            OR h.closed_position < 1
    """,
    "group_logs": """
        SELECT 'group ' || group_id || ' has no log' FROM grp
        WHERE NOT EXISTS (SELECT 1 FROM log_head WHERE log = 'g:' || group_id)
        UNION ALL
        SELECT log || ' is the log of no group' FROM log_head
        WHERE log GLOB 'g:*' AND NOT EXISTS (SELECT 1 FROM grp WHERE group_id = substr(log, 3))
    """,
    "closed": """
        SELECT 'group ' || g.group_id || ' was closed at ' || g.closed_ms || ' ms, and its log at '
            || ifnull(h.closed_position, 'no') || ' position'
        FROM grp AS g CROSS JOIN log_head AS h ON h.log = 'g:' || g.group_id
        WHERE (g.closed_ms > 0) <> (h.closed_position IS NOT NULL)
    """,
    "memberships": """
        SELECT 'membership of ' || m.user_id || ' in ' || m.group_id || ' from ' || m.joined_position
            || ' to ' || ifnull(m.left_position, 'now') || ' cannot be'
        FROM membership AS m CROSS JOIN shard AS s
        LEFT JOIN log_head AS h ON h.log = 'g:' || m.group_id
        WHERE m.joined_position < 1 OR m.joined_position > s.position
            OR m.left_position < m.joined_position OR m.left_position > s.position
            OR m.joined_seq < 0 OR h.log IS NULL OR m.joined_seq > h.seq
            OR m.changed > s.change OR m.discards NOT IN (0, 1)
    """,
    "overlaps": """
        SELECT 'membership of ' || user_id || ' in ' || group_id || ' from ' || joined_position
            || ' to ' || ifnull(left_position, 'now') || ' and the one from ' || next || ' overlap'
        FROM (SELECT user_id, group_id, joined_position, left_position, lead(joined_position)
            OVER (PARTITION BY user_id, group_id ORDER BY joined_position) AS next FROM membership)
        WHERE next IS NOT NULL AND (left_position IS NULL OR next <= left_position)
    """,
    "members": f"""
        SELECT m.user_id || ' is a member of ' || m.group_id || ' and sees nothing of it'
        FROM member AS m CROSS JOIN {_LIVES}
        WHERE NOT EXISTS (SELECT 1 FROM membership AS i WHERE i.user_id = m.user_id
            AND i.group_id = m.group_id AND i.left_position IS NULL)
        UNION ALL
        SELECT m.user_id || ' sees ' || m.group_id || ' and is no member of it'
        FROM membership AS m CROSS JOIN {_LIVES}
        WHERE m.left_position IS NULL AND NOT EXISTS (
            SELECT 1 FROM member AS i WHERE i.user_id = m.user_id AND i.group_id = m.group_id)
        UNION ALL
        SELECT m.user_id || ' is a member of ' || m.group_id || ', which does not exist'
        FROM member AS m WHERE NOT EXISTS (SELECT 1 FROM grp WHERE group_id = m.group_id)
    """,
    "member_counts": """
        SELECT 'group ' || group_id || ' counts ' || counted || ' members and has ' || there
        FROM (SELECT group_id, json_extract(body, '$.member_count') AS counted,
            (SELECT count(*) FROM member AS m WHERE m.group_id = g.group_id) AS there
            FROM grp AS g WHERE closed_ms = 0 AND type NOT IN (SELECT value FROM json_each(?1)))
        WHERE counted <> there
    """,
    "owners": f"""
        SELECT 'group ' || group_id || ' is owned by "' || owner || '", its members say "'
            || owners || '"'
        FROM (SELECT group_id, json_extract(body, '$.owner_id') AS owner,
            ifnull((SELECT group_concat(user_id) FROM member AS m
                WHERE m.group_id = g.group_id AND m.rank = {Role.OWNER.rank}), '') AS owners
            FROM grp AS g WHERE closed_ms = 0)
        WHERE owner <> owners
    """,
    "marks": f"""
        SELECT m.user_id || ' is a member of ' || m.group_id || ' without a mark'
        FROM member AS m WHERE NOT EXISTS (
            SELECT 1 FROM mark AS k WHERE k.group_id = m.group_id AND k.user_id = m.user_id)
        UNION ALL
        SELECT k.user_id || ' has a mark in ' || k.group_id || ' and is no member of it'
        FROM mark AS k WHERE NOT EXISTS (
            SELECT 1 FROM member AS m WHERE k.group_id = m.group_id AND k.user_id = m.user_id)
        UNION ALL
        SELECT m.user_id || ' joined ' || m.group_id || ' after ' || m.joined_seq || ' at '
            || m.joined_position || ' and has read up to ' || m.read_seq || ' of ' || h.seq
        FROM mark AS m CROSS JOIN log_head AS h ON h.log = 'g:' || m.group_id
        WHERE m.joined_seq < 0 OR m.read_seq < 0 OR m.read_seq > h.seq
            OR m.last_message_ms < 0
        UNION ALL
        SELECT 'the mark of ' || m.user_id || ' in ' || m.group_id || ' is not of the membership'
        FROM mark AS m CROSS JOIN {_LIVES} CROSS JOIN membership AS i
            ON i.user_id = m.user_id AND i.group_id = m.group_id AND i.left_position IS NULL
        WHERE m.joined_position <> i.joined_position OR m.joined_seq <> i.joined_seq
    """,
    "quiet": """
        SELECT 'entry ' || e.position || ' of ' || e.log || ' is quiet, and counts as unread'
        FROM entry AS e WHERE e.kind = 'message' AND json_extract(e.body, '$.is_quiet')
            AND NOT EXISTS (SELECT 1 FROM quiet AS q
                WHERE q.log = e.log AND q.seq = e.seq AND q.position = e.position)
        UNION ALL
        SELECT 'number ' || q.seq || ' of ' || q.log || ' does not count as unread, and is not quiet'
        FROM quiet AS q WHERE NOT EXISTS (SELECT 1 FROM entry AS e WHERE e.position = q.position
            AND e.log = q.log AND e.seq = q.seq AND json_extract(e.body, '$.is_quiet'))
        UNION ALL
        SELECT log || ' counts ' || quiet || ' of ' || seq || ' as quiet and has ' || there
        FROM (SELECT h.log, h.seq, h.quiet,
                (SELECT count(*) FROM quiet AS q WHERE q.log = h.log) AS there,
                (SELECT min(e.seq) FROM entry AS e WHERE e.log = h.log) AS first
            FROM log_head AS h WHERE h.quiet OR EXISTS (SELECT 1 FROM quiet WHERE log = h.log))
        WHERE there > quiet OR there < quiet AND first = 1 OR quiet > seq OR quiet < 0
        UNION ALL
        SELECT m.user_id || ' has read ' || m.read_quiet || ' quiet ones of ' || m.group_id
            || ' up to ' || m.read_seq || ', where the log has ' || h.quiet || ' of ' || h.seq
        FROM mark AS m CROSS JOIN log_head AS h ON h.log = 'g:' || m.group_id
        WHERE m.read_quiet < 0 OR m.read_quiet > max(m.read_seq, 0) OR m.read_quiet > h.quiet
            OR m.read_quiet < h.quiet AND m.read_quiet < h.quiet - (
                SELECT count(*) FROM quiet AS q WHERE q.log = h.log AND q.seq > m.read_seq)
                AND m.read_seq + 1 >= ifnull(
                    (SELECT min(e.seq) FROM entry AS e WHERE e.log = h.log), h.seq + 1)
    """,
    "edges": """
        SELECT 'entry ' || e.position || ' lets ' || u.value || ' into '
            || json_extract(e.body, '$.group_id') || ', where no membership begins'
        FROM entry AS e CROSS JOIN json_each(e.body, '$.joined') AS u
        WHERE e.kind <> 'message' AND NOT EXISTS (SELECT 1 FROM membership AS m
            WHERE m.user_id = u.value AND m.joined_position = e.position
                AND m.group_id = json_extract(e.body, '$.group_id'))
        UNION ALL
        SELECT 'entry ' || e.position || ' lets ' || u.value || ' out of '
            || json_extract(e.body, '$.group_id') || ', where no membership ends'
        FROM entry AS e CROSS JOIN json_each(e.body, '$.left') AS u
        WHERE e.kind <> 'message' AND NOT EXISTS (SELECT 1 FROM membership AS m
            WHERE m.user_id = u.value AND m.left_position = e.position
                AND m.group_id = json_extract(e.body, '$.group_id'))
        UNION ALL
        SELECT 'membership of ' || m.user_id || ' in ' || m.group_id || ' begins at '
            || m.joined_position || ', where no entry says so'
        FROM membership AS m CROSS JOIN shard AS s
        WHERE m.joined_position > s.floor AND NOT EXISTS (
            SELECT 1 FROM entry AS e CROSS JOIN json_each(e.body, '$.joined') AS u
            WHERE e.position = m.joined_position AND u.value = m.user_id
                AND json_extract(e.body, '$.group_id') = m.group_id)
        UNION ALL
        SELECT 'membership of ' || m.user_id || ' in ' || m.group_id || ' ends at '
            || m.left_position || ', where no entry says so'
        FROM membership AS m CROSS JOIN shard AS s
        WHERE m.left_position > s.floor AND NOT EXISTS (
            SELECT 1 FROM entry AS e CROSS JOIN json_each(e.body, '$.left') AS u
            WHERE e.position = m.left_position AND u.value = m.user_id
                AND json_extract(e.body, '$.group_id') = m.group_id)
    """,
    "closings": """
        SELECT 'entry ' || e.position || ' closes ' || json_extract(e.body, '$.group_id')
            || ', whose log is not closed there'
        FROM entry AS e WHERE e.kind <> 'message' AND json_extract(e.body, '$.closes')
            AND NOT EXISTS (SELECT 1 FROM log_head AS h
                WHERE h.log = 'g:' || json_extract(e.body, '$.group_id')
                    AND h.closed_position = e.position)
    """,
    "details": """
        SELECT kind || ' of "' || user_id || '" in ' || group_id || ', which does not exist'
        FROM detail WHERE kind IN ('remembered', 'attributes', 'counters')
            AND NOT EXISTS (SELECT 1 FROM grp WHERE grp.group_id = detail.group_id)
    """,
    "applications": """
        SELECT 'application ' || application_id || ' is to ' || group_id || ', which does not exist'
        FROM application AS a WHERE NOT EXISTS (SELECT 1 FROM grp WHERE group_id = a.group_id)
        UNION ALL
        SELECT 'application ' || application_id || ' is ' || status || ' and was handled at '
            || handled_ms
        FROM application WHERE (status = 'pending') <> (handled_ms = 0)
    """,
    "requests": """
        SELECT 'request ' || request_id || ' of ' || user_id || ' is remembered with number '
            || ifnull(seq, 'none') || ' at ' || at_ms || ' ms, digest of ' || length(digest)
        FROM request WHERE at_ms < 1 OR at_ms > 1 << 53 OR length(digest) = 0 OR seq < 1
            OR seq > (SELECT ifnull(max(seq), 0) FROM log_head WHERE log GLOB 'g:*')
                AND (SELECT purged = 0 FROM shard)
    """,
    "counters": """
        SELECT 'counter ' || name || ' is ' || value FROM counter
        WHERE name = '' OR abs(value) >= 1 << 53
    """,
    "outbox": """
        SELECT 'item ' || delivery_id || ' of the outbox says: ' || substr(body, 1, 60)
        FROM (SELECT * FROM outbox UNION ALL SELECT * FROM outbox_dead)
        WHERE CASE WHEN json_valid(body) THEN json_extract(body, '$.CallbackCommand') <> name
                OR json_extract(body, '$.CallbackCommand') IS NULL ELSE 1 END
            OR attempts < 0 OR due_ms < 0 OR seq < 1
        UNION ALL
        SELECT 'item ' || delivery_id || ' is there ' || count(*) || ' times'
        FROM (SELECT delivery_id FROM outbox UNION ALL SELECT delivery_id FROM outbox_dead)
        GROUP BY delivery_id HAVING count(*) > 1
    """,
}
"""By name; ?1 is a JSON array of the types of groups that store no members."""
