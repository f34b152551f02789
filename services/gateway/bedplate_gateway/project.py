"""What an operator may say about the project's own code, as far as the gateway runs it:
`auth.path`, `http.app`, `encryption.path`, no graph."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from bedplate.backbone import BackboneSettings


class ProjectSettings(BackboneSettings):
    """What an operator may say about the project's own code in the gateway."""

    config: Path | None = Field(
        None,
        description="The project's langgraph.json, for its blocks but those of graphs.",
        json_schema_extra={"env": ["LANGGRAPH_CONFIG_PATH"]},
    )
    mount_prefix: str = Field(
        "",
        description="Path below which the API is served, instead of `http.mount_prefix`.",
        json_schema_extra={"env": ["MOUNT_PREFIX"]},
    )
    cors_config: str = Field(
        "",
        description="JSON that counts instead of the block `http.cors`.",
        json_schema_extra={"env": ["CORS_CONFIG"]},
    )
    cors_origins: list[str] | None = Field(
        None,
        description="Origins whose pages may call the API, instead of those of `http.cors`; all, if"
        " neither names any.",
        json_schema_extra={"env": ["CORS_ALLOW_ORIGINS"]},
    )
    allow_private_network: bool = Field(
        False,
        description="Let pages of public addresses call this one on a private network.",
        json_schema_extra={"env": ["ALLOW_PRIVATE_NETWORK"]},
    )
    auth_s_max: float = Field(
        30.0, gt=0, le=600, description="Seconds the project's authentication may take."
    )
    studio_auth: bool = Field(
        False,
        description="Let in whoever sends `x-auth-scheme: langsmith`, as the Studio user and"
        " without a token; for development only.",
    )
