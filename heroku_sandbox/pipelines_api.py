"""The Platform API: pipelines, the apps in their stages, and promotions from one to the next."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, request

from heroku_sandbox import lookup, shapes
from heroku_sandbox.platform_api import fields, identity
from heroku_sandbox.shapes import iso
from heroku_sandbox.state import Coupling, Pipeline, Promotion, Release, ReleaseStatus, State, Target, now
from heroku_sandbox.world import World

_STAGES = ("test", "review", "development", "staging", "production")


def pipeline(state: State, text: str) -> Pipeline:
    """Finds a pipeline by id or name. Raises ApiError (404)."""
    for record in state.pipelines.values():
        if text in (record.id, record.name):
            return record
    raise lookup.not_found("pipeline")


def stage(text: Any) -> str:
    """Returns a stage. Raises ApiError (422) for what is none."""
    if text not in _STAGES:
        raise lookup.invalid(f"stage must be one of {', '.join(_STAGES)}.")
    return str(text)


def couple(state: State, app_id: str, pipeline_id: str, in_stage: str) -> Coupling:
    """Puts an app into a pipeline. Raises ApiError (422) for one that is in one already."""
    if any(coupling.app_id == app_id for coupling in state.couplings.values()):
        raise lookup.invalid("This app is already in a pipeline.")
    coupling = Coupling(app_id=app_id, pipeline_id=pipeline_id, stage=in_stage)
    state.couplings[coupling.id] = coupling
    return coupling


def _shape(state: State, of: Pipeline) -> dict[str, Any]:
    return {
        "id": of.id,
        "name": of.name,
        "generation": {"id": shapes.stable_id("generation", "cedar"), "name": "cedar"},
        "owner": {"id": state.account_id, "type": "user"},
        "created_at": iso(of.created_at),
        "updated_at": iso(of.updated_at),
    }


def pipelines(world: World) -> Blueprint:  # noqa: C901 -- a list of routes, not a branching function
    """Makes the routes of pipelines themselves and of a stage's config vars."""
    blueprint = Blueprint("pipelines", __name__)
    state = world.store.state

    @blueprint.get("/pipelines")
    def everything() -> Any:
        name = request.args.get("eq[name]")
        return [_shape(state, record) for record in state.pipelines.values() if name in (None, record.name)]

    @blueprint.post("/pipelines")
    def create() -> Any:
        name = fields().get("name")
        if not isinstance(name, str) or not name:
            raise lookup.invalid("Require params: name.")
        with world.store.change():
            if any(record.name == name for record in state.pipelines.values()):
                raise lookup.invalid("Name is already taken")
            record = Pipeline(name=name)
            state.pipelines[record.id] = record
        return _shape(state, record), HTTPStatus.CREATED

    @blueprint.get("/pipelines/<name>")
    def get(name: str) -> Any:
        return _shape(state, pipeline(state, name))

    @blueprint.patch("/pipelines/<name>")
    def rename(name: str) -> Any:
        with world.store.change():
            record = pipeline(state, name)
            record.name, record.updated_at = str(fields().get("name") or record.name), now()
        return _shape(state, record)

    @blueprint.delete("/pipelines/<name>")
    def destroy(name: str) -> Any:
        with world.store.change():
            record = pipeline(state, name)
            for coupling in [each for each in state.couplings.values() if each.pipeline_id == record.id]:
                del state.couplings[coupling.id]
            del state.pipelines[record.id]
        return _shape(state, record)

    @blueprint.get("/pipelines/<name>/stage/<which>/config-vars")
    def get_config(name: str, which: str) -> Any:
        return pipeline(state, name).config.get(stage(which), {})

    @blueprint.patch("/pipelines/<name>/stage/<which>/config-vars")
    def update_config(name: str, which: str) -> Any:
        with world.store.change():
            config = pipeline(state, name).config.setdefault(stage(which), {})
            for variable, value in fields().items():
                if value is None:
                    config.pop(variable, None)
                else:
                    config[variable] = str(value)
            return config

    return blueprint


