"""An app's end: its dynos, databases, backups and places in pipelines go with it."""

from __future__ import annotations

import signal

from heroku_sandbox import lookup
from heroku_sandbox.dynos import signal_all
from heroku_sandbox.state import App, ReleaseStatus
from heroku_sandbox.world import World


def destroy(world: World, app: App) -> None:
    """Destroys an app. Other apps that use its databases lose these, which makes a release in each of them."""
    with world.store.change() as state:
        for release in app.releases:
            if release.status is ReleaseStatus.PENDING:
                release.status = ReleaseStatus.FAILED
        for attachment in lookup.attachments(state, app_id=app.id):
            del state.attachments[attachment.id]
        for coupling in [each for each in state.couplings.values() if each.app_id == app.id]:
            del state.couplings[coupling.id]
        for review in [each for each in state.review_apps.values() if each.app_id == app.id]:
            del state.review_apps[review.id]
        del state.apps[app.id]
        databases = [addon for addon in state.addons.values() if addon.app_id == app.id]
        backups = [transfer for transfer in state.transfers.values() if transfer.app_id == app.id]
    for dyno in world.dynos.of(app.id):
        if not world.dynos.abandon(dyno):
            signal_all(dyno, signal.SIGKILL)
            dyno.ended.wait(5)
    for transfer in backups:
        world.transfers.delete(transfer)
    for addon in databases:
        world.addons.destroy(addon)
    world.releases.drop_slugs({release.slug_id or release.new_slug_id for release in app.releases})
    world.logs.forget(app.id)
