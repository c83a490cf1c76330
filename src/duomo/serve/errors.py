"""The one form of failures: OpenAI's, with the id that the log has too."""

from typing import Any

TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
"""OpenAI's names for what went wrong, by status; the others are invalid_request_error below 500 and server_error above."""


def error_body(status: int, message: str, identity: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    kind = TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"id": identity, "message": message, "type": kind, "param": param, "code": code}}
