"""Custom fields: declared by the operator, with who may read and write each."""

from collections.abc import Mapping

from protocol.errors import ErrorCode, Refused
from server.domain.rules import FieldRule, Rulebook, Standing
from server.domain.text import check_length


def checked_group_fields(
    rulebook: Rulebook, custom: Mapping[str, str | None], standing: Standing
) -> None:
    """Return if somebody of ``standing`` may write these group fields with these values.

    Raises:
        Refused: BAD_REQUEST for an undeclared key or a long value, NO_PERMISSION for a field
            that others write.
    """
    _check(rulebook, rulebook.group_fields, custom, standing, "GROUP_CUSTOM_BYTES", is_self=False)


def checked_member_fields(
    rulebook: Rulebook, custom: Mapping[str, str | None], standing: Standing, *, is_self: bool
) -> None:
    """Return if these member fields may be written, by the member itself or by another.

    Raises:
        Refused: as ``checked_group_fields``.
    """
    _check(
        rulebook, rulebook.member_fields, custom, standing, "MEMBER_CUSTOM_BYTES", is_self=is_self
    )


def merged(
    values: Mapping[str, str], changes: Mapping[str, str | None]
) -> tuple[dict[str, str], dict[str, str | None]]:
    """``values`` with ``changes`` made (None deletes), and those changes that change something."""
    after = dict(values)
    effective: dict[str, str | None] = {}
    for key, value in changes.items():
        if after.get(key) == value:
            continue
        effective[key] = value
        if value is None:
            del after[key]
        else:
            after[key] = value
    return after, effective


def parted(
    rules: Mapping[str, FieldRule], changes: Mapping[str, str | None]
) -> tuple[dict[str, str | None], dict[str, str | None]]:
    """``changes`` that every member may read, and those that only some may."""
    for_all = {
        key: value for key, value in changes.items() if rules[key].read.allows(Standing.MEMBER)
    }
    return for_all, {key: value for key, value in changes.items() if key not in for_all}


def readable(
    rules: Mapping[str, FieldRule],
    values: Mapping[str, str],
    standing: Standing,
    *,
    is_self: bool = False,
) -> dict[str, str]:
    """Those of ``values`` that somebody of ``standing`` may read; undeclared ones are hidden."""
    return {
        key: value
        for key, value in values.items()
        if key in rules and rules[key].read.allows(standing, is_self=is_self)
    }


def _check(
    rulebook: Rulebook,
    rules: Mapping[str, FieldRule],
    custom: Mapping[str, str | None],
    standing: Standing,
    limit: str,
    *,
    is_self: bool,
) -> None:
    for key, value in custom.items():
        rule = rules.get(key)
        if rule is None:
            raise Refused(
                ErrorCode.BAD_REQUEST,
                f"the custom field {key[:64]!r} is not declared",
                field=f"custom.{key[:64]}",
            )
        if not rule.write.allows(standing, is_self=is_self):
            raise Refused(
                ErrorCode.NO_PERMISSION,
                f"the custom field {key!r} is written by {rule.write} only",
                rule=f"custom.{key}",
                have=standing.name.lower(),
                need=str(rule.write),
            )
        if value is not None:
            check_length(rulebook, f"custom.{key}", value, limit)
