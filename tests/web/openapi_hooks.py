"""What schemathesis has to know that JSON Schema cannot say; loaded by `schemathesis run`."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.hook
def map_body(_context: schemathesis.HookContext, body: Any) -> Any:
    """To JSON Schema, 5.0 is the integer 5. To us it is a mistyped size."""
    size = body.get("fileSize") if isinstance(body, dict) else None
    if isinstance(size, float) and size.is_integer():
        return body | {"fileSize": int(size)}
    return body
