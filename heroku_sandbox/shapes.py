"""How records look in the answers of the two APIs.

The Platform API's shapes follow Heroku's published schema, with ISO 8601 timestamps. The Data API's follow
recorded traffic: timestamps like Ruby prints them, keys that end in a question mark, and null for what is not known
yet; `wire.py` turns them into other forms.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from heroku_sandbox.dynos import Dyno
from heroku_sandbox.state import (
    EMAIL,
    SERVICE,
    Addon,
    App,
    Attachment,
    Coupling,
    Formation,
    Pipeline,
    Release,
    ReleaseStatus,
    Schedule,
    Slug,
    State,
    Transfer,
    TransferType,
)

_LONG_AGO = "2012-01-01T12:00:00Z"
_FREE = {"cents": 0, "contract": False, "metered": False, "unit": "month"}


def stable_id(*words: str) -> str:
    """Makes an id for what has none in the sandbox (plans, regions, …): the same each time."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(words)))


def iso(moment: datetime) -> str:
    """Writes a moment as the Platform API does: `2012-01-01T12:00:00Z`."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def ruby(moment: datetime | None) -> str | None:
    """Writes a moment as the Data API does: `2020-12-13 16:22:40 +0000`."""
    return moment.strftime("%Y-%m-%d %H:%M:%S +0000") if moment else None


def _reference(record: App | Addon) -> dict[str, Any]:
    return {"id": record.id, "name": record.name}


def _named(kind: str, name: str) -> dict[str, Any]:
    return {"id": stable_id(kind, name), "name": name}


def account(state: State) -> dict[str, Any]:
    """Shows the one account there is."""
    return {
        "id": state.account_id,
        "email": EMAIL,
        "name": "Sandbox",
        "allow_tracking": False,
        "beta": False,
        "federated": False,
        "created_at": _LONG_AGO,
        "updated_at": _LONG_AGO,
        "last_login": _LONG_AGO,
        "suspended_at": None,
        "delinquent_at": None,
        "identity_provider": None,
        "sms_number": None,
        "two_factor_authentication": False,
        "verified": True,
        "country_of_residence": None,
        "eco_dynos_enabled": False,
        "eco_dynos_shutdown_at": None,
        "pipeline_cost_consent_at": None,
        "acknowledged_msa": False,
        "acknowledged_msa_at": None,
        "italian_customer_terms": None,
        "italian_partner_terms": None,
        "mfa_enabled": False,
        "mfa_exemption": False,
        "mfa_exemption_reason": None,
        "mfa_experience": "vaas",
        "default_organization": None,
        "default_team": None,
    }


def app(state: State, record: App) -> dict[str, Any]:
    """Shows an app as `GET /apps/:app` does."""
    current = record.current
    return {
        **_reference(record),
        "acm": False,
        "archived_at": None,
        "base_image_name": None,
        "buildpacks": [],
        "current_build_architecture": [],
        "generation": "fir" if record.stack == "cnb" else "cedar",
        "buildpack_provided_description": None,
        "build_stack": _named("stack", record.stack),
        "stack": _named("stack", record.stack),
        "region": _named("region", "us"),
        "created_at": iso(record.created_at),
        "updated_at": iso(record.updated_at),
        "released_at": iso(current.updated_at) if current else None,
        "git_url": f"https://git.heroku.com/{record.name}.git",
        "web_url": f"http://127.0.0.1:{record.port}/" if record.port else f"https://{record.domain}/",
        "internal_routing": None,
        "maintenance": record.maintenance,
        "owner": {"id": state.account_id, "email": EMAIL},
        "organization": None,
        "team": None,
        "space": {**_named("space", record.space), "shield": False} if record.space else None,
        "repo_size": None,
        "slug_size": None,
    }


def addon(state: State, record: Addon, *, expansion: str = "") -> dict[str, Any]:
    """Shows an add-on as `GET /addons/:addon` does; `expansion` is `Accept-Expansion`: `addon_service,plan`."""
    billing = state.apps[record.app_id]
    attached = [place for place in state.attachments.values() if place.addon_id == record.id]
    return {
        **_reference(record),
        "actions": [],
        "addon_service": service() if "addon_service" in expansion else _named("service", SERVICE),
        "app": _reference(billing),
        "billing_entity": {**_reference(billing), "type": "app"},
        "billed_price": dict(_FREE),
        "config_vars": [place.variable for place in attached if place.app_id == record.app_id],
        "created_at": iso(record.created_at),
        "updated_at": iso(record.updated_at),
        "plan": plan(record.tier) if "plan" in expansion else _named("plan", record.plan),
        "provider_id": record.id,
        "provision_message": "",
        "state": "provisioned" if record.provisioned else "provisioning",
        "web_url": None,
    }


def service() -> dict[str, Any]:
    """Shows Heroku Postgres as `GET /addon-services/:service` does."""
    return {
        **_named("service", SERVICE),
        "human_name": "Heroku Postgres",
        "cli_plugin_name": "heroku-postgresql",
        "created_at": _LONG_AGO,
        "updated_at": _LONG_AGO,
        "state": "ga",
        "supports_multiple_installations": True,
        "supports_sharing": True,
        "supported_generations": [_named("generation", "cedar")],
    }


def plan(tier: str) -> dict[str, Any]:
    """Shows a plan as `GET /addon-services/:service/plans` does. In the sandbox none costs anything."""
    name = f"{SERVICE}:{tier}"
    return {
        **_named("plan", name),
        "addon_service": _named("service", SERVICE),
        "compliance": [],
        "created_at": _LONG_AGO,
        "updated_at": _LONG_AGO,
        "default": tier == "essential-0",
        "space_default": tier == "private-0",
        "description": f"Heroku Postgres {tier.replace('-', ' ').title()}",
        "human_name": tier.replace("-", " ").title(),
        "installable_inside_private_network": tier.startswith(("private", "shield")),
        "installable_outside_private_network": not tier.startswith(("private", "shield")),
        "price": dict(_FREE),
        "state": "ga",
        "visible": True,
    }


def attachment(state: State, record: Attachment, *, inclusion: bool) -> dict[str, Any]:
    """Shows an attachment; `inclusion` is `Accept-Inclusion: addon:plan,config_vars`."""
    of, billing = state.addons[record.addon_id], state.apps[state.addons[record.addon_id].app_id]
    shape: dict[str, Any] = {
        "id": record.id,
        "name": record.name,
        "namespace": record.namespace,
        "addon": {**_reference(of), "app": _reference(billing)},
        "app": _reference(state.apps[record.app_id]),
        "created_at": iso(record.created_at),
        "updated_at": iso(record.updated_at),
        "web_url": None,
        "log_input_url": None,
    }
    if inclusion:
        shape["addon"]["plan"] = _named("plan", of.plan)
        shape["config_vars"] = [record.variable]
    return shape


def formation(record: App, type_: str, of: Formation, command: str) -> dict[str, Any]:
    """Shows a process type with its quantity."""
    return {
        "id": of.id,
        "app": _reference(record),
        "type": type_,
        "quantity": of.quantity,
        "size": of.size,
        "dyno_size": _named("dyno-size", of.size),
        "command": command,
        "created_at": iso(of.created_at),
        "updated_at": iso(of.updated_at),
    }


def dyno(record: App, of: Dyno) -> dict[str, Any]:
    """Shows a dyno that is a process."""
    return {
        "id": of.id,
        "app": _reference(record),
        "attach_url": None,
        "command": of.command,
        "created_at": iso(of.created_at),
        "updated_at": iso(of.created_at),
        "name": of.name,
        "release": {"id": of.release_id, "version": of.release_version},
        "size": of.size,
        "state": "crashed" if of.ended.is_set() else "up" if of.pid else "starting",
        "type": of.type,
    }


def formation_dynos(record: App, commands: dict[str, str]) -> list[dict[str, Any]]:
    """Shows the dynos that the formation asks for. In the sandbox no process runs for them."""
    current = record.current
    if current is None:
        return []
    rows = []
    for type_, of in sorted(record.formation.items()):
        for number in range(1, of.quantity + 1 if type_ != "release" else 0):
            name = f"{type_}.{number}"
            since = iso(record.restarts.get(name, current.updated_at))
            rows.append(
                {
                    "id": stable_id(record.id, name, current.id, since),
                    "app": _reference(record),
                    "attach_url": None,
                    "command": commands.get(type_, ""),
                    "created_at": since,
                    "updated_at": since,
                    "name": name,
                    "release": {"id": current.id, "version": current.version},
                    "size": of.size,
                    "state": "up",
                    "type": type_,
                }
            )
    return rows


def release(state: State, record: App, of: Release, host: str) -> dict[str, Any]:
    """Shows a release. `output_stream_url` answers 404 until the release phase has started."""
    plans = [addon.plan for addon in state.addons.values() if addon.app_id == record.id]
    has_phase = of.has_output or of.status is ReleaseStatus.PENDING
    return {
        "id": of.id,
        "version": of.version,
        "status": of.status,
        "current": of is record.current,
        "description": of.description,
        "addon_plan_names": plans,
        "app": _reference(record),
        "artifacts": [{"type": "slug", "id": of.slug_id}] if of.slug_id else [],
        "created_at": iso(of.created_at),
        "updated_at": iso(of.updated_at),
        "slug": {"id": of.slug_id} if of.slug_id else None,
        "oci_image": None,
        "user": {"id": state.account_id, "email": EMAIL},
        "output_stream_url": f"{host}/streams/{of.id}" if has_phase else None,
        "eligible_for_rollback": of.status is ReleaseStatus.SUCCEEDED and of.slug_id is not None,
    }


def slug(of: Slug) -> dict[str, Any]:
    """Shows a slug. Its files cannot be fetched."""
    return {
        "id": of.id,
        "blob": {"method": "get", "url": f"https://slugs.example.com/{of.id}.tgz"},
        "buildpack_provided_description": None,
        "checksum": None,
        "commit": of.commit,
        "commit_description": of.description or None,
        "created_at": iso(of.created_at),
        "updated_at": iso(of.created_at),
        "deleted_at": None,
        "process_types": of.process_types,
        "size": None,
        "stack": _named("stack", "heroku-24"),
    }


def coupling(of: Coupling, pipeline: Pipeline | None) -> dict[str, Any]:
    """Shows an app's place in a pipeline, which may be gone."""
    return {
        "id": of.id,
        "app": {"id": of.app_id},
        "pipeline": {"id": of.pipeline_id} | ({"name": pipeline.name} if pipeline else {}),
        "stage": of.stage,
        "created_at": iso(of.created_at),
        "updated_at": iso(of.updated_at),
    }


