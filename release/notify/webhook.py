"""The webhook: a message as JSON to RELEASE_WEBHOOK_URL. Its `text` is what Slack shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


def send(url: str, message: Mapping[str, Any], within: float) -> tuple[str, bool]:
    """Posts a message once, within so many seconds.

    Returns what went wrong ("" for nothing), and whether it may pass.
    """
    from release.web import Request  # noqa: PLC0415 -- brings ssl and email along; most runs have no webhook

    body = msgspec.json.encode({**message, "text": escaped(message["text"])})
    request = Request("POST", url, timeout=within, headers={"Content-Type": "application/json"}, body=body)
    answer = request.wait(within)
    if answer.ok:
        return "", False
    if answer.status is None:
        return str(answer), True
    if answer.redirect:
        return f"it answered {answer.status}; redirects are not followed", False
    return f"it answered {answer.status}", answer.status >= 500 or answer.status == 429  # noqa: PLR2004 -- HTTP statuses


def escaped(text: str) -> str:
    """Escapes a text for Slack, which reads `<!channel>` in it: an error message is not to call everybody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
