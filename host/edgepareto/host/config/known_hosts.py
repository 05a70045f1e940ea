"""Which SSH keys were accepted for a board, without asking it: ours in the configuration folder, and the user's own."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from edgepareto.host.config.address import ssh_place
from edgepareto.host.config.folder import config_folder
from edgepareto.host.config.values import DeviceConfig
from edgepareto.host.errors import ConfigError

__all__ = ["accepted_host_keys", "known_hosts_files"]

SSH_PORT = 22


def known_hosts_files() -> tuple[Path, Path]:
    """Ours, which is written; the user's, which is only read."""
    return (config_folder() / "known_hosts", Path("~/.ssh/known_hosts").expanduser())


def accepted_host_keys(device: DeviceConfig) -> tuple[str, ...]:
    """Each as "ssh-ed25519 SHA256:...", as ssh-keygen -l shows it. Raises ConfigError for a file that is spoiled."""
    if device.ssh is None:
        return ()
    from paramiko import HostKeys, SSHException

    host, configured_port = ssh_place(device.ssh)
    port = device.ssh_port or configured_port or SSH_PORT
    found: dict[str, None] = {}
    for file in known_hosts_files():
        if not file.is_file():
            continue
        try:
            keys = HostKeys(str(file)).lookup(host if port == SSH_PORT else f"[{host}]:{port}") or {}
        except (OSError, SSHException, ValueError) as error:
            raise ConfigError(f"{file}: cannot be read ({error})") from error
        for kind, key in keys.items():
            digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
            found[f"{kind} SHA256:{digest}"] = None
    return tuple(found)