def transfer(of: Transfer, store_url: str, logs: list[tuple[str, str]] | None = None) -> dict[str, Any]:
    """Shows a transfer, as recorded. Finished backups are below `store_url`; manual ones have no `schedule`."""
    kept = of.to_type is TransferType.GOF3R
    loads = of.to_type is TransferType.PG_RESTORE
    shape: dict[str, Any] = {
        "uuid": of.id,
        "num": of.num,
        "from_type": of.from_type,
        "from_name": of.from_name,
        "from_url": of.from_url,
        "to_type": of.to_type,
        "to_name": of.to_name,
        "to_url": f"{store_url}/{of.app_id}/{of.id}" if kept else of.to_url,
        "options": {},
        "source_bytes": None if loads else of.source_bytes,
        "processed_bytes": of.processed_bytes,
        "succeeded": of.succeeded,
        "warnings": of.warnings,
        "created_at": ruby(of.created_at),
        "started_at": ruby(of.started_at),
        "canceled_at": ruby(of.canceled_at),
        "updated_at": ruby(of.updated_at),
        "finished_at": ruby(of.finished_at),
        "deleted_at": None,
        "purged_at": None,
        "num_keep": of.num_keep,
    }
    if of.schedule_id:
        shape["schedule"] = {"uuid": of.schedule_id}
    if logs is not None:
        shape["logs"] = [{"created_at": at, "level": "info", "message": text} for at, text in logs]
    return shape


def schedule(of: Schedule) -> dict[str, Any]:
    """Shows a daily backup."""
    return {
        "uuid": of.id,
        "name": of.name,
        "hour": of.hour,
        "timezone": of.timezone,
        "days": ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"],
        "retain_weeks": 1,
        "retain_months": 0,
        "callback_url": f"https://postgres-api.heroku.com/client/v11/databases/{of.addon_id}/backups",
    }
