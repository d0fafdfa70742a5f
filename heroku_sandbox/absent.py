"""What Heroku's Platform API has and the sandbox has not: a sentence instead of an answer that could mislead."""

from __future__ import annotations

import re

_APP = r"/apps/[^/]+"
_SENTENCES = (
    (rf"{_APP}/(builds|sources)|/sources", "builds nothing. Push a folder with: heroku-sandbox release APP FOLDER"),
    (rf"{_APP}/buildpack-installations", "builds nothing, so it has no buildpacks."),
    (rf"{_APP}/(log-drains|telemetry-drains)|/telemetry-drains", "sends logs nowhere. Read them with: heroku logs"),
    (rf"{_APP}/(sni-endpoints|ssl-endpoints|acm|domains)", "has no router, so it has no domains or certificates."),
    (rf"(/teams)?{_APP}/collaborators", "has one account, so nobody else can be given access."),
    (rf"{_APP}/(webhooks|webhook-deliveries|webhook-events)", "calls no webhooks."),
    (r"/addons/[^/]+/(webhooks|actions)", "has no partners who could do this to an add-on."),
    (r"/account/(keys|app-transfers|password)|/account", "has one account, which cannot be changed."),
    (r"/(users|invoices|oauth/(clients|tokens|sessions))", "has one account, which has keys only."),
    (r"/(teams|organizations|enterprise-accounts)", "has no teams."),
    (r"/(spaces|vpn-connections|peerings)", "has no Private Spaces with a network."),
    (r"/(test-runs|pipelines/[^/]+/(test-runs|repo|review-app-config))", "has no CI and sees no repository."),
    (r"/(app-setups|app-transfers|pipeline-transfers|team-app-transfers|permission-entities)", "does not do this."),
    (r"/(stacks|regions|dyno-sizes|oci-images|archives|keys)", "has no such list."),
    (rf"/pipelines/|/review-apps/|/pipeline|{_APP}|/addons|/oauth|/sources|/schema", "does not do this."),
)


def sentence(method: str, path: str) -> str | None:
    """Returns what to say about a request that no route takes; None for what Heroku has not, either."""
    for pattern, said in _SENTENCES:
        if re.match(rf"(?:{pattern})(/|$)", path):
            return f"This sandbox {said} ({method} {path})"
    return None
