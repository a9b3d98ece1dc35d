"""What Schemathesis generates and the bridge's schemas cannot leave out."""

import schemathesis


def without_fractions(value):
    """Spells 1.0 as 1: JSON Schema takes both for integers, CloudEvents' JSON format (section 2.2) only the latter."""
    if isinstance(value, dict):
        return {name: without_fractions(member) for name, member in value.items()}
    if isinstance(value, list):
        return [without_fractions(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


@schemathesis.hook
def map_body(context, body):
    return without_fractions(body)
