# SPDX-License-Identifier: Apache-2.0
"""The file of --config: YAML or JSON with options by name."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from fodc_protocol.errors import OptionError


def file_values(
    argv: Sequence[str], environ: Mapping[str, str], prefix: str
) -> Mapping[str, object] | None:
    """Return what the file holds, None without one; raises OptionError."""
    path = _config_path(argv) or environ.get(f"{prefix}_CONFIG", "")
    if not path:
        return None
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        values = _parsed(path, text)
    except (OSError, ValueError) as error:
        raise OptionError(f"config {path!r} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise OptionError(f"config {path!r} must hold option names with their values")
    return {str(name): value for name, value in values.items()}


def _config_path(argv: Sequence[str]) -> str:
    for place, argument in enumerate(argv):
        if argument == "--config" and place + 1 < len(argv):
            return argv[place + 1]
        if argument.startswith("--config="):
            return argument.partition("=")[2]
    return ""


def _parsed(path: str, text: str) -> object:
    if path.endswith(".json"):
        import json  # noqa: PLC0415 - only with --config

        return json.loads(text) if text.strip() else {}
    import yaml  # noqa: PLC0415 - 1.3 MiB that most agents never need

    try:
        return yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
