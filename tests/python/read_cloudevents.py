"""Reads Kafka messages with CloudEvents' own SDK and prints what it made of them.

Standard input: a JSON array of {"headers": {name: base64}, "key": base64 or null, "value": base64}.
Standard output: a JSON array of {"attributes": {name: text}, "data": JSON, or {"bytes": base64}, or null}.
A message that the SDK refuses ends the program with the SDK's own words.
"""

import base64
import json
import sys
from datetime import datetime

from cloudevents.core.bindings import kafka


def message(encoded):
    def decoded(text):
        return None if text is None else base64.b64decode(text)

    headers = {name: decoded(value) for name, value in encoded["headers"].items()}
    return kafka.KafkaMessage(headers=headers, key=decoded(encoded["key"]), value=decoded(encoded["value"]))


def shown(event):
    def text(value):
        return value.isoformat() if isinstance(value, datetime) else str(value)

    data = event.get_data()
    if isinstance(data, (bytes, bytearray)):
        data = {"bytes": base64.b64encode(data).decode()}
    return {"attributes": {name: text(value) for name, value in event.get_attributes().items()}, "data": data}


# The SDK tells the two content modes apart by itself.
events = [kafka.from_kafka_event(message(encoded)) for encoded in json.load(sys.stdin)]
json.dump([shown(event) for event in events], sys.stdout)
