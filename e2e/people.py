# SPDX-License-Identifier: Apache-2.0
"""People of a real cluster: ServiceAccounts with one of our roles, and tokens for them."""

from e2e.controlplane.cluster import ControlPlane

LASTS = "1h"


def bind(plane: ControlPlane, name: str, role: str, *, namespace: str = "default") -> str:
    """Make a ServiceAccount with a role in all namespaces, once; return its user name."""
    where = f"--namespace={namespace}"
    account = f"--serviceaccount={namespace}:{name}"
    plane.kubectl(where, "create", "serviceaccount", name)
    plane.kubectl(
        "create",
        "clusterrolebinding",
        f"{namespace}-{name}-{role}",
        f"--clusterrole={role}",
        account,
    )
    return f"system:serviceaccount:{namespace}:{name}"


def token_of(plane: ControlPlane, name: str, *more: str, namespace: str = "default") -> str:
    """Return a new token of a ServiceAccount, for the API server itself unless `more` says else."""
    made = plane.kubectl(
        *(f"--namespace={namespace}", "create", "token", name, f"--duration={LASTS}", *more),
        check=True,
    )
    return str(made.stdout).strip()


def admin_token(plane: ControlPlane) -> str:
    """Return a token of somebody who may do everything with the proxy."""
    bind(plane, "fodc-person", "fodc-admin")
    return token_of(plane, "fodc-person")
