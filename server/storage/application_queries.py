"""Questions about applications: who may handle them, and what waits for whom.

An application waits for its invitee, or else for the owner and admins of its group, as long as
the group lives.
"""

# ruff: noqa: S608 - composed of constants of this file only

from typing import Final


def _concerning(user: str, condition: str) -> str:
    """The applications that wait for ``user``, an expression, or did."""
    lives = "CROSS JOIN log_head AS h ON h.closed_position IS NULL AND h.log = 'g:' ||"
    return f"""
        SELECT a.* FROM member AS m INDEXED BY in_charge_of
            {lives} m.group_id
            CROSS JOIN application AS a INDEXED BY application_of_group
            ON a.group_id = m.group_id AND a.invitee_id IS NULL AND {condition}
            WHERE m.user_id = {user} AND m.rank > 1
        UNION ALL
        SELECT a.* FROM application AS a INDEXED BY application_of_invitee
            {lives} a.group_id
            WHERE a.invitee_id = {user} AND {condition}"""


HANDLERS: Final = """
SELECT json_group_array(json_array(k.value, (
    SELECT json_group_array(user_id) FROM (
        SELECT m.user_id FROM member AS m INDEXED BY member_in_charge
        WHERE m.group_id = k.value AND m.rank > 1 AND NOT EXISTS (
            SELECT 1 FROM log_head AS h
            WHERE h.log = 'g:' || k.value AND h.closed_position IS NOT NULL)))))
FROM json_each(?1) AS k
"""

PENDING: Final = f"""
SELECT json_group_array(json_array(w.user_id, (
    SELECT json_group_array(json(body)) FROM (
        SELECT body FROM ({_concerning("w.user_id", "a.status = 'pending'")})
        ORDER BY created_ms, application_id LIMIT ?2))))
FROM (SELECT value AS user_id FROM json_each(?1)) AS w
"""

APPLICATIONS_FOR: Final = f"""
SELECT '[' || ifnull(group_concat(body), '') || ']' FROM (
    SELECT body FROM (
        {_concerning("?1", "a.status IN ('pending', 'approved', 'rejected')")})
    WHERE (created_ms, application_id) < (?2, ?3)
    ORDER BY created_ms DESC, application_id DESC LIMIT ?4)
"""

UNREAD_APPLICATIONS: Final = f"""
SELECT count(*) FROM ({_concerning("?1", "a.status = 'pending'")})
WHERE created_ms > ifnull((
    SELECT json_extract(body, '$.up_to_ms') FROM detail
    WHERE kind = 'seen' AND group_id = '' AND user_id = ?1), 0)
"""
