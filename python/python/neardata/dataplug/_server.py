"""The `s3_config` of DataPlug: how to reach a server.

Slices and pickles carry no credentials. What `s3_config` holds goes into the environment of this process, as if the shell had
exported it: the core reads it there, and so do worker processes that this process starts.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any

from .._errors import ConfigError

_KNOWN = {
    "region_name",
    "endpoint_url",
    "credentials",
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "role_arn",
    "token_duration_seconds",
    "botocore_config_kwargs",
    "use_token",
}
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")

_lock = threading.Lock()
_by_endpoint: dict[str | None, dict[str, str | None]] = {}


def register(s3_config: Mapping[str, Any] | None) -> None:
    """Make a server's settings those of this process, and remember them for slices of that server."""
    if not s3_config:
        return
    variables = _variables(s3_config)
    with _lock:
        _apply(variables)
        _by_endpoint[_endpoint()] = variables


def use(endpoint: str | None) -> None:
    """Make the settings given for this endpoint those of this process; where none were given, the environment is left alone."""
    if variables := _by_endpoint.get(endpoint):
        with _lock:
            _apply(variables)


def current_endpoint() -> str | None:
    """Say which server `s3://` means now; `None` for the provider's own."""
    return _endpoint()


def _endpoint() -> str | None:
    return next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), None)


def _apply(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        elif os.environ.get(name) != value:
            os.environ[name] = value


def _variables(s3_config: Mapping[str, Any]) -> dict[str, str | None]:
    if unknown := set(s3_config) - _KNOWN:
        raise TypeError(f"s3_config has no {', '.join(sorted(unknown))}; it has {', '.join(sorted(_KNOWN))}")
    variables: dict[str, str | None] = {}
    if endpoint := s3_config.get("endpoint_url"):
        variables |= dict.fromkeys(_ENDPOINTS, None) | {"AWS_ENDPOINT_URL": str(endpoint)}
    if region := s3_config.get("region_name"):
        variables |= dict.fromkeys(_REGIONS, str(region))
    credentials = s3_config.get("credentials") or {
        "AccessKeyId": s3_config.get("aws_access_key_id"),
        "SecretAccessKey": s3_config.get("aws_secret_access_key"),
        "SessionToken": s3_config.get("aws_session_token"),
    }
    key, secret = credentials.get("AccessKeyId"), credentials.get("SecretAccessKey")
    if bool(key) != bool(secret):
        raise ConfigError("s3_config gives half of a key pair: AccessKeyId and SecretAccessKey go together")
    if key:
        token = credentials.get("SessionToken")
        variables |= {"AWS_ACCESS_KEY_ID": str(key), "AWS_SECRET_ACCESS_KEY": str(secret)}
        variables["AWS_SESSION_TOKEN"] = str(token) if token else None
    elif s3_config.get("role_arn"):
        raise ConfigError(
            f"s3_config asks to assume {s3_config['role_arn']}; "
            "give that role's `credentials`, as `aws sts assume-role` prints them"
        )
    return variables
