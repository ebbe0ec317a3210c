# SPDX-License-Identifier: Apache-2.0
"""Reads the file of --config, for the proxy and for the programs that embed it."""

from collections.abc import Mapping
from pathlib import Path

from fodc_protocol.errors import OptionError


def settings_file(path: str) -> Mapping[str, object]:
    """Return the settings that a YAML file holds by name; raises OptionError naming --config."""
    import yaml  # noqa: PLC0415 - memory that only those pay for who have a file

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise OptionError(f"--config: cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise OptionError(f"--config: {path} is not UTF-8: {error}") from error
    except yaml.YAMLError as error:
        raise OptionError(f"--config: {path} is no YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise OptionError(f"--config: {path} must hold settings by name")
    return {str(key): value for key, value in content.items()}
