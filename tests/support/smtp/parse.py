"""Reads a mail with Python's own parser, which knows nothing of usherd, and prints what a reader gets as JSON."""

import json
import sys
from email import policy
from email.parser import BytesParser


def text(value):
    """A header's value; raw UTF-8 (RFC 6532), which the parser keeps as surrogates, is read as such."""
    return str(value).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def parse(raw):
    message = BytesParser(policy=policy.default).parsebytes(raw)
    parts = [part for part in message.walk() if not part.is_multipart()]
    defects = [repr(defect) for part in message.walk() for defect in part.defects]
    defects += [f"{name}: {defect!r}" for name, value in message.items() for defect in value.defects]
    return {
        "headers": [[name, text(value)] for name, value in message.items()],
        "to_name": text(message["To"].addresses[0].display_name),
        "to_address": text(message["To"].addresses[0].addr_spec),
        "structure": [part.get_content_type() for part in message.walk()],
        "text": next(p.get_content() for p in parts if p.get_content_type() == "text/plain").replace("\r\n", "\n"),
        "html": next(p.get_content() for p in parts if p.get_content_type() == "text/html").replace("\r\n", "\n"),
        "defects": defects,
        "longest_line": max(len(line) for line in raw.split(b"\r\n")),
        "bare_newlines": raw.replace(b"\r\n", b"").count(b"\n") + raw.replace(b"\r\n", b"").count(b"\r"),
        "ascii": raw.isascii(),
    }


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as file:
        json.dump(parse(file.read()), sys.stdout)
