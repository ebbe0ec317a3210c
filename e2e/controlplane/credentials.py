# SPDX-License-Identifier: Apache-2.0
"""Keys, tokens and the kubeconfig of a control plane that lives for minutes.

The one idea: everybody is a line in the API server's token file; the server makes its own
certificate, which is also the CA that clients trust.
"""

import csv
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

ADMIN: Final = "admin"
ADMIN_GROUP: Final = "system:masters"
TEST_GROUP: Final = "fodc-tests"
NODE_PREFIX: Final = "system:node:"
"""How the user of a kubelet begins; the Node authorizer looks at the rest."""
NODE_GROUP: Final = "system:nodes"
_CLUSTER: Final = "fodc-test"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Bearer tokens by user; the admin may do everything, the others nothing by themselves."""

    tokens: Mapping[str, str]

    @property
    def admin_token(self) -> str:
        """Token of the cluster's admin."""
        return self.tokens[ADMIN]

    def write_tokens(self, path: Path) -> None:
        """Write the API server's --token-auth-file."""
        path.touch(mode=0o600)
        with path.open("w", newline="") as lines:
            for user, token in self.tokens.items():
                csv.writer(lines).writerow([token, user, f"uid-{user}", _group_of(user)])

    def write_kubeconfig(self, path: Path, url: str, ca_file: Path) -> None:
        """Write a kubeconfig with one context per user, the admin's being current."""
        cluster = {"server": url, "certificate-authority": str(ca_file)}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": ADMIN,
            "clusters": [{"name": _CLUSTER, "cluster": cluster}],
            "users": [{"name": u, "user": {"token": t}} for u, t in self.tokens.items()],
            "contexts": [
                {"name": user, "context": {"cluster": _CLUSTER, "user": user}}
                for user in self.tokens
            ],
        }
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(document))


def _group_of(user: str) -> str:
    if user.startswith(NODE_PREFIX):
        return NODE_GROUP
    return ADMIN_GROUP if user == ADMIN else TEST_GROUP


def new_credentials(users: tuple[str, ...]) -> Credentials:
    """Make a token for the admin and each user."""
    return Credentials({user: secrets.token_hex(16) for user in (ADMIN, *users)})


def write_service_account_key(path: Path) -> None:
    """Write the RSA key with which service account tokens are signed and checked."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
