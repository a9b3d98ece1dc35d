"""What Schemathesis generates and the bridge's schemas cannot leave out."""

import re

import schemathesis


def without_fractions(value):
    """Spells 1.0 as 1: JSON Schema takes both for integers, CloudEvents' JSON format (section 2.2) only the latter."""
    if isinstance(value, dict):
        return {name: without_fractions(member) for name, member in value.items()}
    if isinstance(value, list):
        return [without_fractions(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


NAME = re.compile(r"[a-zA-Z0-9._-]{1,64}", re.ASCII)
FLAGS = {"dry_run", "allow_uncounted"}
NUMBERS = {"limit": 1, "period": 1, "burst": 1, "cost": 0}


def is_number(value, least):
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_limit(value):
    return (
        isinstance(value, dict)
        and {"name", "key", *NUMBERS} <= set(value) <= {"name", "key", *NUMBERS, *FLAGS}
        and all(isinstance(value[name], str) and NAME.fullmatch(value[name]) for name in ("name", "key"))
        and all(is_number(value[name], least) for name, least in NUMBERS.items())
        and all(isinstance(value[flag], bool) for flag in FLAGS & set(value))
    )


def is_limited_request(value):
    return (
        isinstance(value, dict)
        and set(value) == {"first", "count", "limits"}
        and is_number(value["first"], 0)
        and is_number(value["count"], 1)
        and isinstance(value["limits"], list)
        and 1 <= len(value["limits"]) <= 8
        and all(is_limit(limit) for limit in value["limits"])
    )


def without_limits(body):
    """Leaves out limits that are as the schema says. Which records they are about has to fit the call, and they need a
    Redis; a schema can say neither."""
    limits = body.get("limits") if isinstance(body, dict) else None
    if isinstance(limits, list) and all(is_limited_request(request) for request in limits):
        return {name: member for name, member in body.items() if name != "limits"}
    return body


@schemathesis.hook
def map_body(context, body):
    return without_fractions(body)


@schemathesis.hook
def before_call(context, case, kwargs):
    """Of all requests, since those that try a schema's bounds are not mapped."""
    body = without_limits(case.body)
    if body is not case.body:
        case.body = body