def couplings(world: World) -> Blueprint:  # noqa: C901 -- a list of routes, not a branching function
    """Makes the routes of the apps in pipelines."""
    blueprint = Blueprint("couplings", __name__)
    state = world.store.state

    def shape(of: Coupling) -> dict[str, Any]:
        return shapes.coupling(of, state.pipelines.get(of.pipeline_id))

    def one(text: str) -> Coupling:
        return lookup.one(state.couplings, text, "pipeline-coupling")

    @blueprint.get("/pipeline-couplings")
    def everything() -> Any:
        return [shape(record) for record in state.couplings.values()]

    @blueprint.post("/pipeline-couplings")
    def create() -> Any:
        body = fields()
        with world.store.change():
            app = lookup.app(state, identity(body.get("app")))
            into = pipeline(state, identity(body.get("pipeline")))
            return shape(couple(state, app.id, into.id, stage(body.get("stage")))), HTTPStatus.CREATED

    @blueprint.get("/pipeline-couplings/<coupling>")
    def get(coupling: str) -> Any:
        return shape(one(coupling))

    @blueprint.patch("/pipeline-couplings/<coupling>")
    def move(coupling: str) -> Any:
        with world.store.change():
            record = one(coupling)
            record.stage, record.updated_at = stage(fields().get("stage")), now()
            return shape(record)

    @blueprint.delete("/pipeline-couplings/<coupling>")
    def remove(coupling: str) -> Any:
        with world.store.change():
            record = one(coupling)
            del state.couplings[record.id]
            return shape(record)

    @blueprint.get("/apps/<app>/pipeline-couplings")
    def of_app(app: str) -> Any:
        by_app = {coupled.app_id: coupled for coupled in state.couplings.values()}
        return shape(lookup.one(by_app, lookup.app(state, app).id, "pipeline-coupling"))

    @blueprint.get("/pipelines/<name>/pipeline-couplings")
    def of_pipeline(name: str) -> Any:
        record = pipeline(state, name)
        return [shape(coupled) for coupled in state.couplings.values() if coupled.pipeline_id == record.id]

    @blueprint.post("/filters/apps")
    def filtered() -> Any:
        wanted = (fields().get("in") or {}).get("id") or []
        return [shapes.app(state, record) for record in state.apps.values() if record.id in wanted]

    return blueprint


def promotions(world: World) -> Blueprint:
    """Makes the routes of promotions: the same code, released in another app."""
    blueprint = Blueprint("promotions", __name__)
    state = world.store.state

    def made(of: Target) -> Release | None:
        app = state.apps.get(of.app_id)
        return next((each for each in app.releases if each.id == of.release_id), None) if app else None

    def target_shape(promotion: Promotion, of: Target) -> dict[str, Any]:
        release = made(of)
        status = release.status if release else ReleaseStatus.FAILED
        failed = status is ReleaseStatus.FAILED
        return {
            "id": of.id,
            "app": {"id": of.app_id},
            "error_message": "release command failed" if failed else None,
            "pipeline_promotion": {"id": promotion.id},
            "release": {"id": of.release_id},
            "status": ReleaseStatus.SUCCEEDED if status is ReleaseStatus.EXPIRED else status,
        }

    def shape(of: Promotion) -> dict[str, Any]:
        pending = any((release := made(target)) and release.status is ReleaseStatus.PENDING for target in of.targets)
        return {
            "id": of.id,
            "pipeline": {"id": of.pipeline_id},
            "source": {"app": {"id": of.app_id}, "release": {"id": of.release_id}},
            "status": "pending" if pending else "completed",
            "created_at": iso(of.created_at),
            "updated_at": iso(of.created_at),
        }

    def one(text: str) -> Promotion:
        return lookup.one(state.promotions, text, "pipeline-promotion")

    @blueprint.post("/pipeline-promotions")
    def promote() -> Any:
        body = fields()
        with world.store.change():
            into = pipeline(state, identity(body.get("pipeline")))
            members = {each.app_id for each in state.couplings.values() if each.pipeline_id == into.id}
            source = lookup.app(state, identity((body.get("source") or {}).get("app")))
            apps = [lookup.app(state, identity(each.get("app"))) for each in body.get("targets") or []]
            release = source.current
            slug = state.slugs.get((release.slug_id if release else None) or "")
            if release is None or slug is None:
                raise lookup.invalid(f"{source.name} has no code that could be promoted.")
            if not apps or any(app.id not in members for app in [source, *apps]):
                raise lookup.invalid("The source and at least one target have to be apps of this pipeline.")
            words = f"Promote {source.name} v{release.version} {slug.commit[:8]}"
            targets = [
                Target(app_id=app.id, release_id=world.releases.release_slug(app, slug, words).id) for app in apps
            ]
            promotion = Promotion(pipeline_id=into.id, app_id=source.id, release_id=release.id, targets=targets)
            state.promotions[promotion.id] = promotion
        return shape(promotion), HTTPStatus.CREATED

    @blueprint.get("/pipeline-promotions/<promotion>")
    def get(promotion: str) -> Any:
        return shape(one(promotion))

    @blueprint.get("/pipeline-promotions/<promotion>/promotion-targets")
    def of_promotion(promotion: str) -> Any:
        record = one(promotion)
        return [target_shape(record, target) for target in record.targets]

    return blueprint
