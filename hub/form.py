"""A form's body (`application/x-www-form-urlencoded`) as fields: text, each once."""

from __future__ import annotations

from urllib.parse import parse_qsl

from kernel import BadInput, TooLarge


def form_fields(body: bytes, most: int) -> dict[str, str]:
    """Return the fields; raise `BadInput` for what is no form or names a field twice, `TooLarge` above `most`."""
    if body.count(b"&") >= most:
        raise TooLarge(f"a form has at most {most} fields ([hub] json_nodes)")
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(body), errors="strict")
    except (UnicodeDecodeError, ValueError):
        raise BadInput("the body is no form: expected name=value&name=value, percent-escaped UTF-8") from None
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name in fields:
            raise BadInput(f"the form names `{name[:100]}` twice; once is enough", details={"field": name[:100]})
        fields[name] = value
    return fields
